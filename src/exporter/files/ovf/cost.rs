//! Limits of the total cost of a descriptor. Each number in it is bounded, but their product is
//! not: two thousand disks of ten thousand chunks with names of four thousand bytes are 80 GB.

use crate::budget::{Budget, Exhausted};
use crate::exporter::files::ovf_package::packaged_vm::OvfDisk;

/// Maximum number of files of all disks, and of bytes in their names. A disk of 2 TiB in chunks of
/// 1 GiB has 2000 files.
const MOST_MEMBERS: u64 = 64 << 10;
const MOST_NAMES: u64 = 16 << 20;
/// Maximum number of VMs in a package.
const MOST_SYSTEMS: u64 = 1000;
/// Maximum number of properties; those of a collection count for each VM in it.
const MOST_PROPERTIES: u64 = 1_000_000;

/// The remaining budget.
pub(super) struct Cost {
    members: Budget,
    names: Budget,
    systems: Budget,
    properties: Budget,
}

impl Default for Cost {
    fn default() -> Self {
        Self {
            members: Budget::new(MOST_MEMBERS, "files of disks"),
            names: Budget::new(MOST_NAMES, "bytes of names of files"),
            systems: Budget::new(MOST_SYSTEMS, "VMs"),
            properties: Budget::new(MOST_PROPERTIES, "properties"),
        }
    }
}

impl Cost {
    /// Charges the files of a disk, before any of their names is built.
    pub(super) fn disk(&mut self, disk: &OvfDisk) -> Result<(), Exhausted> {
        let Some(href) = &disk.href else { return Ok(()) };
        let chunks = disk.chunks.unwrap_or(1);
        self.members.draw(chunks)?;
        self.names.draw(chunks.saturating_mul(href.len() as u64 + CHUNK))
    }

    /// Charges a file of another kind.
    pub(super) fn file(&mut self, href: &str) -> Result<(), Exhausted> {
        self.members.draw(1)?;
        self.names.draw(href.len() as u64)
    }

    pub(super) fn system(&mut self) -> Result<(), Exhausted> {
        self.systems.draw(1)
    }

    pub(super) fn properties(&mut self, count: u64) -> Result<(), Exhausted> {
        self.properties.draw(count)
    }
}

/// Bytes that the number of a chunk adds to its name.
const CHUNK: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(href: usize, chunks: u64) -> OvfDisk {
        OvfDisk { href: Some("x".repeat(href)), chunks: Some(chunks), ..OvfDisk::default() }
    }

    #[test]
    fn the_disks_of_a_description_share_one_budget() {
        let mut cost = Cost::default();
        for _ in 0..6 {
            assert_eq!(cost.disk(&disk(100, 10_000)), Ok(()));
        }
        let error = cost.disk(&disk(100, 10_000)).expect_err("too many").to_string();
        assert_eq!(error, "more than 65536 files of disks");
        let error = Cost::default().disk(&disk(4000, 10_000)).expect_err("too long").to_string();
        assert_eq!(error, "more than 16777216 bytes of names of files");
        assert!(Cost::default().disk(&disk(4000, u64::MAX)).is_err());
    }
}
