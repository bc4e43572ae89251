//! The import of a VM with its journal: its steps are noted in the output directory for as long as
//! another run may have to take them back.

use std::io;
use std::path::Path;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::DOMAIN_XML;
use super::super::job::ImportSettings;
use super::super::output::inherit::LARGEST_REPORT;
use super::super::output::journal::{self, JournalFile};
use super::super::output::report::RunReport;
use super::super::output::{converted, records};
use super::ready::RunDetails;
use super::stage_error::{At, StageError};
use super::stage_runner::StageRunner;
use super::{guest, recovery, target};
use crate::convert::{self, ReportedVolume};
use crate::libvirt::{self, DefinedDomain};
use crate::manifest::Manifest;
use crate::model::{ConvertedDisks, GuestFacts, Stage, Warning, WarningCode};
use crate::pipeline::output::result_file::RECORDS;
use crate::progress::{Control, Progress};
use crate::state::Folder;

/// Volumes and domain. What libvirt made of the domain is kept as `domain.xml`.
pub async fn definition(
    ledger: &mut StageRunner<'_>,
    manifest: &Manifest,
    output: &Path,
    disks: &ConvertedDisks,
    target: &ImportSettings,
) -> bool {
    let (progress, cancel) = (ledger.progress, ledger.cancel);
    ledger.warn_news(target::gone_media(manifest.media()));
    let facts = ledger.report.guest.clone();
    let mut so_far = ledger.report.clone();
    let (told, claimed) = (RunDetails::default(), ledger.folder.clone());
    let work = async {
        let known = (manifest, facts.as_ref());
        let folder = claimed.map_or_else(|| Folder::open(output).at(Stage::Libvirt), Ok)?;
        let (folder, told) = (&folder, &told);
        let import = Import { known, output, folder, disks, target, told, progress, cancel };
        let recorded = import.run(&mut so_far).await?;
        Ok((so_far, recorded))
    };
    let done = ledger.stage(Stage::Libvirt, work).await;
    ledger.warn_all(told.warnings());
    let Some((so_far, recorded)) = done else { return false };
    let report = &mut ledger.report;
    (report.domain, report.target, report.run) = (so_far.domain, so_far.target, so_far.run);
    let warnings = report.domain.as_ref().map(|domain| domain.warnings.clone());
    // Preflight knew the disks as a conversion was to leave them; these go by what it left.
    ledger.warn_news(warnings.unwrap_or_default());
    if let Err(error) = recorded {
        let text =
            format!("recording the run in {}: {error}; the domain is defined", output.display());
        ledger.warn(Warning::new(Stage::Libvirt, WarningCode::RunNotRecorded, text));
    }
    true
}

/// The same of disks that an earlier run converted: each that has changed since is warned of.
pub async fn definition_of_known(
    ledger: &mut StageRunner<'_>,
    manifest: &Manifest,
    output: &Path,
    disks: &ConvertedDisks,
    target: &ImportSettings,
) -> bool {
    let stop = ledger.cancel.child_token();
    let control = Control { progress: ledger.progress, cancel: &stop };
    // The domain gets them changed or not.
    let mut given = disks.clone();
    given.0.iter_mut().for_each(|disk| disk.content = None);
    let mut changed = None;
    // The guest of a boot proof writes to images that lie in the pool.
    let is_first = target.after.boot_proof.is_some();
    if is_first {
        changed = converted::content_warning(disks, control).await;
    }
    let defining = async {
        let defined = definition(ledger, manifest, output, &given, target).await;
        if !defined {
            stop.cancel();
        }
        defined
    };
    let beside = async {
        if !is_first {
            changed = converted::content_warning(disks, control).await;
        }
    };
    let (defined, ()) = tokio::join!(defining, beside);
    ledger.warn_all(changed);
    defined
}

/// The import of a VM.
struct Import<'a> {
    /// The manifest, and what a conversion of a manifest of another program found.
    known: (&'a Manifest, Option<&'a GuestFacts>),
    output: &'a Path,
    /// The same by its descriptor.
    folder: &'a Folder,
    disks: &'a ConvertedDisks,
    target: &'a ImportSettings,
    /// Gets what was undone first.
    told: &'a RunDetails,
    progress: &'a Progress,
    cancel: &'a CancellationToken,
}

impl Import<'_> {
    /// Imports. Its steps are noted in the output directory for as long as they may have to be
    /// undone by another run, and then recorded in the report and its record: whether that
    /// could be written is returned.
    ///
    /// # Errors
    /// [`StageError`]; everything that was made is undone.
    async fn run(&self, report: &mut RunReport) -> Result<io::Result<()>, StageError> {
        let Self {
            known: (manifest, facts),
            output,
            folder,
            disks,
            target,
            told,
            progress,
            cancel,
        } = self;
        // Not found in preflight if the target could not be reached then.
        let recovered = journal::recover(output, target).await.at(Stage::Libvirt)?;
        told.warn_all(recovery::of_taken(&recovered.taken));
        told.warn_all(recovered.kept.iter().map(|kept| recovery::of_kept(kept, output)).collect());
        let vm = guest::planned(manifest, *facts);
        guest::check(&vm, target, Stage::Libvirt)?;
        records::prepare(output).map_err(|error| {
            let text = format!("recording the run in {}: {error}", output.join(RECORDS).display());
            StageError::because(Stage::Libvirt, text, "move away what is in its place")
        })?;
        let so_far = RunReport { target: Some(target.asked.clone()), ..report.clone() };
        let journal =
            JournalFile::begin(folder, &target.settings.uri, &so_far).at(Stage::Libvirt)?;
        let (writer, _pulse) = (journal.writer(), journal.pulse().at(Stage::Libvirt)?);
        let disks = target::with_media(disks, manifest.media());
        let imported =
            target::import(target, &vm, &disks, &writer, Control { progress, cancel }).await;
        let mut domain = match imported {
            Ok(domain) => domain,
            Err(error) => {
                if !matches!(error, libvirt::Error::NotUndone { .. }) {
                    journal.end().at(Stage::Libvirt)?;
                }
                return Err(StageError::of(Stage::Libvirt, &error));
            }
        };
        // Where there is no key by now, undo goes by the marks on what was made.
        domain.seal = records::seal(&domain).unwrap_or_default();
        let saved = folder.save(DOMAIN_XML, domain.xml.as_bytes());
        (report.domain, report.target) = (Some(domain), Some(target.asked.clone()));
        // Before the journal ends: whenever the run is killed, one of the two tells how to undo it.
        let recorded = records::begin(report);
        journal.end().at(Stage::Libvirt)?;
        let noted = report.domain.as_ref().map_or(Ok(()), |domain| note_content(folder, domain));
        Ok(recorded.and(saved).and(noted))
    }
}

/// Adds the content of volumes that were read back to the report of the conversion.
fn note_content(folder: &Folder, domain: &DefinedDomain) -> io::Result<()> {
    let read_back = domain.volumes.iter().filter_map(|volume| Some((volume, volume.content?)));
    let told: Vec<_> = read_back
        .map(|(volume, content)| {
            let (disk_id, name) = (volume.disk.clone(), volume.name.clone());
            ReportedVolume { disk_id, name, content }
        })
        .collect();
    let text = folder.read_own(convert::REPORT, LARGEST_REPORT).ok().flatten();
    let report: Option<Value> = text.and_then(|text| serde_json::from_slice(&text).ok());
    // One without a proof is of an earlier version, or of somebody else.
    let Some(mut report) = report.filter(|report| report["proof"].is_object()) else {
        return Ok(());
    };
    if !told.is_empty() {
        report["volumes"] = json!(told);
        folder.save(convert::REPORT, &serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}
