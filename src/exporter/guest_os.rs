//! Which family of operating systems a guest belongs to.

use crate::model::OsFamily;

/// The guest's family by `guest.guestFamily` if Tools told it, else by the configured guest id
/// (vim25, `VirtualMachineGuestOsIdentifier`), whose names seldom say "linux".
pub(super) fn os_family(guest_family: &str, guest_id: &str) -> OsFamily {
    const LINUX: [&str; 22] = [
        "linux", "ubuntu", "debian", "rhel", "redhat", "centos", "sles", "suse", "oracle",
        "fedora", "amazon", "photon", "coreos", "rocky", "alma", "asianux", "mandrake", "mandriva",
        "turbo", "nld", "oes", "crxpod",
    ];
    match guest_family {
        "linuxGuest" => return OsFamily::Linux,
        "windowsGuest" => return OsFamily::Windows,
        _ => {}
    }
    let id = guest_id.to_lowercase();
    if id.starts_with("win") {
        OsFamily::Windows
    } else if LINUX.iter().any(|name| id.contains(name)) {
        OsFamily::Linux
    } else {
        OsFamily::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_families_are_known_by_tools_or_by_id() {
        assert_eq!(os_family("linuxGuest", "otherGuest"), OsFamily::Linux);
        for id in ["rhel9_64Guest", "sles15_64Guest", "other5xLinux64Guest", "vmwarePhoton64Guest"]
        {
            assert_eq!(os_family("", id), OsFamily::Linux, "{id}");
        }
        for id in ["windows2019srv_64Guest", "winNetEnterpriseGuest"] {
            assert_eq!(os_family("", id), OsFamily::Windows, "{id}");
        }
        for id in ["darwin20_64Guest", "freebsd13_64Guest", ""] {
            assert_eq!(os_family("", id), OsFamily::Unknown, "{id}");
        }
    }
}
