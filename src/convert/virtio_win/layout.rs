//! Interprets the paths of virtio-win's files: driver, Windows release, and processor.
//!
//! The ISO has `viostor/w10/amd64/viostor.sys`, packages have `drivers/by-os/amd64/w10/viostor.sys`
//! or `drivers/amd64/Win10/viostor.sys`. virt-v2v evaluates the folders in a path, in any order and
//! any case (`convert/windows_virtio.ml`), and so does this module.

use std::fmt;

/// A release of Windows that virtio-win has drivers for.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Release {
    /// Position in the order of age.
    age: u8,
    /// The short id in libosinfo's database, which libguestfs and virt-v2v use.
    pub(super) osinfo: &'static str,
    /// The folders of its drivers in lower case: on the ISO and in packages.
    pub(super) folders: [&'static str; 2],
    /// The display name.
    pub(super) name: &'static str,
}

const fn release(
    age: u8,
    osinfo: &'static str,
    folders: [&'static str; 2],
    name: &'static str,
) -> Release {
    Release { age, osinfo, folders, name }
}

/// All releases, the oldest first.
pub(super) const RELEASES: [Release; 16] = [
    release(1, "winxp", ["xp", "winxp"], "XP"),
    release(2, "win2k3", ["2k3", "win2003"], "Server 2003"),
    release(3, "winvista", ["vista", "vista"], "Vista"),
    release(4, "win2k8", ["2k8", "win2008"], "Server 2008"),
    release(5, "win7", ["w7", "win7"], "7"),
    release(6, "win2k8r2", ["2k8r2", "win2008r2"], "Server 2008 R2"),
    release(7, "win8", ["w8", "win8"], "8"),
    release(8, "win2k12", ["2k12", "win2012"], "Server 2012"),
    release(9, "win8.1", ["w8.1", "win8.1"], "8.1"),
    release(10, "win2k12r2", ["2k12r2", "win2012r2"], "Server 2012 R2"),
    release(11, "win10", ["w10", "win10"], "10"),
    release(12, "win2k16", ["2k16", "win2016"], "Server 2016"),
    release(13, "win2k19", ["2k19", "win2019"], "Server 2019"),
    release(14, "win11", ["w11", "win11"], "11"),
    release(15, "win2k22", ["2k22", "win2022"], "Server 2022"),
    release(16, "win2k25", ["2k25", "win2025"], "Server 2025"),
];

/// The release with that short id of libosinfo.
pub(super) fn by_osinfo(id: &str) -> Option<&'static Release> {
    RELEASES.iter().find(|release| release.osinfo == id)
}

/// The processors that virtio-win has drivers for and domains are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Width {
    X86,
    Amd64,
}

impl Width {
    /// The processor of a name in libguestfs or libvirt.
    pub(super) fn of(arch: &str) -> Option<Self> {
        match arch {
            "x86_64" | "amd64" => Some(Self::Amd64),
            "i386" | "i486" | "i586" | "i686" | "x86" => Some(Self::X86),
            _ => None,
        }
    }
}

impl fmt::Display for Width {
    /// Writes the name of the folder.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86 => "x86",
            Self::Amd64 => "amd64",
        })
    }
}

/// The drivers that decide the hardware of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum VirtioDriver {
    Viostor,
    Vioscsi,
    Netkvm,
}

impl fmt::Display for VirtioDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viostor => "viostor",
            Self::Vioscsi => "vioscsi",
            Self::Netkvm => "netkvm",
        })
    }
}

/// Files without which a driver is not there. SUSE's have other names.
const FILES: [(&str, VirtioDriver); 6] = [
    ("viostor.sys", VirtioDriver::Viostor),
    ("virtio_blk.sys", VirtioDriver::Viostor),
    ("vrtioblk.sys", VirtioDriver::Viostor),
    ("vioscsi.sys", VirtioDriver::Vioscsi),
    ("netkvm.inf", VirtioDriver::Netkvm),
    ("virtio_net.inf", VirtioDriver::Netkvm),
];

/// The release and the processor of a file of virtio-win, by its path; none where the path is of no
/// driver.
pub(super) fn system(path: &str) -> Option<(&'static Release, Width)> {
    let lower = path.to_lowercase();
    let (folders, _) = lower.rsplit_once('/')?;
    let has = |name: &str| folders.split('/').any(|folder| folder == name);
    let width = match (has("amd64"), has("x86") || has("i386")) {
        (_, true) => Width::X86,
        (true, false) => Width::Amd64,
        (false, false) => return None,
    };
    let release = RELEASES.iter().find(|release| release.folders.iter().any(|name| has(name)))?;
    Some((release, width))
}

/// The driver of a file, by its name.
pub(super) fn driver(path: &str) -> Option<VirtioDriver> {
    let name = path.rsplit('/').next().unwrap_or_default();
    FILES.iter().find(|(file, _)| name.eq_ignore_ascii_case(file)).map(|(_, driver)| *driver)
}

/// Whether a file is the installer of QEMU's guest agent, which virt-v2v finds in the same place.
pub(super) fn is_agent(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default().to_lowercase();
    name.ends_with(".msi") && (name.starts_with("qemu-ga") || name.starts_with("rhev-qga"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_tell_the_windows_in_any_order_and_case() {
        let of = |path: &str| system(path).map(|(release, width)| (release.osinfo, width));
        use Width::{Amd64, X86};
        for (path, found) in [
            ("viostor/w10/amd64/viostor.inf", Some(("win10", Amd64))),
            ("NetKVM/2k19/amd64/netkvm.sys", Some(("win2k19", Amd64))),
            ("VIOSTOR/W7/X86/VIOSTOR.SYS", Some(("win7", X86))),
            ("drivers/by-os/amd64/2k8R2/viostor.sys", Some(("win2k8r2", Amd64))),
            ("drivers/amd64/Win2012R2/netkvm.sys", Some(("win2k12r2", Amd64))),
            ("drivers/i386/Win8.1/viostor.sys", Some(("win8.1", X86))),
            ("amd64/w11/viostor.sys", Some(("win11", Amd64))),
            ("vioscsi/2k25/amd64/vioscsi.sys", Some(("win2k25", Amd64))),
            ("viostor/w11/ARM64/viostor.sys", None),
            ("viostor/w99/amd64/viostor.sys", None),
            ("w10-amd64-viostor.sys", None),
            ("virtio-win_license.txt", None),
        ] {
            assert_eq!(of(path), found, "{path}");
        }
        assert_eq!(driver("A/VioStor.SYS"), Some(VirtioDriver::Viostor));
        assert_eq!(driver("a/netkvm.pdb"), None);
        assert!(is_agent("guest-agent/qemu-ga-x86_64.msi") && !is_agent("virtio-win-gt-x64.msi"));
    }
}
