//! What an export leaves behind.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{
    ByteSize, ConvertedDisk, DiskFormat, DiskId, PowerState, Sha256Digest, SourceVm, Warning,
};

/// A VM whose disks all lie in the output directory, complete and checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExportedVm {
    /// The VM as it was when the export began.
    pub vm: SourceVm,
    /// How the disks were fetched.
    pub method: ExportMethod,
    /// When the export was complete.
    pub exported_at: jiff::Timestamp,
    /// One for every disk of [`SourceVm::disks`], in the same order.
    pub disks: Vec<ExportedDisk>,
    /// What lies in its CD-ROM drives, as far as it was exported; the first for the first drive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<ExportedMedium>,
    /// The variables of its firmware, if it is EFI and they could be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvram: Option<ExportedNvram>,
    /// What went less than well.
    pub warnings: Vec<Warning>,
}

/// How disks left their source (Artifact Manifest v1.0, `source.export_method`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ExportMethod {
    /// vSphere, an NFC lease on the VM itself.
    NfcLease,
    /// vSphere, an NFC lease on a snapshot of the running VM.
    NfcSnapshot,
    /// vSphere, flat files of the datastore.
    Datastore,
    /// A VM packed as OVA.
    Ova,
    /// A VM packed as OVF in a folder.
    Ovf,
    /// Disk images as they lay in their folder.
    Disk,
}

impl ExportMethod {
    /// The manifest's word for it.
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

/// In which state a source VM is. Two states that differ mean that its disks may differ, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SourceState {
    /// Whether the VM runs.
    pub power: PowerState,
    /// Changes with each reconfiguration and each start of the VM (vSphere: `config.changeVersion`;
    /// files: their lengths and times; libvirt: the times of the volumes). Empty when the source
    /// has nothing of that kind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// When the running VM was started, as the source writes it (vSphere: `runtime.bootTime`, which
    /// a VM that is off has not).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_time: Option<String>,
}

/// In which state of its VM an export was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExportState {
    /// The state of the VM. That of a VM that was off when its disks were read belongs to the
    /// disks.
    #[serde(flatten)]
    pub source: SourceState,
    /// Whether the disks are those of a snapshot of the running VM.
    #[serde(default)]
    pub snapshot: bool,
    /// How the VM was switched off for the export, if it ran before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub powered_off: Option<PoweredOff>,
    /// Flags that described the VM in the place of its source (`--firmware`, `--nic`, `--new-mac`),
    /// each with its values; `None` where an earlier version did not record them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<BTreeMap<String, Vec<String>>>,
}

/// How a running VM was switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PoweredOff {
    /// Its guest shut down.
    Shutdown,
    /// Its power was cut: the disks are as after a power failure.
    Cut,
}

/// The variables of a VM's EFI firmware, in the format of its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExportedNvram {
    /// Absolute path of the file.
    pub path: PathBuf,
    /// Its size.
    pub file_size: ByteSize,
    /// Its sum.
    pub sha256: Sha256Digest,
}

/// The image of a CD-ROM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExportedMedium {
    /// `cdrom-0`, …
    pub id: DiskId,
    /// Absolute path of the file.
    pub path: PathBuf,
    /// Its size.
    pub file_size: ByteSize,
    /// Its sum.
    pub sha256: Sha256Digest,
}

impl ExportedMedium {
    /// The image among the disks of a target, after `disks` of them.
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
    /// Which disk of the VM.
    pub id: DiskId,
    /// Absolute path of the image.
    pub path: PathBuf,
    /// Its format.
    pub format: DiskFormat,
    /// Size of the file.
    pub file_size: ByteSize,
    /// Size that the guest sees.
    pub capacity: ByteSize,
    /// Sum of the file.
    pub sha256: Sha256Digest,
    /// Hash of what the guest sees (`docs/proof.md`), where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Sha256Digest>,
    /// What the image was made of while it arrived, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<ReceivedStream>,
}

/// A stream that was made an image of another format as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReceivedStream {
    /// Its format.
    pub format: DiskFormat,
    /// Its length.
    pub bytes: ByteSize,
    /// Its sum, which the server confirms.
    pub sha256: Sha256Digest,
}
