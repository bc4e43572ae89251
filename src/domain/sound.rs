//! Rules for the sound card that a VM keeps.

use crate::model::{SoundCard, SourceVm};

use super::family::Family;
use super::host::{Chipset, Platform};
use super::spec::SoundModel;

/// The sound card. A VM with HD Audio, or with any guest that has a driver for it, gets HD Audio,
/// which every QEMU supports. An old guest keeps its card, except on hosts with an enterprise
/// distribution, whose QEMU supports no other.
pub(super) fn choose(vm: &SourceVm, family: Family, platform: &Platform) -> Option<SoundModel> {
    // Each chipset has its own HD Audio controller.
    let hda = match platform.chipset {
        Chipset::Q35 => SoundModel::Ich9,
        Chipset::Pc => SoundModel::Ich6,
    };
    let is_old = matches!(family, Family::LinuxLegacy | Family::WindowsLegacy | Family::Generic);
    let keeps = is_old && !platform.is_enterprise();
    Some(match vm.board.sound? {
        SoundCard::Ac97 if keeps => SoundModel::Ac97,
        SoundCard::Ensoniq if keeps => SoundModel::Es1370,
        SoundCard::Sb16 if keeps => SoundModel::Sb16,
        SoundCard::Usb if !platform.is_enterprise() => SoundModel::Usb,
        _ => hda,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainType;
    use crate::domain::fixture::{host, platform, vm};

    #[test]
    fn a_card_is_one_that_guest_and_host_have() {
        let host = host();
        let (q35, pc) = (
            platform(&host, DomainType::Qemu, Chipset::Q35),
            platform(&host, DomainType::Qemu, Chipset::Pc),
        );
        let chosen = |card, family, platform| {
            let mut vm = vm();
            vm.board.sound = card;
            choose(&vm, family, platform)
        };
        assert_eq!(chosen(None, Family::Linux, q35), None);
        for card in [SoundCard::Hda, SoundCard::Ac97, SoundCard::Ensoniq, SoundCard::Sb16] {
            assert_eq!(chosen(Some(card), Family::Linux, q35), Some(SoundModel::Ich9), "{card:?}");
            assert_eq!(chosen(Some(card), Family::Windows, pc), Some(SoundModel::Ich6), "{card:?}");
        }
        let old = Family::WindowsLegacy;
        assert_eq!(chosen(Some(SoundCard::Ensoniq), old, pc), Some(SoundModel::Es1370));
        assert_eq!(chosen(Some(SoundCard::Hda), old, pc), Some(SoundModel::Ich6));
        assert_eq!(chosen(Some(SoundCard::Usb), Family::Linux, q35), Some(SoundModel::Usb));
    }
}
