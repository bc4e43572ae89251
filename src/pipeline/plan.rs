//! What a run would do, line by line, for `--dry-run`.

use std::path::Path;

use super::earlier::Earlier;
use super::job::{Job, Target};
use super::preflight::{Ready, is_of};
use crate::domain::Attachment;
use crate::model::{ByteSize, PowerState, SourceNic, SourceVm};
use crate::{convert, manifest};

/// The plan of a whole run.
pub fn whole(job: &Job, ready: &Ready) -> Vec<String> {
    let vm = &ready.vm;
    let mut lines = vec![describe(vm)];
    match &ready.earlier {
        Earlier::Export(kept) => lines.push(format!("keep the export of {}", kept.taken_at)),
        Earlier::Nothing => lines.extend(export(job, ready)),
    }
    if let Some(settings) = &job.conversion {
        lines.extend(conversion(vm, &ready.output, settings));
    }
    if let Some(target) = &job.target {
        lines.extend(definition(vm, target));
    }
    lines
}

/// The plan of the libvirt stage.
pub fn definition(vm: &SourceVm, target: &Target) -> Vec<String> {
    let name = target.domain_name(&vm.name);
    let mut lines = vec![
        format!("connect to {}", target.settings.uri),
        format!("add {} volumes to the storage pool {}", vm.disks.len(), target.pool),
        format!("define the domain {name}"),
    ];
    lines.extend(vm.nics.iter().map(|nic| connection(nic, target)));
    if let Some(old) = &target.replace {
        lines.push(format!("set the domain {old} aside, if there is one, as {old}-replaced"));
    }
    if let Some(snapshot) = &target.after.snapshot {
        lines.push(format!("take the snapshot {snapshot} of {name}"));
    }
    if target.after.boot_test.is_some() {
        lines.push(format!("start {name} once on overlays of its disks, before it is defined"));
    }
    if target.after.boot_proof.is_some() {
        lines.push(format!("start {name} once with its links down, and stop it again"));
    }
    if target.autostart {
        lines.push(format!("set {name} to start with its host"));
    }
    if let Some(start) = &target.start {
        lines.push(format!("start {name} and wait until it {}", start.wait.sign));
    }
    lines
}

fn conversion(vm: &SourceVm, output: &Path, settings: &convert::Settings) -> Vec<String> {
    let stages = settings.stages;
    let who = if convert::is_ours(settings) { "convert" } else { "run hyper2kvm on copies of" };
    let mut lines = vec![format!("{who} the disks: {}", stages.names())];
    if stages.convert && !settings.dry_run {
        let paths = convert::result_paths(&vm.into(), output);
        lines.extend(paths.iter().map(|path| format!("write {}", path.display())));
    }
    lines
}

fn describe(vm: &SourceVm) -> String {
    let path = vm.inventory_path.as_deref().unwrap_or(&vm.name);
    let facts = [
        counted(vm.cpu.vcpus as usize, "CPU"),
        ByteSize(vm.memory_mib << 20).to_string(),
        vm.guest.full_name.clone(),
        counted(vm.disks.len(), "disk"),
        counted(vm.nics.len(), "network interface"),
    ];
    let known: Vec<_> = facts.into_iter().filter(|fact| !fact.is_empty()).collect();
    format!("{path} ({}): {}", vm.id, known.join(", "))
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// What becomes of a network interface.
fn connection(nic: &SourceNic, target: &Target) -> String {
    let mac = nic.mac.map(|mac| format!(", {mac}")).unwrap_or_default();
    let network = match nic.network.as_str() {
        "" => String::new(),
        network => format!(" in network '{network}'"),
    };
    let what = format!("{}{mac}{network}", nic.id);
    match target.network_map.target(nic) {
        Some(Attachment::Nothing) => format!("leave out {what}"),
        Some(attachment) => format!("connect {what} to {attachment}"),
        // The host tells whether a network or a bridge has the name that was typed.
        None if nic.asked.is_some() && !nic.network.is_empty() => {
            format!("connect {what} to the host's network or bridge '{}'", nic.network)
        }
        None => format!("connect {what} to bridge {}", target.bridge),
    }
}

fn export(job: &Job, ready: &Ready) -> Vec<String> {
    let vm = &ready.vm;
    let mut lines = Vec::new();
    if vm.power == PowerState::On && job.power_off {
        lines.push(format!("shut {} down, or else power it off", vm.name));
    }
    if vm.power == PowerState::On && job.snapshot.is_some() {
        lines.push(format!("take a snapshot of {}, and remove it after the export", vm.name));
    }
    for disk in &vm.disks {
        let made = ready.exports.iter().find(|name| is_of(name, &disk.id));
        lines.push(match made.map(|name| ready.output.join(name)) {
            Some(path) => {
                format!("export {} (up to {}) to {}", disk.id, disk.capacity, path.display())
            }
            None => format!("take {} ({}) from where it lies", disk.id, disk.capacity),
        });
    }
    for name in job.format.makes(&vm.name) {
        lines.push(format!("write {}", ready.output.join(name).display()));
    }
    if job.writes_manifest() {
        lines.push(format!("write {}", ready.output.join(manifest::FILE_NAME).display()));
    }
    lines
}
