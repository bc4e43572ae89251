//! Firmware: BIOS, EFI, secure boot.

use crate::model::Firmware;

use super::Error;
use super::host::Platform;
use super::spec::FirmwareSpec;

/// The firmware type, if the host supports it. libvirt selects the firmware file.
pub(super) fn choose(
    firmware: Firmware,
    secure_boot: bool,
    platform: &Platform,
) -> Result<FirmwareSpec, Error> {
    let machine = || platform.machine.clone();
    match (firmware, secure_boot) {
        (Firmware::Bios, false) => Ok(FirmwareSpec::Bios),
        (Firmware::Bios, true) => Err(Error::SecureBootOnBios),
        (Firmware::Efi, _) if !platform.efi => Err(Error::NoEfi { machine: machine() }),
        (Firmware::Efi, true) if !platform.secure_boot => {
            Err(Error::NoSecureBoot { machine: machine() })
        }
        (Firmware::Efi, secure_boot) => Ok(FirmwareSpec::Efi { secure_boot }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture::{host, platform};
    use crate::domain::{Chipset, DomainType};
    use crate::model::Hint;

    #[test]
    fn only_what_the_host_offers_is_chosen() {
        let host = host();
        let mut q35 = platform(&host, DomainType::Kvm, Chipset::Q35).clone();
        let efi = |secure_boot| Ok(FirmwareSpec::Efi { secure_boot });
        assert_eq!(choose(Firmware::Efi, true, &q35), efi(true));
        q35.secure_boot = false;
        assert_eq!(choose(Firmware::Efi, false, &q35), efi(false));
        assert!(matches!(choose(Firmware::Efi, true, &q35), Err(Error::NoSecureBoot { .. })));
        q35.efi = false;
        let error = choose(Firmware::Efi, false, &q35).expect_err("no firmware");
        let hint = error.hint().expect("a hint");
        assert!(hint.contains("ovmf on Debian") && hint.contains("edk2-ovmf on Fedora"), "{hint}");
        assert_eq!(choose(Firmware::Bios, false, &q35), Ok(FirmwareSpec::Bios));
        assert_eq!(choose(Firmware::Bios, true, &q35), Err(Error::SecureBootOnBios));
    }
}
