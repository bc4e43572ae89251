//! The domain that an earlier run defined from the same export: it is kept unchanged. If it is
//! gone, its remaining volumes are removed.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::super::job::ImportSettings;
use super::super::output::records::{self, Record};
use super::super::output::report::RunReport;
use super::stage_error::StageError;
use crate::libvirt::{Error, UndoReport};
use crate::model::{ExportedDisk, Stage};
use crate::pipeline::output::reuse::{KeptDomain, PreviousConversion, ReusableExport};

/// Flags for actions that are done once. A later run need not repeat them.
const ONCE: [&str; 6] = [
    "--boot-proof",
    "--boot-test",
    "--libvirt-pool-path",
    "--libvirt-snapshot",
    "--replace",
    "--verify-upload",
];

/// The flag for the domain's name.
const NAME: &str = "--libvirt-name";

/// Why the domain could not be determined.
#[derive(Debug)]
pub enum Failed {
    /// libvirt has reported an error.
    Libvirt(Error),
    /// The domain was made from another export or conversion, or a record cannot be read.
    Refused(StageError),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Libvirt(error)
    }
}

impl From<StageError> for Failed {
    fn from(stopped: StageError) -> Self {
        Self::Refused(stopped)
    }
}

/// Finds the domain with the requested name that was defined from this directory, if it still
/// exists.
///
/// # Errors
/// [`Failed`], for example when the domain was defined from another export or with other flags.
pub async fn find(
    target: &ImportSettings,
    output: &Path,
    records: &[Record],
    vm_name: &str,
    kept: &ReusableExport,
) -> Result<Option<KeptDomain>, Failed> {
    let name = target.domain_name(vm_name);
    for record in of_target(target, records, &name) {
        let Some(domain) = record.report.domain.clone() else { continue };
        let connection = target.connections.open(&target.settings).await?;
        let now = connection.domain_now(&domain).await?;
        // A domain that a later run has renamed does not count.
        let Some(now) = now.filter(|now| now.name == name) else { continue };
        let made_at = match &kept.converted {
            PreviousConversion::Kept(kept) => kept.record.as_ref().map(|record| record.made_at),
            _ => None,
        };
        let differences = differences(record, target, &kept.disks, made_at);
        let gone = connection.missing_volumes(&domain).await?;
        if differences.is_empty() && gone.is_empty() {
            let active = now.active;
            return Ok(Some(KeptDomain { run: record.id.clone(), domain, active }));
        }
        if target.replace.as_ref() == Some(&name) {
            return Ok(None);
        }
        if let Some(path) = gone.first() {
            return Err(without_volume(&name, path, output).into());
        }
        let text = format!(
            "domain '{name}' exists already, and was defined from this folder in another way: {}",
            differences.join("; ")
        );
        let hint = format!(
            "pass --replace '{name}' to rename that domain, or --libvirt-name to define another \
             beside it; or run hyperexport undo {}, which removes that domain",
            output.display()
        );
        let stopped = StageError::because(Stage::Preflight, text, hint);
        return Err(stopped.coded("domain-differs").into());
    }
    Ok(None)
}

fn without_volume(name: &str, path: &str, output: &Path) -> StageError {
    let text = format!("domain '{name}' exists, but its volume {path} does not");
    let hint = format!(
        "run hyperexport undo {}, which removes the domain, then the same command again; or pass \
         --replace '{name}', which renames the domain; or restore the volume",
        output.display()
    );
    StageError::because(Stage::Preflight, text, hint).coded("volume-gone")
}

/// The run that defined the domain with the requested name, if that still exists, with any flags. A
/// domain that would be replaced must have its volumes.
///
/// # Errors
/// Errors of libvirt.
pub async fn standing<'a>(
    target: &ImportSettings,
    records: &'a [Record],
    vm_name: &str,
) -> Result<Option<&'a Record>, Error> {
    let name = target.domain_name(vm_name);
    for record in of_target(target, records, &name) {
        let Some(domain) = &record.report.domain else { continue };
        let connection = target.connections.open(&target.settings).await?;
        let now = connection.domain_now(domain).await?;
        if now.is_none_or(|now| now.name != name) {
            continue;
        }
        let replaced = target.replace.as_ref() == Some(&name);
        let is_whole = !replaced || connection.missing_volumes(domain).await?.is_empty();
        return Ok(is_whole.then_some(record));
    }
    Ok(None)
}

/// Whether an existing domain stays: it is not to be replaced, or it matches the request.
pub(in crate::pipeline) fn needs_no_copy(
    record: &Record,
    target: &ImportSettings,
    exported: &[ExportedDisk],
    result: &RunReport,
) -> bool {
    let domain = record.report.domain.as_ref();
    let replaced = target.replace.as_ref() == domain.map(|domain| &domain.name);
    let made_at = result.conversion.as_ref().map(|conversion| conversion.made_at);
    !replaced || differences(record, target, exported, made_at).is_empty()
}

/// Removes the volumes of a domain of this directory that is gone, if they are unchanged. A dry run
/// only reports them.
///
/// # Errors
/// Errors of libvirt.
pub async fn clear(
    target: &ImportSettings,
    records: &[Record],
    vm_name: &str,
    dry_run: bool,
    cancel: &CancellationToken,
) -> Result<UndoReport, Error> {
    let name = target.domain_name(vm_name);
    let mut cleared = UndoReport::default();
    for record in of_target(target, records, &name) {
        // Volumes have no marks: only a sealed record proves which ones belong to the run.
        let domain = record.report.domain.as_ref().filter(|domain| records::is_sealed(domain));
        let Some(domain) = domain else { continue };
        let connection = target.connections.open(&target.settings).await?;
        if connection.domain_now(domain).await?.is_some() {
            continue;
        }
        let converted = record.report.converted.iter().flat_map(|disks| &disks.0);
        let images: Vec<_> = converted
            .map(|disk| (disk.id.clone(), disk.path.clone()))
            .filter(|(_, path): &(_, PathBuf)| path.is_file())
            .collect();
        let removed = connection.remove_unchanged_volumes(domain, &images, dry_run, cancel);
        cleared.add(removed.await?);
    }
    Ok(cleared)
}

/// Runs that defined a domain of that name at this URI and were not undone, in their order.
fn of_target<'a>(
    target: &ImportSettings,
    records: &'a [Record],
    name: &str,
) -> impl Iterator<Item = &'a Record> + use<'a> {
    let (uri, name) = (target.settings.uri.clone(), name.to_owned());
    records.iter().filter(move |record| {
        let domain = record.report.domain.as_ref();
        !record.is_undone() && domain.is_some_and(|domain| domain.name == name && domain.uri == uri)
    })
}

/// Differences between the origin of the domain and the request.
fn differences(
    record: &Record,
    target: &ImportSettings,
    exported: &[ExportedDisk],
    made_at: Option<Timestamp>,
) -> Vec<String> {
    let report = &record.report;
    let mut found = Vec::new();
    let sums = |disks: &[ExportedDisk]| -> Vec<_> {
        disks.iter().map(|disk| (disk.id.clone(), disk.sha256)).collect()
    };
    let same_export = report.disks.is_empty() || sums(&report.disks) == sums(exported);
    let before = report.conversion.as_ref().map(|record| record.made_at);
    let same_conversion = match (before, made_at) {
        (Some(before), Some(now)) => before == now,
        _ => true,
    };
    if !same_export || !same_conversion {
        found.push("from another export or conversion".to_owned());
    }
    if let Some(then) = &report.target {
        // The domain was found by its name, so the flag does not matter.
        let (now, then) = (target.asked.without(NAME), then.without(NAME));
        found.extend(now.differences(&then.without_dropped(&ONCE, &now)));
    }
    found
}
