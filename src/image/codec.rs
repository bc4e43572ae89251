//! Compression and decompression of single clusters and grains.

use std::io;

use flate2::{Compress, FlushCompress, Status};

use super::CLUSTER;

/// Window of qcow2's deflate streams, as a power of two (docs/interop/qcow2.txt, "compression
/// type": "deflate … with a window size of 4 KiB"; QEMU inflates with `-12`).
const ZLIB_WINDOW: u8 = 12;

/// Compression of a qcow2 image's clusters, with a level from 1 (fast) to 9 (small).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Deflate, which every QEMU reads.
    Zlib(u8),
    /// Zstandard, which QEMU 5.1 and later read.
    Zstd(u8),
}

impl Compression {
    /// Deflate at the level that QEMU uses (`block/qcow2-threads.c`: the library's default).
    pub const ZLIB: Self = Self::Zlib(6);
    /// Zstandard at the level that QEMU uses.
    pub const ZSTD: Self = Self::Zstd(3);

    /// QEMU's name for the algorithm (`compression_type`).
    pub fn kind(self) -> &'static str {
        match self {
            Self::Zlib(_) => "zlib",
            Self::Zstd(_) => "zstd",
        }
    }

    /// Level from 1 (fast) to 9 (small).
    pub fn level(self) -> u8 {
        match self {
            Self::Zlib(level) | Self::Zstd(level) => level,
        }
    }
}

/// Compressor of single clusters.
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

    /// Appends the compressed form of `cluster` to `out` and returns true; returns false if
    /// compression saves nothing. `scratch` is a buffer of a cluster's length.
    pub fn append(
        &mut self,
        cluster: &[u8],
        scratch: &mut [u8],
        out: &mut Vec<u8>,
    ) -> io::Result<bool> {
        let room = &mut scratch[..CLUSTER - 1];
        let length = match self {
            Self::Zlib(compress) => deflate(compress, cluster, room)?,
            // Compression fails only if the result does not fit.
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

/// Decompressor of single grains.
pub(super) struct Inflater(libdeflater::Decompressor);

impl Inflater {
    pub fn new() -> Self {
        Self(libdeflater::Decompressor::new())
    }

    /// Fills `grain` from `data`, a zlib stream; returns the number of bytes written.
    pub fn inflate(&mut self, data: &[u8], grain: &mut [u8]) -> Option<usize> {
        self.0.zlib_decompress(data, grain).ok()
    }

    /// As [`Self::inflate`], for a stream without a header (RFC 1951); bytes after the stream are
    /// ignored.
    pub fn inflate_raw(&mut self, data: &[u8], cluster: &mut [u8]) -> Option<usize> {
        self.0.deflate_decompress(data, cluster).ok()
    }
}

/// Whether all bytes are zero. Compares words first, which runs at memory speed.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    // Without a branch per word, the compiler vectorizes the loop.
    words
        .chunks(8)
        .all(|block| block.iter().fold(0, |sum, word| sum | u128::from_ne_bytes(*word)) == 0)
        && rest.iter().all(|byte| *byte == 0)
}
