//! VALIDATE: the images are whole, of the right size, and hold what a firmware boots from.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::convert::Error;
use crate::convert::qemu_img::{Image, Tools};
use crate::model::{ByteSize, DiskFormat, Firmware};

/// Beginning of a disk that is looked at, in KiB: boot sector, GPT header and its table.
const HEAD: u32 = 32;
const SECTOR: usize = 512;
/// Where the boot sector's program ends and the partition table begins.
const TABLE: usize = 446;
/// Bytes of an entry there, and where its type stands.
const ENTRY: usize = 16;
const TYPE: usize = 4;
/// The type that stands for a GPT.
const PROTECTIVE: u8 = 0xee;
/// EFI system partition, as its bytes lie on the disk (UEFI 2.10, table 5-7).
const ESP: [u8; 16] = [
    0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
];

/// What a disk begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Beginning {
    /// `gpt`, `mbr`, or nothing.
    partition_table: Option<&'static str>,
    /// Whether there is a program in the boot sector.
    boot_sector: bool,
    /// Whether a partition is for EFI programs.
    efi_partition: bool,
}

impl Beginning {
    /// Why a firmware would not boot from it, if it would not.
    pub(super) fn fault(&self, firmware: Firmware) -> Option<&'static str> {
        match firmware {
            Firmware::Bios if !self.boot_sector => Some("it has no boot sector"),
            Firmware::Efi if self.partition_table.is_none() => Some("it has no partition table"),
            Firmware::Efi if !self.efi_partition => Some("it has no EFI system partition"),
            _ => None,
        }
    }
}

/// Reads the beginning of an image; `scratch` is a file of our own.
pub(super) async fn beginning(
    tools: &Tools,
    image: &Path,
    scratch: &Path,
) -> Result<Beginning, Error> {
    tools.head(Image { path: image, format: DiskFormat::Qcow2 }, scratch, HEAD).await?;
    let read = Error::io(format!("read {}", scratch.display()));
    let bytes = fs::read(scratch).map_err(read)?;
    fs::remove_file(scratch).map_err(Error::io(format!("remove {}", scratch.display())))?;
    Ok(look(&bytes))
}

fn look(bytes: &[u8]) -> Beginning {
    let sector = bytes.get(..SECTOR).unwrap_or_default();
    let signed = sector.get(510..) == Some(&[0x55, 0xaa]);
    let entries: Vec<_> = sector.get(TABLE..510).unwrap_or_default().chunks(ENTRY).collect();
    let types: Vec<u8> = entries.iter().filter_map(|entry| entry.get(TYPE).copied()).collect();
    let gpt = bytes.get(SECTOR..SECTOR + 8) == Some(b"EFI PART");
    let mbr = signed && types.iter().any(|kind| *kind != 0);
    Beginning {
        partition_table: match (gpt, mbr) {
            (true, _) if types.contains(&PROTECTIVE) => Some("gpt"),
            (_, true) => Some("mbr"),
            _ => None,
        },
        boot_sector: signed && sector[..TABLE].iter().any(|byte| *byte != 0),
        efi_partition: bytes.chunks(16).skip(2 * SECTOR / 16).any(|chunk| chunk == ESP)
            || types.contains(&0xef),
    }
}

/// Checks a result: its structure, and the size that the guest sees.
///
/// # Errors
/// [`Error::QemuImg`], [`Error::Untrusted`].
pub(super) async fn check(
    tools: &Tools,
    disk: &crate::model::DiskId,
    image: &Path,
    capacity: ByteSize,
) -> Result<(), Error> {
    let info = tools.info(image, DiskFormat::Qcow2).await?;
    let wrong = |why: String| Error::Untrusted { disk: disk.clone(), why };
    if info.backing_filename.is_some() {
        return Err(wrong("its image needs another file".to_owned()));
    }
    if info.virtual_size != capacity.0 {
        let found = info.virtual_size;
        return Err(wrong(format!("its image is {found} bytes for the guest, not {}", capacity.0)));
    }
    tools.check(image).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(kind: u8, program: bool) -> Vec<u8> {
        let mut bytes = vec![0; 32 << 10];
        bytes[0] = u8::from(program);
        bytes[TABLE + TYPE] = kind;
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        bytes
    }

    #[test]
    fn a_disk_of_each_firmware_is_known() {
        let bios = look(&disk(0x83, true));
        assert_eq!((bios.partition_table, bios.fault(Firmware::Bios)), (Some("mbr"), None));
        assert_eq!(bios.fault(Firmware::Efi), Some("it has no EFI system partition"));
        let mut bytes = disk(PROTECTIVE, false);
        bytes[SECTOR..SECTOR + 8].copy_from_slice(b"EFI PART");
        bytes[1024 + 128..1024 + 144].copy_from_slice(&ESP);
        let efi = look(&bytes);
        assert_eq!((efi.partition_table, efi.fault(Firmware::Efi)), (Some("gpt"), None));
        assert_eq!(efi.fault(Firmware::Bios), Some("it has no boot sector"));
    }

    #[test]
    fn zeros_boot_nowhere() {
        let empty = look(&[0; 4096]);
        assert_eq!(empty.fault(Firmware::Bios), Some("it has no boot sector"));
        assert_eq!(empty.fault(Firmware::Efi), Some("it has no partition table"));
        assert_eq!(look(&[]).partition_table, None);
    }
}
