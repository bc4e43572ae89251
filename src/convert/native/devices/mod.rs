//! Names of a guest's block devices that stay valid. On KVM `/dev/sda1` becomes `/dev/vda1`, and
//! paths by place on the bus or by VMware's serial numbers are gone; UUIDs stay.

mod order;
mod places;
mod twins;

use std::collections::BTreeMap;

use crate::convert::Error;
use crate::model::{SourceVm, disk_target};

use super::guestfs::Guestfs;
use super::systems::{block_devices, encrypted, split};

use self::places::DisksByPlace;
pub(super) use self::places::is_unstable;

/// Folders of links by stable tags, and the tags of fstab(5) for the same.
const TAGS: [(&str, &str, &str); 4] = [
    ("UUID=", "/dev/disk/by-uuid/", "UUID"),
    ("LABEL=", "/dev/disk/by-label/", "LABEL"),
    ("PARTUUID=", "/dev/disk/by-partuuid/", "PART_ENTRY_UUID"),
    ("PARTLABEL=", "/dev/disk/by-partlabel/", "PART_ENTRY_NAME"),
];

/// The file systems of a guest with their tags (blkid(8)).
#[derive(Debug, Default)]
pub(super) struct GuestDevices {
    /// Tags of each device, by the device's name in libguestfs.
    tags: BTreeMap<String, BTreeMap<String, String>>,
    /// Names below `/dev/mapper` and of logical volumes.
    volumes: Vec<String>,
    disks: DisksByPlace,
    /// Device of the root file system.
    root: String,
    /// Whether an encrypted device was not opened, so that its content is unknown.
    locked: bool,
}

/// The number of a disk and the text after its letters: `sdb12` is 1 and `12`.
pub(super) fn disk_letter(name: &str) -> Option<(usize, &str)> {
    order::letter(name.strip_prefix("sd")?)
}

/// Prefix of disk names in libguestfs' appliance.
const IN_APPLIANCE: &str = "/dev/sd";

impl GuestDevices {
    /// Reads the devices from libguestfs, whose disks are in the order of the VM's.
    pub(super) async fn find(guestfs: &mut Guestfs, vm: &SourceVm) -> Result<Self, Error> {
        let disks = DisksByPlace { disks: vm.disks.clone(), has_hd: false };
        let mut devices = Self { disks, ..Self::default() };
        // `list-filesystems` leaves out encrypted devices, wherever they are.
        let mut names = block_devices(guestfs).await?;
        for line in guestfs.run("listing the guest's file systems", &["list-filesystems"]).await? {
            let Some((device, _)) = line.rsplit_once(": ") else { continue };
            let (device, subvolume) = split(device);
            // A partition's own device is in the list already, by its name in libguestfs.
            let disk = device.strip_prefix("/dev/").and_then(disk_letter);
            if !subvolume.is_empty() && disk.is_some_and(|(_, partition)| !partition.is_empty()) {
                continue;
            }
            if !names.iter().any(|name| name == device) {
                names.push(device.to_owned());
            }
        }
        for name in names {
            let tags = guestfs.tags(&name).await?;
            if name.strip_prefix("/dev/").is_none_or(|name| disk_letter(name).is_none()) {
                devices.volumes.extend(volume_names(&name));
            }
            devices.tags.insert(name, tags);
        }
        devices.locked = !encrypted(guestfs).await?.is_empty();
        Ok(devices)
    }

    /// Records which root was chosen, and whether the guest's tables call disks `hda`. Where a
    /// CD-ROM drive has such a name, all disks may be called `sda`.
    pub(super) fn know_system(&mut self, root: String, fstab: &str) {
        self.root = root;
        let names = fstab.lines().filter_map(|line| line.split_whitespace().next());
        let mut orders = names.filter_map(order::ordered).map(|(order, _)| order);
        self.disks.has_hd = orders.any(|order| self.disks.is_hd(order));
    }

    /// Whether libguestfs has a device of that name.
    pub(super) fn has(&self, device: &str) -> bool {
        self.tags.contains_key(device)
    }

    /// A tag of a device, by the device's name in libguestfs.
    pub(super) fn tag(&self, device: &str, key: &str) -> Option<&str> {
        self.tags.get(device)?.get(key).map(String::as_str)
    }

    /// The devices with that tag.
    pub(super) fn with_tag(&self, key: &str, value: &str) -> impl Iterator<Item = &String> {
        // The hexadecimal digits of FAT's serial numbers are written in either case.
        let has = move |tags: &BTreeMap<String, String>| {
            tags.get(key).is_some_and(|own| own.eq_ignore_ascii_case(value))
        };
        self.tags.iter().filter(move |(_, tags)| has(tags)).map(|(device, _)| device)
    }

    /// libguestfs' name of the device that the guest calls `name`.
    pub(super) fn resolve(&self, name: &str) -> Option<String> {
        self.all(name).into_iter().next()
    }

    /// All devices that a name in the guest may mean: a copy has the tags of its original.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let name = name.trim_matches(['"', '\'']);
        for (tag, link, key) in TAGS {
            if let Some(value) = name.strip_prefix(tag).or_else(|| name.strip_prefix(link)) {
                let value = decoded(value.trim_matches(['"', '\'']));
                return self.with_tag(key, &value).cloned().collect();
            }
        }
        if let Some((disk, partition)) = self.disks.find(name) {
            let device = format!("{}{partition}", disk_target(IN_APPLIANCE, disk));
            return Some(device).filter(|device| self.has(device)).into_iter().collect();
        }
        let is = |device: &&String| volume_names(device).iter().any(|known| known == name);
        self.tags.keys().filter(is).cloned().collect()
    }

    /// `UUID=…` for a name that will not last, or `PARTUUID=…` where the device has no file system;
    /// none for any other name.
    pub(super) fn lasting(&self, name: &str) -> Option<String> {
        self.last(name, true)
    }

    fn last(&self, name: &str, initramfs: bool) -> Option<String> {
        if !is_unstable(name) {
            return None;
        }
        self.lasting_tag(&self.resolve(name)?, initramfs)
    }

    /// [`Self::lasting`] for a name that is mounted as root. A name that is no partition of the
    /// guest means the root that was found: its author saw the disks in another order. A member of
    /// an array, which is never mounted, also means that root: the root was on the array, or the
    /// system came from elsewhere. Without an initramfs the kernel itself finds the root, and
    /// supports only `PARTUUID=`.
    pub(super) fn lasting_root(&self, name: &str, initramfs: bool) -> Option<String> {
        if !is_unstable(name) {
            return None;
        }
        let root = || self.tags.get(&self.root).map(|_| self.root.clone());
        let device = self.resolve(name).filter(|device| !self.is_member(device)).or_else(root)?;
        self.lasting_tag(&device, initramfs)
    }

    /// A lasting name of the root that was found.
    pub(super) fn root(&self) -> Option<String> {
        self.lasting_tag(&self.root, true)
    }

    /// `PARTUUID=…` for a name that will not last: it identifies a single disk where several disks
    /// form one file system.
    pub(super) fn lasting_part(&self, name: &str) -> Option<String> {
        self.last(name, false)
    }

    /// A lasting name that means only this device. `initramfs` is false where the kernel itself,
    /// which knows no file system UUIDs, finds the device.
    fn lasting_tag(&self, device: &str, initramfs: bool) -> Option<String> {
        let own = |key: &str, name: &str| {
            let value = self.tag(device, key)?;
            self.twins(key, value).is_empty().then(|| format!("{name}={value}"))
        };
        let mounts = initramfs && !self.is_member(device);
        let uuid = if mounts { own("UUID", "UUID") } else { None };
        uuid.or_else(|| own("PART_ENTRY_UUID", "PARTUUID"))
    }

    /// Whether a name will mean another device on KVM, or none, and no better name is known.
    pub(super) fn is_lost(&self, name: &str) -> bool {
        let bare = name.trim_matches(['"', '\'']);
        let tagged =
            TAGS.iter().any(|(tag, link, _)| bare.starts_with(tag) || bare.starts_with(link));
        if tagged {
            return !self.locked && self.resolve(name).is_none();
        }
        if is_unstable(bare) {
            return !self.changes(bare);
        }
        let is_volume = bare.starts_with("/dev/mapper/");
        is_volume && !self.locked && !self.volumes.iter().any(|known| known == bare)
    }

    /// Why a name is lost. Where the source reports no serial numbers and buses, such a name may
    /// belong to an existing disk.
    pub(super) fn why_lost(&self, name: &str) -> &'static str {
        match self.disks.can_tell(name) {
            true => "which none of its disks is",
            false => "whose disk is not known",
        }
    }

    /// Records the names that crypttab(5) maps devices to; their content is not inspected.
    pub(super) fn know_mapped(&mut self, crypttab: &str) {
        let lines = crypttab.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let names = lines.filter_map(|line| line.split_whitespace().next());
        self.volumes.extend(names.map(|name| format!("/dev/mapper/{name}")));
    }
}

/// Decodes a value of fstab(5) (`\040` is a space) or a name of udev's (`\x20`).
fn decoded(value: &str) -> String {
    let octal = |digits: &str| u8::from_str_radix(digits, 8).ok();
    // udev's backslash may itself be escaped in fstab.
    unescaped_name(&unescaped(value, octal))
}

/// Decodes a name of udev's or of a unit of systemd: `\x20` is a space.
pub(super) fn unescaped_name(name: &str) -> String {
    unescaped(name, |code| u8::from_str_radix(code.strip_prefix('x')?, 16).ok())
}

/// Replaces each backslash and the three characters after it that `byte` can decode.
fn unescaped(value: &str, byte: impl Fn(&str) -> Option<u8>) -> String {
    let (mut bytes, mut rest) = (Vec::new(), value);
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend(before.bytes());
        let found = after.get(..3).and_then(&byte);
        bytes.push(found.unwrap_or(b'\\'));
        rest = if found.is_some() { &after[3..] } else { after };
    }
    bytes.extend(rest.bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The names of a logical volume: `/dev/vg/lv` and, its dashes doubled, `/dev/mapper/vg-lv`.
fn volume_names(device: &str) -> Vec<String> {
    let mut names = vec![device.to_owned()];
    if let Some((group, volume)) =
        device.strip_prefix("/dev/").and_then(|name| name.split_once('/'))
        && group != "mapper"
    {
        let [group, volume] = [group, volume].map(|name| name.replace('-', "--"));
        names.push(format!("/dev/mapper/{group}-{volume}"));
    }
    names
}

#[cfg(test)]
pub(super) fn devices(known: &[(&str, &str)]) -> GuestDevices {
    let parts: Vec<_> = known.iter().map(|(_, uuid)| format!("part-{uuid}")).collect();
    let tags = known.iter().zip(&parts).map(|((device, uuid), part)| {
        (*device, vec![("UUID", *uuid), ("PART_ENTRY_UUID", part.as_str())])
    });
    tagged(&tags.collect::<Vec<_>>())
}

/// Devices with all their tags.
#[cfg(test)]
pub(super) fn tagged(known: &[(&str, Vec<(&str, &str)>)]) -> GuestDevices {
    let tags = |(device, tags): &(&str, Vec<(&str, &str)>)| {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        ((*device).to_owned(), tags.collect())
    };
    let letters = known.iter().filter_map(|(name, _)| disk_letter(name.strip_prefix("/dev/")?));
    let count = letters.map(|(index, _)| index + 1).max().unwrap_or(1);
    GuestDevices {
        tags: known.iter().map(tags).collect(),
        volumes: vec!["/dev/mapper/vg-root".to_owned()],
        disks: DisksByPlace { disks: (0..count).map(tests::disk).collect(), has_hd: false },
        root: known.first().map(|(device, _)| (*device).to_owned()).unwrap_or_default(),
        locked: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bus, ByteSize, Controller, DiskId, SourceDisk};

    pub(super) fn disk(index: usize) -> SourceDisk {
        SourceDisk {
            id: DiskId::from_index(index),
            key: 0,
            label: String::new(),
            controller: Controller {
                bus: Bus::Scsi,
                model: "ParaVirtualSCSIController".to_owned(),
                number: 0,
                slot: None,
            },
            unit: u32::try_from(index).expect("small"),
            capacity: ByteSize(0),
            boot_order: 0,
            backing: None,
            uuid: Some(format!("6000c29000000000000000000000000{index}")),
        }
    }

    #[test]
    fn labels_are_compared_without_their_escapes() {
        let mut devices = devices(&[("/dev/sda1", "5eed"), ("/dev/sda2", "data")]);
        let mut set = |device: &str, key: &str, value: &str| {
            let tags = devices.tags.get_mut(device).expect("known");
            tags.insert(key.to_owned(), value.to_owned());
        };
        set("/dev/sda1", "PART_ENTRY_NAME", "EFI System Partition");
        set("/dev/sda2", "LABEL", "Meine Übersicht");
        for (name, device) in [
            (r"PARTLABEL=EFI\040System\040Partition", "/dev/sda1"),
            (r"/dev/disk/by-partlabel/EFI\x20System\x20Partition", "/dev/sda1"),
            (r"/dev/disk/by-partlabel/EFI\134x20System\134x20Partition", "/dev/sda1"),
            (r"LABEL=Meine\040Übersicht", "/dev/sda2"),
            (r"/dev/disk/by-label/Meine\x20\xc3\x9cbersicht", "/dev/sda2"),
        ] {
            assert_eq!(devices.resolve(name).as_deref(), Some(device), "{name}");
            assert!(!devices.is_lost(name), "{name}");
        }
        assert!(devices.is_lost(r"LABEL=Meine\040"));
        assert_eq!(decoded(r"a\b\04"), r"a\b\04");
    }

    #[test]
    fn a_logical_volume_is_found_by_either_of_its_names() {
        let mut devices = devices(&[("/dev/sda1", "5eed")]);
        devices.tags.insert("/dev/my-vg/root".to_owned(), BTreeMap::new());
        for name in ["/dev/my-vg/root", "/dev/mapper/my--vg-root"] {
            assert_eq!(devices.resolve(name).as_deref(), Some("/dev/my-vg/root"));
        }
    }

    #[test]
    fn partitions_get_the_names_that_last() {
        let devices = devices(&[("/dev/sda1", "5eed")]);
        assert_eq!(devices.lasting("/dev/sda1").as_deref(), Some("UUID=5eed"));
        assert_eq!(devices.lasting("/dev/hda1").as_deref(), Some("UUID=5eed"), "an old IDE disk");
        assert_eq!(devices.lasting("/dev/sda2"), None);
        assert_eq!(devices.lasting("/dev/mapper/vg-root"), None);
        assert!(devices.is_lost("/dev/sda2") && !devices.is_lost("/dev/sda1"));
        assert!(!devices.is_lost("/dev/disk/by-id/dm-uuid-LVM-x"));
        assert!(!devices.is_lost("UUID=5eed") && !devices.is_lost("/dev/mapper/vg-root"));
        assert!(devices.is_lost("UUID=gone") && devices.is_lost("/dev/mapper/data-x"));
        assert!(!devices.is_lost("nfs.example.com:/x") && !devices.is_lost("tmpfs"));
    }

    #[test]
    fn names_by_place_and_by_serial_number_are_those_of_disks() {
        let devices =
            devices(&[("/dev/sda1", "root"), ("/dev/sdb1", "data"), ("/dev/sdb", "none")]);
        for (name, uuid) in [
            ("/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:0:0-part1", "root"),
            ("/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:1:0-part1", "data"),
            ("/dev/disk/by-path/pci-0000:03:00.0-sas-phy1-lun-0-part1", "data"),
            ("/dev/disk/by-id/scsi-36000c290000000000000000000000001-part1", "data"),
            ("/dev/disk/by-id/wwn-0x6000c290000000000000000000000001-part1", "data"),
            (
                "/dev/disk/by-id/scsi-SVMware_Virtual_disk_6000C290000000000000000000000000-part1",
                "root",
            ),
        ] {
            assert_eq!(devices.lasting(name), Some(format!("UUID={uuid}")), "{name}");
        }
        let lost = "/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:5:0-part1";
        assert_eq!(devices.lasting(lost), None);
        assert!(devices.is_lost(lost));
    }

    #[test]
    fn disks_of_one_unit_are_told_apart_by_the_slots_of_their_controllers() {
        let path = |address: &str, unit: u32| {
            format!("/dev/disk/by-path/pci-0000:{address}-scsi-0:0:{unit}:0-part1")
        };
        let mut devices = devices(&[("/dev/sda1", "root"), ("/dev/sdb1", "data")]);
        devices.disks.disks[1].unit = 0;
        assert_eq!(devices.lasting(&path("03:00.0", 0)), None, "nobody can say");
        for (disk, (number, slot)) in devices.disks.disks.iter_mut().zip([(0, 160), (1, 256)]) {
            disk.controller.number = number;
            disk.controller.slot = Some(slot);
        }
        let lasting = |name: &str| devices.lasting(name);
        assert_eq!(lasting(&path("03:00.0", 0)).as_deref(), Some("UUID=root"));
        assert_eq!(lasting(&path("1b:00.0", 0)).as_deref(), Some("UUID=data"));
        assert_eq!(lasting(&path("02:05.0", 0)), None, "a controller that is gone");
        let sas = "/dev/disk/by-path/pci-0000:1b:00.0-sas-0x5000c2946-lun-0-part1";
        assert_eq!(lasting(sas).as_deref(), Some("UUID=data"));
    }

    #[test]
    fn the_only_disk_is_meant_by_any_name() {
        let mut devices = devices(&[("/dev/sda2", "5eed")]);
        let path = "/dev/disk/by-path/pci-0000:13:00.0-sas-0x5000c29d-lun-0-part2";
        assert_eq!(devices.lasting(path).as_deref(), Some("UUID=5eed"));
        let id = "/dev/disk/by-id/scsi-3600508-part2";
        assert_eq!(devices.lasting(id), None, "its number is known, and another one");
        devices.disks.disks[0].uuid = None;
        assert_eq!(devices.lasting(id).as_deref(), Some("UUID=5eed"));
        assert_eq!(devices.resolve("/dev/disk/by-id/ata-VMware_CDROM_1"), None);
    }

    #[test]
    fn a_kernel_without_an_initramfs_knows_partitions_only() {
        let devices = devices(&[("/dev/sda1", "5eed")]);
        let root = devices.lasting_root("/dev/sda1", false);
        assert_eq!(root.as_deref(), Some("PARTUUID=part-5eed"));
        assert_eq!(devices.lasting_root("/dev/sdz9", true).as_deref(), Some("UUID=5eed"));
    }

    #[test]
    fn letters_count_on_after_z() {
        assert_eq!(disk_letter("sda1"), Some((0, "1")));
        assert_eq!(disk_letter("sdaa12"), Some((26, "12")));
        assert_eq!(disk_target(IN_APPLIANCE, 26), "/dev/sdaa");
        assert_eq!(disk_letter("sr0"), None);
        assert_eq!(disk_letter("sda1p2"), None);
    }

    #[test]
    fn dashes_of_logical_volumes_are_doubled() {
        assert_eq!(volume_names("/dev/my-vg/root"), ["/dev/my-vg/root", "/dev/mapper/my--vg-root"]);
    }
}
