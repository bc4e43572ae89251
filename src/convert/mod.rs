//! Converts the disks of a manifest to disks that boot on KVM, with the `native` converter or with
//! a confined hyper2kvm:
//!
//! ```text
//! disk-0.vmdk ──rewrite──▶ work/images/disk-0.qcow2 ◀─fix in place─ hyper2kvm ◀── work/job.json
//!  (never written)                                                      │
//! <vm>.qcow2 ◀── rename ── checks ◀── qemu-img -c ◀── work/out/disk-0.qcow2
//! ```
//!
//! hyper2kvm 0.2.1 works in place, opens devices named in the guest's fstab on the *host* by
//! default, and reports success when nothing was written. So hyper2kvm gets private copies to work
//! on (`work`), a manifest of our own (`job`), an environment and a `/dev` without the host's disks
//! (`environment`, `isolate`), and afterwards its exit code, report, log, images and the guest's
//! bytes must all agree (`report`, `log`, `outcome`). The work folder is always removed; only
//! `hyper2kvm.log` stays.

mod compare;
mod conversion;
mod converter_checks;
mod engine;
mod error;
mod error_hints;
mod foreseen;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hyper2kvm;
mod image_check;
mod native;
mod needs;
mod output_files;
mod plan;
mod preflight;
mod proof;
mod results;
mod run;
mod seed;
mod settings;
mod tools;
mod virtio_win;

pub use compare::{ImageDifference, changed, compare, open_image, result_of};
pub use conversion::Conversion;
pub use converter_checks::examine;
pub use engine::{Engine, ReadyConversion};
pub use error::Error;
pub use hyper2kvm::find::{FoundHyper2kvm, find};
pub use native::ReportedVolume;
#[cfg(test)]
pub(crate) use native::schema as report_schema;
pub use needs::Needs;
pub use output_files::{LOGS, REPORT};
pub use plan::ConversionPlan;
pub use preflight::{is_ours, preflight, usable};
pub use results::{existing, fault, placed, result_paths};
pub use seed::{seed_disk, seed_path};
pub use settings::{Agent, Converter, Customize, DiskKey, GuestfsSettings, Settings, Stages};
pub use tools::keep_log::is_log;
pub use tools::private::make_private_folder;
pub use tools::work::remove_dead_work;
pub use virtio_win::{
    DriversOf, Foretold, WindowsDrivers, WindowsSources, check_sources, drivers_for,
};

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::manifest::{Disk, Manifest, Overwrite, check, check_files, write};
use crate::model::{ByteSize, DiskFormat, OsFamily, Stage, Warning, WarningCode, chain};
use crate::progress::Progress;

use self::hyper2kvm::accept::Acceptance;
use self::hyper2kvm::{Hyper2kvm, Hyper2kvmOutcome};
use self::image_check::look;
use self::proof::{ConvertedImage, Proofs};
use self::run::ConversionRun;
use self::tools::qemu_img::{Image, NewQcow2, Tools};
use self::tools::work::WorkDir;

/// Converts the disks of a manifest into `output_dir`, which is created if it is missing.
///
/// A dry run writes nothing and does not run hyper2kvm.
///
/// # Errors
/// [`Error`]; then there are no results, and only the log stays.
pub async fn convert(
    manifest: &Manifest,
    output_dir: &Path,
    settings: &Settings,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Conversion, Error> {
    let tools = Tools::new(settings.path.clone(), settings.timeout, cancel.clone());
    check(manifest).map_err(|violations| crate::manifest::Error::Invalid { violations })?;
    let mut warnings = check_files(manifest)?;
    warnings.extend(hyper2kvm::job::left_out(manifest));
    let doing = format!("making {}", output_dir.display());
    let output = std::path::absolute(output_dir).map_err(Error::io(&doing))?;
    let ready = preflight::prepare(&manifest.into(), &output, settings, &tools).await?;
    if settings.dry_run {
        return Ok(dry_run(manifest, ready, settings, warnings, progress));
    }
    make_private_folder(&output).map_err(Error::io(&doing))?;
    // Links are resolved, because the work folder is compared with the kernel's list of mounts.
    let output = fs::canonicalize(&output).map_err(Error::io(&doing))?;
    warnings.extend(ready.warnings.clone());
    if matches!(ready.engine, Engine::Hyper2kvm(_)) {
        warnings.extend(settings.warnings());
    }
    progress.note(format!("converting with {}", ready.converter));
    let (settings, without_kvm) = match settings.stages.inspect || settings.stages.fix {
        true => tools::appliance::decided(settings, cancel).await,
        false => (Cow::Borrowed(settings), None),
    };
    if let Some(warning) = &without_kvm {
        progress.note(&warning.message);
    }
    warnings.extend(without_kvm);
    let settings = &*settings;
    let work = make_work(output.clone()).await?;
    let run =
        ConversionRun { manifest, settings, progress, tools: &tools, work: &work, output: &output };
    let converted = run.all(&ready).await;
    let removed = remove(work).await;
    let mut conversion = converted?;
    compare::record(&mut conversion, &tools).await;
    warnings.append(&mut conversion.warnings);
    warnings.extend(removed.err().map(|error| {
        Warning::new(
            Stage::Pipeline,
            WarningCode::WorkFolderLeft,
            format!("remove the work folder: {error}"),
        )
    }));
    Ok(Conversion { warnings, ..conversion })
}

fn dry_run(
    manifest: &Manifest,
    ready: ReadyConversion,
    settings: &Settings,
    mut warnings: Vec<Warning>,
    progress: &Progress,
) -> Conversion {
    let plan = plan::plan(manifest, &ready, settings);
    plan.steps.iter().for_each(|step| progress.note(format!("would do: {step}")));
    warnings.extend(ready.warnings);
    warnings.extend(settings.warnings());
    Conversion {
        disks: None,
        plan: Some(plan),
        warnings,
        converter: ready.converter,
        guest: None,
        changes: Vec::new(),
        proof: None,
        report: Value::Null,
        fix_failure: None,
        durations: Vec::new(),
    }
}

/// Makes the work folder. Blocking: stale folders that are removed may be large.
async fn make_work(output: PathBuf) -> Result<WorkDir, Error> {
    let doing = format!("making a work folder in {}", output.display());
    let made = tokio::task::spawn_blocking(move || WorkDir::new(&output)).await;
    made.map_err(|join| Error::io(doing)(join.into()))?
}

/// Removes the work folder, whose images may be large.
async fn remove(work: WorkDir) -> std::io::Result<()> {
    tokio::task::spawn_blocking(move || work.remove()).await?
}

impl ConversionRun<'_> {
    /// Makes the seed first, which is cheap and may be rejected, then converts the disks.
    async fn all(&self, ready: &ReadyConversion) -> Result<Conversion, Error> {
        let seed = match &self.settings.cloud_init {
            Some(path) => Some(seed::make(self, path).await?),
            None => None,
        };
        let mut conversion = match &ready.engine {
            Engine::Hyper2kvm(program) => match self.convert(ready, program).await {
                Err(error)
                    if self.settings.chosen() == Converter::Auto && error.is_of_hyper2kvm() =>
                {
                    self.instead(ready, &error).await?
                }
                converted => converted?,
            },
            Engine::Native | Engine::VirtV2v => Box::pin(native::convert(self, ready)).await?,
        };
        if let (Some(image), Some(disks)) = (seed, &mut conversion.disks) {
            // The seed is beside the results, in the folder as the user named it.
            let folder = ready.results.first().and_then(|path| path.parent());
            let folder = folder.unwrap_or(self.output);
            seed::publish(&image, &seed_path(self.manifest.vm_name(), folder), disks)?;
        }
        Ok(conversion)
    }

    /// Converts without hyper2kvm, where hyper2kvm was chosen automatically and failed.
    async fn instead(&self, ready: &ReadyConversion, error: &Error) -> Result<Conversion, Error> {
        let text = format!("{}; converting natively instead", chain(error));
        self.progress.note(&text);
        self.work.clear().map_err(Error::io("clearing the work folder"))?;
        let native = preflight::native();
        let ready = ReadyConversion { results: ready.results.clone(), ..native };
        let mut conversion = Box::pin(native::convert(self, &ready)).await?;
        conversion
            .warnings
            .insert(0, Warning::new(Stage::Pipeline, WarningCode::ConverterFailed, text));
        Ok(conversion)
    }

    async fn convert(&self, ready: &ReadyConversion, program: &Path) -> Result<Conversion, Error> {
        let mut durations = Vec::new();
        let begin = Instant::now();
        let capacities = self.prepare().await?;
        // hyper2kvm changes the work images in place.
        let proofs = self.proofs(&capacities);
        proofs.settled().await?;
        durations.push(("prepare".to_owned(), begin.elapsed()));

        let outcome = Hyper2kvm {
            program,
            settings: self.settings,
            tools: self.tools,
            work: self.work,
            output: self.output,
            progress: self.progress,
            initramfs: self.initramfs(),
        }
        .run()
        .await?;
        durations.extend(outcome.durations());

        let begin = Instant::now();
        let made = Acceptance { run: self, outcome: &outcome, capacities: &capacities };
        let finished = Box::pin(made.finish(&ready.results, proofs)).await?;
        durations.push(("finish".to_owned(), begin.elapsed()));
        let mut warnings = outcome.warnings;
        warnings.extend(finished.warnings);
        let mut told = hyper2kvm::report::told_of_results(
            outcome.json,
            &ready.converter,
            finished.disks.as_ref(),
        );
        told["proof"] = json!(finished.proof);
        Ok(Conversion {
            plan: None,
            warnings,
            converter: ready.converter.clone(),
            guest: finished.guest,
            changes: finished.changes,
            proof: finished.proof,
            report: told,
            fix_failure: finished.failure,
            durations,
            disks: finished.disks,
        })
    }

    fn proofs(&self, capacities: &[ByteSize]) -> Proofs {
        let disks = self.manifest.disks.iter().zip(capacities);
        let images: Vec<_> = disks
            .map(|(disk, capacity)| (&disk.id, self.work.image(&disk.id), *capacity))
            .collect();
        let images = images.iter().map(|(id, image, capacity)| ConvertedImage {
            id,
            image,
            capacity: *capacity,
        });
        Proofs::begin(self, images)
    }

    fn is_windows(&self) -> bool {
        self.manifest.vm.as_ref().and_then(|vm| vm.os_hint) == Some(OsFamily::Windows)
    }

    /// Whether the guest is ready for virtio after a successful FIX: a Linux guest needs an
    /// initramfs with the drivers.
    fn fixed(&self, outcome: &Hyper2kvmOutcome) -> bool {
        self.settings.stages.fix && (self.is_windows() || self.initramfs() && outcome.initramfs)
    }

    /// Whether FIX is to rebuild an initramfs: Windows has none.
    fn initramfs(&self) -> bool {
        let fix = self.manifest.pipeline.as_ref().and_then(|pipeline| pipeline.fix.as_ref());
        self.settings.stages.fix && !self.is_windows() && fix.is_none_or(|fix| fix.regen_initramfs)
    }

    /// Makes the work images and the job; returns the sizes that the guest sees, in the order of
    /// the manifest's disks.
    async fn prepare(&self) -> Result<Vec<ByteSize>, Error> {
        let (mut capacities, mut bytes) = (Vec::new(), Vec::new());
        for disk in &self.manifest.disks {
            let capacity = self.capacity(disk).await?;
            capacities.push(capacity);
            let image = self.work.image(&disk.id);
            let source = Image { path: &disk.local_path, format: disk.source_format };
            let task = format!("prepare {}", disk.id);
            let to = NewQcow2 { path: image.clone(), compression: None, capacity, task };
            self.tools.work_image(source, &to, self.progress).await?;
            let read = Error::io(format!("inspecting {}", image.display()));
            bytes.push(fs::metadata(&image).map_err(read)?.len());
        }
        let job = hyper2kvm::job::job(self.manifest, self.work, &bytes, self.settings.stages);
        write(&job, &self.work.job(), Overwrite::No)?;
        Ok(capacities)
    }

    /// The capacity of an exported image, which must match the manifest.
    /// [`crate::image::inspect()`] checks the image before qemu-img opens it.
    async fn capacity(&self, disk: &Disk) -> Result<ByteSize, Error> {
        let format = disk.source_format;
        let judged = look(&disk.local_path, format, &self.tools.cancel).await?;
        let joined = judged.map_err(|why| Error::Untrusted { disk: disk.id.clone(), why })?;
        let found = match joined {
            Some(capacity) => capacity,
            None => ByteSize(self.tools.info(&disk.local_path, format).await?.virtual_size),
        };
        match self.manifest.capacity(disk) {
            // qemu-img rounds a raw file up to full sectors.
            Some(expected) if format != DiskFormat::Raw && expected != found => {
                Err(Error::Untrusted {
                    disk: disk.id.clone(),
                    why: format!("it is {} bytes for the guest, not {}", found.0, expected.0),
                })
            }
            _ => Ok(found),
        }
    }
}
