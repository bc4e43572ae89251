//! Derives a guest's family and architecture from the names that sources use.
//!
//! The names are the ids of VMware (vim25, `VirtualMachineGuestOsIdentifier` of vSphere 8.0 U3; the
//! VMX's `guestOS`), those of VirtualBox (`VBoxManage list ostypes`), and display names.

use crate::model::{OsFamily, normal_arch};

/// Parts of a word that mean Linux anywhere in the word: `other5xLinux64Guest`.
const LINUX_PARTS: [&str; 10] = [
    "centos", "debian", "fedora", "kylin", "linux", "mandriva", "photon", "redhat", "suse",
    "ubuntu",
];

/// Prefixes of words that mean Linux. Most ids of Linux do not contain "linux".
const LINUX_BEGINNINGS: [&str; 29] = [
    "alma",
    "alpine",
    "amazon",
    "anolis",
    "asianux",
    "coreos",
    "crx",
    "euleros",
    "flatcar",
    "fusionos",
    "gentoo",
    "kali",
    "mageia",
    "mandrake",
    "miracle",
    "nixos",
    "nld",
    "oes",
    "openeuler",
    "oracle",
    "pardus",
    "rhel",
    "rocky",
    "sjds",
    "sled",
    "sles",
    "turbo",
    "uniontech",
    "xandros",
];

/// Parts of a word that mean neither Linux nor Windows, although other words of the name may:
/// `Oracle Solaris`.
const OTHERS: [&str; 2] = ["bsd", "solaris"];

/// Prefixes of words that mean Windows, besides `windows` and `win` with a number. Those of vSphere
/// begin with `win`; `longhorn` (Server 2008), `whistler` (XP) and `nt4` are from VMX files.
const WINDOWS_BEGINNINGS: [&str; 11] = [
    "longhorn",
    "nt4",
    "whistler",
    "winhyperv",
    "winlonghorn",
    "winme",
    "winnet",
    "winnt",
    "winserver",
    "winvista",
    "winxp",
];

/// The guest's family: by `guest.guestFamily`, which VMware Tools report, else by the first of
/// `words` with a known family.
pub(super) fn os_family(guest_family: &str, words: &[&str]) -> OsFamily {
    match guest_family {
        "linuxGuest" => OsFamily::Linux,
        "windowsGuest" => OsFamily::Windows,
        _ => {
            let mut told = words.iter().map(|text| family_of(text));
            told.find(|family| *family != OsFamily::Unknown).unwrap_or_default()
        }
    }
}

fn family_of(text: &str) -> OsFamily {
    let text = text.to_lowercase();
    let words = || words(&text);
    if words().any(|word| OTHERS.iter().any(|part| word.contains(part))) {
        return OsFamily::Unknown;
    }
    words().map(family_of_word).find(|family| *family != OsFamily::Unknown).unwrap_or_default()
}

fn family_of_word(word: &str) -> OsFamily {
    let begins = |all: &[&str]| all.iter().any(|beginning| word.starts_with(beginning));
    let numbered = word.strip_prefix("win").is_some_and(|rest| {
        rest.starts_with("dows") || rest.starts_with(|c: char| c.is_ascii_digit())
    });
    if numbered || begins(&WINDOWS_BEGINNINGS) {
        OsFamily::Windows
    } else if begins(&LINUX_BEGINNINGS) || LINUX_PARTS.iter().any(|part| word.contains(part)) {
        OsFamily::Linux
    } else {
        OsFamily::Unknown
    }
}

/// The guest's architecture by its libvirt name, from the first of `words` with a known one. Ids of
/// 32-bit guests contain no number, like ids without a meaning: both yield `None`.
pub(super) fn arch(words: &[&str]) -> Option<String> {
    words.iter().find_map(|text| arch_of(text)).map(str::to_owned)
}

fn arch_of(text: &str) -> Option<&'static str> {
    let text = text.to_lowercase();
    let has = |test: &dyn Fn(&str) -> bool| words(&text).any(test);
    if has(&|word| word.starts_with("aarch64") || word.starts_with("arm64")) {
        return Some("aarch64");
    }
    if has(&|word| word == "arm" || word.starts_with("armv")) {
        return Some(if has(&|word| word.starts_with("32")) { "armv7l" } else { "aarch64" });
    }
    let other = ["ppc64le", "ppc64", "s390x", "riscv64", "loongarch64"];
    if let Some(other) = other.into_iter().find(|name| has(&|word| word == *name)) {
        return Some(other);
    }
    let is_64 = |word: &str| {
        let number = word.strip_suffix("guest").unwrap_or(word);
        // `rhel9` ends with a version; the word width stands alone or after letters.
        number.ends_with("64") && !number.ends_with("ia64") || word == "otherguest64"
    };
    has(&is_64).then_some("x86_64")
}

/// The words of a text, in lower case.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Facts about the guest that VMware Tools wrote (`guestOS.detailed.data`,
/// `guestInfo.detailed.data`): `architecture='X86' bitness='64' familyName='Linux'
/// prettyName='Debian GNU/Linux 12' …`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Detailed<'a> {
    /// `Debian GNU/Linux 12 (bookworm)`; empty if absent.
    pub(super) pretty_name: &'a str,
    /// `Linux`, `Windows`; empty if absent.
    pub(super) family: &'a str,
    architecture: &'a str,
    bitness: &'a str,
}

impl<'a> Detailed<'a> {
    /// Parses the text; absent fields stay empty.
    pub(super) fn read(text: &'a str) -> Self {
        let value = |key: &str| {
            let (_, rest) = text.split_once(&format!("{key}='"))?;
            rest.split('\'').next().map(str::trim)
        };
        Self {
            pretty_name: value("prettyName").unwrap_or_default(),
            family: value("familyName").unwrap_or_default(),
            architecture: value("architecture").unwrap_or_default(),
            bitness: value("bitness").unwrap_or_default(),
        }
    }

    /// The architecture by its libvirt name.
    pub(super) fn arch(self) -> Option<String> {
        let name = self.architecture.to_lowercase();
        Some(match (name.as_str(), self.bitness) {
            ("", _) => return None,
            ("x86", "64") => "x86_64".to_owned(),
            ("arm", "32") => "armv7l".to_owned(),
            ("arm", _) => "aarch64".to_owned(),
            (name, _) => normal_arch(name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guest ids of vSphere 8.0 U3 and of VMX files, by family.
    const WINDOWS: &str = "
        win31Guest win95Guest win98Guest winMeGuest winNTGuest win2000ProGuest win2000ServGuest
        win2000AdvServGuest winXPHomeGuest winXPProGuest winXPPro64Guest winNetWebGuest
        winNetStandardGuest winNetEnterpriseGuest winNetDatacenterGuest winNetBusinessGuest
        winNetStandard64Guest winNetEnterprise64Guest winLonghornGuest winLonghorn64Guest
        winNetDatacenter64Guest winVistaGuest winVista64Guest windows7Guest windows7_64Guest
        windows7Server64Guest windows8Guest windows8_64Guest windows8Server64Guest windows9Guest
        windows9_64Guest windows9Server64Guest windows11_64Guest windows12_64Guest
        windowsHyperVGuest windows2019srv_64Guest windows2019srvNext_64Guest
        windows2022srvNext_64Guest
        win31 win95 win98 winme winnt nt4 win2000 win2000pro win2000serv win2000advserv winxphome
        whistler winxppro winxppro-64 winnetweb winnetstandard winnetenterprise winnetdatacenter
        winnetbusiness winnetstandard-64 winnetenterprise-64 winnetdatacenter-64 longhorn
        longhorn-64 winvista winvista-64 windows7 windows7-64 windows7srv-64 windows8 windows8-64
        windows8srv-64 windows9 windows9-64 windows9srv-64 windows2019srv-64 windows2019srvnext-64
        windows2022srvnext-64 windows11-64 windows12-64 winhyperv winServer2008Enterprise-32
        winServer2008Datacenter-64 winVistaUltimate-32 arm-windows11-64 longhornGuest
        longhorn64Guest";
    const LINUX: &str = "
        redhatGuest rhel2Guest rhel3Guest rhel3_64Guest rhel4Guest rhel4_64Guest rhel5Guest
        rhel5_64Guest rhel6Guest rhel6_64Guest rhel7Guest rhel7_64Guest rhel8_64Guest rhel9_64Guest
        rhel10_64Guest centosGuest centos64Guest centos6Guest centos6_64Guest centos7Guest
        centos7_64Guest centos8_64Guest centos9_64Guest oracleLinuxGuest oracleLinux64Guest
        oracleLinux6Guest oracleLinux6_64Guest oracleLinux7Guest oracleLinux7_64Guest
        oracleLinux8_64Guest oracleLinux9_64Guest oracleLinux10_64Guest suseGuest suse64Guest
        slesGuest sles64Guest sles10Guest sles10_64Guest sles11Guest sles11_64Guest sles12Guest
        sles12_64Guest sles15_64Guest sles16_64Guest nld9Guest oesGuest sjdsGuest mandrakeGuest
        mandrivaGuest mandriva64Guest turboLinuxGuest turboLinux64Guest ubuntuGuest ubuntu64Guest
        debian4Guest debian4_64Guest debian5Guest debian5_64Guest debian6Guest debian6_64Guest
        debian7Guest debian7_64Guest debian8Guest debian8_64Guest debian9Guest debian9_64Guest
        debian10Guest debian10_64Guest debian11Guest debian11_64Guest debian12Guest
        debian12_64Guest debian13Guest debian13_64Guest asianux3Guest asianux3_64Guest
        asianux4Guest asianux4_64Guest asianux5_64Guest asianux7_64Guest asianux8_64Guest
        asianux9_64Guest miraclelinux_64Guest pardus_64Guest opensuseGuest opensuse64Guest
        fedoraGuest fedora64Guest coreos64Guest vmwarePhoton64Guest other24xLinuxGuest
        other26xLinuxGuest otherLinuxGuest other3xLinuxGuest other4xLinuxGuest other5xLinuxGuest
        other6xLinuxGuest other7xLinuxGuest genericLinuxGuest other24xLinux64Guest
        other26xLinux64Guest other3xLinux64Guest other4xLinux64Guest other5xLinux64Guest
        other6xLinux64Guest other7xLinux64Guest otherLinux64Guest amazonlinux2_64Guest
        amazonlinux3_64Guest crxPod1Guest crxSys1Guest rockylinux_64Guest almalinux_64Guest
        fusionos_64Guest prolinux_64Guest kylinlinux_64Guest flatcar_64Guest
        redhat rhel2 rhel9-64 centos-64 oraclelinux8-64 suse suse-64 sles15-64 mandrake
        mandrake-64 mandriva-64 turbolinux-64 ubuntu-64 debian12-64 asianux8-64 nld9 oes sjds
        opensuse-64 fedora-64 coreos-64 vmware-photon-64 other24xlinux other6xlinux-64 linux
        otherlinux-64 genericlinux amazonlinux2-64 CRXPod1-64 CRXSys1-64 rockylinux-64
        almalinux-64 arm-debian12-64 arm-ubuntu-64 arm-fedora-64 arm-other5xlinux-64
        arm-vmware-photon-64";
    const UNKNOWN: &str = "
        dosGuest freebsdGuest freebsd64Guest freebsd11Guest freebsd11_64Guest freebsd12Guest
        freebsd12_64Guest freebsd13Guest freebsd13_64Guest freebsd14Guest freebsd14_64Guest
        freebsd15Guest freebsd15_64Guest solaris6Guest solaris7Guest solaris8Guest solaris9Guest
        solaris10Guest solaris10_64Guest solaris11_64Guest os2Guest eComStationGuest
        eComStation2Guest netware4Guest netware5Guest netware6Guest openServer5Guest
        openServer6Guest unixWare7Guest darwinGuest darwin64Guest darwin10Guest darwin10_64Guest
        darwin11Guest darwin11_64Guest darwin12_64Guest darwin13_64Guest darwin14_64Guest
        darwin15_64Guest darwin16_64Guest darwin17_64Guest darwin18_64Guest darwin19_64Guest
        darwin20_64Guest darwin21_64Guest darwin22_64Guest darwin23_64Guest vmkernelGuest
        vmkernel5Guest vmkernel6Guest vmkernel65Guest vmkernel7Guest vmkernel8Guest vmkernel9Guest
        otherGuest otherGuest64
        dos os2 os2experimental freeBSD13-64 solaris11-64 netware6 darwin21-64 vmkernel7 openserver6
        unixware7 other other-64 arm-freebsd14-64 arm-other-64";
    /// The OS types of VirtualBox 7.1, by family.
    const VIRTUALBOX: [(OsFamily, &str); 3] = [
        (
            OsFamily::Windows,
            "Windows31 Windows95 Windows98 WindowsMe WindowsNT3x WindowsNT4 Windows2000 WindowsXP
             WindowsXP_64 Windows2003_64 WindowsVista_64 Windows2008 Windows2008_64 Windows7_64
             Windows8_64 Windows81_64 Windows2012_64 Windows10_64 Windows2016_64 Windows2019_64
             Windows2022_64 Windows2025_64 Windows11_64 Windows11_arm64 WindowsNT_64",
        ),
        (
            OsFamily::Linux,
            "Linux22 Linux24_64 Linux26 Linux_64 ArchLinux_64 ArchLinux_arm64 Debian Debian_64
             Debian12_64 Debian_arm64 Debian12_arm64 Fedora_64 Gentoo_64 Mandriva_64 OpenMandriva_Lx
             Mageia_64 Oracle_64 Oracle9_64 Oracle_arm64 RedHat RedHat9_64 OpenSUSE_Leap_64
             OpenSUSE_Tumbleweed_64 SUSE_LE_64 Turbolinux_64 Ubuntu Ubuntu22_LTS_64 Ubuntu_arm64
             Lubuntu_64 Xubuntu_64 Xandros_64",
        ),
        (
            OsFamily::Unknown,
            "Other Other_64 Solaris11_64 OpenSolaris_64 FreeBSD_64 OpenBSD NetBSD_arm64 OS2Warp45 OS2eCS
             MacOS1013_64 DOS Netware L4 QNX JRockitVE VBoxBS_64 Haiku_64 ArcaOS",
        ),
    ];

    #[test]
    fn every_id_of_vmware_and_virtualbox_has_its_family() {
        let vmware =
            [(OsFamily::Windows, WINDOWS), (OsFamily::Linux, LINUX), (OsFamily::Unknown, UNKNOWN)];
        for (family, ids) in vmware.into_iter().chain(VIRTUALBOX) {
            for id in ids.split_whitespace() {
                assert_eq!(os_family("", &[id]), family, "{id}");
            }
        }
    }

    #[test]
    fn names_for_people_tell_the_family_by_whole_words() {
        for (name, family) in [
            ("Microsoft Windows Server 2016 (64-bit)", OsFamily::Windows),
            ("Debian GNU/Linux 12 (64-bit)", OsFamily::Linux),
            ("Red Hat Enterprise Linux 9 (64-bit)", OsFamily::Linux),
            ("SUSE Linux Enterprise 15", OsFamily::Linux),
            ("Wind River Linux LTS 22", OsFamily::Linux),
            ("Oracle Solaris 11 (64-bit)", OsFamily::Unknown),
            ("FreeBSD 13 or later versions (64-bit)", OsFamily::Unknown),
            ("This guest does what winners do", OsFamily::Unknown),
            ("The kind of installed guest operating system", OsFamily::Unknown),
            ("Microsoft MS-DOS", OsFamily::Unknown),
            ("", OsFamily::Unknown),
        ] {
            assert_eq!(os_family("", &[name]), family, "{name}");
        }
        assert_eq!(os_family("linuxGuest", &["otherGuest"]), OsFamily::Linux);
        assert_eq!(os_family("", &["otherGuest64", "Debian GNU/Linux 12"]), OsFamily::Linux);
    }

    #[test]
    fn ids_and_names_tell_the_architecture() {
        let arm = "arm-debian12-64 arm-debian12_64Guest arm-other-64 debian12_arm64Guest
            Debian_arm64 Windows11_arm64 arm-freebsd14-64";
        let x86 = "debian12_64Guest ubuntu64Guest otherGuest64 windows7Server64Guest rhel9-64
            Debian_64 Windows2008_64 other5xLinux64Guest winXPPro64Guest";
        let open = "debian12Guest winXPProGuest rhel6 other Windows2008 Debian12 vmkernel65Guest";
        for (arch_told, ids) in [(Some("aarch64"), arm), (Some("x86_64"), x86), (None, open)] {
            for id in ids.split_whitespace() {
                assert_eq!(arch(&[id]).as_deref(), arch_told, "{id}");
            }
        }
        assert_eq!(arch(&["", "Debian 12 (ARM 64-bit)"]).as_deref(), Some("aarch64"));
        assert_eq!(arch(&["Debian (ARM 32-bit)"]).as_deref(), Some("armv7l"));
        assert_eq!(arch(&["debian_ppc64le"]).as_deref(), Some("ppc64le"));
        assert_eq!(arch(&["Debian GNU/Linux 12 (64-bit)"]).as_deref(), Some("x86_64"));
        assert_eq!(arch(&["Alarm clock", "charm"]), None);
    }

    #[test]
    fn what_tools_wrote_tells_more_than_the_id() {
        let text = "architecture='Arm' bitness='64' distroName='Ubuntu 22.04' familyName='Linux' \
                    prettyName='Ubuntu 22.04.1 LTS'";
        let told = Detailed::read(text);
        assert_eq!((told.pretty_name, told.family), ("Ubuntu 22.04.1 LTS", "Linux"));
        assert_eq!(told.arch().as_deref(), Some("aarch64"));
        let arch = |text| Detailed::read(text).arch();
        assert_eq!(arch("architecture='X86' bitness='64'").as_deref(), Some("x86_64"));
        assert_eq!(arch("architecture='X86' bitness='32'").as_deref(), Some("i686"));
        assert_eq!(arch(""), None);
        assert_eq!(
            Detailed::read("prettyName='open"),
            Detailed { pretty_name: "open", ..Detailed::default() }
        );
    }
}
