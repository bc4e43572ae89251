//! Units of a disk by which the formats are read.

use std::fs::File;
use std::io::{self, ErrorKind};

/// A format that stores a disk in units, located by tables.
pub(super) trait Units: Send {
    /// The same reader for another thread. Tables that stay in memory are shared.
    fn again(&self) -> io::Result<Box<dyn Units>>;

    /// Unit that contains a position of the disk. A unit without data may be longer than others.
    fn find(&mut self, file: &File, at: u64) -> io::Result<DiskUnit>;

    /// Fills `unit` from its compressed form.
    fn unpack(&mut self, packed: &[u8], unit: &mut [u8]) -> io::Result<()>;
}

/// Range of the disk in bytes, and its location in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct DiskUnit {
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) place: UnitLocation,
}

/// Location of a unit in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnitLocation {
    /// Not stored: the unit is zeros.
    Zeros,
    /// Offset of an uncompressed unit.
    Plain(u64),
    /// Offset of a compressed unit, and the most bytes that it occupies.
    Packed(u64, usize),
}

pub(super) fn invalid(reason: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}
