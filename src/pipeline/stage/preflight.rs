//! All checks that take only seconds, before anything changes anywhere.
//!
//! An unreachable vCenter, a VM that cannot be exported, a locked output directory, a libvirt host
//! that rejects the VM: all of these stop the run here. A missing converter and an unreachable
//! libvirt host do not: the export is useful without them, so they become warnings. If a flag such
//! as `--power-off` needs the domain, an unreachable host stops the run, too.
//! too.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::super::DOMAIN_XML;
use super::super::job::{ImportSettings, Job, absolute};
use super::super::output::output_lock::{self, OutputDir};
use super::super::output::{fit, previous_run, records, report, staged_files, stored};
use super::ready::{ReadyRun, RunDetails, seed, with_hint};
use super::stage_error::{At, StageError};
use super::{addresses, guest, privileges, source_after, start, stream, target_check, windows};
use crate::convert::{self, Agent};
use crate::exporter::source::{Error as SourceError, Source};
use crate::exporter::{self, Inspected, PackageFormat};
use crate::model::{
    ByteSize, DiskFormat, ExportFile, ExportedDisk, Hint, OsFamily, PowerState, SourceDisk,
    SourceVm, Stage, Warning, WarningCode,
};
use crate::pipeline::output::BOTH_WAYS;
use crate::pipeline::output::reuse::{
    Fit, PreviousConversion, PreviousRun, ReusableExport, ReuseRequest,
};
use crate::{manifest, panics};

/// Connects to the source and logs in.
///
/// # Errors
/// [`StageError`] when the source cannot be reached or rejects the login.
pub async fn connect(job: &Job, cancel: &CancellationToken) -> Result<Source, StageError> {
    tokio::select! {
        source = job.source.open() => source.at(Stage::Preflight),
        () = cancel.cancelled() => Err(interrupted()),
    }
}

/// Checks everything that can be checked without changing anything. Facts and warnings of a run
/// that is then rejected are collected in `told`.
///
/// # Errors
/// [`StageError`] with the first failed check.
pub async fn check(
    source: &Source,
    job: &Job,
    told: &RunDetails,
    cancel: &CancellationToken,
) -> Result<ReadyRun, StageError> {
    let inspected = cancel.run_until_cancelled(source.inspect(&job.vm)).await;
    let mut inspected = inspected.ok_or_else(interrupted)?.at(Stage::Preflight)?;
    told.found.get_or_init(|| (inspected.vm.name.clone(), inspected.vm.id.clone()));
    contradictions(job, &inspected.vm)?;
    for_linux(job, &inspected.vm)?;
    windows::check(job).await?;
    panics::point("preflight");
    let output = absolute(&job.output_for(&inspected.vm.name)).map_err(|error| {
        StageError::because(Stage::Preflight, format!("--output: {error}"), "use another --output")
    })?;
    let shared = settled(job, &output)?;
    let mut warnings = completed(job, &mut inspected, &output);
    warnings.extend(shared);
    let vm = &inspected.vm;
    let makes = files(job, vm, &inspected.makes);
    let (now, exports) = (inspected.state(), inspected.makes.clone());
    let records = records::all(&output)?;
    let ask = ReuseRequest {
        job,
        vm,
        now: &now,
        output: &output,
        makes: &makes,
        exports: &exports,
        domain: target_check::domain(job, vm, &records).await,
        records: &records,
    };
    let earlier = previous_run::look(&ask)?;
    match &earlier {
        PreviousRun::Export(kept) => {
            if kept.package.is_none() {
                kept_packable(job, kept, &output)?;
            }
            warnings.extend(kept.warnings.iter().cloned());
        }
        PreviousRun::Nothing | PreviousRun::Replaced(_) => {
            exportable(source, job, &inspected)?;
            stream::check(job, &inspected.streaming)?;
            packable(job, vm, &exports)?;
            let folder = export_folder(&earlier, &output);
            warnings.extend(space(&folder, vm, &exports, inspected.least)?);
        }
    }
    warnings.extend(allowed(source, job, vm, &earlier).await?);
    if let Some(settings) = job.conversion.as_ref().filter(|_| !is_converted(&earlier)) {
        warnings.extend(converter(vm, settings, cancel).await);
    }
    let mut ready = ReadyRun {
        vm: vm.clone(),
        state: now,
        output,
        exports,
        streaming: inspected.streaming,
        media: inspected.media,
        makes,
        snapshots: inspected.snapshots,
        earlier,
        domain: None,
        preview: None,
        going: Vec::new(),
        records,
        first: Vec::new(),
        tools: inspected.tools,
        warnings,
    };
    if let Some(target) = &job.target {
        converted_guest(target, &ready.earlier)?;
        target_check::check(job, target, &mut ready, told, cancel).await?;
        current(job, &ready)?;
    }
    if cancel.is_cancelled() { Err(interrupted()) } else { Ok(ready) }
}

/// Checks the guest of a conversion that is reused: its facts are known already.
fn converted_guest(target: &ImportSettings, earlier: &PreviousRun) -> Result<(), StageError> {
    let PreviousRun::Export(kept) = earlier else { return Ok(()) };
    if !is_converted(earlier) {
        return Ok(());
    }
    let facts = kept.result.as_ref().and_then(|result| result.guest.as_ref());
    guest::check(&guest::planned(&kept.described(), facts), target, Stage::Preflight)
}

/// Folder of the disks of a new export: a staging folder if it will replace an old export.
fn export_folder(earlier: &PreviousRun, output: &Path) -> PathBuf {
    match earlier {
        PreviousRun::Replaced(_) => output.join(staged_files::FRESH),
        _ => output.to_owned(),
    }
}

/// Completes the inspected VM for the stages, and returns the warnings about that. Cards get
/// missing or new addresses: those of the export in `output`, if there is one.
fn completed(job: &Job, inspected: &mut Inspected, output: &Path) -> Vec<Warning> {
    source_after::as_it_was(inspected, output);
    let vm = &mut inspected.vm;
    let domain = job.target.as_ref().map(|target| target.domain_name(&vm.name));
    let new_mac = job.new_mac.then(|| domain.unwrap_or_default());
    let exported = stored::exported_vm(job, vm, output);
    let mut warnings = addresses::give_as(vm, output, new_mac.as_deref(), exported.as_ref());
    warnings.extend(not_kept(vm));
    warnings
}

/// Checks the privileges of the login, and whether the source supports `--source-after`.
async fn allowed(
    source: &Source,
    job: &Job,
    vm: &SourceVm,
    earlier: &PreviousRun,
) -> Result<Option<Warning>, StageError> {
    let anew = !matches!(earlier, PreviousRun::Export(_));
    let warning = privileges::check(source, job, vm, anew).await?;
    source_after::check(source, job, vm).await?;
    Ok(warning)
}

/// Warnings about hardware of the VM that domains do not get.
fn not_kept(vm: &SourceVm) -> Vec<Warning> {
    let told = vm.board.not_kept.iter();
    told.map(|lost| Warning::new(Stage::Preflight, lost.code.clone(), lost.text.clone())).collect()
}

/// Whether the requested conversion exists already.
pub fn is_converted(earlier: &PreviousRun) -> bool {
    matches!(earlier, PreviousRun::Export(kept) if matches!(kept.converted, PreviousConversion::Kept(_)))
}

/// Rejects flags that contradict the power state of this VM.
fn contradictions(job: &Job, vm: &SourceVm) -> Result<(), StageError> {
    let Some(target) = &job.target else { return Ok(()) };
    let Some(flag) = target.starts_by().filter(|_| vm.power == PowerState::On) else {
        return Ok(());
    };
    if job.snapshot.is_some() {
        let when = if target.start.is_some() { "" } else { " when the host starts" };
        let text = format!(
            "--snapshot copies {} while it keeps running, and {flag} would start the copy beside \
             it{when}",
            vm.name
        );
        let hint = "use --power-off instead of --snapshot to move the VM, or \
            --allow-running-source to start a copy beside it";
        let stopped = StageError::because(Stage::Preflight, text, hint);
        return Err(stopped.coded("snapshot-and-start"));
    }
    if job.power_off.is_some() { Ok(()) } else { start::check(target, vm.power) }
}

/// Rejects flags without effect in a guest that the source reports as Windows.
fn for_linux(job: &Job, vm: &SourceVm) -> Result<(), StageError> {
    let agent = job.conversion.as_ref().map(|settings| &settings.agent);
    if vm.guest.family != OsFamily::Windows || agent.is_none_or(|agent| *agent == Agent::default())
    {
        return Ok(());
    }
    let name = &vm.name;
    let text = format!("--agent-package and --firstboot-agent are for Linux: {name} is Windows");
    let hint =
        "install qemu-ga of virtio-win in the guest before the export, and leave the flags out";
    Err(StageError::because(Stage::Preflight, text, hint).coded("agent-for-linux"))
}

/// Rejects an output directory that others can write to, or warns of it. Completes a replacement
/// that a killed run left unfinished; a dry run only reports it.
fn settled(job: &Job, output: &Path) -> Result<Option<Warning>, StageError> {
    let shared = output_lock::check_folder(output).at(Stage::Preflight)?;
    if job.dry_run && staged_files::is_unsettled(output) {
        let text = format!(
            "a killed run has left {} while a new export replaced the old one",
            output.display()
        );
        let hint = "leave --dry-run out: the next run finishes that first";
        return Err(StageError::because(Stage::Preflight, text, hint).coded("unsettled"));
    }
    OutputDir::settle(output).at(Stage::Preflight)?;
    Ok(shared)
}

/// Checks whether the VM can be exported in the requested way.
fn exportable(source: &Source, job: &Job, inspected: &Inspected) -> Result<(), StageError> {
    let running = job.power_off.is_some() || job.snapshot.is_some();
    source.exportable(inspected, running).at(Stage::Preflight)?;
    if inspected.vm.power != PowerState::On || inspected.tools != Some(false) {
        return Ok(());
    }
    let vm = inspected.vm.name.clone();
    if job.power_off.is_some_and(|how| !how.force) {
        return Err(refused(exporter::Error::NoTools { vm }));
    }
    if job.snapshot == Some(exporter::Quiesce::Yes) {
        return Err(refused(exporter::Error::CannotRest { vm }));
    }
    Ok(())
}

/// Refuses to start, or to prove, a domain whose disks are not those of the current VM. Steps that
/// are already done do not count.
fn current(job: &Job, ready: &ReadyRun) -> Result<(), StageError> {
    let (Some(target), PreviousRun::Export(kept)) = (&job.target, &ready.earlier) else {
        return Ok(());
    };
    let running = ready.domain.as_ref().is_some_and(|domain| domain.active);
    // Beside a running source, a copy is wanted.
    let beside = ready.vm.power == PowerState::On;
    let is_copy = target.allow_running_source && beside;
    let starts = target.start.is_some() && !is_copy && !running;
    let proves = target.after.boot_proof.is_some() && ready.domain.is_none();
    let name = &ready.vm.name;
    let text = match &kept.fit {
        Fit::Snapshot => fit::of_snapshot(&kept.taken, name, &ready.state),
        Fit::Unknown => format!(
            "it is unknown whether {name} ran or was changed since its export of {}",
            fit::time(kept.taken.exported_at)
        ),
        Fit::Current | Fit::Changed(_) => return Ok(()),
    };
    if !starts && !proves {
        return Ok(());
    }
    let flag = if starts { "--libvirt-start" } else { "--boot-proof" };
    let running = ready.vm.power == PowerState::On;
    let how = if running { "--fresh --power-off" } else { "--fresh" };
    let hint = format!("pass {how} to replace the old export; or use another --output");
    let text = format!("{flag} needs the disks of {name} as they are now: {text}");
    Err(StageError::because(Stage::Preflight, text, hint).coded("stale-export"))
}

fn refused(error: exporter::Error) -> StageError {
    StageError::of(Stage::Preflight, &SourceError::from(error))
}

fn interrupted() -> StageError {
    StageError::because(Stage::Preflight, "interrupted", "run the same command again")
}

/// Checks whether the export can become the requested package, which needs VMDKs.
fn packable(job: &Job, vm: &SourceVm, exports: &[ExportFile]) -> Result<(), StageError> {
    let is_vmdk =
        |disk: &SourceDisk| exports.contains(&ExportFile::of_disk(&disk.id, DiskFormat::Vmdk));
    match vm.disks.iter().find(|disk| !is_vmdk(disk)) {
        Some(disk) if job.format != PackageFormat::Disks => Err(StageError::because(
            Stage::Preflight,
            format!(
                "{} of {} cannot be part of a package: it is not a VMDK that the export makes",
                disk.id, vm.name
            ),
            "leave --format out",
        )),
        _ => Ok(()),
    }
}

/// The same check for the disks of an export that is reused.
fn kept_packable(job: &Job, kept: &ReusableExport, output: &Path) -> Result<(), StageError> {
    let fits = |disk: &ExportedDisk| {
        let is_here = disk.path.parent() == Some(output) && disk.path.is_file();
        disk.format == DiskFormat::Vmdk && is_here
    };
    let other = kept.disks.iter().find(|disk| !fits(disk));
    let Some(disk) = other.filter(|_| job.format != PackageFormat::Disks) else { return Ok(()) };
    let text = format!(
        "{} of the export of {} cannot be part of a package: it is not a VMDK in {}",
        disk.path.display(),
        fit::time(kept.taken.exported_at),
        output.display()
    );
    let hint = format!("leave --format out; or {BOTH_WAYS}");
    Err(StageError::because(Stage::Preflight, text, hint).coded("not-packable"))
}

/// Names of all files that a run writes to its output directory.
fn files(job: &Job, vm: &SourceVm, exports: &[ExportFile]) -> Vec<String> {
    let mut names: Vec<_> = exports.iter().map(|file| file.name.clone()).collect();
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

/// Checks whether the disks fit; an error if they cannot. A thin disk may be far smaller than its
/// capacity, which only the download shows: the worst case is therefore only a warning.
fn space(
    output: &Path,
    vm: &SourceVm,
    exports: &[ExportFile],
    least: ByteSize,
) -> Result<Option<Warning>, StageError> {
    let Some(there) = output.ancestors().find(|path| path.exists()) else { return Ok(None) };
    let Ok(free) = nix::sys::statvfs::statvfs(there) else { return Ok(None) };
    // Files of a killed run are reused or removed.
    let of_dead_run: ByteSize = exports
        .iter()
        .flat_map(|ExportFile { name, .. }| {
            [output.join(name), output.join(format!("{name}.part"))]
        })
        .filter_map(|path| path.metadata().ok())
        .map(|found| ByteSize(found.blocks().saturating_mul(512)))
        .sum();
    let available = free.blocks_available().saturating_mul(free.fragment_size());
    let free = ByteSize(available.saturating_add(of_dead_run.0));
    if free < least {
        let name = &vm.name;
        return Err(StageError::because(
            Stage::Preflight,
            format!("{} has {free} free; the disks of {name} need {least}", there.display()),
            "free some space, or use another --output",
        ));
    }
    let is_made = |disk: &&SourceDisk| exports.iter().any(|file| file.is_of(&disk.id));
    let most: ByteSize = vm.disks.iter().filter(is_made).map(|disk| disk.capacity).sum();
    Ok((free < most).then(|| {
        let text = format!(
            "{} has {free} free; the disks of {} may need up to {most}",
            there.display(),
            vm.name
        );
        Warning::new(Stage::Preflight, WarningCode::SpaceMayRunOut, text)
    }))
}

/// A missing converter leaves a usable export, so it is only a warning.
async fn converter(
    vm: &SourceVm,
    settings: &convert::Settings,
    cancel: &CancellationToken,
) -> Vec<Warning> {
    match convert::usable(&windows::foretold(vm), settings, cancel).await {
        Ok(warnings) => warnings,
        Err(error) => {
            let text = with_hint(&error, error.hint());
            vec![Warning::new(Stage::Preflight, WarningCode::ConverterUnusable, text)]
        }
    }
}
