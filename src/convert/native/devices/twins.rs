//! Tags that several disks carry. A copy of a disk has the UUIDs of its original, so such a name
//! does not identify one of the two.

use std::collections::BTreeSet;

use super::{GuestDevices, disk_letter, is_unstable};

impl GuestDevices {
    /// The disks and partitions with a tag, where the tag is ambiguous. Parts of one file system or
    /// of one array share its UUID legitimately.
    pub(in crate::convert::native) fn twins(&self, key: &str, value: &str) -> Vec<&str> {
        let is_disk = |name: &str| name.strip_prefix("/dev/").and_then(disk_letter).is_some();
        let own = self.with_tag(key, value).map(String::as_str);
        let own: Vec<_> = own.filter(|name| is_disk(name) && !self.is_member(name)).collect();
        let parts: BTreeSet<_> = own.iter().filter_map(|name| self.tag(name, "UUID_SUB")).collect();
        let is_one = key == "UUID" && parts.len() == own.len();
        if own.len() < 2 || is_one { Vec::new() } else { own }
    }

    /// Whether a device is part of an array or of a volume group. Its UUID is then that of the
    /// array or group, and udev creates no link by it (60-persistent-storage.rules).
    pub(super) fn is_member(&self, device: &str) -> bool {
        let kind = self.tag(device, "TYPE");
        kind.is_some_and(|kind| kind.to_ascii_lowercase().ends_with("_member"))
    }

    /// All UUIDs of file systems that several disks carry, with those disks.
    pub(in crate::convert::native) fn all_twins(&self) -> Vec<(&str, Vec<&str>)> {
        let uuids = self.tags.values().filter_map(|tags| tags.get("UUID"));
        let uuids: BTreeSet<_> = uuids.map(String::as_str).collect();
        let twins = uuids.into_iter().map(|uuid| (uuid, self.twins("UUID", uuid)));
        twins.filter(|(_, twins)| !twins.is_empty()).collect()
    }

    /// Whether a name of one of the guest's devices means another device on KVM, or none.
    pub(in crate::convert::native) fn changes(&self, name: &str) -> bool {
        let is_known =
            |device: String| self.lasting_tag(&device, true).is_some() || self.has_twin(&device);
        is_unstable(name) && self.resolve(name).is_some_and(is_known)
    }

    fn has_twin(&self, device: &str) -> bool {
        self.tag(device, "UUID").is_some_and(|uuid| !self.twins("UUID", uuid).is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tagged;
    use crate::convert::native::fix::boot;
    use crate::convert::native::fix::tables::{TABLES, stabilize};

    const EXT4: (&str, &str) = ("TYPE", "ext4");

    #[test]
    fn a_uuid_that_two_disks_have_names_neither() {
        let part = |name: &'static str, part: &'static str| {
            (name, vec![EXT4, ("UUID", "5eed"), ("PART_ENTRY_UUID", part)])
        };
        let own = tagged(&[part("/dev/sda1", "one"), part("/dev/sdb1", "two")]);
        assert_eq!(own.lasting("/dev/sda1").as_deref(), Some("PARTUUID=one"));
        assert_eq!(own.lasting_root("/dev/sdb1", true).as_deref(), Some("PARTUUID=two"));
        assert_eq!(own.all_twins(), [("5eed", vec!["/dev/sda1", "/dev/sdb1"])]);
        let whole = tagged(&[part("/dev/sda1", "one"), part("/dev/sdb1", "one")]);
        assert_eq!(whole.lasting("/dev/sda1"), None);
        assert_eq!(whole.lasting_root("/dev/sda1", false), None);
        assert!(whole.has_twin("/dev/sda1") && whole.changes("/dev/sda1"));
        assert!(!whole.is_lost("/dev/sda1"), "its disk is there");
        assert!(whole.is_lost("/dev/sda2") && !whole.changes("/dev/sda2"));
    }

    #[test]
    fn parts_of_one_file_system_and_of_one_array_share_a_uuid() {
        let btrfs = |name: &'static str, part: &'static str| {
            (name, vec![("TYPE", "btrfs"), ("UUID", "5eed"), ("UUID_SUB", part)])
        };
        let own = tagged(&[btrfs("/dev/sda1", "one"), btrfs("/dev/sdb1", "two")]);
        assert_eq!(own.lasting("/dev/sda1").as_deref(), Some("UUID=5eed"));
        assert!(own.all_twins().is_empty());
        let copies = tagged(&[btrfs("/dev/sda1", "one"), btrfs("/dev/sdb1", "one")]);
        assert_eq!(copies.all_twins().len(), 1);
        for kind in ["linux_raid_member", "zfs_member", "LVM2_member"] {
            let member = |name: &'static str| (name, vec![("TYPE", kind), ("UUID", "5eed")]);
            assert!(tagged(&[member("/dev/sda1"), member("/dev/sdb1")]).all_twins().is_empty());
        }
    }

    /// Nothing can be mounted by such a UUID: the guest would wait for its root without end.
    #[test]
    fn a_member_of_an_array_is_not_named_by_the_uuid_of_the_array() {
        for kind in ["linux_raid_member", "LVM2_member", "ddf_raid_member"] {
            let own = |device: &'static str, part: &'static str| {
                (device, vec![("TYPE", kind), ("UUID", "array"), ("PART_ENTRY_UUID", part)])
            };
            let mut guest = tagged(&[
                own("/dev/sda1", "one"),
                own("/dev/sdb1", "two"),
                ("/dev/md127", vec![EXT4, ("UUID", "5eed")]),
            ]);
            guest.know_system("/dev/md127".to_owned(), "");
            assert_eq!(guest.lasting("/dev/sda1").as_deref(), Some("PARTUUID=one"));
            assert_eq!(guest.lasting_root("/dev/sdb1", true).as_deref(), Some("UUID=5eed"));
            let entry = "linux /vmlinuz root=/dev/sda1 ro\ninitrd /initrd.img\n";
            let line = boot::command_lines(entry, &guest);
            assert_eq!(line, "linux /vmlinuz root=UUID=5eed ro\ninitrd /initrd.img\n");
            let (table, lost) = stabilize("/dev/sda1 / ext4 rw 0 1\n", TABLES[0], &guest);
            assert_eq!((table.as_str(), lost.len()), ("UUID=5eed / ext4 rw 0 1\n", 0));
        }
    }

    #[test]
    fn a_snapshot_of_a_volume_is_no_second_disk() {
        let own = tagged(&[
            ("/dev/sda1", vec![EXT4, ("UUID", "5eed")]),
            ("/dev/vg/copy", vec![EXT4, ("UUID", "5eed")]),
        ]);
        assert!(own.all_twins().is_empty());
    }
}
