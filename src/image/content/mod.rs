//! The hash of a disk's content, whatever the format of its image: `docs/proof.md` defines it.
//!
//! ```text
//! SHA-256( SHA-256(block 0) SHA-256(block 1) … ), blocks of 4 MiB, the last one shorter
//! ```
//!
//! [`ContentHasher`] takes the bytes of a disk in their order, [`hash_image`] reads a finished
//! image on several threads with the readers of this folder. A block of zeros costs nothing. Only
//! the hash of the list of blocks is kept, so memory does not grow with the disk.

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
