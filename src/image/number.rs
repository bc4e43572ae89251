//! Reads bytes and numbers at offsets of a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Upper limit of offsets, in bytes: Linux rejects those beyond 2^63.
pub(super) const LAST_PLACE: u64 = 1 << 62;
/// Bytes read at once.
const BLOCK: u64 = 1 << 16;

/// Reads `N` bytes at `offset`.
pub(super) fn at<const N: usize>(file: &File, offset: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(file, &mut bytes, offset)?;
    Ok(bytes)
}

/// Fills a buffer. An offset that no file can have is treated as past the end.
fn fill(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    if offset > LAST_PLACE {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    file.read_exact_at(buffer, offset)
}

/// A little-endian number of up to eight bytes.
pub(super) fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// A big-endian number of up to eight bytes.
pub(super) fn big(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Passes `count` entries of `width` bytes, beginning at `offset`, to `each` with their index.
/// Memory is constant.
///
/// # Errors
/// Errors of `each`; also if the file cannot be read or is too short.
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
