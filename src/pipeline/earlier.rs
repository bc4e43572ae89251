//! What an earlier run left in the output directory, and what of it serves the run that is asked for.
//!
//! | found there | what follows |
//! |---|---|
//! | nothing of ours | a new export |
//! | the export of another VM | refused |
//! | an export, and `--fresh` | a new one beside it, which takes its place when it is complete |
//! | an export of the VM in another state | refused, with `--fresh` and another folder named |
//! | an export of the VM as it is now | reused if every sum holds; what is missing is done |
//! | an export of a snapshot | reused with a warning; refused for a start or a proof |
//! | the marker of a killed run and a manifest | as an export; one that does not fit goes |
//! | the marker of a killed run alone | its leftovers go, a new export |
//! | a file of a name that we need, of nobody we know | refused |

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::DOMAIN_XML;
use super::claim::Claim;
use super::converted::{self, Converted};
use super::fit::{self, Fit, fit};
use super::job::Job;
use super::made::Taken;
use super::report::{self, Package, RunReport};
use super::stages::Stopped;
use super::stored::{Stored, in_use, read_manifest, read_result, used_by};
use crate::manifest::{self, Manifest};
use crate::model::{
    ExportedDisk, ExportedNvram, ExportedVm, PowerState, SourceState, SourceVm, Stage, Warning,
};
use crate::progress::Progress;

/// What there is to build on.
#[derive(Debug)]
pub enum Earlier {
    /// Nothing.
    Nothing,
    /// A complete export.
    Export(Box<Kept>),
    /// A complete export that makes way for a new one: names of its files in the output directory.
    Replaced(Vec<String>),
}

/// A complete export of an earlier run.
#[derive(Debug)]
pub struct Kept {
    /// What was exported, and in which state of its VM.
    pub taken: Taken,
    /// Its disks.
    pub disks: Vec<ExportedDisk>,
    /// The variables of its firmware.
    pub nvram: Option<ExportedNvram>,
    /// Its package.
    pub package: Option<Package>,
    /// Its manifest, if one was written.
    pub manifest: Option<Manifest>,
    /// Where that is, or is to be.
    pub manifest_path: PathBuf,
    /// What it is to the VM as it is now.
    pub fit: Fit,
    /// The exported disks were removed since; the converted ones serve.
    pub gone: bool,
    /// Disks that a domain uses where they are: they change while its guest runs.
    pub in_use: Vec<PathBuf>,
    /// What there is of a conversion.
    pub converted: Converted,
    /// The result of the run that left it.
    pub result: Option<RunReport>,
    /// What is less than well about it.
    pub warnings: Vec<Warning>,
    /// Names of all its files in the output directory.
    names: Vec<String>,
}

/// What is asked of an output directory.
pub struct Ask<'a> {
    /// What the run is asked to do.
    pub job: &'a Job,
    /// The VM as it is now.
    pub vm: &'a SourceVm,
    /// In which state it is.
    pub now: &'a SourceState,
    /// The output directory.
    pub output: &'a Path,
    /// Names of the files that the run would make there.
    pub makes: &'a [String],
    /// Names of the files that an export of the VM makes: disks of files may be used where they are.
    pub exports: &'a [String],
}

impl Earlier {
    /// Names of the files in the output directory that must stay.
    pub fn kept_names(&self) -> Vec<String> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Export(kept) => [&kept.names[..], &[DOMAIN_XML.to_owned()]].concat(),
            Self::Replaced(names) => [&names[..], &[DOMAIN_XML.to_owned()]].concat(),
        }
    }
}

impl Kept {
    /// Reads every exported disk again and compares its sum; those that a domain uses are its own.
    ///
    /// # Errors
    /// [`Stopped`] naming the disk that is no longer what was exported.
    pub async fn check_sums(
        &self,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<(), Stopped> {
        let stopped = |error: manifest::Error| {
            let stopped = Stopped::new(Stage::Export, &error, None);
            match error {
                manifest::Error::Cancelled => stopped,
                _ => stopped.hinted(BOTH_WAYS),
            }
        };
        if self.gone || self.disks.is_empty() {
            return Ok(());
        }
        let mut described = self.described();
        described.disks.retain(|disk| !self.in_use.contains(&disk.local_path));
        manifest::check_files(&described).map_err(stopped)?;
        manifest::verify_sums(&described, progress, cancel).await.map_err(stopped)
    }

    /// Its manifest as it stands there, or as it would.
    pub fn described(&self) -> Manifest {
        let written = self.manifest.clone();
        written.unwrap_or_else(|| {
            let output = self.manifest_path.parent().unwrap_or(Path::new("/"));
            manifest::build(&self.exported(), &super::later::build_options(None, output))
        })
    }

    /// The export as the stage that made it handed it on.
    pub fn exported(&self) -> ExportedVm {
        ExportedVm {
            vm: self.taken.vm.clone(),
            method: self.taken.method,
            exported_at: self.taken.exported_at,
            disks: self.disks.clone(),
            nvram: self.nvram.clone().filter(|nvram| nvram.path.is_file()),
            warnings: Vec::new(),
        }
    }
}

/// The ways out where an export cannot be reused.
pub(super) const BOTH_WAYS: &str = "--fresh exports anew and replaces it once the new export is complete; or give another --output";

/// Looks at an output directory. Changes nothing.
///
/// # Errors
/// [`Stopped`] when something is in the way.
pub fn look(ask: &Ask<'_>) -> Result<Earlier, Stopped> {
    let output = ask.output;
    if let Some(result) = read_result(&output.join(report::FILE_NAME))? {
        return of_result(ask, result);
    }
    let leftovers = leftovers(output)?;
    if !leftovers.is_empty()
        && !ask.job.fresh
        && let Some(kept) = of_killed(ask)
    {
        return Ok(Earlier::Export(Box::new(kept)));
    }
    refuse_strangers(ask, &leftovers)?;
    Ok(Earlier::Nothing)
}

/// Refuses a file of a name that the run needs, which is none of `ours`.
fn refuse_strangers(ask: &Ask<'_>, ours: &[String]) -> Result<(), Stopped> {
    let is_there = |name: &str| ask.output.join(name).symlink_metadata().is_ok();
    let stranger = ask.makes.iter().find(|name| !ours.contains(name) && is_there(name));
    let Some(name) = stranger else { return Ok(()) };
    let text = format!("{} is in the way", ask.output.join(name).display());
    let hint = "move it away, or give another --output";
    Err(Stopped::because(Stage::Preflight, text, hint).coded("file-in-the-way"))
}

/// What a killed run was about to make.
fn leftovers(output: &Path) -> Result<Vec<String>, Stopped> {
    Claim::leftovers(output).map_err(|error| Stopped::new(Stage::Preflight, &error, error.hint()))
}

/// What a run that came to its end says of itself decides.
fn of_result(ask: &Ask<'_>, result: RunReport) -> Result<Earlier, Stopped> {
    let Ask { job, vm, output, .. } = ask;
    if result.vm_id.as_deref() != Some(vm.id.as_str()) {
        let text = format!("{} holds an export of {}", output.display(), result.vm);
        let stopped = Stopped::because(Stage::Preflight, text, "give another --output");
        return Err(stopped.coded("other-vm"));
    }
    let manifest = read_manifest(output)?;
    let Some(export) = Stored::of(ask, manifest, Some(&result)) else {
        // A run that left nothing but its result.
        return Ok(Earlier::Replaced(vec![report::FILE_NAME.to_owned()]));
    };
    let in_use = in_use(output)?;
    let names = export.names(ask, Some(&result));
    let ours = [&names[..], &leftovers(output)?, &[DOMAIN_XML.to_owned()]].concat();
    refuse_strangers(ask, &ours)?;
    let replaced = |names: Vec<String>| {
        let used = in_use.iter().find(|(path, _)| names.iter().any(|n| output.join(n) == *path));
        match used {
            Some((path, domain)) => Err(used_by(path, domain, output)),
            None => Ok(Earlier::Replaced(names)),
        }
    };
    if job.fresh {
        return replaced(names);
    }
    let fit = fit(&export.taken, vm, ask.now);
    refuse_unfit(ask, &export.taken, &fit)?;
    let used: Vec<_> = in_use.iter().map(|(path, _)| path.clone()).collect();
    let converted = converted::of(ask, &export.disks, &result, &in_use)?;
    let missing: Vec<_> = export.missing().collect();
    let gone = !missing.is_empty() && matches!(converted, Converted::Kept(_));
    if !missing.is_empty() && !gone {
        let nothing_left = missing.len() == export.disks.len()
            && result.converted.iter().flat_map(|disks| &disks.0).all(|disk| !disk.path.exists());
        if nothing_left {
            return replaced(names);
        }
        let text = format!(
            "{} is gone from the export of {}",
            missing.first().map(|path| path.display().to_string()).unwrap_or_default(),
            fit::time(export.taken.exported_at)
        );
        let stopped = Stopped::because(Stage::Preflight, text, BOTH_WAYS);
        return Err(stopped.coded("export-incomplete"));
    }
    let package = export.package(ask, &result)?;
    if export.disks.is_empty() && package.is_none() {
        return replaced(names);
    }
    let kept = Kept::new(export, (fit, gone, used), converted, package, names);
    Ok(Earlier::Export(Box::new(Kept { result: Some(result), ..kept }.warned(ask))))
}

/// The export of a run that was killed after its manifest was written, if it is of the VM as it is.
fn of_killed(ask: &Ask<'_>) -> Option<Kept> {
    let manifest = read_manifest(ask.output).ok().flatten()?;
    let export = Stored::of(ask, Some(manifest), None)?;
    let fit = fit(&export.taken, ask.vm, ask.now);
    let names = export.names(ask, None);
    let is_whole = export.missing().next().is_none();
    let serves = is_whole && refuse_unfit(ask, &export.taken, &fit).is_ok();
    let nothing = Vec::new();
    serves
        .then(|| Kept::new(export, (fit, false, nothing), Converted::None, None, names).warned(ask))
}

impl Kept {
    fn new(
        stored: Stored,
        (fit, gone, in_use): (Fit, bool, Vec<PathBuf>),
        converted: Converted,
        package: Option<Package>,
        names: Vec<String>,
    ) -> Self {
        let Stored { taken, disks, nvram, manifest, manifest_path } = stored;
        Self {
            taken,
            disks,
            nvram,
            package,
            manifest,
            manifest_path,
            fit,
            gone,
            in_use,
            converted,
            result: None,
            warnings: Vec::new(),
            names,
        }
    }

    /// With what a person should know before it is reused.
    fn warned(mut self, ask: &Ask<'_>) -> Self {
        let name = &ask.vm.name;
        let mut warn = |code: &str, text: String| {
            self.warnings.push(Warning::new(Stage::Preflight, code, text));
        };
        match &self.fit {
            Fit::Snapshot => {
                let text = fit::of_snapshot(&self.taken, name, ask.now);
                warn("snapshot-export-reused", format!("{text}; --fresh exports anew"));
            }
            Fit::Unknown => {
                let at = fit::time(self.taken.exported_at);
                let text = format!(
                    "nothing shows whether {name} ran or was changed since its export of {at}; \
                     --fresh exports anew"
                );
                warn("export-state-unknown", text);
            }
            Fit::Current | Fit::Changed(_) => {}
        }
        if let Converted::Kept(kept) = &self.converted
            && kept.record.is_none()
        {
            let text = "an earlier version of hyperexport converted the disks and did not record \
                        with which flags; they are used as they are";
            warn("conversion-unrecorded", text.to_owned());
        }
        self
    }
}

/// Refuses an export that is not of the VM as it is, or a snapshot where the VM is to be shut down for
/// its export.
fn refuse_unfit(ask: &Ask<'_>, taken: &Taken, fit: &Fit) -> Result<(), Stopped> {
    let (at, folder) = (fit::time(taken.exported_at), ask.output.display());
    let name = &ask.vm.name;
    let (text, code) = match fit {
        Fit::Changed(changes) => {
            let changes = changes.join("; ");
            let text =
                format!("{name} has changed since its export of {at} in {folder}: {changes}");
            (text, "source-changed")
        }
        Fit::Snapshot if ask.job.power_off.is_some() && ask.now.power == PowerState::On => {
            let snapshot = fit::of_snapshot(taken, name, ask.now);
            (format!("{folder} holds an export of {name}: {snapshot}"), "stale-export")
        }
        _ => return Ok(()),
    };
    let running = ask.now.power == PowerState::On && ask.job.power_off.is_none();
    let running = if running { " (with --power-off or --snapshot while the VM runs)" } else { "" };
    let go_on = match ask.output.join(manifest::FILE_NAME).is_file() {
        true => format!(
            "; the old disks are still good for hyperexport convert --manifest {folder}/{}",
            manifest::FILE_NAME
        ),
        false => String::new(),
    };
    let hint = format!(
        "--fresh exports anew{running} and replaces the old export once the new one is complete; or \
         give another --output{go_on}"
    );
    Err(Stopped::because(Stage::Preflight, text, hint).coded(code))
}
