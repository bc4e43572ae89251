//! INSPECT: finds the system on the disks, and mounts its file systems as the system itself does.

use serde::Serialize;

use crate::convert::Error;
use crate::model::OsFamily;

use super::devices::GuestDevices;
use super::guestfs::Guestfs;
use super::{mounts, systems};

/// The operating system of a guest, in libguestfs' terms (guestfs(3), "INSPECTION").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Guest {
    /// Device of the root file system: `/dev/sda1`, `btrfsvol:/dev/sda2/@`.
    pub(super) root: String,
    /// Type of the operating system: `linux`, `windows`, …
    pub(super) os: String,
    /// Name of the distribution: `debian`, `rhel`, …
    pub(super) distribution: String,
    /// Display name of the operating system: `Debian GNU/Linux 12`.
    pub(super) product: String,
    /// Major version of the operating system.
    pub(super) major: u32,
    /// Minor version of the operating system.
    pub(super) minor: u32,
    /// Architecture of the operating system: `x86_64`, …
    pub(super) arch: String,
    /// For Windows: the short id in libosinfo's database, by which virt-v2v chooses drivers.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) osinfo: String,
    /// Hostname of the guest.
    pub(super) hostname: String,
    /// Package manager of the guest: `apt`, `dnf`, …
    pub(super) packages: String,
    /// File systems of the guest: mount point and device, the shortest mount point first.
    pub(super) mounts: Vec<(String, String)>,
}

/// Families of operating systems that need different tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SystemFamily {
    RedHat,
    Suse,
    OtherLinux,
    Windows,
    Other,
}

impl Guest {
    pub(super) fn family(&self) -> SystemFamily {
        match (self.os.as_str(), self.distribution.as_str()) {
            ("windows", _) => SystemFamily::Windows,
            (
                "linux",
                "rhel" | "centos" | "fedora" | "rocky" | "almalinux" | "oraclelinux"
                | "scientificlinux" | "redhat-based" | "circle" | "openeuler",
            ) => SystemFamily::RedHat,
            ("linux", "sles" | "opensuse" | "suse-based") => SystemFamily::Suse,
            ("linux", _) => SystemFamily::OtherLinux,
            _ => SystemFamily::Other,
        }
    }

    /// The family in the manifest's terms.
    pub(super) fn os_family(&self) -> OsFamily {
        match self.os.as_str() {
            "linux" => OsFamily::Linux,
            "windows" => OsFamily::Windows,
            _ => OsFamily::Unknown,
        }
    }

    /// Reads libguestfs' facts about the system with this root.
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
            osinfo: String::new(),
            hostname: ask("inspect-get-hostname").await?,
            packages: ask("inspect-get-package-management").await?,
            mounts: Vec::new(),
        };
        if guest.family() == SystemFamily::Windows {
            guest.osinfo = ask("inspect-get-osinfo").await?;
        }
        // For Debian, libguestfs returns only the version number.
        if !guest.product.contains(|c: char| c.is_alphabetic()) {
            guest.product = format!("{} {}", guest.distribution, guest.product);
        }
        let doing = "finding the guest's mount points";
        let lines = guestfs.run(doing, &["inspect-get-mountpoints", root]).await?;
        let pairs = lines.iter().filter_map(|line| line.split_once(": "));
        guest.mounts = pairs.map(|(at, device)| (at.to_owned(), device.to_owned())).collect();
        Ok(guest)
    }
}

/// Finds the guest's system and mounts its file systems: the root that was found, whatever name it
/// has in fstab, and the system's other file systems.
///
/// # Errors
/// [`Error::NoSystem`] when there is no system; [`Error::Systems`] when there are several and none
/// of them is `wanted`.
pub(super) async fn inspect(
    guestfs: &mut Guestfs,
    choice: &systems::SystemChoice<'_>,
) -> Result<(Guest, GuestDevices), Error> {
    let roots = systems::roots(guestfs).await?;
    let mut devices = GuestDevices::find(guestfs, choice.vm).await?;
    let root = systems::choose(guestfs, roots, &devices, choice).await?;
    let mut guest = Guest::read(guestfs, &root).await?;
    let doing = format!("mounting {root} of the guest");
    guestfs.run(&doing, &["mount", &root, "/"]).await?;
    let device = systems::device_of(guestfs, &root, &devices).await?;
    let fstab = guestfs.read("/etc/fstab").await?.unwrap_or_default();
    devices.know_system(device, &fstab);
    mounts::mount(guestfs, &mut guest, &devices, &fstab).await?;
    Ok((guest, devices))
}
