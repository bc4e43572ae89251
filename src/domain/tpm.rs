//! Rules for the TPM.

use crate::model::{Firmware, SourceVm};

use super::Error;
use super::guest::{Windows, windows};
use super::hardware::TpmChoice;
use super::host::{Chipset, Platform};
use super::spec::TpmModel;

/// The TPM of the domain, if it gets one: always version 2.0, emulated by swtpm. A guest that had
/// none and needs none gets none: some Windows releases do not boot with a TPM.
pub(super) fn choose(
    choice: TpmChoice,
    vm: &SourceVm,
    platform: &Platform,
) -> Result<Option<TpmModel>, Error> {
    let needed = windows(&vm.guest).is_some_and(|release| release >= Windows::Win11);
    let why = match choice {
        TpmChoice::Off => return Ok(None),
        TpmChoice::On => "it was asked for",
        TpmChoice::Auto if vm.vtpm => "the source VM has one",
        // Windows requires the TPM for measured boot, which needs EFI.
        TpmChoice::Auto if needed && vm.firmware == Firmware::Efi => "the guest needs one",
        TpmChoice::Auto => return Ok(None),
    };
    if platform.tpm.is_empty() {
        return Err(Error::NoTpm { why });
    }
    let has = |model: &str| platform.tpm.iter().any(|known| known == model);
    let crb = has("tpm-crb") && platform.chipset == Chipset::Q35;
    Ok(Some(if crb { TpmModel::Crb } else { TpmModel::Tis }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainType;
    use crate::domain::fixture::{host, platform, vm};
    use crate::model::Hint;
    use crate::model::OsFamily;

    #[test]
    fn only_a_guest_that_had_or_needs_one_gets_one() {
        let host = host();
        let q35 = platform(&host, DomainType::Kvm, Chipset::Q35);
        let mut vm = vm();
        let get = |choice, vm: &SourceVm| choose(choice, vm, q35).expect("offered");
        vm.firmware = Firmware::Efi;
        assert_eq!(get(TpmChoice::Auto, &vm), None);
        assert_eq!(get(TpmChoice::On, &vm), Some(TpmModel::Crb));
        vm.vtpm = true;
        assert_eq!(get(TpmChoice::Auto, &vm), Some(TpmModel::Crb));
        assert_eq!(get(TpmChoice::Off, &vm), None);
        vm.vtpm = false;
        vm.guest.family = OsFamily::Windows;
        for (name, gets) in [
            ("Microsoft Windows 10 (64-bit)", false),
            ("Microsoft Windows Server 2019 (64-bit)", false),
            ("Microsoft Windows 11 (64-bit)", true),
            ("Microsoft Windows Server 2022 (64-bit)", true),
            ("Microsoft Windows Server 2025 (64-bit)", true),
        ] {
            vm.guest.full_name = name.to_owned();
            assert_eq!(get(TpmChoice::Auto, &vm).is_some(), gets, "{name}");
        }
        vm.firmware = Firmware::Bios;
        assert_eq!(get(TpmChoice::Auto, &vm), None);
        let pc = platform(&host, DomainType::Kvm, Chipset::Pc);
        assert_eq!(choose(TpmChoice::On, &vm, pc), Ok(Some(TpmModel::Tis)));
    }

    #[test]
    fn a_host_without_the_emulator_is_refused_with_the_remedy() {
        let host = host();
        let mut q35 = platform(&host, DomainType::Kvm, Chipset::Q35).clone();
        q35.tpm = Vec::new();
        let mut vm = vm();
        assert_eq!(choose(TpmChoice::Auto, &vm, &q35), Ok(None));
        vm.vtpm = true;
        let error = choose(TpmChoice::Auto, &vm, &q35).expect_err("no emulator");
        assert!(error.to_string().contains("the source VM has one"), "{error}");
        let hint = error.hint().expect("a hint");
        assert!(hint.contains("swtpm") && hint.contains("--libvirt-tpm off"), "{hint}");
    }
}
