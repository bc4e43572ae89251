//! Inspects an image before qemu-img opens it. An image can name other files (a backing file, a
//! parent, extents), and qemu-img would read them as root: an untrusted image must not become a
//! copy of /etc/shadow.
//!
//! Layouts: "VMware Virtual Disk Format 1.1" and QEMU's `docs/interop/qcow2.rst`.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::beside::{beside, plain_name};
use super::flaw::Flaw;
use super::split;
use super::truncation;
use super::vhdx::Vhdx;
use super::vmdk::{self, Extent, LONGEST_DESCRIPTOR};
use crate::budget::Going;
use crate::model::DiskFormat;

/// Offset and length, in bytes, of what QEMU reads as a sparse VMDK's descriptor.
const DESCRIPTOR_AT: u64 = 512;
const DESCRIPTOR_SIZE: usize = 20 * 512;
/// `createType` of VMDKs of a device ("Virtual Disk Format 5.0"), in lower case.
const DEVICES: [&str; 6] = [
    "fulldevice",
    "partitioneddevice",
    "vmfsraw",
    "vmfsrawdevicemap",
    "vmfspassthroughrawdevicemap",
    "vmfsrdm",
];

/// Checks that an image of `format` names no other files, except extents beside it, and is not
/// truncated. The inner result names the fault of the image.
///
/// # Errors
/// If the file cannot be read, or `going` is cancelled. Blocks.
pub fn inspect(path: &Path, format: DiskFormat, going: &Going) -> io::Result<Result<(), Flaw>> {
    let file = File::open(path)?;
    let alone = match format {
        DiskFormat::Vmdk => vmdk(&file, path),
        DiskFormat::Qcow2 => qcow2(&file),
        DiskFormat::Vhd => vhd(&file),
        DiskFormat::Vhdx => vhdx(&file),
        DiskFormat::Vdi => vdi(&file),
        // A raw image has no header.
        DiskFormat::Raw => Ok(Ok(())),
    };
    match alone? {
        Ok(()) => Ok(truncation::check(&file, format, going)?.map_err(Flaw::from)),
        wrong => Ok(wrong),
    }
}

fn vmdk(file: &File, path: &Path) -> io::Result<Result<(), Flaw>> {
    let start = bytes_at(file, 0, 4)?;
    match start.as_slice() {
        b"KDMV" => sparse_vmdk(file),
        b"# Di" => vmdk_descriptor(file, path),
        _ => Ok(Err(Flaw::NoVmdk)),
    }
}

/// Whether a VMDK is a single sparse file, not a descriptor of others.
///
/// # Errors
/// If the file cannot be read.
pub fn is_single_vmdk(path: &Path) -> io::Result<bool> {
    Ok(bytes_at(&File::open(path)?, 0, 4)? == b"KDMV")
}

/// As [`inspect`], for a sparse VMDK of which `file` contains only the beginning, including the
/// descriptor.
///
/// # Errors
/// If the file cannot be read.
pub fn inspect_sparse(file: &File) -> io::Result<Result<(), Flaw>> {
    sparse_vmdk(file)
}

/// Checks a hosted sparse extent. If its capacity is 0, QEMU uses the embedded descriptor as the
/// image, including its extents. QEMU also opens the parent of a `parentFileNameHint`.
fn sparse_vmdk(file: &File) -> io::Result<Result<(), Flaw>> {
    let capacity = bytes_at(file, 12, 8)?;
    if capacity.iter().all(|byte| *byte == 0) {
        return Ok(Err("its VMDK header has no capacity".into()));
    }
    let descriptor = bytes_at(file, DESCRIPTOR_AT, DESCRIPTOR_SIZE)?;
    Ok(if contains(&descriptor, b"parentFileNameHint") { Err(Flaw::NamesAParent) } else { Ok(()) })
}

/// Checks a text descriptor: its extents must be plain files beside it.
fn vmdk_descriptor(file: &File, path: &Path) -> io::Result<Result<(), Flaw>> {
    let mut text = Vec::new();
    file.take(LONGEST_DESCRIPTOR as u64 + 1).read_to_end(&mut text)?;
    if text.len() > LONGEST_DESCRIPTOR {
        return Ok(Err("its VMDK descriptor is too long".into()));
    }
    if contains(&text, b"parentFileNameHint") {
        return Ok(Err(Flaw::NamesAParent));
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let text = vmdk::text(&text);
    let extents = vmdk::extents(&text);
    if is_device(&text, &extents) {
        return Ok(Err(Flaw::IsADevice));
    }
    for extent in &extents {
        if let Err(why) = vmdk_extent(extent, folder)? {
            return Ok(Err(why));
        }
    }
    if let Err(why) = split::each_once(&extents, folder)? {
        return Ok(Err(why.into()));
    }
    let none = extents.is_empty();
    Ok(if none { Err("its VMDK descriptor has no extents".into()) } else { Ok(()) })
}

/// Whether a descriptor describes a device of the host that it was made on.
fn is_device(text: &str, extents: &[Extent]) -> bool {
    let mut lines = text.lines().filter_map(|line| line.split_once('='));
    let kind = lines.find(|(key, _)| key.trim().eq_ignore_ascii_case("createType"));
    let kind = kind.map(|(_, value)| value.trim().trim_matches('"').to_ascii_lowercase());
    kind.is_some_and(|kind| DEVICES.contains(&kind.as_str()))
        || extents.iter().any(|extent| ["VMFSRDM", "VMFSRAW"].contains(&extent.kind.as_str()))
}

fn vmdk_extent(extent: &Extent, folder: &Path) -> io::Result<Result<(), Flaw>> {
    let (kind, name) = (extent.kind.as_str(), extent.file.as_str());
    if kind == "ZERO" {
        return Ok(Ok(()));
    }
    if name.contains(':') || plain_name(name).is_none() {
        return Ok(Err(format!("it names '{name}', which is no file beside it").into()));
    }
    let Some(extent) = beside(folder, name)? else {
        return Ok(Err(format!("its extent '{name}' is no file beside it").into()));
    };
    match kind {
        "FLAT" | "VMFS" => Ok(Ok(())),
        "SPARSE" | "VMFSSPARSE" | "SESPARSE" => sparse_extent(&File::open(extent)?, kind, name),
        _ => Ok(Err(format!("it has an extent of the kind '{kind}'").into())),
    }
}

/// Checks a sparse extent. It names no other file if it has the magic number of its kind and a
/// capacity. QEMU goes by the number, whatever kind the descriptor names.
fn sparse_extent(file: &File, kind: &str, name: &str) -> io::Result<Result<(), Flaw>> {
    let (magic, capacity): (&[u8], _) = match kind {
        "SPARSE" => (b"KDMV", 12..20),
        "VMFSSPARSE" => (b"COWD", 12..16),
        _ => (&[0xbe, 0xba, 0xfe, 0xca, 0, 0, 0, 0], 16..24),
    };
    let header = bytes_at(file, 0, 24)?;
    if !header.starts_with(magic) {
        return Ok(Err(format!("its extent '{name}' is not of the kind '{kind}'").into()));
    }
    let capacity = header.get(capacity).unwrap_or_default();
    if capacity.iter().all(|byte| *byte == 0) {
        return Ok(Err(format!("its extent '{name}' has no capacity").into()));
    }
    if kind == "SPARSE" { sparse_vmdk(file) } else { Ok(Ok(())) }
}

/// Checks a qcow2. Bytes 0-3 magic, 4-7 version, 8-15 offset of the backing file's name, 32-35
/// encryption. From version 3 on 72-79 incompatible features; bit 2 is an external data file.
fn qcow2(file: &File) -> io::Result<Result<(), Flaw>> {
    let header = bytes_at(file, 0, 80)?;
    if header.len() < 72 || !header.starts_with(b"QFI\xfb") {
        return Ok(Err("it is not a qcow2".into()));
    }
    let set = |range: std::ops::Range<usize>| header[range].iter().any(|byte| *byte != 0);
    let version = header[7];
    Ok(if set(8..16) {
        Err("it names a backing file".into())
    } else if set(32..36) {
        Err("it is encrypted".into())
    } else if version >= 3 && header.get(79).is_some_and(|low| low & 0b100 != 0) {
        Err("it names an external data file".into())
    } else {
        Ok(())
    })
}

/// Checks a VHD ("Virtual Hard Disk Image Format Specification", Microsoft 2006): a footer, which a
/// dynamic VHD repeats in front. The type 4 in bytes 60 to 63 is the difference to a parent, which
/// QEMU would read as a complete disk.
fn vhd(file: &File) -> io::Result<Result<(), Flaw>> {
    let end = file.metadata()?.len().saturating_sub(512);
    for place in [0, end] {
        let footer = bytes_at(file, place, 64)?;
        if footer.starts_with(b"conectix") && footer.ends_with(&[0, 0, 0, 4]) {
            return Ok(Err(Flaw::NamesAParent));
        }
    }
    Ok(Ok(()))
}

fn vhdx(file: &File) -> io::Result<Result<(), Flaw>> {
    // [`truncation::check`] reports a file that is no VHDX.
    Ok(match Vhdx::read(file) {
        Ok(Some(vhdx)) if vhdx.has_parent => Err(Flaw::NamesAParent),
        Ok(Some(vhdx)) if vhdx.has_log => Err(Flaw::HasALog),
        Ok(Some(vhdx)) if vhdx.sector != 512 => Err(Flaw::HasLargeSectors),
        _ => Ok(()),
    })
}

/// Checks a VDI (VirtualBox, src/VBox/Storage/VDICore.h). The type in bytes 76 to 79: 1 dynamic, 2
/// fixed, 3 and 4 the difference to a parent.
fn vdi(file: &File) -> io::Result<Result<(), Flaw>> {
    let kind = bytes_at(file, 76, 4)?;
    Ok(match kind.as_slice() {
        [3 | 4, 0, 0, 0] => Err(Flaw::NamesAParent),
        _ => Ok(()),
    })
}

/// Reads up to `length` bytes at `offset`; fewer at the end of the file.
fn bytes_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Fault of an image of these bytes, if any.
    fn judge(format: DiskFormat, bytes: &[u8]) -> Option<String> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("image");
        fs::write(&path, bytes).expect("written");
        fs::write(dir.path().join("disk-flat.vmdk"), "x").expect("written");
        // A header without a capacity, so that QEMU uses the descriptor that follows.
        let embedded = "# Disk DescriptorFile\nRW 8 FLAT \"/etc/shadow\" 0\n";
        fs::write(dir.path().join("empty.vmdk"), sparse(0, embedded)).expect("written");
        std::os::unix::fs::symlink("/etc/shadow", dir.path().join("link.vmdk")).expect("link");
        inspect(&path, format, &Going::default())
            .expect("readable")
            .err()
            .map(|flaw| flaw.to_string())
    }

    fn sparse(capacity: u8, descriptor: &str) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        bytes[..4].copy_from_slice(b"KDMV");
        // Compressed grains, so that no tables are checked.
        bytes[10] = 3;
        bytes[12] = capacity;
        bytes.extend(descriptor.as_bytes());
        bytes
    }

    fn qcow(version: u8, at: usize, byte: u8) -> Vec<u8> {
        let mut bytes = vec![0; 104];
        bytes[..4].copy_from_slice(b"QFI\xfb");
        bytes[7] = version;
        bytes[23] = 16;
        bytes[at] = byte;
        bytes
    }

    #[test]
    fn images_that_stand_for_themselves_pass() {
        assert_eq!(judge(DiskFormat::Raw, b"anything"), None);
        assert_eq!(judge(DiskFormat::Vmdk, &sparse(1, "createType=\"streamOptimized\"")), None);
        assert_eq!(judge(DiskFormat::Qcow2, &qcow(3, 7, 3)), None);
        let flat = "# Disk DescriptorFile\nRW 8 VMFS \"disk-flat.vmdk\"\nRW 8 ZERO\n";
        assert_eq!(judge(DiskFormat::Vmdk, flat.as_bytes()), None);
    }

    #[test]
    fn vmdks_that_name_other_files_do_not() {
        for extent in [
            "RW 8 FLAT \"/etc/shadow\" 0",
            "RW 8 ZERO\nRW\t8 FLAT \"/etc/shadow\" 0",
            "RW 8 FLAT \"../shadow\" 0",
            "RW 8 FLAT \"link.vmdk\" 0",
            "RW 8 FLAT \"nbd:host:1\" 0",
            "RW 8 FLAT \"missing.vmdk\" 0",
            "RW 8 VMFSRDM \"disk-flat.vmdk\" 0",
            "RW 8 SPARSE \"disk-flat.vmdk\"",
            "RW 8 VMFSSPARSE \"disk-flat.vmdk\"",
            "RW 8 SESPARSE \"disk-flat.vmdk\"",
            "RW 8 SPARSE \"empty.vmdk\"",
            "RW 8 VMFSSPARSE \"empty.vmdk\"",
            "RW 8 SESPARSE \"empty.vmdk\"",
            "RW 8 FLAT \"disk-flat.vmdk\"\nRW 8 VMFSSPARSE \"empty.vmdk\"",
            "RW 8 VMFS \"disk-flat.vmdk\"\nparentFileNameHint=\"/etc/shadow\"",
            "",
        ] {
            let text = format!("# Disk DescriptorFile\n{extent}\n");
            assert!(judge(DiskFormat::Vmdk, text.as_bytes()).is_some(), "{extent}");
        }
        let parent = sparse(1, "parentFileNameHint=\"/etc/shadow\"");
        assert!(judge(DiskFormat::Vmdk, &parent).is_some());
        assert!(judge(DiskFormat::Vmdk, &sparse(0, "RW 8 FLAT \"/etc/shadow\" 0")).is_some());
        assert!(judge(DiskFormat::Vmdk, b"\x00\x01\x02\x03").is_some());
    }

    #[test]
    fn extents_of_esx_are_what_their_kind_says() {
        let dir = tempfile::tempdir().expect("a folder");
        let judge = |kind: &str, bytes: &[u8]| {
            fs::write(dir.path().join("x"), bytes).expect("written");
            let extent = format!("RW 8 {kind} \"x\"");
            let extents = vmdk::extents(&extent);
            vmdk_extent(&extents[0], dir.path()).expect("readable")
        };
        let with = |magic: &[u8], capacity_at: usize, capacity: u8| {
            let mut bytes = vec![0; 512];
            bytes[..magic.len()].copy_from_slice(magic);
            bytes[capacity_at] = capacity;
            bytes
        };
        let efficient = 0xcafe_babe_u64.to_le_bytes();
        assert_eq!(judge("VMFSSPARSE", &with(b"COWD", 12, 8)), Ok(()));
        assert_eq!(judge("SESPARSE", &with(&efficient, 16, 8)), Ok(()));
        for (kind, bytes) in [
            ("VMFSSPARSE", with(b"COWD", 12, 0)),
            ("VMFSSPARSE", with(b"KDMV", 12, 8)),
            ("VMFSSPARSE", b"COWD".to_vec()),
            ("SESPARSE", with(&efficient, 16, 0)),
            ("SESPARSE", with(b"KDMV", 16, 8)),
            ("SPARSE", with(b"COWD", 12, 8)),
        ] {
            assert!(judge(kind, &bytes).is_err(), "{kind} {:?}", &bytes[..4]);
        }
    }

    #[test]
    fn qcow2s_that_name_other_files_do_not() {
        let why = |at, byte| judge(DiskFormat::Qcow2, &qcow(3, at, byte)).unwrap_or_default();
        assert_eq!(why(15, 104), "it names a backing file");
        assert_eq!(why(79, 4), "it names an external data file");
        assert_eq!(why(35, 2), "it is encrypted");
        assert_eq!(judge(DiskFormat::Qcow2, b"raw").unwrap_or_default(), "it is not a qcow2");
    }
}
