//! Bytes and numbers at places of a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// No file is that long, in bytes: Linux refuses places beyond 2^63.
pub(super) const LAST_PLACE: u64 = 1 << 62;
/// Bytes read at a time.
const BLOCK: u64 = 1 << 16;

/// The bytes at `offset`.
pub(super) fn at<const N: usize>(file: &File, offset: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(file, &mut bytes, offset)?;
    Ok(bytes)
}

/// Fills a buffer; a place that no file can have is one past its end.
fn fill(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    if offset > LAST_PLACE {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    file.read_exact_at(buffer, offset)
}

/// A number of up to eight bytes, the least of them first.
pub(super) fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// A number of up to eight bytes, the greatest of them first.
pub(super) fn big(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Hands `count` entries of `width` bytes, which stand from `offset` on, to `each`, with their
/// index, at flat memory.
///
/// # Errors
/// What `each` says, or when the file cannot be read or ends.
pub(super) fn entries(
    file: &File,
    offset: u64,
    count: u64,
    width: u64,
    mut each: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let at_once = BLOCK / width;
    let mut block = vec![0; BLOCK as usize];
    for first in (0..count).step_by(at_once as usize) {
        let length = (at_once.min(count - first) * width) as usize;
        fill(file, &mut block[..length], offset.saturating_add(first * width))?;
        let found = block[..length].chunks_exact(width as usize);
        found.zip(first..).try_for_each(|(entry, index)| each(index, entry))?;
    }
    Ok(())
}
