//! Takes over the whole file that a killed run left, if it still has its sum.

use std::fs::File;
use std::io;

use tokio_util::sync::CancellationToken;

use crate::digest;
use crate::exporter::FinishedDisk;
use crate::progress::Task;

/// Whether `file`, read from its beginning, is what `disk` says. Blocks.
///
/// # Errors
/// When it cannot be read, or `cancel` says so ([`io::ErrorKind::Interrupted`]).
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
