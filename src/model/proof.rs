//! Proof that a converted disk equals the exported disk, except for changes by FIX:
//! `docs/proof.md`.

use serde::{Deserialize, Serialize};

use super::{DiskId, Sha256Digest};

/// Proof of a conversion.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Proof {
    /// Disks whose content was compared.
    pub disks: Vec<DiskProof>,
    /// Guest files that FIX changed, by path; absent if the list is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<FixedFile>>,
}

/// Proof of one disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DiskProof {
    /// Identifier of the disk.
    pub id: DiskId,
    /// Hash of the exported content; the converted image before FIX had the same hash.
    pub exported: Sha256Digest,
    /// Hash of the resulting content, after FIX.
    pub result: Sha256Digest,
    /// Blocks that FIX changed, in ascending order; all others are as they were exported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<ChangedBlock>,
}

/// A block of 4 MiB that FIX changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChangedBlock {
    /// Number of the block: its offset is this number times 4 MiB.
    pub block: u64,
    /// SHA-256 checksum of the block as it was exported.
    pub before: Sha256Digest,
    /// SHA-256 checksum of the block in the result.
    pub after: Sha256Digest,
}

/// A guest file that FIX changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FixedFile {
    /// Path of the file in the guest.
    pub path: String,
    /// Kind of the change.
    pub change: FileChange,
    /// SHA-256 checksum of the content before FIX, if the file existed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Sha256Digest>,
    /// SHA-256 checksum of the content after FIX, if the file still exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Sha256Digest>,
}

/// Kind of a change to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FileChange {
    /// FIX created the file.
    Added,
    /// FIX changed the content.
    Changed,
    /// FIX removed the file.
    Removed,
}
