//! Finds out whether a firmware can boot from the disks, and from which disk.

use crate::model::{DiskId, Firmware, GuestFacts, OsFamily, SourceVm, Stage, Warning, WarningCode};

use super::beginning::Beginning;

/// The facts of a guest, completed from the beginnings of its disks: the boot disk, and the
/// firmware types that can boot from it.
pub(super) fn judge(
    vm: &SourceVm,
    starts: &[(DiskId, Beginning)],
    facts: Option<GuestFacts>,
) -> GuestFacts {
    let facts = facts.unwrap_or_default();
    let Some((id, start)) = boot_disk(vm, starts) else { return facts };
    let (boot_disk, firmware) = (Some(id.clone()), start.firmware());
    GuestFacts { boot_disk, firmware, lacks: start.lacks(), ..facts }
}

/// The boot disk: the disk that the source names, or else the first of those that the VM's firmware
/// most likely boots from. Where the source names no firmware, either type counts.
pub(super) fn boot_disk<'a>(
    vm: &SourceVm,
    starts: &'a [(DiskId, Beginning)],
) -> Option<&'a (DiskId, Beginning)> {
    if !vm.assumed.boot_disk {
        return starts.first();
    }
    let told = (!vm.assumed.firmware).then_some(vm.firmware);
    // `max_by_key` returns the last of several equal elements; the first one is wanted.
    starts.iter().rev().max_by_key(|(_, start)| start.likelihood(told))
}

/// Why the VM would not boot as planned, if it would not.
pub(super) fn fault(
    vm: &SourceVm,
    starts: &[(DiskId, Beginning)],
    guest: &GuestFacts,
) -> Option<Warning> {
    let id = guest.boot_disk.as_ref()?;
    let (_, start) = starts.iter().find(|(other, _)| other == id)?;
    let firmware = match (vm.assumed.firmware, guest.firmware.as_slice()) {
        (true, [first, ..]) => *first,
        _ => vm.firmware,
    };
    if guest.firmware.contains(&firmware) {
        return None;
    }
    let why = start.fault(firmware);
    let system = match guest.family {
        OsFamily::Unknown => "",
        _ => ", although it holds an operating system",
    };
    let other = match (firmware, guest.firmware.as_slice()) {
        (Firmware::Bios, [Firmware::Efi]) => "; it starts by UEFI: --firmware efi",
        (Firmware::Efi, [Firmware::Bios]) => "; it starts by BIOS: --firmware bios",
        _ => "",
    };
    let text = format!("{id} will not boot: {why}{system}{other}");
    Some(Warning::new(Stage::Pipeline, WarningCode::BootDiskNotBootable, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::native::beginning::{data_disk, efi_disk, empty_disk, esp_disk, grub_disk};
    use crate::model::{Assumed, Lack};

    fn vm(firmware: Firmware, assumed: bool) -> SourceVm {
        let assumed = Assumed { firmware: assumed, boot_disk: assumed };
        SourceVm { firmware, assumed, ..crate::model::fixture::vm() }
    }

    fn id(index: usize) -> DiskId {
        DiskId::from_index(index)
    }

    #[test]
    fn the_disk_decides_what_the_source_left_open() {
        let starts = [(id(0), efi_disk())];
        let guest = judge(&vm(Firmware::Bios, true), &starts, None);
        assert_eq!(guest.firmware, [Firmware::Efi]);
        assert!(fault(&vm(Firmware::Bios, true), &starts, &guest).is_none());
        let told = fault(&vm(Firmware::Bios, false), &starts, &guest).expect("a warning");
        assert!(told.message.contains("--firmware efi"), "{}", told.message);
    }

    #[test]
    fn the_boot_loader_names_the_boot_disk_where_the_source_does_not() {
        let starts = [(id(0), empty_disk()), (id(1), grub_disk())];
        let guest = judge(&vm(Firmware::Bios, true), &starts, None);
        assert_eq!(guest.boot_disk, Some(id(1)));
        let guest = judge(&vm(Firmware::Bios, false), &starts, None);
        assert_eq!((guest.boot_disk, guest.firmware), (Some(id(0)), Vec::new()));
    }

    #[test]
    fn a_data_disk_is_no_boot_disk_where_another_has_a_loader() {
        let starts = [(id(0), data_disk()), (id(1), grub_disk())];
        let chosen = |starts: &[(DiskId, Beginning)], assumed| {
            judge(&vm(Firmware::Bios, assumed), starts, None).boot_disk
        };
        assert_eq!(chosen(&starts, true), Some(id(1)));
        assert_eq!(chosen(&starts, false), Some(id(0)));
        // A boot manager without a name boots as well, where no surer candidate exists.
        let starts = [(id(0), empty_disk()), (id(1), data_disk())];
        assert_eq!(chosen(&starts, true), Some(id(1)));
    }

    #[test]
    fn the_told_firmware_chooses_the_boot_disk() {
        let starts = [(id(0), grub_disk()), (id(1), efi_disk())];
        let assumed = Assumed { firmware: false, boot_disk: true };
        let chosen = |firmware| {
            let vm = SourceVm { firmware, assumed, ..crate::model::fixture::vm() };
            let guest = judge(&vm, &starts, None);
            assert!(fault(&vm, &starts, &guest).is_none());
            guest.boot_disk
        };
        assert_eq!(chosen(Firmware::Efi), Some(id(1)));
        assert_eq!(chosen(Firmware::Bios), Some(id(0)));
        // Before FIX, the vendor's loader may be the only loader.
        let before = [(id(0), data_disk()), (id(1), esp_disk())];
        let vm = SourceVm { assumed, firmware: Firmware::Efi, ..crate::model::fixture::vm() };
        assert_eq!(boot_disk(&vm, &before).map(|(disk, _)| disk.clone()), Some(id(1)));
    }

    #[test]
    fn what_the_boot_disk_lacks_is_known_without_an_appliance() {
        let guest = judge(&vm(Firmware::Bios, true), &[(id(0), empty_disk())], None);
        assert_eq!((guest.inspected, guest.lacks), (false, Some(Lack::PartitionTable)));
    }
}
