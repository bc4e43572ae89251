//! Block devices by a name that lasts: on KVM `/dev/sda1` becomes `/dev/vda1`, its UUID stays.

use std::collections::BTreeMap;

use crate::convert::Error;
use crate::convert::native::guestfs::Guestfs;

/// The disks that a kernel names by the order in which it finds them (Linux, devices.txt).
const UNSTABLE: [&str; 4] = ["/dev/sd", "/dev/hd", "/dev/xvd", "/dev/vd"];
/// Paths by the place on a bus, which is another on KVM.
const BY_PATH: [&str; 2] = ["/dev/disk/by-path/", "/dev/disk/by-id/"];

/// The file systems of a guest with their UUIDs.
#[derive(Debug, Default)]
pub(super) struct Devices {
    uuids: BTreeMap<String, String>,
    /// That of its root.
    root: Option<String>,
}

impl Devices {
    /// Asks libguestfs, which names disks in the order of the guest's; `root` is the device of its
    /// root.
    pub(super) async fn find(guestfs: &mut Guestfs, root: &str) -> Result<Self, Error> {
        let doing = "list the guest's file systems";
        let mut uuids = BTreeMap::new();
        for line in guestfs.run(doing, &["list-filesystems"]).await? {
            let Some((device, kind)) = line.rsplit_once(": ") else { continue };
            if device.starts_with("/dev/sd") && kind != "unknown" {
                let uuid = guestfs.ask(&["vfs-uuid", device]).await?;
                if !uuid.is_empty() {
                    uuids.insert(device.to_owned(), uuid);
                }
            }
        }
        let root = uuids.get(root).cloned();
        Ok(Self { uuids, root })
    }

    /// `UUID=…` for the name of a partition that will not last; nothing for any other.
    pub(super) fn lasting(&self, name: &str) -> Option<String> {
        let partition = UNSTABLE.iter().find_map(|prefix| name.strip_prefix(prefix))?;
        let uuid = self.uuids.get(&format!("/dev/sd{partition}"))?;
        Some(format!("UUID={uuid}"))
    }

    /// The same of what is to be mounted as root. A name that is no partition of the guest's was
    /// written in an appliance, whose kernel found the disks in another order: it means the root.
    pub(super) fn lasting_root(&self, name: &str) -> Option<String> {
        let is_unstable = UNSTABLE.iter().any(|prefix| name.starts_with(prefix));
        let root = self.root.as_ref().filter(|_| is_unstable);
        self.lasting(name).or_else(|| root.map(|uuid| format!("UUID={uuid}")))
    }

    /// Whether a name will mean something else on KVM, and nothing better is known for it.
    pub(super) fn is_lost(&self, name: &str) -> bool {
        let unstable = UNSTABLE.iter().any(|prefix| name.starts_with(prefix));
        let by_path = BY_PATH.iter().any(|prefix| name.starts_with(prefix));
        // An LVM or RAID keeps its identity, wherever its disks hang.
        let of_volume = ["dm-", "lvm-", "md-"].iter().any(|kind| name.contains(kind));
        (unstable && self.lasting(name).is_none()) || (by_path && !of_volume)
    }
}

#[cfg(test)]
pub(super) fn devices(known: &[(&str, &str)]) -> Devices {
    let owned = |(name, uuid): &(&str, &str)| ((*name).to_owned(), (*uuid).to_owned());
    let root = known.first().map(|(_, uuid)| (*uuid).to_owned());
    Devices { uuids: known.iter().map(owned).collect(), root }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_get_the_names_that_last() {
        let devices = devices(&[("/dev/sda1", "5eed")]);
        assert_eq!(devices.lasting("/dev/sda1").as_deref(), Some("UUID=5eed"));
        assert_eq!(devices.lasting("/dev/hda1").as_deref(), Some("UUID=5eed"), "an old IDE disk");
        assert_eq!(devices.lasting("/dev/sda2"), None);
        assert_eq!(devices.lasting("/dev/mapper/vg-root"), None);
        assert!(devices.is_lost("/dev/sda2") && !devices.is_lost("/dev/sda1"));
        assert!(devices.is_lost("/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:0:0-part1"));
        assert!(!devices.is_lost("/dev/disk/by-id/dm-uuid-LVM-x"));
        assert!(!devices.is_lost("UUID=5eed") && !devices.is_lost("/dev/mapper/vg-root"));
    }
}
