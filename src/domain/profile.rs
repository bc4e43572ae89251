//! Hardware profiles: chooses the elements that the host supports.

use std::sync::Arc;

use super::family::Family;
use super::host::{DomainType, Platform};

/// Elements of a profile that a host may not support. Every QEMU supports the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Guest family of the profile.
    pub family: Family,
    /// XML of a user's own profile; `None` for the embedded profile of the family.
    pub custom: Option<Arc<str>>,
    /// Video model of the profile, if it has a video device.
    pub video: Option<String>,
    /// Hyper-V enlightenments of the profile. Options follow their enlightenment, named as in
    /// libvirt's defaults: `stimer_direct`.
    pub hyperv: Vec<String>,
    /// Model of the profile's panic device, if it has one.
    pub panic: Option<String>,
}

/// Video models that need no guest driver, best first.
const PLAIN_VIDEO: [&str; 3] = ["vga", "bochs", "cirrus"];

/// The video model: the first that the host lists. Candidates are the profile's model, then for QXL
/// `virtio`, which is a plain VGA as well, then the plain models.
pub(super) fn video(wish: Option<&str>, platform: &Platform) -> Option<String> {
    let wish = wish?;
    let second = (wish == "qxl").then_some("virtio");
    let offered = |model: &&str| platform.video.iter().any(|known| known == model);
    std::iter::once(wish).chain(second).chain(PLAIN_VIDEO).find(offered).map(str::to_owned)
}

/// Enlightenments that require another one (QEMU's `docs/system/i386/hyperv.rst`).
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

/// The profile's enlightenments that the host supports. They require KVM: an emulated guest gets
/// none, whatever libvirt lists.
pub(super) fn hyperv(wishes: &[String], platform: &Platform) -> Vec<String> {
    if platform.domain_type != DomainType::Kvm {
        return Vec::new();
    }
    let mut granted: Vec<String> =
        wishes.iter().filter(|wish| platform.hyperv.contains(wish)).cloned().collect();
    // The timers use the Hyper-V clock, which requires `relaxed`.
    if !hyperv_clock(platform) {
        granted.retain(|known| known != "stimer");
    }
    // Thanks to the order of the table, a missing enlightenment also removes all that depend on it.
    for (feature, need) in NEEDS {
        if !granted.iter().any(|known| known == need) {
            granted.retain(|known| known != feature);
        }
    }
    granted
}

/// Whether the guest may have the Hyper-V clock, which libvirt does not list. It is part of KVM's
/// Hyper-V support, which `relaxed` indicates; QEMU itself provides `spinlocks` and `vendor_id`.
pub(super) fn hyperv_clock(platform: &Platform) -> bool {
    platform.domain_type == DomainType::Kvm && platform.hyperv.iter().any(|f| f == "relaxed")
}

/// The model of the panic device: the profile's if the host supports it. libvirt before 9.3 does
/// not list the models; every QEMU for x86 supports `isa`. The `hyperv` model depends on an
/// enlightenment.
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
