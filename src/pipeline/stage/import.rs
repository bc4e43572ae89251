//! Imports a VM with its journal: steps are recorded in the output directory as long as another run
//! may have to undo them.

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

/// Uploads the volumes and defines the domain. libvirt's version of the domain is saved as
/// `domain.xml`. Returns whether the stage has succeeded.
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
    // The warnings of preflight were based on expected disks; these are based on the converted
    // ones.
    ledger.warn_news(warnings.unwrap_or_default());
    if let Err(error) = recorded {
        let text =
            format!("recording the run in {}: {error}; the domain is defined", output.display());
        ledger.warn(Warning::new(Stage::Libvirt, WarningCode::RunNotRecorded, text));
    }
    true
}

/// As [`definition`], for disks that an earlier run converted: warns of disks that have changed
/// since.
pub async fn definition_of_known(
    ledger: &mut StageRunner<'_>,
    manifest: &Manifest,
    output: &Path,
    disks: &ConvertedDisks,
    target: &ImportSettings,
) -> bool {
    let stop = ledger.cancel.child_token();
    let control = Control { progress: ledger.progress, cancel: &stop };
    // The domain gets the disks, changed or not.
    let mut given = disks.clone();
    given.0.iter_mut().for_each(|disk| disk.content = None);
    let mut changed = None;
    // During a boot proof, the guest writes to images that are used in place.
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

struct Import<'a> {
    /// The manifest, and the facts of the conversion for a manifest of another program.
    known: (&'a Manifest, Option<&'a GuestFacts>),
    output: &'a Path,
    /// The output directory, by its descriptor.
    folder: &'a Folder,
    disks: &'a ConvertedDisks,
    target: &'a ImportSettings,
    /// Collects warnings about steps of a killed run that were undone first.
    told: &'a RunDetails,
    progress: &'a Progress,
    cancel: &'a CancellationToken,
}

impl Import<'_> {
    /// Imports the VM. Its steps are recorded in the journal as long as another run may have to
    /// undo them, and then in the report and its record. Returns whether these could be written.
    ///
    /// # Errors
    /// [`StageError`]; all objects that were created are removed.
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
        // Preflight could not do this if the target was unreachable then.
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
        // Without a key, undo relies on the marks on the created objects.
        domain.seal = records::seal(&domain).unwrap_or_default();
        let saved = folder.save(DOMAIN_XML, domain.xml.as_bytes());
        (report.domain, report.target) = (Some(domain), Some(target.asked.clone()));
        // Before the journal ends: a run killed at any moment leaves one of the two for the undo.
        let recorded = records::begin(report);
        journal.end().at(Stage::Libvirt)?;
        let noted = report.domain.as_ref().map_or(Ok(()), |domain| note_content(folder, domain));
        Ok(recorded.and(saved).and(noted))
    }
}

/// Adds content hashes of volumes that were read back to the report of the conversion.
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
    // A report without a proof is of an earlier version, or of another program.
    let Some(mut report) = report.filter(|report| report["proof"].is_object()) else {
        return Ok(());
    };
    if !told.is_empty() {
        report["volumes"] = json!(told);
        folder.save(convert::REPORT, &serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}
