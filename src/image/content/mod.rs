//! Hash of a disk's content, independent of the image format: `docs/proof.md` defines it.
//!
//! ```text
//! SHA-256( SHA-256(block 0) SHA-256(block 1) … ), blocks of 4 MiB, the last one shorter
//! ```
//!
//! [`ContentHasher`] hashes a disk's bytes in order, [`hash_image`] a finished image on several
//! threads. Blocks of zeros cost almost nothing. Only the hash over the block hashes is kept, so
//! memory does not grow with the disk.

mod blocks;
mod disk;
mod grains;
mod hash;
mod list;
mod qcow2;
mod stream;
mod tables;
mod unit;

pub use self::blocks::{BLOCK, Blocks, ContentHasher};
pub use self::grains::HashedStream;
pub use self::hash::{Each, hash_blocks, hash_image, hash_image_at};
pub use self::list::BlockList;
pub use self::qcow2::stored_ranges;
