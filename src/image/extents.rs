//! Finds the data of a sparse file.

use std::fs::File;
use std::io;
use std::ops::Range;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// First range of data at or after `from`; `None` if there is none before `len`, the file's length.
/// A file system without holes has a single range.
///
/// # Errors
/// Error of the operating system.
pub fn next_data(file: &File, from: u64, len: u64) -> io::Result<Option<Range<u64>>> {
    if from >= len {
        return Ok(None);
    }
    let start = match seek(file, from, Whence::SeekData) {
        Ok(start) => start,
        Err(Errno::ENXIO) => return Ok(None),
        Err(Errno::EINVAL) => return Ok(Some(from..len)),
        Err(error) => return Err(error.into()),
    };
    let end = seek(file, start, Whence::SeekHole)?;
    Ok(Some(start..end.min(len)))
}

/// Bytes of data in a file, without holes.
///
/// # Errors
/// Error of the operating system.
pub fn data_bytes(file: &File) -> io::Result<u64> {
    let len = file.metadata()?.len();
    let mut bytes = 0;
    let mut at = 0;
    while let Some(data) = next_data(file, at, len)? {
        bytes += data.end - data.start;
        at = data.end;
    }
    Ok(bytes)
}

fn seek(file: &File, offset: u64, whence: Whence) -> Result<u64, Errno> {
    let offset = i64::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    lseek(file, offset, whence).map(i64::cast_unsigned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn data_between_holes_is_found() {
        const MIB: u64 = 1 << 20;
        let file = tempfile::tempfile().expect("a file");
        file.set_len(8 * MIB).expect("sized");
        assert_eq!(next_data(&file, 0, 8 * MIB).expect("seeks"), None);
        file.write_all_at(b"data", 3 * MIB).expect("written");
        let found = next_data(&file, 0, 8 * MIB).expect("seeks").expect("data");
        assert!(found.contains(&(3 * MIB)) && found.end < 8 * MIB, "{found:?}");
        assert_eq!(next_data(&file, found.end, 8 * MIB).expect("seeks"), None);
        assert_eq!(next_data(&file, 8 * MIB, 8 * MIB).expect("seeks"), None);
        let bytes = data_bytes(&file).expect("seeks");
        assert_eq!(bytes, found.end - found.start);
    }
}
