//! Detects files that are only a part of a VMDK: extents, and VMware's companion files of a disk.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::beside::plain_name;
use super::number::little;
use super::vmdk::{self, LONGEST_DESCRIPTOR, SECTOR};

/// Suffixes that VMware uses for parts of a disk, besides `-s001` and `-f001`.
const ENDS: [&str; 8] = ["-flat", "-delta", "-sesparse", "-ctk", "-rdm", "-rdmp", "-pt", "-digest"];
/// Magic number of a space-efficient extent (QEMU, block/vmdk.c, `vmdk_open_se_sparse`).
const SE_MAGIC: [u8; 8] = 0xcafe_babe_u64.to_le_bytes();

/// A file that is a part of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskPart {
    /// Descriptor in the same folder that names the part, if any.
    pub descriptor: Option<PathBuf>,
}

/// Detects whether the VMDK at `path` is only a part of a disk: an extent without its own
/// descriptor, or a file that a descriptor in its folder names. Blocks.
///
/// # Errors
/// If a file cannot be read.
pub fn part(path: &Path) -> io::Result<Option<DiskPart>> {
    let file = File::open(path)?;
    let mut start = [0; 44];
    let read = file.read_at(&mut start, 0)?;
    let named = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let is_part = match &start[..read] {
        [b'#', ..] => return Ok(None),
        [b'K', b'D', b'M', b'V', ..] if describes_itself(&file, &start)? => return Ok(None),
        [b'K', b'D', b'M', b'V', ..] | [b'C', b'O', b'W', b'D', ..] => true,
        start => start.starts_with(&SE_MAGIC) || has_name_of_part(&stem),
    };
    let descriptor = descriptor_of(path, &named)?;
    Ok((is_part || descriptor.is_some()).then_some(DiskPart { descriptor }))
}

/// Whether a sparse file is a complete disk ("Virtual Disk Format 5.0"). It is if its grains are
/// compressed (flags in bytes 8 to 11), or a descriptor is embedded (`descriptorOffset` in 28 to
/// 35).
fn describes_itself(file: &File, header: &[u8; 44]) -> io::Result<bool> {
    if header[10..12] != [0, 0] {
        return Ok(true);
    }
    let place = little(&header[28..36]).saturating_mul(SECTOR);
    let mut first = [0];
    // qemu-img reserves space for a descriptor even in parts.
    let read = if place == 0 { 0 } else { file.read_at(&mut first, place).unwrap_or_default() };
    Ok(read == 1 && first[0] != 0)
}

/// Whether a name is that of a part: `disk-flat`, `disk-000001-s003`, without extension and in
/// lower case.
fn has_name_of_part(stem: &str) -> bool {
    let numbered = |letter: char| {
        let end = stem.rsplit_once('-').and_then(|(_, end)| end.strip_prefix(letter));
        end.is_some_and(|end| end.len() >= 3 && end.bytes().all(|byte| byte.is_ascii_digit()))
    };
    numbered('s') || numbered('f') || ENDS.iter().any(|end| stem.ends_with(end))
}

/// Descriptor in the folder of `path` that names the part.
fn descriptor_of(path: &Path, named: &str) -> io::Result<Option<PathBuf>> {
    let Some(folder) = path.parent() else { return Ok(None) };
    let mut found: Vec<PathBuf> = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|other| other != path && other.is_file())
        .filter(|other| other.extension().is_some_and(|end| end.eq_ignore_ascii_case("vmdk")))
        .collect();
    found.sort();
    for other in found {
        if names(&other, named)? {
            return Ok(Some(other));
        }
    }
    Ok(None)
}

/// Whether the file is a descriptor that names another file, as an extent or for changed block
/// tracking.
fn names(descriptor: &Path, named: &str) -> io::Result<bool> {
    let mut text = Vec::new();
    File::open(descriptor)?.take(LONGEST_DESCRIPTOR as u64 + 1).read_to_end(&mut text)?;
    if !text.starts_with(b"# Di") || text.len() > LONGEST_DESCRIPTOR {
        return Ok(false);
    }
    let text = vmdk::text(&text);
    let is_it = |name: &str| {
        plain_name(name).is_some_and(|name| name.to_lowercase() == named.to_lowercase())
    };
    let changes = text.lines().filter_map(|line| line.split_once('='));
    let mut changes = changes.filter(|(key, _)| key.trim().eq_ignore_ascii_case("changeTrackPath"));
    Ok(vmdk::extents(&text).iter().any(|extent| is_it(&extent.file))
        || changes.any(|(_, name)| is_it(name.trim().trim_matches('"'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sparse header with these flags, and an embedded descriptor that begins with that byte.
    fn sparse(flags: u8, descriptor: Option<u8>) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        bytes[..4].copy_from_slice(b"KDMV");
        bytes[10] = flags;
        bytes[28] = u8::from(descriptor.is_some());
        bytes[512] = descriptor.unwrap_or_default();
        bytes
    }

    #[test]
    fn a_part_is_known_and_its_descriptor_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |name: &str, bytes: &[u8]| {
            fs::write(dir.path().join(name), bytes).expect("written");
        };
        let descriptor = "# Disk DescriptorFile\nchangeTrackPath=\"d-ctk.vmdk\"\n\
            RW 8 SPARSE \"D-s001.vmdk\"\nRW 8 VMFS \"d-flat.vmdk\"\nRW 8 VMFS \"odd name.vmdk\"\n";
        write("d.vmdk", descriptor.as_bytes());
        write("d-s001.vmdk", &sparse(0, None));
        write("d-s002.vmdk", &sparse(0, Some(0)));
        write("d-flat.vmdk", &[7; 4096]);
        write("odd name.vmdk", &[7; 4096]);
        write("d-ctk.vmdk", &[7; 4096]);
        write("e-000001-delta.vmdk", b"COWD");
        write("e-flat.vmdk", &[7; 4096]);
        write("stream.vmdk", &sparse(3, None));
        write("whole.vmdk", &sparse(0, Some(b'#')));
        write("raw.vmdk", &[7; 4096]);
        for (name, part_of) in [
            ("d-s001.vmdk", Some(true)),
            ("d-flat.vmdk", Some(true)),
            ("odd name.vmdk", Some(true)),
            ("d-ctk.vmdk", Some(true)),
            ("d-s002.vmdk", Some(false)),
            ("e-000001-delta.vmdk", Some(false)),
            ("e-flat.vmdk", Some(false)),
            ("d.vmdk", None),
            ("stream.vmdk", None),
            ("whole.vmdk", None),
            ("raw.vmdk", None),
        ] {
            let found = part(&dir.path().join(name)).expect("readable");
            let descriptor = part_of.map(|named| named.then(|| dir.path().join("d.vmdk")));
            assert_eq!(found.map(|part| part.descriptor), descriptor, "{name}");
        }
    }
}
