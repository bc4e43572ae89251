//! Follows the GRUB in the boot sector of a disk. The boot sector loads the core image, which names
//! the file system with GRUB's other files (GRUB 2.12, `grub-core/boot/i386/pc` and
//! `include/grub/offsets.h`).
//!
//! ```text
//!   boot sector ──0x5c──▶ first sector of the core image, whose end lists the others
//!                              │
//!   decompressor (sizes at 8 and 12), then LZMA of kernel and modules, configuration, prefix
//! ```

use liblzma::stream::{Action, Filters, LzmaOptions, Stream};

use crate::convert::Error;
use crate::convert::native::guestfs::Guestfs;

/// Bytes of a sector.
const SECTOR: usize = 512;
/// Offset in the boot sector of the number of the core image's first sector.
const KERNEL_SECTOR: usize = 0x5c;
/// Offset in the boot sector of the core image's disk, and the value that means the boot sector's
/// own disk.
const BOOT_DRIVE: (usize, u8) = (0x64, 0xff);
/// Bytes of an entry of the list of sectors: first sector, number of sectors, segment.
const ENTRY: usize = 12;
/// Most sectors of a core image: the space below 1 MiB is smaller.
const MOST_SECTORS: u64 = 2048;
/// Most bytes of an unpacked core image.
const LARGEST: usize = 4 << 20;
/// Offsets in the decompressor of the packed length and of the unpacked length.
const SIZES: (usize, usize) = (8, 12);
/// Longest decompressor, in bytes (`GRUB_DECOMPRESSOR_I386_PC_MAX_DECOMPRESSOR_SIZE`).
const LONGEST_DECOMPRESSOR: usize = 0x9000 - 0x8200;
/// Dictionary of the compression, in bytes (`util/mkimage.c`).
const DICTIONARY: u32 = 1 << 16;

/// The file system from which GRUB continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LeadsTo {
    Uuid(String),
    /// By the number of its partition on the boot sector's disk.
    Partition(u32),
}

/// Where the GRUB of a disk continues; none where the disk has no GRUB, or its target is unknown.
pub(super) async fn of_disk(guestfs: &mut Guestfs, disk: &str) -> Result<Option<LeadsTo>, Error> {
    let size = SECTOR as u64;
    let Some(first) = guestfs.part(disk, 0, size).await?.as_deref().and_then(first_sector) else {
        return Ok(None);
    };
    let Some(list) = guestfs.part(disk, first.saturating_mul(size), size).await? else {
        return Ok(None);
    };
    let mut core = Vec::new();
    for (start, sectors) in blocks(&list) {
        match guestfs.part(disk, start.saturating_mul(size), sectors * size).await? {
            Some(bytes) => core.extend(bytes),
            None => return Ok(None),
        }
    }
    Ok(told(&core))
}

/// The first sector of the core image, read from the boot sector.
fn first_sector(boot: &[u8]) -> Option<u64> {
    let is_grub = boot.len() >= SECTOR && boot.windows(4).any(|word| word == b"GRUB");
    let (drive, own) = BOOT_DRIVE;
    let sector = u64::from_le_bytes(boot.get(KERNEL_SECTOR..KERNEL_SECTOR + 8)?.try_into().ok()?);
    (is_grub && boot[drive] == own && sector > 0).then_some(sector)
}

/// The sectors after the first one. The list is read from its end to its front; empty where it
/// exceeds the limit.
fn blocks(first: &[u8]) -> Vec<(u64, u64)> {
    let entry = |at: usize| {
        let start = u64::from_le_bytes(first.get(at..at + 8)?.try_into().ok()?);
        let sectors = u16::from_le_bytes(first.get(at + 8..at + 10)?.try_into().ok()?);
        (sectors > 0).then_some((start, u64::from(sectors)))
    };
    let places = (1..SECTOR / ENTRY).map(|number| SECTOR - number * ENTRY);
    let blocks: Vec<_> = places.map_while(entry).collect();
    let sum: u64 = blocks.iter().map(|(_, sectors)| sectors).sum();
    if sum > MOST_SECTORS { Vec::new() } else { blocks }
}

/// The target in a core image, unpacked: kernel, modules, configuration and prefix. The
/// decompressor's end depends on how it was compiled, so each offset is tried at which packed data
/// may begin: with a zero.
fn told(core: &[u8]) -> Option<LeadsTo> {
    let number = |at: usize| {
        let bytes = core.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let (packed, size) = (number(SIZES.0)?, number(SIZES.1)?);
    if packed == 0 || size == 0 || size > LARGEST {
        return None;
    }
    let places = (SIZES.1 + 4..LONGEST_DECOMPRESSOR).filter(|at| core.get(*at) == Some(&0));
    places
        .filter_map(|at| core.get(at..at + packed))
        .filter_map(|bytes| inflated(bytes, size))
        .find_map(|bytes| leads_to(&bytes))
}

/// `packed` as raw LZMA without an end mark, if it becomes exactly `size` bytes.
fn inflated(packed: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut options = LzmaOptions::new_preset(6).ok()?;
    options.dict_size(DICTIONARY).literal_context_bits(3).literal_position_bits(0);
    options.position_bits(2);
    let mut filters = Filters::new();
    filters.lzma1(&options);
    let mut stream = Stream::new_raw_decoder(&filters).ok()?;
    let mut bytes = vec![0; size];
    stream.process(packed, &mut bytes, Action::Run).ok()?;
    (stream.total_out() == size as u64).then_some(bytes)
}

/// The file system that the configuration in a core image searches for, or else the partition in
/// its prefix.
fn leads_to(core: &[u8]) -> Option<LeadsTo> {
    let after = |word: &[u8]| {
        let at = core.windows(word.len()).rposition(|found| found == word)?;
        let rest = core.get(at + word.len()..)?;
        let end = rest.iter().position(|byte| !byte.is_ascii_graphic() && *byte != b' ');
        std::str::from_utf8(&rest[..end.unwrap_or(rest.len())]).ok()
    };
    let is_uuid =
        |word: &&str| word.len() >= 4 && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let searched = ["search.fs_uuid ", "search --fs-uuid ", "search --no-floppy --fs-uuid "];
    let uuid = searched.iter().filter_map(|word| after(word.as_bytes())?.split(' ').find(is_uuid));
    if let Some(uuid) = uuid.into_iter().next() {
        return Some(LeadsTo::Uuid(uuid.to_owned()));
    }
    let number = |word: &str| after(word.as_bytes())?.split_once(")/")?.0.parse().ok();
    [",msdos", ",gpt"].into_iter().find_map(number).map(LeadsTo::Partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "5eed0000-0000-4000-8000-00000000b105";

    /// A core image as `grub-mkimage` builds it from these modules.
    fn core_image(modules: &[u8]) -> Vec<u8> {
        let mut options = LzmaOptions::new_preset(6).expect("known");
        options.dict_size(DICTIONARY);
        let mut filters = Filters::new();
        filters.lzma1(&options);
        let mut stream = Stream::new_raw_encoder(&filters).expect("made");
        let mut packed = Vec::with_capacity(modules.len() + 1024);
        stream.process_vec(modules, &mut packed, Action::Finish).expect("packed");
        let mut image = vec![0x90; 0xb20];
        image[8..12].copy_from_slice(&(packed.len() as u32).to_le_bytes());
        image[12..16].copy_from_slice(&(modules.len() as u32).to_le_bytes());
        image[0x300..0x310].fill(0);
        [image, packed, vec![0; 700]].concat()
    }

    fn modules(said: &str) -> Vec<u8> {
        let kernel: Vec<u8> = (0..40_000_u32).map(|n| (n * n % 251) as u8).collect();
        [&kernel[..], said.as_bytes(), &[0, 0, 3]].concat()
    }

    #[test]
    fn a_core_image_tells_its_file_system() {
        let uuid = LeadsTo::Uuid(UUID.to_owned());
        let search =
            format!("search.fs_uuid {UUID} root hd0,msdos1\nset prefix=($root)'/boot/grub'\n");
        let old = format!("search --fs-uuid --set=root {UUID}\nset prefix=($root)/grub\n");
        for (said, leads) in [
            (search.as_str(), Some(uuid.clone())),
            (&old, Some(uuid)),
            ("(,msdos2)/boot/grub\0", Some(LeadsTo::Partition(2))),
            ("(hd0,gpt12)/grub\0", Some(LeadsTo::Partition(12))),
            ("(lvm/vg-root)/boot/grub\0", None),
        ] {
            assert_eq!(told(&core_image(&modules(said))), leads, "{said}");
        }
        assert_eq!(told(&[0; 4096]), None);
        assert_eq!(told(b"short"), None);
    }

    #[test]
    fn a_boot_sector_and_the_list_tell_where_the_core_image_is() {
        let mut boot = vec![0; SECTOR];
        boot[0x180..0x184].copy_from_slice(b"GRUB");
        boot[KERNEL_SECTOR] = 1;
        assert_eq!(first_sector(&boot), None, "on another disk");
        boot[BOOT_DRIVE.0] = BOOT_DRIVE.1;
        assert_eq!(first_sector(&boot), Some(1));
        boot[0x180] = 0;
        assert_eq!(first_sector(&boot), None, "another boot loader");

        let mut list = vec![0; SECTOR];
        assert_eq!(blocks(&list), []);
        list[500..510].copy_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0, 109, 0]);
        list[488..498].copy_from_slice(&[200, 0, 0, 0, 0, 0, 0, 0, 3, 0]);
        assert_eq!(blocks(&list), [(2, 109), (200, 3)]);
        list[509] = 0xff;
        assert_eq!(blocks(&list), [], "more than there can be");
    }
}
