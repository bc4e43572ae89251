//! Models of network interfaces: a card that the guest has a driver for.

use crate::model::{GuestOs, NicModel};

use super::family::Family;
use super::guest::{Windows, windows};
use super::host::Chipset;
use super::spec::NicKind;

/// What decides the model of all cards of a VM.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cards<'a> {
    /// Its family.
    pub family: Family,
    /// The guest.
    pub guest: &'a GuestOs,
    /// Whether the converter has made it fit for virtio.
    pub fixed: bool,
    /// Its mainboard.
    pub chipset: Chipset,
}

impl Cards<'_> {
    /// The model for a card of the source. A guest that is not known to do virtio keeps Intel's
    /// card if it had one, and else gets one that was in everything sold at its time.
    pub(super) fn model(self, source: NicModel) -> NicKind {
        match (self.family, source) {
            (Family::Linux, _) if self.fixed => NicKind::Virtio,
            (_, NicModel::E1000) => NicKind::E1000,
            (Family::LinuxLegacy, _) => NicKind::E1000,
            (Family::WindowsLegacy, _) => self.old_windows(),
            // Windows 7 and 2008 R2 came before e1000e's chip.
            (Family::Windows, _) if self.is_before_e1000e() => NicKind::E1000,
            (_, NicModel::E1000e) => NicKind::E1000e,
            _ => self.by_chipset(),
        }
    }

    fn old_windows(self) -> NicKind {
        // Windows XP and older know Realtek's card only; from 2003 on Intel's is known.
        match windows(self.guest) {
            Some(release) if release >= Windows::Server2003 => NicKind::E1000,
            _ => NicKind::Rtl8139,
        }
    }

    /// A Windows that does not say which it is, is taken for a present one.
    fn is_before_e1000e(self) -> bool {
        windows(self.guest).is_some_and(|release| release <= Windows::Server2008R2)
    }

    fn by_chipset(self) -> NicKind {
        match self.chipset {
            Chipset::Q35 => NicKind::E1000e,
            Chipset::Pc => NicKind::E1000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            Cards { family, guest: &guest, fixed, chipset }.model(source)
        };
        use Chipset::{Pc, Q35};
        use NicModel::{E1000, E1000e, Vmxnet};
        use OsFamily::{Linux, Unknown, Windows};
        for (os, name, fixed, chipset, source, card) in [
            (Linux, "Ubuntu", true, Pc, Vmxnet, NicKind::Virtio),
            (Linux, "Ubuntu", false, Pc, Vmxnet, NicKind::E1000),
            (Linux, "Ubuntu", false, Q35, Vmxnet, NicKind::E1000e),
            (Linux, "CentOS 5", true, Pc, Vmxnet, NicKind::E1000),
            (Windows, "Windows Server 2022", true, Q35, Vmxnet, NicKind::E1000e),
            (Windows, "Windows 10", true, Pc, E1000e, NicKind::E1000e),
            (Windows, "Windows 10", true, Pc, E1000, NicKind::E1000),
            (Windows, "Windows 7", true, Q35, E1000e, NicKind::E1000),
            (Windows, "Windows", true, Q35, Vmxnet, NicKind::E1000e),
            (Windows, "Windows Server 2003", true, Pc, Vmxnet, NicKind::E1000),
            (Windows, "Windows XP", true, Pc, Vmxnet, NicKind::Rtl8139),
            (Unknown, "FreeBSD", true, Q35, Vmxnet, NicKind::E1000e),
        ] {
            assert_eq!(
                model(os, name, fixed, chipset, source),
                card,
                "{name} {chipset} {source:?}"
            );
        }
    }
}
