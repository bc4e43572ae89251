//! Checks that the files named by a manifest exist and have the recorded sizes and checksums.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::digest;
use crate::model::{Sha256Digest, Stage, Warning, WarningCode};
use crate::progress::{Progress, Task, Unit};

use super::types::{Disk, Manifest};
use super::{Error, Violation};

/// Checks that every disk's file exists and has the size recorded in the manifest.
///
/// # Errors
/// [`Error::Invalid`] that names every missing file, and every wrong size if hyperexport wrote the
/// manifest. In a manifest of another program, `bytes` may be the size that the guest sees. A wrong
/// size is then only a warning, as it is for the consumer.
pub fn check_files(manifest: &Manifest) -> Result<Vec<Warning>, Error> {
    let ours = manifest.metadata.as_ref().is_some_and(|m| m.hyperexport.is_some());
    let mut violations = Vec::new();
    let mut warnings = Vec::new();
    for (i, disk) in manifest.disks.iter().enumerate() {
        let path = disk.local_path.display();
        let found = fs::metadata(&disk.local_path).ok().filter(fs::Metadata::is_file);
        match found.map(|m| m.len()) {
            None => violations.push(Violation {
                path: format!("disks[{i}].local_path"),
                rule: format!("must name a file: {path} is none"),
            }),
            Some(size) if size != disk.bytes && ours => violations.push(Violation {
                path: format!("disks[{i}].bytes"),
                rule: format!("must be the size of {path}, which is {size}, not {}", disk.bytes),
            }),
            Some(size) if size != disk.bytes => warnings.push(Warning::new(
                Stage::Manifest,
                WarningCode::ManifestSizeDiffers,
                format!("{}: {path} has {size} bytes, the manifest says {}", disk.id, disk.bytes),
            )),
            Some(_) => {}
        }
    }
    if violations.is_empty() { Ok(warnings) } else { Err(Error::Invalid { violations }) }
}

/// Reads every disk's file and compares its SHA-256 checksum; a disk without a checksum is skipped.
///
/// # Errors
/// [`Error::SumDiffers`], [`Error::Read`] or [`Error::Cancelled`].
pub async fn verify_sums(
    manifest: &Manifest,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    for disk in &manifest.disks {
        let Some(expected) = disk.checksum else { continue };
        let Disk { id, local_path, .. } = disk.clone();
        let found = sum_of(disk, progress, cancel).await?;
        if found != expected {
            return Err(Error::SumDiffers { disk: id, path: local_path, expected, found });
        }
    }
    Ok(())
}

/// Computes the SHA-256 checksum of a disk's file.
///
/// # Errors
/// [`Error::Read`], [`Error::Cancelled`].
pub async fn sum_of(
    disk: &Disk,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Sha256Digest, Error> {
    sum_of_file(&disk.local_path, disk.id.as_str(), progress, cancel).await
}

/// Computes the SHA-256 checksum of a file; `name` labels its progress bar.
///
/// # Errors
/// [`Error::Read`], [`Error::Cancelled`].
pub async fn sum_of_file(
    path: &Path,
    name: &str,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Sha256Digest, Error> {
    let length = fs::metadata(path).map(|found| found.len()).ok();
    let task = progress.task(format!("verify {name}"), length, Unit::Bytes);
    let (file, cancel) = (path.to_owned(), cancel.clone());
    tokio::task::spawn_blocking(move || sum(&file, &task, &cancel))
        .await
        .map_err(|join| Error::Read { path: path.to_owned(), source: join.into() })?
}

fn sum(path: &Path, task: &Task, cancel: &CancellationToken) -> Result<Sha256Digest, Error> {
    let read = File::open(path).and_then(|file| {
        digest::read_all(file, |_, position| {
            task.at(position);
            if cancel.is_cancelled() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
        })
    });
    read.map(|read| read.sha256).map_err(|source| match cancel.is_cancelled() {
        true => Error::Cancelled,
        false => Error::Read { path: path.to_owned(), source },
    })
}
