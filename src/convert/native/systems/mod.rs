//! Chooses the system that the VM boots, among the systems on its disks.
//!
//! Several disks may each contain a system (an old disk kept as data), and one btrfs shows a root
//! for every snapshot of it. The VM boots the system that its boot disk leads to; `--root`
//! overrides that choice.

mod core_image;
mod layers;
mod loaders;
mod subvolumes;

use crate::convert::Error;
use crate::model::{Firmware, SourceVm, disk_target};

use super::devices::GuestDevices;
use super::guestfs::Guestfs;

use self::core_image::LeadsTo;
use self::layers::origins;
use self::loaders::{Root, Site};
use self::subvolumes::Group;

pub(super) use self::layers::{
    SUBVOLUME, block_devices, device_of, disks_of, encrypted, opened_as, split,
};

const DOING: &str = "searching for an operating system";

/// The criteria for the choice between several systems.
#[derive(Debug, Clone, Copy)]
pub(super) struct SystemChoice<'a> {
    /// The VM, which may name its boot disk.
    pub(super) vm: &'a SourceVm,
    /// The root that the user names.
    pub(super) root: Option<&'a str>,
}

/// The roots of all systems.
///
/// # Errors
/// [`Error::NoSystem`] when there is none.
pub(super) async fn roots(guestfs: &mut Guestfs) -> Result<Vec<String>, Error> {
    let roots = guestfs.run(DOING, &["inspect-os"]).await?;
    if roots.is_empty() {
        return Err(none(guestfs).await?);
    }
    Ok(roots)
}

/// The root of the system to fix.
///
/// # Errors
/// [`Error::Systems`] when there are several and nothing shows which one is meant.
pub(super) async fn choose(
    guestfs: &mut Guestfs,
    roots: Vec<String>,
    devices: &GuestDevices,
    choice: &SystemChoice<'_>,
) -> Result<String, Error> {
    if let Some(wanted) = choice.root {
        return match named(&roots, wanted, devices) {
            Some(root) => Ok(root.clone()),
            None => Err(several(guestfs, &roots, Some(wanted)).await?),
        };
    }
    if let [root] = roots.as_slice() {
        return Ok(root.clone());
    }
    let boots = boots(guestfs, &roots, devices).await?;
    let roots = without_snapshots(guestfs, roots, devices, &boots).await?;
    if let [root] = roots.as_slice() {
        return Ok(root.clone());
    }
    match booted(guestfs, &roots, devices, choice.vm, boots).await?.as_slice() {
        [root] => Ok(root.clone()),
        _ => Err(several(guestfs, &roots, None).await?),
    }
}

/// The root that the user means. libguestfs' own names, which the error message lists, take
/// precedence over the guest's.
fn named<'a>(roots: &'a [String], wanted: &str, devices: &GuestDevices) -> Option<&'a String> {
    let meant = devices.all(wanted);
    let is_meant = |root: &&String| meant.iter().any(|device| device == split(root).0);
    roots.iter().find(|root| is_named(root, wanted)).or_else(|| roots.iter().find(is_meant))
}

/// Whether the user means this root: `/dev/vda1` is the guest's own name for `/dev/sda1`.
fn is_named(root: &str, wanted: &str) -> bool {
    let (device, _) = split(root);
    let wanted = in_appliance(wanted);
    root == wanted || device == wanted
}

/// libguestfs' name of a disk or partition, from the guest's kernel name.
pub(super) fn in_appliance(name: &str) -> String {
    let own = ["/dev/vd", "/dev/hd", "/dev/xvd"];
    let as_sd = own.iter().find_map(|prefix| name.strip_prefix(prefix));
    as_sd.map_or_else(|| name.to_owned(), |rest| format!("/dev/sd{rest}"))
}

/// The error for a missing system; it distinguishes an encrypted disk from an empty one.
async fn none(guestfs: &mut Guestfs) -> Result<Error, Error> {
    let encrypted = encrypted(guestfs).await?;
    Ok(Error::NoSystem { encrypted })
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

/// Reads the file systems that are no roots: EFI system partitions and separate `/boot`s.
async fn boots(
    guestfs: &mut Guestfs,
    roots: &[String],
    devices: &GuestDevices,
) -> Result<Vec<Site>, Error> {
    let mut own = Vec::new();
    for root in roots {
        own.push(device_of(guestfs, root, devices).await?);
    }
    let own: Vec<_> = own.iter().map(String::as_str).collect();
    let mut sites = Vec::new();
    for device in loaders::candidates(guestfs, &own).await? {
        sites.push(Site::of_boot(guestfs, &device).await?);
    }
    Ok(sites)
}

/// The roots without those that are snapshots of another one.
async fn without_snapshots(
    guestfs: &mut Guestfs,
    roots: Vec<String>,
    devices: &GuestDevices,
    boots: &[Site],
) -> Result<Vec<String>, Error> {
    let mut kept = Vec::new();
    for (device, roots) in by_device(guestfs, roots, devices).await? {
        if let [_] = roots.as_slice() {
            kept.extend(roots);
            continue;
        }
        let group = Group { device: &device, roots: &roots };
        match subvolumes::booted(guestfs, &group, boots, devices).await? {
            Some(root) => kept.push(root),
            None => kept.extend(roots),
        }
    }
    Ok(kept)
}

/// Groups roots by their device, in the order of their first root.
async fn by_device(
    guestfs: &mut Guestfs,
    roots: Vec<String>,
    devices: &GuestDevices,
) -> Result<Vec<(String, Vec<String>)>, Error> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for root in roots {
        let device = device_of(guestfs, &root, devices).await?;
        match groups.iter_mut().find(|(other, _)| *other == device) {
            Some((_, group)) => group.push(root),
            None => groups.push((device, vec![root])),
        }
    }
    Ok(groups)
}

/// The systems that the boot disk leads to: their root is there, or else their `/boot` or EFI
/// system partition. Of several on that disk, the one that the boot loader starts first.
async fn booted(
    guestfs: &mut Guestfs,
    roots: &[String],
    devices: &GuestDevices,
    vm: &SourceVm,
    boots: Vec<Site>,
) -> Result<Vec<String>, Error> {
    let boot = vm.disks.iter().enumerate().find(|(_, disk)| disk.boot_order == 0);
    let boot = boot.map_or(0, |(index, _)| index);
    let mut found = Vec::new();
    for root in roots {
        if disks_of(guestfs, root, devices).await?.contains(&boot) {
            found.push(root.clone());
        }
    }
    if found.is_empty() {
        found = with_loader_on(guestfs, roots, devices, boot).await?;
    }
    if let [_] = found.as_slice() {
        return Ok(found);
    }
    let found = if found.is_empty() { roots.to_vec() } else { found };
    let mut sites = Vec::new();
    for site in boots {
        if disks_of(guestfs, &site.device, devices).await?.contains(&boot) {
            sites.push(site);
        }
    }
    if vm.firmware == Firmware::Bios && !sites.iter().any(Site::leads_on) {
        sites.extend(of_boot_sector(guestfs, boot, devices).await?);
    }
    let mut roots = Vec::new();
    for name in found {
        let device = device_of(guestfs, &name, devices).await?;
        sites.extend(Site::of_root(guestfs, &name, &device).await?);
        roots.push(Root { name, device });
    }
    started(guestfs, sites, roots, devices).await
}

/// The file system that the GRUB in the boot sector of a disk leads to.
async fn of_boot_sector(
    guestfs: &mut Guestfs,
    boot: usize,
    devices: &GuestDevices,
) -> Result<Option<Site>, Error> {
    let disk = format!("/dev/{}", disk_target("sd", boot));
    let uuid = match core_image::of_disk(guestfs, &disk).await? {
        Some(LeadsTo::Uuid(uuid)) => Some(uuid),
        Some(LeadsTo::Partition(number)) => {
            devices.tag(&format!("{disk}{number}"), "UUID").map(str::to_owned)
        }
        None => None,
    };
    Ok(uuid.map(|uuid| Site::of_boot_sector(&uuid)))
}

/// The systems that the boot loaders start first. Copies count only where no boot loader names one.
async fn started(
    guestfs: &mut Guestfs,
    sites: Vec<Site>,
    roots: Vec<Root>,
    devices: &GuestDevices,
) -> Result<Vec<String>, Error> {
    let first = loaders::started(&sites, &roots, devices);
    if let [_] = first.as_slice() {
        return Ok(first);
    }
    let mut own = loaders::without_copies(&sites, &roots, devices);
    let origins = origins(guestfs).await?;
    let is_snapshot = |name: &String| {
        let root = roots.iter().find(|root| root.name == *name);
        let origin = root.and_then(|root| origins.get(&root.device));
        origin.is_some_and(|origin| roots.iter().any(|root| root.device == *origin))
    };
    own.retain(|name| !is_snapshot(name));
    if own.is_empty() {
        return Ok(roots.into_iter().map(|root| root.name).collect());
    }
    let rest: Vec<_> = roots.into_iter().filter(|root| own.contains(&root.name)).collect();
    let first = loaders::started(&sites, &rest, devices);
    Ok(if first.len() == 1 { first } else { own })
}

/// The systems whose fstab places the boot loader's files on the disk. An fstab that names disks by
/// their order refers to the disks of the machine on which it was written, so this criterion comes
/// second.
async fn with_loader_on(
    guestfs: &mut Guestfs,
    roots: &[String],
    devices: &GuestDevices,
    boot: usize,
) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for root in roots {
        let lines = guestfs.run(DOING, &["inspect-get-mountpoints", root]).await?;
        let pairs = lines.iter().filter_map(|line| line.split_once(": "));
        let loader = |at: &str| ["/boot", "/boot/efi", "/efi"].contains(&at);
        let holding: Vec<_> =
            pairs.filter(|(at, _)| loader(at)).map(|(_, device)| device.to_owned()).collect();
        for device in holding {
            if disks_of(guestfs, &device, devices).await?.contains(&boot) && !found.contains(root) {
                found.push(root.clone());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::devices::tagged;
    use super::*;

    #[test]
    fn a_root_has_all_names_of_its_device() {
        let devices = tagged(&[
            ("/dev/sda1", vec![("UUID", "5eed"), ("LABEL", "old")]),
            ("/dev/sdb1", vec![("UUID", "da7a")]),
            ("/dev/vg/root", vec![("UUID", "1a4a")]),
        ]);
        let roots = ["/dev/sda1", "/dev/sdb1", "/dev/vg/root"].map(str::to_owned);
        for (wanted, found) in [
            ("/dev/sdb1", Some(1)),
            ("/dev/vdb1", Some(1)),
            ("UUID=da7a", Some(1)),
            ("/dev/disk/by-uuid/5eed", Some(0)),
            ("LABEL=old", Some(0)),
            ("/dev/mapper/vg-root", Some(2)),
            ("/dev/sdc1", None),
            ("UUID=beef", None),
        ] {
            let expected = found.map(|index: usize| &roots[index]);
            assert_eq!(named(&roots, wanted, &devices), expected, "{wanted}");
        }
    }

    #[test]
    fn the_user_may_name_a_root_as_the_guest_does() {
        assert!(is_named("/dev/sdb1", "/dev/sdb1") && is_named("/dev/sdb1", "/dev/vdb1"));
        assert!(is_named("btrfsvol:/dev/sda2/@", "/dev/sda2"));
        assert!(is_named("btrfsvol:/dev/sda2/@", "btrfsvol:/dev/sda2/@"));
        assert!(!is_named("/dev/sdb1", "/dev/sda1"));
    }
}
