//! Hashes of all blocks of a disk, stored in a file, so that memory does not grow with the disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use super::blocks::{Blocks, ZERO_BLOCK};
use crate::image::number::entries;
use crate::model::Sha256Digest;

/// Bytes of a hash.
const WIDTH: u64 = 32;

/// List of block hashes. The entry of a block of zeros is a hole in the file.
#[derive(Debug)]
pub struct BlockList {
    file: File,
    count: u64,
}

impl BlockList {
    /// An empty list in `file`, which must be empty.
    pub fn new(file: File) -> Self {
        Self { file, count: 0 }
    }

    /// Appends the hash of the next block.
    ///
    /// # Errors
    /// Error of the operating system.
    pub fn push(&mut self, hash: &Sha256Digest) -> io::Result<()> {
        if *hash != ZERO_BLOCK {
            self.file.write_all_at(&hash.0, self.count * WIDTH)?;
        }
        self.count += 1;
        Ok(())
    }

    /// Hash of the block with that number.
    ///
    /// # Errors
    /// Error of the operating system; also if the disk has no such block.
    pub fn get(&self, block: u64) -> io::Result<Sha256Digest> {
        let mut hash = [0; WIDTH as usize];
        match self.file.read_exact_at(&mut hash, block * WIDTH) {
            // A hole of the last blocks is not part of the file yet.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && block < self.count => {
                Ok(ZERO_BLOCK)
            }
            done => done.map(|()| read(&hash)),
        }
    }

    /// Hash of the disk if some blocks had other hashes.
    ///
    /// # Errors
    /// Error of the operating system.
    pub fn with(&self, others: &BTreeMap<u64, Sha256Digest>) -> io::Result<Sha256Digest> {
        // Extends the file to the last block, which may be a hole.
        self.file.set_len(self.count * WIDTH)?;
        let mut blocks = Blocks::default();
        entries(&self.file, 0, self.count, WIDTH, |number, hash| {
            match others.get(&number) {
                Some(other) => blocks.add(other),
                None => blocks.add(&read(hash)),
            }
            Ok(())
        })?;
        Ok(blocks.finish())
    }
}

fn read(hash: &[u8]) -> Sha256Digest {
    let mut bytes = [0; WIDTH as usize];
    bytes.copy_from_slice(hash);
    if bytes == [0; WIDTH as usize] { ZERO_BLOCK } else { Sha256Digest(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::content::{BLOCK, ContentHasher};

    #[test]
    fn blocks_in_the_place_of_others_give_the_hash_of_that_disk() {
        let whole = |bytes: [u8; 3]| {
            let mut content = ContentHasher::default();
            bytes.iter().for_each(|byte| content.data(&vec![*byte; BLOCK as usize]));
            content.finish().expect("a hash")
        };
        let one = |byte: u8| {
            let mut block = super::super::blocks::Block::default();
            block.data(&vec![byte; BLOCK as usize]);
            block.finish()
        };
        let mut list = BlockList::new(tempfile::tempfile().expect("a file"));
        [1, 0, 0].iter().for_each(|byte| list.push(&one(*byte)).expect("kept"));
        assert_eq!(list.get(1).expect("there"), ZERO_BLOCK);
        assert_eq!(list.with(&BTreeMap::new()).expect("read"), whole([1, 0, 0]));
        let others = BTreeMap::from([(0, one(0)), (2, one(7))]);
        assert_eq!(list.with(&others).expect("read"), whole([0, 0, 7]));
        assert!(list.get(3).is_err());
    }
}
