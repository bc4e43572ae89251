//! The output directory of a run that may begin: claimed, and without what a dead run left.

use std::path::Path;

use super::super::job::Job;
use super::super::stage::stage_error::{At, StageError};
use super::super::stage::stage_runner::StageRunner;
use super::super::stage::stream;
use super::in_use::InUse;
use super::output_lock::OutputDir;
use super::reuse::PreviousRun;
use super::staged_files::{self, StagedFiles};
use super::{ours, replace};
use crate::exporter::FinishedDisk;
use crate::manifest::Manifest;
use crate::model::{ExportFile, PowerState, SourceVm, Stage};
use crate::pipeline::stage::ready::ReadyRun;

/// A claimed output directory, and what a dead run left whole there.
pub(in crate::pipeline) struct LockedOutput {
    pub claim: OutputDir,
    pub whole: Vec<FinishedDisk>,
    pub after_kill: bool,
    /// Where a new export is made that will take the place of an old one.
    pub beside: Option<StagedFiles>,
}

impl LockedOutput {
    /// The folder that an export goes to.
    pub fn work<'a>(&'a self, output: &'a Path) -> &'a Path {
        self.beside.as_ref().map_or(output, StagedFiles::path)
    }

    /// Has a new export take the place of the old one, if it was made beside one.
    pub fn replace(
        &mut self,
        ready: &ReadyRun,
        manifest: Option<&mut Manifest>,
        ledger: &mut StageRunner<'_>,
    ) -> Option<()> {
        let Some(beside) = self.beside.take() else { return Some(()) };
        let PreviousRun::Replaced(names) = &ready.earlier else { return Some(()) };
        let replaced = replace::commit(beside, names, manifest, ledger);
        let noted = replaced.and_then(|()| {
            // From here on files are made in the output directory itself.
            let there = |name: &&String| !ready.output.join(name).exists();
            let makes = ready.makes.iter().filter(there).cloned().collect();
            self.claim.will_make(makes).at(Stage::Export)
        });
        noted.map_err(|stopped| ledger.report.errors.push(stopped.failure)).ok()
    }
}

/// What is exported, in which state of it, and what it becomes while it leaves the source.
pub(in crate::pipeline) fn key(job: &Job, ready: &ReadyRun, revision: &str) -> String {
    let compression = stream::compression(job, &ready.streaming);
    let as_what = compression.map(|kind| format!(" {kind}")).unwrap_or_default();
    format!("{} {revision}{as_what}", identity(&ready.vm))
}

/// Which VM of which server this is, whatever its name.
pub(in crate::pipeline) fn identity(vm: &SourceVm) -> String {
    let server = vm.origin.server.as_deref().unwrap_or_default();
    let uuid = vm.instance_uuid.as_deref().unwrap_or_default();
    format!("{server} {} {uuid}", vm.id)
}

/// Claims the output directory and removes what a dead run left there, but for whole disks of the
/// VM as it still is. One that runs is not as it was.
pub(in crate::pipeline) fn take(job: &Job, ready: &ReadyRun) -> Result<LockedOutput, StageError> {
    let io = |source| {
        let path = ready.output.join(staged_files::FRESH);
        StageError::of(Stage::Preflight, &super::output_lock::Error::Io { path, source })
    };
    let mut claim = OutputDir::take(&ready.output).at(Stage::Preflight)?;
    if let Some(pool) = job.target.as_ref().and_then(|target| target.pool_path.as_ref()) {
        claim.leads_to(pool).at(Stage::Preflight)?;
    }
    let after_kill = claim.is_of_dead_run();
    let known = ready.vm.power == PowerState::Off && !ready.state.revision.is_empty();
    let whole = match &ready.earlier {
        PreviousRun::Nothing | PreviousRun::Replaced(_) if known => {
            claim.whole_disks(&key(job, ready, &ready.state.revision))
        }
        _ => Vec::new(),
    };
    let of_whole = |file: &&ExportFile| whole.iter().any(|disk| file.is_of(&disk.id));
    let whole_names: Vec<_> =
        ready.exports.iter().filter(of_whole).map(|file| file.name.clone()).collect();
    let in_use = InUse::read(&ready.output)?.names(&ready.output);
    let mut earlier = [ready.earlier.kept_names(), in_use].concat();
    earlier.retain(|name| ours::is_there(&ready.output, name));
    let replaced = matches!(ready.earlier, PreviousRun::Replaced(_));
    let beside = match replaced {
        true => Some(StagedFiles::begin(&ready.output, &whole_names).map_err(io)?),
        false => {
            staged_files::remove_unfinished(&ready.output).map_err(io)?;
            None
        }
    };
    let kept = if replaced { earlier.clone() } else { [earlier.clone(), whole_names].concat() };
    claim.remove_leftovers(&kept).at(Stage::Preflight)?;
    // What is made beside an old export is not in its place yet.
    if !replaced {
        let makes = ready.makes.iter().filter(|name| !earlier.contains(name)).cloned().collect();
        claim.will_make(makes).at(Stage::Preflight)?;
    }
    Ok(LockedOutput { claim, whole, after_kill, beside })
}
