//! The types of the manifest. Every object keeps unknown fields in `extra`. Absent optional fields
//! are left out, never written as null. `false` and 0 are always written: the consumer reads an
//! absent `boot_order_hint` as 999 and an absent `backup` as true.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::{
    ByteSize, DiskFormat, DiskId, ExportState, ExportedMedium, ExportedNvram, MacAddress, OsFamily,
    ReceivedStream, Sha256Digest, SourceVm,
};

/// An Artifact Manifest v1.0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Manifest {
    /// Version of the manifest format, always `1.0`.
    pub manifest_version: String,
    /// Where the VM was exported from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ManifestSource>,
    /// Hardware and operating system of the VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<Vm>,
    /// Disk images of the VM, at least one.
    pub disks: Vec<Disk>,
    /// Network interfaces of the VM.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<Nic>,
    /// Warnings of the stages that have run so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<RecordedWarning>,
    /// Program that wrote the manifest, and the exact facts that hyperexport needs in later stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Stages that the converter runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Pipeline>,
    /// Where the converter writes the converted disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputTarget>,
    /// Fields of other programs, kept unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `source`: where the VM was exported from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ManifestSource {
    /// Kind of source: `vsphere`, `aws`, `local`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Identifier of the VM at the source: a moref for vSphere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_id: Option<String>,
    /// Display name of the VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_name: Option<String>,
    /// Name of the vSphere datacenter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacenter: Option<String>,
    /// Time of the export, RFC 3339; kept as text so that the spelling of another program survives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export_timestamp: Option<String>,
    /// Method of the export: `nfc-lease`, `ova`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export_method: Option<String>,
    /// Fields of other programs, kept unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `vm`: hardware and operating system of the VM.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Vm {
    /// Virtual CPUs, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Memory in GiB, rounded up, at least 1. The exact size in MiB is in [`Exact::source_vm`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_gb: Option<u64>,
    /// Firmware that boots the VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<ManifestFirmware>,
    /// Whether the firmware enforces Secure Boot signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secureboot: Option<bool>,
    /// Family of the guest's operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_hint: Option<OsFamily>,
    /// Name of the guest's operating system as people read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Fields of other programs, kept unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `vm.firmware`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ManifestFirmware {
    /// PC BIOS.
    Bios,
    /// UEFI. The consumer rejects the word `efi`.
    Uefi,
    /// Firmware is not known.
    Unknown,
}

/// `disks[]`: one disk image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Disk {
    /// Identifier of the disk, unique in the manifest.
    pub id: DiskId,
    /// Format of the image file.
    pub source_format: DiskFormat,
    /// Size of the image file, in bytes. The size that the guest sees is in [`Exact::capacities`].
    pub bytes: u64,
    /// Absolute path of the image file.
    pub local_path: PathBuf,
    /// SHA-256 checksum of the image file: `sha256:` and 64 lower-case hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "checksum")]
    #[cfg_attr(test, schemars(with = "Option<String>", regex(pattern = "^sha256:[0-9a-f]{64}$")))]
    pub checksum: Option<Sha256Digest>,
    /// Position in the boot order: 0 is the boot disk, an absent value counts as 999.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_order_hint: Option<u32>,
    /// Name of the disk as people read it: `Hard disk 1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Whether the disk is the boot disk or a data disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_type: Option<DiskType>,
    /// Fields of other programs, kept unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Disk {
    /// Position in the consumer's boot order: an absent hint counts as 999.
    pub fn boot_order(&self) -> u32 {
        self.boot_order_hint.unwrap_or(999)
    }
}

/// `disks[].disk_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DiskType {
    /// The guest boots from this disk.
    Boot,
    /// Any other disk.
    Data,
    /// Use of the disk is not known.
    Unknown,
}

/// `nics[]`: one network interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Nic {
    /// Identifier of the interface: `nic-0`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// MAC address of the interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// Name of the interface's network at the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Fields of other programs, kept unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `warnings[]`: a warning of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecordedWarning {
    /// Stage that raised the warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Text of the warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Time of the warning, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// Fields of other programs, kept unchanged; hyperexport writes the warning's `code` here.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `metadata`: the program that wrote the manifest, and its exact facts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Metadata {
    /// Name and version of the exporter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypersdk_version: Option<String>,
    /// Name of the run that wrote the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// Time at which the manifest was written, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// Tags that the user has set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Exact facts for which the contract has no field. Present if hyperexport wrote the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hyperexport: Option<Exact>,
    /// Fields of other programs, kept unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `metadata.hyperexport`: exact facts that the contract's fields round or omit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Exact {
    /// The VM as its source described it: memory in MiB, topology, controllers, NIC models.
    pub source_vm: SourceVm,
    /// Size of every disk as the guest sees it, in bytes.
    pub capacities: BTreeMap<DiskId, ByteSize>,
    /// Images in the VM's CD-ROM drives; the first belongs to the first drive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<ExportedMedium>,
    /// Variables (NVRAM) of the VM's EFI firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvram: Option<ExportedNvram>,
    /// For every disk written from a stream during the download: that stream.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub received: BTreeMap<DiskId, ReceivedStream>,
    /// Hash of the guest-visible content of every disk as it was exported (`docs/proof.md`), if it
    /// is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub content: BTreeMap<DiskId, Sha256Digest>,
    /// State of the VM in which its disks were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ExportState>,
}

/// `pipeline`: the converter's stages. An absent stage is disabled.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pipeline {
    /// Detect the guest operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inspect: Option<InspectStage>,
    /// Make the guest bootable on KVM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<FixStage>,
    /// Convert the disk images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convert: Option<ConvertStage>,
    /// Check the converted disk images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<ValidateStage>,
    /// Fields of other programs, kept unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `pipeline.inspect`: detection of the guest operating system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InspectStage {
    /// Whether the stage runs.
    #[serde(default)]
    pub enabled: bool,
    /// Collect facts of the guest. Never works in hyper2kvm 0.2.1, so hyperexport writes false.
    #[serde(default)]
    pub collect_guest_info: bool,
    /// Fields of other programs, kept unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `pipeline.fix`: changes that make the guest bootable on KVM. Missing fields get the consumer's
/// defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FixStage {
    /// Whether the stage runs.
    #[serde(default)]
    pub enabled: bool,
    /// Keep copies of changed files inside the guest.
    #[serde(default = "yes")]
    pub backup: bool,
    /// Print `/etc/fstab` before and after the change.
    #[serde(default)]
    pub print_fstab: bool,
    /// Rewrite the boot loader's configuration.
    #[serde(default = "yes")]
    pub update_grub: bool,
    /// Rebuild the initramfs with virtio drivers.
    #[serde(default = "yes")]
    pub regen_initramfs: bool,
    /// How device names in `/etc/fstab` are rewritten: `stabilize-all`, `bypath-only` or `noop`.
    #[serde(default = "stabilize_all")]
    pub fstab_mode: String,
    /// Remove VMware Tools. Deadlocks hyper2kvm 0.2.1, so hyperexport writes false.
    #[serde(default)]
    pub remove_vmware_tools: bool,
    /// Fields of other programs, kept unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `pipeline.convert`: conversion of the disk images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConvertStage {
    /// Whether the stage runs.
    #[serde(default)]
    pub enabled: bool,
    /// Compress the converted images.
    #[serde(default)]
    pub compress: bool,
    /// Compression level from 1 (fast) to 9 (small).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compress_level: Option<u8>,
    /// Fields of other programs, kept unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `pipeline.validate`: check of the converted images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ValidateStage {
    /// Whether the stage runs.
    #[serde(default)]
    pub enabled: bool,
    /// Check the structure of the converted images.
    #[serde(default = "yes")]
    pub check_image_integrity: bool,
    /// Fields of other programs, kept unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `output`: where the converter writes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OutputTarget {
    /// Directory of the converted disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Format of the converted disks: `qcow2`, `raw` or `vdi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DiskFormat>,
    /// Fields of other programs, kept unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

fn yes() -> bool {
    true
}

fn stabilize_all() -> String {
    "stabilize-all".to_owned()
}

/// Text form of a checksum: `sha256:` and 64 lower-case hexadecimal digits.
mod checksum {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::model::Sha256Digest;

    pub(super) fn serialize<S: Serializer>(
        sum: &Option<Sha256Digest>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match sum {
            Some(sum) => serializer.collect_str(&format_args!("sha256:{sum}")),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Sha256Digest>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("sha256:").ok_or_else(|| D::Error::custom("no sha256:"))?;
        digits.parse().map(Some).map_err(D::Error::custom)
    }
}
