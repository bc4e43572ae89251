//! Result of a conversion.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ByteSize, DiskFormat, DiskId, Sha256Digest};

/// The disks of one VM, ready for KVM: one for every disk of the manifest, boot disk first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConvertedDisks(pub Vec<ConvertedDisk>);

/// One converted disk image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConvertedDisk {
    /// Identifier of the disk in the manifest.
    pub id: DiskId,
    /// Absolute path of the image.
    pub path: PathBuf,
    /// Format of the image.
    pub format: DiskFormat,
    /// Size of the disk as the guest sees it, in bytes.
    pub capacity: ByteSize,
    /// Space that the image occupies, in bytes, without holes.
    pub allocated: ByteSize,
    /// Position in the boot order: 0 is the boot disk.
    pub boot_order: u32,
    /// Whether the converter has adapted the guest on these disks to virtio. An absent value counts
    /// as false.
    #[serde(default)]
    pub fixed: bool,
    /// Whether the image belongs to a CD-ROM drive, as the cloud-init seed does, and is not a disk.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub medium: bool,
    /// Hash of the disk's content at the end of the conversion (`docs/proof.md`). Absent if the
    /// content was not hashed or may have changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Sha256Digest>,
}
