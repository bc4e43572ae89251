//! Batches of grains and of clusters, which the threads of a rewrite exchange.

use std::ops::Range;

use super::{CLUSTER, vmdk::Piece};

/// Most bytes of the disk in a batch: large enough that passing a batch on costs little, small
/// enough that all batches need little memory.
const BATCH: usize = 8 * CLUSTER;

/// Grains in compressed form, as they arrived.
#[derive(Debug, Default)]
pub(super) struct Grains {
    /// Data of all grains.
    pub data: Vec<u8>,
    /// Position of each grain on the disk in sectors, and its range in `data`.
    pub grains: Vec<(u64, Range<usize>)>,
}

impl Grains {
    /// Whether the batch is full; `grain` is the size of a grain in bytes.
    pub fn is_full(&self, grain: usize) -> bool {
        self.grains.len() * grain >= BATCH || self.data.len() >= BATCH
    }

    /// Adds the next piece of a stream.
    pub fn add(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Grain { sector, .. } => {
                self.grains.push((sector, self.data.len()..self.data.len()));
            }
            Piece::Data(bytes) => {
                self.data.extend_from_slice(bytes);
                if let Some((_, range)) = self.grains.last_mut() {
                    range.end = self.data.len();
                }
            }
        }
    }
}

/// Clusters to be written; those of zeros are omitted.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    /// Content of all clusters.
    pub data: Vec<u8>,
    /// Number of each cluster on the disk, its range in `data`, and whether it is compressed.
    pub clusters: Vec<(u64, Range<usize>, bool)>,
    /// Position on the disk that the batch reaches, in bytes.
    pub reached: u64,
    /// Content to be hashed.
    pub plain: Plain,
}

/// Nonzero content of the disk, as the guest sees it.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// Content of all pieces.
    pub data: Vec<u8>,
    /// Position of each piece on the disk in bytes, and its range in `data`.
    pub pieces: Vec<(u64, Range<usize>)>,
}

impl Plain {
    /// Adds content at `offset` bytes into the disk.
    pub fn add(&mut self, offset: u64, content: &[u8]) {
        let begin = self.data.len();
        self.data.extend_from_slice(content);
        self.pieces.push((offset, begin..self.data.len()));
    }
}
