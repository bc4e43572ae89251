//! The export stage: powers a running VM off or takes a snapshot, if requested, and downloads its
//! disks.

use std::cell::RefCell;

use tokio_util::sync::CancellationToken;

use super::super::job::Job;
use super::super::output::held::{LockedOutput, identity, key};
use super::super::output::made::SourceNow;
use super::super::output::output_lock::SwitchedOff;
use super::asked::Flags;
use super::ready::ReadyRun;
use super::stage_error::{At, StageError};
use crate::exporter::source::Source;
use crate::exporter::{ExportRequest, SNAPSHOT_PREFIX, SnapshotRequest};
use crate::model::{ExportState, ExportedVm, PowerState, PoweredOff, Stage, Warning, WarningCode};
use crate::progress::Progress;

pub(in crate::pipeline) struct ExportStage<'a> {
    job: &'a Job,
    source: &'a Source,
    ready: &'a ReadyRun,
    held: &'a LockedOutput,
    /// Last known state of the VM, also after a failed export.
    seen: RefCell<SourceNow>,
    warnings: RefCell<Vec<Warning>>,
}

impl<'a> ExportStage<'a> {
    pub fn new(
        job: &'a Job,
        source: &'a Source,
        ready: &'a ReadyRun,
        held: &'a LockedOutput,
    ) -> Self {
        let seen = SourceNow::of(ready.state.clone(), None);
        let (seen, warnings) = (RefCell::new(seen), RefCell::default());
        Self { job, source, ready, held, seen, warnings }
    }

    /// The last known state of the VM, and the warnings about it.
    pub fn seen(self) -> (SourceNow, Vec<Warning>) {
        (self.seen.into_inner(), self.warnings.into_inner())
    }

    /// Exports; the returned state is the one in which the disks were read.
    pub async fn run(
        &self,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<(ExportedVm, ExportState), StageError> {
        let (mut vm, claim) = (self.ready.vm.clone(), &self.held.claim);
        let mut state = self.ready.state.clone();
        let powered_off = self.switch_off(progress, cancel).await?;
        if vm.power == PowerState::On && self.job.power_off.is_some() {
            vm.power = PowerState::Off;
            state = self.source.state(&vm).await.at(Stage::Export)?;
        }
        self.seen.borrow_mut().state.clone_from(&state);
        self.source.remove_snapshots(&vm, &claim.snapshots(), progress).await.at(Stage::Export)?;
        let snapshot = self.snapshot().at(Stage::Export)?;
        let whole = self.held.whole.clone();
        claim
            .exports(&key(self.job, self.ready, &state.revision), whole.clone())
            .at(Stage::Export)?;
        let of_snapshot = snapshot.is_some();
        let request = ExportRequest {
            directory: self.held.work(&self.ready.output).to_owned(),
            whole,
            snapshot,
            after_kill: self.held.after_kill,
            note: Some(&|disk| claim.has(disk)),
            limit: self.job.limit.clone(),
        };
        let exported = self.source.export(&vm, &request, progress, cancel).await;
        let exported = exported.at(Stage::Export)?;
        // The VM could not be started while its disks were read. Late effects of its shutdown may
        // have changed its revision.
        if let Ok(after) = self.source.state(&vm).await {
            self.seen.borrow_mut().state.clone_from(&after);
            if !of_snapshot && after.power == vm.power {
                state = after;
            }
        }
        let asked = Some(Flags::of_export(self.job, &vm.name).0);
        Ok((exported, ExportState { source: state, snapshot: of_snapshot, powered_off, asked }))
    }

    /// Powers a running VM off, if requested.
    async fn switch_off(
        &self,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<Option<PoweredOff>, StageError> {
        let vm = &self.ready.vm;
        let Some(how) = self.job.power_off.filter(|_| vm.power == PowerState::On) else {
            return Ok(None);
        };
        progress.note(format!("shutting down {}", vm.name));
        // Recorded first: whatever happens to this run, the VM must be powered on again.
        let noted =
            |how| SwitchedOff { vm: identity(vm), id: vm.id.clone(), name: vm.name.clone(), how };
        self.held.claim.switches_off(noted(None)).at(Stage::Export)?;
        let off = self.source.power_off(vm, how, progress, cancel).await.at(Stage::Export)?;
        self.seen.borrow_mut().powered_off = off;
        self.held.claim.switches_off(noted(off)).at(Stage::Export)?;
        if off == Some(PoweredOff::Cut) {
            let text = format!(
                "{} was powered off, since its guest could not be shut down: its disks are as \
                 after a power failure",
                vm.name
            );
            let warning = Warning::new(Stage::Export, WarningCode::PoweredOffHard, text);
            self.warnings.borrow_mut().push(warning);
        }
        Ok(off)
    }

    /// The request for a snapshot of a running VM, if one is wanted. Its name is recorded first.
    fn snapshot(
        &self,
    ) -> Result<Option<SnapshotRequest>, super::super::output::output_lock::Error> {
        let Some(quiesce) = self.job.snapshot.filter(|_| self.ready.vm.power == PowerState::On)
        else {
            return Ok(None);
        };
        let (now, process) = (jiff::Timestamp::now(), std::process::id());
        let name = format!("{SNAPSHOT_PREFIX}{now}-{process}");
        self.held.claim.will_snapshot(&name)?;
        Ok(Some(SnapshotRequest { name, quiesce, tools: self.ready.tools }))
    }
}
