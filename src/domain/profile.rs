//! Hardware profiles: which wishes of one the host grants.

use std::sync::Arc;

use super::family::Family;
use super::host::{DomainType, Platform};

/// What a profile wishes that a host may not have. The rest of a profile every QEMU has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Whose it is.
    pub family: Family,
    /// Its text, when it is the user's own; else it is the embedded one of the family.
    pub custom: Option<Arc<str>>,
    /// Its video model, if it has a video device.
    pub video: Option<String>,
    /// Its Hyper-V enlightenments. What one of them can do besides stands after it, as libvirt's
    /// defaults name it: `stimer_direct`.
    pub hyperv: Vec<String>,
    /// Its panic device's model, if it has one.
    pub panic: Option<String>,
}

/// Video models that need no driver of the guest, best first.
const PLAIN_VIDEO: [&str; 3] = ["vga", "bochs", "cirrus"];

/// The video model: the profile's where the host has it, else for QXL virtio's, which is a plain
/// VGA as well, else a plain one; never one that the host does not list.
pub(super) fn video(wish: Option<&str>, platform: &Platform) -> Option<String> {
    let wish = wish?;
    let second = (wish == "qxl").then_some("virtio");
    let offered = |model: &&str| platform.video.iter().any(|known| known == model);
    std::iter::once(wish).chain(second).chain(PLAIN_VIDEO).find(offered).map(str::to_owned)
}

/// Enlightenments that make no sense without another one (QEMU's `docs/system/i386/hyperv.rst`).
const NEEDS: [(&str, &str); 10] = [
    ("synic", "vpindex"),
    ("stimer", "synic"),
    ("stimer_direct", "stimer"),
    ("tlbflush", "vpindex"),
    ("tlbflush_direct", "tlbflush"),
    ("tlbflush_direct", "vapic"),
    ("tlbflush_extended", "tlbflush"),
    ("ipi", "vpindex"),
    ("evmcs", "vapic"),
    ("emsr_bitmap", "evmcs"),
];

/// Those enlightenments of the profile that the host has. They are KVM's: none for an emulated
/// guest, whatever libvirt lists.
pub(super) fn hyperv(wishes: &[String], platform: &Platform) -> Vec<String> {
    if platform.domain_type != DomainType::Kvm {
        return Vec::new();
    }
    let mut granted: Vec<String> =
        wishes.iter().filter(|wish| platform.hyperv.contains(wish)).cloned().collect();
    // The timers tick by the clock, which comes and goes with `relaxed`.
    if !hyperv_clock(platform) {
        granted.retain(|known| known != "stimer");
    }
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

/// The model of the panic device: the profile's where the host has it. libvirt before 9.3 does
/// not list them; every QEMU for x86 has the ISA one. Hyper-V's reports by an enlightenment.
pub(super) fn panic(wish: Option<&str>, platform: &Platform) -> Option<String> {
    let model = wish?;
    let listed = platform.panic.iter().any(|known| known == model);
    let granted = match model {
        "hyperv" => hyperv_clock(platform) && (listed || platform.panic.is_empty()),
        _ => listed || platform.panic.is_empty(),
    };
    granted.then(|| model.to_owned())
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
        assert_eq!(video(Some("qxl"), &q35).as_deref(), Some("virtio"));
        assert_eq!(video(None, &q35), None);
        q35.video = texts(&["cirrus", "bochs"]);
        assert_eq!(video(Some("virtio"), &q35).as_deref(), Some("bochs"));
        assert_eq!(video(Some("qxl"), &q35).as_deref(), Some("bochs"));
        q35.video = texts(&["qxl", "virtio"]);
        assert_eq!(video(Some("qxl"), &q35).as_deref(), Some("qxl"));
        q35.video = texts(&["ramfb"]);
        assert_eq!(video(Some("virtio"), &q35), None);
    }

    #[test]
    fn enlightenments_are_granted_with_their_needs_and_only_by_kvm() {
        let host = host();
        let mut q35 = platform(&host, DomainType::Kvm, Chipset::Q35).clone();
        let wishes = texts(&["relaxed", "vpindex", "synic", "stimer", "stimer_direct", "ipi"]);
        q35.hyperv = wishes.clone();
        assert_eq!(hyperv(&wishes, &q35), wishes);
        assert!(hyperv_clock(&q35));
        q35.hyperv.retain(|feature| feature != "vpindex");
        assert_eq!(hyperv(&wishes, &q35), ["relaxed"]);
        q35.hyperv = texts(&["vpindex", "synic", "stimer", "stimer_direct"]);
        assert_eq!(hyperv(&wishes, &q35), ["vpindex", "synic"]);
        q35.hyperv = wishes.clone();
        q35.domain_type = DomainType::Qemu;
        assert!(hyperv(&wishes, &q35).is_empty() && !hyperv_clock(&q35));
    }

    #[test]
    fn a_panic_device_is_one_that_the_host_has() {
        let host = host();
        let mut q35 = platform(&host, DomainType::Kvm, Chipset::Q35).clone();
        assert_eq!(panic(Some("isa"), &q35).as_deref(), Some("isa"));
        assert_eq!(panic(Some("hyperv"), &q35), None);
        q35.hyperv = texts(&["relaxed"]);
        assert_eq!(panic(Some("hyperv"), &q35).as_deref(), Some("hyperv"));
        q35.panic = texts(&["isa"]);
        assert_eq!(panic(Some("hyperv"), &q35), None);
        q35.panic = texts(&["hyperv"]);
        assert_eq!(panic(Some("isa"), &q35), None);
        assert_eq!(panic(None, &q35), None);
    }
}
