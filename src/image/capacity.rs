//! The size that the guest sees of an image, as its header says it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use super::vmdk::{self, LONGEST_DESCRIPTOR, SECTOR};
use crate::model::DiskFormat;

/// `{8B7CA206-4790-4B9A-B8FE-575F050F886E}` as it lies in a file (MS-VHDX, 2.2.3.2).
const VHDX_METADATA: [u8; 16] =
    *b"\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e";
/// `{2FA54224-CD1B-4876-B211-5DBED83BF4B8}` as it lies in a file (MS-VHDX, 2.6.2.2).
const VHDX_DISK_SIZE: [u8; 16] =
    *b"\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8";

/// The size in bytes; nothing when the file is no image of that format.
///
/// # Errors
/// When the file cannot be read.
pub fn capacity(file: &File, format: DiskFormat) -> io::Result<Option<u64>> {
    let found = match format {
        DiskFormat::Raw => file.metadata().map(|found| Some(found.len())),
        DiskFormat::Qcow2 => qcow2(file),
        DiskFormat::Vmdk => vmdk(file),
        DiskFormat::Vhd => vhd(file),
        DiskFormat::Vhdx => vhdx(file),
        DiskFormat::Vdi => vdi(file),
    };
    match found {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        found => found,
    }
}

/// QEMU, docs/interop/qcow2.rst: magic in bytes 0 to 3, size in 24 to 31.
fn qcow2(file: &File) -> io::Result<Option<u64>> {
    let header: [u8; 32] = at(file, 0)?;
    Ok(header.starts_with(b"QFI\xfb").then(|| big(&header[24..])))
}

/// "Virtual Disk Format 5.0": `capacity` in bytes 12 to 19 of a sparse header, or the sum of all
/// extents of a descriptor.
fn vmdk(file: &File) -> io::Result<Option<u64>> {
    let header: [u8; 20] = at(file, 0)?;
    if header.starts_with(b"KDMV") {
        return Ok(little(&header[12..]).checked_mul(SECTOR));
    }
    if !header.starts_with(b"# Di") {
        return Ok(None);
    }
    let length = file.metadata()?.len().min(LONGEST_DESCRIPTOR as u64);
    let mut text = vec![0; length as usize];
    file.read_exact_at(&mut text, 0)?;
    let extents = vmdk::extents(&String::from_utf8_lossy(&text));
    let sectors = extents.iter().try_fold(0_u64, |sum, extent| sum.checked_add(extent.sectors));
    Ok(sectors.and_then(|sectors| sectors.checked_mul(SECTOR)).filter(|size| *size > 0))
}

/// "Virtual Hard Disk Image Format Specification" (Microsoft 2006): a footer of 512 bytes, with
/// the current size in its bytes 48 to 55.
fn vhd(file: &File) -> io::Result<Option<u64>> {
    let Some(place) = file.metadata()?.len().checked_sub(512) else { return Ok(None) };
    let footer: [u8; 56] = at(file, place)?;
    Ok(footer.starts_with(b"conectix").then(|| big(&footer[48..])))
}

/// MS-VHDX: the region table (2.2.3) leads to the metadata table (2.6.1), that to the disk's size.
fn vhdx(file: &File) -> io::Result<Option<u64>> {
    const REGIONS: u64 = 192 * 1024;
    const MOST: u64 = 2047;
    let start: [u8; 8] = at(file, 0)?;
    let table: [u8; 16] = at(file, REGIONS)?;
    if start != *b"vhdxfile" || !table.starts_with(b"regi") {
        return Ok(None);
    }
    for n in 0..u64::from(little32(&table[8..])).min(MOST) {
        let region: [u8; 32] = at(file, REGIONS + 16 + n * 32)?;
        if region[..16] == VHDX_METADATA {
            return vhdx_size(file, little(&region[16..]));
        }
    }
    Ok(None)
}

fn vhdx_size(file: &File, metadata: u64) -> io::Result<Option<u64>> {
    let table: [u8; 32] = at(file, metadata)?;
    if !table.starts_with(b"metadata") {
        return Ok(None);
    }
    for n in 0..u64::from(u16::from_le_bytes([table[10], table[11]])) {
        let item: [u8; 32] = at(file, metadata.saturating_add(32 + n * 32))?;
        if item[..16] == VHDX_DISK_SIZE {
            let place = metadata.saturating_add(u64::from(little32(&item[16..])));
            let size: [u8; 8] = at(file, place)?;
            return Ok(Some(u64::from_le_bytes(size)));
        }
    }
    Ok(None)
}

/// VirtualBox, src/VBox/Storage/VDICore.h: signature in bytes 64 to 67, size in 0x170 to 0x177.
fn vdi(file: &File) -> io::Result<Option<u64>> {
    let header: [u8; 0x178] = at(file, 0)?;
    Ok((header[64..68] == 0xbeda_107f_u32.to_le_bytes()).then(|| little(&header[0x170..])))
}

fn at<const N: usize>(file: &File, offset: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

fn eight(bytes: &[u8]) -> [u8; 8] {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[..8]);
    eight
}

fn big(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(eight(bytes))
}

fn little(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(eight(bytes))
}

fn little32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
