//! VMware's UUID of a disk, which is in the descriptor of its VMDK.

use std::fs::File;
use std::io::{self, ErrorKind};

use super::{LONGEST_DESCRIPTOR, SECTOR};
use crate::image::number::{at, little};
use crate::model::disk_uuid;

/// VMware's UUID of the disk in a VMDK, as 32 hexadecimal digits in lower case. The descriptor may
/// be the file itself, or embedded in a sparse VMDK. `None` if it contains no UUID.
///
/// # Errors
/// If the file cannot be read.
pub fn uuid(file: &File) -> io::Result<Option<String>> {
    match descriptor(file) {
        Ok(text) => Ok(in_descriptor(&text)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// "Virtual Disk Format 5.0": `descriptorOffset` in bytes 28 to 35 of a sparse header and
/// `descriptorSize` in 36 to 43, both in sectors.
fn descriptor(file: &File) -> io::Result<String> {
    let length = file.metadata()?.len();
    let start: [u8; 44] = at(file, 0)?;
    let (offset, size) = if start.starts_with(b"KDMV") {
        let sectors = |range| little(&start[range]).saturating_mul(SECTOR);
        (sectors(28..36), sectors(36..44))
    } else if start.starts_with(b"# Di") {
        (0, length)
    } else {
        return Ok(String::new());
    };
    let size = size.min(length.saturating_sub(offset)).min(LONGEST_DESCRIPTOR as u64);
    let mut text = vec![0; size as usize];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut text, offset)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// `ddb.uuid = "60 00 C2 9d …-…"`. `ddb.uuid.image` and the like are VirtualBox's own.
fn in_descriptor(text: &str) -> Option<String> {
    let lines = text.split(['\n', '\r', '\0']).filter_map(|line| line.split_once('='));
    let mut told = lines.filter(|(key, _)| key.trim().eq_ignore_ascii_case("ddb.uuid"));
    told.find_map(|(_, value)| disk_uuid(value.trim().trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const UUID: &str = "6000c29d3d4c50e12e1a648c0e1e5b07";
    const TEXT: &str = "# Disk DescriptorFile\nversion=1\nddb.adapterType = \"lsilogic\"\r\n\
        ddb.uuid.image=\"11111111-1111-1111-1111-111111111111\"\n\
        ddb.uuid = \"60 00 C2 9d 3d 4c 50 e1-2e 1a 64 8c 0e 1e 5b 07\"\r\n";

    fn of(bytes: &[u8]) -> Option<String> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        uuid(&file).expect("readable")
    }

    /// A sparse header whose descriptor begins `offset` sectors into the file.
    fn sparse(offset: u64, size: u64) -> Vec<u8> {
        let mut image = b"KDMV".to_vec();
        image.resize(28, 0);
        image.extend(offset.to_le_bytes());
        image.extend(size.to_le_bytes());
        image.resize(offset.clamp(1, 8) as usize * 512, 0);
        image.extend(TEXT.as_bytes());
        image.extend([0; 512]);
        image
    }

    #[test]
    fn the_uuid_is_found_in_every_kind_of_descriptor() {
        assert_eq!(of(TEXT.as_bytes()).as_deref(), Some(UUID));
        assert_eq!(of(&sparse(1, 20)).as_deref(), Some(UUID));
        assert_eq!(of(&sparse(4, 1)).as_deref(), Some(UUID));
        assert_eq!(of(TEXT.replace(" = \"60", "=\"60").as_bytes()).as_deref(), Some(UUID));
        assert_eq!(of(TEXT.replace("ddb.uuid =", "ddb.uuid.parent =").as_bytes()), None);
        assert_eq!(of(TEXT.replace("ddb.uuid =", "DDB.UUID\t=").as_bytes()).as_deref(), Some(UUID));
    }

    #[test]
    fn headers_that_lead_nowhere_tell_nothing() {
        for image in [sparse(u64::MAX, 20), sparse(0, 0), sparse(1, 0), b"QFI\xfb".to_vec()] {
            assert_eq!(of(&image), None);
        }
        assert_eq!(of(b""), None);
    }
}
