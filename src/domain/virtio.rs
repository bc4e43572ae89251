//! Which virtio version a guest supports. On PCI Express QEMU offers only version 1.0, which Linux
//! supports since 4.0 and each distribution since some release. On a chipset with PCI only, QEMU
//! offers both versions.

use crate::model::{GuestDrivers, SourceVm};

use super::family::Family;
use super::guest::linux;
use super::hardware::DiskBus;
use super::host::{Chipset, Platform};

/// Last major version of a distribution that had, at least at its release, no virtio 1.0.
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

/// Whether virtio devices must also support the old version. For Linux the release decides, for
/// Windows the drivers found in the guest.
pub(super) fn transitional(vm: &SourceVm, platform: &Platform) -> bool {
    let is_old = match Family::of(&vm.guest) {
        Family::Linux => is_old_linux(vm),
        Family::Windows => starts(vm).is_some_and(|drivers| !drivers.virtio_1),
        _ => false,
    };
    platform.chipset == Chipset::Q35 && is_old
}

fn is_old_linux(vm: &SourceVm) -> bool {
    let told = linux(&vm.guest).and_then(|linux| Some((linux.distribution?, linux.major?)));
    told.is_some_and(|(distribution, major)| {
        let last = LAST_WITHOUT_1_0.iter().find(|(name, _)| *name == distribution);
        last.is_some_and(|(_, last)| major <= *last)
    })
}

/// Drivers of a guest that was found to boot from virtio.
fn starts(vm: &SourceVm) -> Option<&GuestDrivers> {
    let drivers = vm.facts.as_ref().and_then(|facts| facts.drivers.as_ref());
    drivers.filter(|drivers| drivers.starts_from_virtio())
}

/// Whether a guest uses PCI Express although its firmware does not require it: a Windows that boots
/// from virtio 1.0. A bus that the user requests may not exist on PCI Express.
pub(super) fn on_express(vm: &SourceVm, wish: Option<DiskBus>) -> bool {
    Family::of(&vm.guest) == Family::Windows
        && matches!(wish, None | Some(DiskBus::Virtio | DiskBus::Scsi))
        && starts(vm).is_some_and(|drivers| drivers.virtio_1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainType;
    use crate::domain::fixture::{host, platform, vm};
    use crate::model::GuestBus;
    use crate::model::{GuestFacts, GuestOs, OsFamily};

    #[test]
    fn an_old_linux_on_pci_express_needs_the_old_version() {
        let host = host();
        let needs = |id: &str, chipset| {
            let (id, full_name) = (id.to_owned(), String::new());
            let guest = GuestOs { id, full_name, family: OsFamily::Linux, network: None };
            let vm = SourceVm { guest, ..vm() };
            transitional(&vm, platform(&host, DomainType::Kvm, chipset))
        };
        assert!(needs("rhel6_64Guest", Chipset::Q35) && needs("debian8_64Guest", Chipset::Q35));
        assert!(!needs("rhel6_64Guest", Chipset::Pc));
        assert!(!needs("rhel8_64Guest", Chipset::Q35) && !needs("ubuntu64Guest", Chipset::Q35));
    }

    #[test]
    fn a_windows_goes_on_pci_express_by_what_was_read_from_it() {
        let host = host();
        let windows = |name: &str, buses: &[GuestBus], virtio_1| {
            let (full_name, family) = (name.to_owned(), OsFamily::Windows);
            let guest = GuestOs { id: String::new(), full_name, family, network: None };
            let drivers = GuestDrivers { buses: buses.to_vec(), cards: Vec::new(), virtio_1 };
            let facts = GuestFacts { drivers: Some(drivers), ..GuestFacts::default() };
            SourceVm { guest, facts: Some(facts), ..vm() }
        };
        let old =
            |vm: &SourceVm, chipset| transitional(vm, platform(&host, DomainType::Kvm, chipset));
        let blk = [GuestBus::VirtioBlk];
        let ten = windows("Windows 10 Pro", &blk, true);
        assert!(on_express(&ten, None) && on_express(&ten, Some(DiskBus::Virtio)));
        assert!(!on_express(&ten, Some(DiskBus::Ide)), "Q35 has no IDE");
        assert!(!old(&ten, Chipset::Q35));
        let seven = windows("Windows 7 Professional", &blk, false);
        assert!(!on_express(&seven, None));
        assert!(old(&seven, Chipset::Q35) && !old(&seven, Chipset::Pc));
        let sas = windows("Windows 10 Pro", &[GuestBus::LsiSas], true);
        assert!(!on_express(&sas, None) && !old(&sas, Chipset::Q35));
        assert!(!on_express(&windows("Windows XP", &blk, true), None), "older than PCI Express");
    }
}
