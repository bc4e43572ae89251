//! Which of the systems on a VM's disks is the one that the VM boots.
//!
//! Several disks may each hold a system (an old disk kept as data), and one btrfs shows a root for
//! every snapshot of it. The VM boots the system that its boot disk leads to; `--root` overrules.

use std::collections::BTreeMap;

use crate::convert::Error;
use crate::model::SourceVm;

use super::devices::disk_letter;
use super::guestfs::Guestfs;
use super::inspect::Guest;

/// How libguestfs begins the name of a subvolume of btrfs.
const SUBVOLUME: &str = "btrfsvol:";
/// Types of an encrypted device (blkid(8)).
const LUKS: [&str; 2] = ["crypto_LUKS", "BitLocker"];
const DOING: &str = "look for an operating system";
const LISTING: &str = "list the guest's block devices";

/// What decides between several systems.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice<'a> {
    /// The VM, which may name its boot disk.
    pub(super) vm: &'a SourceVm,
    /// The root that the user names.
    pub(super) root: Option<&'a str>,
}

/// The system to fix.
///
/// # Errors
/// [`Error::NoSystem`] when there is none, [`Error::Systems`] when there are several and nothing
/// tells which one is meant.
pub(super) async fn choose(guestfs: &mut Guestfs, choice: &Choice<'_>) -> Result<Guest, Error> {
    let roots = guestfs.run(DOING, &["inspect-os"]).await?;
    if roots.is_empty() {
        return Err(none(guestfs).await?);
    }
    if let Some(wanted) = choice.root {
        let named = |root: &&String| is_named(root, wanted);
        let root = roots.iter().find(named).cloned();
        return match root {
            Some(root) => Guest::read(guestfs, &root).await,
            None => Err(several(guestfs, &roots, Some(wanted)).await?),
        };
    }
    let roots = without_snapshots(guestfs, roots).await?;
    if let [root] = roots.as_slice() {
        return Guest::read(guestfs, root).await;
    }
    let boot = booted(guestfs, &roots, choice.vm).await?;
    match boot.as_slice() {
        [root] => Guest::read(guestfs, root).await,
        _ => Err(several(guestfs, &roots, None).await?),
    }
}

/// Whether the user means this root: `/dev/vda1` is the guest's own word for `/dev/sda1`.
fn is_named(root: &str, wanted: &str) -> bool {
    let (device, _) = split(root);
    let own = ["/dev/vd", "/dev/hd", "/dev/xvd"];
    let as_sd = own.iter().find_map(|prefix| wanted.strip_prefix(prefix));
    let wanted = as_sd.map_or_else(|| wanted.to_owned(), |rest| format!("/dev/sd{rest}"));
    root == wanted || device == wanted
}

/// Why no system was found: an encrypted disk and an empty one are two different things.
async fn none(guestfs: &mut Guestfs) -> Result<Error, Error> {
    let encrypted = encrypted(guestfs).await?;
    Ok(Error::NoSystem { encrypted })
}

/// The devices that nobody has opened: LUKS and BitLocker. `list-filesystems` passes over some of
/// them (libguestfs 1.48), so every block device is asked.
pub(super) async fn encrypted(guestfs: &mut Guestfs) -> Result<Vec<String>, Error> {
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

async fn block_devices(guestfs: &mut Guestfs) -> Result<Vec<String>, Error> {
    let mut devices = guestfs.run(LISTING, &["list-devices"]).await?;
    for list in ["list-partitions", "lvs", "list-md-devices"] {
        devices.extend(guestfs.attempt(LISTING, &[list]).await?.unwrap_or_default());
    }
    Ok(devices)
}

/// The device of what is inside an opened one, by the UUID of that: the name that Red Hat's guests
/// give it.
pub(super) fn opened_as(uuid: &str) -> String {
    format!("/dev/mapper/luks-{uuid}")
}

async fn several(
    guestfs: &mut Guestfs,
    roots: &[String],
    wanted: Option<&str>,
) -> Result<Error, Error> {
    let mut systems = Vec::new();
    for root in roots {
        let product = guestfs.ask(&["inspect-get-product-name", root]).await?;
        let distribution = guestfs.ask(&["inspect-get-distro", root]).await?;
        systems.push((root.clone(), format!("{distribution} {product}").trim().to_owned()));
    }
    Ok(Error::Systems { systems, wanted: wanted.map(str::to_owned) })
}

/// The roots without those that are snapshots: of one btrfs the root is the subvolume that fstab
/// names for `/`, else the default subvolume (btrfs-subvolume(8), `set-default`).
async fn without_snapshots(
    guestfs: &mut Guestfs,
    roots: Vec<String>,
) -> Result<Vec<String>, Error> {
    let mut kept = Vec::new();
    for (device, group) in by_device(roots) {
        match group.as_slice() {
            [] | [_] => kept.extend(group),
            _ => match booted_subvolume(guestfs, &device, &group).await? {
                Some(root) => kept.push(root),
                None => kept.extend(group),
            },
        }
    }
    Ok(kept)
}

/// Roots by their device, in the order of their first root.
fn by_device(roots: Vec<String>) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for root in roots {
        let (device, _) = split(&root);
        let device = device.to_owned();
        match groups.iter_mut().find(|(other, _)| *other == device) {
            Some((_, group)) => group.push(root),
            None => groups.push((device, vec![root])),
        }
    }
    groups
}

/// Device and subvolume: `btrfsvol:/dev/sda2/@/x` is `/dev/sda2` and `@/x`.
pub(super) fn split(root: &str) -> (&str, &str) {
    let Some(rest) = root.strip_prefix(SUBVOLUME) else { return (root, "") };
    // /dev/sda2, /dev/VG/LV or /dev/mapper/NAME.
    let first = rest.strip_prefix("/dev/").and_then(|name| name.split('/').next());
    let is_plain = first.and_then(disk_letter).is_some();
    let at = rest.match_indices('/').map(|(at, _)| at).nth(if is_plain { 2 } else { 3 });
    at.map_or((rest, ""), |at| (&rest[..at], &rest[at + 1..]))
}

async fn booted_subvolume(
    guestfs: &mut Guestfs,
    device: &str,
    group: &[String],
) -> Result<Option<String>, Error> {
    let of = |path: &str| {
        let path = path.trim_matches('/');
        group.iter().find(|root| split(root).1 == path).cloned()
    };
    for root in group {
        if !guestfs.try_run("look into a subvolume", &["mount-ro", root, "/"]).await? {
            continue;
        }
        let fstab = guestfs.read("/etc/fstab").await?;
        guestfs.run("unmount a subvolume", &["umount-all"]).await?;
        if let Some(found) = fstab.as_deref().and_then(root_subvolume).and_then(|path| of(&path)) {
            return Ok(Some(found));
        }
    }
    let first = group.first().map_or(device, String::as_str);
    let device = device_of(guestfs, first).await?;
    let top = ["mount-ro", device.as_str(), "/"];
    if !guestfs.try_run("mount a btrfs", &top).await? {
        return Ok(None);
    }
    let default =
        guestfs.attempt("find the default subvolume", &["btrfs-subvolume-get-default", "/"]);
    let default = default.await?.unwrap_or_default();
    let listed = guestfs.attempt("list the subvolumes", &["btrfs-subvolume-list", "/"]).await?;
    guestfs.run("unmount a btrfs", &["umount-all"]).await?;
    let default = default.first().map(|id| id.trim().to_owned()).unwrap_or_default();
    Ok(subvolume_path(&listed.unwrap_or_default(), &default).and_then(|path| of(&path)))
}

/// The subvolume that fstab(5) mounts at `/`, by its path.
fn root_subvolume(fstab: &str) -> Option<String> {
    let lines = fstab.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let mut fields = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = fields.find(|fields| fields.get(1) == Some(&"/"))?;
    let options = line.get(3)?;
    let path = options.split(',').find_map(|option| option.strip_prefix("subvol="))?;
    Some(path.trim_matches('/').to_owned())
}

/// The path of a subvolume in guestfish's list of structures.
fn subvolume_path(list: &[String], id: &str) -> Option<String> {
    let field = |line: &str, name: &str| {
        line.trim().strip_prefix(name).map(|value| value.trim().to_owned())
    };
    let mut current = String::new();
    for line in list {
        if let Some(found) = field(line, "btrfssubvolume_id:") {
            current = found;
        }
        if let Some(path) = field(line, "btrfssubvolume_path:").filter(|_| current == id) {
            return Some(path);
        }
    }
    None
}

/// The systems that the boot disk leads to: their root lies there, or else their `/boot` or EFI system
/// partition. Of several on that disk it is the one whose boot loader starts the others.
async fn booted(
    guestfs: &mut Guestfs,
    roots: &[String],
    vm: &SourceVm,
) -> Result<Vec<String>, Error> {
    let boot = vm.disks.iter().enumerate().find(|(_, disk)| disk.boot_order == 0);
    let boot = boot.map_or(0, |(index, _)| index);
    let mut found = Vec::new();
    for root in roots {
        if disks_of(guestfs, root).await?.contains(&boot) {
            found.push(root.clone());
        }
    }
    if found.is_empty() {
        found = with_loader_on(guestfs, roots, boot).await?;
    }
    if found.len() > 1 {
        let leading = leading(guestfs, &found).await?;
        if leading.len() == 1 {
            return Ok(leading);
        }
    }
    Ok(found)
}

/// Those whose fstab has the boot loader's files on the disk. An fstab that names disks by their order
/// means the disks of the machine that it was written on, so this is asked second.
async fn with_loader_on(
    guestfs: &mut Guestfs,
    roots: &[String],
    boot: usize,
) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for root in roots {
        let lines = guestfs.run(DOING, &["inspect-get-mountpoints", root]).await?;
        let pairs = lines.iter().filter_map(|line| line.split_once(": "));
        let loader = |at: &str| ["/boot", "/boot/efi", "/efi"].contains(&at);
        let devices: Vec<_> =
            pairs.filter(|(at, _)| loader(at)).map(|(_, device)| device.to_owned()).collect();
        for device in devices {
            if disks_of(guestfs, &device).await?.contains(&boot) && !found.contains(root) {
                found.push(root.clone());
            }
        }
    }
    Ok(found)
}

/// The numbers of the disks below a device: LVM, RAID and encryption have more layers than one.
async fn disks_of(guestfs: &mut Guestfs, device: &str) -> Result<Vec<usize>, Error> {
    let device = device_of(guestfs, device).await?;
    if let Some((disk, _)) = device.strip_prefix("/dev/").and_then(disk_letter) {
        return Ok(vec![disk]);
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_.-+".contains(c);
    if !device.chars().all(plain) {
        return Ok(Vec::new());
    }
    // libguestfs has no call for it; lsblk(8) of its appliance knows all layers.
    let doing = "find the disks of a volume";
    let command = format!("lsblk --inverse --list --noheadings --output NAME {device}");
    let told = guestfs.attempt(doing, &["debug", "sh", &command]).await?.unwrap_or_default();
    let places = guestfs.attempt(doing, &["debug", "sh", "ls -l /dev/disk/by-path"]).await?;
    let numbers = numbers(&places.unwrap_or_default());
    let number = |name: &str| numbers.get(name.trim_end_matches(|c: char| c.is_ascii_digit()));
    Ok(told.iter().filter_map(|line| number(line.trim())).copied().collect())
}

/// The device of a root, by libguestfs' name of it. Of a subvolume libguestfs 1.48 tells the appliance's
/// own name, which may be another: the file system is the one with the same UUID.
pub(super) async fn device_of(guestfs: &mut Guestfs, root: &str) -> Result<String, Error> {
    let (own, _) = split(root);
    if !root.starts_with(SUBVOLUME) {
        return Ok(own.to_owned());
    }
    let uuid = guestfs.attempt(DOING, &["vfs-uuid", root]).await?.unwrap_or_default();
    let Some(uuid) = uuid.first().filter(|uuid| !uuid.is_empty()) else {
        return Ok(own.to_owned());
    };
    for device in block_devices(guestfs).await? {
        if guestfs.tags(&device).await?.get("UUID") == Some(uuid) {
            return Ok(device);
        }
    }
    Ok(own.to_owned())
}

/// The numbers of the disks by the appliance's own names, which follow the order in which its kernel
/// found them: libguestfs attaches disk N as target N of its SCSI bus.
fn numbers(by_path: &[String]) -> BTreeMap<String, usize> {
    let number = |line: &String| {
        let (path, name) = line.rsplit_once(" -> ")?;
        let target = path.rsplit_once("-scsi-0:0:")?.1.strip_suffix(":0")?;
        Some((name.rsplit('/').next()?.to_owned(), target.parse().ok()?))
    };
    by_path.iter().filter_map(number).collect()
}

/// Those whose `grub.cfg` names the roots of all others.
async fn leading(guestfs: &mut Guestfs, roots: &[String]) -> Result<Vec<String>, Error> {
    let mut uuids = BTreeMap::new();
    for root in roots {
        let tags = guestfs.tags(split(root).0).await?;
        uuids.insert(root.clone(), tags.get("UUID").cloned().unwrap_or_default());
    }
    let mut leading = Vec::new();
    for root in roots {
        if !guestfs.try_run("look into a system", &["mount-ro", root, "/"]).await? {
            continue;
        }
        let mut text = String::new();
        for path in ["/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"] {
            text += &guestfs.read(path).await?.unwrap_or_default();
        }
        guestfs.run("unmount a system", &["umount-all"]).await?;
        let names = |(other, uuid): (&String, &String)| {
            other == root || !uuid.is_empty() && text.contains(uuid.as_str())
        };
        if !text.is_empty() && uuids.iter().all(names) {
            leading.push(root.clone());
        }
    }
    Ok(leading)
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
    fn the_user_may_name_a_root_as_the_guest_does() {
        assert!(is_named("/dev/sdb1", "/dev/sdb1") && is_named("/dev/sdb1", "/dev/vdb1"));
        assert!(is_named("btrfsvol:/dev/sda2/@", "/dev/sda2"));
        assert!(is_named("btrfsvol:/dev/sda2/@", "btrfsvol:/dev/sda2/@"));
        assert!(!is_named("/dev/sdb1", "/dev/sda1"));
    }

    #[test]
    fn fstab_tells_the_subvolume_of_the_root() {
        let of = |options: &str| root_subvolume(&format!("# x\nUUID=a / btrfs {options} 0 0\n"));
        assert_eq!(of("rw,subvol=/@,noatime").as_deref(), Some("@"));
        assert_eq!(of("subvol=@rootfs").as_deref(), Some("@rootfs"));
        assert_eq!(of("defaults"), None);
    }

    #[test]
    fn the_default_subvolume_has_a_path() {
        let list = "[0] = {\n  btrfssubvolume_id: 256\n  btrfssubvolume_top_level_id: 5\n  \
                    btrfssubvolume_path: @\n}\n[1] = {\n  btrfssubvolume_id: 268\n  \
                    btrfssubvolume_top_level_id: 266\n  btrfssubvolume_path: @/.snapshots/1/snapshot\n}";
        let lines: Vec<_> = list.lines().map(str::to_owned).collect();
        let path = subvolume_path(&lines, "268");
        assert_eq!(path.as_deref(), Some("@/.snapshots/1/snapshot"));
        assert_eq!(subvolume_path(&lines, "5"), None);
    }
}
