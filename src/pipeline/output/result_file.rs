//! Reads the result of a run from its output directory.

use std::path::Path;

use super::BOTH_WAYS;
use super::report::{self, RunReport};
use crate::manifest::{self, Manifest};
use crate::model::{Hint, Stage};
use crate::pipeline::job::absolute;
use crate::pipeline::stage::stage_error::StageError;
use crate::{convert, state};

/// Largest result that is read, in bytes.
pub(in crate::pipeline) const LARGEST_RESULT: u64 = 64 << 20;

/// Provider of VMs in files, which are never running.
pub(in crate::pipeline) const LOCAL: &str = "local";

/// The manifest in an output directory, if it exists.
pub(in crate::pipeline) fn read_manifest(output: &Path) -> Result<Option<Manifest>, StageError> {
    let path = output.join(manifest::FILE_NAME);
    match manifest::read_own(&path) {
        Ok(manifest) => Ok(manifest),
        Err(error) => Err(StageError::new(Stage::Preflight, &error, Some(BOTH_WAYS.to_owned()))),
    }
}

/// The output directory of a result, or of a record in its `runs/`.
pub(in crate::pipeline) fn folder_of(path: &Path) -> &Path {
    fn parent(path: &Path) -> &Path {
        match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => Path::new("/"),
        }
    }
    let folder = parent(path);
    let is_result = path.file_name().is_some_and(|name| name == report::FILE_NAME);
    match folder.file_name() {
        Some(name) if name == RECORDS && !is_result => parent(folder),
        _ => folder,
    }
}

/// A report with the standard paths of converted disks in `output`. Paths in a report are not
/// trusted: the names of a run's files are known.
pub(in crate::pipeline) fn in_its_place(report: RunReport, output: &Path) -> RunReport {
    let converted = report.converted.as_ref();
    let mut converted = converted.map(|disks| convert::placed(disks, &report.vm, output));
    // An earlier version recorded the hash of a disk's content only in the proof.
    let proof = report.proof.as_ref();
    for disk in converted.iter_mut().flat_map(|disks| &mut disks.0) {
        let proved = || proof.and_then(|proof| convert::result_of(proof, disk));
        disk.content = disk.content.or_else(proved);
    }
    RunReport { converted, ..report }
}

/// Reads the report of an earlier run; `None` if the file does not exist.
pub fn read_result(path: &Path) -> Result<Option<RunReport>, StageError> {
    let read = state::read_own(path, LARGEST_RESULT).map_err(|error| {
        let hint = error.hint().unwrap_or_else(|| "use another --output".to_owned());
        StageError::new(Stage::Preflight, &error, Some(hint))
    });
    let Some(text) = read? else { return Ok(None) };
    let read: Result<RunReport, _> = serde_json::from_slice(&text);
    let folder = absolute(folder_of(path)).unwrap_or_else(|_| folder_of(path).to_owned());
    let found = |report: RunReport| Some(in_its_place(report.moved_to(&folder), &folder));
    read.map(found).map_err(|error| {
        StageError::because(
            Stage::Preflight,
            format!("{} is not a result of hyperexport: {error}", path.display()),
            "move it away, or use another --output",
        )
        .coded("result-unreadable")
    })
}

/// Name of the records' folder in the output directory.
pub(in crate::pipeline) const RECORDS: &str = "runs";
