//! Faults of an image, as values on which a hint can depend.

/// Why an image is not usable. Displayed as a clause about the image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// The image is the difference to another image, like a snapshot.
    #[error("it names a parent image")]
    NamesAParent,
    /// A VMDK without content: a raw device mapping, a physical disk or a partition of a host.
    #[error("it stands for a device of its host (a raw device mapping, or a physical disk)")]
    IsADevice,
    /// The file is neither a sparse VMDK nor a descriptor.
    #[error("it is not a VMDK: neither a sparse header nor a descriptor found")]
    NoVmdk,
    /// A VHDX that was copied while its VM ran, or that was not closed.
    #[error(
        "it was copied while it was in use: its log holds writes that are not in their places yet"
    )]
    HasALog,
    /// A VHDX with sectors of 4096 bytes, which QEMU does not open.
    #[error("its disk has sectors of 4096 bytes, and QEMU opens a VHDX with sectors of 512 only")]
    HasLargeSectors,
    /// Any other fault, as a clause. No hint depends on it.
    #[error("{0}")]
    Other(String),
}

impl From<String> for Flaw {
    fn from(reason: String) -> Self {
        Self::Other(reason)
    }
}

impl From<&str> for Flaw {
    fn from(reason: &str) -> Self {
        Self::Other(reason.to_owned())
    }
}
