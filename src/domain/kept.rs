//! The SCSI controller of the source, kept: a guest that nobody has changed surely boots from
//! what it booted from, and QEMU has two of VMware's controllers. Its BIOS boots from them; its EFI
//! (OVMF of Debian 12) finds no system there.

use crate::model::{Bus, Firmware, SourceVm};

use super::disks::PlannedDisk;
use super::family::Family;
use super::host::Platform;
use super::spec::ScsiModel;

/// Disks that one of LSI's controllers takes in QEMU (`MPTSAS_NUM_PORTS`).
const LSI_PLACES: usize = 8;
/// Disks that a paravirtual one takes (`PVSCSI_MAX_DEVS`).
const PV_PLACES: usize = 64;

/// The controller to keep, if the guest is as it was, its boot disk hung on one that QEMU has, and
/// there is place for all disks. What a fixed Windows or Linux boots from, the converter decided.
pub(super) fn controller(
    vm: &SourceVm,
    disks: &[PlannedDisk],
    (family, fixed): (Family, bool),
    platform: &Platform,
) -> Option<ScsiModel> {
    let changed = fixed && (family.is_windows() || family == Family::Linux);
    if changed || vm.firmware == Firmware::Efi || platform.is_enterprise() {
        return None;
    }
    let boot = disks.iter().min_by_key(|disk| disk.boot_order)?;
    let source = vm.disks.iter().find(|disk| disk.id == boot.id)?;
    let (model, places) = match (source.controller.bus, source.controller.model.as_str()) {
        (Bus::Scsi, "ParaVirtualSCSIController") => (ScsiModel::VmPvscsi, PV_PLACES),
        (Bus::Scsi, "VirtualLsiLogicSASController") => (ScsiModel::LsiSas1068, LSI_PLACES),
        _ => return None,
    };
    (disks.len() <= places).then_some(model)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture::{disk, host, platform, vm};
    use crate::domain::{Chipset, DomainType};
    use crate::model::{ByteSize, Controller, DiskId, SourceDisk};

    fn vm_on(bus: Bus, model: &str) -> SourceVm {
        let mut vm = vm();
        vm.disks = vec![SourceDisk {
            id: DiskId::from_index(0),
            key: 2000,
            label: String::new(),
            controller: Controller { bus, model: model.to_owned(), number: 0 },
            unit: 0,
            capacity: ByteSize(512),
            boot_order: 0,
            backing: None,
            uuid: None,
        }];
        vm
    }

    #[test]
    fn only_an_unchanged_guest_keeps_a_controller_that_qemu_has() {
        let host = host();
        let mut at = platform(&host, DomainType::Kvm, Chipset::Q35).clone();
        let kept = |vm: &SourceVm, family, fixed, count, at: &Platform| {
            let disks: Vec<_> = (0..count).map(disk).collect();
            controller(vm, &disks, (family, fixed), at)
        };
        let pv = vm_on(Bus::Scsi, "ParaVirtualSCSIController");
        let sas = vm_on(Bus::Scsi, "VirtualLsiLogicSASController");
        let parallel = vm_on(Bus::Scsi, "VirtualLsiLogicController");
        assert_eq!(kept(&pv, Family::Linux, false, 9, &at), Some(ScsiModel::VmPvscsi));
        assert_eq!(kept(&sas, Family::Windows, false, 8, &at), Some(ScsiModel::LsiSas1068));
        assert_eq!(kept(&sas, Family::Generic, true, 1, &at), Some(ScsiModel::LsiSas1068));
        assert_eq!(kept(&sas, Family::Linux, false, 9, &at), None, "no place");
        assert_eq!(kept(&pv, Family::Linux, true, 1, &at), None);
        assert_eq!(kept(&sas, Family::Windows, true, 1, &at), None);
        assert_eq!(kept(&parallel, Family::Linux, false, 1, &at), None);
        assert_eq!(
            kept(&vm_on(Bus::Sata, "VirtualAHCIController"), Family::Linux, false, 1, &at),
            None
        );
        let efi = SourceVm { firmware: Firmware::Efi, ..pv.clone() };
        assert_eq!(kept(&efi, Family::Linux, false, 1, &at), None);
        at.machine = "pc-q35-rhel9.8.0".to_owned();
        assert_eq!(kept(&pv, Family::Linux, false, 1, &at), None);
    }
}
