//! The stages after the export: from the manifest to converted disks, and from those to a domain.
//!
//! They need only the files of the export, so that `convert` and `define` can run them alone.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::DOMAIN_XML;
use super::job::{ImportSettings, absolute};
use super::output::in_use::InUse;
use super::output::output_lock::OutputDir;
use super::output::report::{RunOutcome, RunReport, StageStatus};
use super::output::result_file::read_result;
use super::output::reuse::KeptDomain;
use super::output::{converted, inherit, ours, staged_files, stored};
use super::stage::asked::Flags;
use super::stage::ready::RunDetails;
use super::stage::recovery::{self, Recovery};
use super::stage::stage_error::{At, StageError};
use super::stage::stage_runner::StageRunner;
use super::stage::{addresses, conversion, guest, import, snapshots, start, target};
use crate::convert as converter;
use crate::exporter::PackageFormat;
use crate::libvirt::Undo;
use crate::manifest::{self, Manifest};
use crate::model::{ConvertedDisk, ConvertedDisks, Hint, Stage, Warning};
use crate::progress::Progress;

/// Reports the domain of an earlier run, which matches the current flags.
pub fn kept(ledger: &mut StageRunner<'_>, target: &ImportSettings, kept: &KeptDomain) -> bool {
    ledger.without(Stage::Libvirt, StageStatus::Kept);
    ledger.progress.note(format!("domain '{}' exists already", kept.domain.name));
    ledger.report.domain = Some(kept.domain.clone());
    ledger.report.target = Some(target.asked.clone());
    ledger.report.run = Some(kept.run.clone());
    true
}

/// `hyperexport convert`: the conversion alone.
pub async fn convert(
    manifest_path: &Path,
    settings: &converter::Settings,
    asked: Flags,
    progress: &Progress,
    cancel: &CancellationToken,
) -> RunReport {
    let (mut ledger, opened) = open(manifest_path, progress, cancel);
    let Some((mut manifest, output)) = opened else {
        return ledger.report.finish(RunOutcome::Refused);
    };
    let needs = converter::Needs::from(&manifest);
    if settings.stages.convert
        && let Err(stopped) = converted::refuse_converted(&manifest, manifest_path, &output, &needs)
    {
        ledger.report.errors.push(stopped.failure);
        return ledger.report.finish(RunOutcome::Refused);
    }
    // Locked before the check, so that the incomplete result of a killed run is no obstacle.
    let mut claimed = None;
    if !settings.dry_run {
        let needed =
            [&converter::LOGS[..], &[converter::REPORT, super::output::report::FILE_NAME]].concat();
        if let Err(stopped) = ours::refuse_strangers(&output, &needed) {
            ledger.report.errors.push(stopped.failure);
            return ledger.report.finish(RunOutcome::Refused);
        }
        let mut makes = converter::result_paths(&needs, &output);
        makes.extend(
            settings.cloud_init.as_ref().map(|_| converter::seed_path(manifest.vm_name(), &output)),
        );
        let mut makes = names(&makes);
        makes.extend(needed.iter().map(|name| (*name).to_owned()));
        let earlier = stored::converted(&output, &manifest);
        match claim(&mut ledger, &output, &manifest, earlier.as_ref(), makes) {
            Some(claim) => claimed = Some(claim),
            None => return ledger.report.finish(RunOutcome::Refused),
        }
    }
    let ready = async {
        converter::preflight(&needs, &output, settings, cancel)
            .await
            .map_err(|error| StageError::new(Stage::Preflight, &error, hint_of(&error)))?;
        if settings.dry_run {
            return Ok(());
        }
        progress.note("verifying the checksums of the exported disks");
        manifest::verify_sums(&manifest, progress, cancel).await.at(Stage::Preflight)
    };
    if ledger.stage(Stage::Preflight, ready).await.is_none() {
        let outcome = ledger.ended(RunOutcome::Refused);
        return ledger.close(outcome, claimed, false);
    }
    // A failed FIX still leaves disks: the next run has to know them.
    let disks = conversion::convert(&mut ledger, &mut manifest, &output, settings).await;
    converted::note(&mut ledger, &asked, settings);
    end(ledger, claimed, disks.is_some())
}

/// The hint if there is no `--output` flag: the results are beside the manifest.
fn hint_of(error: &converter::Error) -> Option<String> {
    match error {
        converter::Error::ResultExists { path } => Some(format!("move {} away", path.display())),
        other => other.hint(),
    }
}

/// `hyperexport define`: the domain alone.
pub async fn define(
    manifest_path: &Path,
    target: &ImportSettings,
    dry_run: bool,
    progress: &Progress,
    cancel: &CancellationToken,
) -> RunReport {
    let (mut ledger, opened) = open(manifest_path, progress, cancel);
    let Some((manifest, output)) = opened else {
        return ledger.report.finish(RunOutcome::Refused);
    };
    let told = RunDetails::default();
    let checked = async {
        if !dry_run {
            ours::refuse_strangers(&output, &[DOMAIN_XML, super::output::report::FILE_NAME])?;
        }
        let (manifest, made) = addresses::renewed(manifest, &output, target)?;
        told.warn_all(made);
        let checked =
            check(&manifest, &output, DefineRequest { target, dry_run, told: &told }, cancel)
                .await?;
        Ok((manifest, checked))
    };
    let checked = ledger.stage(Stage::Preflight, checked).await;
    ledger.warn_all(told.warnings());
    let Some((manifest, Checked { disks, first, undone })) = checked else {
        return ledger.report.finish(RunOutcome::Refused);
    };
    ledger.report.converted = Some(disks.clone());
    ledger.report.guest = guest::reported(&output, &manifest);
    if dry_run {
        let vm = guest::planned(&manifest, ledger.report.guest.as_ref());
        let disks = target::with_media(&disks, manifest.media());
        let preview = target::preview(target, &vm, &disks, &undone).await.ok();
        let defined = super::dry_run::definition(&vm, target, preview.as_ref(), &output);
        ledger.report.plan = [first, defined].concat();
        return ledger.report.finish(RunOutcome::Done);
    }
    // A file of an earlier run is replaced, and is not a leftover of this run.
    let made = Some(DOMAIN_XML.to_owned()).filter(|name| !output.join(name).exists());
    let makes = made.into_iter().collect();
    let Some(claim) = claim(&mut ledger, &output, &manifest, Some(&disks), makes) else {
        return ledger.report.finish(RunOutcome::Refused);
    };
    if import::definition_of_known(&mut ledger, &manifest, &output, &disks, target).await {
        start::after_define(target, &manifest, &mut ledger).await;
    }
    end(ledger, Some(claim), false)
}

/// Reads the manifest and starts a report about its VM.
pub(super) fn open<'a>(
    path: &Path,
    progress: &'a Progress,
    cancel: &'a CancellationToken,
) -> (StageRunner<'a>, Option<(Manifest, PathBuf)>) {
    let read = absolute(path)
        .map_err(|error| {
            StageError::because(
                Stage::Manifest,
                format!("--manifest: {error}"),
                "pass the path of a manifest",
            )
        })
        .and_then(|path| {
            let folder = path.parent().unwrap_or(Path::new("/"));
            OutputDir::settle(folder).at(Stage::Manifest)?;
            Ok((manifest::read(&path).at(Stage::Manifest)?, path))
        });
    let place = path.parent().unwrap_or(path);
    let mut ledger = StageRunner::new(RunReport::begin("", place), progress, cancel);
    match read {
        Ok((manifest, path)) => {
            let output = path.parent().unwrap_or(Path::new("/")).to_owned();
            let report = &mut ledger.report;
            report.vm = manifest.vm_name().to_owned();
            report.vm_id = manifest.source.as_ref().and_then(|source| source.vm_id.clone());
            report.output.clone_from(&output);
            report.disks = stored::exported_disks(&manifest).unwrap_or_default();
            report.manifest = Some(path);
            inherit(report, &output);
            (ledger, Some((manifest, output)))
        }
        Err(stopped) => {
            ledger.report.errors.push(stopped.failure);
            (ledger, None)
        }
    }
}

/// Copies the records of earlier runs about the export and its conversion into the report. The
/// disks are inspected again.
fn inherit(report: &mut RunReport, output: &Path) {
    let earlier = read_result(&output.join(super::output::report::FILE_NAME)).ok().flatten();
    let Some(earlier) = earlier.filter(|earlier| earlier.vm_id == report.vm_id) else { return };
    report.export = earlier.export;
    report.media = earlier.media;
    report.nvram = earlier.nvram;
    report.package = earlier.package;
    report.source = earlier.source;
    report.converter = earlier.converter;
    report.conversion = earlier.conversion;
    report.guest = earlier.guest;
    report.guest_changes = earlier.guest_changes;
    report.proof = earlier.proof;
}

/// Input of `define` that has passed all checks.
pub(super) struct Checked {
    pub disks: ConvertedDisks,
    /// Steps that precede the definition, for a plan.
    pub first: Vec<String>,
    /// Steps of a killed run that are undone first, in a dry run.
    pub undone: Vec<Undo>,
}

pub(super) struct DefineRequest<'a> {
    pub target: &'a ImportSettings,
    pub dry_run: bool,
    /// Collects the warnings of the checks.
    pub told: &'a RunDetails,
}

/// Checks the input of `define`: the converted disks exist, and the host can accept them.
pub(super) async fn check(
    manifest: &Manifest,
    output: &Path,
    DefineRequest { target, dry_run, told }: DefineRequest<'_>,
    cancel: &CancellationToken,
) -> Result<Checked, StageError> {
    let mut disks = converter::existing(manifest, output, &converter::Settings::default(), cancel)
        .await
        .at(Stage::Preflight)?;
    remember(&mut disks, stored::converted(output, manifest));
    let facts = guest::reported(output, manifest);
    let vm = guest::planned(manifest, facts.as_ref());
    guest::order(&mut disks, &vm);
    guest::check(&vm, target, Stage::Preflight)?;
    start::check_export(target, manifest)?;
    let recovery = recovery::first(output, target, dry_run, told).await?;
    let Recovery { plan: first, undone, .. } = recovery;
    let all = target::with_media(&disks, manifest.media());
    told.warn_all(target::gone_media(manifest.media()));
    let asked = target::TargetRequest { dry_run, going: &[], undone: &undone };
    let checked = target::preflight(target, &vm, &all, asked).await;
    told.warn_all(checked.at(Stage::Preflight)?);
    told.warn_all(told_before(output, manifest));
    Ok(Checked { disks, first, undone })
}

/// Warnings of the run that converted these disks.
fn told_before(output: &Path, manifest: &Manifest) -> Vec<Warning> {
    let earlier = read_result(&output.join(super::output::report::FILE_NAME)).ok().flatten();
    let id = manifest.source.as_ref().and_then(|source| source.vm_id.as_ref());
    let earlier = earlier.filter(|earlier| earlier.vm_id.as_ref() == id);
    earlier.as_ref().map(inherit::warnings).unwrap_or_default()
}

/// Images do not show whether their guest was adapted to virtio, nor the content that the
/// conversion left. The result of the run that converted them records both, and is valid unless an
/// image was replaced since.
fn remember(disks: &mut ConvertedDisks, earlier: Option<ConvertedDisks>) {
    let earlier = earlier.map(|disks| disks.0).unwrap_or_default();
    for disk in &mut disks.0 {
        let same = |other: &&ConvertedDisk| other.id == disk.id && other.capacity == disk.capacity;
        let same = earlier.iter().find(same);
        disk.fixed = same.is_some_and(|other| other.fixed);
        disk.content = same.and_then(|other| other.content);
    }
}

/// Locks the output directory and removes the leftovers of a killed run, except its export and a
/// complete conversion.
fn claim(
    ledger: &mut StageRunner<'_>,
    output: &Path,
    manifest: &Manifest,
    converted: Option<&ConvertedDisks>,
    makes: Vec<String>,
) -> Option<OutputDir> {
    let exported = ledger.report.disks.iter().map(|disk| disk.path.clone());
    let media = manifest.media().iter().map(|medium| medium.path.clone());
    let nvram = manifest.nvram().map(|nvram| nvram.path.clone());
    let converted = converted.iter().flat_map(|disks| &disks.0).map(|disk| disk.path.clone());
    let whole: Vec<_> = exported
        .chain(media)
        .chain(nvram)
        .chain(converted)
        .chain(ledger.report.manifest.clone())
        .collect();
    // A package is complete before its manifest is written.
    let packages = [PackageFormat::Ovf, PackageFormat::Ova];
    let packages = packages.iter().flat_map(|format| format.makes(manifest.vm_name())).collect();
    let used = match InUse::read(output) {
        Ok(in_use) => in_use.names(output),
        Err(stopped) => {
            ledger.report.errors.push(stopped.failure);
            return None;
        }
    };
    let keep = [names(&whole), used, packages].concat();
    let claimed = OutputDir::take(output).and_then(|mut claim| {
        staged_files::remove_unfinished(output).map_err(|source| {
            super::output::output_lock::Error::Io { path: output.to_owned(), source }
        })?;
        claim.remove_leftovers(&keep)?;
        let is_new = |name: &String| !keep.contains(name) && !output.join(name).exists();
        claim.will_make(makes.into_iter().filter(is_new).collect())?;
        Ok(claim)
    });
    match claimed {
        Ok(claim) => {
            ledger.folder = Some(claim.folder().clone());
            // These commands do not log in to the source.
            let vm = manifest.vm_name();
            snapshots::warn_of_left(vm, &claim.snapshots(), None, ledger);
            Some(claim)
        }
        Err(error) => {
            let stopped = StageError::of(Stage::Preflight, &error);
            ledger.report.errors.push(stopped.failure);
            None
        }
    }
}

/// Ends a run of later stages only; `converted` states whether the run has produced disks, even if
/// it failed.
fn end(ledger: StageRunner<'_>, claim: Option<OutputDir>, converted: bool) -> RunReport {
    // A domain whose start failed counts, too.
    let made = converted || ledger.report.domain.is_some();
    let outcome = match (ledger.report.errors.is_empty(), made) {
        (true, _) => RunOutcome::Done,
        (false, true) => ledger.ended(RunOutcome::Partial),
        (false, false) => ledger.ended(RunOutcome::Failed),
    };
    let keep = claim.is_some() && (outcome == RunOutcome::Done || made);
    ledger.close(outcome, claim, keep)
}

fn names(paths: &[PathBuf]) -> Vec<String> {
    let names = paths.iter().filter_map(|path| path.file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ByteSize, DiskFormat, DiskId};

    #[test]
    fn whether_a_guest_was_fixed_is_remembered_of_the_very_disk() {
        let disks = |capacity, fixed| {
            let disk = |index| ConvertedDisk {
                id: DiskId::from_index(index),
                path: format!("/d{index}.qcow2").into(),
                format: DiskFormat::Qcow2,
                capacity: ByteSize(capacity),
                allocated: ByteSize(0),
                boot_order: 0,
                fixed,
                medium: false,
                content: None,
            };
            ConvertedDisks(vec![disk(0), disk(1)])
        };
        let remembered = |earlier: Option<ConvertedDisks>| {
            let mut found = disks(512, false);
            remember(&mut found, earlier);
            found.0.iter().map(|disk| disk.fixed).collect::<Vec<_>>()
        };
        assert_eq!(remembered(Some(disks(512, true))), [true, true]);
        assert_eq!(remembered(Some(disks(512, false))), [false, false]);
        assert_eq!(remembered(Some(disks(1024, true))), [false, false], "another disk");
        assert_eq!(remembered(None), [false, false]);
    }
}
