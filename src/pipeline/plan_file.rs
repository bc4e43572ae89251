//! `hyperexport plan` and `apply`: write an exact definition to a file, and create exactly that.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::dry_run;
use super::from_manifest::{self, Checked, DefineRequest};
use super::job::ImportSettings;
use super::output::report::{Failure, RunOutcome, RunReport};
use super::stage::ready::RunDetails;
use super::stage::stage_error::StageError;
use super::stage::stage_runner::StageRunner;
use super::stage::{addresses, guest, target};
use crate::libvirt::{self, Draft};
use crate::model::{Stage, Warning};
use crate::progress::Progress;

/// Version of the file format.
const VERSION: u32 = 1;

/// What `hyperexport apply` will create in libvirt, exactly.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlanFile {
    /// Version of the format: 1. `apply` rejects any other.
    pub hyperexport_plan: u32,
    /// Version of hyperexport that wrote the plan.
    pub hyperexport_version: String,
    /// Time at which the plan was written (RFC 3339).
    pub written_at: jiff::Timestamp,
    /// Absolute path of the export's manifest.
    pub manifest: PathBuf,
    /// Arguments of `hyperexport plan`, which describe the target. `apply` reads them again.
    pub arguments: Vec<String>,
    /// Absolute path of the directory to which relative paths in `arguments` refer.
    pub directory: PathBuf,
    /// Steps of `apply`, one per line, as text for people.
    pub steps: Vec<String>,
    /// Domain, storage pool and volumes that `apply` creates.
    pub draft: Draft,
    /// Warnings about the plan.
    pub warnings: Vec<Warning>,
}

/// Command line of `hyperexport plan`.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// Arguments of the command line.
    pub arguments: Vec<String>,
    /// Working directory of the command.
    pub directory: PathBuf,
}

/// Describes exactly what `define` would create. Nothing changes on the target.
///
/// # Errors
/// The first failed check.
pub async fn draft(
    manifest: &Path,
    target: &ImportSettings,
    asked: PlanRequest,
    cancel: &CancellationToken,
) -> Result<PlanFile, Failure> {
    let progress = Progress::none();
    let (mut ledger, opened) = from_manifest::open(manifest, &progress, cancel);
    let Some((read, output)) = opened else { return Err(first(&mut ledger)) };
    let (read, made) =
        addresses::renewed(read, &output, target).map_err(|stopped| stopped.failure)?;
    let told = RunDetails::default();
    told.warn_all(made);
    let request = DefineRequest { target, dry_run: true, told: &told };
    let checked = Box::pin(from_manifest::check(&read, &output, request, cancel));
    let Checked { disks, first, undone } = checked.await.map_err(|stopped| stopped.failure)?;
    let vm = guest::planned(&read, guest::reported(&output, &read).as_ref());
    let disks = target::with_media(&disks, read.media());
    let draft = target::draft(target, &vm, &disks, &undone).await.map_err(refused)?;
    let preview = target::preview(target, &vm, &disks, &undone).await.map_err(refused)?;
    let definition = dry_run::definition(&vm, target, Some(&preview), &output);
    Ok(PlanFile {
        hyperexport_plan: VERSION,
        hyperexport_version: env!("CARGO_PKG_VERSION").to_owned(),
        written_at: jiff::Timestamp::now(),
        manifest: ledger.report.manifest.take().unwrap_or_else(|| manifest.to_owned()),
        arguments: asked.arguments,
        directory: asked.directory,
        steps: [first, definition].concat(),
        draft,
        warnings: told.warnings(),
    })
}

/// Rejects a plan whose URI names a program to run for the connection: a plan is untrusted input.
///
/// # Errors
/// [`libvirt::Error::Uri`].
pub fn check_uri_of_plan(target: &ImportSettings) -> Result<(), libvirt::Error> {
    libvirt::check_uri_from_file(&target.settings.uri)
}

/// Executes a plan, unless the result would differ from it; a dry run only checks that.
pub async fn apply(
    plan: &PlanFile,
    dry_run: bool,
    target: &ImportSettings,
    progress: &Progress,
    cancel: &CancellationToken,
) -> RunReport {
    let target = ImportSettings { exactly: Some(plan.draft.clone()), ..target.clone() };
    if plan.hyperexport_plan != VERSION {
        let mut report = RunReport::begin(&plan.draft.name, &plan.directory);
        let text =
            format!("the plan has the format version {}, not {VERSION}", plan.hyperexport_plan);
        let stopped =
            StageError::because(Stage::Preflight, text, "write the plan again: hyperexport plan");
        report.errors.push(stopped.failure);
        return report.finish(RunOutcome::Refused);
    }
    let mut report =
        from_manifest::define(&plan.manifest, &target, dry_run, progress, cancel).await;
    report.errors.iter_mut().for_each(lead_to_plan);
    report
}

/// `apply` has no target flags: a hint to use other flags becomes a hint to run `plan` again.
fn lead_to_plan(failure: &mut Failure) {
    if failure.by_other_flags {
        let hint = failure.hint.take().unwrap_or_default();
        failure.hint = Some(format!("write the plan again with hyperexport plan: {hint}"));
    }
}

fn first(ledger: &mut StageRunner<'_>) -> Failure {
    let failure = ledger.report.errors.pop();
    failure.unwrap_or_else(|| {
        StageError::because(Stage::Manifest, "the manifest cannot be used", "export again").failure
    })
}

fn refused(error: crate::libvirt::Error) -> Failure {
    Failure::of(Stage::Preflight, &error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain;
    use crate::libvirt::Error;
    use crate::pipeline::output::journal;

    #[test]
    fn a_failure_whose_way_out_are_other_flags_leads_to_plan() {
        let name = || "web01".to_owned();
        let plan = Error::Plan(domain::Error::SecureBootOnBios);
        let named = domain::Error::NoBridge { bridge: name(), existing: vec![name()] };
        let within = Error::NotUndone {
            left: Vec::new(),
            source: Box::new(Error::DomainExists { name: name() }),
        };
        for (error, leads) in [
            (Error::DomainExists { name: name() }, true),
            (Error::NothingToReplace { name: name() }, true),
            (Error::Plan(named), true),
            (within, true),
            (plan, false),
            (Error::Running { name: name() }, false),
            (Error::PlanChanged { differences: vec!["--libvirt-name".to_owned()] }, false),
        ] {
            let error = journal::Error::Libvirt(error);
            let mut failure = Failure::new(Stage::Preflight, &error, Some("do".to_owned()));
            lead_to_plan(&mut failure);
            let hint = failure.hint.expect("kept");
            assert_eq!(hint.starts_with("write the plan again"), leads, "{error:?}: {hint}");
        }
    }
}
