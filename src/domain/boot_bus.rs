//! Chooses the disk controller by the drivers that were found in the guest. The order is virtio,
//! then the controller of the source, then any other that guest and host support. A guest that
//! boots is never moved to a controller that it does not boot from.

use crate::model::{Bus, Firmware, GuestBus, GuestDrivers, SourceVm};

use super::hardware::DiskBus;
use super::host::{Chipset, Platform};
use super::spec::ScsiModel;
use super::storage::{IDE_PLACES, MOST_VIRTIO, offers};

/// Disks on an LSI SAS controller of QEMU (`MPTSAS_NUM_PORTS`).
const LSI_PLACES: usize = 8;
/// Disks on a paravirtual SCSI controller (`PVSCSI_MAX_DEVS`).
const PV_PLACES: usize = 64;
/// Disks on an LSI 53C895A of QEMU (`LSI_MAX_DEVS`).
const OLD_LSI_PLACES: usize = 7;
/// Disks on an LSI MegaRAID SAS 1078 of QEMU (`MFI_MAX_LD`).
const MEGARAID_PLACES: usize = 64;

/// Bus and controller of the disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BootBus {
    pub(super) bus: DiskBus,
    /// Model of the SCSI controller; `None` for virtio-scsi and all other buses.
    pub(super) model: Option<ScsiModel>,
}

/// Number of devices to attach.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) disks: usize,
    pub(super) drives: usize,
}

/// Controller of the boot disk at its source, if QEMU can emulate it.
pub(super) fn at_source(vm: &SourceVm) -> Option<GuestBus> {
    match controller_at_source(vm)? {
        (Bus::Scsi, "ParaVirtualSCSIController" | "vmpvscsi") => Some(GuestBus::Pvscsi),
        (Bus::Scsi, "VirtualLsiLogicSASController" | "lsisas1068") => Some(GuestBus::LsiSas),
        (Bus::Scsi, "virtio-scsi" | "virtio-transitional" | "virtio-non-transitional") => {
            Some(GuestBus::VirtioScsi)
        }
        (Bus::Other, "virtio" | "virtio-blk") => Some(GuestBus::VirtioBlk),
        (Bus::Sata, _) => Some(GuestBus::Sata),
        (Bus::Ide, _) => Some(GuestBus::Ide),
        (Bus::Nvme, _) => Some(GuestBus::Nvme),
        _ => None,
    }
}

/// Bus of the boot disk at the source, and the source's name of the controller.
fn controller_at_source(vm: &SourceVm) -> Option<(Bus, &str)> {
    let boot = vm.disks.iter().min_by_key(|disk| disk.boot_order)?;
    Some((boot.controller.bus, boot.controller.model.as_str()))
}

/// The best controller that the guest can boot from and the host offers; `None` if there is none.
pub(super) fn choose(
    drivers: &GuestDrivers,
    vm: &SourceVm,
    load: Load,
    platform: &Platform,
) -> Option<BootBus> {
    let virtio = match load.disks > MOST_VIRTIO {
        true => [GuestBus::VirtioScsi, GuestBus::VirtioBlk],
        false => [GuestBus::VirtioBlk, GuestBus::VirtioScsi],
    };
    let others = [GuestBus::Sata, GuestBus::Ide, GuestBus::Pvscsi, GuestBus::LsiSas];
    let order = virtio.into_iter().chain(at_source(vm)).chain(others);
    order.filter(|bus| drivers.boots_from(*bus)).find_map(|bus| planned(bus, vm, load, platform))
}

/// The source's controller, for a guest that was neither inspected nor converted: it certainly
/// boots from that one. QEMU emulates two of VMware's controllers and two more of a libvirt source.
/// Its BIOS boots from them; its EFI firmware (OVMF of Debian 12) does not.
pub(super) fn unchanged(vm: &SourceVm, load: Load, platform: &Platform) -> Option<BootBus> {
    // VMware's LSI Logic is a different chip than QEMU's.
    let (model, places) = match controller_at_source(vm)? {
        (Bus::Scsi, "lsilogic") => (ScsiModel::LsiLogic, OLD_LSI_PLACES),
        (Bus::Scsi, "lsisas1078") => (ScsiModel::LsiSas1078, MEGARAID_PLACES),
        _ => return planned(at_source(vm)?, vm, load, platform),
    };
    let fits = has_vmwares(platform) && vm.firmware == Firmware::Bios && load.disks <= places;
    let kept = BootBus { bus: DiskBus::Scsi, model: Some(model) };
    (fits && offers(platform, kept.bus)).then_some(kept)
}

/// The planned controller as a guest driver; `None` for a controller whose driver is never searched
/// for.
pub(super) fn known_as(bus: DiskBus, model: ScsiModel) -> Option<GuestBus> {
    Some(match (bus, model) {
        (DiskBus::Virtio, _) => GuestBus::VirtioBlk,
        (DiskBus::Scsi, ScsiModel::Virtio) => GuestBus::VirtioScsi,
        (DiskBus::Scsi, ScsiModel::VmPvscsi) => GuestBus::Pvscsi,
        (DiskBus::Scsi, ScsiModel::LsiSas1068) => GuestBus::LsiSas,
        (DiskBus::Scsi, ScsiModel::LsiLogic | ScsiModel::LsiSas1078) => return None,
        (DiskBus::Sata, _) => GuestBus::Sata,
        (DiskBus::Ide, _) => GuestBus::Ide,
    })
}

/// The planned bus for a guest driver, if the host offers the bus and all disks fit.
fn planned(bus: GuestBus, vm: &SourceVm, load: Load, platform: &Platform) -> Option<BootBus> {
    let vmwares = has_vmwares(platform) && vm.firmware == Firmware::Bios;
    let (bus, model, fits) = match bus {
        GuestBus::VirtioBlk => (DiskBus::Virtio, None, true),
        GuestBus::VirtioScsi => (DiskBus::Scsi, None, true),
        GuestBus::Sata => (DiskBus::Sata, None, true),
        GuestBus::Ide => {
            let fits = platform.chipset == Chipset::Pc && load.disks + load.drives <= IDE_PLACES;
            (DiskBus::Ide, None, fits)
        }
        GuestBus::Pvscsi => {
            (DiskBus::Scsi, Some(ScsiModel::VmPvscsi), vmwares && load.disks <= PV_PLACES)
        }
        GuestBus::LsiSas => {
            (DiskBus::Scsi, Some(ScsiModel::LsiSas1068), vmwares && load.disks <= LSI_PLACES)
        }
        GuestBus::Nvme => return None,
    };
    (fits && offers(platform, bus)).then_some(BootBus { bus, model })
}

/// Whether QEMU emulates VMware's devices. Enterprise distributions build it without them, which no
/// capability shows.
pub(super) fn has_vmwares(platform: &Platform) -> bool {
    !platform.machine.contains("rhel")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainType;
    use crate::domain::fixture::{host, platform, source_disk, vm};
    use crate::model::Controller;

    fn vm_on(bus: Bus, model: &str, firmware: Firmware) -> SourceVm {
        let mut disk = source_disk(0);
        disk.controller = Controller { bus, model: model.to_owned(), number: 0, slot: None };
        SourceVm { disks: vec![disk], firmware, ..vm() }
    }

    fn chosen(
        buses: &[GuestBus],
        vm: &SourceVm,
        disks: usize,
        chipset: Chipset,
    ) -> Option<BootBus> {
        let drivers = GuestDrivers { buses: buses.to_vec(), cards: Vec::new(), virtio_1: false };
        let host = host();
        let load = Load { disks, drives: 1 };
        choose(&drivers, vm, load, platform(&host, DomainType::Kvm, chipset))
    }

    fn bus(bus: DiskBus, model: Option<ScsiModel>) -> Option<BootBus> {
        Some(BootBus { bus, model })
    }

    #[test]
    fn virtio_comes_first_then_the_controller_of_the_source() {
        use GuestBus::{Ide, LsiSas, Pvscsi, Sata, VirtioBlk, VirtioScsi};
        let pv = vm_on(Bus::Scsi, "ParaVirtualSCSIController", Firmware::Bios);
        let all = [VirtioBlk, VirtioScsi, Pvscsi, Sata, Ide, LsiSas];
        let pc = Chipset::Pc;
        assert_eq!(chosen(&all, &pv, 1, pc), bus(DiskBus::Virtio, None));
        assert_eq!(chosen(&all, &pv, 9, pc), bus(DiskBus::Scsi, None));
        assert_eq!(
            chosen(&[Pvscsi, Sata], &pv, 1, pc),
            bus(DiskBus::Scsi, Some(ScsiModel::VmPvscsi))
        );
        assert_eq!(chosen(&[Sata, Ide], &pv, 1, pc), bus(DiskBus::Sata, None));
        let ide = vm_on(Bus::Ide, "VirtualIDEController", Firmware::Bios);
        assert_eq!(chosen(&[Sata, Ide], &ide, 1, pc), bus(DiskBus::Ide, None));
        assert_eq!(chosen(&[Ide], &ide, 4, pc), None, "no place for four and a drive");
        assert_eq!(chosen(&[], &pv, 1, pc), None);
    }

    #[test]
    fn an_unchanged_guest_keeps_a_controller_that_qemu_has() {
        let host = host();
        let mut at = platform(&host, DomainType::Kvm, Chipset::Q35).clone();
        let kept =
            |vm: &SourceVm, disks, at: &Platform| unchanged(vm, Load { disks, drives: 0 }, at);
        let pv = vm_on(Bus::Scsi, "ParaVirtualSCSIController", Firmware::Bios);
        let sas = vm_on(Bus::Scsi, "VirtualLsiLogicSASController", Firmware::Bios);
        assert_eq!(kept(&pv, 1, &at), bus(DiskBus::Scsi, Some(ScsiModel::VmPvscsi)));
        assert_eq!(kept(&sas, 8, &at), bus(DiskBus::Scsi, Some(ScsiModel::LsiSas1068)));
        assert_eq!(kept(&sas, 9, &at), None, "no more places");
        for other in ["VirtualLsiLogicController", "VirtualBusLogicController", ""] {
            assert_eq!(kept(&vm_on(Bus::Scsi, other, Firmware::Bios), 1, &at), None, "{other}");
        }
        at.machine = "pc-q35-rhel9.6.0".to_owned();
        assert_eq!(kept(&pv, 1, &at), None);
    }

    #[test]
    fn an_unchanged_guest_keeps_the_bus_of_a_libvirt_source() {
        let host = host();
        let mut at = platform(&host, DomainType::Kvm, Chipset::Pc).clone();
        let kept = |source, model, firmware, disks, at: &Platform| {
            unchanged(&vm_on(source, model, firmware), Load { disks, drives: 0 }, at)
        };
        let (bios, efi) = (Firmware::Bios, Firmware::Efi);
        let scsi = |model| bus(DiskBus::Scsi, model);
        for (source, model, expected) in [
            (Bus::Other, "virtio", bus(DiskBus::Virtio, None)),
            (Bus::Scsi, "virtio-scsi", scsi(None)),
            (Bus::Scsi, "virtio-transitional", scsi(None)),
            (Bus::Scsi, "lsilogic", scsi(Some(ScsiModel::LsiLogic))),
            (Bus::Scsi, "lsisas1068", scsi(Some(ScsiModel::LsiSas1068))),
            (Bus::Scsi, "lsisas1078", scsi(Some(ScsiModel::LsiSas1078))),
            (Bus::Scsi, "vmpvscsi", scsi(Some(ScsiModel::VmPvscsi))),
            (Bus::Sata, "sata", bus(DiskBus::Sata, None)),
            (Bus::Ide, "ide", bus(DiskBus::Ide, None)),
            (Bus::Scsi, "scsi", None),
            (Bus::Other, "usb", None),
        ] {
            assert_eq!(kept(source, model, bios, 1, &at), expected, "{model}");
        }
        assert_eq!(kept(Bus::Other, "virtio", efi, 1, &at), bus(DiskBus::Virtio, None));
        assert_eq!(kept(Bus::Scsi, "virtio-scsi", efi, 1, &at), scsi(None));
        assert_eq!(kept(Bus::Scsi, "lsilogic", efi, 1, &at), None);
        assert_eq!(kept(Bus::Scsi, "lsilogic", bios, 8, &at), None, "no more places");
        assert_eq!(kept(Bus::Ide, "ide", bios, 5, &at), None, "no more places");
        at.machine = "pc-i440fx-rhel7.6.0".to_owned();
        assert_eq!(kept(Bus::Scsi, "lsilogic", bios, 1, &at), None);
        assert_eq!(kept(Bus::Scsi, "virtio-scsi", bios, 1, &at), scsi(None));
        at.disk_buses = vec!["ide".to_owned()];
        assert_eq!(kept(Bus::Other, "virtio", bios, 1, &at), None, "the host has it not");
    }

    #[test]
    fn efi_finds_no_disk_on_vmwares_controllers() {
        use GuestBus::{Pvscsi, Sata};
        let pv = vm_on(Bus::Scsi, "ParaVirtualSCSIController", Firmware::Efi);
        assert_eq!(chosen(&[Pvscsi, Sata], &pv, 1, Chipset::Q35), bus(DiskBus::Sata, None));
        assert_eq!(chosen(&[Pvscsi], &pv, 1, Chipset::Q35), None);
    }
}
