//! `hyperexport verify`: proves later that the disks of a run equal the exported disks, except for
//! changes by FIX. Changes nothing.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::output::journal;
use super::output::report::{self, RunReport};
use super::output::result_file::read_result;
use super::undo::taken_back::check_uri;
use crate::convert::{ImageDifference, compare, open_image};
use crate::libvirt::{self, Chunk, DefinedDomain, UnusedDisk};
use crate::model::{DiskFormat, DiskId, DiskProof, FixedFile, Hint, Proof, Sha256Digest};
use crate::progress::{Control, Progress, Unit};

/// Why the proof has failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The result cannot be read.
    #[error("{0}")]
    Result(String),
    /// The result has no proof.
    #[error("{} has no proof of its disks", .0.display())]
    NoProof(PathBuf),
    /// The disks may have changed since the run.
    #[error("the disks of the run can no longer be compared: {0}")]
    Used(String),
    /// The content of a disk does not match its proof.
    #[error("{disk} ({}) differs: {why}", place.display())]
    Differs {
        /// Identifier of the disk.
        disk: DiskId,
        /// Path of the image or volume.
        place: PathBuf,
        /// Description of the difference.
        why: String,
    },
    /// A disk cannot be read.
    #[error("reading {}", place.display())]
    Read {
        /// Path of the image or volume.
        place: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// libvirt has reported an error.
    #[error("reading the disks through libvirt")]
    Libvirt(#[from] libvirt::Error),
    /// The run was cancelled.
    #[error("interrupted")]
    Cancelled,
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Result(_) => {
                Some("pass the result.json of an output directory, or a file of its runs/".into())
            }
            Self::NoProof(_) => Some(
                "convert the disks with this version: the proof is recorded during the conversion"
                    .to_owned(),
            ),
            Self::Used(_) => Some(
                "verify before the first start; the exported disks still have their own checksums"
                    .to_owned(),
            ),
            Self::Differs { .. } => {
                Some("undo the run (hyperexport undo DIR), then run the migration again".to_owned())
            }
            Self::Libvirt(source) => source.hint(),
            Self::Read { .. } | Self::Cancelled => None,
        }
    }
}

impl Error {
    /// Whether a disk was compared and differs.
    pub fn is_difference(&self) -> bool {
        matches!(self, Self::Differs { .. })
    }
}

/// Result of a successful `hyperexport verify`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verified {
    /// Display name of the VM.
    pub vm: String,
    /// Disks that were compared; all equal the exported disks, except for blocks that FIX changed.
    pub disks: Vec<VerifiedDisk>,
    /// Guest files that explain these blocks; absent if they are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<FixedFile>>,
}

/// A disk that was compared and matches its proof.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct VerifiedDisk {
    /// Identifier of the disk.
    pub id: DiskId,
    /// Path of the image or volume.
    pub place: PathBuf,
    /// Hash of the content as it was exported.
    pub exported: Sha256Digest,
    /// Number of blocks that FIX changed.
    pub changed_blocks: usize,
}

/// Compares the disks of a run with their proofs. `path` is the run's result or its directory;
/// `uri` is the libvirt URI that the user has passed.
///
/// # Errors
/// [`Error::Differs`] for a disk that does not match its proof; all others if the comparison is
/// impossible.
pub async fn verify(
    path: &Path,
    uri: Option<&str>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Verified, Error> {
    let path = if path.is_dir() { path.join(report::FILE_NAME) } else { path.to_owned() };
    let read = read_result(&path).map_err(|stopped| Error::Result(stopped.failure.message))?;
    let result = read.ok_or_else(|| {
        Error::Result(format!("reading {}: No such file or directory", path.display()))
    })?;
    let proof = result.proof.clone().filter(|proof| !proof.disks.is_empty());
    let proof = proof.ok_or(Error::NoProof(path))?;
    let control = Control { progress, cancel };
    let undone = result.undone.as_ref().is_some_and(|undone| undone.left.is_empty());
    let disks = match result.domain.as_ref().filter(|_| !undone) {
        Some(domain) => {
            check_uri(&domain.uri, uri)?;
            of_domain(&result, domain, &proof, control).await?
        }
        None => of_images(&result, &proof, control).await?,
    };
    Ok(Verified { vm: result.vm, disks, files: proof.files })
}

/// Compares the volumes of a domain.
async fn of_domain(
    result: &RunReport,
    domain: &DefinedDomain,
    proof: &Proof,
    control: Control<'_>,
) -> Result<Vec<VerifiedDisk>, Error> {
    let target = libvirt::Connection::connect(&journal::settings(&domain.uri)).await?;
    let disks = target.unused_disks(domain).await?.map_err(Error::Used)?;
    let mut verified = Vec::new();
    for proof in &proof.disks {
        let Some(disk) = disks.iter().find(|disk| disk.volume.id == proof.id) else {
            return Err(Error::Used(format!("the domain has no volume of {}", proof.id)));
        };
        let failed = |source| read_error(&disk.path, source);
        let here = match disk.is_here {
            true => open_image(&disk.path).map_err(failed)?,
            false => None,
        };
        let file = match here {
            Some(file) => file,
            // On another machine, or not readable for this user: libvirt reads the volume.
            None => {
                let file = tempfile::tempfile_in(&result.output).map_err(failed)?;
                download(&target, disk, &file, control).await?;
                file
            }
        };
        verified.push(one(file, &disk.path, disk.volume.format, proof, control).await?);
    }
    Ok(verified)
}

/// Copies a volume into an empty file; holes stay holes.
async fn download(
    target: &libvirt::Connection,
    disk: &UnusedDisk,
    file: &File,
    control: Control<'_>,
) -> Result<(), Error> {
    let failed = |source| read_error(&disk.path, source);
    let (out, mut position) = (file.try_clone().map_err(failed)?, 0);
    let sink = move |chunk: Chunk<'_>| match chunk {
        Chunk::Data(bytes) => {
            out.write_all_at(bytes, position)?;
            position += bytes.len() as u64;
            Ok(())
        }
        Chunk::Hole(length) => {
            position = position.checked_add(length).ok_or(ErrorKind::FileTooLarge)?;
            out.set_len(position)
        }
    };
    target.read_volume(&disk.volume, Box::new(sink), control).await?;
    if disk.volume.format == DiskFormat::Raw {
        // A block device may be larger than the disk on it.
        file.set_len(disk.capacity.0).map_err(failed)?;
    }
    Ok(())
}

/// Compares the converted images, if no domain is defined.
async fn of_images(
    result: &RunReport,
    proof: &Proof,
    control: Control<'_>,
) -> Result<Vec<VerifiedDisk>, Error> {
    let stamps = result.conversion.iter().flat_map(|conversion| &conversion.images);
    let mut verified = Vec::new();
    for proof in &proof.disks {
        let mut disks = result.converted.iter().flat_map(|disks| &disks.0);
        let Some(disk) = disks.find(|disk| disk.id == proof.id) else {
            return Err(Error::Used(format!("no converted image of {} exists", proof.id)));
        };
        let path = &disk.path;
        if !path.is_file() {
            return Err(Error::Used(format!("{} is gone", path.display())));
        }
        if stamps.clone().any(|stamp| stamp.path == *path && !stamp.holds()) {
            return Err(Error::Used(format!("{} was written to since the run", path.display())));
        }
        let refused = || ErrorKind::PermissionDenied.into();
        let file = open_image(path).and_then(|file| file.ok_or_else(refused));
        let file = file.map_err(|source| read_error(path, source))?;
        verified.push(one(file, path, disk.format, proof, control).await?);
    }
    Ok(verified)
}

/// Compares one disk.
async fn one(
    file: File,
    place: &Path,
    format: DiskFormat,
    proof: &DiskProof,
    Control { progress, cancel }: Control<'_>,
) -> Result<VerifiedDisk, Error> {
    let _task = progress.task(format!("verify {}", proof.id), None, Unit::Bytes);
    let (wanted, cancel) = (proof.clone(), cancel.clone());
    let compared = tokio::task::spawn_blocking(move || compare(&file, format, &wanted, &cancel));
    let compared = compared.await.unwrap_or_else(|join| Err(join.into()));
    let compared = compared.map_err(|source| read_error(place, source))?;
    let place = place.to_owned();
    compared.map_err(|difference| Error::Differs {
        disk: proof.id.clone(),
        place: place.clone(),
        why: described(difference, proof),
    })?;
    let DiskProof { id, exported, changed, .. } = proof;
    Ok(VerifiedDisk { id: id.clone(), place, exported: *exported, changed_blocks: changed.len() })
}

fn described(difference: ImageDifference, proof: &DiskProof) -> String {
    match difference {
        ImageDifference::Fixed(block) => {
            format!("block {block} of 4 MiB has another content than FIX left there")
        }
        ImageDifference::Exported(found) => format!(
            "without what FIX changed, the content hash is {found} instead of {}",
            proof.exported
        ),
        ImageDifference::Unread => "hyperexport does not read this form of the format".to_owned(),
    }
}

fn read_error(place: &Path, source: io::Error) -> Error {
    match source.kind() {
        ErrorKind::Interrupted => Error::Cancelled,
        _ => Error::Read { place: place.to_owned(), source },
    }
}
