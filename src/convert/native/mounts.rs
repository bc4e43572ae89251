//! Mounts the file systems of a guest besides its root where the guest has them. libguestfs
//! resolves some of them, hyperexport further names in fstab and in mount units, and systemd finds
//! some by their partition type.

use crate::convert::Error;

use super::devices::GuestDevices;
use super::fix::units;
use super::guestfs::Guestfs;
use super::inspect::Guest;
use super::systems::{self, SUBVOLUME};

/// Mount points that FIX needs besides `/`: the boot loader's files and those of the packages. Data
/// stays unmounted, since a mount alone writes to a file system that was not unmounted.
const NEEDED: [&str; 6] = ["/boot", "/efi", "/etc", "/opt", "/usr", "/var"];
/// Types of the partitions that systemd mounts without a line in fstab, with their mount points:
/// the first that exists and is empty (systemd-gpt-auto-generator(8)).
const BY_TYPE: [(&str, &[&str]); 2] = [
    ("bc13c2ff-59e6-4262-a352-b275fd6f7172", &["/boot"]),
    ("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", &["/efi", "/boot"]),
];

/// Mounts the file systems that FIX needs; [`Guest::mounts`] then contains all mount points.
pub(super) async fn mount(
    guestfs: &mut Guestfs,
    guest: &mut Guest,
    devices: &GuestDevices,
    fstab: &str,
) -> Result<(), Error> {
    let mut mounts = guest.mounts.clone();
    mounts.retain(|(at, _)| at != "/");
    if guest.os == "linux" {
        mounts.retain(|(_, device)| is_known(device, devices));
        add(&mut mounts, of_table(fstab, devices));
        for path in guestfs.glob(units::MOUNTS).await? {
            let text = guestfs.read(&path).await?.unwrap_or_default();
            let named = units::mount(&text);
            let found = named.and_then(|(at, name)| Some((at.to_owned(), devices.resolve(name)?)));
            add(&mut mounts, found);
        }
    }
    mounts.sort_by_key(|(at, _)| at.len());
    for (at, device) in mounts.iter().filter(|(at, _)| is_needed(at)) {
        // The guest's fstab may name devices that no longer exist.
        guestfs.try_run(&format!("mounting {device} of the guest"), &["mount", device, at]).await?;
    }
    if guest.os == "linux" {
        mounts.extend(by_type(guestfs, &guest.root, devices, &mounts).await?);
    }
    mounts.push(("/".to_owned(), guest.root.clone()));
    mounts.sort_by_key(|(at, _)| at.len());
    guest.mounts = mounts;
    Ok(())
}

/// Adds those mounts whose mount point is not taken yet.
fn add(mounts: &mut Vec<(String, String)>, more: impl IntoIterator<Item = (String, String)>) {
    for (at, device) in more {
        if at != "/" && !mounts.iter().any(|(other, _)| *other == at) {
            mounts.push((at, device));
        }
    }
}

/// Whether libguestfs has resolved the name: an unknown name is returned as it is in fstab.
fn is_known(device: &str, devices: &GuestDevices) -> bool {
    devices.has(systems::split(device).0)
}

/// The mount points of fstab(5) with their devices by libguestfs' names.
fn of_table(fstab: &str, devices: &GuestDevices) -> Vec<(String, String)> {
    let lines = fstab.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (name, at) = (fields.next()?, fields.next()?);
        let options = fields.nth(1).unwrap_or_default();
        let device = devices.resolve(name).filter(|_| at.starts_with('/'))?;
        let subvolume = options.split(',').find_map(|option| option.strip_prefix("subvol="));
        let device = match subvolume.map(|path| path.trim_start_matches('/')) {
            Some(path) if !path.is_empty() => format!("{SUBVOLUME}{device}/{path}"),
            _ => device,
        };
        Some((at.to_owned(), device))
    });
    pairs.collect()
}

fn is_needed(mount_point: &str) -> bool {
    let below = |top: &str| {
        let rest = mount_point.strip_prefix(top);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    NEEDED.iter().any(|top| below(top))
}

/// Mounts the partitions of the root's disk that systemd finds by their types; returns them.
async fn by_type(
    guestfs: &mut Guestfs,
    root: &str,
    devices: &GuestDevices,
    mounts: &[(String, String)],
) -> Result<Vec<(String, String)>, Error> {
    let mut found: Vec<(String, String)> = Vec::new();
    let disks = systems::disks_of(guestfs, root, devices).await?;
    for (kind, points) in BY_TYPE {
        let of_type: Vec<_> = devices.with_tag("PART_ENTRY_TYPE", kind).cloned().collect();
        for device in of_type {
            let is_mounted = mounts.iter().any(|(_, other)| *other == device);
            let is_of_root = systems::disks_of(guestfs, &device, devices).await?;
            if is_mounted || !is_of_root.iter().any(|disk| disks.contains(disk)) {
                continue;
            }
            for at in points {
                let is_taken = mounts.iter().chain(&found).any(|(other, _)| other == at);
                if is_taken || !is_empty(guestfs, at).await? {
                    continue;
                }
                let doing = format!("mounting {device} of the guest");
                if guestfs.try_run(&doing, &["mount", &device, at]).await? {
                    found.push(((*at).to_owned(), device));
                }
                break;
            }
        }
    }
    Ok(found)
}

/// Whether the path is an empty folder.
async fn is_empty(guestfs: &mut Guestfs, path: &str) -> Result<bool, Error> {
    Ok(guestfs.is_dir(path).await?
        && guestfs.run("searching for the guest's /boot", &["ls", path]).await?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::native::devices::devices;

    #[test]
    fn data_is_not_mounted() {
        for needed in ["/boot", "/boot/efi", "/usr", "/var/lib", "/efi"] {
            assert!(is_needed(needed), "{needed}");
        }
        for data in ["/home", "/data", "/srv", "/bootstrap", "/varnish"] {
            assert!(!is_needed(data), "{data}");
        }
    }

    #[test]
    fn names_that_libguestfs_hands_on_are_resolved_here() {
        let devices = devices(&[("/dev/sda1", "root"), ("/dev/sda2", "boot")]);
        assert!(is_known("/dev/sda2", &devices) && is_known("btrfsvol:/dev/sda2/@/x", &devices));
        for handed_on in ["/dev/nvme0n1p2", "/dev/disk/by-path/x", "LABEL=x"] {
            assert!(!is_known(handed_on, &devices), "{handed_on}");
        }
        let fstab = "# /dev/sda9 /x ext4\nUUID=boot /boot ext4 rw 0 2\nUUID=gone /srv xfs rw 0 0\n\
                     UUID=root /var btrfs rw,subvol=/@/var 0 0\n/dev/sda2 none swap sw 0 0\n";
        let pair = |at: &str, device: &str| (at.to_owned(), device.to_owned());
        assert_eq!(
            of_table(fstab, &devices),
            [pair("/boot", "/dev/sda2"), pair("/var", "btrfsvol:/dev/sda1/@/var")]
        );
    }
}
