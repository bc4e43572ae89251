//! Blocks of a disk and the list of their hashes.

use sha2::{Digest, Sha256};

use crate::image::codec::is_zero;
use crate::image::vmdk::SECTOR;
use crate::model::Sha256Digest;

/// Length of a block, in bytes.
pub const BLOCK: u64 = 4 << 20;
/// Largest disk that is hashed, in bytes: four times the maximum of vSphere. A malicious header may
/// contain any size, and blocks of zeros take time, too.
pub(super) const LARGEST: u64 = 1 << 48;
/// SHA-256 of a full block of zeros.
pub(super) const ZERO_BLOCK: Sha256Digest = Sha256Digest([
    0xbb, 0x9f, 0x8d, 0xf6, 0x14, 0x74, 0xd2, 0x5e, 0x71, 0xfa, 0x00, 0x72, 0x23, 0x18, 0xcd, 0x38,
    0x73, 0x96, 0xca, 0x17, 0x36, 0x60, 0x5e, 0x12, 0x48, 0x82, 0x1c, 0xc0, 0xde, 0x3d, 0x3a, 0xf8,
]);
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Hash over the hashes of all blocks, which are added in order.
#[derive(Debug, Default)]
pub struct Blocks(Sha256);

impl Blocks {
    /// Adds the hash of the next block.
    pub fn add(&mut self, block: &Sha256Digest) {
        self.0.update(block.0);
    }

    /// Hash of the disk's content.
    pub fn finish(self) -> Sha256Digest {
        Sha256Digest(self.0.finalize().into())
    }
}

/// Hash of one block in progress. Zeros are hashed only when data follows them.
#[derive(Debug, Default)]
pub(super) struct Block {
    hash: Sha256,
    hashed: u64,
    /// Bytes so far, including zeros that are not hashed yet.
    length: u64,
}

impl Block {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn data(&mut self, bytes: &[u8]) {
        if is_zero(bytes) {
            return self.zeros(bytes.len() as u64);
        }
        self.hash_zeros();
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        self.hashed = self.length;
    }

    pub(super) fn zeros(&mut self, length: u64) {
        self.length += length;
    }

    pub(super) fn finish(mut self) -> Sha256Digest {
        if self.hashed == 0 && self.length == BLOCK {
            return ZERO_BLOCK;
        }
        self.hash_zeros();
        Sha256Digest(self.hash.finalize().into())
    }

    fn hash_zeros(&mut self) {
        while self.hashed < self.length {
            let next = (self.length - self.hashed).min(ZEROS.len() as u64);
            self.hash.update(&ZEROS[..next as usize]);
            self.hashed += next;
        }
    }
}

/// Hash of a disk whose bytes are added in order.
#[derive(Debug, Default)]
pub struct ContentHasher {
    blocks: Blocks,
    block: Block,
    position: u64,
}

impl ContentHasher {
    /// Number of bytes added so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Adds the next bytes of the disk.
    pub fn data(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.room() as usize));
            self.block.data(now);
            self.advance(now.len() as u64);
            rest = later;
        }
    }

    /// Adds `length` zeros.
    pub fn zeros(&mut self, length: u64) {
        if self.position.saturating_add(length) > LARGEST {
            // Too large: [`Self::finish`] returns no hash.
            self.position = self.position.saturating_add(length);
            return;
        }
        let mut left = length;
        while left > 0 {
            let now = left.min(self.room());
            self.block.zeros(now);
            self.advance(now);
            left -= now;
        }
    }

    /// Hash of the content; `None` if the disk is too large. Zeros fill the last sector, as in
    /// QEMU.
    pub fn finish(mut self) -> Option<Sha256Digest> {
        if self.position > LARGEST {
            return None;
        }
        self.zeros(self.position.next_multiple_of(SECTOR) - self.position);
        if self.block.length() > 0 {
            self.blocks.add(&self.block.finish());
        }
        Some(self.blocks.finish())
    }

    fn room(&self) -> u64 {
        BLOCK - self.block.length()
    }

    fn advance(&mut self, length: u64) {
        self.position += length;
        if self.room() == 0 {
            self.blocks.add(&std::mem::take(&mut self.block).finish());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(disk: &[u8]) -> Sha256Digest {
        let mut list = Sha256::new();
        disk.chunks(BLOCK as usize).for_each(|block| list.update(Sha256::digest(block)));
        Sha256Digest(list.finalize().into())
    }

    #[test]
    fn a_block_of_zeros_has_the_hash_of_one() {
        assert_eq!(Sha256Digest(Sha256::digest(vec![0; BLOCK as usize]).into()), ZERO_BLOCK);
    }

    #[test]
    fn pieces_and_holes_give_the_same_hash() {
        let block = BLOCK as usize;
        let mut disk = vec![0; 3 * block + 1536];
        disk[7..1000].fill(1);
        disk[2 * block - 3..2 * block + 5].fill(2);
        disk[3 * block + 600] = 3;
        for piece in [1 << 20, 65_521, block + 1] {
            let mut content = ContentHasher::default();
            disk.chunks(piece).for_each(|piece| content.data(piece));
            assert_eq!(content.finish(), Some(plain(&disk)), "{piece}");
        }
        let mut holes = ContentHasher::default();
        holes.zeros(2 * BLOCK + 512);
        assert_eq!(holes.position(), 2 * BLOCK + 512);
        assert_eq!(holes.finish(), Some(plain(&vec![0; 2 * block + 512])));
        assert_eq!(ContentHasher::default().finish(), Some(plain(&[])));
    }

    #[test]
    fn the_last_sector_is_filled() {
        let mut content = ContentHasher::default();
        content.data(&[1; 700]);
        let mut disk = vec![1; 700];
        disk.resize(1024, 0);
        assert_eq!(content.finish(), Some(plain(&disk)));
    }

    #[test]
    fn a_size_that_no_disk_has_ends_at_once() {
        let mut content = ContentHasher::default();
        content.data(&[1; 512]);
        content.zeros(u64::MAX - 512);
        assert_eq!(content.finish(), None);
    }
}
