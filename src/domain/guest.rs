//! Identifies a guest by the ID and name at its source: Windows release, or Linux distribution and
//! major version. The ID is VMware's (vim25, `VirtualMachineGuestOsIdentifier`).

use crate::model::{GuestOs, OsFamily};

/// Windows releases in order of age; a server release is next to the desktop release with its
/// kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Windows {
    /// Windows 2000 and older.
    Win2000,
    Xp,
    Server2003,
    Vista,
    Server2008,
    Win7,
    Server2008R2,
    Win8,
    Server2012,
    Win10,
    Server2016,
    Server2019,
    Win11,
    Server2022,
    Server2025,
}

/// Parts of full names in lower case, the more specific first.
const WINDOWS_NAMES: [(&str, Windows); 22] = [
    ("server 2025", Windows::Server2025),
    ("server 2022", Windows::Server2022),
    ("server 2019", Windows::Server2019),
    ("server 2016", Windows::Server2016),
    ("server 2012", Windows::Server2012),
    ("server 2011", Windows::Server2008R2),
    ("server 2008 r2", Windows::Server2008R2),
    ("server 2008", Windows::Server2008),
    ("server 2003", Windows::Server2003),
    ("windows 2000", Windows::Win2000),
    ("windows nt", Windows::Win2000),
    ("windows 95", Windows::Win2000),
    ("windows 98", Windows::Win2000),
    ("windows me", Windows::Win2000),
    ("windows millennium", Windows::Win2000),
    ("windows 3.", Windows::Win2000),
    ("windows xp", Windows::Xp),
    ("windows vista", Windows::Vista),
    ("windows 7", Windows::Win7),
    ("windows 8", Windows::Win8),
    ("windows 10", Windows::Win10),
    ("windows 11", Windows::Win11),
];

/// Prefixes of IDs in lower case, the more specific first: those of vSphere, and those of
/// VirtualBox. VirtualBox's `Windows2008_64` may also be 2008 R2.
const WINDOWS_IDS: [(&str, Windows); 42] = [
    ("windows2025", Windows::Server2025),
    ("windows2022srvnext", Windows::Server2025),
    ("windows2022", Windows::Server2022),
    ("windows2019srvnext", Windows::Server2022),
    ("windows2019", Windows::Server2019),
    ("windows2016", Windows::Server2016),
    ("windows2012", Windows::Server2012),
    ("windows2008", Windows::Server2008),
    ("windows2003", Windows::Server2003),
    ("windows2000", Windows::Win2000),
    ("windows12server", Windows::Server2025),
    ("windows12", Windows::Win11),
    ("windows11", Windows::Win11),
    ("windows10", Windows::Win10),
    ("windows9server", Windows::Server2016),
    ("windows9srv", Windows::Server2016),
    ("windows95", Windows::Win2000),
    ("windows98", Windows::Win2000),
    ("windows9", Windows::Win10),
    ("windows8server", Windows::Server2012),
    ("windows8srv", Windows::Server2012),
    ("windows8", Windows::Win8),
    ("windows7server", Windows::Server2008R2),
    ("windows7srv", Windows::Server2008R2),
    ("windows7", Windows::Win7),
    ("windowsvista", Windows::Vista),
    ("windowsxp", Windows::Xp),
    ("windowsnt3", Windows::Win2000),
    ("windowsnt4", Windows::Win2000),
    ("windowsme", Windows::Win2000),
    ("windows31", Windows::Win2000),
    ("winlonghorn", Windows::Server2008),
    ("longhorn", Windows::Server2008),
    ("winvista", Windows::Vista),
    ("winnet", Windows::Server2003),
    ("winxp", Windows::Xp),
    ("win2000", Windows::Win2000),
    ("winnt", Windows::Win2000),
    ("win9", Windows::Win2000),
    ("winme", Windows::Win2000),
    ("win31", Windows::Win2000),
    ("win2003", Windows::Server2003),
];

/// The Windows release, if the guest is Windows and its release is given. "Server 2016 or later"
/// counts as the oldest possible release.
pub(super) fn windows(guest: &GuestOs) -> Option<Windows> {
    if guest.family != OsFamily::Windows {
        return None;
    }
    let name = guest.full_name.to_lowercase();
    let by_name = WINDOWS_NAMES.iter().find(|(part, _)| name.contains(part));
    // A name may be an ID: VirtualBox writes its ID as the description.
    let ids = [guest.id.to_lowercase(), name.clone()];
    let by_id = || WINDOWS_IDS.iter().find(|(start, _)| ids.iter().any(|id| is_id(id, start)));
    by_name.or_else(by_id).map(|found| found.1)
}

/// Whether the source leaves the Windows release open.
pub(super) fn is_open(guest: &GuestOs) -> bool {
    let is_or_later = guest.full_name.to_lowercase().contains("or later");
    is_or_later || windows(guest).is_none()
}

/// Short libosinfo IDs of the releases that a Windows guest may be. Several if its source uses one
/// name for several releases; none if the release is unknown.
pub fn windows_ids(guest: &GuestOs) -> Vec<String> {
    if is_open(guest) {
        return Vec::new();
    }
    let id = osinfo(guest).unwrap_or_default();
    let short = id.rsplit('/').next().unwrap_or_default();
    let alike = [("8", "8.1"), ("10", "11"), ("2k12", "2k12r2"), ("2k8", "2k8r2")];
    let later = alike.iter().find(|(name, _)| *name == short).map(|(_, later)| *later);
    [short].into_iter().chain(later).map(|short| format!("win{short}")).collect()
}

/// Whether a disk with the release `found` may belong to a guest with the release `said`. Windows
/// 11 still calls itself 10 in its registry, and one VirtualBox ID covers two releases.
pub(super) fn may_be(said: Windows, found: Windows) -> bool {
    let alike = [(Windows::Win11, Windows::Win10), (Windows::Server2008, Windows::Server2008R2)];
    said == found || alike.contains(&(said, found))
}

/// Whether a text is an ID with this prefix: IDs in VMX files of ARM guests begin with `arm-`.
fn is_id(text: &str, start: &str) -> bool {
    text.strip_prefix("arm-").unwrap_or(text).starts_with(start)
}

/// Whether the guest has a driver for SATA: Windows has one since Vista.
pub(super) fn knows_sata(guest: &GuestOs) -> bool {
    windows(guest).is_none_or(|release| release > Windows::Server2003)
}

/// A Linux distribution and its major version, as far as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Linux {
    /// A key of [`DISTRIBUTIONS`], or `None`.
    pub distribution: Option<&'static str>,
    /// Major version of the distribution.
    pub major: Option<u32>,
}

/// Key, prefix of the ID in lower case, and part of the full name in lower case; the more specific
/// first. `RedHat9_64`, `Oracle9_64` and `SUSE_LE_64` are VirtualBox's.
const DISTRIBUTIONS: [(&str, &str, &str); 20] = [
    ("rhel", "rhel", "red hat enterprise linux"),
    ("rhl", "redhatguest", "red hat linux"),
    ("rhel", "redhat", "redhat"),
    ("centos", "centos", "centos"),
    ("rocky", "rockylinux", "rocky linux"),
    ("alma", "almalinux", "almalinux"),
    ("oracle", "oraclelinux", "oracle linux"),
    ("oracle", "oracle", "oracle linux"),
    ("debian", "debian", "debian"),
    ("ubuntu", "ubuntu", "ubuntu"),
    ("sles", "suse_le", "suse linux enterprise"),
    ("sles", "sles", "suse linux enterprise"),
    ("opensuse", "opensuse", "opensuse"),
    ("fedora", "fedora", "fedora"),
    ("asianux", "asianux", "asianux"),
    ("nld", "nld", "novell linux desktop"),
    ("oes", "oes", "open enterprise server"),
    ("kernel-2.4", "other24x", "linux 2.4"),
    ("mandrake", "mandrake", "mandrake"),
    ("turbolinux", "turbolinux", "turbolinux"),
];

/// The distribution of a Linux guest.
pub(super) fn linux(guest: &GuestOs) -> Option<Linux> {
    if guest.family != OsFamily::Linux {
        return None;
    }
    let (name, id) = (guest.full_name.to_lowercase(), guest.id.to_lowercase());
    let told = |(key, start, part): &(&'static str, &str, &str)| {
        let in_name = name.find(part).map(|at| &name[at + part.len()..]);
        let in_id = id.strip_prefix("arm-").unwrap_or(&id).strip_prefix(start);
        (in_name.is_some() || in_id.is_some()).then(|| Linux {
            distribution: Some(*key),
            major: in_name.and_then(version_in_name).or_else(|| in_id.and_then(version_in_id)),
        })
    };
    let found = DISTRIBUTIONS.iter().find_map(told);
    Some(found.unwrap_or(Linux { distribution: None, major: None }))
}

/// The version in the rest of a full name. `4/5 or later` and `4/5/6/7` name no single version, and
/// `64-bit` is no version.
fn version_in_name(rest: &str) -> Option<u32> {
    let plain = rest.split('(').next().unwrap_or_default();
    if plain.contains("or later") {
        return None;
    }
    let mut words = plain.split(|c: char| c == '_' || c.is_whitespace());
    let is_width =
        |word: &str| ["64", "32"].contains(&word.trim_end_matches("bit").trim_end_matches('-'));
    let is_number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && !is_width(word);
    words.find(is_number).filter(|word| !word.contains('/')).and_then(leading_number)
}

/// The version that follows in an ID: `9_64guest`.
fn version_in_id(rest: &str) -> Option<u32> {
    // `ubuntu64Guest` and `centos64Guest` end with the word size, not with a version.
    leading_number(rest).filter(|_| !rest.starts_with("64guest"))
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// ID of the guest in libosinfo's database, from which virt-manager chooses icon and defaults.
/// `None` for an unknown guest.
pub(super) fn osinfo(guest: &GuestOs) -> Option<String> {
    match guest.family {
        OsFamily::Windows => windows(guest).map(|release| osinfo_windows(release, guest)),
        OsFamily::Linux => Some(osinfo_linux(linux(guest)?)),
        OsFamily::Unknown => None,
    }
}

fn osinfo_windows(release: Windows, guest: &GuestOs) -> String {
    let name = guest.full_name.to_lowercase();
    let short = match release {
        Windows::Win2000 => "2k",
        Windows::Xp => "xp",
        Windows::Server2003 => "2k3",
        Windows::Vista => "vista",
        Windows::Server2008 => "2k8",
        Windows::Win7 => "7",
        Windows::Server2008R2 => "2k8r2",
        Windows::Win8 if name.contains("8.1") => "8.1",
        Windows::Win8 => "8",
        Windows::Server2012 if name.contains("r2") => "2k12r2",
        Windows::Server2012 => "2k12",
        Windows::Win10 => "10",
        Windows::Server2016 => "2k16",
        Windows::Server2019 => "2k19",
        Windows::Win11 => "11",
        Windows::Server2022 => "2k22",
        Windows::Server2025 => "2k25",
    };
    format!("http://microsoft.com/win/{short}")
}

fn osinfo_linux(linux: Linux) -> String {
    let generic = || "http://libosinfo.org/linux/2022".to_owned();
    let (Some(distribution), Some(major)) = (linux.distribution, linux.major) else {
        return generic();
    };
    match (distribution, major) {
        ("rhel", 7..) => format!("http://redhat.com/rhel/{major}-unknown"),
        ("rhel", _) => format!("http://redhat.com/rhel/{major}.0"),
        ("centos", 8..) => format!("http://centos.org/centos-stream/{major}"),
        ("centos", _) => format!("http://centos.org/centos/{major}.0"),
        ("rocky", _) => format!("http://rockylinux.org/rocky/{major}-unknown"),
        ("alma", _) => format!("http://almalinux.org/almalinux/{major}"),
        ("oracle", _) => format!("http://oracle.com/ol/{major}.0"),
        ("debian", _) => format!("http://debian.org/debian/{major}"),
        // A release of an odd year or of October is not LTS: the major version alone does not
        // identify it.
        ("ubuntu", _) if major % 2 == 0 => format!("http://ubuntu.com/ubuntu/{major}.04"),
        ("sles", 15..) => format!("http://suse.com/sle/{major}-unknown"),
        ("sles", _) => format!("http://suse.com/sles/{major}"),
        ("fedora", _) => format!("http://fedoraproject.org/fedora/{major}"),
        _ => generic(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(family: OsFamily, id: &str, full_name: &str) -> GuestOs {
        GuestOs { id: id.to_owned(), full_name: full_name.to_owned(), family, network: None }
    }

    #[test]
    fn windows_is_known_by_name_and_by_id() {
        let by_name = |name| windows(&guest(OsFamily::Windows, "", name));
        for (name, release) in [
            ("Microsoft Windows Server 2008 R2 (64-bit)", Windows::Server2008R2),
            ("Microsoft Windows Server 2008 (32-bit)", Windows::Server2008),
            ("Microsoft Windows Server 2003 Standard (32-bit)", Windows::Server2003),
            ("Microsoft Windows 11 (64-bit)", Windows::Win11),
            ("Microsoft Windows 10 (64-bit)", Windows::Win10),
            ("Microsoft Windows Server 2016 or later (64-bit)", Windows::Server2016),
        ] {
            assert_eq!(by_name(name), Some(release), "{name}");
        }
        for (id, release) in [
            ("winNetEnterprise64Guest", Windows::Server2003),
            ("winLonghorn64Guest", Windows::Server2008),
            ("windows7Server64Guest", Windows::Server2008R2),
            ("windows2019srvNext_64Guest", Windows::Server2022),
            ("windows2022srvNext_64Guest", Windows::Server2025),
            ("winXPProGuest", Windows::Xp),
            ("longhornGuest", Windows::Server2008),
            ("winVista64Guest", Windows::Vista),
            ("win98Guest", Windows::Win2000),
            ("windows9_64Guest", Windows::Win10),
            ("windows9Server64Guest", Windows::Server2016),
            ("windows7srv_64Guest", Windows::Server2008R2),
            ("windows12_64Guest", Windows::Win11),
            ("arm-windows11_64Guest", Windows::Win11),
            ("Windows2008_64", Windows::Server2008),
            ("Windows2003", Windows::Server2003),
            ("Windows98", Windows::Win2000),
            ("WindowsNT4", Windows::Win2000),
            ("WindowsVista_64", Windows::Vista),
            ("Windows2012_64", Windows::Server2012),
            ("Windows10_64", Windows::Win10),
            ("Windows81_64", Windows::Win8),
        ] {
            assert_eq!(windows(&guest(OsFamily::Windows, id, "")), Some(release), "{id}");
        }
        assert_eq!(by_name("Windows2008_64"), Some(Windows::Server2008));
        assert_eq!(by_name("Windows"), None);
        assert_eq!(windows(&guest(OsFamily::Windows, "WindowsNT_64", "")), None, "any other");
        assert_eq!(windows(&guest(OsFamily::Linux, "windows9Guest", "")), None);
    }

    #[test]
    fn a_name_may_stand_for_several_releases() {
        let ids = |id: &str, name: &str| windows_ids(&guest(OsFamily::Windows, id, name)).join(" ");
        for (name, releases) in [
            ("Microsoft Windows 10 (64-bit)", "win10 win11"),
            ("Microsoft Windows 11 (64-bit)", "win11"),
            ("Microsoft Windows 7 (32-bit)", "win7"),
            ("Microsoft Windows 8.x (64-bit)", "win8 win8.1"),
            ("Microsoft Windows Server 2012 (64-bit)", "win2k12 win2k12r2"),
            ("Windows Server 2012 R2 Standard", "win2k12r2"),
            ("Microsoft Windows Server 2025 (64-bit)", "win2k25"),
            ("Microsoft Windows Server 2016 or later (64-bit)", ""),
            ("Windows", ""),
        ] {
            assert_eq!(ids("", name), releases, "{name}");
        }
        assert_eq!(ids("windows2019srvNext_64Guest", ""), "win2k22");
        assert_eq!(windows_ids(&guest(OsFamily::Linux, "windows9Guest", "")), [""; 0]);
    }

    #[test]
    fn linux_is_known_with_its_version_where_one_is_told() {
        let told = |id, name| {
            let found = linux(&guest(OsFamily::Linux, id, name)).expect("Linux");
            (found.distribution, found.major)
        };
        assert_eq!(told("rhel5_64Guest", ""), (Some("rhel"), Some(5)));
        assert_eq!(told("", "Red Hat Enterprise Linux 9 (64-bit)"), (Some("rhel"), Some(9)));
        assert_eq!(told("centos64Guest", "CentOS 4/5 or later (64-bit)"), (Some("centos"), None));
        assert_eq!(told("centos64Guest", "CentOS Linux 7 (64-bit)"), (Some("centos"), Some(7)));
        assert_eq!(told("ubuntu64Guest", "Ubuntu Linux (64-bit)"), (Some("ubuntu"), None));
        assert_eq!(told("debian11_64Guest", "Debian GNU/Linux 11 (64-bit)").1, Some(11));
        assert_eq!(told("other6xLinux64Guest", ""), (None, None));
        assert_eq!(told("Debian12_64", "Debian12_64"), (Some("debian"), Some(12)));
        assert_eq!(told("Debian_64", "Debian_64"), (Some("debian"), None));
        assert_eq!(told("Ubuntu22_LTS_64", "Ubuntu22_LTS_64"), (Some("ubuntu"), Some(22)));
        assert_eq!(told("Oracle9_64", "Oracle9_64"), (Some("oracle"), Some(9)));
        assert_eq!(told("RedHat9_64", "RedHat9_64"), (Some("rhel"), Some(9)));
        assert_eq!(told("RedHat_64", ""), (Some("rhel"), None));
        assert_eq!(told("redhatGuest", ""), (Some("rhl"), None));
        assert_eq!(told("", "Ubuntu 64-bit"), (Some("ubuntu"), None));
        assert_eq!(told("", "Debian GNU/Linux 12 64-bit").1, Some(12));
        assert_eq!(told("arm-debian12_64Guest", ""), (Some("debian"), Some(12)));
    }

    #[test]
    fn libosinfo_ids_are_those_of_its_database() {
        let id = |family, id, name| osinfo(&guest(family, id, name)).unwrap_or_default();
        let linux = |guest_id, name| id(OsFamily::Linux, guest_id, name);
        assert_eq!(linux("rhel9_64Guest", ""), "http://redhat.com/rhel/9-unknown");
        assert_eq!(linux("", "CentOS 7 (64-bit)"), "http://centos.org/centos/7.0");
        assert_eq!(linux("ubuntu64Guest", "Ubuntu 22.04.3 LTS"), "http://ubuntu.com/ubuntu/22.04");
        assert_eq!(linux("ubuntu64Guest", ""), "http://libosinfo.org/linux/2022");
        let windows = |name| id(OsFamily::Windows, "", name);
        assert_eq!(windows("Windows Server 2012 R2"), "http://microsoft.com/win/2k12r2");
        assert_eq!(windows("Windows Server 2022"), "http://microsoft.com/win/2k22");
        assert_eq!(osinfo(&guest(OsFamily::Unknown, "otherGuest", "Other")), None);
    }
}
