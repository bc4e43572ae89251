//! Guest families, each with a hardware profile in `vendor-xml/`.

use crate::model::{GuestOs, OsFamily};

use super::guest::{Windows, linux, windows};

/// A family of guests that use the same hardware profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Linux with virtio drivers.
    Linux,
    /// Linux without virtio: kernels before 2.6.25.
    LinuxLegacy,
    /// Windows 7, 2008 R2 and newer, or of unknown version.
    Windows,
    /// Windows XP, 2003, Vista, 2008 and older.
    WindowsLegacy,
    /// Any other guest: only devices that need no special driver.
    Generic,
}

/// Last major version of a distribution whose original kernel had no virtio.
const LAST_WITHOUT_VIRTIO: [(&str, u32); 6] =
    [("rhel", 5), ("centos", 5), ("oracle", 5), ("asianux", 3), ("debian", 4), ("sles", 10)];
/// Distributions that were discontinued before virtio existed.
const ENDED_BEFORE: [&str; 6] = ["rhl", "nld", "oes", "kernel-2.4", "mandrake", "turbolinux"];

impl Family {
    /// The family of a guest operating system. A Linux of unknown version counts as modern: the
    /// converter detects whether it supports virtio.
    pub fn of(guest: &GuestOs) -> Self {
        match guest.family {
            OsFamily::Linux if is_legacy_linux(guest) => Self::LinuxLegacy,
            OsFamily::Linux => Self::Linux,
            OsFamily::Windows if windows(guest).is_some_and(|w| w <= Windows::Server2008) => {
                Self::WindowsLegacy
            }
            OsFamily::Windows => Self::Windows,
            OsFamily::Unknown => Self::Generic,
        }
    }

    /// Whether the family is Windows of any version.
    pub fn is_windows(self) -> bool {
        matches!(self, Self::Windows | Self::WindowsLegacy)
    }
}

fn is_legacy_linux(guest: &GuestOs) -> bool {
    let Some(linux) = linux(guest) else { return false };
    let Some(distribution) = linux.distribution else { return false };
    let last = LAST_WITHOUT_VIRTIO.iter().find(|(name, _)| *name == distribution);
    ENDED_BEFORE.contains(&distribution)
        || last.is_some_and(|(_, last)| linux.major.is_some_and(|major| major <= *last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_guest_decides_by_id_or_name() {
        let of = |family, id: &str, name: &str| {
            Family::of(&GuestOs {
                id: id.to_owned(),
                full_name: name.to_owned(),
                family,
                network: None,
            })
        };
        for (id, name, family) in [
            ("rhel5_64Guest", "Red Hat Enterprise Linux 5 (64-bit)", Family::LinuxLegacy),
            ("rhel6_64Guest", "", Family::Linux),
            ("centos64Guest", "CentOS 4/5 or later (64-bit)", Family::Linux),
            ("centosGuest", "CentOS release 5.11 (Final)", Family::LinuxLegacy),
            ("other24xLinuxGuest", "", Family::LinuxLegacy),
            ("sles10_64Guest", "SUSE Linux Enterprise 10 (64-bit)", Family::LinuxLegacy),
            ("ubuntu64Guest", "Ubuntu Linux (64-bit)", Family::Linux),
        ] {
            assert_eq!(of(OsFamily::Linux, id, name), family, "{id} {name}");
        }
        for (id, name, family) in [
            ("winXPProGuest", "", Family::WindowsLegacy),
            ("winNetEnterpriseGuest", "", Family::WindowsLegacy),
            ("", "Microsoft Windows Server 2008 (64-bit)", Family::WindowsLegacy),
            ("", "Microsoft Windows Server 2008 R2 (64-bit)", Family::Windows),
            ("windows9Server64Guest", "", Family::Windows),
            ("", "", Family::Windows),
        ] {
            assert_eq!(of(OsFamily::Windows, id, name), family, "{id} {name}");
        }
        assert_eq!(of(OsFamily::Unknown, "otherGuest64", "Other"), Family::Generic);
    }
}
