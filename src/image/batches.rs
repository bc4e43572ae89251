//! What the threads of a rewrite hand to each other: batches of grains, batches of clusters.

use std::ops::Range;

use super::{CLUSTER, vmdk::Piece};

/// Bytes of the disk that one batch covers at most: large enough that handing it over costs
/// nothing, small enough that all of them together stay small.
const BATCH: usize = 8 * CLUSTER;

/// Grains as they arrived, in compressed form.
#[derive(Debug, Default)]
pub(super) struct Grains {
    /// The data of all.
    pub data: Vec<u8>,
    /// Place of each on the disk, in sectors, and its part of `data`.
    pub grains: Vec<(u64, Range<usize>)>,
}

impl Grains {
    /// Adds what a stream holds next; says whether the batch was full, `grain` being the size of a
    /// grain in bytes, before it.
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

/// Clusters as they are to be written; those that are all zero are not among them.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    /// The content of all.
    pub data: Vec<u8>,
    /// Number of each on the disk, its part of `data`, and whether that is in compressed form.
    pub clusters: Vec<(u64, Range<usize>, bool)>,
    /// How far into the disk the batch reaches, in bytes.
    pub reached: u64,
    /// What is hashed of it.
    pub plain: Plain,
}

/// Content of the disk that is not all zero, as the guest sees it.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// The content of all pieces.
    pub data: Vec<u8>,
    /// Place of each on the disk, in bytes, and its part of `data`.
    pub pieces: Vec<(u64, Range<usize>)>,
}

impl Plain {
    /// Adds a piece.
    pub fn add(&mut self, offset: u64, content: &[u8]) {
        let begin = self.data.len();
        self.data.extend_from_slice(content);
        self.pieces.push((offset, begin..self.data.len()));
    }
}
