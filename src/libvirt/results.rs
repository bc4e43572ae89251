//! Results of an import: volumes and a snapshot.

use serde::{Deserialize, Serialize};

use crate::model::{ByteSize, DiskId, Sha256Digest};

/// A disk of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RegisteredVolume {
    /// ID of the disk within the VM, such as `disk-0`.
    pub disk: DiskId,
    /// Name of the volume in its pool.
    pub name: String,
    /// Absolute path on the daemon's host.
    pub path: String,
    /// Size that the guest sees, in bytes.
    pub capacity: ByteSize,
    /// Whether the import created the volume; false if the image was in the pool already.
    pub created: bool,
    /// SHA-256 checksum of the volume's content, if the volume was read back and matches the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256Digest>,
    /// Hash of the content as the guest sees it (`docs/proof.md`), if the volume was read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Sha256Digest>,
}

/// A snapshot of the domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Snapshot {
    /// Name of the snapshot.
    pub name: String,
    /// Where the snapshot is stored.
    pub kind: SnapshotKind,
}

/// Where a snapshot is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SnapshotKind {
    /// Inside the qcow2 images.
    Internal,
    /// In the unchanged images; the domain writes to new overlay files.
    External,
}
