//! Which virtio a guest speaks. On PCI Express QEMU offers version 1.0 alone, which Linux knows
//! since 4.0 and its distributions since some release; on a PC mainboard both versions are offered.

use crate::model::GuestOs;

use super::guest::linux;
use super::host::{Chipset, Platform};

/// The last major version of a distribution that had, at least when it came out, no virtio 1.0.
const LAST_WITHOUT_1_0: [(&str, u32); 8] = [
    ("rhel", 7),
    ("centos", 7),
    ("oracle", 7),
    ("asianux", 4),
    ("debian", 8),
    ("ubuntu", 14),
    ("sles", 12),
    ("fedora", 21),
];

/// Whether the virtio devices must speak the old version too.
pub(super) fn transitional(guest: &GuestOs, platform: &Platform) -> bool {
    let told = linux(guest).and_then(|linux| Some((linux.distribution?, linux.major?)));
    platform.chipset == Chipset::Q35
        && told.is_some_and(|(distribution, major)| {
            let last = LAST_WITHOUT_1_0.iter().find(|(name, _)| *name == distribution);
            last.is_some_and(|(_, last)| major <= *last)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainType;
    use crate::domain::fixture::{host, platform};
    use crate::model::OsFamily;

    #[test]
    fn an_old_linux_on_pci_express_needs_the_old_version() {
        let host = host();
        let needs = |id: &str, chipset| {
            let (id, full_name) = (id.to_owned(), String::new());
            let guest = GuestOs { id, full_name, family: OsFamily::Linux, network: None };
            transitional(&guest, platform(&host, DomainType::Kvm, chipset))
        };
        assert!(needs("rhel6_64Guest", Chipset::Q35) && needs("debian8_64Guest", Chipset::Q35));
        assert!(!needs("rhel6_64Guest", Chipset::Pc));
        assert!(!needs("rhel8_64Guest", Chipset::Q35) && !needs("ubuntu64Guest", Chipset::Q35));
    }
}
