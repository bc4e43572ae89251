//! What a conversion leaves behind.

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
    /// Which disk of the manifest.
    pub id: DiskId,
    /// Absolute path of the image.
    pub path: PathBuf,
    /// Its format.
    pub format: DiskFormat,
    /// Size that the guest sees.
    pub capacity: ByteSize,
    /// Bytes that the file occupies, holes not counted.
    pub allocated: ByteSize,
    /// 0 is the boot disk, the others follow.
    pub boot_order: u32,
    /// Whether the converter has made the guest on these disks fit for virtio. Not, when nothing
    /// says so.
    #[serde(default)]
    pub fixed: bool,
    /// Whether it is no disk but what lies in a CD-ROM drive: the seed of cloud-init.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub medium: bool,
    /// Hash of its content as the conversion left it (`docs/proof.md`). None where nobody hashed
    /// it, or where it may have changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Sha256Digest>,
}
