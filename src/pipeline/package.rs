//! The package that an export becomes, if one is asked for.

use std::path::Path;

use super::earlier::Kept;
use super::job::Job;
use super::preflight::Ready;
use super::report::{Package, StageStatus};
use super::run::remove;
use super::stages::{Ledger, Stopped};
use crate::exporter::{self, PackageFormat, write_package};
use crate::model::{ExportedVm, Stage};

/// Writes it into `folder`; says whether all is well. An OVA takes the place of its files.
pub async fn write(
    job: &Job,
    exported: &ExportedVm,
    folder: &Path,
    ledger: &mut Ledger<'_>,
) -> bool {
    let format = job.format;
    if format == PackageFormat::Disks {
        return true;
    }
    let (exported, directory) = (exported.clone(), folder.to_owned());
    let (progress, cancel) = (ledger.progress.clone(), ledger.cancel.clone());
    let work = async move {
        let stopped = |error: exporter::Error| Stopped::new(Stage::Package, &error, error.hint());
        let work = move || write_package(&exported, format, &directory, &progress, &cancel);
        match tokio::task::spawn_blocking(work).await {
            Ok(written) => written.map_err(stopped),
            Err(error) => Err(Stopped::new(Stage::Package, &error, None)),
        }
    };
    let Some((path, size)) = ledger.stage(Stage::Package, work).await else { return false };
    ledger.report.package = Some(Package { path, size });
    if format == PackageFormat::Ova {
        let disks = std::mem::take(&mut ledger.report.disks).into_iter().map(|disk| disk.path);
        let nvram = ledger.report.nvram.take().map(|nvram| nvram.path);
        remove(disks.chain(nvram), ledger);
    }
    true
}

/// Writes that of an export which an earlier run made, unless it is there.
pub async fn of_kept(job: &Job, kept: &Kept, ready: &Ready, ledger: &mut Ledger<'_>) -> bool {
    let names = job.format.makes(&ready.vm.name);
    if names.is_empty() {
        return true;
    }
    if names.iter().all(|name| ready.output.join(name).is_file()) {
        ledger.without(Stage::Package, StageStatus::Kept);
        return true;
    }
    write(job, &kept.exported(), &ready.output, ledger).await
}
