//! The disk image formats of the Artifact Manifest v1.0.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A disk image format. It is always passed explicitly: a format is never probed from the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// VMware VMDK, in any of its subformats.
    Vmdk,
    /// QEMU copy-on-write, version 2 or 3.
    Qcow2,
    /// Raw: the bytes of the disk and no header.
    Raw,
    /// Virtual PC VHD.
    Vhd,
    /// Hyper-V VHDX.
    Vhdx,
    /// VirtualBox VDI.
    Vdi,
}

impl DiskFormat {
    /// The name in the manifest, which is also the usual file name extension.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vmdk => "vmdk",
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
            Self::Vdi => "vdi",
        }
    }

    /// The name of QEMU's block driver (`qemu-img --help`, "Supported formats").
    pub fn qemu_driver(self) -> &'static str {
        if self == Self::Vhd { "vpc" } else { self.as_str() }
    }
}

impl fmt::Display for DiskFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
