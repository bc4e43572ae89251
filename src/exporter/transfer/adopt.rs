//! Takes over the whole file that a killed run left, if it still has its sum.

use std::fs::File;
use std::io::{self, Read};

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::exporter::FinishedDisk;
use crate::model::Sha256Digest;
use crate::progress::Task;

/// Bytes read at a time.
const BLOCK: usize = 1 << 20;

/// Whether `file`, read from its beginning, is what `disk` says. Blocks.
///
/// # Errors
/// When it cannot be read, or `cancel` says so ([`io::ErrorKind::Interrupted`]).
pub(super) fn is_same(
    mut file: File,
    disk: &FinishedDisk,
    task: &Task,
    cancel: &CancellationToken,
) -> io::Result<bool> {
    if file.metadata()?.len() != disk.file_size.0 {
        return Ok(false);
    }
    let (mut sum, mut position) = (Sha256::new(), 0);
    let mut buffer = vec![0; BLOCK];
    loop {
        if cancel.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match file.read(&mut buffer)? {
            0 => return Ok(Sha256Digest(sum.finalize().into()) == disk.sha256),
            read => {
                sum.update(&buffer[..read]);
                position += read as u64;
                task.at(position);
            }
        }
    }
}
