//! The manifest as types. Every object keeps the fields it does not know in `extra`; absent
//! optional fields are left out, never written as null, and `false` and 0 are always written: the
//! consumer takes an absent `boot_order_hint` for 999 and an absent `backup` for true.

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
    /// Always `1.0`.
    pub manifest_version: String,
    /// Where the VM came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ManifestSource>,
    /// What the VM is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<Vm>,
    /// Its disks, at least one.
    pub disks: Vec<Disk>,
    /// Its network interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<Nic>,
    /// What went less than well so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<RecordedWarning>,
    /// Who wrote it, and what hyperexport keeps for its own later stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// What the converter shall do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Pipeline>,
    /// Where the converter shall write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputTarget>,
    /// Fields of others.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `source`: where the VM came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ManifestSource {
    /// `vsphere`, `aws`, `local`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The source's id: a moref for vSphere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_id: Option<String>,
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_name: Option<String>,
    /// Name of the datacenter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacenter: Option<String>,
    /// RFC 3339; kept as text so that another's spelling survives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export_timestamp: Option<String>,
    /// `nfc-lease`, `ova`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export_method: Option<String>,
    /// Fields of others.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `vm`: what the VM is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Vm {
    /// Virtual CPUs, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Memory in GiB, rounded up, at least 1. The exact MiB are in [`Exact::source_vm`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_gb: Option<u64>,
    /// How it boots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<ManifestFirmware>,
    /// Whether the firmware enforces signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secureboot: Option<bool>,
    /// Family of the guest's operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_hint: Option<OsFamily>,
    /// The guest's operating system for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Fields of others.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `vm.firmware` in the manifest's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ManifestFirmware {
    /// PC BIOS.
    Bios,
    /// UEFI; the word `efi` is refused by the consumer.
    Uefi,
    /// Not known.
    Unknown,
}

/// `disks[]`: one disk image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Disk {
    /// Unique in the manifest.
    pub id: DiskId,
    /// Format of the file.
    pub source_format: DiskFormat,
    /// Size of the file, in bytes. The size that the guest sees is in [`Exact::capacities`].
    pub bytes: u64,
    /// Absolute path of the file.
    pub local_path: PathBuf,
    /// SHA-256 sum of the file.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "checksum")]
    #[cfg_attr(test, schemars(with = "Option<String>", regex(pattern = "^sha256:[0-9a-f]{64}$")))]
    pub checksum: Option<Sha256Digest>,
    /// 0 is the boot disk; absent means 999.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_order_hint: Option<u32>,
    /// For people: `Hard disk 1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_type: Option<DiskType>,
    /// Fields of others.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Disk {
    /// The consumer's boot order: an absent hint counts as 999.
    pub fn boot_order(&self) -> u32 {
        self.boot_order_hint.unwrap_or(999)
    }
}

/// `disks[].disk_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DiskType {
    /// The guest boots from it.
    Boot,
    /// Anything else.
    Data,
    /// Not known.
    Unknown,
}

/// `nics[]`: one network interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Nic {
    /// `nic-0`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its MAC address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// Name of its network at the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Fields of others.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `warnings[]`: what went less than well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecordedWarning {
    /// The stage it arose in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// For a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// Fields of others; hyperexport keeps its `code` here.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `metadata`: who wrote the manifest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Metadata {
    /// Name and version of the exporter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypersdk_version: Option<String>,
    /// The run that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// The user's own marks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// What the contract has no exact field for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hyperexport: Option<Exact>,
    /// Fields of others.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `metadata.hyperexport`: the exact facts that the contract's fields round off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Exact {
    /// The VM as its source described it: memory in MiB, topology, controllers, NIC models.
    pub source_vm: SourceVm,
    /// Size that the guest sees of every disk, in bytes.
    pub capacities: BTreeMap<DiskId, ByteSize>,
    /// What lies in its CD-ROM drives; the first for the first drive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<ExportedMedium>,
    /// The variables of its EFI firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvram: Option<ExportedNvram>,
    /// The streams that disks were made of while they arrived.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub received: BTreeMap<DiskId, ReceivedStream>,
    /// Hash of what the guest sees of every disk as it was exported (`docs/proof.md`), where it is
    /// known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub content: BTreeMap<DiskId, Sha256Digest>,
    /// In which state of the VM its disks were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ExportState>,
}

/// `pipeline`: the converter's stages. An absent stage is a disabled one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pipeline {
    /// Look at the disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inspect: Option<InspectStage>,
    /// Make the guest boot on KVM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<FixStage>,
    /// Convert the images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convert: Option<ConvertStage>,
    /// Check the converted images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<ValidateStage>,
    /// Fields of others.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `pipeline.inspect`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InspectStage {
    /// Whether it runs.
    #[serde(default)]
    pub enabled: bool,
    /// Look into the guest; never works in hyper2kvm 0.2.1, so hyperexport writes false.
    #[serde(default)]
    pub collect_guest_info: bool,
    /// Fields of others.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `pipeline.fix`. The defaults on reading are the consumer's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FixStage {
    /// Whether it runs.
    #[serde(default)]
    pub enabled: bool,
    /// Keep copies of changed files inside the guest.
    #[serde(default = "yes")]
    pub backup: bool,
    /// Print fstab before and after.
    #[serde(default)]
    pub print_fstab: bool,
    /// Rewrite the boot loader's configuration.
    #[serde(default = "yes")]
    pub update_grub: bool,
    /// Rebuild the initramfs with virtio drivers.
    #[serde(default = "yes")]
    pub regen_initramfs: bool,
    /// `stabilize-all`, `bypath-only` or `noop`.
    #[serde(default = "stabilize_all")]
    pub fstab_mode: String,
    /// Remove VMware tools; deadlocks hyper2kvm 0.2.1, so hyperexport writes false.
    #[serde(default)]
    pub remove_vmware_tools: bool,
    /// Fields of others.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `pipeline.convert`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConvertStage {
    /// Whether it runs.
    #[serde(default)]
    pub enabled: bool,
    /// Compress the images.
    #[serde(default)]
    pub compress: bool,
    /// 1 (fast) to 9 (small).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compress_level: Option<u8>,
    /// Fields of others.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `pipeline.validate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ValidateStage {
    /// Whether it runs.
    #[serde(default)]
    pub enabled: bool,
    /// Check the images' structure.
    #[serde(default = "yes")]
    pub check_image_integrity: bool,
    /// Fields of others.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `output`: where the converter writes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OutputTarget {
    /// The folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Format of the converted disks: `qcow2`, `raw` or `vdi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DiskFormat>,
    /// Fields of others.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

fn yes() -> bool {
    true
}

fn stabilize_all() -> String {
    "stabilize-all".to_owned()
}

/// `sha256:` and 64 lower-case hexadecimal digits.
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
