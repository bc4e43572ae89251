//! The OVF or OVA package of an export.

use std::path::Path;

use super::super::job::Job;
use super::super::output::file_sums;
use super::super::output::report::{PackageReport, StageStatus};
use super::super::run::remove;
use super::ready::ReadyRun;
use super::stage_error::{At, StageError};
use super::stage_runner::StageRunner;
use crate::exporter::{self, PackageFormat, write_package};
use crate::model::{ExportedVm, Stage, Warning, WarningCode};
use crate::pipeline::output::BOTH_WAYS;
use crate::pipeline::output::reuse::ReusableExport;
use crate::progress::Control;

/// Writes the package into `folder`; returns whether that succeeded. An OVA replaces its files.
pub async fn write(
    job: &Job,
    exported: &ExportedVm,
    folder: &Path,
    ledger: &mut StageRunner<'_>,
) -> bool {
    let format = job.format;
    if format == PackageFormat::Disks {
        return true;
    }
    let (exported, directory) = (exported.clone(), folder.to_owned());
    let (progress, cancel) = (ledger.progress.clone(), ledger.cancel.clone());
    let work = async move {
        let work = move || write_package(&exported, format, &directory, &progress, &cancel);
        match tokio::task::spawn_blocking(work).await {
            Ok(written) => written.at(Stage::Package),
            Err(error) => Err(StageError::new(Stage::Package, &error, None)),
        }
    };
    let Some(written) = ledger.stage(Stage::Package, work).await else { return false };
    let exporter::WrittenPackage { path, size, sums } = written;
    for medium in &ledger.report.media.clone() {
        let text = format!(
            "{} contains no CD-ROM: {} is beside it",
            path.display(),
            medium.path.display()
        );
        ledger.warn(Warning::new(Stage::Package, WarningCode::IsoNotPacked, text));
    }
    ledger.report.package = Some(PackageReport { path, size, sums });
    if format == PackageFormat::Ova {
        let disks = std::mem::take(&mut ledger.report.disks).into_iter().map(|disk| disk.path);
        let nvram = ledger.report.nvram.take().map(|nvram| nvram.path);
        remove(disks.chain(nvram), ledger);
    }
    true
}

/// Writes the package of an export that an earlier run made, unless it exists unchanged.
pub async fn of_kept(
    job: &Job,
    kept: &ReusableExport,
    ready: &ReadyRun,
    ledger: &mut StageRunner<'_>,
) -> bool {
    let names = job.format.makes(&ready.vm.name);
    if names.is_empty() {
        return true;
    }
    if names.iter().all(|name| ready.output.join(name).is_file()) {
        let check = unchanged(kept, &ready.output, ledger.control());
        return ledger.stage_as(Stage::Package, StageStatus::Kept, check).await.is_some();
    }
    if kept.package.is_some() {
        // Some files of the package are gone: descriptor and checksums must be written together.
        remove(names.iter().map(|name| ready.output.join(name)), ledger);
    }
    write(job, &kept.exported(), &ready.output, ledger).await
}

/// Compares the files of a package with their records.
async fn unchanged(
    kept: &ReusableExport,
    output: &Path,
    control: Control<'_>,
) -> Result<(), StageError> {
    let Some(package) = &kept.package else { return Ok(()) };
    let size = package.path.metadata().map(|found| found.len()).unwrap_or_default();
    if size != package.size.0 {
        let (path, expected) = (package.path.display(), package.size.0);
        let text = format!("{path} has {size} bytes, not {expected}");
        return Err(StageError::because(Stage::Package, text, BOTH_WAYS).coded("size-differs"));
    }
    for (name, sum) in &package.sums {
        file_sums::check(&output.join(name), *sum, Stage::Package, control).await?;
    }
    Ok(())
}
