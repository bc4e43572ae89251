//! What shows that a converted disk is the exported one, but for what FIX changed: `docs/proof.md`.

use serde::{Deserialize, Serialize};

use super::{DiskId, Sha256Digest};

/// The proof of a conversion.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Proof {
    /// The disks whose content was compared.
    pub disks: Vec<DiskProof>,
    /// The guest's files that FIX changed, by their paths; `None` where the list is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<FixedFile>>,
}

/// The proof of one disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DiskProof {
    /// Which disk.
    pub id: DiskId,
    /// Hash of its content as it was exported; that of the converted image before FIX was the same.
    pub exported: Sha256Digest,
    /// Hash of the content of the result, after FIX.
    pub result: Sha256Digest,
    /// The blocks that FIX changed, in their order; all others are as they were exported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<ChangedBlock>,
}

/// A block of 4 MiB that FIX changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChangedBlock {
    /// Its number: it begins at that many times 4 MiB.
    pub block: u64,
    /// SHA-256 of the block as it was exported.
    pub before: Sha256Digest,
    /// SHA-256 of the block in the result.
    pub after: Sha256Digest,
}

/// A file of the guest that FIX changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FixedFile {
    /// Its path in the guest.
    pub path: String,
    /// What became of it.
    pub change: FileChange,
    /// SHA-256 of its content before FIX, where there was a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Sha256Digest>,
    /// SHA-256 of its content after FIX, where there is a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Sha256Digest>,
}

/// What FIX did to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FileChange {
    /// The file is new.
    Added,
    /// The file has another content.
    Changed,
    /// The file is gone.
    Removed,
}
