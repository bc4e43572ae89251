//! Checksums of the files of an export that are no disks: the package and the firmware's variables.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::earlier::BOTH_WAYS;
use super::stages::Stopped;
use crate::manifest;
use crate::model::{Sha256Digest, Stage};
use crate::progress::Progress;

/// Reads a file and compares its SHA-256 checksum with the one that was recorded.
///
/// # Errors
/// [`Stopped`] when they differ, or the file cannot be read.
pub(super) async fn check(
    path: &Path,
    expected: Sha256Digest,
    stage: Stage,
    (progress, cancel): (&Progress, &CancellationToken),
) -> Result<(), Stopped> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let found = manifest::sum_of_file(path, &name, progress, cancel).await.map_err(|error| {
        let stopped = Stopped::new(stage, &error, None);
        if matches!(error, manifest::Error::Cancelled) {
            stopped
        } else {
            stopped.hinted(BOTH_WAYS)
        }
    })?;
    if found == expected {
        return Ok(());
    }
    let text = format!("{} has the SHA-256 sum {found}, not {expected}", path.display());
    Err(Stopped::because(stage, text, BOTH_WAYS).coded("sum-differs"))
}
