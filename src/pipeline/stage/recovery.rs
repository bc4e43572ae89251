//! Recovery from a killed run in preflight: the steps of that run on its target are undone first,
//! or only reported in a dry run.

use std::path::Path;

use super::super::job::ImportSettings;
use super::super::output::journal::{self, JournalRecovery, Pending, SurvivingDomain};
use super::super::output::output_lock::OutputDir;
use super::super::output::records::Record;
use super::ready::RunDetails;
use super::stage_error::{At, StageError};
use super::target;
use crate::libvirt::{Undo, UndoReport};
use crate::model::{Stage, Warning, WarningCode};
use crate::state::Key;

/// Code of the warnings about undone steps.
pub(in crate::pipeline) const TAKEN_BACK: WarningCode = WarningCode::TakenBack;

/// Result of a recovery, or of its dry run. Its warnings were reported already.
#[derive(Default)]
pub(in crate::pipeline) struct Recovery {
    /// Lines for the plan of a dry run.
    pub plan: Vec<String>,
    /// Steps that a run would undo first.
    pub undone: Vec<Undo>,
    /// Record of a domain that stays, since it may be in use by now.
    pub kept: Option<Record>,
}

/// Undoes the steps of a killed run, or reports them in a dry run. Undone steps are added to
/// `told`, even if the run is then rejected.
///
/// # Errors
/// [`StageError`]. An unreachable target is no error: it may be reachable later.
pub(in crate::pipeline) async fn first(
    output: &Path,
    target: &ImportSettings,
    dry_run: bool,
    told: &RunDetails,
) -> Result<Recovery, StageError> {
    if !dry_run {
        // Without a key, no journal could be written after the export, hours later.
        Key::get().at(Stage::Preflight)?;
    }
    let Some(pending) = pending(output)? else {
        // An empty journal, of a run without steps, is left to the import.
        return Ok(Recovery::default());
    };
    pending.check(output, &target.settings.uri).at(Stage::Preflight)?;
    if dry_run {
        return foresee(output, target, pending, told).await;
    }
    // The lock prevents that another run undoes the same journal, or starts in between.
    let claim = OutputDir::take(output).at(Stage::Preflight)?;
    let recovered = recover(output, target, told).await;
    claim.give_back().at(Stage::Preflight)?;
    recovered
}

async fn recover(
    output: &Path,
    target: &ImportSettings,
    told: &RunDetails,
) -> Result<Recovery, StageError> {
    match journal::recover(output, target).await {
        Ok(JournalRecovery { taken, kept }) => {
            told.warn_all(of_taken(&taken));
            told.warn_all(kept.iter().map(|kept| of_kept(kept, output)).collect());
            let kept = kept.map(|kept| kept.record);
            Ok(Recovery { kept, ..Recovery::default() })
        }
        Err(error) => {
            if let journal::Error::Left { taken } = &error {
                told.warn_all(of_done(taken));
            }
            unreachable(error)
        }
    }
}

/// What [`recover`] would do. Changes nothing.
async fn foresee(
    output: &Path,
    target: &ImportSettings,
    pending: Pending,
    told: &RunDetails,
) -> Result<Recovery, StageError> {
    let mut plan = vec![format!("undo what a killed run has left at {}", pending.uri)];
    let JournalRecovery { taken, kept } = match pending.foreseen(output, target).await {
        Ok(recovered) => recovered,
        Err(error) => {
            let unknown = unreachable(error)?;
            return Ok(Recovery { plan, ..unknown });
        }
    };
    if let Some(kept) = kept {
        let name = &kept.name;
        plan = vec![format!("leave the domain {name} of a killed run as it is: {}", kept.why)];
        told.warn_all(vec![of_kept(&kept, output)]);
        return Ok(Recovery { plan, kept: Some(kept.record), ..Recovery::default() });
    }
    plan.extend(taken.would_go.iter().map(|what| format!("remove {what}")));
    plan.extend(taken.would_rename.iter().map(|what| format!("restore the name of {what}")));
    let stays = |step: &Undo| {
        let name = format!("{step} (");
        taken.left.iter().any(|left| left.starts_with(&name))
    };
    let undone = pending.steps.into_iter().filter(|step| !stays(step)).collect();
    Ok(Recovery { plan, undone, ..Recovery::default() })
}

/// Warnings about the undone steps, and about objects that stay since others use them.
pub(in crate::pipeline) fn of_taken(taken: &UndoReport) -> Vec<Warning> {
    let left = taken.left.iter().map(|what| {
        let text = format!("{what} of a killed run is not removed: others use it");
        Warning::new(Stage::Preflight, WarningCode::LeftToOthers, text)
    });
    of_done(taken).into_iter().chain(left).collect()
}

fn of_done(taken: &UndoReport) -> Vec<Warning> {
    let done = taken.done.iter().chain(&taken.renamed);
    let warning = |what: &String| {
        let text = format!("removed what a killed run left: {what}");
        Warning::new(Stage::Preflight, TAKEN_BACK, text)
    };
    done.map(warning).collect()
}

fn pending(output: &Path) -> Result<Option<Pending>, StageError> {
    journal::pending(output).at(Stage::Preflight)
}

pub(in crate::pipeline) fn of_kept(kept: &SurvivingDomain, output: &Path) -> Warning {
    let text = format!(
        "domain '{}' of a killed run is not removed, since somebody may use it: {}; hyperexport \
         undo {} removes it",
        kept.name,
        kept.why,
        output.display()
    );
    Warning::new(Stage::Preflight, WarningCode::DomainKept, text)
}

/// An unreachable host of this run's own target is asked again after the export.
fn unreachable(error: journal::Error) -> Result<Recovery, StageError> {
    match &error {
        journal::Error::Libvirt(cause) if target::is_unreachable(cause) => Ok(Recovery::default()),
        _ => Err(StageError::of(Stage::Preflight, &error)),
    }
}
