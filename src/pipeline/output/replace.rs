//! Replaces old files by staged ones: report and manifest are written with the final paths, and
//! replaced together with the files.

use super::super::stage::stage_error::{At, StageError};
use super::super::stage::stage_runner::StageRunner;
use super::records;
use super::report::{self, RunOutcome, RunReport};
use super::save::save;
use super::staged_files::StagedFiles;
use crate::convert;
use crate::manifest::{self, Manifest};
use crate::model::{Stage, Warning, WarningCode};

/// Replaces the files named in `replaces` by the staged files in `beside`. Report and manifest then
/// contain the final paths. A result is replaced with the files, so that a kill at any moment
/// leaves either the old files with their result or the new ones.
///
/// # Errors
/// [`StageError`]; the next run continues where this one stopped.
pub(in crate::pipeline) fn commit(
    beside: StagedFiles,
    replaces: &[String],
    manifest: Option<&mut Manifest>,
    ledger: &mut StageRunner<'_>,
) -> Result<(), StageError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        let text = format!("{what}: {error}");
        let hint = "run the same command again: it continues from here";
        StageError::because(Stage::Export, text, hint).coded("not-replaced")
    };
    if let Some(manifest) = manifest {
        manifest.each_path(|path| beside.moved(path));
        let path = beside.path().join(manifest::FILE_NAME);
        manifest::write(manifest, &path, manifest::Overwrite::Yes).at(Stage::Manifest)?;
    }
    move_report(&mut ledger.report, &beside);
    let so_far = ledger.report.clone().finish(RunOutcome::Interrupted);
    let text =
        serde_json::to_vec_pretty(&so_far).map_err(|error| failed("writing result", &error))?;
    save(&beside.path().join(report::FILE_NAME), &text)
        .map_err(|error| failed("writing result.json", &error))?;
    records::keep_unrecorded(&ledger.report.output)
        .map_err(|error| failed("saving the record of the previous run", &error))?;
    beside.commit(replaces).map_err(|error| failed("replacing the old files", &error))
}

/// Removes staged files that are not complete; logs stay.
pub(in crate::pipeline) fn discard(beside: StagedFiles, ledger: &mut StageRunner<'_>) {
    move_report(&mut ledger.report, &beside);
    if let Err(error) = beside.discard(&convert::LOGS) {
        let text = format!("removing the unfinished files: {error}");
        ledger.warn(Warning::new(Stage::Export, WarningCode::Leftover, text));
    }
}

fn move_report(report: &mut RunReport, beside: &StagedFiles) {
    report.each_path(|path| beside.moved(path));
    for failure in &mut report.errors {
        failure.message = beside.told(&failure.message);
        failure.hint = failure.hint.as_ref().map(|hint| beside.told(hint));
    }
    for warning in &mut report.warnings {
        warning.message = beside.told(&warning.message);
    }
    for step in &mut report.plan {
        *step = beside.told(step);
    }
}
