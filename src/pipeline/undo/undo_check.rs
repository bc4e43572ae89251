//! Checks whether a run may be undone: reports data that would be lost, and refuses to remove it
//! without the user's permission.

use std::path::Path;

use super::super::output::{journal, records};
use super::taken_back::{EVEN_IF_USED, Error, UNFINISHED, UndoOptions};
use crate::libvirt::{Connection, Evidence, Life, Undo};

/// A run to undo.
pub(in crate::pipeline) struct UndoCandidate<'a> {
    /// Name of the run's domain.
    pub name: &'a str,
    /// Undo steps of the run.
    pub steps: &'a [Undo],
    /// What proves that the steps were written by the run.
    pub evidence: Evidence,
    /// Whether the run started its domain, and when it was last alive.
    pub life: Life,
    /// Path of the output directory.
    pub output: &'a Path,
}

/// Reports the disks that were used since the run. `before` are the steps of runs that are undone
/// before this one.
///
/// # Errors
/// [`Error::Used`] if the use is certain and the user has not permitted the removal;
/// [`Error::SetAside`]; [`Error::Libvirt`].
pub(in crate::pipeline) async fn check(
    target: &Connection,
    run: &UndoCandidate<'_>,
    before: &[Undo],
    how: &UndoOptions,
) -> Result<Vec<String>, Error> {
    let UndoCandidate { steps, output, evidence, .. } = *run;
    let name = run.name.to_owned();
    let refused = |source| Error::Libvirt { name: name.clone(), source };
    // In a dry run, the undo of the previous run has not restored the name.
    let is_back = how.dry_run && brings_back(before, steps);
    if let Some(now) = target.set_aside(steps).await.map_err(refused)?.filter(|_| !is_back) {
        let by = setter(output, steps);
        return Err(Error::SetAside { name, now, by, folder: output.to_owned() });
    }
    let used = target.used_since(steps, evidence, run.life).await.map_err(refused)?;
    let lines: Vec<_> = used.iter().map(ToString::to_string).collect();
    if how.even_if_used || !used.iter().any(|disk| disk.is_certain()) {
        return Ok(lines);
    }
    match how.dry_run {
        true => Ok([lines, vec![format!("undoing that run requires {EVEN_IF_USED}")]].concat()),
        false => Err(Error::Used { name, disks: lines }),
    }
}

/// Whether `steps` restore the name of a domain that `undefined` would undefine.
fn brings_back(steps: &[Undo], undefined: &[Undo]) -> bool {
    let has = |wanted: &String| {
        let is_it = |step: &Undo| matches!(step, Undo::Undefine { uuid, .. } if uuid == wanted);
        undefined.iter().any(is_it)
    };
    steps.iter().any(|step| matches!(step, Undo::BringBack { uuid, .. } if has(uuid)))
}

/// The run that has renamed the domain, if it is a run of this output directory.
fn setter(output: &Path, steps: &[Undo]) -> Option<String> {
    let pending = journal::pending(output).ok().flatten();
    if pending.is_some_and(|pending| brings_back(&pending.steps, steps)) {
        return Some(UNFINISHED.to_owned());
    }
    let records = records::all(output).unwrap_or_default();
    let sets = |record: &records::Record| {
        let domain = record.report.domain.as_ref();
        !record.is_undone() && domain.is_some_and(|domain| brings_back(&domain.undo, steps))
    };
    records.into_iter().find(sets).map(|record| record.id)
}
