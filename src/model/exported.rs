//! Result of an export.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{
    ByteSize, ConvertedDisk, DiskFormat, DiskId, PowerState, Sha256Digest, SourceVm, Warning,
};

/// A VM whose disks are all in the output directory, complete and verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExportedVm {
    /// The VM at the start of the export.
    pub vm: SourceVm,
    /// Method by which the disks were downloaded.
    pub method: ExportMethod,
    /// Time at which the export was complete.
    pub exported_at: jiff::Timestamp,
    /// Disk images, one for every disk of [`SourceVm::disks`], in the same order.
    pub disks: Vec<ExportedDisk>,
    /// Images in the VM's CD-ROM drives, as far as they were exported; the first belongs to the
    /// first drive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<ExportedMedium>,
    /// Variables (NVRAM) of EFI firmware, if they could be exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvram: Option<ExportedNvram>,
    /// Warnings of the export.
    pub warnings: Vec<Warning>,
}

/// Method of an export (Artifact Manifest v1.0, `source.export_method`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ExportMethod {
    /// NFC lease on the VM itself (vSphere).
    NfcLease,
    /// NFC lease on a snapshot of the running VM (vSphere).
    NfcSnapshot,
    /// Download of flat files from the datastore (vSphere).
    Datastore,
    /// OVA package.
    Ova,
    /// OVF package in a folder.
    Ovf,
    /// Disk images without a package.
    Disk,
}

impl ExportMethod {
    /// The method's name in the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NfcLease => "nfc-lease",
            Self::NfcSnapshot => "nfc-snapshot",
            Self::Datastore => "datastore",
            Self::Ova => "ova",
            Self::Ovf => "ovf",
            Self::Disk => "disk",
        }
    }
}

/// State of a source VM. If two states differ, the VM's disks may differ, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SourceState {
    /// Power state of the VM.
    pub power: PowerState,
    /// Text that changes with each reconfiguration and each start of the VM (vSphere:
    /// `config.changeVersion`; files: their lengths and times; libvirt: the times of the volumes).
    /// Empty when the source has no such value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// Start time of a running VM, as the source writes it (vSphere: `runtime.bootTime`, which a
    /// powered-off VM does not have).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_time: Option<String>,
}

/// State of the VM during its export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExportState {
    /// State of the VM. If the VM was off when its disks were read, the state describes exactly
    /// these disks.
    #[serde(flatten)]
    pub source: SourceState,
    /// Whether the disks were read from a snapshot of the running VM.
    #[serde(default)]
    pub snapshot: bool,
    /// How the VM was powered off for the export, if it was running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub powered_off: Option<PoweredOff>,
    /// Flags that overrode the source's description of the VM (`--firmware`, `--nic`, `--new-mac`),
    /// each with its values. Absent if an earlier version made the export and did not record them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<BTreeMap<String, Vec<String>>>,
}

/// How a running VM was powered off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PoweredOff {
    /// Shutdown by the guest operating system.
    Shutdown,
    /// Hard power-off: the disks are as after a power failure.
    Cut,
}

/// Variables (NVRAM) of a VM's EFI firmware, in the format of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExportedNvram {
    /// Absolute path of the file.
    pub path: PathBuf,
    /// Size of the file, in bytes.
    pub file_size: ByteSize,
    /// SHA-256 checksum of the file.
    pub sha256: Sha256Digest,
}

/// Image of a CD-ROM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExportedMedium {
    /// Identifier of the drive: `cdrom-0`, …
    pub id: DiskId,
    /// Absolute path of the file.
    pub path: PathBuf,
    /// Size of the file, in bytes.
    pub file_size: ByteSize,
    /// SHA-256 checksum of the file.
    pub sha256: Sha256Digest,
}

impl ExportedMedium {
    /// The image as an entry of [`ConvertedDisks`](super::ConvertedDisks), in the boot order after
    /// `disks` disks.
    pub fn converted(&self, disks: usize) -> ConvertedDisk {
        ConvertedDisk {
            id: self.id.clone(),
            path: self.path.clone(),
            format: DiskFormat::Raw,
            capacity: self.file_size,
            allocated: self.file_size,
            boot_order: u32::try_from(disks).unwrap_or(u32::MAX),
            fixed: false,
            medium: true,
            content: None,
        }
    }
}

/// One exported disk image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExportedDisk {
    /// Identifier of the disk in the VM.
    pub id: DiskId,
    /// Absolute path of the image.
    pub path: PathBuf,
    /// Format of the image.
    pub format: DiskFormat,
    /// Size of the image file, in bytes.
    pub file_size: ByteSize,
    /// Size of the disk as the guest sees it, in bytes.
    pub capacity: ByteSize,
    /// SHA-256 checksum of the image file.
    pub sha256: Sha256Digest,
    /// Hash of the guest-visible content (`docs/proof.md`), if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Sha256Digest>,
    /// Stream from which the image was written during the download, if the format was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<ReceivedStream>,
}

/// A downloaded stream that was written as an image of another format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReceivedStream {
    /// Format of the stream.
    pub format: DiskFormat,
    /// Length of the stream, in bytes.
    pub bytes: ByteSize,
    /// SHA-256 checksum of the stream, which the server confirms.
    pub sha256: Sha256Digest,
}
