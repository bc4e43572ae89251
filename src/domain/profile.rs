//! Hardware profiles: which one a guest gets, and which of its wishes the host grants.

use crate::model::OsFamily;

use super::host::{DomainType, Platform};

/// The guest families that have a hardware profile of their own in `vendor-xml/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
    /// Anything else: nothing that needs a driver of the guest.
    Generic,
}

impl Family {
    /// The profile for a guest operating system.
    pub fn of(os: OsFamily) -> Self {
        match os {
            OsFamily::Linux => Self::Linux,
            OsFamily::Windows => Self::Windows,
            OsFamily::Unknown => Self::Generic,
        }
    }
}

/// What a profile wishes that a host may not have. The rest of a profile every QEMU has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Whose it is.
    pub family: Family,
    /// Its video model, if it has a video device.
    pub video: Option<String>,
    /// Its Hyper-V enlightenments.
    pub hyperv: Vec<String>,
}

/// Video models that need no driver of the guest, best first.
const PLAIN_VIDEO: [&str; 3] = ["vga", "bochs", "cirrus"];

/// The video model: the profile's where the host has it, else a plain one; never one that the
/// host does not list.
pub(super) fn video(wish: Option<&str>, platform: &Platform) -> Option<String> {
    let offered = |model: &&str| platform.video.iter().any(|known| known == model);
    std::iter::once(wish?).chain(PLAIN_VIDEO).find(offered).map(str::to_owned)
}

/// Enlightenments that make no sense without another one (libvirt's documentation of
/// `<hyperv>`: `synic` needs `vpindex`, `stimer` needs `synic`, `tlbflush` and `ipi` need
/// `vpindex`).
const NEEDS: [(&str, &str); 4] =
    [("synic", "vpindex"), ("stimer", "synic"), ("tlbflush", "vpindex"), ("ipi", "vpindex")];

/// Those enlightenments of the profile that the host has. They are KVM's: none for an emulated
/// guest, whatever libvirt lists.
pub(super) fn hyperv(wishes: &[String], platform: &Platform) -> Vec<String> {
    if platform.domain_type != DomainType::Kvm {
        return Vec::new();
    }
    let mut granted: Vec<String> =
        wishes.iter().filter(|wish| platform.hyperv.contains(wish)).cloned().collect();
    // In the order of the table a need that is gone takes those with it that depend on it.
    for (feature, need) in NEEDS {
        if !granted.iter().any(|known| known == need) {
            granted.retain(|known| known != feature);
        }
    }
    granted
}

/// Whether the guest may have the Hyper-V clock. libvirt does not list it; it comes with KVM's
/// Hyper-V support, which `relaxed` stands for (`spinlocks` and `vendor_id` QEMU has by itself).
pub(super) fn hyperv_clock(platform: &Platform) -> bool {
    platform.domain_type == DomainType::Kvm && platform.hyperv.iter().any(|f| f == "relaxed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Chipset;
    use crate::domain::fixture::{host, platform};

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn video_falls_back_to_what_the_host_has() {
        let host = host();
        let mut q35 = platform(&host, DomainType::Kvm, Chipset::Q35).clone();
        assert_eq!(video(Some("virtio"), &q35).as_deref(), Some("virtio"));
        assert_eq!(video(None, &q35), None);
        q35.video = texts(&["cirrus", "bochs"]);
        assert_eq!(video(Some("virtio"), &q35).as_deref(), Some("bochs"));
        q35.video = texts(&["ramfb"]);
        assert_eq!(video(Some("virtio"), &q35), None);
    }

    #[test]
    fn enlightenments_are_granted_with_their_needs_and_only_by_kvm() {
        let host = host();
        let mut q35 = platform(&host, DomainType::Kvm, Chipset::Q35).clone();
        let wishes = texts(&["relaxed", "vpindex", "synic", "stimer", "ipi"]);
        q35.hyperv = wishes.clone();
        assert_eq!(hyperv(&wishes, &q35), wishes);
        assert!(hyperv_clock(&q35));
        q35.hyperv.retain(|feature| feature != "vpindex");
        assert_eq!(hyperv(&wishes, &q35), ["relaxed"]);
        q35.domain_type = DomainType::Qemu;
        assert!(hyperv(&wishes, &q35).is_empty() && !hyperv_clock(&q35));
    }
}
