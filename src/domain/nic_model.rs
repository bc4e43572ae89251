//! Chooses a network card model that the guest has a driver for.

use super::boot_bus::has_vmwares;
use super::family::Family;
use super::guest::{Windows, windows};
use super::host::{Chipset, Platform};
use super::kinds::NicKind;
use crate::model::{GuestCard, GuestDrivers, GuestOs, NicModel};

/// Criteria for the model of all cards of a VM.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cards<'a> {
    /// Family of the guest.
    pub family: Family,
    /// Identification of the guest at its source.
    pub guest: &'a GuestOs,
    /// Whether the converter has prepared the guest for virtio.
    pub fixed: bool,
    /// Drivers that were found in the guest.
    pub drivers: Option<&'a GuestDrivers>,
    /// Platform of the domain.
    pub platform: &'a Platform,
}

impl Cards<'_> {
    /// The model for a card of the source: virtio if the guest has the driver. Otherwise the card
    /// of the source, if the emulator supports it. Otherwise a card that was common when the guest
    /// was released.
    pub(super) fn model(self, source: NicModel) -> NicKind {
        if let Some(known) = self.drivers.and_then(|drivers| self.known(drivers, source)) {
            return known;
        }
        match (self.family, source) {
            (Family::Linux, _) if self.fixed && self.drivers.is_none() => NicKind::Virtio,
            (_, NicModel::Vmxnet) if self.keeps_vmxnet() => NicKind::Vmxnet3,
            (_, NicModel::E1000) => NicKind::E1000,
            (_, NicModel::Rtl8139) => NicKind::Rtl8139,
            (_, NicModel::Pcnet) if self.platform.has_card(NicKind::Pcnet) => NicKind::Pcnet,
            (_, NicModel::Virtio) if self.drivers.is_none() => NicKind::Virtio,
            (Family::LinuxLegacy, NicModel::E1000e) => NicKind::E1000e,
            (Family::LinuxLegacy, _) => NicKind::E1000,
            (Family::WindowsLegacy, _) => self.old_windows(),
            // Windows 7 and 2008 R2 are older than e1000e's chip.
            (Family::Windows, _) if self.is_before_e1000e() => NicKind::E1000,
            (_, NicModel::E1000e) => NicKind::E1000e,
            _ => self.by_chipset(),
        }
    }

    /// The best card that a driver was found for. For Windows only the virtio driver is searched
    /// for: other drivers Windows finds by itself.
    fn known(self, drivers: &GuestDrivers, source: NicModel) -> Option<NicKind> {
        let own = same(source);
        let intel = [self.by_chipset(), NicKind::E1000e, NicKind::E1000];
        let others = [NicKind::Vmxnet3, NicKind::Pcnet, NicKind::Rtl8139];
        let order = [NicKind::Virtio].into_iter().chain(own).chain(intel).chain(others);
        order
            .filter(|kind| drivers.has_card(card(*kind)))
            .find(|kind| self.platform.has_card(*kind))
    }

    /// Whether the guest keeps vmxnet3. A system older than vmxnet3 had another card of a similar
    /// name.
    fn keeps_vmxnet(self) -> bool {
        let old = matches!(self.family, Family::LinuxLegacy | Family::WindowsLegacy);
        !old && has_vmwares(self.platform)
    }

    fn old_windows(self) -> NicKind {
        // Windows XP and older support only Realtek's card; newer versions support Intel's.
        match windows(self.guest) {
            Some(release) if release >= Windows::Server2003 => NicKind::E1000,
            _ => NicKind::Rtl8139,
        }
    }

    /// Whether the Windows release is older than e1000e. An unknown release counts as current.
    fn is_before_e1000e(self) -> bool {
        windows(self.guest).is_some_and(|release| release <= Windows::Server2008R2)
    }

    fn by_chipset(self) -> NicKind {
        match self.platform.chipset {
            Chipset::Q35 => NicKind::E1000e,
            Chipset::Pc => NicKind::E1000,
        }
    }
}

/// The model of the source's card, if QEMU emulates it.
fn same(source: NicModel) -> Option<NicKind> {
    match source {
        NicModel::Vmxnet => Some(NicKind::Vmxnet3),
        NicModel::E1000 => Some(NicKind::E1000),
        NicModel::E1000e => Some(NicKind::E1000e),
        NicModel::Pcnet => Some(NicKind::Pcnet),
        NicModel::Virtio => Some(NicKind::Virtio),
        NicModel::Rtl8139 => Some(NicKind::Rtl8139),
        NicModel::Vmxnet2 | NicModel::Sriov | NicModel::Other => None,
    }
}

/// A model, as a driver identifies it.
fn card(kind: NicKind) -> GuestCard {
    match kind {
        NicKind::Virtio => GuestCard::Virtio,
        NicKind::Vmxnet3 => GuestCard::Vmxnet3,
        NicKind::E1000e => GuestCard::E1000e,
        NicKind::E1000 => GuestCard::E1000,
        NicKind::Pcnet => GuestCard::Pcnet,
        NicKind::Rtl8139 => GuestCard::Rtl8139,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainType;
    use crate::domain::fixture::{host, platform};
    use crate::model::OsFamily;

    #[test]
    fn every_guest_gets_a_card_that_it_knows() {
        let model = |os, name: &str, fixed, chipset, source| {
            let guest = GuestOs {
                id: String::new(),
                full_name: name.to_owned(),
                family: os,
                network: None,
            };
            let family = Family::of(&guest);
            let host = host();
            let platform = platform(&host, DomainType::Kvm, chipset);
            Cards { family, guest: &guest, fixed, drivers: None, platform }.model(source)
        };
        use Chipset::{Pc, Q35};
        use NicModel::{E1000, E1000e, Vmxnet};
        use OsFamily::{Linux, Unknown, Windows};
        for (os, name, fixed, chipset, source, card) in [
            (Linux, "Ubuntu", true, Pc, Vmxnet, NicKind::Virtio),
            (Linux, "Ubuntu", false, Pc, Vmxnet, NicKind::Vmxnet3),
            (Linux, "Ubuntu", false, Q35, NicModel::Other, NicKind::E1000e),
            (Linux, "CentOS 5", true, Pc, Vmxnet, NicKind::E1000),
            (Windows, "Windows Server 2022", true, Q35, Vmxnet, NicKind::Vmxnet3),
            (Windows, "Windows 10", true, Pc, E1000e, NicKind::E1000e),
            (Windows, "Windows 10", true, Pc, E1000, NicKind::E1000),
            (Windows, "Windows 7", true, Q35, E1000e, NicKind::E1000),
            (Windows, "Windows", true, Q35, NicModel::Other, NicKind::E1000e),
            (Windows, "Windows Server 2003", true, Pc, Vmxnet, NicKind::E1000),
            (Windows, "Windows XP", true, Pc, Vmxnet, NicKind::Rtl8139),
            (Unknown, "FreeBSD", true, Q35, Vmxnet, NicKind::Vmxnet3),
            (Unknown, "FreeBSD", false, Q35, NicModel::Virtio, NicKind::Virtio),
            (Unknown, "FreeBSD", false, Q35, NicModel::Pcnet, NicKind::Pcnet),
            (Unknown, "FreeBSD", false, Pc, NicModel::Rtl8139, NicKind::Rtl8139),
            (Unknown, "FreeBSD", false, Pc, E1000e, NicKind::E1000e),
            (Linux, "Ubuntu", false, Pc, NicModel::Virtio, NicKind::Virtio),
            (Linux, "CentOS 5", false, Pc, NicModel::Virtio, NicKind::Virtio),
            (Linux, "CentOS 5", false, Pc, E1000e, NicKind::E1000e),
            (Windows, "Windows XP", false, Pc, NicModel::Pcnet, NicKind::Pcnet),
            (Windows, "Windows 10", false, Q35, NicModel::Virtio, NicKind::Virtio),
        ] {
            assert_eq!(
                model(os, name, fixed, chipset, source),
                card,
                "{name} {chipset} {source:?}"
            );
        }
    }

    #[test]
    fn a_card_is_one_that_the_guest_has_a_driver_for() {
        use GuestCard::{E1000, Pcnet, Virtio, Vmxnet3};
        let guest = GuestOs {
            id: String::new(),
            full_name: "Debian".to_owned(),
            family: OsFamily::Linux,
            network: None,
        };
        let host = host();
        let mut at = platform(&host, DomainType::Kvm, Chipset::Pc).clone();
        let model = |cards: &[GuestCard], source, at: &Platform| {
            let drivers =
                GuestDrivers { buses: Vec::new(), cards: cards.to_vec(), virtio_1: false };
            let family = Family::Linux;
            let drivers = Some(&drivers);
            Cards { family, guest: &guest, fixed: false, drivers, platform: at }.model(source)
        };
        assert_eq!(model(&[Virtio, Vmxnet3], NicModel::Vmxnet, &at), NicKind::Virtio);
        assert_eq!(model(&[Vmxnet3, E1000], NicModel::Vmxnet, &at), NicKind::Vmxnet3);
        assert_eq!(model(&[E1000], NicModel::Vmxnet, &at), NicKind::E1000);
        assert_eq!(model(&[Vmxnet3], NicModel::Virtio, &at), NicKind::Vmxnet3);
        assert_eq!(model(&[], NicModel::Virtio, &at), NicKind::E1000, "read, and without it");
        at.machine = "pc-i440fx-rhel7.6.0".to_owned();
        assert_eq!(model(&[Vmxnet3, E1000], NicModel::Vmxnet, &at), NicKind::E1000);
        assert_eq!(model(&[Pcnet], NicModel::Pcnet, &at), NicKind::E1000);
    }
}
