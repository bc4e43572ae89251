//! Rejects an existing export that cannot be reused: its VM has changed, or was described by other
//! flags.

use super::super::stage::asked::Flags;
use super::super::stage::stage_error::StageError;
use super::made::RecordedExport;
use super::reuse::{Fit, ReuseRequest};
use super::{BOTH_WAYS, fit};
use crate::manifest;
use crate::model::{PowerState, Stage};

/// Rejects an export made with other flags that describe the VM. The later stages use the VM of the
/// export: the new flags would have no effect.
///
/// # Errors
/// [`StageError`] with each flag, its values then and now, and both solutions.
pub(in crate::pipeline) fn refuse_asked_otherwise(
    ask: &ReuseRequest<'_>,
    taken: &RecordedExport,
) -> Result<(), StageError> {
    let Some(then) = recorded(taken) else { return Ok(()) };
    let differences = differences(ask, &then);
    if differences.is_empty() {
        return Ok(());
    }
    let text = format!(
        "the export of {} in {} was made with other flags: {}",
        fit::time(taken.exported_at),
        ask.output.display(),
        differences.join("; ")
    );
    Err(StageError::because(Stage::Preflight, text, BOTH_WAYS).coded("export-differs"))
}

/// The flags that described the VM of an export; `None` if an earlier version did not record them.
fn recorded(taken: &RecordedExport) -> Option<Flags> {
    taken.state.as_ref()?.asked.clone().map(Flags)
}

/// The flags that describe the VM now, if the flags of its export were not recorded.
pub(in crate::pipeline) fn unrecorded(
    ask: &ReuseRequest<'_>,
    taken: &RecordedExport,
) -> Option<String> {
    match recorded(taken) {
        Some(_) => None,
        None => Some(differences(ask, &Flags::default()).join("; ")).filter(|now| !now.is_empty()),
    }
}

fn differences(ask: &ReuseRequest<'_>, then: &Flags) -> Vec<String> {
    let now = Flags::of_export(ask.job, &ask.vm.name);
    if ask.job.target.is_some() {
        return now.differences(then);
    }
    // Without a domain, addresses have no effect, and the flag does not exist.
    now.without(Flags::NEW_MAC).differences(&then.without(Flags::NEW_MAC))
}

/// Rejects an export that does not match the current VM, and an export of a snapshot if the VM is
/// to be shut down.
///
/// # Errors
/// [`StageError`] with the differences, and both solutions.
pub(in crate::pipeline) fn refuse_unfit(
    ask: &ReuseRequest<'_>,
    taken: &RecordedExport,
    fit: &Fit,
) -> Result<(), StageError> {
    let (at, folder) = (fit::time(taken.exported_at), ask.output.display());
    let name = &ask.vm.name;
    let (text, code) = match fit {
        Fit::Changed(changes) => {
            let changes = changes.join("; ");
            let text =
                format!("{name} has changed since its export of {at} in {folder}: {changes}");
            (text, "source-changed")
        }
        Fit::Snapshot if ask.job.power_off.is_some() && ask.now.power == PowerState::On => {
            let snapshot = fit::of_snapshot(taken, name, ask.now);
            (format!("{folder} contains an export of {name}: {snapshot}"), "stale-export")
        }
        _ => return Ok(()),
    };
    let running = ask.now.power == PowerState::On && ask.job.power_off.is_none();
    let running = if running { " (with --power-off or --snapshot while the VM runs)" } else { "" };
    let go_on = match ask.output.join(manifest::FILE_NAME).is_file() {
        true => format!(
            "; the old disks are still good for hyperexport convert --manifest {folder}/{}",
            manifest::FILE_NAME
        ),
        false => String::new(),
    };
    let hint = format!(
        "pass --fresh, which exports again{running} and replaces the old export once the new one is \
         complete; or use another --output{go_on}"
    );
    Err(StageError::because(Stage::Preflight, text, hint).coded(code))
}
