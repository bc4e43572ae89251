//! Disk image formats: reads streamOptimized VMDK, writes qcow2 and sparse raw, and inspects the
//! headers of all other formats.
//!
//! [`vmdk::Stream`] parses a stream as it arrives. [`Rewriter`] converts the stream meanwhile on
//! all cores, with constant memory, and [`FlatRewriter`] does so with a raw disk. [`Split`] joins a
//! VMDK of several files, and [`inspect()`] checks an untrusted image before any tool opens it.
//! This module knows neither the source of the bytes nor any tool.

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

/// Unit in which images are written, in bytes: qcow2's default cluster, and the grain of all known
/// streamOptimized VMDKs.
pub const CLUSTER: usize = 1 << 16;

/// Why an image could not be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stream is malformed.
    #[error("reading the stream")]
    Stream(#[from] vmdk::InvalidStream),
    /// The stream is truncated.
    #[error("the stream ends at {reached} of {capacity} bytes of the disk")]
    Early {
        /// Position on the disk that the stream reaches, in bytes.
        reached: u64,
        /// Size of the disk, in bytes.
        capacity: u64,
    },
    /// The grains have a size that no known writer uses; qemu-img may be able to read them.
    #[error("grains of {0} bytes are neither 64 KiB nor a small multiple of it")]
    GrainSize(u64),
    /// The disk, of this many bytes, is too large for qcow2.
    #[error("a disk of {0} bytes is too large for qcow2")]
    TooLarge(u64),
    /// The data of a grain is no zlib stream of the right length.
    #[error("the grain at byte {offset} of the disk is damaged")]
    Grain {
        /// Position on the disk, in bytes.
        offset: u64,
    },
    /// The stream contains a position of the disk twice.
    #[error("stream contains byte {offset} of the disk twice")]
    Twice {
        /// Position on the disk, in bytes.
        offset: u64,
    },
    /// The new image could not be written.
    #[error("writing the image")]
    Write(#[from] io::Error),
}
