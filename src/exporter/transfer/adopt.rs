//! Reuses the finished file of an interrupted run, if the file still matches its checksum.

use std::fs::File;
use std::io;

use tokio_util::sync::CancellationToken;

use crate::digest;
use crate::exporter::FinishedDisk;
use crate::progress::Task;

/// Whether `file`, read from its beginning, matches `disk`. Blocks.
///
/// # Errors
/// When the file cannot be read, or `cancel` is cancelled ([`io::ErrorKind::Interrupted`]).
pub(super) fn is_same(
    file: File,
    disk: &FinishedDisk,
    task: &Task,
    cancel: &CancellationToken,
) -> io::Result<bool> {
    if file.metadata()?.len() != disk.file_size.0 {
        return Ok(false);
    }
    let read = digest::read_all(file, |_, position| {
        task.at(position);
        if cancel.is_cancelled() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    });
    Ok(read?.sha256 == disk.sha256)
}
