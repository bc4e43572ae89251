//! One VM through all its stages.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::claim::Claim;
use super::earlier::{Earlier, Kept};
use super::job::Job;
use super::preflight::{self, Ready, is_of};
use super::report::{Outcome, RunReport, StageStatus};
use super::source::Source;
use super::stages::{Ledger, Stopped};
use super::{later, package, plan, start, stream};
use crate::exporter::{ExportRequest, SNAPSHOT_PREFIX, SnapshotRequest, WholeDisk};
use crate::manifest::{self, Manifest};
use crate::model::{ExportedVm, PowerState, SourceVm, Stage, Warning, chain};
use crate::progress::Progress;

/// Does what `job` asks for, and tells how it went. Errors stand in the report.
pub async fn run(mut job: Job, progress: &Progress, cancel: &CancellationToken) -> RunReport {
    let report = RunReport::begin(&job.vm, &job.output_for(&job.vm));
    let mut ledger = Ledger::new(report, progress, cancel);
    if let Err(stopped) = stream::prepare(&mut job) {
        ledger.report.errors.push(stopped.failure);
        return ledger.close(Outcome::Refused, None, false);
    }
    let (outcome, claim) = whole(&job, &mut ledger).await;
    // A failed export leaves nothing, so there is nothing that a report could lie beside.
    let is_there = !ledger.report.disks.is_empty() || ledger.report.package.is_some();
    let keep = claim.is_some() && is_there;
    ledger.close(outcome, claim, keep)
}

/// All stages; returns how the run ended, and the output directory if it came to claim it.
async fn whole(job: &Job, ledger: &mut Ledger<'_>) -> (Outcome, Option<Claim>) {
    let Some((source, ready)) = ledger.stage(Stage::Preflight, open(job, ledger.cancel)).await
    else {
        return (ledger.ended(Outcome::Refused), None);
    };
    ledger.report.vm.clone_from(&ready.vm.name);
    ledger.report.vm_id = Some(ready.vm.id.clone());
    ledger.report.output.clone_from(&ready.output);
    ledger.warn_all(ready.warnings.iter().cloned());
    if job.dry_run {
        ledger.report.plan = plan::whole(job, &ready);
        close(source, ledger).await;
        return (Outcome::Done, None);
    }
    let held = match take(&ready) {
        Ok(held) => held,
        Err(stopped) => {
            ledger.report.errors.push(stopped.failure);
            close(source, ledger).await;
            return (Outcome::Refused, None);
        }
    };
    let known = held.claim.snapshots();
    for name in ready.snapshots.iter().filter(|name| !known.contains(name)) {
        let text = format!(
            "{} has the snapshot {name} of another run: if none is at work, it was killed; remove the \
             snapshot in the vSphere client, or it grows for as long as the VM runs",
            ready.vm.name
        );
        ledger.warn(Warning::new(Stage::Export, "snapshot-found", text));
    }
    let fetched = fetch(job, &source, &ready, &held, ledger).await;
    close(source, ledger).await;
    let outcome = match fetched {
        None => ledger.ended(Outcome::Failed),
        Some(fetched) => finish(job, fetched, &ready.output, ledger).await,
    };
    (outcome, Some(held.claim))
}

/// Logs in and checks; logs out again when the run is refused.
async fn open(job: &Job, cancel: &CancellationToken) -> Result<(Source, Ready), Stopped> {
    let source = preflight::connect(job, cancel).await?;
    match preflight::check(&source, job, cancel).await {
        Ok(ready) => Ok((source, ready)),
        Err(stopped) => {
            if let Err(error) = source.close().await {
                tracing::warn!(error = chain(&error), "log out");
            }
            Err(stopped)
        }
    }
}

/// What follows the export.
async fn finish(
    job: &Job,
    mut fetched: Fetched,
    output: &Path,
    ledger: &mut Ledger<'_>,
) -> Outcome {
    let (Some(settings), Some(manifest)) = (&job.conversion, &mut fetched.manifest) else {
        return Outcome::Done;
    };
    let converted = match fetched.converted {
        Some(disks) => {
            ledger.without(Stage::Pipeline, StageStatus::Kept);
            ledger.report.converted = Some(disks.clone());
            Some(disks)
        }
        None if fetched.unwritten => stream::finish(ledger, manifest, output, settings).await,
        None => later::conversion(ledger, manifest, output, settings).await,
    };
    if ledger.report.manifest.is_none() {
        // Its disks are no longer what was exported, and there is nothing that tells what they are.
        let results = ledger.report.converted.take();
        let results = results.iter().flat_map(|disks| &disks.0).map(|disk| disk.path.clone());
        let exports = manifest.disks.iter().map(|disk| disk.local_path.clone());
        remove(exports.chain(results).collect::<Vec<_>>().into_iter(), ledger);
        ledger.report.disks.clear();
        return ledger.ended(Outcome::Failed);
    }
    if let Some(target) = &job.target {
        match &converted {
            Some(disks) => {
                if later::definition(ledger, manifest, output, disks, target).await {
                    start::after_run(job, target, ledger).await;
                }
            }
            None => ledger.without(Stage::Libvirt, StageStatus::Skipped),
        }
    }
    if ledger.report.errors.is_empty() { Outcome::Done } else { ledger.ended(Outcome::Partial) }
}

/// What the later stages work from.
struct Fetched {
    manifest: Option<Manifest>,
    /// Whether the manifest is yet to be written, after the conversion.
    unwritten: bool,
    converted: Option<crate::model::ConvertedDisks>,
}

/// A claimed output directory, and what a dead run left whole there.
struct Held {
    claim: Claim,
    whole: Vec<WholeDisk>,
    after_kill: bool,
}

/// What is exported, in which state of it.
fn key(vm: &SourceVm, revision: &str) -> String {
    let server = vm.origin.server.as_deref().unwrap_or_default();
    format!("{server} {} {} {revision}", vm.id, vm.instance_uuid.as_deref().unwrap_or_default())
}

/// Claims the output directory and removes what a dead run left there, but for whole disks of the
/// VM as it still is. One that runs is not as it was.
fn take(ready: &Ready) -> Result<Held, Stopped> {
    let stopped = |error: &super::claim::Error| Stopped::new(Stage::Preflight, error, error.hint());
    let mut claim = Claim::take(&ready.output).map_err(|e| stopped(&e))?;
    let after_kill = claim.is_of_dead_run();
    let known = ready.vm.power == PowerState::Off && !ready.revision.is_empty();
    let whole = match &ready.earlier {
        Earlier::Nothing if known => claim.whole_disks(&key(&ready.vm, &ready.revision)),
        _ => Vec::new(),
    };
    let mut kept = ready.earlier.kept_names();
    let of_whole = |name: &&String| whole.iter().any(|disk| is_of(name, &disk.id));
    kept.extend(ready.exports.iter().filter(of_whole).cloned());
    claim.remove_leftovers(&kept).map_err(|e| stopped(&e))?;
    let kept = ready.earlier.kept_names();
    let makes = ready.makes.iter().filter(|name| !kept.contains(name)).cloned().collect();
    claim.will_make(makes).map_err(|e| stopped(&e))?;
    Ok(Held { claim, whole, after_kill })
}

/// Export and manifest, or what an earlier run left of them.
async fn fetch(
    job: &Job,
    source: &Source,
    ready: &Ready,
    held: &Held,
    ledger: &mut Ledger<'_>,
) -> Option<Fetched> {
    if let Earlier::Export(kept) = &ready.earlier {
        let fetched = keep(kept, ledger).await?;
        let kept = package::of_kept(job, kept, ready, ledger).await;
        return kept.then_some(fetched);
    }
    let work = Export { job, source, ready, held };
    let exported = ledger.stage(Stage::Export, work.run(ledger.progress, ledger.cancel));
    let exported = exported.await?;
    ledger.warn_all(exported.warnings.iter().cloned());
    ledger.report.disks.clone_from(&exported.disks);
    ledger.report.nvram.clone_from(&exported.nvram);
    if !package::write(job, &exported, ready, ledger).await {
        remove_files(job, ready, ledger);
        return None;
    }
    if !job.writes_manifest() {
        return Some(Fetched { manifest: None, unwritten: false, converted: None });
    }
    if stream::is_on(job) {
        let manifest = Some(describe(job, &exported, &ready.output));
        return Some(Fetched { manifest, unwritten: true, converted: None });
    }
    let written = ledger.stage(Stage::Manifest, write_manifest(job, &exported, &ready.output));
    let manifest = written.await;
    if manifest.is_none() {
        remove_files(job, ready, ledger);
    }
    let manifest = manifest?;
    ledger.report.manifest = Some(ready.output.join(manifest::FILE_NAME));
    Some(Fetched { manifest: Some(manifest), unwritten: false, converted: None })
}

/// An export that an earlier run made, if every file still has its sum.
async fn keep(kept: &Kept, ledger: &mut Ledger<'_>) -> Option<Fetched> {
    ledger.progress.note(format!("the export of {} is there: checking its sums", kept.taken_at));
    let check = kept.check_sums(ledger.progress, ledger.cancel);
    ledger.stage_as(Stage::Export, StageStatus::Kept, check).await?;
    ledger.without(Stage::Manifest, StageStatus::Kept);
    ledger.report.disks.clone_from(&kept.disks);
    ledger.report.nvram = kept.manifest.nvram().filter(|nvram| nvram.path.is_file()).cloned();
    ledger.report.manifest = Some(kept.manifest_path.clone());
    let (manifest, converted) = (Some(kept.manifest.clone()), kept.converted.clone());
    Some(Fetched { manifest, unwritten: false, converted })
}

/// The export stage.
struct Export<'a> {
    job: &'a Job,
    source: &'a Source,
    ready: &'a Ready,
    held: &'a Held,
}

impl Export<'_> {
    /// Shuts the VM down if that was asked for, and fetches its disks.
    async fn run(
        &self,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<ExportedVm, Stopped> {
        let stopped =
            |error: super::source::Error| Stopped::new(Stage::Export, &error, error.hint());
        let claimed =
            |error: super::claim::Error| Stopped::new(Stage::Export, &error, error.hint());
        let (mut vm, claim) = (self.ready.vm.clone(), &self.held.claim);
        let mut revision = self.ready.revision.clone();
        if vm.power == PowerState::On && self.job.power_off {
            progress.note(format!("shutting down {}", vm.name));
            let limit = self.job.shutdown_timeout;
            self.source.power_off(&vm, limit, progress, cancel).await.map_err(stopped)?;
            vm.power = PowerState::Off;
            revision = self.source.revision(&vm).await.map_err(stopped)?;
        }
        self.source.remove_snapshots(&vm, &claim.snapshots(), progress).await.map_err(stopped)?;
        let snapshot = self.snapshot().map_err(claimed)?;
        claim.exports(&key(&vm, &revision), self.held.whole.clone()).map_err(claimed)?;
        let request = ExportRequest {
            directory: self.ready.output.clone(),
            whole: self.held.whole.clone(),
            snapshot,
            after_kill: self.held.after_kill,
            note: Some(&|disk| claim.has(disk)),
            limit: self.job.limit.clone(),
        };
        self.source.export(&vm, &request, progress, cancel).await.map_err(stopped)
    }

    /// The snapshot of a running VM, if there is to be one. Its name is noted before it is taken.
    fn snapshot(&self) -> Result<Option<SnapshotRequest>, super::claim::Error> {
        let Some(quiesce) = self.job.snapshot.filter(|_| self.ready.vm.power == PowerState::On)
        else {
            return Ok(None);
        };
        let (now, process) = (jiff::Timestamp::now(), std::process::id());
        let name = format!("{SNAPSHOT_PREFIX}{now}-{process}");
        self.held.claim.will_snapshot(&name)?;
        Ok(Some(SnapshotRequest { name, quiesce }))
    }
}

async fn write_manifest(
    job: &Job,
    exported: &ExportedVm,
    output: &Path,
) -> Result<Manifest, Stopped> {
    let stopped = |error: manifest::Error| Stopped::new(Stage::Manifest, &error, error.hint());
    let manifest = describe(job, exported, output);
    let path = output.join(manifest::FILE_NAME);
    manifest::write(&manifest, &path, manifest::Overwrite::No).map_err(stopped)?;
    Ok(manifest)
}

fn describe(job: &Job, exported: &ExportedVm, output: &Path) -> Manifest {
    manifest::build(exported, &later::build_options(job.conversion.as_ref(), output))
}

/// A failed run leaves no file behind that looks like an export.
fn remove_files(job: &Job, ready: &Ready, ledger: &mut Ledger<'_>) {
    let package = ledger.report.package.take().map(|_| job.format.makes(&ready.vm.name));
    let names = ready.exports.iter().cloned().chain(package.unwrap_or_default());
    remove(names.map(|name| ready.output.join(name)), ledger);
    ledger.report.disks.clear();
    ledger.report.nvram = None;
}

/// Removes files of the run's own.
pub fn remove(paths: impl Iterator<Item = PathBuf>, ledger: &mut Ledger<'_>) {
    for path in paths {
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != ErrorKind::NotFound
        {
            let text = format!("remove {}: {error}", path.display());
            ledger.warn(Warning::new(Stage::Export, "leftover", text));
        }
    }
}

async fn close(source: Source, ledger: &mut Ledger<'_>) {
    if let Err(error) = source.close().await {
        let text = format!("log out: {}", chain(&error));
        ledger.warn(Warning::new(Stage::Export, "session-left", text));
    }
}
