//! INSPECT: which system is on the disks, its file systems mounted as the system itself does.

use serde::Serialize;

use crate::convert::Error;
use crate::model::OsFamily;

use super::devices::Devices;
use super::guestfs::Guestfs;
use super::systems;

/// The system of a guest, in libguestfs' words (guestfs(3), "INSPECTION").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Guest {
    /// Where its root file system is: `/dev/sda1`, `btrfsvol:/dev/sda2/@`.
    pub(super) root: String,
    /// `linux`, `windows`, …
    pub(super) os: String,
    /// `debian`, `rhel`, …
    pub(super) distribution: String,
    /// For people: `Debian GNU/Linux 12`.
    pub(super) product: String,
    /// Its major version.
    pub(super) major: u32,
    /// Its minor version.
    pub(super) minor: u32,
    /// `x86_64`, …
    pub(super) arch: String,
    /// Name of the host.
    pub(super) hostname: String,
    /// `apt`, `dnf`, …
    pub(super) packages: String,
    /// Where its file systems belong: mount point and device, the shortest first.
    pub(super) mounts: Vec<(String, String)>,
}

/// The families whose tools differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    RedHat,
    Suse,
    OtherLinux,
    Windows,
    Other,
}

impl Guest {
    /// Its family.
    pub(super) fn family(&self) -> Family {
        match (self.os.as_str(), self.distribution.as_str()) {
            ("windows", _) => Family::Windows,
            (
                "linux",
                "rhel" | "centos" | "fedora" | "rocky" | "almalinux" | "oraclelinux"
                | "scientificlinux" | "redhat-based" | "circle" | "openeuler",
            ) => Family::RedHat,
            ("linux", "sles" | "opensuse" | "suse-based") => Family::Suse,
            ("linux", _) => Family::OtherLinux,
            _ => Family::Other,
        }
    }

    /// Its family in the terms of the manifest.
    pub(super) fn os_family(&self) -> OsFamily {
        match self.os.as_str() {
            "linux" => OsFamily::Linux,
            "windows" => OsFamily::Windows,
            _ => OsFamily::Unknown,
        }
    }

    /// Reads what libguestfs knows of the system with this root.
    pub(super) async fn read(guestfs: &mut Guestfs, root: &str) -> Result<Self, Error> {
        let mut ask = async |what: &str| guestfs.ask(&[what, root]).await;
        let mut guest = Self {
            root: root.to_owned(),
            os: ask("inspect-get-type").await?,
            distribution: ask("inspect-get-distro").await?,
            product: ask("inspect-get-product-name").await?,
            major: ask("inspect-get-major-version").await?.parse().unwrap_or(0),
            minor: ask("inspect-get-minor-version").await?.parse().unwrap_or(0),
            arch: ask("inspect-get-arch").await?,
            hostname: ask("inspect-get-hostname").await?,
            packages: ask("inspect-get-package-management").await?,
            mounts: Vec::new(),
        };
        // Of Debian libguestfs knows no more than the number.
        if !guest.product.contains(|c: char| c.is_alphabetic()) {
            guest.product = format!("{} {}", guest.distribution, guest.product);
        }
        let doing = "find the guest's mount points";
        let lines = guestfs.run(doing, &["inspect-get-mountpoints", root]).await?;
        let pairs = lines.iter().filter_map(|line| line.split_once(": "));
        guest.mounts = pairs.map(|(at, device)| (at.to_owned(), device.to_owned())).collect();
        Ok(guest)
    }
}

/// What a fix needs mounted besides `/`: the boot loader's files and those of the packages. Data
/// stays unmounted, since a mount alone writes to a file system that was not unmounted.
const NEEDED: [&str; 6] = ["/boot", "/efi", "/etc", "/opt", "/usr", "/var"];

fn is_needed(mount_point: &str) -> bool {
    let below = |top: &str| {
        let rest = mount_point.strip_prefix(top);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    NEEDED.iter().any(|top| below(top))
}

/// Finds the guest's system and mounts its file systems: the root that was found, whatever fstab
/// calls it, and what else fstab names.
///
/// # Errors
/// [`Error::Guestfs`] when there is no system, or more than one and none of them is `wanted`.
pub(super) async fn inspect(
    guestfs: &mut Guestfs,
    choice: &systems::Choice<'_>,
) -> Result<(Guest, Devices), Error> {
    let mut guest = systems::choose(guestfs, choice).await?;
    mount(guestfs, &guest.root, "/").await?;
    let devices = Devices::find(guestfs, &guest.root, choice.vm).await?;
    if guest.os == "linux" {
        guest.mounts = mount_points(guestfs, &guest, &devices).await?;
    }
    for (at, device) in guest.mounts.iter().filter(|(at, _)| at != "/" && is_needed(at)) {
        // Its fstab may name what is long gone.
        guestfs.try_run(&format!("mount {device} of the guest"), &["mount", device, at]).await?;
    }
    Ok((guest, devices))
}

async fn mount(guestfs: &mut Guestfs, device: &str, at: &str) -> Result<(), Error> {
    let doing = format!("mount {device} of the guest");
    guestfs.run(&doing, &["mount", device, at]).await.map(drop)
}

/// The mount points by libguestfs, and those whose names in fstab only we resolve.
async fn mount_points(
    guestfs: &mut Guestfs,
    guest: &Guest,
    devices: &Devices,
) -> Result<Vec<(String, String)>, Error> {
    let is_device = |device: &str| {
        let plain = device.strip_prefix("btrfsvol:").unwrap_or(device);
        !plain.starts_with("/dev/disk/") && !plain.contains('=')
    };
    let mut mounts: Vec<_> = guest.mounts.clone();
    mounts.retain(|(at, device)| at != "/" && is_device(device));
    let fstab = guestfs.read("/etc/fstab").await?.unwrap_or_default();
    for line in fstab.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [name, at, ..] = fields.as_slice() else { continue };
        let known = mounts.iter().any(|(other, _)| other == at);
        if known || *at == "/" || !at.starts_with('/') {
            continue;
        }
        if let Some(device) = devices.resolve(name) {
            mounts.push(((*at).to_owned(), device.to_owned()));
        }
    }
    mounts.push(("/".to_owned(), guest.root.clone()));
    mounts.sort_by_key(|(at, _)| at.len());
    Ok(mounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_not_mounted() {
        for needed in ["/boot", "/boot/efi", "/usr", "/var/lib", "/efi"] {
            assert!(is_needed(needed), "{needed}");
        }
        for data in ["/home", "/data", "/srv", "/bootstrap", "/varnish"] {
            assert!(!is_needed(data), "{data}");
        }
    }
}
