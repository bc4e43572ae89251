//! How often each cluster of the file is used, in blocks of one cluster.

use std::collections::VecDeque;

use super::CLUSTER;

/// Counts of 16 bits in a block.
const COUNTS: u64 = CLUSTER as u64 / 2;

/// The counts: blocks that were written, and those that may still change.
#[derive(Debug, Default)]
pub(super) struct Refcounts {
    written: Vec<u64>,
    open: VecDeque<Vec<u16>>,
}

impl Refcounts {
    /// The cluster of the file is used once more.
    pub fn add(&mut self, cluster: u64) {
        let block = (cluster / COUNTS) as usize - self.written.len();
        while self.open.len() <= block {
            self.open.push_back(vec![0; COUNTS as usize]);
        }
        self.open[block][(cluster % COUNTS) as usize] += 1;
    }

    /// Whether the first open block lies wholly before `cluster`, the first that may change.
    pub fn is_settled(&self, cluster: u64) -> bool {
        (self.written.len() as u64 + 1) * COUNTS <= cluster
    }

    /// Takes the first open block out, as it stands in the file; [`Self::written`] must follow.
    pub fn close(&mut self) -> Vec<u8> {
        let block = self.open.pop_front().unwrap_or_else(|| vec![0; COUNTS as usize]);
        block.iter().flat_map(|count| count.to_be_bytes()).collect()
    }

    /// The block that was closed stands at `offset`.
    pub fn written(&mut self, offset: u64) {
        self.written.push(offset);
    }

    /// How many blocks and clusters of the table are to be appended to a file of `clusters`
    /// clusters, they themselves being counted.
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

    /// The table of all blocks, as it stands in the file.
    pub fn table(&self) -> Vec<u8> {
        super::big_endian(&self.written)
    }
}
