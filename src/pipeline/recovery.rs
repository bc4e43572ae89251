//! What preflight does about a run that was killed: what the run left on its target is taken back first, or
//! foreseen in a dry run.

use std::path::Path;

use super::job::Target;
use super::journal::{self, Kept, Pending, Recovered};
use super::records::Record;
use super::stages::Stopped;
use super::target;
use crate::libvirt::Undo;
use crate::model::{Stage, Warning, chain};

/// What became of what a killed run left, or what would.
#[derive(Default)]
pub(super) struct Recovery {
    /// What a person should know.
    pub warnings: Vec<Warning>,
    /// Lines for the plan of a dry run.
    pub plan: Vec<String>,
    /// Steps that a run would take back first.
    pub undone: Vec<Undo>,
    /// The record of a domain that stays, since somebody may use it by now.
    pub kept: Option<Record>,
}

/// Takes back what a killed run left, or foresees it in a dry run.
///
/// # Errors
/// [`Stopped`]. That the target of this run cannot be reached now is none: it may be there later.
pub(super) async fn first(
    output: &Path,
    target: &Target,
    dry_run: bool,
) -> Result<Recovery, Stopped> {
    match dry_run {
        true => foresee(output, target).await,
        false => recover(output, target).await,
    }
}

async fn recover(output: &Path, target: &Target) -> Result<Recovery, Stopped> {
    let pending = pending(output)?;
    match journal::recover(output, &target.connections).await {
        Ok(Recovered { taken, kept }) => {
            let warn = |code, text| Warning::new(Stage::Preflight, code, text);
            let done = taken.done.into_iter().map(|what| {
                warn("taken-back", format!("took back what a killed run left: {what}"))
            });
            let left = taken.left.into_iter().map(|what| {
                warn("left-to-others", format!("{what} of a killed run stays: others use it"))
            });
            let stays = kept.iter().map(|kept| of_kept(kept, output));
            let warnings = done.chain(left).chain(stays).collect();
            let kept = kept.map(|kept| kept.record);
            Ok(Recovery { warnings, kept, ..Recovery::default() })
        }
        Err(error) => unreachable(error, pending.as_ref(), (output, target)),
    }
}

/// What [`recover`] would do. Changes nothing.
async fn foresee(output: &Path, target: &Target) -> Result<Recovery, Stopped> {
    let Some(pending) = pending(output)? else { return Ok(Recovery::default()) };
    let mut plan = vec![format!("take back what a killed run has left at {}", pending.uri)];
    let Recovered { taken, kept } = match pending.foreseen(output, &target.connections).await {
        Ok(recovered) => recovered,
        Err(error) => {
            let unknown = unreachable(error, Some(&pending), (output, target))?;
            return Ok(Recovery { plan, ..unknown });
        }
    };
    if let Some(kept) = kept {
        let name = &kept.name;
        plan = vec![format!("leave the domain {name} of a killed run as it is: {}", kept.why)];
        let warnings = vec![of_kept(&kept, output)];
        return Ok(Recovery { warnings, plan, kept: Some(kept.record), ..Recovery::default() });
    }
    plan.extend(taken.would_go.iter().map(|what| format!("remove {what}")));
    plan.extend(taken.would_rename.iter().map(|what| format!("give its name back to {what}")));
    let here = pending.uri == target.settings.uri;
    let stays = |step: &Undo| {
        let name = format!("{step} (");
        taken.left.iter().any(|left| left.starts_with(&name))
    };
    let undone = pending.steps.into_iter().filter(|step| here && !stays(step)).collect();
    Ok(Recovery { plan, undone, ..Recovery::default() })
}

fn pending(output: &Path) -> Result<Option<Pending>, Stopped> {
    journal::pending(output).map_err(stopped)
}

/// A journal that cannot be read, or whose steps cannot be taken back, in preflight.
pub(super) fn stopped(error: journal::Error) -> Stopped {
    Stopped::new(Stage::Preflight, &error, error.hint())
}

fn of_kept(kept: &Kept, output: &Path) -> Warning {
    let text = format!(
        "domain '{}' of a killed run stays with its disks, since somebody may use it: {}; hyperexport \
         undo {} removes it",
        kept.name,
        kept.why,
        output.display()
    );
    Warning::new(Stage::Preflight, "domain-kept", text)
}

/// The host of this run's own target is asked again when the disks are there. Another host never would be,
/// and its journal stands in the way of the import.
fn unreachable(
    error: journal::Error,
    pending: Option<&Pending>,
    (output, target): (&Path, &Target),
) -> Result<Recovery, Stopped> {
    let (journal::Error::Libvirt(cause), Some(pending)) = (&error, pending) else {
        return Err(stopped(error));
    };
    if !target::is_unreachable(cause) {
        return Err(stopped(error));
    }
    let uri = &pending.uri;
    if *uri == target.settings.uri {
        return Ok(Recovery::default());
    }
    let text = format!(
        "a killed run of {} may have left {} at {uri}, which does not answer: {}",
        output.display(),
        pending.domain().map_or_else(|| "volumes".to_owned(), |name| format!("domain '{name}'")),
        chain(cause)
    );
    let hint = format!(
        "make {uri} reachable and run it again, which takes that back; or give another --output; or, \
         where the host is gone for good, remove {}",
        journal::path(output).display()
    );
    Err(Stopped::because(Stage::Preflight, text, hint).coded("killed-run-unreachable"))
}
