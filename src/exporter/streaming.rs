//! Whether the disks of a VM become qcow2 while they leave their source.

use crate::image::Compression;

/// Disks become qcow2 while they leave their source: nothing is ever written in the source's
/// format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewrite {
    /// How their clusters are compressed, if they are.
    pub compression: Option<Compression>,
    /// Whether a disk with which that cannot be done ends the export.
    pub required: bool,
}

/// Whether a disk is converted while it leaves its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streaming {
    /// The export converts it.
    Yes,
    /// Its first bytes decide, which come late in their archive.
    Open,
    /// The export keeps it as it is. Why, as a clause.
    No(&'static str),
}

impl Streaming {
    /// Whether the export converts it, as far as that is known.
    pub fn may(self) -> bool {
        !matches!(self, Self::No(_))
    }
}
