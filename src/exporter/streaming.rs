//! Conversion of disks to qcow2 while they leave their source.

use crate::image::Compression;

/// Settings of the conversion to qcow2 while disks leave their source: nothing is ever written in
/// the source's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewrite {
    /// Compression of the qcow2 clusters; `None` for uncompressed clusters.
    pub compression: Option<Compression>,
    /// Whether a disk that cannot be converted ends the export.
    pub required: bool,
}

/// Whether a disk is converted while it leaves its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streaming {
    /// The export converts the disk.
    Yes,
    /// Unknown yet: the disk's first bytes decide, which are read late in their archive.
    Open,
    /// The export keeps the disk's format: the reason, as a clause.
    No(&'static str),
}

impl Streaming {
    /// Whether the export may convert the disk, as far as this is known.
    pub fn may(self) -> bool {
        !matches!(self, Self::No(_))
    }
}
