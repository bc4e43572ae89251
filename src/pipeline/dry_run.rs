//! The steps of a run, line by line, for `--dry-run`: the run does these steps and no others.

use std::path::{Path, PathBuf};

use super::DOMAIN_XML;
use super::job::{ComesBack, ImportSettings, Job};
use super::output::fit;
use super::output::result_file::RECORDS;
use super::output::reuse::{PreviousConversion, PreviousRun, ReusableExport};
use super::stage::ready::{ReadyRun, seed};
use super::stage::stream;
use crate::domain::Attachment;
use crate::exporter::Streaming;
use crate::exporter::source::SourceSettings;
use crate::libvirt::Preview;
use crate::model::{ByteSize, DiskId, PowerState, SourceDisk, SourceNic, SourceVm};
use crate::{convert, manifest};

/// Step that replaces the libvirt stage if the conversion is a dry run.
pub const NO_DOMAIN: &str = "define no domain: --pipeline-dry-run converts nothing";

/// The plan of the entire run.
pub fn whole(job: &Job, ready: &ReadyRun) -> Vec<String> {
    let mut lines = vec![describe(&ready.vm)];
    lines.extend(ready.first.iter().cloned());
    if !job.conversion.as_ref().is_some_and(|settings| settings.dry_run) {
        lines.extend(
            ready.going.iter().map(|path| {
                format!("remove the volume {path}, which its domain has left unchanged")
            }),
        );
    }
    let is_new = !matches!(ready.earlier, PreviousRun::Export(_));
    match &ready.earlier {
        PreviousRun::Export(kept) => lines.extend(reuse(job, kept, ready)),
        PreviousRun::Nothing | PreviousRun::Replaced(_) => lines.extend(export(job, ready)),
    }
    if let Some(settings) = &job.conversion {
        lines.extend(conversion(job, ready, settings));
    }
    // If disks are converted during the download, the manifest records their results.
    if is_new && job.writes_manifest() && stream::is_on(&ready.streaming) {
        lines.push(written(&ready.output, manifest::FILE_NAME));
    }
    if let PreviousRun::Replaced(names) = &ready.earlier {
        let names = names.join(", ");
        let folder = ready.output.display();
        lines.push(format!("then replace what the old export left in {folder}: {names}"));
    }
    let follows = job.source_after.iter();
    let follows = follows.map(|step| format!("if all succeeds, do this to the source: {step}"));
    let Some(target) = &job.target else {
        lines.extend(follows);
        return lines;
    };
    if job.conversion.as_ref().is_some_and(|settings| settings.dry_run) {
        lines.push(NO_DOMAIN.to_owned());
        return lines;
    }
    match &ready.domain {
        Some(kept) => {
            lines.push(format!("keep the domain {} and its disks", kept.domain.name));
            if !(kept.active && kept.domain.started.is_some()) {
                lines.extend(started(&kept.domain.name, target));
            }
            lines.extend(shown(&kept.domain.name, target));
        }
        None => {
            let preview = ready.preview.as_ref();
            lines.extend(definition(&ready.vm, target, preview, &ready.output));
        }
    }
    lines.extend(follows);
    lines
}

/// The plan of the libvirt stage; `preview` is absent if the host cannot be reached. The domain's
/// XML and record are written to `output`.
pub fn definition(
    vm: &SourceVm,
    target: &ImportSettings,
    preview: Option<&Preview>,
    output: &Path,
) -> Vec<String> {
    let name = target.domain_name(&vm.name);
    let mut lines = vec![format!("connect to {}", target.settings.uri)];
    match preview {
        Some(preview) => lines.extend(volumes(preview)),
        None => {
            let (count, pool) = (vm.disks.len(), &target.pool);
            lines.push(format!("add {count} volumes to the storage pool '{pool}'"));
        }
    }
    if target.after.boot_test.is_some() {
        lines.push(format!("start {name} once on overlays of its disks, before it is defined"));
    }
    if let Some(old) = &target.replace {
        lines.push(format!("rename the domain {old} to {old}-replaced"));
    }
    lines.push(format!("define the domain {name}"));
    match preview {
        Some(preview) => lines.extend(connections(&vm.nics, preview)),
        None => lines.extend(vm.nics.iter().map(|nic| connection(nic, target))),
    }
    if target.autostart {
        lines.push(format!("set {name} to start with its host"));
    }
    if let Some(snapshot) = &target.after.snapshot {
        lines.push(format!("take the snapshot {snapshot} of {name}"));
    }
    if target.after.boot_proof.is_some() {
        lines.push(format!("start {name} once with its links down, and stop it again"));
    }
    lines.push(written(output, DOMAIN_XML));
    lines.push(format!("record the run in {}", output.join(RECORDS).display()));
    lines.extend(started(&name, target));
    lines.extend(shown(&name, target));
    lines
}

fn started(name: &str, target: &ImportSettings) -> Option<String> {
    let start = target.start.as_ref()?;
    Some(format!("start {name} and wait until it {}", start.wait.sign))
}

fn shown(name: &str, target: &ImportSettings) -> Option<String> {
    target.open.then(|| format!("show the console of {name} in virt-manager"))
}

fn volumes(preview: &Preview) -> Vec<String> {
    let pool = &preview.pool;
    let mut lines = Vec::new();
    if pool.made {
        lines.push(format!(
            "define the storage pool '{}' over {}, and start it with its host",
            pool.name,
            pool.path.display()
        ));
    } else if pool.stopped {
        if pool.built {
            lines.push(format!("create {}, the folder of the storage pool", pool.path.display()));
        }
        lines.push(format!("start the storage pool '{}'", pool.name));
    }
    lines.extend(preview.volumes.iter().map(|(disk, path, made)| {
        let path = path.display();
        match made {
            true => format!("copy {disk} to {path} in the storage pool '{}'", pool.name),
            false => format!("use {disk} where it is, {path} in the storage pool '{}'", pool.name),
        }
    }));
    lines
}

/// Steps for the network interfaces, as the domain will have them.
fn connections(nics: &[SourceNic], preview: &Preview) -> Vec<String> {
    let mut left = preview.interfaces.clone();
    let mut lines = Vec::new();
    for nic in nics {
        let of_source = |mac| nics.iter().any(|other| other.mac == Some(mac));
        let is_it = |(mac, _): &(Option<crate::model::MacAddress>, String)| match nic.mac {
            Some(_) => *mac == nic.mac,
            None => mac.is_none_or(|mac| !of_source(mac)),
        };
        lines.push(match left.iter().position(is_it) {
            Some(at) => format!("connect {} to {}", named(nic), left.remove(at).1),
            None => format!("leave out {}", named(nic)),
        });
    }
    lines.extend(left.into_iter().map(|(mac, to)| {
        let mac = mac.map(|mac| format!(" {mac}")).unwrap_or_default();
        format!("add a network interface{mac} in {to}")
    }));
    lines
}

/// Step for a network interface if the host cannot be asked.
fn connection(nic: &SourceNic, target: &ImportSettings) -> String {
    match target.network_map.target(nic) {
        Some(Attachment::Nothing) => format!("leave out {}", named(nic)),
        Some(attachment) => format!("connect {} to {attachment}", named(nic)),
        // Only the host knows whether a network or a bridge has this name.
        None if nic.asked.is_some() && !nic.network.is_empty() => {
            format!("connect {} to the host's network or bridge '{}'", nic.id, nic.network)
        }
        None => format!("connect {} to bridge {}", named(nic), target.bridge),
    }
}

fn named(nic: &SourceNic) -> String {
    let mac = nic.mac.map(|mac| format!(", {mac}")).unwrap_or_default();
    match nic.network.as_str() {
        "" => format!("{}{mac}", nic.id),
        network => format!("{}{mac} in network '{network}'", nic.id),
    }
}

fn conversion(job: &Job, ready: &ReadyRun, settings: &convert::Settings) -> Vec<String> {
    let stages = settings.stages;
    let mut lines = Vec::new();
    if let PreviousRun::Export(kept) = &ready.earlier {
        match &kept.converted {
            PreviousConversion::Kept(_) => {
                return vec!["keep the conversion that is there".to_owned()];
            }
            PreviousConversion::Again(again) => {
                lines.push(format!("convert again: {}", again.why.join("; ")));
            }
            PreviousConversion::None => {}
        }
    } else if stream::is_on(&ready.streaming) {
        // CONVERT is done by then, except for disks that are exported unchanged.
        lines.extend(
            late(ready).map(|(disk, path)| format!("convert {disk} to {}", path.display())),
        );
        let rest = convert::Stages { convert: false, ..stages };
        if !rest.names().is_empty() {
            lines.push(format!("work on the converted disks: {}", rest.names()));
        }
        lines.extend(settings.foreseen(&ready.vm));
        lines.extend(seed(job, &ready.vm, &ready.output).map(|path| wrote(&path)));
        lines.push(written(&ready.output, convert::REPORT));
        return lines;
    }
    let is_ours = convert::is_ours(settings, Some(ready.vm.guest.family));
    let who = if is_ours { "convert" } else { "run hyper2kvm on copies of" };
    if settings.dry_run {
        lines.push(format!("print how to {who} the disks: {}", stages.names()));
        return lines;
    }
    lines.push(format!("{who} the disks: {}", stages.names()));
    lines.extend(settings.foreseen(&ready.vm));
    if stages.convert {
        let paths = convert::result_paths(&(&ready.vm).into(), &ready.output);
        lines.extend(paths.iter().map(|path| wrote(path)));
        lines.extend(seed(job, &ready.vm, &ready.output).map(|path| wrote(&path)));
        lines.push(written(&ready.output, convert::REPORT));
    }
    // The manifest records the results of the disk inspection.
    let manifest = ready.output.join(manifest::FILE_NAME).display().to_string();
    lines.push(format!("write {manifest} again, with what is found on the disks"));
    lines
}

fn written(folder: &Path, name: &str) -> String {
    wrote(&folder.join(name))
}

fn wrote(path: &Path) -> String {
    format!("write {}", path.display())
}

fn describe(vm: &SourceVm) -> String {
    let path = vm.inventory_path.as_deref().unwrap_or(&vm.name);
    let facts = [
        counted(vm.cpu.vcpus as usize, "CPU"),
        ByteSize::of_mib(vm.memory_mib).to_string(),
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

/// Steps for an export that is reused.
fn reuse(job: &Job, kept: &ReusableExport, ready: &ReadyRun) -> Vec<String> {
    let at = fit::time(kept.taken.exported_at);
    let mut lines = vec![match kept.gone {
        true => format!("continue from the converted disks: those of the export of {at} are gone"),
        false => format!("reuse the export of {at}, and verify the checksums of its disks"),
    }];
    if job.writes_manifest() && kept.manifest.is_none() {
        lines.push(written(&ready.output, manifest::FILE_NAME));
    }
    let names = job.format.makes(&ready.vm.name).into_iter();
    let missing = names.filter(|name| !ready.output.join(name).is_file());
    lines.extend(missing.map(|name| written(&ready.output, &name)));
    lines
}

fn export(job: &Job, ready: &ReadyRun) -> Vec<String> {
    let (vm, output) = (&ready.vm, &ready.output);
    let mut lines = Vec::new();
    if let Some(how) = job.power_off.filter(|_| vm.power == PowerState::On) {
        let limit = humantime::format_duration(how.timeout);
        let or = if how.force { "or cut its power" } else { "or stop here" };
        lines.push(format!("shut down the guest of {} within {limit}, {or}", vm.name));
        let back = match job.comes_back {
            ComesBack::AfterFailure => "power it on again if the run fails or is interrupted",
            ComesBack::Always => "power it on again at the end of the run",
            ComesBack::Never => "leave it off, even if the run fails",
        };
        lines.push(back.to_owned());
    }
    if vm.power == PowerState::On && job.snapshot.is_some() {
        lines.push(format!("take a snapshot of {}, and remove it after the export", vm.name));
    }
    if let Some(kind) = stream::compression(job, &ready.streaming) {
        lines.extend(streamed(job, ready, &kind));
        return lines;
    }
    lines.extend(vm.disks.iter().map(|disk| kept(disk, ready)));
    lines.extend(job.format.makes(&vm.name).iter().map(|name| written(output, name)));
    if job.writes_manifest() {
        lines.push(written(output, manifest::FILE_NAME));
    }
    lines
}

/// Step for a disk that is exported unchanged.
fn kept(disk: &SourceDisk, ready: &ReadyRun) -> String {
    let made = ready.exports.iter().find(|file| file.is_of(&disk.id));
    match made.map(|file| ready.output.join(&file.name)) {
        Some(path) => format!("export {} (up to {}) to {}", disk.id, disk.capacity, path.display()),
        None => format!("use {} ({}) where it is", disk.id, disk.capacity),
    }
}

/// The disks in boot order, each with the path of its result.
fn results(ready: &ReadyRun) -> impl Iterator<Item = (&SourceDisk, PathBuf)> {
    let mut disks: Vec<_> = ready.vm.disks.iter().collect();
    disks.sort_by_key(|disk| disk.boot_order);
    disks.into_iter().zip(convert::result_paths(&(&ready.vm).into(), &ready.output))
}

/// Disks that are converted after the export, each with the path of its result.
fn late(ready: &ReadyRun) -> impl Iterator<Item = (&DiskId, PathBuf)> {
    let is_late = |(disk, _): &(&SourceDisk, PathBuf)| !is_streamed(disk, ready);
    results(ready).filter(is_late).map(|(disk, path)| (&disk.id, path))
}

fn is_streamed(disk: &SourceDisk, ready: &ReadyRun) -> bool {
    streaming(disk, ready).is_some_and(Streaming::may)
}

fn streaming(disk: &SourceDisk, ready: &ReadyRun) -> Option<Streaming> {
    ready.streaming.iter().find(|(id, _)| *id == disk.id).map(|(_, streaming)| *streaming)
}

/// Steps of an export whose disks are converted during the download, as far as possible.
fn streamed(job: &Job, ready: &ReadyRun, kind: &str) -> Vec<String> {
    let packed = match kind {
        "none" => "not compressed".to_owned(),
        kind => format!("compressed by {kind}"),
    };
    let comes = match job.source {
        SourceSettings::Files(_) => "is read",
        SourceSettings::VSphere(_) | SourceSettings::Host(_) => "arrives",
    };
    let line = |(disk, path): (&SourceDisk, PathBuf)| {
        let how = format!("converted while it {comes} and {packed}");
        let to = format!("export {} (up to {}) to {}", disk.id, disk.capacity, path.display());
        match streaming(disk, ready) {
            Some(Streaming::Yes) => format!("{to}, {how}"),
            Some(Streaming::Open) => {
                let file = ready.exports.iter().rfind(|file| file.is_of(&disk.id));
                let other = ready.output.join(file.map_or("", |file| &file.name));
                let other = other.display();
                format!(
                    "{to}, {how} if it is a streamOptimized VMDK; any other VMDK to {other} first"
                )
            }
            Some(Streaming::No(_)) | None => kept(disk, ready),
        }
    };
    results(ready).map(line).collect()
}
