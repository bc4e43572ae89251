//! Reference counts of the clusters of a file, in blocks of one cluster.

use std::collections::VecDeque;

use super::CLUSTER;

/// Number of 16-bit counts in a block.
const COUNTS: u64 = CLUSTER as u64 / 2;

/// Offsets of the written blocks, and the blocks that may still change.
#[derive(Debug, Default)]
pub(super) struct Refcounts {
    written: Vec<u64>,
    open: VecDeque<Vec<u16>>,
}

impl Refcounts {
    /// Increments the count of a cluster of the file.
    pub fn add(&mut self, cluster: u64) {
        let block = (cluster / COUNTS) as usize - self.written.len();
        while self.open.len() <= block {
            self.open.push_back(vec![0; COUNTS as usize]);
        }
        self.open[block][(cluster % COUNTS) as usize] += 1;
    }

    /// Whether no count of the first open block can change; `cluster` is the first cluster that
    /// can.
    pub fn is_settled(&self, cluster: u64) -> bool {
        (self.written.len() as u64 + 1) * COUNTS <= cluster
    }

    /// Removes the first open block and returns its bytes; [`Self::written`] must follow.
    pub fn close(&mut self) -> Vec<u8> {
        let block = self.open.pop_front().unwrap_or_else(|| vec![0; COUNTS as usize]);
        block.iter().flat_map(|count| count.to_be_bytes()).collect()
    }

    /// Records the offset of the block that was closed.
    pub fn written(&mut self, offset: u64) {
        self.written.push(offset);
    }

    /// Number of blocks, and of clusters of the table, to append to a file of `clusters` clusters.
    /// Both count themselves.
    pub fn to_come(&self, clusters: u64) -> (u64, u64) {
        let written = self.written.len() as u64;
        let (mut blocks, mut table) = (0, 0);
        loop {
            let all = (clusters + blocks + table).div_ceil(COUNTS);
            let next = (all - written, super::clusters(8 * all));
            if next == (blocks, table) {
                return next;
            }
            (blocks, table) = next;
        }
    }

    /// Bytes of the refcount table.
    pub fn table(&self) -> Vec<u8> {
        super::big_endian(&self.written)
    }
}
