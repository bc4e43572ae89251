//! Detects the kind of a file when its name may be wrong. The result must not decide how an image
//! is opened: a guest can write the magic number of any format to its raw disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::model::DiskFormat;

/// Kind of a file by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A disk image.
    Disk(DiskFormat),
    /// An installation medium (ECMA-119), which may also be a disk.
    Iso,
    /// A file that must be unpacked or converted first, such as an archive; the value is its name.
    Other(&'static str),
}

/// Offset of an ISO's signature: sector 16, after one byte (ECMA-119, 8.1).
const ISO_AT: u64 = 16 * 2048 + 1;

/// Magic numbers at the beginning of files.
const BEGINNINGS: [(&[u8], Kind); 15] = [
    (b"QFI\xfb", Kind::Disk(DiskFormat::Qcow2)),
    (b"KDMV", Kind::Disk(DiskFormat::Vmdk)),
    (b"# Disk DescriptorFile", Kind::Disk(DiskFormat::Vmdk)),
    (b"COWD", Kind::Disk(DiskFormat::Vmdk)),
    (b"vhdxfile", Kind::Disk(DiskFormat::Vhdx)),
    (b"conectix", Kind::Disk(DiskFormat::Vhd)),
    (b"QED\0", Kind::Other("a QED image")),
    (b"WithoutFreeSpace", Kind::Other("an image of Parallels")),
    (b"WithouFreSpacExt", Kind::Other("an image of Parallels")),
    (b"\x1f\x8b\x08", Kind::Other("a gzip file")),
    (b"\xfd7zXZ\0", Kind::Other("an xz file")),
    (b"\x28\xb5\x2f\xfd", Kind::Other("a zstd file")),
    (b"BZh", Kind::Other("a bzip2 file")),
    (b"PK\x03\x04", Kind::Other("a zip archive")),
    (b"7z\xbc\xaf\x27\x1c", Kind::Other("a 7z archive")),
];

/// Kind of a file by its content, regardless of its name; `None` if it can only be a raw disk. If
/// several kinds match, the expected format `told` has priority.
///
/// # Errors
/// If the file cannot be read.
pub fn kind(file: &File, told: DiskFormat) -> io::Result<Option<Kind>> {
    let length = file.metadata()?.len();
    let begins = bytes(file, 0)?;
    let vdi = bytes(file, 64)?.starts_with(&0xbeda_107f_u32.to_le_bytes());
    let footer = bytes(file, length.saturating_sub(512))?.starts_with(b"conectix")
        // Virtual PC before 2004 wrote one byte less.
        || bytes(file, length.saturating_sub(511))?.starts_with(b"conectix");
    let iso = bytes(file, ISO_AT)?.starts_with(b"CD001");
    let by_beginning = BEGINNINGS.iter().filter(|(word, _)| begins.starts_with(word));
    let by_place = [
        (vdi, Kind::Disk(DiskFormat::Vdi)),
        (footer, Kind::Disk(DiskFormat::Vhd)),
        (iso, Kind::Iso),
    ];
    let by_place = by_place.iter().filter(|(is_there, _)| *is_there);
    let found = by_beginning.map(|(_, kind)| *kind).chain(by_place.map(|(_, kind)| *kind));
    let found: Vec<Kind> = found.collect();
    let as_told = Kind::Disk(told);
    Ok(if found.contains(&as_told) { Some(as_told) } else { found.first().copied() })
}

/// Bytes at `offset`; zeros past the end of the file.
fn bytes(file: &File, offset: u64) -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn of(bytes: &[u8], told: DiskFormat) -> Option<Kind> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        kind(&file, told).expect("readable")
    }

    #[test]
    fn an_image_is_known_whatever_it_is_called() {
        let at = |place: usize, word: &[u8], length: usize| {
            let mut bytes = vec![0; length];
            bytes[place..place + word.len()].copy_from_slice(word);
            bytes
        };
        let disk = |format| Some(Kind::Disk(format));
        for (bytes, found) in [
            (at(0, b"QFI\xfb", 4096), disk(DiskFormat::Qcow2)),
            (at(0, b"KDMV", 4096), disk(DiskFormat::Vmdk)),
            (b"# Disk DescriptorFile\nversion=1\n".to_vec(), disk(DiskFormat::Vmdk)),
            (at(0, b"vhdxfile", 4096), disk(DiskFormat::Vhdx)),
            (at(0, b"conectix", 4096), disk(DiskFormat::Vhd)),
            (at(3584, b"conectix", 4096), disk(DiskFormat::Vhd)),
            (at(3584, b"conectix", 4095), disk(DiskFormat::Vhd)),
            (at(64, &0xbeda_107f_u32.to_le_bytes(), 4096), disk(DiskFormat::Vdi)),
            (at(32769, b"CD001", 65536), Some(Kind::Iso)),
            (at(0, b"\x1f\x8b\x08", 4096), Some(Kind::Other("a gzip file"))),
            (at(510, b"\x55\xaa", 4096), None),
            (b"QF".to_vec(), None),
            (Vec::new(), None),
        ] {
            assert_eq!(of(&bytes, DiskFormat::Raw), found);
        }
        // The disk of a fixed VHD may begin with any bytes.
        let mut fixed = at(3584, b"conectix", 4096);
        fixed[..4].copy_from_slice(b"QFI\xfb");
        assert_eq!(of(&fixed, DiskFormat::Vhd), disk(DiskFormat::Vhd));
    }
}
