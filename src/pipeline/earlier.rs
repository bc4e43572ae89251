//! What an earlier run left in the output directory, and what of it can be kept.
//!
//! | found there | what follows |
//! |---|---|
//! | nothing of ours | a fresh export |
//! | `result.json` of a finished run | refused: a finished export is never touched |
//! | `result.json` of a run whose later stage failed | its export is kept, the stage done again |
//! | the marker of a killed run and a manifest | its export is kept if every sum holds |
//! | the marker of a killed run alone | its leftovers go, a fresh export |
//! | a file of a name that we need, of nobody we know | refused |

use std::fs;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::claim::Claim;
use super::report::{self, Outcome, RunReport};
use super::stages::Stopped;
use crate::manifest::{self, Manifest};
use crate::model::{ConvertedDisks, ExportedDisk, SourceVm, Stage, chain};
use crate::progress::Progress;

/// What there is to build on.
#[derive(Debug)]
pub enum Earlier {
    /// Nothing.
    Nothing,
    /// A whole export.
    Export(Box<Kept>),
}

/// A whole export of an earlier run.
#[derive(Debug)]
pub struct Kept {
    /// Its manifest.
    pub manifest: Manifest,
    /// Where that is.
    pub manifest_path: PathBuf,
    /// Its disks.
    pub disks: Vec<ExportedDisk>,
    /// Its converted disks, if that run came so far.
    pub converted: Option<ConvertedDisks>,
    /// When it was taken, for people.
    pub taken_at: String,
}

impl Earlier {
    /// Names of the files in the output directory that must stay.
    pub fn kept_names(&self) -> Vec<String> {
        let Self::Export(kept) = self else { return Vec::new() };
        let disks = kept.disks.iter().map(|disk| &disk.path);
        let converted = kept.converted.iter().flat_map(|disks| &disks.0).map(|disk| &disk.path);
        disks
            .chain(converted)
            .chain([&kept.manifest_path])
            .chain(kept.manifest.nvram().map(|nvram| &nvram.path))
            .filter_map(|path| path.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }
}

impl Kept {
    /// Reads every exported disk again and compares its sum.
    ///
    /// # Errors
    /// [`Stopped`] naming the disk that is no longer what was exported.
    pub async fn check_sums(
        &self,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<(), Stopped> {
        let stopped = |e: manifest::Error| Stopped::new(Stage::Export, &e, e.hint());
        manifest::check_files(&self.manifest).map_err(stopped)?;
        manifest::verify_sums(&self.manifest, progress, cancel).await.map_err(stopped)
    }
}

/// Looks at `output`, where files named `makes` are about to be made for `vm`. Changes nothing.
///
/// # Errors
/// [`Stopped`] when something is in the way.
pub fn look(output: &Path, vm: &SourceVm, makes: &[String]) -> Result<Earlier, Stopped> {
    if let Some(result) = read_result(&output.join(report::FILE_NAME))? {
        return of_result(output, vm, &result);
    }
    let leftovers = Claim::leftovers(output)
        .map_err(|error| Stopped::new(Stage::Preflight, &error, error.hint()))?;
    if !leftovers.is_empty()
        && let Some(kept) = kept_export(output, vm, None)
    {
        return Ok(Earlier::Export(Box::new(kept)));
    }
    let stranger = makes
        .iter()
        .find(|name| !leftovers.contains(name) && output.join(name).symlink_metadata().is_ok());
    match stranger {
        None => Ok(Earlier::Nothing),
        Some(name) => Err(Stopped::because(
            Stage::Preflight,
            format!("{} is in the way", output.join(name).display()),
            "move it away, or give another --output",
        )),
    }
}

/// What a finished run says about itself decides.
fn of_result(output: &Path, vm: &SourceVm, result: &RunReport) -> Result<Earlier, Stopped> {
    let manifest = output.join(manifest::FILE_NAME);
    if result.vm_id.as_deref() != Some(vm.id.as_str()) {
        let text = format!("{} holds an export of {}", output.display(), result.vm);
        return Err(Stopped::because(Stage::Preflight, text, "give another --output"));
    }
    if result.outcome == Outcome::Done {
        let text = format!("{} holds a finished export of {}", output.display(), result.vm);
        let hint = if manifest.exists() {
            format!(
                "give another --output, or go on from it: hyperexport convert --manifest {0}, \
                 hyperexport define --manifest {0}",
                manifest.display()
            )
        } else {
            "give another --output, or move it away".to_owned()
        };
        return Err(Stopped::because(Stage::Preflight, text, hint));
    }
    match kept_export(output, vm, result.converted.clone()) {
        Some(kept) => Ok(Earlier::Export(Box::new(kept))),
        None => Err(Stopped::because(
            Stage::Preflight,
            format!(
                "{} holds an export of {} that does not fit the VM as it is now",
                output.display(),
                result.vm
            ),
            "give another --output, or move it away",
        )),
    }
}

/// The export in `output`, if there is a manifest of it and it is of `vm` as it is now.
fn kept_export(output: &Path, vm: &SourceVm, converted: Option<ConvertedDisks>) -> Option<Kept> {
    let manifest_path = output.join(manifest::FILE_NAME);
    let manifest = match manifest::read(&manifest_path) {
        Ok(manifest) => manifest,
        Err(error) => {
            tracing::info!(error = chain(&error), "no manifest to go on from");
            return None;
        }
    };
    let exported = manifest.source_vm();
    // Any other difference means that the disks may have changed too.
    let same = exported.is_still(vm);
    let converted = converted.filter(|disks| disks.0.iter().all(|disk| disk.path.is_file()));
    let source = manifest.source.as_ref();
    let taken_at = source.and_then(|s| s.export_timestamp.clone()).unwrap_or_default();
    let disks = exported_disks(&manifest)?;
    same.then_some(Kept { manifest, manifest_path, disks, converted, taken_at })
}

/// The whole conversion that an earlier run reported of the VM of `manifest`, if its files are
/// there.
pub fn converted(output: &Path, manifest: &Manifest) -> Option<ConvertedDisks> {
    let result = read_result(&output.join(report::FILE_NAME)).ok().flatten()?;
    let id = manifest.source.as_ref().and_then(|source| source.vm_id.as_ref());
    let converted = result.converted.filter(|_| result.vm_id.as_ref() == id)?;
    converted.0.iter().all(|disk| disk.path.is_file()).then_some(converted)
}

/// The exported disks of a manifest, if it has all facts of them.
pub fn exported_disks(manifest: &Manifest) -> Option<Vec<ExportedDisk>> {
    let exported = |disk: &manifest::Disk| {
        Some(ExportedDisk {
            id: disk.id.clone(),
            path: disk.local_path.clone(),
            format: disk.source_format,
            file_size: crate::model::ByteSize(disk.bytes),
            capacity: manifest.capacity(disk)?,
            sha256: disk.checksum?,
            received: manifest.received(&disk.id).cloned(),
        })
    };
    manifest.disks.iter().map(exported).collect()
}

/// The report of an earlier run; none when there is no such file.
pub fn read_result(path: &Path) -> Result<Option<RunReport>, Stopped> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let text = format!("read {}: {error}", path.display());
            return Err(Stopped::because(Stage::Preflight, text, "give another --output"));
        }
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        Stopped::because(
            Stage::Preflight,
            format!("{} is no result of hyperexport: {error}", path.display()),
            "move it away, or give another --output",
        )
    })
}
