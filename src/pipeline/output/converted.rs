//! Checks whether the conversion of an earlier run matches the current flags.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::super::job::{Job, real};
use super::super::stage::asked::Flags;
use super::super::stage::kept_domain;
use super::super::stage::stage_error::StageError;
use super::super::stage::stage_runner::StageRunner;
use super::in_use::InUse;
use super::made::{Conversion, Stamp};
use super::report::RunReport;
use super::reuse::{Again, KeptConversion, PreviousConversion, ReuseRequest};
use super::{BOTH_WAYS, file_sums, stored};
use crate::convert::{self, Converter};
use crate::domain::{Attachment, NetworkMap};
use crate::manifest::{self, Manifest};
use crate::model::{ConvertedDisks, ExportedDisk, SourceNic, Stage, Warning, WarningCode, quoted};
use crate::progress::{Control, Unit};

/// Code of a converted disk that has changed since the conversion.
const CHANGED: &str = "converted-changed";
/// Hint for that error.
const AGAIN: &str = "move it away, which has it converted again; --fresh exports anew and replaces it once \
                     the new export is complete; or give another --output";

/// Records the flags of the conversion and the state of its images in the report.
pub(in crate::pipeline) fn note(
    ledger: &mut StageRunner<'_>,
    asked: &Flags,
    settings: &convert::Settings,
) {
    let report = &mut ledger.report;
    let Some(disks) = &report.converted else { return };
    let failed = report.errors.iter().find(|failure| failure.stage == Stage::Pipeline);
    let fix_failure = failed.map(|failure| failure.message.clone());
    report.conversion = Some(Conversion {
        made_at: jiff::Timestamp::now(),
        flags: asked.clone(),
        guest_untouched: !settings.stages.fix || fix_failure.is_some(),
        fix_failure,
        left_out: Some(settings.left_out.clone()),
        images: disks.0.iter().filter_map(|disk| Stamp::of(&disk.path)).collect(),
    });
}

/// Compares the conversion of an earlier run with the requested one.
///
/// # Errors
/// [`StageError`] when another conversion is requested and the export is gone, when a result was
/// written to since, or when a domain uses a result that would be replaced.
pub(in crate::pipeline) fn of(
    ask: &ReuseRequest<'_>,
    exported: &[ExportedDisk],
    result: &RunReport,
    in_use: &InUse,
) -> Result<PreviousConversion, StageError> {
    let Some(settings) = ask.job.conversion.as_ref().filter(|settings| settings.stages.convert)
    else {
        return Ok(PreviousConversion::None);
    };
    let Some(disks) = &result.converted else { return Ok(PreviousConversion::None) };
    // An existing domain no longer needs its image.
    let stays = ask.domain.zip(ask.job.target.as_ref()).is_some_and(|(domain, target)| {
        kept_domain::needs_no_copy(domain, target, exported, result)
    });
    let missing = disks.0.iter().find(|disk| !disk.path.is_file()).filter(|_| !stays);
    let exported_there = exported.iter().all(|disk| disk.path.is_file());
    if missing.is_some() && !exported_there {
        // Neither is usable: the remaining files of the export decide.
        return Ok(PreviousConversion::None);
    }
    let mut why = Vec::new();
    match (&result.conversion, missing) {
        (_, Some(disk)) => why.push(format!("{} is gone", disk.path.display())),
        (Some(record), None) => {
            why = differences(ask, settings, record, result);
        }
        (None, None) => {}
    }
    let is_result = |disk: &ExportedDisk| disks.0.iter().any(|result| result.path == disk.path);
    let from_results = exported.iter().any(is_result);
    let record = result.conversion.as_ref();
    let untouched = record.is_some_and(|record| record.guest_untouched);
    let is_consumed = !exported_there || from_results && !untouched;
    let cards = record.and_then(|record| cards_counted(ask, settings, record));
    if why.is_empty() && (cards.is_none() || is_consumed) {
        if let Some(record) = record {
            unchanged(record, in_use)?;
        }
        fitting(disks, in_use)?;
        let cards = cards.or_else(|| cards_unknown(ask, settings, record));
        let (mut disks, record) = (disks.clone(), record.cloned());
        // The guest writes to the disk.
        let used = disks.0.iter_mut().filter(|disk| in_use.by(&disk.path).is_some());
        used.for_each(|disk| disk.content = None);
        return Ok(PreviousConversion::Kept(Box::new(KeptConversion { disks, record, cards })));
    }
    why.extend(cards);
    if is_consumed {
        let reason = if exported_there {
            "its disks were converted during the export, and FIX has changed them"
        } else {
            "the exported disks are gone"
        };
        let text =
            format!("the flags ask for another conversion ({}), and {reason}", why.join("; "));
        let stopped = StageError::because(Stage::Preflight, text, BOTH_WAYS);
        return Err(stopped.coded("export-consumed"));
    }
    let old = disks.0.iter().map(|disk| &disk.path).filter(|path| path.exists());
    old.clone().try_for_each(|path| in_use.refuse(path, ask.output))?;
    let names = old.filter_map(|path| path.file_name());
    let replaces = names.map(|name| name.to_string_lossy().into_owned()).collect();
    Ok(PreviousConversion::Again(Again { replaces, why, from_results }))
}

/// Rejects a conversion, from the manifest alone, of disks that are already converted.
///
/// # Errors
/// [`StageError`] with the converted disks and the command that continues with them.
pub(in crate::pipeline) fn refuse_converted(
    manifest: &Manifest,
    path: &Path,
    output: &Path,
    needs: &convert::Needs,
) -> Result<(), StageError> {
    let mut there = convert::result_paths(needs, output);
    there.retain(|path| path.is_file());
    let is_result = |path: &PathBuf| there.iter().any(|there| real(there) == real(path));
    let streamed = manifest.disks.iter().any(|disk| is_result(&disk.local_path));
    // A file of that name may belong to the user.
    if there.is_empty() || !streamed && stored::converted(output, manifest).is_none() {
        return Ok(());
    }
    let files: Vec<_> = there.iter().map(|path| path.display().to_string()).collect();
    let text = format!("{} is already converted: {}", manifest.vm_name(), files.join(", "));
    let path = quoted(&path.to_string_lossy());
    let define =
        format!("run 'hyperexport define --manifest {path}' to define a domain with these disks");
    let (text, otherwise) = if streamed {
        let told = "the disks were converted during the export, and no other copy exists";
        let again = "or repeat the command of the export with --fresh to convert otherwise";
        (format!("{text}; {told}"), again)
    } else {
        (text, "or move them away first to convert again")
    };
    let hint = format!("{define}; {otherwise}");
    Err(StageError::because(Stage::Preflight, text, hint).coded("converted-already"))
}

/// The conversion's settings, with the network cards that the domain does not get.
pub(in crate::pipeline) fn settings_for(
    job: &Job,
    settings: &convert::Settings,
    nics: &[SourceNic],
) -> convert::Settings {
    let map = job.target.as_ref().map(|target| &target.network_map);
    let left_out = map.map(|map| left_out(settings, map, nics)).unwrap_or_default();
    convert::Settings { left_out, ..settings.clone() }
}

/// Ids of the network cards that the domain does not get, if FIX names cards.
fn left_out(settings: &convert::Settings, map: &NetworkMap, nics: &[SourceNic]) -> Vec<String> {
    let names_cards = settings.stages.fix && settings.preserve_network;
    let is_out = |nic: &&SourceNic| names_cards && map.target(nic) == Some(Attachment::Nothing);
    nics.iter().filter(is_out).map(|nic| nic.id.clone()).collect()
}

/// Differences between the requested and the earlier conversion.
fn differences(
    ask: &ReuseRequest<'_>,
    settings: &convert::Settings,
    record: &Conversion,
    result: &RunReport,
) -> Vec<String> {
    const CONVERTER: &str = "--converter";
    const INSPECT: &str = "--pipeline-inspect";
    // INSPECT changes no byte: it counts only if its facts are requested and missing.
    let looked = !settings.stages.inspect || result.guest.is_some();
    let compared = |flags: &Flags| {
        let flags = flags.without(CONVERTER);
        if looked { flags.without(INSPECT) } else { flags }
    };
    let mut why = compared(&ask.job.asked).differences(&compared(&record.flags));
    let word = match settings.converter {
        // The converter was chosen by the same rules, or by the user.
        Converter::Auto => None,
        Converter::Hyper2kvm => Some("hyper2kvm"),
        Converter::Native => Some("native"),
        Converter::VirtV2v => Some("virt-v2v"),
    };
    let by = result.converter.as_deref().and_then(|by| by.split_whitespace().next());
    let by = by.unwrap_or_default();
    if let Some(word) = word.filter(|word| *word != by) {
        why.push(format!("{CONVERTER}: {by} then, {word} now"));
    }
    if let Some(failure) = &record.fix_failure {
        why.push(format!("FIX failed: {failure}"));
    }
    why
}

/// Describes how FIX counted other network cards than the domain gets; `None` if both agree.
/// Without a domain, any count is accepted.
fn cards_counted(
    ask: &ReuseRequest<'_>,
    settings: &convert::Settings,
    record: &Conversion,
) -> Option<String> {
    let target = ask.job.target.as_ref()?;
    let now = left_out(settings, &target.network_map, &ask.vm.nics);
    let then = record.left_out.as_ref()?;
    (now != *then).then(|| {
        let [then, now] = [then, &now].map(|ids| said(ids));
        format!("network cards left out: {then} then, {now} now")
    })
}

/// The network cards that the domain does not get, if it is unknown whether FIX left them out.
fn cards_unknown(
    ask: &ReuseRequest<'_>,
    settings: &convert::Settings,
    record: Option<&Conversion>,
) -> Option<String> {
    let target = ask.job.target.as_ref()?;
    let now = left_out(settings, &target.network_map, &ask.vm.nics);
    let unknown = record.is_none_or(|record| record.left_out.is_none());
    (unknown && !now.is_empty())
        .then(|| format!("network cards left out: not recorded then, {} now", said(&now)))
}

fn said(ids: &[String]) -> String {
    if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
}

/// Rejects results that were written to, except those used by a domain. Missing results were
/// handled before.
fn unchanged(record: &Conversion, in_use: &InUse) -> Result<(), StageError> {
    let there = record.images.iter().filter(|stamp| stamp.path.is_file());
    let changed = there.clone().find(|stamp| !stamp.holds() && in_use.by(&stamp.path).is_none());
    match changed {
        None => Ok(()),
        Some(stamp) => {
            let text = format!("{} was written to since it was converted", stamp.path.display());
            Err(StageError::because(Stage::Preflight, text, AGAIN).coded(CHANGED))
        }
    }
}

/// Reads the converted disks again and compares their contents with the recorded hashes.
///
/// # Errors
/// [`StageError`] naming the first disk that has changed.
pub(in crate::pipeline) async fn check_content(
    disks: &ConvertedDisks,
    stage: Stage,
    Control { progress, cancel }: Control<'_>,
) -> Result<(), StageError> {
    for disk in disks.0.iter().filter(|disk| disk.content.is_some() && disk.path.exists()) {
        let task = progress.task(format!("check {}", disk.id), Some(disk.capacity.0), Unit::Bytes);
        let (read, cancel) = (disk.clone(), cancel.clone());
        let changed = tokio::task::spawn_blocking(move || convert::changed(&read, &task, &cancel));
        let why = match changed.await.unwrap_or_else(|join| Err(join.into())) {
            Ok(None) => continue,
            Ok(Some(why)) => why,
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                return Err(file_sums::stopped(stage, &manifest::Error::Cancelled));
            }
            Err(error) => error.to_string(),
        };
        let text = format!("{} is not the disk that was converted: {why}", disk.path.display());
        return Err(StageError::because(stage, text, AGAIN).coded(CHANGED));
    }
    Ok(())
}

/// The same check for `define`, as a warning: the user may have changed a disk on purpose.
pub(in crate::pipeline) async fn content_warning(
    disks: &ConvertedDisks,
    control: Control<'_>,
) -> Option<Warning> {
    let failure = check_content(disks, Stage::Libvirt, control).await.err()?.failure;
    let text = format!("{}; the domain has it as it is", failure.message);
    (failure.code == CHANGED)
        .then(|| Warning::new(Stage::Libvirt, WarningCode::ConvertedChanged, text))
}

/// Rejects results that do not match their record, except those used by a domain: a record proves
/// nothing about the bytes of a file.
fn fitting(disks: &ConvertedDisks, in_use: &InUse) -> Result<(), StageError> {
    let there = disks.0.iter().filter(|disk| disk.path.symlink_metadata().is_ok());
    for disk in there.filter(|disk| in_use.by(&disk.path).is_none()) {
        let why = convert::fault(disk).unwrap_or_else(|error| Some(error.to_string()));
        let Some(why) = why else { continue };
        let text = format!("{} is not the disk that was converted: {why}", disk.path.display());
        let stopped = StageError::because(Stage::Preflight, text, AGAIN);
        return Err(stopped.coded(CHANGED));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fix_knows_the_cards_that_the_domain_does_not_get() {
        let nics: Vec<_> = (0..3)
            .zip(["LAN", "Backup", "DMZ"])
            .map(|(index, name)| SourceNic { network: name.to_owned(), ..SourceNic::at(index) })
            .collect();
        let entries = ["Backup=none", "*=bridge:br0"].map(|entry| entry.parse().expect("valid"));
        let map = NetworkMap::new(entries.to_vec()).expect("valid");
        let settings = convert::Settings::default();
        assert_eq!(left_out(&settings, &map, &nics), ["nic-1"]);
        let careless = convert::Settings { preserve_network: false, ..settings };
        assert!(left_out(&careless, &map, &nics).is_empty(), "no card is named");
    }
}
