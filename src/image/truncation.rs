//! Checks whether an image is truncated according to its tables. Most tools accept a truncated copy
//! and read zeros for the missing data.

use std::fs::File;
use std::io::{self, ErrorKind};

use super::number::{at, big, entries, little};
use super::split::Sparse;
use super::vhdx::Vhdx;
use crate::budget::{Going, TableBudget};
use crate::model::DiskFormat;

/// Rejects an image of `format` that is truncated or whose tables are malformed. Raw images cannot
/// be checked; [`Stream`](super::vmdk::Stream) checks a streamOptimized VMDK.
///
/// # Errors
/// If the file cannot be read, or `going` is cancelled.
pub(super) fn check(
    file: &File,
    format: DiskFormat,
    going: &Going,
) -> io::Result<Result<(), String>> {
    let length = file.metadata()?.len();
    let reached = match format {
        DiskFormat::Raw => Ok(0),
        DiskFormat::Vmdk => vmdk(file, going),
        DiskFormat::Qcow2 => qcow2(file, length, going),
        DiskFormat::Vhd => vhd(file, length),
        DiskFormat::Vhdx => vhdx(file, length, going),
        DiskFormat::Vdi => vdi(file, length, going),
    };
    match reached {
        Ok(end) if end <= length => Ok(Ok(())),
        Ok(end) => Ok(Err(format!(
            "it is cut off: it has {length} bytes, and something at byte {}",
            end - 1
        ))),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Err(format!(
            "it is cut off after {length} bytes, or no image of a disk in {format}"
        ))),
        Err(error) if error.kind() == ErrorKind::InvalidData => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

/// A sparse extent that is a complete disk. A text descriptor has no tables, nor are those of
/// compressed grains (a flag in bytes 10 and 11) checked here.
fn vmdk(file: &File, going: &Going) -> io::Result<u64> {
    let header: [u8; 20] = at(file, 0)?;
    if !header.starts_with(b"KDMV") || header[10..12] != [0, 0] {
        return Ok(0);
    }
    let sectors = little(&header[12..20]);
    Sparse::hosted(file.try_clone()?, sectors)?.reach(sectors, going)
}

/// QEMU, docs/interop/qcow2.rst: cluster size as a power of two in bytes 20 to 23, size 24 to 31.
/// L1 entries 36 to 39, L1 offset 40 to 47, incompatible features 72 to 79; bit 4 doubles the
/// length of L2 entries.
fn qcow2(file: &File, length: u64, going: &Going) -> io::Result<u64> {
    let header: [u8; 48] = at(file, 0)?;
    let bits = big(&header[20..24]);
    let extended = header[7] >= 3 && at::<1>(file, 79)?[0] & 0b1_0000 != 0;
    let (width, count) = (if extended { 16 } else { 8 }, big(&header[36..40]));
    if !(9..=21).contains(&bits) || count > (32 << 20) / 8 {
        return Err(invalid("its qcow2 header makes no sense"));
    }
    let cluster = 1 << bits;
    let mut end = 0;
    let mut tables = TableBudget::of_tables(length);
    entries(file, big(&header[40..48]), count, 8, |_, entry| {
        let table = big(entry) & OFFSET;
        if table == 0 {
            return Ok(());
        }
        going.check()?;
        tables.draw(cluster)?;
        entries(file, table, cluster / width, width, |_, entry| {
            end = end.max(cluster_end(big(&entry[..8]), bits));
            Ok(())
        })
    })?;
    Ok(end)
}

/// Bits of a qcow2 entry that are an offset in the file.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

/// Least length of the image for an L2 entry: only the cluster's first byte, since the last cluster
/// may end with the file.
fn cluster_end(entry: u64, bits: u64) -> u64 {
    if entry >> 62 & 1 == 1 {
        let place_bits = 62 - (bits - 8);
        let place = entry & ((1 << place_bits) - 1);
        let sectors = (entry & ((1 << 62) - 1)) >> place_bits;
        return (place & !511) + sectors * 512 + 1;
    }
    match entry & OFFSET {
        // Nothing, or zeros whose cluster stays allocated.
        place if place == 0 || entry & 1 == 1 => 0,
        place => place + 1,
    }
}

/// "Virtual Hard Disk Image Format Specification" (Microsoft 2006): every VHD ends with a footer.
/// In a fixed one (type 2, in bytes 60 to 63) the disk precedes the footer.
fn vhd(file: &File, length: u64) -> io::Result<u64> {
    let footer: [u8; 64] = at(file, length.checked_sub(512).ok_or(ErrorKind::UnexpectedEof)?)?;
    if !footer.starts_with(b"conectix") {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let is_fixed = big(&footer[60..64]) == 2;
    Ok(if is_fixed { big(&footer[48..56]).saturating_add(512) } else { 0 })
}

/// MS-VHDX, 2.5: entries of 64 bits. The lowest three bits are the state (6: a block, 7: a part of
/// one), the bits from 20 on the offset in MiB. A bitmap follows each chunk of blocks.
fn vhdx(file: &File, length: u64, going: &Going) -> io::Result<u64> {
    let vhdx = Vhdx::read(file)?.ok_or(ErrorKind::UnexpectedEof)?;
    let (place, bytes) = vhdx.table;
    let count = bytes.min(length) / 8;
    let mut end = 0;
    entries(file, place, count, 8, |index, entry| {
        going.check_at(index)?;
        let entry = little(entry);
        if matches!(entry & 0b111, 6 | 7) {
            let is_bitmap = index % (vhdx.chunk() + 1) == vhdx.chunk();
            let size = if is_bitmap { 1 << 20 } else { vhdx.block };
            end = end.max((entry >> 20).saturating_mul(1 << 20).saturating_add(size));
        }
        Ok(())
    })?;
    Ok(end)
}

/// VirtualBox, src/VBox/Storage/VDICore.h: offset of the block table in bytes 0x154 to 0x157, of
/// the blocks 0x158. Size of a block 0x178, of the data before each block 0x17c, number of blocks
/// 0x180. The two highest entries stand for missing blocks and for zeros.
fn vdi(file: &File, length: u64, going: &Going) -> io::Result<u64> {
    let header: [u8; 0x184] = at(file, 0)?;
    let word = |place: usize| little(&header[place..place + 4]);
    let (block, count) = (word(0x178).saturating_add(word(0x17c)), word(0x180));
    if count > length / 4 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let mut end = 0;
    entries(file, word(0x154), count, 4, |index, entry| {
        going.check_at(index)?;
        let entry = little(entry);
        if entry < 0xffff_fffe {
            end = end.max(word(0x158).saturating_add((entry + 1).saturating_mul(block)));
        }
        Ok(())
    })?;
    Ok(end)
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}
