//! Passes the guest facts on the disks to all parts that depend on them: the manifest, the report
//! and the boot order of the disks.

use std::path::Path;

use super::super::job::ImportSettings;
use super::stage_error::StageError;
use super::stage_runner::StageRunner;
use crate::domain;
use crate::libvirt::Sign;
use crate::manifest::{self, Manifest, Overwrite};
use crate::model::{
    ConvertedDisks, GuestFacts, OsFamily, SourceVm, Stage, Warning, WarningCode, chain,
};

/// Updates the manifest with facts from the disks, and its file if that exists and hyperexport
/// wrote it.
pub fn know(
    ledger: &mut StageRunner<'_>,
    manifest: &mut Manifest,
    facts: &GuestFacts,
    disks: Option<&mut ConvertedDisks>,
) {
    let (vm, warnings) = domain::resolve(&manifest.source_vm(), facts);
    ledger.warn_all(warnings);
    if facts.agent == Some(false) {
        let text = match facts.family {
            OsFamily::Windows => {
                "the guest has no QEMU guest agent: install qemu-ga of virtio-win in the guest"
            }
            _ => {
                "the guest has no qemu-guest-agent: pass its packages with --agent-package, or \
                 have the guest install it with --firstboot-agent"
            }
        };
        ledger.warn(Warning::new(Stage::Pipeline, WarningCode::GuestAgentMissing, text));
    }
    ledger.report.guest = Some(facts.clone());
    if let Some(disks) = disks {
        order(disks, &vm);
    }
    // A manifest of another program is not changed.
    if !manifest.describe(&vm) {
        return;
    }
    let path = ledger.report.manifest.clone();
    let Some(path) = path.filter(|path| path.is_file()) else { return };
    if let Err(error) = manifest::write(manifest, &path, Overwrite::Yes) {
        let text = format!("writing {}: {}", path.display(), chain(&error));
        ledger.warn(Warning::new(Stage::Pipeline, WarningCode::ManifestNotUpdated, text));
    }
}

/// Sorts disks by the boot order of their VM.
pub fn order(disks: &mut ConvertedDisks, vm: &SourceVm) {
    for disk in &mut disks.0 {
        let known = vm.disks.iter().find(|known| known.id == disk.id);
        if let Some(known) = known.filter(|_| !disk.medium) {
            disk.boot_order = known.boot_order;
        }
    }
    disks.0.sort_by_key(|disk| disk.boot_order);
}

/// The VM of a manifest with the facts of a conversion; a manifest of another program lacks them.
pub fn planned(manifest: &Manifest, facts: Option<&GuestFacts>) -> SourceVm {
    let vm = manifest.source_vm();
    match facts.filter(|_| vm.facts.is_none()) {
        Some(facts) => domain::resolve(&vm, facts).0,
        None => vm,
    }
}

/// Rejects settings that the inspected guest does not support.
///
/// # Errors
/// [`StageError`] when the run waits for the guest agent and the guest has none.
pub fn check(vm: &SourceVm, target: &ImportSettings, stage: Stage) -> Result<(), StageError> {
    let waits = target.start.as_ref().is_some_and(|start| matches!(start.wait.sign, Sign::Agent));
    let has_none = vm.facts.as_ref().is_some_and(|facts| facts.agent == Some(false));
    if !waits || !has_none {
        return Ok(());
    }
    let stopped = StageError::because(
        stage,
        "--wait-for agent: the guest has no qemu-guest-agent",
        "wait for another sign, such as --wait-for console:login:, or convert with --agent-package \
         FILE or --firstboot-agent",
    );
    Err(stopped.by_other_flags())
}

/// The facts that an earlier run reported for the VM of `manifest`.
pub fn reported(output: &Path, manifest: &Manifest) -> Option<GuestFacts> {
    let result = crate::pipeline::output::result_file::read_result(
        &output.join(super::super::output::report::FILE_NAME),
    )
    .ok()
    .flatten()?;
    let id = manifest.source.as_ref().and_then(|source| source.vm_id.as_ref());
    result.guest.filter(|_| result.vm_id.as_ref() == id)
}
