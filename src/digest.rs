//! SHA-256 checksum of a file, computed in one sequential pass.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::model::Sha256Digest;

/// Bytes read at once.
const BLOCK: usize = 1 << 20;

/// Checksum and length of a file that was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDigest {
    /// SHA-256 checksum of the content.
    pub sha256: Sha256Digest,
    /// Length in bytes.
    pub length: u64,
}

/// Reads `from` to its end and passes every block to `each`, with the offset of the block's end.
/// Returns the length. Blocks.
///
/// # Errors
/// Errors of `from` or `each`.
pub fn each_block(
    mut from: impl Read,
    mut each: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<u64> {
    let (mut buffer, mut position) = (vec![0; BLOCK], 0);
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(position),
            read => {
                position += read as u64;
                each(&buffer[..read], position)?;
            }
        }
    }
}

/// As [`each_block`], and computes the checksum of all bytes read.
///
/// # Errors
/// Errors of `from` or `each`.
pub fn read_all(
    from: impl Read,
    mut each: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<FileDigest> {
    let mut sum = Sha256::new();
    let length = each_block(from, |block, position| {
        sum.update(block);
        each(block, position)
    })?;
    Ok(FileDigest { sha256: Sha256Digest(sum.finalize().into()), length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_summed_and_told_and_may_end_it() {
        let content = vec![7; BLOCK + 5];
        let mut told = Vec::new();
        let read = read_all(&content[..], |block, position| {
            told.push((block.len(), position));
            Ok(())
        });
        let read = read.expect("read");
        assert_eq!(read.length, content.len() as u64);
        assert_eq!(read.sha256, Sha256Digest(Sha256::digest(&content).into()));
        assert_eq!(told, [(BLOCK, BLOCK as u64), (5, content.len() as u64)]);
        let ended = read_all(&content[..], |_, _| Err(io::ErrorKind::TimedOut.into()));
        assert_eq!(ended.expect_err("ended").kind(), io::ErrorKind::TimedOut);
    }
}
