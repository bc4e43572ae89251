//! INSPECT: what system is on the disks, and its file systems mounted as it does itself.

use serde::Serialize;

use crate::convert::Error;

use super::guestfs::Guestfs;

/// The system of a guest, in libguestfs' words (guestfs(3), "INSPECTION").
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Guest {
    /// The device of its root file system: `/dev/sda1`.
    pub(super) root: String,
    /// `linux`, `windows`, …
    pub(super) os: String,
    /// `debian`, `rhel`, …
    pub(super) distribution: String,
    /// For people: `Debian GNU/Linux 12`.
    pub(super) product: String,
    /// Its major version.
    pub(super) major: u32,
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
    Debian,
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
            ("linux", "debian" | "ubuntu" | "linuxmint" | "kalilinux") => Family::Debian,
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
}

/// Finds the guest's system and mounts its file systems.
///
/// # Errors
/// [`Error::Guestfs`] when there is none, or more than one.
pub(super) async fn inspect(guestfs: &mut Guestfs) -> Result<Guest, Error> {
    let doing = "look for an operating system";
    let none = |message: &str| Error::Guestfs { doing: doing.to_owned(), message: message.into() };
    let roots = guestfs.run(doing, &["inspect-os"]).await?;
    let root = match roots.as_slice() {
        [root] => root.clone(),
        [] => return Err(none("there is none, or it is encrypted")),
        _ => return Err(none("there is more than one")),
    };
    let mut ask = async |what: &str| guestfs.ask(&[what, &root]).await;
    let mut guest = Guest {
        os: ask("inspect-get-type").await?,
        distribution: ask("inspect-get-distro").await?,
        product: ask("inspect-get-product-name").await?,
        major: ask("inspect-get-major-version").await?.parse().unwrap_or(0),
        arch: ask("inspect-get-arch").await?,
        hostname: ask("inspect-get-hostname").await?,
        packages: ask("inspect-get-package-management").await?,
        mounts: Vec::new(),
        root,
    };
    // Of Debian libguestfs knows no more than the number.
    if !guest.product.contains(|c: char| c.is_alphabetic()) {
        guest.product = format!("{} {}", guest.distribution, guest.product);
    }
    let doing = "find the guest's mount points";
    let lines = guestfs.run(doing, &["inspect-get-mountpoints", &guest.root]).await?;
    let pairs = lines.iter().filter_map(|line| line.split_once(": "));
    guest.mounts = pairs.map(|(at, device)| (at.to_owned(), device.to_owned())).collect();
    guest.mounts.sort_by_key(|(at, _)| at.len());
    for (at, device) in &guest.mounts {
        let doing = format!("mount {device} of the guest");
        if at == "/" {
            guestfs.run(&doing, &["mount", device, at]).await?;
        } else {
            // Its fstab may name what is long gone.
            guestfs.try_run(&doing, &["mount", device, at]).await?;
        }
    }
    Ok(guest)
}
