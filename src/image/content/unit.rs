//! The stretches of a disk by which the formats are read.

use std::fs::File;
use std::io::{self, ErrorKind};

/// A format that keeps a disk in units, found by tables.
pub(super) trait Units: Send {
    /// The same for another thread. Tables that stay in memory are shared.
    fn again(&self) -> io::Result<Box<dyn Units>>;

    /// The unit around a place of the disk. One that is no data may be longer than a unit.
    fn find(&mut self, file: &File, at: u64) -> io::Result<DiskUnit>;

    /// Fills `unit` from its compressed form.
    fn unpack(&mut self, packed: &[u8], unit: &mut [u8]) -> io::Result<()>;
}

/// A stretch of the disk, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct DiskUnit {
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) place: UnitLocation,
}

/// Where a unit is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnitLocation {
    /// Nowhere: it is zeros.
    Zeros,
    /// As it is, from here on.
    Plain(u64),
    /// Compressed: where it begins, and the most bytes that it takes.
    Packed(u64, usize),
}

pub(super) fn invalid(reason: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}
