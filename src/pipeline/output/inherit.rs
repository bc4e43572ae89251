//! Values that the report of a run copies from the previous run.

use serde::Deserialize;
use serde_json::Value;

use super::super::stage::stage_runner::StageRunner;
use super::made::SourceNow;
use super::ours;
use super::report::RunReport;
use super::reuse::{PreviousConversion, ReusableExport};
use crate::model::{ConvertedDisks, Stage, Warning, WarningCode};
use crate::pipeline::stage::ready::ReadyRun;
use crate::{convert, state};

/// Longest report of a conversion that is read, in bytes.
pub(in crate::pipeline) const LARGEST_REPORT: u64 = 64 << 20;

/// Codes of warnings about the converting run itself, not about its results.
const PASSED: [WarningCode; 7] = [
    WarningCode::Hyper2kvmNotIsolated,
    WarningCode::Hyper2kvmUnsafePath,
    WarningCode::Hyper2kvmUnusable,
    WarningCode::LibguestfsWithoutKvm,
    WarningCode::ManifestNotUpdated,
    WarningCode::ReportNotSaved,
    WarningCode::WorkFolderLeft,
];

/// Copies results of an earlier run that still exist into the report.
pub(in crate::pipeline) fn inherit(
    kept: &ReusableExport,
    ready: &ReadyRun,
    ledger: &mut StageRunner<'_>,
) {
    let report = &mut ledger.report;
    report.disks.clone_from(&kept.disks);
    report.media.clone_from(&kept.exported().media);
    report.nvram = kept.nvram.clone().filter(|nvram| nvram.path.is_file());
    report.package.clone_from(&kept.package);
    report.manifest = kept.manifest.as_ref().map(|_| kept.manifest_path.clone());
    report.export = Some(kept.taken.clone());
    let powered_off = kept.taken.state.as_ref().and_then(|state| state.powered_off);
    report.source = Some(SourceNow::of(ready.state.clone(), powered_off));
    // Files of the conversion may outlast its disks.
    report.conversion = kept.result.as_ref().and_then(|result| result.conversion.clone());
    if !matches!(kept.converted, PreviousConversion::Again(_)) {
        keep_conversion(kept, ledger);
    }
}

/// Warnings of the conversion in `earlier` that are valid while its disks are used. They come from
/// the result, and from the conversion's own report, which outlives many results.
pub(in crate::pipeline) fn warnings(earlier: &RunReport) -> Vec<Warning> {
    let path = earlier.output.join(convert::REPORT);
    let text = state::read_own(&path, LARGEST_REPORT).ok().flatten();
    let text = text.filter(|_| ours::has_converted(earlier));
    let report: Option<Value> = text.and_then(|text| serde_json::from_slice(&text).ok());
    let told = report.as_ref().and_then(|report| report["warnings"].as_array());
    // Warnings of hyper2kvm itself have no code.
    let told = told.into_iter().flatten().filter_map(|told| Warning::deserialize(told).ok());
    let holds =
        |warning: &Warning| warning.stage == Stage::Pipeline && !PASSED.contains(&warning.code);
    let mut found: Vec<Warning> = Vec::new();
    for warning in earlier.warnings.iter().cloned().chain(told).filter(holds) {
        if !found.contains(&warning) {
            found.push(warning);
        }
    }
    found
}

/// Copies the conversion of an earlier run into the report, if its disks exist or are not needed.
pub(in crate::pipeline) fn keep_conversion(kept: &ReusableExport, ledger: &mut StageRunner<'_>) {
    let (Some(earlier), report) = (&kept.result, &mut ledger.report) else { return };
    let there = |disks: &ConvertedDisks| disks.0.iter().all(|disk| disk.path.is_file());
    let serves = matches!(kept.converted, PreviousConversion::Kept(_));
    if serves || earlier.converted.as_ref().is_some_and(there) {
        report.converted.clone_from(&earlier.converted);
        report.converter.clone_from(&earlier.converter);
        report.conversion.clone_from(&earlier.conversion);
        report.guest.clone_from(&earlier.guest);
        report.guest_changes.clone_from(&earlier.guest_changes);
        report.proof.clone_from(&earlier.proof);
        ledger.warn_news(warnings(earlier));
    }
}
