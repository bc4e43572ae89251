//! Rules for domain type and machine type.

use crate::model::Firmware;

use super::Error;
use super::host::{Chipset, DomainType, HostCapabilities, Platform};

/// The platform for a guest with that firmware. `express` is whether the guest benefits from PCI
/// Express (`virtio::on_express`). The default domain type is `kvm` if KVM runs guests, else
/// `qemu`; a requested type is used if libvirt lists it.
pub(super) fn choose(
    host: &HostCapabilities,
    wish: Option<DomainType>,
    firmware: Firmware,
    express: bool,
) -> Result<&Platform, Error> {
    let domain_type = wish.unwrap_or(if host.kvm_runs && host.lists(DomainType::Kvm) {
        DomainType::Kvm
    } else {
        DomainType::Qemu
    });
    if !host.lists(domain_type) {
        let closed = host.own.as_ref().and_then(|own| own.kvm.clone());
        return Err(Error::DomainType { domain_type, arch: host.arch.clone(), closed });
    }
    // A BIOS guest gets the chipset that VMware emulates too. It gets Q35 if its controllers change
    // anyway, or if the host's QEMU has dropped the old chipset, as RHEL's has. EFI with secure
    // boot needs Q35.
    let (chipset, other) = match firmware {
        Firmware::Bios if express => (Chipset::Q35, Chipset::Pc),
        Firmware::Bios => (Chipset::Pc, Chipset::Q35),
        Firmware::Efi => (Chipset::Q35, Chipset::Q35),
    };
    host.platform(domain_type, chipset)
        .or_else(|| host.platform(domain_type, other))
        .ok_or(Error::Machine { chipset, domain_type })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture::host;
    use crate::model::Hint;

    #[test]
    fn kvm_only_where_it_runs_unless_it_is_asked_for() {
        let mut host = host();
        let chosen = |host: &HostCapabilities, wish| {
            choose(host, wish, Firmware::Bios, false).expect("offered").domain_type
        };
        assert_eq!(chosen(&host, None), DomainType::Kvm);
        assert_eq!(chosen(&host, Some(DomainType::Qemu)), DomainType::Qemu);
        host.kvm_runs = false;
        assert_eq!(chosen(&host, None), DomainType::Qemu);
        assert_eq!(chosen(&host, Some(DomainType::Kvm)), DomainType::Kvm);
        host.platforms.retain(|p| p.domain_type == DomainType::Qemu);
        let error =
            choose(&host, Some(DomainType::Kvm), Firmware::Bios, false).expect_err("not listed");
        assert!(error.hint().expect("a hint").contains("--libvirt-domain-type qemu"));
    }

    #[test]
    fn the_chipset_follows_the_firmware() {
        let mut host = host();
        let chipset = |host: &HostCapabilities, firmware| {
            choose(host, None, firmware, false).map(|platform| platform.chipset)
        };
        assert_eq!(chipset(&host, Firmware::Bios), Ok(Chipset::Pc));
        assert_eq!(chipset(&host, Firmware::Efi), Ok(Chipset::Q35));
        let on_express = |host: &HostCapabilities| {
            choose(host, None, Firmware::Bios, true).map(|platform| platform.chipset)
        };
        assert_eq!(on_express(&host), Ok(Chipset::Q35));
        let all = host.platforms.clone();
        host.platforms.retain(|p| p.chipset == Chipset::Q35);
        assert_eq!(chipset(&host, Firmware::Bios), Ok(Chipset::Q35));
        host.platforms = all;
        host.platforms.retain(|p| p.chipset == Chipset::Pc);
        assert_eq!(on_express(&host), Ok(Chipset::Pc));
        assert!(matches!(chipset(&host, Firmware::Efi), Err(Error::Machine { .. })));
    }
}
