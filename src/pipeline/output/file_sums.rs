//! Checksums of the files of an export that are not disks: the package and the firmware's
//! variables.

use std::path::Path;

use super::super::stage::stage_error::StageError;
use super::BOTH_WAYS;
use crate::manifest;
use crate::model::{Sha256Digest, Stage};
use crate::progress::Control;

/// Reads a file and compares its SHA-256 checksum with the recorded one.
///
/// # Errors
/// [`StageError`] when they differ, or the file cannot be read.
pub(in crate::pipeline) async fn check(
    path: &Path,
    expected: Sha256Digest,
    stage: Stage,
    Control { progress, cancel }: Control<'_>,
) -> Result<(), StageError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let found = manifest::sum_of_file(path, &name, progress, cancel).await;
    let found = found.map_err(|error| stopped(stage, &error))?;
    if found == expected {
        return Ok(());
    }
    let text = format!("SHA-256 checksum of {} is {found}, not {expected}", path.display());
    Err(StageError::because(stage, text, BOTH_WAYS).coded("sum-differs"))
}

/// The error for files of an export that could not be compared with their records.
pub(in crate::pipeline) fn stopped(stage: Stage, error: &manifest::Error) -> StageError {
    let stopped = StageError::new(stage, error, None);
    match error {
        manifest::Error::Cancelled => stopped,
        _ => stopped.hinted(BOTH_WAYS),
    }
}
