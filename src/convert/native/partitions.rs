//! The partition table of a disk (UEFI 2.10, chapter 5), as far as it matters for booting.

use serde::Serialize;

/// Bytes of a sector.
pub(super) const SECTOR: usize = 512;
/// Offset of the partition table, where the boot sector's program ends.
const TABLE: usize = 446;
/// Bytes of an entry of the MBR's partition table.
const ENTRY: usize = 16;
/// The partition type that marks a protective MBR of a GPT.
const PROTECTIVE: u8 = 0xee;
/// The type of an EFI system partition in an MBR.
const MBR_ESP: u8 = 0xef;
/// Type of an EFI system partition, in the byte order on the disk (UEFI 2.10, table 5-7).
pub(super) const ESP: [u8; 16] = [
    0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
];
/// BIOS boot partition: `21686148-6449-6E6F-744E-656564454649` (GRUB manual, "BIOS installation").
pub(super) const BIOS_BOOT: [u8; 16] = *b"Hah!IdontNeedEFI";
/// FreeBSD's boot partition: `83BD6B9D-7F41-11DC-BE0B-001560B84F0F` (gpart(8), `freebsd-boot`).
const FREEBSD_BOOT: [u8; 16] = [
    0x9d, 0x6b, 0xbd, 0x83, 0x41, 0x7f, 0xdc, 0x11, 0xbe, 0x0b, 0x00, 0x15, 0x60, 0xb8, 0x4f, 0x0f,
];
/// The attribute of a GPT entry that allows a BIOS to boot it (UEFI 2.10, table 5-8).
const LEGACY_BOOT: u64 = 1 << 2;
/// Names that boot loaders carry in their boot sector.
const LOADERS: [&[u8]; 5] = [b"GRUB", b"SYSLINUX", b"EXTLINUX", b"LILO", b"isolinux"];

/// Texts or first bytes of boot sector programs that boot the active partition, or nothing. They
/// are those of FAT and NTFS without a system (mkfs.fat(8), mkfs.ntfs(8)), of Windows, of syslinux'
/// `mbr.bin`, and of libparted (`libparted/labels/dos.c`), which has no text.
const STUBS: [&[u8]; 6] = [
    b"not a bootable disk",
    b"issing operating system",
    b"nvalid partition table",
    b"o active partition",
    b"rror loading operating system",
    &[
        0xfa, 0xb8, 0x00, 0x10, 0x8e, 0xd0, 0xbc, 0x00, 0xb0, 0xb8, 0x00, 0x00, 0x8e, 0xd8, 0x8e,
        0xc0,
    ],
];
/// The signature of exFAT, and the range of its boot sector's code (exFAT specification, 3.1).
const EXFAT: (&[u8], std::ops::Range<usize>) = (b"EXFAT   ", 120..510);

/// The type of a partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(super) enum PartitionTable {
    Gpt,
    Mbr,
}

/// The kind of program in the boot sector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum BiosLoader {
    /// No program.
    #[default]
    Missing,
    /// A program without the name of a known boot loader, on a disk without an active partition.
    /// Partitioning tools write one on every disk, and some boot managers have no name.
    Nameless,
    /// A boot loader, or a program with a partition that a BIOS may boot.
    Known,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partition {
    /// First sector.
    pub(super) first: u64,
    /// Length in sectors.
    pub(super) sectors: u64,
    is_esp: bool,
    for_bios: bool,
}

/// The partitions of a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Partitions {
    pub(super) table: Option<PartitionTable>,
    all: Vec<Partition>,
}

impl Partitions {
    /// Reads the table at the beginning of a disk.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let sector = bytes.get(..SECTOR).unwrap_or_default();
        let entries = sector.get(TABLE..510).unwrap_or_default().chunks(ENTRY);
        let entries: Vec<_> =
            entries.filter(|entry| entry.get(4).is_some_and(|kind| *kind != 0)).collect();
        let is_gpt = bytes.get(SECTOR..SECTOR + 8) == Some(b"EFI PART");
        if is_gpt && entries.iter().any(|entry| entry[4] == PROTECTIVE) {
            return Self { table: Some(PartitionTable::Gpt), all: gpt(bytes) };
        }
        if sector.get(510..) != Some(&[0x55, 0xaa]) || entries.is_empty() {
            return Self::default();
        }
        let mbr = |entry: &&[u8]| Partition {
            first: u64::from(number32(&entry[8..12])),
            sectors: u64::from(number32(&entry[12..16])),
            is_esp: entry[4] == MBR_ESP,
            for_bios: entry[0] == 0x80,
        };
        Self { table: Some(PartitionTable::Mbr), all: entries.iter().map(mbr).collect() }
    }

    /// The EFI system partitions.
    pub(super) fn efi(&self) -> impl Iterator<Item = &Partition> {
        self.all.iter().filter(|partition| partition.is_esp)
    }

    /// The kind of program in the boot sector. The message that partitioning tools write into the
    /// boot sector of a disk for UEFI is no boot loader.
    pub(super) fn bios_loader(&self, bytes: &[u8]) -> BiosLoader {
        let sector = bytes.get(..SECTOR).unwrap_or_default();
        let program = sector.get(..TABLE).unwrap_or_default();
        let signed = sector.get(510..) == Some(&[0x55, 0xaa]);
        if !signed || program.iter().all(|byte| *byte == 0) {
            return BiosLoader::Missing;
        }
        let named =
            LOADERS.iter().any(|name| program.windows(name.len()).any(|part| part == *name));
        let for_bios = self.all.iter().any(|partition| partition.for_bios);
        if !named && !for_bios && starts_nothing(sector) {
            return BiosLoader::Missing;
        }
        let for_efi_only = self.table == Some(PartitionTable::Gpt) || self.efi().next().is_some();
        match (named || for_bios, for_efi_only) {
            (true, _) => BiosLoader::Known,
            (false, false) => BiosLoader::Nameless,
            (false, true) => BiosLoader::Missing,
        }
    }
}

/// Whether a boot sector's program boots nothing where no partition is active.
fn starts_nothing(sector: &[u8]) -> bool {
    let has = |text: &[u8]| sector.windows(text.len()).any(|part| part == text);
    let (mark, code) = EXFAT;
    let is_exfat = sector.get(3..11) == Some(mark);
    let has_code = sector.get(code).unwrap_or_default().iter().any(|byte| *byte != 0);
    STUBS.iter().any(|stub| has(stub)) || is_exfat && !has_code
}

/// The entries of a GPT within `bytes` (UEFI 2.10, 5.3.2 and 5.3.3).
fn gpt(bytes: &[u8]) -> Vec<Partition> {
    let header = &bytes[SECTOR..];
    let field = |at: usize, length: usize| header.get(at..at + length).unwrap_or_default();
    let start = number64(field(72, 8)).saturating_mul(SECTOR as u64);
    let size = usize::try_from(number32(field(84, 4))).unwrap_or(0).clamp(128, 4096);
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let entries = bytes.get(start..).unwrap_or_default().chunks_exact(size);
    let used = entries.filter(|entry| entry[..16] != [0; 16]);
    let partition = |entry: &[u8]| {
        let (first, last) = (number64(&entry[32..40]), number64(&entry[40..48]));
        Partition {
            first,
            sectors: last.saturating_sub(first).saturating_add(1).min(u64::MAX / 512),
            is_esp: entry[..16] == ESP,
            for_bios: entry[..16] == BIOS_BOOT
                || entry[..16] == FREEBSD_BOOT
                || number64(&entry[48..56]) & LEGACY_BOOT != 0,
        }
    };
    used.map(partition).take(128).collect()
}

fn number32(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_le_bytes)
}

fn number64(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::convert::native) fn mbr(kind: u8, program: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 32 << 10];
        bytes[..program.len()].copy_from_slice(program);
        bytes[TABLE + 4] = kind;
        bytes[TABLE + 8..TABLE + 12].copy_from_slice(&2048_u32.to_le_bytes());
        bytes[TABLE + 12..TABLE + 16].copy_from_slice(&4096_u32.to_le_bytes());
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        bytes
    }

    pub(in crate::convert::native) fn gpt_disk(kinds: &[[u8; 16]], program: &[u8]) -> Vec<u8> {
        let mut bytes = mbr(PROTECTIVE, program);
        bytes[SECTOR..SECTOR + 8].copy_from_slice(b"EFI PART");
        bytes[SECTOR + 72..SECTOR + 80].copy_from_slice(&2_u64.to_le_bytes());
        bytes[SECTOR + 84..SECTOR + 88].copy_from_slice(&128_u32.to_le_bytes());
        for (index, kind) in kinds.iter().enumerate() {
            let at = 2 * SECTOR + index * 128;
            bytes[at..at + 16].copy_from_slice(kind);
            bytes[at + 32..at + 40].copy_from_slice(&2048_u64.to_le_bytes());
            bytes[at + 40..at + 48].copy_from_slice(&4095_u64.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn partitions_of_both_tables_are_read() {
        let disk = Partitions::read(&mbr(0xef, b"x"));
        assert_eq!(disk.table, Some(PartitionTable::Mbr));
        assert_eq!(
            disk.efi().map(|esp| (esp.first, esp.sectors)).collect::<Vec<_>>(),
            [(2048, 4096)]
        );
        let disk = Partitions::read(&gpt_disk(&[BIOS_BOOT, ESP], b""));
        assert_eq!(disk.table, Some(PartitionTable::Gpt));
        assert_eq!(
            disk.efi().map(|esp| (esp.first, esp.sectors)).collect::<Vec<_>>(),
            [(2048, 2048)]
        );
        for nothing in [&[][..], &[0; 100], &[0; 4096]] {
            assert_eq!(Partitions::read(nothing), Partitions::default());
            assert_eq!(Partitions::read(nothing).bios_loader(nothing), BiosLoader::Missing);
        }
    }

    #[test]
    fn a_program_alone_makes_no_bios_disk_of_one_for_efi() {
        use BiosLoader::{Known, Missing, Nameless};
        let loader = |bytes: &[u8]| Partitions::read(bytes).bios_loader(bytes);
        assert_eq!(loader(&mbr(0x83, b"\xeb\x63 any program")), Nameless);
        assert_eq!(loader(&mbr(0x83, b"\xeb\x63 GRUB ")), Known);
        let mut active = mbr(0x07, b"\x33\xc0 of Windows");
        active[TABLE] = 0x80;
        assert_eq!(loader(&active), Known);
        assert_eq!(loader(&mbr(0x83, b"")), Missing, "no program");
        assert_eq!(loader(&gpt_disk(&[ESP], b"\xfa\xb8 Error")), Missing, "of a partitioning tool");
        assert_eq!(loader(&gpt_disk(&[ESP], b"\xeb\x63 GRUB ")), Known);
        for kind in [BIOS_BOOT, FREEBSD_BOOT] {
            assert_eq!(loader(&gpt_disk(&[kind, ESP], b"\xeb\x63")), Known);
        }
    }

    #[test]
    fn what_tools_write_on_every_disk_starts_nothing() {
        use BiosLoader::{Known, Missing, Nameless};
        let loader = |bytes: &[u8]| Partitions::read(bytes).bios_loader(bytes);
        for program in [
            STUBS[5],
            b"\x33\xc0\x8e\xd0 Invalid partition table\0Missing operating system\0",
            b"\xeb\x3c\x90mkfs.fat This is not a bootable disk.  Please insert",
        ] {
            assert_eq!(loader(&mbr(0x83, program)), Missing, "{program:x?}");
            let mut active = mbr(0x83, program);
            active[TABLE] = 0x80;
            assert_eq!(loader(&active), Known, "{program:x?}");
        }
        let mut exfat = vec![0; 4096];
        exfat[..11].copy_from_slice(b"\xeb\x76\x90EXFAT   ");
        exfat[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(loader(&exfat), Missing);
        exfat[200] = 0xf4;
        assert_eq!(loader(&exfat), Nameless, "with code");
    }
}
