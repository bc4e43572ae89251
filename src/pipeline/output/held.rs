//! The output directory of a run that may start: locked, and without the leftovers of a killed run.

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

/// A locked output directory, and the complete disks that a killed run left there.
pub(in crate::pipeline) struct LockedOutput {
    pub claim: OutputDir,
    pub whole: Vec<FinishedDisk>,
    pub after_kill: bool,
    /// Staging folder of a new export that will replace an old one.
    pub beside: Option<StagedFiles>,
}

impl LockedOutput {
    /// The folder to which an export is written.
    pub fn work<'a>(&'a self, output: &'a Path) -> &'a Path {
        self.beside.as_ref().map_or(output, StagedFiles::path)
    }

    /// Replaces the old export by the new one, if the new one was staged.
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
            // From here on, files are written to the output directory itself.
            let there = |name: &&String| !ready.output.join(name).exists();
            let makes = ready.makes.iter().filter(there).cloned().collect();
            self.claim.will_make(makes).at(Stage::Export)
        });
        noted.map_err(|stopped| ledger.report.errors.push(stopped.failure)).ok()
    }
}

/// Key of an export: the VM, its revision, and the compression of disks converted during the
/// download.
pub(in crate::pipeline) fn key(job: &Job, ready: &ReadyRun, revision: &str) -> String {
    let compression = stream::compression(job, &ready.streaming);
    let as_what = compression.map(|kind| format!(" {kind}")).unwrap_or_default();
    format!("{} {revision}{as_what}", identity(&ready.vm))
}

/// Identity of a VM on its server, independent of its name.
pub(in crate::pipeline) fn identity(vm: &SourceVm) -> String {
    let server = vm.origin.server.as_deref().unwrap_or_default();
    let uuid = vm.instance_uuid.as_deref().unwrap_or_default();
    format!("{server} {} {uuid}", vm.id)
}

/// Locks the output directory and removes the leftovers of a killed run, except complete disks of
/// the unchanged VM. A running VM counts as changed.
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
    // Files staged beside an old export are not in their place yet.
    if !replaced {
        let makes = ready.makes.iter().filter(|name| !earlier.contains(name)).cloned().collect();
        claim.will_make(makes).at(Stage::Preflight)?;
    }
    Ok(LockedOutput { claim, whole, after_kill, beside })
}
