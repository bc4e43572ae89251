//! The conversion as a stage of a run.

use std::io;
use std::path::Path;

use super::guest;
use super::stage_error::{At, StageError};
use super::stage_runner::StageRunner;
use crate::convert as converter;
use crate::manifest::Manifest;
use crate::model::{ConvertedDisks, Stage, Warning, WarningCode};
use crate::pipeline::output::save::save;

/// Runs the conversion as a stage. `None` if it fails or does not produce disks (a dry run).
pub async fn convert(
    ledger: &mut StageRunner<'_>,
    manifest: &mut Manifest,
    output: &Path,
    settings: &converter::Settings,
) -> Option<ConvertedDisks> {
    let (progress, cancel) = (ledger.progress, ledger.cancel);
    let work = async {
        converter::convert(manifest, output, settings, progress, cancel).await.at(Stage::Pipeline)
    };
    let mut converted = ledger.stage(Stage::Pipeline, work).await?;
    if converted.disks.is_some() {
        let text = serde_json::to_vec_pretty(&converted.report);
        let saved = text.map_err(io::Error::from);
        if let Err(error) = saved.and_then(|text| save(&output.join(converter::REPORT), &text)) {
            let text = format!("writing {}: {error}", converter::REPORT);
            ledger.warn(Warning::new(Stage::Pipeline, WarningCode::ReportNotSaved, text));
        }
    }
    if let Some(error) = &converted.fix_failure {
        // The disks are usable, and the domain gets hardware that the guest supports already.
        let failure = StageError::of(Stage::Pipeline, error).failure;
        ledger.report.errors.push(failure);
    }
    ledger.report.guest_changes = converted.changes;
    ledger.report.proof = converted.proof;
    ledger.warn_all(converted.warnings);
    if let Some(facts) = &converted.guest {
        guest::know(ledger, manifest, facts, converted.disks.as_mut());
    }
    ledger.report.plan.extend(converted.plan.into_iter().flat_map(|plan| plan.steps));
    ledger.report.converter = Some(converted.converter);
    ledger.report.converted.clone_from(&converted.disks);
    converted.disks
}
