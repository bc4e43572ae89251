//! Builds the manifest of an export.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::model::{
    DiskFormat, DiskId, ExportedDisk, ExportedVm, Firmware, ReceivedStream, Sha256Digest,
    SourceDisk, SourceVm,
};

use super::types::{
    ConvertStage, Disk, DiskType, Exact, FixStage, InspectStage, Manifest, ManifestFirmware,
    ManifestSource, Metadata, Nic, OutputTarget, Pipeline, RecordedWarning, ValidateStage, Vm,
};

/// Value of `metadata.hypersdk_version`: name and version of this program.
pub const GENERATOR: &str = concat!("hyperexport ", env!("CARGO_PKG_VERSION"));

/// What the user asked of the converter; the manifest's `pipeline` mirrors it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipelineFlags {
    /// `--pipeline-inspect`.
    pub inspect: bool,
    /// `--pipeline-fix`.
    pub fix: bool,
    /// `--pipeline-convert`.
    pub convert: bool,
    /// `--pipeline-validate`.
    pub validate: bool,
    /// `--compress-level`, 1 to 9; none without `--pipeline-compress`.
    pub compress_level: Option<u8>,
}

/// Values of a manifest that are not facts of the export.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Stages that the converter runs.
    pub pipeline: PipelineFlags,
    /// Absolute path of the folder that the converter writes to.
    pub output_dir: PathBuf,
    /// Name of this run, for `metadata.job_id`.
    pub job_id: String,
    /// Time at which the manifest is built, for `metadata.created_at`.
    pub created_at: jiff::Timestamp,
    /// Tags that the user has set, for `metadata.tags`.
    pub tags: BTreeMap<String, String>,
}

/// Builds the manifest of an export. Fields that the contract rounds (memory, controllers, NIC
/// models) are also recorded exactly, in `metadata.hyperexport`.
pub fn build(exported: &ExportedVm, options: &BuildOptions) -> Manifest {
    let vm = &exported.vm;
    Manifest {
        manifest_version: "1.0".to_owned(),
        source: Some(ManifestSource {
            provider: Some(vm.provider.clone()),
            vm_id: Some(vm.id.clone()),
            vm_name: Some(vm.name.clone()),
            datacenter: vm.datacenter.clone(),
            export_timestamp: Some(exported.exported_at.to_string()),
            export_method: Some(exported.method.as_str().to_owned()),
            extra: Map::new(),
        }),
        vm: Some(hardware(vm)),
        disks: exported.disks.iter().map(|disk| describe(disk, vm)).collect(),
        nics: vm.nics.iter().map(interface).collect(),
        warnings: exported.warnings.iter().map(|w| recorded(w, exported.exported_at)).collect(),
        metadata: Some(Metadata {
            hypersdk_version: Some(GENERATOR.to_owned()),
            job_id: Some(options.job_id.clone()),
            created_at: Some(options.created_at.to_string()),
            tags: options.tags.clone(),
            hyperexport: Some(Exact {
                source_vm: vm.clone(),
                capacities: exported.disks.iter().map(|d| (d.id.clone(), d.capacity)).collect(),
                media: exported.media.clone(),
                nvram: exported.nvram.clone(),
                received: exported.disks.iter().filter_map(received).collect(),
                content: exported.disks.iter().filter_map(content).collect(),
                state: None,
            }),
            extra: Map::new(),
        }),
        pipeline: Some(stages(options.pipeline)),
        output: Some(OutputTarget {
            directory: Some(options.output_dir.clone()),
            format: Some(DiskFormat::Qcow2),
            extra: Map::new(),
        }),
        extra: Map::new(),
    }
}

fn received(disk: &ExportedDisk) -> Option<(DiskId, ReceivedStream)> {
    Some((disk.id.clone(), disk.received.clone()?))
}

fn content(disk: &ExportedDisk) -> Option<(DiskId, Sha256Digest)> {
    Some((disk.id.clone(), disk.content?))
}

pub(super) fn hardware(vm: &SourceVm) -> Vm {
    Vm {
        cpu: Some(vm.cpu.vcpus.max(1)),
        mem_gb: Some(vm.memory_mib.div_ceil(1024).max(1)),
        firmware: Some(match vm.firmware {
            Firmware::Bios => ManifestFirmware::Bios,
            Firmware::Efi => ManifestFirmware::Uefi,
        }),
        secureboot: Some(vm.secure_boot),
        os_hint: Some(vm.guest.family),
        os_version: Some(vm.guest.full_name.clone()).filter(|name| !name.is_empty()),
        extra: Map::new(),
    }
}

fn describe(disk: &ExportedDisk, vm: &SourceVm) -> Disk {
    let at_source: Option<&SourceDisk> = vm.disks.iter().find(|d| d.id == disk.id);
    let boot_order = at_source.map(|d| d.boot_order);
    Disk {
        id: disk.id.clone(),
        source_format: disk.format,
        bytes: disk.file_size.0,
        local_path: disk.path.clone(),
        checksum: Some(disk.sha256),
        boot_order_hint: boot_order,
        label: at_source.map(|d| d.label.clone()).filter(|label| !label.is_empty()),
        disk_type: Some(match boot_order {
            Some(0) => DiskType::Boot,
            Some(_) => DiskType::Data,
            None => DiskType::Unknown,
        }),
        extra: Map::new(),
    }
}

fn interface(nic: &crate::model::SourceNic) -> Nic {
    Nic {
        id: Some(nic.id.clone()),
        mac: nic.mac,
        network: Some(nic.network.clone()).filter(|network| !network.is_empty()),
        extra: Map::new(),
    }
}

fn recorded(warning: &crate::model::Warning, at: jiff::Timestamp) -> RecordedWarning {
    let mut extra = Map::new();
    extra.insert("code".to_owned(), Value::from(warning.code.as_str()));
    RecordedWarning {
        stage: Some(warning.stage.as_str().to_owned()),
        message: Some(warning.message.clone()),
        timestamp: Some(at.to_string()),
        extra,
    }
}

/// The `pipeline` of a manifest. Stages that are off are written with `enabled: false`.
pub fn stages(flags: PipelineFlags) -> Pipeline {
    Pipeline {
        inspect: Some(InspectStage {
            enabled: flags.inspect,
            collect_guest_info: false,
            extra: Map::new(),
        }),
        fix: Some(FixStage {
            enabled: flags.fix,
            backup: true,
            print_fstab: false,
            update_grub: true,
            regen_initramfs: true,
            fstab_mode: "stabilize-all".to_owned(),
            remove_vmware_tools: false,
            extra: Map::new(),
        }),
        convert: Some(ConvertStage {
            enabled: flags.convert,
            compress: flags.compress_level.is_some(),
            compress_level: flags.compress_level,
            extra: Map::new(),
        }),
        validate: Some(ValidateStage {
            enabled: flags.validate,
            check_image_integrity: true,
            extra: Map::new(),
        }),
        extra: Map::new(),
    }
}
