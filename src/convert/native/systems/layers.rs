//! Block devices and the layers between them: partitions, LVM, RAID, encryption, subvolumes.

use std::collections::BTreeMap;

use crate::convert::Error;
use crate::convert::native::devices::{GuestDevices, disk_letter};
use crate::convert::native::guestfs::Guestfs;

/// libguestfs' prefix for the name of a btrfs subvolume.
pub(in crate::convert::native) const SUBVOLUME: &str = "btrfsvol:";
/// Types of an encrypted device (blkid(8)).
const LUKS: [&str; 2] = ["crypto_LUKS", "BitLocker"];
pub(super) const LISTING: &str = "listing the guest's block devices";

/// The encrypted devices that are not open: LUKS and BitLocker. `list-filesystems` skips some of
/// them (libguestfs 1.48), so every block device is probed.
pub(in crate::convert::native) async fn encrypted(
    guestfs: &mut Guestfs,
) -> Result<Vec<String>, Error> {
    let open = guestfs.attempt(LISTING, &["list-dm-devices"]).await?.unwrap_or_default();
    let mut locked = Vec::new();
    for device in block_devices(guestfs).await? {
        let tags = guestfs.tags(&device).await?;
        let is_encrypted = tags.get("TYPE").is_some_and(|kind| LUKS.contains(&kind.as_str()));
        let uuid = tags.get("UUID").map(String::as_str).unwrap_or_default();
        if is_encrypted && !open.contains(&opened_as(uuid)) {
            locked.push(device);
        }
    }
    Ok(locked)
}

/// Disks, partitions, logical volumes and arrays.
pub(in crate::convert::native) async fn block_devices(
    guestfs: &mut Guestfs,
) -> Result<Vec<String>, Error> {
    let mut devices = guestfs.run(LISTING, &["list-devices"]).await?;
    for list in ["list-partitions", "lvs", "list-md-devices"] {
        devices.extend(guestfs.attempt(LISTING, &[list]).await?.unwrap_or_default());
    }
    Ok(devices)
}

/// The name of an opened device, made from the UUID of the encrypted one, as in Red Hat's guests.
pub(in crate::convert::native) fn opened_as(uuid: &str) -> String {
    format!("/dev/mapper/luks-{uuid}")
}

/// Device and subvolume: `btrfsvol:/dev/sda2/@/x` is `/dev/sda2` and `@/x`.
pub(in crate::convert::native) fn split(root: &str) -> (&str, &str) {
    let Some(rest) = root.strip_prefix(SUBVOLUME) else { return (root, "") };
    // /dev/sda2 and /dev/md0, or /dev/VG/LV, /dev/mapper/NAME and /dev/md/NAME.
    let first = rest.strip_prefix("/dev/").and_then(|name| name.split('/').next());
    let is_array = |name: &str| {
        name.strip_prefix("md").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let is_plain = first.is_some_and(|name| disk_letter(name).is_some() || is_array(name));
    let at = rest.match_indices('/').map(|(at, _)| at).nth(if is_plain { 2 } else { 3 });
    at.map_or((rest, ""), |at| (&rest[..at], &rest[at + 1..]))
}

/// The logical volumes that are snapshots, each with its origin (lvs(8)).
pub(super) async fn origins(guestfs: &mut Guestfs) -> Result<BTreeMap<String, String>, Error> {
    // libguestfs has no call for origins.
    let command = "lvm lvs --noheadings --separator / --options vg_name,lv_name,origin";
    let told = guestfs.attempt("searching for snapshots", &["debug", "sh", command]).await?;
    Ok(told.unwrap_or_default().iter().filter_map(|line| origin(line)).collect())
}

/// A volume and its origin by their libguestfs names, from a line `GROUP/VOLUME/ORIGIN`.
fn origin(line: &str) -> Option<(String, String)> {
    let mut fields = line.trim().split('/');
    let (group, volume, origin) = (fields.next()?, fields.next()?, fields.next()?);
    let device = |volume: &str| format!("/dev/{group}/{volume}");
    (!origin.is_empty()).then(|| (device(volume), device(origin)))
}

/// The numbers of the disks below a device, through all layers of LVM, RAID and encryption.
pub(in crate::convert::native) async fn disks_of(
    guestfs: &mut Guestfs,
    device: &str,
    devices: &GuestDevices,
) -> Result<Vec<usize>, Error> {
    let device = device_of(guestfs, device, devices).await?;
    if let Some((disk, _)) = device.strip_prefix("/dev/").and_then(disk_letter) {
        return Ok(vec![disk]);
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_.-+".contains(c);
    if !device.chars().all(plain) {
        return Ok(Vec::new());
    }
    // libguestfs has no call for that; lsblk(8) of its appliance resolves all layers.
    let doing = "finding the disks of a volume";
    let command = format!("lsblk --inverse --list --noheadings --output NAME {device}");
    let told = guestfs.attempt(doing, &["debug", "sh", &command]).await?.unwrap_or_default();
    let places = guestfs.attempt(doing, &["debug", "sh", "ls -l /dev/disk/by-path"]).await?;
    let numbers = numbers(&places.unwrap_or_default());
    let number = |name: &str| numbers.get(name.trim_end_matches(|c: char| c.is_ascii_digit()));
    Ok(told.iter().filter_map(|line| number(line.trim())).copied().collect())
}

/// The device of a root, by libguestfs' name. For a subvolume, libguestfs 1.48 returns the
/// appliance's own name, which may differ: the file system is then found by its UUID.
pub(in crate::convert::native) async fn device_of(
    guestfs: &mut Guestfs,
    root: &str,
    devices: &GuestDevices,
) -> Result<String, Error> {
    let (own, _) = split(root);
    if !root.starts_with(SUBVOLUME) {
        return Ok(own.to_owned());
    }
    let uuid = guestfs.attempt("identifying a file system", &["vfs-uuid", root]).await?;
    let uuid = uuid.unwrap_or_default();
    let uuid = uuid.first().filter(|uuid| !uuid.is_empty());
    let found = uuid.and_then(|uuid| devices.with_tag("UUID", uuid).next());
    Ok(found.map_or(own, String::as_str).to_owned())
}

/// The numbers of the disks by the appliance's own names, whose order depends on its kernel:
/// libguestfs attaches disk N as target N of its SCSI bus.
fn numbers(by_path: &[String]) -> BTreeMap<String, usize> {
    let number = |line: &String| {
        let (path, name) = line.rsplit_once(" -> ")?;
        let target = path.rsplit_once("-scsi-0:0:")?.1.strip_suffix(":0")?;
        Some((name.rsplit('/').next()?.to_owned(), target.parse().ok()?))
    };
    by_path.iter().filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_and_subvolume_are_told_apart() {
        for (root, device, subvolume) in [
            ("/dev/sda1", "/dev/sda1", ""),
            ("btrfsvol:/dev/sda2/@", "/dev/sda2", "@"),
            ("btrfsvol:/dev/sda2/@/.snapshots/1/snapshot", "/dev/sda2", "@/.snapshots/1/snapshot"),
            ("btrfsvol:/dev/system/root/@", "/dev/system/root", "@"),
            ("btrfsvol:/dev/md0/@", "/dev/md0", "@"),
            ("btrfsvol:/dev/md127p2/@", "/dev/md127p2", "@"),
            ("btrfsvol:/dev/md/root/@", "/dev/md/root", "@"),
            ("btrfsvol:/dev/mdvg/root/@", "/dev/mdvg/root", "@"),
            ("btrfsvol:/dev/mapper/luks-5eed/root", "/dev/mapper/luks-5eed", "root"),
            ("btrfsvol:/dev/sda", "/dev/sda", ""),
        ] {
            assert_eq!(split(root), (device, subvolume), "{root}");
        }
    }

    #[test]
    fn disks_are_numbered_by_their_place_and_not_by_the_appliances_names() {
        let lines = [
            "total 0",
            "lrwxrwxrwx 1 0 0 9 Nov 26 12:00 pci-0000:00:02.0-scsi-0:0:0:0 -> ../../sdb",
            "lrwxrwxrwx 1 0 0 10 Nov 26 12:00 pci-0000:00:02.0-scsi-0:0:0:0-part1 -> ../../sdb1",
            "lrwxrwxrwx 1 0 0 9 Nov 26 12:00 pci-0000:00:02.0-scsi-0:0:11:0 -> ../../sda",
        ];
        let found = numbers(&lines.map(str::to_owned));
        let found: Vec<_> = found.iter().map(|(name, number)| (name.as_str(), *number)).collect();
        assert_eq!(found, [("sda", 11), ("sdb", 0)]);
    }

    #[test]
    fn snapshots_of_lvm_have_an_origin() {
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(origin("  rhel/root_snap/root"), pair("/dev/rhel/root_snap", "/dev/rhel/root"));
        assert_eq!(origin("  rhel/root/"), None);
        assert_eq!(origin(""), None);
    }
}
