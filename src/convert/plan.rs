//! The plan of a conversion that a dry run prints.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::image::Compression;
use crate::manifest::Manifest;
use crate::model::DiskFormat;

use super::engine::{Engine, ReadyConversion};
use super::native::v2v;
use super::tools::qemu_img::option;
use super::{Settings, seed};

/// What a conversion would do, for a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversionPlan {
    /// Steps of the conversion, one per line.
    pub steps: Vec<String>,
    /// Paths of the results.
    pub results: Vec<PathBuf>,
}

impl fmt::Display for ConversionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

/// The plan of a conversion.
pub(super) fn plan(
    manifest: &Manifest,
    ready: &ReadyConversion,
    settings: &Settings,
) -> ConversionPlan {
    let mut steps = match &ready.engine {
        Engine::Hyper2kvm(program) => by_hyper2kvm(manifest, ready, settings, program),
        _ => by_ourselves(manifest, ready, settings),
    };
    steps.extend(settings.foreseen(&manifest.source_vm()));
    if let (Some(_), Some(folder)) =
        (&settings.cloud_init, ready.results.first().and_then(|p| p.parent()))
    {
        let path = seed::seed_path(manifest.vm_name(), folder);
        steps.push(format!("write {}", path.display()));
    }
    ConversionPlan { steps, results: ready.results.clone() }
}

fn by_ourselves(manifest: &Manifest, ready: &ReadyConversion, settings: &Settings) -> Vec<String> {
    let packed = settings.compression.map_or("as they are", Compression::kind);
    let mut steps = Vec::new();
    for (disk, to) in manifest.disks_in_boot_order().iter().zip(&ready.results) {
        let (path, to) = (disk.local_path.display(), to.display());
        steps.push(format!("convert {path} to {to}, its clusters {packed}"));
    }
    if settings.stages.fix {
        let by = if ready.engine == Engine::VirtV2v { v2v::PROGRAM } else { "libguestfs" };
        steps.push(format!("fix the guest on an overlay, by {by}"));
    }
    if settings.stages.validate {
        steps.push("check the images".to_owned());
    }
    steps
}

fn by_hyper2kvm(
    manifest: &Manifest,
    ready: &ReadyConversion,
    settings: &Settings,
    program: &Path,
) -> Vec<String> {
    let mut steps = Vec::new();
    for disk in manifest.disks_in_boot_order() {
        let (format, id) = (disk.source_format.qemu_driver(), &disk.id);
        let path = disk.local_path.display();
        steps.push(format!("qemu-img convert -f {format} -O qcow2 {path} WORK/images/{id}.qcow2"));
    }
    let (program, stages) = (program.display(), settings.stages.names());
    steps.push(format!("{program} -v --manifest WORK/job.json ({stages})"));
    for path in &ready.results {
        let path = path.display();
        steps.push(match settings.compression {
            Some(compression) => {
                let (driver, option) = (DiskFormat::Qcow2.qemu_driver(), option(compression));
                format!("qemu-img convert -f {driver} -O {driver} -c -o {option} to {path}")
            }
            None => format!("move to {path}"),
        });
    }
    steps
}
