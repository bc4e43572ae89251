//! The import of a VM with its journal: its steps are noted in the output directory for as long as another
//! run may have to take them back.

use std::io;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::super::DOMAIN_XML;
use super::super::from_manifest::save;
use super::super::job::ImportSettings;
use super::super::output::journal::{self, JournalFile};
use super::super::output::records;
use super::super::output::report::RunReport;
use super::preflight::RunDetails;
use super::stage_runner::StageError;
use super::{guest, recovery, target};
use crate::libvirt;
use crate::manifest::Manifest;
use crate::model::{ConvertedDisks, GuestFacts, Stage};
use crate::progress::Progress;

/// The import of a VM.
pub(in crate::pipeline) struct Import<'a> {
    /// The manifest, and what a conversion of a manifest of another program found.
    pub known: (&'a Manifest, Option<&'a GuestFacts>),
    pub output: &'a Path,
    pub disks: &'a ConvertedDisks,
    pub target: &'a ImportSettings,
    /// Gets what was taken back first.
    pub told: &'a RunDetails,
    pub progress: &'a Progress,
    pub cancel: &'a CancellationToken,
}

impl Import<'_> {
    /// Imports. Its steps are noted in the output directory for as long as they may have to be taken
    /// back by another run, and then recorded in the report and its record: whether that could be
    /// written is returned.
    ///
    /// # Errors
    /// [`StageError`]; everything that was made is taken back.
    pub async fn run(&self, report: &mut RunReport) -> Result<io::Result<()>, StageError> {
        let Self { known: (manifest, facts), output, disks, target, told, progress, cancel } = self;
        let stopped = |error: journal::Error| StageError::new(Stage::Libvirt, &error, error.hint());
        // Not found in preflight if the target could not be reached then.
        let recovered = journal::recover(output, target).await.map_err(stopped)?;
        told.warn_all(recovery::of_taken(&recovered.taken));
        told.warn_all(recovered.kept.iter().map(|kept| recovery::of_kept(kept, output)).collect());
        let vm = guest::planned(manifest, *facts);
        guest::check(&vm, target, Stage::Libvirt)?;
        records::prepare(output).map_err(|error| {
            let text =
                format!("record the run in {}: {error}", output.join(records::FOLDER).display());
            StageError::because(Stage::Libvirt, text, "move away what is in its place")
        })?;
        let so_far = RunReport { target: Some(target.asked.clone()), ..report.clone() };
        let journal = JournalFile::begin(output, &target.settings.uri, &so_far).map_err(stopped)?;
        let (writer, _pulse) = (journal.writer(), journal.pulse().map_err(stopped)?);
        let disks = target::with_media(disks, manifest.media());
        let imported = target::import(target, &vm, &disks, &writer, (progress, cancel)).await;
        let mut domain = match imported {
            Ok(domain) => domain,
            Err(error) => {
                if !matches!(error, libvirt::Error::NotUndone { .. }) {
                    journal.end().map_err(stopped)?;
                }
                return Err(StageError::new(Stage::Libvirt, &error, error.hint()));
            }
        };
        // Where there is no key by now, undo goes by the marks on what was made.
        domain.seal = records::seal(&domain).unwrap_or_default();
        let saved = save(&output.join(DOMAIN_XML), domain.xml.as_bytes());
        (report.domain, report.target) = (Some(domain), Some(target.asked.clone()));
        // Before the journal ends: whenever the run is killed, one of the two tells how to undo it.
        let recorded = records::begin(report);
        journal.end().map_err(stopped)?;
        Ok(recorded.and(saved))
    }
}
