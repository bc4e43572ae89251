//! Disk image formats, as bytes: reading streamOptimized VMDK, writing qcow2 and sparse raw, and
//! what can be told of all others from their headers.
//!
//! [`vmdk::Stream`] follows a stream as it arrives; [`Rewriter`] turns it into another format on
//! all cores while it does, at flat memory, and [`FlatRewriter`] does so with a raw disk. [`Split`]
//! puts a VMDK of several files together, and [`inspect`] is the look at a foreign image before any
//! tool opens it. Nothing here knows where bytes come from or names a tool.

mod backing;
mod batches;
mod beside;
mod capacity;
mod codec;
pub mod content;
mod direct;
pub mod extents;
mod flat;
mod flaw;
mod inspect;
mod iso;
mod kind;
mod number;
mod part;
pub mod qcow2;
mod raw;
mod rewrite;
mod split;
mod text;
mod truncation;
mod vhdx;
pub mod vmdk;
mod workers;
mod writeback;

pub use backing::backing_file;
pub use beside::beside;
pub use capacity::{capacity, header_capacity};
pub use codec::Compression;
pub use direct::{AlignedBuffer, DirectFile};
pub use flat::FlatRewriter;
pub use flaw::Flaw;
pub use inspect::{inspect, inspect_sparse, is_single_vmdk};
pub use iso::{IsoFile, iso_files};
pub use kind::{Kind, kind};
pub use part::{DiskPart, part};
pub use rewrite::{OutputFormat, Rewriter, Wrote};
pub use split::Split;
pub use text::decoded;
pub use writeback::{WritebackFile, begin_to_write};

use std::io;

/// Bytes of a cluster, the unit in which images are written here: qcow2's default, and the grain
/// of all known streamOptimized VMDKs.
pub const CLUSTER: usize = 1 << 16;

/// Why an image could not be rewritten.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What is read makes no sense.
    #[error("reading the stream")]
    Stream(#[from] vmdk::InvalidStream),
    /// It ends before its end.
    #[error("the stream ends at {reached} of {capacity} bytes of the disk")]
    Early {
        /// How far into the disk it reaches.
        reached: u64,
        /// Size of the disk.
        capacity: u64,
    },
    /// Its grains are of a size that no known writer uses: qemu-img may take them apart.
    #[error("grains of {0} bytes are neither 64 KiB nor a small multiple of it")]
    GrainSize(u64),
    /// No qcow2 image can hold the disk.
    #[error("a disk of {0} bytes is too large for qcow2")]
    TooLarge(u64),
    /// The data of a grain is no zlib stream of the right length.
    #[error("the grain at byte {offset} of the disk is damaged")]
    Grain {
        /// Where on the disk.
        offset: u64,
    },
    /// The stream holds one place of the disk twice.
    #[error("stream contains byte {offset} of the disk twice")]
    Twice {
        /// Where on the disk.
        offset: u64,
    },
    /// The new image could not be written.
    #[error("writing the image")]
    Write(#[from] io::Error),
}
