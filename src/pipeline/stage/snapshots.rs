//! Snapshots of killed runs: such a snapshot grows as long as its VM is running.

use super::super::output::output_lock::OutputDir;
use super::ready::ReadyRun;
use super::stage_runner::StageRunner;
use crate::exporter::source::Source;
use crate::model::{SourceVm, Stage, Warning, WarningCode, chain};

/// Warns of snapshots that no run in this output directory has recorded.
pub(in crate::pipeline) fn warn_of_strangers(
    ready: &ReadyRun,
    claim: &OutputDir,
    ledger: &mut StageRunner<'_>,
) {
    let known = claim.snapshots();
    for name in ready.snapshots.iter().filter(|name| !known.contains(name)) {
        let text = format!(
            "{} has the snapshot {name} of another run. If no run is active, that run was killed: \
             remove the snapshot in the vSphere client, since it grows while the VM runs",
            ready.vm.name
        );
        ledger.warn(Warning::new(Stage::Export, WarningCode::SnapshotFound, text));
    }
}

/// Removes the snapshots of a killed run whose export is reused, or warns of them.
pub(in crate::pipeline) async fn remove(
    source: &Source,
    vm: &SourceVm,
    claim: &OutputDir,
    ledger: &mut StageRunner<'_>,
) {
    let names = claim.snapshots();
    if let Err(error) = source.remove_snapshots(vm, &names, ledger.progress).await {
        warn_of_left(&vm.name, &names, Some(&error), ledger);
    }
}

/// Warns of snapshots that a killed run has left at the source, with the error of their removal.
pub(in crate::pipeline) fn warn_of_left(
    vm: &str,
    names: &[String],
    why: Option<&dyn std::error::Error>,
    ledger: &mut StageRunner<'_>,
) {
    let why = why.map(|error| format!(" ({})", chain(error))).unwrap_or_default();
    for name in names {
        let text = format!(
            "{vm} still has the snapshot {name} of a killed run{why}: remove the snapshot in the \
             vSphere client, since it grows while the VM runs"
        );
        ledger.warn(Warning::new(Stage::Export, WarningCode::SnapshotLeft, text));
    }
}
