//! What an import has made: volumes, and a snapshot.

use serde::{Deserialize, Serialize};

use crate::model::{ByteSize, DiskId, Sha256Digest};

/// A disk of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RegisteredVolume {
    /// Which disk of the VM.
    pub disk: DiskId,
    /// Name of the volume in its pool.
    pub name: String,
    /// Absolute path on the daemon's machine.
    pub path: String,
    /// Size that the guest sees.
    pub capacity: ByteSize,
    /// Whether it was made for this; else the image lay in the pool already.
    pub created: bool,
    /// Sum of its content, where it was read back and found to be that of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256Digest>,
    /// Hash of what the guest sees of it (`docs/proof.md`), where it was read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Sha256Digest>,
}

/// A snapshot that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// Where it lies.
    pub kind: SnapshotKind,
}

/// Where a snapshot lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SnapshotKind {
    /// In the images themselves.
    Internal,
    /// In the images as they were; the domain goes on in new files.
    External,
}
