//! `--source-after`: changes to the source VM after a successful migration. Each step is recorded
//! before it is done, and then in the result, from which `hyperexport undo` undoes it.

use std::cell::RefCell;
use std::path::Path;

use super::super::job::Job;
use super::super::output::held::{LockedOutput, identity};
use super::super::output::output_lock::{NotedStep, OutputDir};
use super::super::output::report::{self, RunReport, StageStatus};
use super::ready::ReadyRun;
use super::stage_error::{At, StageError};
use super::stage_runner::StageRunner;
use crate::exporter::Inspected;
use crate::exporter::source::Source;
use crate::model::{SourceState, SourceStep, SourceVm, Stage};
use crate::pipeline::output::result_file::read_result;

/// Rejects steps that cannot be done with this VM, before anything changes.
///
/// # Errors
/// [`StageError`] with the first step that cannot be done.
pub(in crate::pipeline) async fn check(
    source: &Source,
    job: &Job,
    vm: &SourceVm,
) -> Result<(), StageError> {
    for wanted in &job.source_after {
        let planned = source.plan_step(vm, wanted, "").await;
        planned.at(Stage::Preflight)?;
    }
    Ok(())
}

/// Reverts the steps of earlier runs in the description of the VM, unless somebody else has changed
/// the VM since. The export is therefore still current, and the domain's name unchanged.
pub(in crate::pipeline) fn as_it_was(inspected: &mut Inspected, output: &Path) {
    let Some(result) = result_of(output, &inspected.vm.id) else { return };
    let Some(source) = &result.source else { return };
    for step in source.after.iter().rev() {
        match step {
            SourceStep::Rename { from, to } if inspected.vm.name == *to => {
                inspected.vm.name.clone_from(from);
            }
            _ => {}
        }
    }
    if let Some(exported) = exported_at(&result, &inspected.revision) {
        inspected.revision = exported;
    }
}

/// The state of the VM, with its revision reverted as in [`as_it_was`].
pub(in crate::pipeline) fn state_as_it_was(
    state: SourceState,
    output: &Path,
    vm: &SourceVm,
) -> SourceState {
    let exported = result_of(output, &vm.id).and_then(|run| exported_at(&run, &state.revision));
    match exported {
        Some(revision) => SourceState { revision, ..state },
        None => state,
    }
}

/// The revision of the VM at its export, if only steps of hyperexport have changed it since.
fn exported_at(result: &RunReport, now: &str) -> Option<String> {
    let left_at = result.source.as_ref()?.left_at.as_deref();
    let is_ours = left_at.is_some_and(|left_at| !now.is_empty() && left_at == now);
    let taken = result.export.as_ref().filter(|_| is_ours)?;
    taken.state.as_ref().map(|state| state.source.revision.clone())
}

/// Does the requested steps, and returns whether all were done. Steps of earlier runs stay in the
/// report in any case.
pub(in crate::pipeline) async fn follow(
    job: &Job,
    ready: &ReadyRun,
    held: &LockedOutput,
    succeeded: bool,
    ledger: &mut StageRunner<'_>,
) -> bool {
    let (mut steps, mut left_at) = earlier(ready, &held.claim);
    let mut all_done = true;
    if succeeded && !job.source_after.is_empty() && !job.is_dry() {
        let note = note(&ledger.report);
        let exported = ledger.report.export.as_ref().and_then(|taken| taken.state.as_ref());
        let exported = exported.map(|state| state.source.revision.clone());
        let known = [exported, left_at.clone()];
        let done = RefCell::new(Vec::new());
        let steps_to_do = FollowUp { note: &note, done: &done, known: &known };
        let work = over_session(job, ready, &held.claim, steps_to_do);
        let end = ledger.stage(Stage::Source, work).await;
        all_done = end.is_some();
        let done = done.into_inner();
        if let Some(stage) = ledger.report.stages.last_mut().filter(|_| all_done && done.is_empty())
        {
            stage.status = StageStatus::Kept;
        }
        left_at = end.unwrap_or(left_at);
        for step in done {
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
    }
    if let Some(source) = &mut ledger.report.source {
        source.after = steps;
        source.left_at = left_at;
    }
    all_done
}

/// Input and output of the steps after a migration.
struct FollowUp<'a> {
    /// Line for the VM's notes.
    note: &'a str,
    /// Collects the steps that were done.
    done: &'a RefCell<Vec<SourceStep>>,
    /// Revisions up to which only hyperexport has changed the VM.
    known: &'a [Option<String>],
}

/// Does the steps in a new session, since that of the export has ended. Returns the revision after
/// the steps, if the VM was at a known one before.
async fn over_session(
    job: &Job,
    ready: &ReadyRun,
    claim: &OutputDir,
    FollowUp { note, done, known }: FollowUp<'_>,
) -> Result<Option<String>, StageError> {
    let source = job.source.open().await.at(Stage::Source)?;
    let all = async {
        let before = source.state(&ready.vm).await.at(Stage::Source)?;
        for wanted in &job.source_after {
            let planned = source.plan_step(&ready.vm, wanted, note).await.at(Stage::Source)?;
            let Some(step) = planned else { continue };
            let noted = NotedStep { vm: identity(&ready.vm), step: step.clone() };
            claim.follows(noted).at(Stage::Source)?;
            source.do_step(&ready.vm, &step).await.at(Stage::Source)?;
            done.borrow_mut().push(step);
        }
        let after = source.state(&ready.vm).await.at(Stage::Source)?;
        let was_known = !before.revision.is_empty() && known.contains(&Some(before.revision));
        Ok(Some(after.revision).filter(|_| was_known))
    };
    let all = all.await;
    source.leave().await;
    all
}

/// Steps of earlier runs of the directory, killed ones included, that were not undone; and the
/// revision after the steps of the result.
fn earlier(ready: &ReadyRun, claim: &OutputDir) -> (Vec<SourceStep>, Option<String>) {
    let result = result_of(&ready.output, &ready.vm.id).and_then(|result| result.source);
    let (mut all, left_at) =
        result.map(|source| (source.after, source.left_at)).unwrap_or_default();
    for step in claim.followed(&identity(&ready.vm)) {
        if !all.contains(&step) {
            all.push(step);
        }
    }
    (all, left_at)
}

/// The result in the directory, if it belongs to this VM.
fn result_of(output: &Path, vm: &str) -> Option<RunReport> {
    let result = read_result(&output.join(report::FILE_NAME)).ok().flatten()?;
    (result.vm_id.as_deref() == Some(vm)).then_some(result)
}

/// Line for the VM's notes.
fn note(report: &RunReport) -> String {
    let day = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    match &report.domain {
        Some(domain) => {
            format!(
                "Migrated by hyperexport to domain '{}' at {} on {day}",
                domain.name, domain.uri
            )
        }
        None => format!("Exported by hyperexport on {day}"),
    }
}
