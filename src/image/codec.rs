//! Compression of single clusters and grains, by libraries.

use std::io;

use flate2::{Compress, FlushCompress, Status};

use super::CLUSTER;

/// Window of qcow2's deflate streams, as a power of two (docs/interop/qcow2.txt, "compression
/// type": "deflate … with a window size of 4 KiB"; QEMU inflates with `-12`).
const ZLIB_WINDOW: u8 = 12;

/// How the clusters of a qcow2 image are compressed, with a level from 1 (fast) to 9 (small).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Deflate: every QEMU reads it.
    Zlib(u8),
    /// Zstandard: QEMU 5.1 and later.
    Zstd(u8),
}

impl Compression {
    /// Deflate at the level that QEMU uses (`block/qcow2-threads.c`: the library's default).
    pub const ZLIB: Self = Self::Zlib(6);
    /// Zstandard at the level that QEMU uses.
    pub const ZSTD: Self = Self::Zstd(3);

    /// QEMU's name of the kind (`compression_type`).
    pub fn kind(self) -> &'static str {
        match self {
            Self::Zlib(_) => "zlib",
            Self::Zstd(_) => "zstd",
        }
    }

    /// The level.
    pub fn level(self) -> u8 {
        match self {
            Self::Zlib(level) | Self::Zstd(level) => level,
        }
    }
}

/// Compresses one cluster after the other.
pub(super) enum Compressor {
    Zlib(Compress),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Compressor {
    pub fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::Zlib(level) => {
                let level = flate2::Compression::new(level.into());
                Self::Zlib(Compress::new_with_window_bits(level, false, ZLIB_WINDOW))
            }
            Compression::Zstd(level) => Self::Zstd(zstd::bulk::Compressor::new(level.into())?),
        })
    }

    /// Appends `cluster` in compressed form to `out`, or nothing where that saves nothing.
    /// `scratch` has a cluster's length and no content that counts.
    pub fn append(
        &mut self,
        cluster: &[u8],
        scratch: &mut [u8],
        out: &mut Vec<u8>,
    ) -> io::Result<bool> {
        let room = &mut scratch[..CLUSTER - 1];
        let length = match self {
            Self::Zlib(compress) => deflate(compress, cluster, room)?,
            // Too long for its place is the only way in which this fails.
            Self::Zstd(compressor) => compressor.compress_to_buffer(cluster, room).unwrap_or(0),
        };
        out.extend_from_slice(&scratch[..length]);
        Ok(length > 0)
    }
}

fn deflate(compress: &mut Compress, cluster: &[u8], out: &mut [u8]) -> io::Result<usize> {
    compress.reset();
    let status = compress.compress(cluster, out, FlushCompress::Finish)?;
    Ok(if status == Status::StreamEnd { compress.total_out() as usize } else { 0 })
}

/// Inflates one grain after the other.
pub(super) struct Inflater(libdeflater::Decompressor);

impl Inflater {
    pub fn new() -> Self {
        Self(libdeflater::Decompressor::new())
    }

    /// Fills `grain` from `data`, a zlib stream; returns how much of it there was.
    pub fn inflate(&mut self, data: &[u8], grain: &mut [u8]) -> Option<usize> {
        self.0.zlib_decompress(data, grain).ok()
    }

    /// The same of a stream without a header (RFC 1951); what follows the stream is passed over.
    pub fn inflate_raw(&mut self, data: &[u8], cluster: &mut [u8]) -> Option<usize> {
        self.0.deflate_decompress(data, cluster).ok()
    }
}

/// Whether all bytes are zero. Words first: a cluster is read at the speed of memory.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    // Eight words at a time are one branch for the compiler to turn into vector instructions.
    words
        .chunks(8)
        .all(|block| block.iter().fold(0, |sum, word| sum | u128::from_ne_bytes(*word)) == 0)
        && rest.iter().all(|byte| *byte == 0)
}
