//! One VM through all its stages.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::build_options::build_options;
use super::job::Job;
use super::output::held::{LockedOutput, take};
use super::output::inherit::{inherit, keep_conversion};
use super::output::made::{RecordedExport, SourceNow};
use super::output::output_lock::OutputDir;
use super::output::report::{self, RunOutcome, RunReport, StageStatus};
use super::output::reuse::{PreviousConversion, PreviousRun, ReusableExport};
use super::output::{converted, fit, replace};
use super::stage::again::{self, Redo};
use super::stage::export::ExportStage;
use super::stage::ready::{ReadyRun, RunDetails};
use super::stage::source_power::{self, RunEnd};
use super::stage::stage_error::{At, StageError};
use super::stage::stage_runner::StageRunner;
use super::stage::{
    conversion, import, package, preflight, snapshots, source_after, start, stream, target_check,
};
use super::{dry_run, from_manifest};
use crate::convert;
use crate::exporter::source::Source;
use crate::manifest::{self, Manifest};
use crate::model::{ConvertedDisks, ExportedVm, Stage, Warning, WarningCode, chain};
use crate::panics::caught;
use crate::progress::Progress;

/// Runs all stages of `job` and returns the report, which contains the errors.
pub async fn run(mut job: Job, progress: &Progress, cancel: &CancellationToken) -> RunReport {
    let report = RunReport::begin(&job.vm, &job.output_for(&job.vm));
    let mut ledger = StageRunner::new(report, progress, cancel);
    ledger.warn_all(job.warnings.iter().cloned());
    if let Err(stopped) = stream::prepare(&mut job) {
        ledger.report.errors.push(stopped.failure);
        return ledger.close(RunOutcome::Refused, None, false);
    }
    let (outcome, claim) = Box::pin(whole(&job, &mut ledger)).await;
    // A failed export leaves no files, so a report would be alone in the directory.
    let is_there = !ledger.report.disks.is_empty() || ledger.report.package.is_some();
    // A killed run has left no result: the next run would not know the owner of these files.
    let unknown = !ledger.report.output.join(report::FILE_NAME).exists();
    let keep = claim.is_some() && is_there && (unknown || has_done(&job, &ledger.report));
    ledger.close(outcome, claim, keep)
}

/// Whether the run has a result to save. A run that reused everything leaves the old result, and so
/// does a run whose conversion is a dry run.
fn has_done(job: &Job, report: &RunReport) -> bool {
    let dry = job.conversion.as_ref().is_some_and(|settings| settings.dry_run);
    report.stages.iter().any(|stage| {
        let did = matches!(stage.status, StageStatus::Done | StageStatus::Failed);
        did && stage.stage != Stage::Preflight && !(dry && stage.stage == Stage::Pipeline)
    })
}

/// Runs all stages; returns the outcome, and the output directory if the run has locked it.
async fn whole(job: &Job, ledger: &mut StageRunner<'_>) -> (RunOutcome, Option<OutputDir>) {
    let told = RunDetails::default();
    let opened = ledger.stage(Stage::Preflight, open(job, &told, ledger.cancel)).await;
    ledger.warn_all(told.warnings());
    if let Some((name, id)) = told.found.into_inner() {
        ledger.report.output = job.output_for(&name);
        (ledger.report.vm, ledger.report.vm_id) = (name, Some(id));
    }
    let Some((source, ready)) = opened else {
        // A log of rejected runs alone would not show that the VM is still powered off.
        if let Ok(Some(owed)) = OutputDir::left_off(&ledger.report.output) {
            ledger.warn(source_power::left_off(&owed));
        }
        return (ledger.ended(RunOutcome::Refused), None);
    };
    ledger.report.output.clone_from(&ready.output);
    ledger.report.source = Some(SourceNow::of(ready.state.clone(), None));
    ledger.warn_all(ready.warnings.iter().cloned());
    if job.dry_run {
        ledger.report.plan = dry_run::whole(job, &ready);
        close(source, ledger).await;
        return (RunOutcome::Done, None);
    }
    let mut held = match take(job, &ready) {
        Ok(held) => held,
        Err(stopped) => {
            ledger.report.errors.push(stopped.failure);
            close(source, ledger).await;
            return (RunOutcome::Refused, None);
        }
    };
    ledger.folder = Some(held.claim.folder().clone());
    let worked = caught(async { Ok(stages(job, source, &ready, &mut held, ledger).await) }).await;
    let outcome = worked.unwrap_or_else(|panic| {
        ledger.report.errors.push(StageError::by_panic(Stage::Preflight, &panic).failure);
        RunOutcome::Failed
    });
    let succeeded = outcome == RunOutcome::Done;
    let followed = source_after::follow(job, &ready, &held, succeeded, ledger).await;
    source_power::settle(job, &ready, &mut held, RunEnd { outcome, followed }, ledger).await;
    let outcome = if followed { outcome } else { ledger.ended(RunOutcome::Partial) };
    discard(&mut held, ledger);
    let done = ledger.report.stages.iter().filter(|stage| stage.stage != Stage::Preflight);
    let mut done = done.peekable();
    let was_there = done.peek().is_some() && done.all(|stage| stage.status == StageStatus::Kept);
    let outcome = match outcome {
        RunOutcome::Done if was_there => RunOutcome::AlreadyDone,
        outcome => outcome,
    };
    ledger.report.already_done = outcome == RunOutcome::AlreadyDone;
    (outcome, Some(held.claim))
}

/// The stages after preflight. Whatever the outcome, a powered-off VM may have to be powered on
/// again.
async fn stages(
    job: &Job,
    source: Source,
    ready: &ReadyRun,
    held: &mut LockedOutput,
    ledger: &mut StageRunner<'_>,
) -> RunOutcome {
    snapshots::warn_of_strangers(ready, &held.claim, ledger);
    match target_check::clear(job, ready, ledger.cancel).await {
        Ok(warnings) => ledger.warn_all(warnings),
        Err(stopped) => {
            ledger.report.errors.push(stopped.failure);
            close(source, ledger).await;
            return ledger.ended(RunOutcome::Failed);
        }
    }
    let fetched = fetch(job, &source, ready, held, ledger).await;
    close(source, ledger).await;
    match fetched {
        None => ledger.ended(RunOutcome::Failed),
        Some(fetched) => finish(job, fetched, ready, held, ledger).await,
    }
}

/// Removes a new export that has not replaced the old one.
fn discard(held: &mut LockedOutput, ledger: &mut StageRunner<'_>) {
    if let Some(beside) = held.beside.take() {
        replace::discard(beside, ledger);
    }
}

/// Logs in and checks; logs out again if a check fails.
async fn open(
    job: &Job,
    told: &RunDetails,
    cancel: &CancellationToken,
) -> Result<(Source, ReadyRun), StageError> {
    let source = preflight::connect(job, cancel).await?;
    let checked = async { Ok(Box::pin(preflight::check(&source, job, told, cancel)).await) };
    let checked = caught(checked).await;
    match checked.unwrap_or_else(|panic| Err(StageError::by_panic(Stage::Preflight, &panic))) {
        Ok(ready) => Ok((source, ready)),
        Err(stopped) => {
            source.leave().await;
            Err(stopped)
        }
    }
}

/// Runs the stages after the export.
async fn finish(
    job: &Job,
    fetched: Fetched,
    ready: &ReadyRun,
    held: &mut LockedOutput,
    ledger: &mut StageRunner<'_>,
) -> RunOutcome {
    let (manifest, is_written) = match fetched {
        Fetched::Disks => return RunOutcome::Done,
        Fetched::Described(manifest) => (manifest, true),
        Fetched::Undescribed(manifest) => (manifest, false),
    };
    let Some(settings) = &job.conversion else { return RunOutcome::Done };
    let settings = converted::settings_for(job, settings, &manifest.source_vm().nics);
    let mut work = ConversionWork { settings, manifest, is_written };
    let converted = conversion(job, &mut work, ready, held, ledger).await;
    let ConversionWork { settings, manifest, .. } = &work;
    let Some(converted) = converted else {
        return ledger.ended(RunOutcome::Failed);
    };
    if let Some(target) = &job.target {
        match converted {
            Some(disks) => {
                let domain = match &ready.domain {
                    Some(kept) => from_manifest::kept(ledger, target, kept),
                    None => {
                        import::definition(ledger, manifest, &ready.output, &disks, target).await
                    }
                };
                if domain {
                    start::after_run(job, target, ready.domain.as_ref(), ledger).await;
                }
            }
            None => {
                if settings.dry_run {
                    ledger.report.plan.push(dry_run::NO_DOMAIN.to_owned());
                }
                ledger.without(Stage::Libvirt, StageStatus::Skipped);
            }
        }
    }
    if ledger.report.errors.is_empty() {
        RunOutcome::Done
    } else {
        ledger.ended(RunOutcome::Partial)
    }
}

/// Input of the conversion.
struct ConversionWork {
    settings: convert::Settings,
    manifest: Box<Manifest>,
    /// Whether the manifest has been written beside the disks.
    is_written: bool,
}

/// Converts, or reuses a conversion. `None` if the export is lost together with the conversion.
async fn conversion(
    job: &Job,
    ConversionWork { settings, manifest, is_written }: &mut ConversionWork,
    ready: &ReadyRun,
    held: &mut LockedOutput,
    ledger: &mut StageRunner<'_>,
) -> Option<Option<ConvertedDisks>> {
    if let PreviousRun::Export(kept) = &ready.earlier {
        return Some(match &kept.converted {
            PreviousConversion::Kept(conversion) => {
                ledger.without(Stage::Pipeline, StageStatus::Kept);
                if settings.dry_run {
                    ledger.report.plan.push("keep the conversion that is there".to_owned());
                }
                // As for disks that are not converted yet: a dry run leads to no domain.
                Some(conversion.disks.clone()).filter(|_| !settings.dry_run)
            }
            PreviousConversion::Again(again) => {
                let work = Redo { job, again, settings };
                let disks = work.run(manifest, &ready.output, ledger).await;
                if disks.is_none() {
                    // The old conversion stays.
                    keep_conversion(kept, ledger);
                }
                disks
            }
            PreviousConversion::None => {
                again::forget_other_compression(&kept.taken, settings, manifest);
                let (output, before) = (&ready.output, ledger.report.clone());
                let disks = conversion::convert(ledger, manifest, output, settings).await;
                converted::note(ledger, &job.asked, settings);
                if !settings.stages.convert {
                    // An existing conversion is not changed.
                    ledger.report.converted = before.converted;
                    ledger.report.converter = before.converter;
                }
                disks
            }
        });
    }
    let work = held.work(&ready.output).to_owned();
    if *is_written {
        let disks = conversion::convert(ledger, manifest, &work, settings).await;
        converted::note(ledger, &job.asked, settings);
        return Some(disks);
    }
    let disks = stream::finish(job, ledger, manifest, &work, settings).await;
    if ledger.report.manifest.is_none() {
        // The disks no longer equal the export, and no manifest describes them.
        let results = ledger.report.converted.take();
        let results = results.iter().flat_map(|disks| &disks.0).map(|disk| disk.path.clone());
        // Images that are used in place belong to the user.
        let exports = ready.exports.iter().map(|file| work.join(&file.name));
        remove(exports.chain(results).collect::<Vec<_>>().into_iter(), ledger);
        ledger.report.disks.clear();
        ledger.report.media.clear();
        ledger.report.nvram = None;
        return None;
    }
    held.replace(ready, Some(manifest), ledger)?;
    Some(disks.and_then(|_| ledger.report.converted.clone()))
}

/// Input of the later stages.
enum Fetched {
    /// Disks only: no manifest is requested.
    Disks,
    /// Disks with a manifest beside them.
    Described(Box<Manifest>),
    /// Disks converted during the download: the manifest is written after the conversion.
    Undescribed(Box<Manifest>),
}

/// Runs export and manifest, or reuses those of an earlier run.
async fn fetch(
    job: &Job,
    source: &Source,
    ready: &ReadyRun,
    held: &mut LockedOutput,
    ledger: &mut StageRunner<'_>,
) -> Option<Fetched> {
    if let PreviousRun::Export(kept) = &ready.earlier {
        snapshots::remove(source, &ready.vm, &held.claim, ledger).await;
        return keep(job, kept, ready, ledger).await;
    }
    let export = ExportStage::new(job, source, ready, held);
    let exported = ledger.stage(Stage::Export, export.run(ledger.progress, ledger.cancel)).await;
    // A failed export counts, too: the VM may have been powered off for it.
    let (seen, warnings) = export.seen();
    ledger.warn_all(warnings);
    ledger.report.source = Some(seen);
    let (exported, state) = exported?;
    ledger.warn_all(exported.warnings.iter().cloned());
    ledger.report.disks.clone_from(&exported.disks);
    ledger.report.media.clone_from(&exported.media);
    ledger.report.nvram.clone_from(&exported.nvram);
    let taken = RecordedExport {
        exported_at: exported.exported_at,
        method: exported.method,
        compression: stream::compression(job, &ready.streaming),
        state: Some(state),
        vm: exported.vm.clone(),
    };
    ledger.report.export = Some(taken.clone());
    let work = held.work(&ready.output).to_owned();
    if !package::write(job, &exported, &work, ledger).await {
        remove_files(job, ready, &work, ledger);
        return None;
    }
    if !job.writes_manifest() {
        held.replace(ready, None, ledger)?;
        return Some(Fetched::Disks);
    }
    let mut manifest = describe(job, &exported, &taken, &ready.output);
    if exported.disks.iter().any(|disk| disk.received.is_some()) {
        return Some(Fetched::Undescribed(Box::new(manifest)));
    }
    let path = work.join(manifest::FILE_NAME);
    let written = ledger.stage(Stage::Manifest, write_manifest(&manifest, &path)).await;
    if written.is_none() {
        remove_files(job, ready, &work, ledger);
        return None;
    }
    ledger.report.manifest = Some(path);
    held.replace(ready, Some(&mut manifest), ledger)?;
    Some(Fetched::Described(Box::new(manifest)))
}

/// Reuses the export of an earlier run, if the checksum of every file matches. Manifest and package
/// are written if they are requested and missing.
async fn keep(
    job: &Job,
    kept: &ReusableExport,
    ready: &ReadyRun,
    ledger: &mut StageRunner<'_>,
) -> Option<Fetched> {
    let at = fit::time(kept.taken.exported_at);
    ledger.progress.note(match kept.gone {
        true if ready.domain.is_some() => {
            format!("the disks of the export of {at} are gone: its domain exists")
        }
        true => {
            format!(
                "the disks of the export of {at} are gone: continuing from the converted \
                disks"
            )
        }
        false => format!("reusing the export of {at}: verifying its checksums"),
    });
    if let Some(same) = fit::current(kept, &ready.state) {
        ledger.progress.note(same);
    }
    let check = kept.check_sums(ready.domain.is_some(), ledger.control());
    ledger.stage_as(Stage::Export, StageStatus::Kept, check).await?;
    inherit(kept, ready, ledger);
    let mut fetched = Fetched::Disks;
    if job.writes_manifest() {
        let wanted = build_options(job.conversion.as_ref(), &ready.output);
        let mut described = kept.described();
        let stages = manifest::stages(wanted.pipeline);
        let asked = job.conversion.is_some() && !preflight::is_converted(&ready.earlier);
        let is_dry = job.conversion.as_ref().is_some_and(|settings| settings.dry_run);
        let differs = asked && !is_dry && described.pipeline.as_ref() != Some(&stages);
        if differs || kept.manifest.is_none() {
            if differs {
                described.pipeline = Some(stages);
            }
            if let Some(state) = kept.taken.state.clone() {
                described.set_state(state);
            }
            let path = &kept.manifest_path;
            let work = async {
                manifest::write(&described, path, manifest::Overwrite::Yes).at(Stage::Manifest)
            };
            ledger.stage(Stage::Manifest, work).await?;
        } else {
            ledger.without(Stage::Manifest, StageStatus::Kept);
        }
        ledger.report.manifest = Some(kept.manifest_path.clone());
        fetched = Fetched::Described(Box::new(described));
    }
    package::of_kept(job, kept, ready, ledger).await.then_some(())?;
    Some(fetched)
}

async fn write_manifest(manifest: &Manifest, path: &Path) -> Result<(), StageError> {
    manifest::write(manifest, path, manifest::Overwrite::No).at(Stage::Manifest)
}

fn describe(job: &Job, exported: &ExportedVm, taken: &RecordedExport, output: &Path) -> Manifest {
    let options = build_options(job.conversion.as_ref(), output);
    let mut manifest = manifest::build(exported, &options);
    if let Some(state) = taken.state.clone() {
        manifest.set_state(state);
    }
    manifest
}

/// A failed run leaves no file that resembles an export.
fn remove_files(job: &Job, ready: &ReadyRun, work: &Path, ledger: &mut StageRunner<'_>) {
    let package = ledger.report.package.take().map(|_| job.format.makes(&ready.vm.name));
    let exports = ready.exports.iter().map(|file| file.name.clone());
    let names = exports.chain(package.unwrap_or_default());
    remove(names.map(|name| work.join(name)), ledger);
    ledger.report.disks.clear();
    ledger.report.media.clear();
    ledger.report.nvram = None;
}

/// Removes files of this run; a file that cannot be removed becomes a warning.
pub fn remove(paths: impl Iterator<Item = PathBuf>, ledger: &mut StageRunner<'_>) {
    for path in paths {
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != ErrorKind::NotFound
        {
            let text = format!("removing {}: {error}", path.display());
            ledger.warn(Warning::new(Stage::Export, WarningCode::Leftover, text));
        }
    }
}

async fn close(source: Source, ledger: &mut StageRunner<'_>) {
    if let Err(error) = source.close().await {
        let text = format!("logging out: {}", chain(&error));
        ledger.warn(Warning::new(Stage::Export, WarningCode::SessionLeft, text));
    }
}
