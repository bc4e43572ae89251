//! Size of an image's disk as the guest sees it, from the image's header.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use super::number::{at, big, little};
use super::vhdx::Vhdx;
use super::vmdk::{self, LONGEST_DESCRIPTOR, SECTOR};
use crate::model::DiskFormat;

/// Size of the disk in bytes; `None` if the file is no image of that format.
///
/// # Errors
/// If the file cannot be read.
pub fn capacity(file: &File, format: DiskFormat) -> io::Result<Option<u64>> {
    let found = match format {
        DiskFormat::Raw => file.metadata().map(|found| Some(found.len())),
        DiskFormat::Qcow2 => qcow2(file),
        DiskFormat::Vmdk => vmdk(file),
        DiskFormat::Vhd => vhd(file),
        DiskFormat::Vhdx => Vhdx::read(file).map(|found| found.map(|vhdx| vhdx.size)),
        DiskFormat::Vdi => vdi(file),
    };
    match found {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        found => found,
    }
}

/// As [`capacity`], for an image of which only the beginning exists. `None` for formats without a
/// header in front: a raw disk and a VHD of fixed size.
///
/// # Errors
/// If the file cannot be read.
pub fn header_capacity(file: &File, format: DiskFormat) -> io::Result<Option<u64>> {
    match format {
        DiskFormat::Raw => Ok(None),
        // A dynamic VHD has a copy of its footer in front.
        DiskFormat::Vhd => {
            let footer: [u8; 56] = at(file, 0)?;
            Ok(footer.starts_with(b"conectix").then(|| big(&footer[48..56])))
        }
        format => capacity(file, format),
    }
}

/// QEMU, docs/interop/qcow2.rst: magic in bytes 0 to 3, size in 24 to 31.
fn qcow2(file: &File) -> io::Result<Option<u64>> {
    let header: [u8; 32] = at(file, 0)?;
    Ok(header.starts_with(b"QFI\xfb").then(|| big(&header[24..32])))
}

/// "Virtual Disk Format 5.0": `capacity` in bytes 12 to 19 of a sparse header, or the total of a
/// descriptor's extents.
fn vmdk(file: &File) -> io::Result<Option<u64>> {
    let header: [u8; 20] = at(file, 0)?;
    if header.starts_with(b"KDMV") {
        return Ok(little(&header[12..20]).checked_mul(SECTOR));
    }
    if !header.starts_with(b"# Di") {
        return Ok(None);
    }
    let length = file.metadata()?.len().min(LONGEST_DESCRIPTOR as u64);
    let mut text = vec![0; length as usize];
    file.read_exact_at(&mut text, 0)?;
    let extents = vmdk::extents(&vmdk::text(&text));
    let sectors = extents.iter().try_fold(0_u64, |sum, extent| sum.checked_add(extent.sectors));
    Ok(sectors.and_then(|sectors| sectors.checked_mul(SECTOR)).filter(|size| *size > 0))
}

/// "Virtual Hard Disk Image Format Specification" (Microsoft 2006): a footer of 512 bytes, with
/// the current size in its bytes 48 to 55.
fn vhd(file: &File) -> io::Result<Option<u64>> {
    let Some(place) = file.metadata()?.len().checked_sub(512) else { return Ok(None) };
    let footer: [u8; 56] = at(file, place)?;
    Ok(footer.starts_with(b"conectix").then(|| big(&footer[48..56])))
}

/// VirtualBox, src/VBox/Storage/VDICore.h: signature in bytes 64 to 67, size in 0x170 to 0x177.
fn vdi(file: &File) -> io::Result<Option<u64>> {
    let header: [u8; 0x178] = at(file, 0)?;
    Ok((header[64..68] == 0xbeda_107f_u32.to_le_bytes()).then(|| little(&header[0x170..0x178])))
}
