//! Repeats a conversion, because another one is requested or its FIX failed. The new results are
//! staged beside the old ones and replace them when they are complete.

use std::path::Path;

use super::super::job::Job;
use super::super::output::made::RecordedExport;
use super::super::output::staged_files::{self, StagedFiles};
use super::super::output::{converted, replace, stored};
use super::stage_error::StageError;
use super::stage_runner::StageRunner;
use super::{conversion, stream};
use crate::convert;
use crate::manifest::{self, Manifest};
use crate::model::{ConvertedDisks, Stage};
use crate::pipeline::output::BOTH_WAYS;
use crate::pipeline::output::reuse::Again;

pub(in crate::pipeline) struct Redo<'a> {
    pub job: &'a Job,
    pub again: &'a Again,
    pub settings: &'a convert::Settings,
}

impl Redo<'_> {
    /// Converts again; `None` if the conversion fails, and the old results stay.
    pub async fn run(
        &self,
        manifest: &mut Manifest,
        output: &Path,
        ledger: &mut StageRunner<'_>,
    ) -> Option<ConvertedDisks> {
        let Self { job, again, settings } = self;
        ledger.progress.note(format!("converting again: {}", again.why.join("; ")));
        let mut source = manifest.clone();
        if again.from_results {
            forget_streams(&mut source);
        }
        if settings.dry_run {
            // Existing results are an obstacle only in the folder to which new ones are written.
            let folder = output.join(staged_files::FRESH);
            conversion::convert(ledger, &mut source, &folder, settings).await;
            for step in &mut ledger.report.plan {
                *step = step.replace(&*folder.to_string_lossy(), &output.to_string_lossy());
            }
            return None;
        }
        let beside = match StagedFiles::begin(output, &[]) {
            Ok(beside) => beside,
            Err(error) => {
                let text = format!("making a folder in {}: {error}", output.display());
                let stopped = StageError::because(Stage::Pipeline, text, BOTH_WAYS);
                ledger.report.errors.push(stopped.failure);
                return None;
            }
        };
        // The manifest is updated together with the new results.
        let path = ledger.report.manifest.take();
        let disks = conversion::convert(ledger, &mut source, beside.path(), settings).await;
        ledger.report.manifest = path;
        converted::note(ledger, &job.asked, settings);
        let Some(disks) = disks else {
            replace::discard(beside, ledger);
            return None;
        };
        let mut updated = manifest.describe(&source.source_vm());
        if again.from_results {
            if let Err(error) = describe(ledger, manifest, &disks, &beside).await {
                let stopped = StageError::of(Stage::Manifest, &error);
                ledger.report.errors.push(stopped.failure);
                replace::discard(beside, ledger);
                ledger.report.converted = None;
                return None;
            }
            ledger.report.disks = stored::exported_disks(manifest).unwrap_or_default();
            updated = true;
        }
        // This includes files that only the old results have: the cloud-init seed, the log of
        // another converter.
        let logs = convert::LOGS.iter().chain([&convert::REPORT]).map(|name| (*name).to_owned());
        let replaces: Vec<_> = again.replaces.iter().cloned().chain(logs).collect();
        match replace::commit(beside, &replaces, updated.then_some(manifest), ledger) {
            Ok(()) => ledger.report.converted.clone(),
            Err(stopped) => {
                ledger.report.errors.push(stopped.failure);
                None
            }
        }
    }
}

/// Updates the manifest of results that are also the export: checksums are those of the new files.
async fn describe(
    ledger: &StageRunner<'_>,
    manifest: &mut Manifest,
    results: &ConvertedDisks,
    beside: &StagedFiles,
) -> Result<(), manifest::Error> {
    for result in &results.0 {
        let is_it = |disk: &&mut manifest::Disk| {
            disk.id == result.id && disk.local_path == beside.moved(&result.path)
        };
        let Some(disk) = manifest.disks.iter_mut().find(is_it) else { continue };
        let read = |source| manifest::Error::Read { path: result.path.clone(), source };
        let bytes = std::fs::metadata(&result.path).map_err(read)?.len();
        let new = manifest::Disk { local_path: result.path.clone(), bytes, ..disk.clone() };
        let checksum = Some(manifest::sum_of(&new, ledger.progress, ledger.cancel).await?);
        *disk = manifest::Disk { checksum, ..new };
    }
    Ok(())
}

/// Disks that were compressed differently during the download are converted like all others.
pub(in crate::pipeline) fn forget_other_compression(
    taken: &RecordedExport,
    settings: &convert::Settings,
    manifest: &mut Manifest,
) {
    let asked = stream::named(settings);
    if taken.compression.as_ref().is_some_and(|compression| *compression != asked) {
        forget_streams(manifest);
    }
}

fn forget_streams(manifest: &mut Manifest) {
    let exact = manifest.metadata.as_mut().and_then(|metadata| metadata.hyperexport.as_mut());
    if let Some(exact) = exact {
        exact.received.clear();
    }
}
