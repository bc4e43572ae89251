//! Every refusal that costs seconds, before anything changes anywhere.
//!
//! A vCenter that cannot be reached, a VM that cannot be exported, an output directory in use, a
//! libvirt host that says no: all of these stop the run here. A converter or a libvirt host that
//! is missing does not: the export is worth having without them, so they become warnings.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::earlier::{self, Earlier};
use super::job::{Job, Target, absolute};
use super::report;
use super::source::{self, Source};
use super::stages::Stopped;
use super::{DOMAIN_XML, addresses, later, target};
use crate::exporter::{Inspected, PackageFormat};
use crate::model::{ByteSize, DiskFormat, DiskId, SourceDisk, SourceVm, Stage, Warning, chain};
use crate::{convert, manifest};

/// A run that may begin, but for its source.
pub struct Ready {
    /// The VM as it is now.
    pub vm: SourceVm,
    /// What tells that the VM has not changed since.
    pub revision: String,
    /// Absolute path of the output directory.
    pub output: PathBuf,
    /// Names of the files that the export will make there.
    pub exports: Vec<String>,
    /// Names of all files that the run will make there.
    pub makes: Vec<String>,
    /// Names of the snapshots of our kind that the VM has.
    pub snapshots: Vec<String>,
    /// What there is to build on.
    pub earlier: Earlier,
    /// What is less than well.
    pub warnings: Vec<Warning>,
}

/// Logs in.
///
/// # Errors
/// [`Stopped`] when the source cannot be reached or says no.
pub async fn connect(job: &Job, cancel: &CancellationToken) -> Result<Source, Stopped> {
    tokio::select! {
        source = job.source.open() => source.map_err(refused),
        () = cancel.cancelled() => Err(interrupted()),
    }
}

/// Checks all that can be checked without changing anything.
///
/// # Errors
/// [`Stopped`] with the first reason to refuse.
pub async fn check(
    source: &Source,
    job: &Job,
    cancel: &CancellationToken,
) -> Result<Ready, Stopped> {
    let inspected = source.inspect(&job.vm).await.map_err(refused)?;
    let running = job.power_off || job.snapshot.is_some();
    source.exportable(&inspected, running).map_err(refused)?;
    let Inspected { mut vm, revision, makes: exports, least, snapshots, .. } = inspected;
    let output = absolute(&job.output_for(&vm.name)).map_err(|error| {
        Stopped::because(Stage::Preflight, format!("--output: {error}"), "give another --output")
    })?;
    let domain = job.target.as_ref().map(|target| target.domain_name(&vm.name));
    let new_mac = job.new_mac.then(|| domain.unwrap_or_default());
    let mut warnings = addresses::give(&mut vm, &output, new_mac.as_deref());
    packable(job, &vm, &exports)?;
    let makes = files(job, &vm, &exports);
    let earlier = earlier::look(&output, &vm, &makes)?;
    if matches!(earlier, Earlier::Nothing) {
        warnings.extend(space(&output, &vm, &exports, least)?);
    }
    if let Some(settings) = &job.conversion {
        warnings.extend(converter(&vm, settings, cancel).await);
    }
    if let Some(target) = &job.target {
        warnings.extend(host(job, target, &vm, &output).await?);
    }
    if cancel.is_cancelled() {
        Err(interrupted())
    } else {
        Ok(Ready { vm, revision, output, exports, makes, snapshots, earlier, warnings })
    }
}

fn refused(error: source::Error) -> Stopped {
    Stopped::new(Stage::Preflight, &error, error.hint())
}

fn interrupted() -> Stopped {
    Stopped::because(Stage::Preflight, "interrupted", "run it again")
}

/// Whether the export can become the package that is asked for: that takes VMDKs.
fn packable(job: &Job, vm: &SourceVm, exports: &[String]) -> Result<(), Stopped> {
    let is_vmdk = |disk: &SourceDisk| exports.contains(&disk.id.file_name(DiskFormat::Vmdk));
    match vm.disks.iter().find(|disk| !is_vmdk(disk)) {
        Some(disk) if job.format != PackageFormat::Disks => Err(Stopped::because(
            Stage::Preflight,
            format!(
                "{} of {} is no VMDK that the export makes: no package takes it",
                disk.id, vm.name
            ),
            "leave --format out",
        )),
        _ => Ok(()),
    }
}

/// Names of all files that a run makes in its output directory.
fn files(job: &Job, vm: &SourceVm, exports: &[String]) -> Vec<String> {
    let mut names = exports.to_vec();
    names.extend(job.format.makes(&vm.name));
    if job.writes_manifest() {
        names.push(manifest::FILE_NAME.to_owned());
    }
    if job.conversion.is_some() {
        let results = convert::result_paths(&vm.into(), Path::new(""));
        let seed = seed(job, vm, Path::new(""));
        names.extend(results.iter().chain(&seed).map(|path| path.to_string_lossy().into_owned()));
        names.extend(convert::LOGS.map(str::to_owned));
        names.push(convert::REPORT.to_owned());
    }
    if job.target.is_some() {
        names.push(DOMAIN_XML.to_owned());
    }
    names.push(report::FILE_NAME.to_owned());
    names
}

/// Where the seed of cloud-init goes, if there is to be one.
fn seed(job: &Job, vm: &SourceVm, output: &Path) -> Option<PathBuf> {
    job.conversion.as_ref()?.cloud_init.as_ref()?;
    Some(convert::seed_path(&vm.name, output))
}

/// Whether the disks will fit: refused when they cannot. A thin disk may well be far smaller than what
/// its guest sees, and only the transfer tells: so for the worst case this is a warning.
fn space(
    output: &Path,
    vm: &SourceVm,
    exports: &[String],
    least: ByteSize,
) -> Result<Option<Warning>, Stopped> {
    let Some(there) = output.ancestors().find(|path| path.exists()) else { return Ok(None) };
    let Ok(free) = nix::sys::statvfs::statvfs(there) else { return Ok(None) };
    // What a killed run left there is taken over or goes.
    let of_dead_run: u64 = exports
        .iter()
        .flat_map(|name| [output.join(name), output.join(format!("{name}.part"))])
        .filter_map(|path| path.metadata().ok())
        .map(|found| found.blocks() * 512)
        .sum();
    let free = ByteSize(free.blocks_available() * free.fragment_size() + of_dead_run);
    if free < least {
        let name = &vm.name;
        return Err(Stopped::because(
            Stage::Preflight,
            format!("{} has {free} free; the disks of {name} take {least}", there.display()),
            "free some space, or choose another --output",
        ));
    }
    let is_made = |disk: &&SourceDisk| exports.iter().any(|name| is_of(name, &disk.id));
    let most = ByteSize(vm.disks.iter().filter(is_made).map(|disk| disk.capacity.0).sum());
    Ok((free < most).then(|| {
        let text = format!(
            "{} has {free} free; the disks of {} may need up to {most}",
            there.display(),
            vm.name
        );
        Warning::new(Stage::Preflight, "space-may-run-out", text)
    }))
}

/// Whether a file of the export is that of the disk.
pub fn is_of(name: &str, disk: &DiskId) -> bool {
    name.split_once('.').is_some_and(|(stem, _)| stem == disk.as_str())
}

/// A missing converter leaves a good export, so it only warns.
async fn converter(
    vm: &SourceVm,
    settings: &convert::Settings,
    cancel: &CancellationToken,
) -> Option<Warning> {
    match convert::usable(vm.guest.family, settings, cancel).await {
        Ok(warning) => warning,
        Err(error) => {
            let text = with_hint(&error, error.hint());
            Some(Warning::new(Stage::Preflight, "converter-unusable", text))
        }
    }
}

/// A libvirt host that cannot be reached now may be there later; one that answers and says no
/// will say no later, too.
async fn host(
    job: &Job,
    target: &Target,
    vm: &SourceVm,
    output: &Path,
) -> Result<Vec<Warning>, Stopped> {
    let fixes = job.conversion.as_ref().is_some_and(|settings| settings.stages.fix);
    let paths = convert::result_paths(&vm.into(), output);
    let seed = seed(job, vm, output);
    let disks = target::expected_disks(vm, (&paths, seed), fixes);
    let mut warnings =
        if job.dry_run { Vec::new() } else { later::recover(output, target).await? };
    match target::preflight(target, vm, &disks, job.dry_run).await {
        Ok(more) => {
            warnings.extend(more);
            Ok(warnings)
        }
        Err(error) if target::is_unreachable(&error) => {
            let text = with_hint(&error, error.hint());
            Ok(vec![Warning::new(Stage::Preflight, "libvirt-unreachable", text)])
        }
        Err(error) => Err(Stopped::new(Stage::Preflight, &error, error.hint())),
    }
}

fn with_hint(error: &dyn std::error::Error, hint: Option<String>) -> String {
    let text = chain(error);
    hint.map_or_else(|| text.clone(), |hint| format!("{text} ({hint})"))
}
