//! The manifest for hyper2kvm: the user's, with private work images in place of the exported ones,
//! and only those settings that hyper2kvm 0.2.1 carries out safely.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::manifest::{
    ConvertStage, Disk, FixStage, InspectStage, Manifest, OutputTarget, Pipeline, ValidateStage,
};
use crate::model::{DiskFormat, Stage, Warning, WarningCode};

use super::super::Stages;
use super::super::tools::work::WorkDir;

/// Keys of the manifest that make hyper2kvm run commands, use other settings or define a domain
/// itself.
const REFUSED: [&str; 4] = ["hooks", "profile", "profile_overrides", "libvirt_integration"];

/// The job for a manifest, with the work images of `work`, whose sizes are `bytes`, in the order of
/// the manifest's disks.
pub(in crate::convert) fn job(
    manifest: &Manifest,
    work: &WorkDir,
    bytes: &[u64],
    stages: Stages,
) -> Manifest {
    let disks = manifest.disks.iter().zip(bytes);
    let mut extra = Map::new();
    if let Some(configuration) = manifest.extra.get("configuration") {
        extra.insert("configuration".to_owned(), configuration.clone());
    }
    let report = work.report().to_string_lossy().into_owned();
    extra.insert(
        "options".to_owned(),
        json!({"dry_run": false, "verbose": 1, "report": {"enabled": true, "path": report}}),
    );
    Manifest {
        manifest_version: "1.0".to_owned(),
        source: manifest.source.clone(),
        vm: manifest.vm.clone(),
        disks: disks.map(|(disk, bytes)| work_disk(disk, &work.image(&disk.id), *bytes)).collect(),
        nics: Vec::new(),
        warnings: Vec::new(),
        metadata: None,
        pipeline: Some(pipeline(manifest, stages)),
        output: Some(OutputTarget {
            directory: Some(work.out()),
            format: Some(DiskFormat::Qcow2),
            extra: Map::new(),
        }),
        extra,
    }
}

/// Warnings for settings that the job leaves out.
pub(in crate::convert) fn left_out(manifest: &Manifest) -> Vec<Warning> {
    let present = REFUSED.iter().filter(|key| manifest.extra.get(**key).is_some_and(is_meant));
    present
        .map(|key| {
            Warning::new(
                Stage::Pipeline,
                WarningCode::ManifestExtensionIgnored,
                format!("the manifest's {key} is not passed on to hyper2kvm"),
            )
        })
        .collect()
}

fn is_meant(value: &Value) -> bool {
    value.get("enabled") != Some(&Value::Bool(false))
}

/// The manifest's entry of a work image; `bytes` is the file's size. There is no checksum: no other
/// user can reach the image, and hyper2kvm would read all of it once more.
fn work_disk(disk: &Disk, image: &Path, bytes: u64) -> Disk {
    Disk {
        source_format: DiskFormat::Qcow2,
        bytes,
        local_path: image.to_owned(),
        checksum: None,
        extra: Map::new(),
        ..disk.clone()
    }
}

fn pipeline(manifest: &Manifest, stages: Stages) -> Pipeline {
    // The manifest's detailed settings for FIX are kept, whichever program wrote them.
    let wished = manifest.pipeline.as_ref().and_then(|p| p.fix.clone());
    let fix = FixStage {
        enabled: stages.fix,
        // 0.2.1 deadlocks there.
        remove_vmware_tools: false,
        extra: Map::new(),
        ..wished.unwrap_or(FixStage {
            enabled: false,
            backup: true,
            print_fstab: false,
            update_grub: true,
            regen_initramfs: true,
            fstab_mode: "stabilize-all".to_owned(),
            remove_vmware_tools: false,
            extra: Map::new(),
        })
    };
    Pipeline {
        inspect: Some(InspectStage {
            enabled: stages.inspect,
            // 0.2.1 fails there with an import error and reports nothing.
            collect_guest_info: false,
            extra: Map::new(),
        }),
        fix: Some(fix),
        // 0.2.1 cannot pass a level on, and falls back after three errors: hyperexport compresses.
        convert: Some(ConvertStage {
            enabled: stages.convert,
            compress: false,
            compress_level: None,
            extra: Map::new(),
        }),
        validate: Some(ValidateStage {
            enabled: stages.validate,
            check_image_integrity: true,
            extra: Map::new(),
        }),
        extra: Map::new(),
    }
}
