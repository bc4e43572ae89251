//! Inspects the beginning of a disk, and which firmware boots from the disk.

use serde::Serialize;

use crate::model::{Firmware, Lack};

use super::partitions::PartitionTable;

/// What was found at the beginning of a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Beginning {
    /// `gpt`, `mbr`, or null where there is no partition table.
    pub(super) partition_table: Option<PartitionTable>,
    /// Whether the boot sector contains a program that a BIOS could start.
    pub(super) boot_sector: bool,
    /// Whether the disk has an EFI system partition.
    pub(super) efi_partition: bool,
    /// Whether an EFI system partition contains the program that firmware starts without boot
    /// variables.
    pub(super) efi_loader: bool,
    /// Whether the program in the boot sector may be no boot loader.
    #[serde(skip)]
    pub(super) is_nameless: bool,
}

impl Beginning {
    /// How likely a firmware boots from this disk, before or after FIX; 0 means not at all. Where
    /// the VM's firmware is known (`told`), a disk that only another firmware boots from ranks
    /// last.
    pub(super) fn likelihood(&self, told: Option<Firmware>) -> u8 {
        let bios = match (self.boot_sector, self.is_nameless) {
            (true, false) => 4,
            (true, true) => 2,
            (false, _) => 0,
        };
        let efi = match (self.efi_loader, self.efi_partition) {
            (true, _) => 4,
            // FIX may install the loader there.
            (false, true) => 3,
            (false, false) => 0,
        };
        let others = |other: u8| u8::from(other == 4);
        match told {
            None => bios.max(efi),
            Some(Firmware::Bios) => bios.max(others(efi)),
            Some(Firmware::Efi) => efi.max(others(bios)),
        }
    }

    /// What the disk lacks, where no firmware can boot from it.
    pub(super) fn lacks(&self) -> Option<Lack> {
        match (self.firmware().as_slice(), self.partition_table) {
            ([], None) => Some(Lack::PartitionTable),
            ([], Some(_)) if !self.efi_partition => Some(Lack::EfiPartition),
            _ => None,
        }
    }

    /// The firmware types that can boot from the disk, the likelier first.
    pub(super) fn firmware(&self) -> Vec<Firmware> {
        let bios = self.boot_sector.then_some(Firmware::Bios);
        let efi = self.efi_loader.then_some(Firmware::Efi);
        bios.into_iter().chain(efi).collect()
    }

    /// Why the given firmware does not boot from the disk.
    pub(super) fn fault(&self, firmware: Firmware) -> &'static str {
        match firmware {
            Firmware::Bios => "it has no boot sector",
            Firmware::Efi if self.partition_table.is_none() => "it has no partition table",
            Firmware::Efi if !self.efi_partition => "it has no EFI system partition",
            Firmware::Efi => {
                "its EFI system partition has no \\EFI\\BOOT\\BOOTX64.EFI, and boot variables stay \
                 behind"
            }
        }
    }
}

#[cfg(test)]
pub(super) fn empty_disk() -> Beginning {
    Beginning::default()
}

#[cfg(test)]
pub(super) fn grub_disk() -> Beginning {
    Beginning {
        partition_table: Some(PartitionTable::Mbr),
        boot_sector: true,
        ..Beginning::default()
    }
}

#[cfg(test)]
pub(super) fn efi_disk() -> Beginning {
    Beginning {
        partition_table: Some(PartitionTable::Gpt),
        boot_sector: false,
        efi_partition: true,
        efi_loader: true,
        is_nameless: false,
    }
}

/// A disk with an EFI system partition that contains only the vendor's loader.
#[cfg(test)]
pub(super) fn esp_disk() -> Beginning {
    Beginning { efi_loader: false, ..efi_disk() }
}

/// A data disk, with the boot sector that a partitioning tool writes.
#[cfg(test)]
pub(super) fn data_disk() -> Beginning {
    Beginning { is_nameless: true, ..grub_disk() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_firmware_is_told_what_it_misses() {
        assert_eq!(empty_disk().firmware(), []);
        assert_eq!(empty_disk().fault(Firmware::Efi), "it has no partition table");
        assert_eq!(grub_disk().firmware(), [Firmware::Bios]);
        assert_eq!(grub_disk().fault(Firmware::Efi), "it has no EFI system partition");
        assert_eq!(efi_disk().firmware(), [Firmware::Efi]);
        let vendor_only = Beginning { efi_loader: false, ..efi_disk() };
        assert_eq!(vendor_only.lacks(), None);
        assert_eq!(empty_disk().lacks(), Some(Lack::PartitionTable));
        let no_loader = Beginning { boot_sector: false, ..grub_disk() };
        assert_eq!(no_loader.lacks(), Some(Lack::EfiPartition));
        assert_eq!((grub_disk().lacks(), efi_disk().lacks()), (None, None));
        assert!(vendor_only.fault(Firmware::Efi).contains("BOOTX64.EFI"));
    }
}
