//! Starts the guest at the end of a migration. Never beside its source: two machines with the same
//! addresses would conflict. Never from disks that are older than the source.

use super::super::job::{ImportSettings, Job};
use super::super::output::fit::is_snapshot;
use super::super::output::made::RecordedExport;
use super::super::output::report::StageStatus;
use super::super::output::stored;
use super::stage_error::{At, StageError};
use super::stage_runner::StageRunner;
use super::{fence, source_after};
use crate::manifest::Manifest;
use crate::model::{PowerState, SourceState, SourceVm, Stage, Warning, WarningCode, revision};
use crate::pipeline::output::result_file::LOCAL;
use crate::pipeline::output::reuse::KeptDomain;

/// Code of a rejection because the source is running.
const RUNNING: &str = "source-running";
/// Code of a rejection because the source has run or was changed.
const STALE: &str = "stale-export";
/// Rejections after which the domain must never be started: its disks are outdated.
const FENCES: [&str; 2] = [RUNNING, STALE];

/// Starts the domain of a run, new or kept. The source is checked again: hours may have passed
/// since it was found powered off.
pub async fn after_run(
    job: &Job,
    target: &ImportSettings,
    kept: Option<&KeptDomain>,
    ledger: &mut StageRunner<'_>,
) {
    if target.start.is_none() {
        return;
    }
    // A domain that was started before and is still running needs no second check.
    if let Some(kept) = kept.filter(|kept| kept.active && kept.domain.started.is_some()) {
        ledger.progress.note(format!("domain '{}' is running already", kept.domain.name));
        ledger.without(Stage::Start, StageStatus::Kept);
        return;
    }
    let (allowed, taken) = (target.allow_running_source, ledger.report.export.clone());
    let output = ledger.report.output.clone();
    let source = async {
        match (allowed, taken) {
            (true, _) | (_, None) => Ok(()),
            (false, Some(taken)) => {
                let state = source_state(job, &taken.vm).await?;
                unchanged(&taken, &source_after::state_as_it_was(state, &output, &taken.vm))
            }
        }
    };
    begin(target, ledger, source).await;
    let refused = ledger.report.errors.last().filter(|error| error.stage == Stage::Start);
    let fenced = refused.is_some_and(|error| FENCES.contains(&error.code.as_str()));
    if fenced && kept.is_none() {
        fence::take_back(target, ledger).await;
    }
}

/// Starts the domain of `define`, if its source was off when it was exported.
pub async fn after_define(
    target: &ImportSettings,
    manifest: &Manifest,
    ledger: &mut StageRunner<'_>,
) {
    let vm = manifest.source_vm();
    if target.start.is_some() && !target.allow_running_source && vm.provider != LOCAL {
        let text = format!(
            "it is unknown whether {} is off now: no login of its source was passed; it was off \
             when it was exported",
            vm.name
        );
        ledger.warn(Warning::new(Stage::Start, WarningCode::SourceNotAsked, text));
    }
    begin(target, ledger, async { check_export(target, manifest) }).await;
}

/// Rejects a start beside a running source, now or when the host starts.
///
/// # Errors
/// [`StageError`] when the source is running or may be.
pub fn check(target: &ImportSettings, power: PowerState) -> Result<(), StageError> {
    match (target.starts_by(), power) {
        // If the power state is unknown, the source is assumed to be off by the next start of the
        // host.
        (Some(_), PowerState::Unknown) if target.start.is_none() => Ok(()),
        (Some(_), power) => refuse_running(power, Stage::Preflight),
        (None, _) => Ok(()),
    }
}

/// Rejects a start, or a boot proof, with disks of a source that was running at its export, as far
/// as the manifest shows that.
///
/// # Errors
/// [`StageError`] with the flag and the alternatives.
pub fn check_export(target: &ImportSettings, manifest: &Manifest) -> Result<(), StageError> {
    let vm = manifest.source_vm();
    let starts = target.starts_by();
    let proves = target.after.boot_proof.is_some();
    if !(starts.is_some() || proves) || !is_snapshot(&stored::described(manifest, &vm)) {
        return check(target, vm.power);
    }
    let flag = starts.unwrap_or("--boot-proof");
    let at = manifest.source.as_ref().and_then(|source| source.export_timestamp.as_deref());
    let text = format!(
        "{flag}: the disks are those of a snapshot of {} of {}, while the VM ran: what it has \
         written since is not on them",
        vm.name,
        at.unwrap_or("an unknown time")
    );
    let other = match starts.is_some() {
        true => "start a copy beside the source with --allow-running-source",
        false => "try the copy with --boot-test",
    };
    let hint = format!(
        "export again with --fresh while the source is powered off; or leave {flag} out; or {other}"
    );
    Err(StageError::because(Stage::Preflight, text, hint).coded("stale-export").by_other_flags())
}

async fn begin(
    target: &ImportSettings,
    ledger: &mut StageRunner<'_>,
    source: impl Future<Output = Result<(), StageError>>,
) {
    let (Some(start), Some(domain)) = (&target.start, ledger.report.domain.clone()) else { return };
    let (progress, cancel) = (ledger.progress, ledger.cancel);
    let work = async {
        let connection = target.connections.open(&target.settings).await.at(Stage::Start)?;
        // As late as possible: the source could change between this check and the start.
        source.await?;
        progress.note(format!("starting {}: waiting until it {}", domain.name, start.wait.sign));
        connection.start(&domain, &start.wait, cancel).await.at(Stage::Start)
    };
    let seen = ledger.stage(Stage::Start, work).await;
    if let Some(domain) = &mut ledger.report.domain {
        domain.started = seen;
    }
}

fn refuse_running(power: PowerState, stage: Stage) -> Result<(), StageError> {
    if power == PowerState::Off {
        return Ok(());
    }
    let message = match power {
        PowerState::On => "the source VM is powered on",
        _ => "the source VM may be powered on",
    };
    let stopped = StageError::because(
        stage,
        format!("{message}: both would have the same addresses"),
        "power the source off, or start the domain beside it with --allow-running-source",
    );
    Err(stopped.coded(RUNNING).by_other_flags())
}

/// Rejects disks that no longer match the source: it may have run since its export.
fn unchanged(taken: &RecordedExport, now: &SourceState) -> Result<(), StageError> {
    refuse_running(now.power, Stage::Start)?;
    let exported = taken.state.as_ref().map_or("", |state| &state.source.revision);
    let has_changed = revision::is_same(exported, &now.revision) == Some(false);
    if is_snapshot(taken) || has_changed {
        let text = format!(
            "{} has changed since its disks were exported: what it has written since is not on them",
            taken.vm.name
        );
        let hint = "run the same command with --fresh, which exports the VM again";
        return Err(StageError::because(Stage::Start, text, hint).coded(STALE));
    }
    Ok(())
}

/// Checks the state in a new session, since that of the export has ended.
async fn source_state(job: &Job, vm: &SourceVm) -> Result<SourceState, StageError> {
    let source = job.source.open().await.at(Stage::Start)?;
    let state = source.state(vm).await;
    source.leave().await;
    state.at(Stage::Start)
}
