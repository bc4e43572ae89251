//! Proves that the converted images contain what was exported, and records which blocks FIX changed
//! afterwards.
//!
//! The images are hashed on a thread beside INSPECT and FIX, which work on overlays. Nothing is
//! written into an image before its hash is known to be that of the export ([`Proofs::settled`]).
//! The hash of each block goes into a file of the work folder, so that the blocks of a changed
//! image can be compared with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::DropGuard;

use crate::budget::{Going, is_stop};
use crate::image::content::{
    BLOCK, BlockList, hash_blocks, hash_image, hash_image_at, stored_ranges,
};
use crate::model::{
    ByteSize, ChangedBlock, DiskFormat, DiskId, DiskProof, FixedFile, Proof, Sha256Digest, Stage,
    Warning, WarningCode,
};
use crate::progress::{Task, Unit};

use super::tools::qemu_img::Tools;
use super::{ConversionRun, Error};

/// A converted image that is to be proved.
pub(super) struct ConvertedImage<'a> {
    pub(super) id: &'a DiskId,
    pub(super) image: &'a Path,
    pub(super) capacity: ByteSize,
}

/// The proofs of the disks of one conversion.
pub(super) struct Proofs {
    state: Mutex<ProofState>,
    tools: Tools,
    /// Ends the thread when the conversion ends.
    _guard: DropGuard,
}

enum ProofState {
    Running(JoinHandle<Result<Vec<Base>, Error>>),
    Known(Vec<Base>),
    /// The error has been returned already.
    Failed,
}

/// An image as it was before FIX.
struct Base {
    id: DiskId,
    capacity: ByteSize,
    /// Its hash, and the hashes of its blocks; `None` where the export has no hash to compare with.
    proved: Option<(Sha256Digest, BlockList)>,
    /// Numbers of the blocks that may have changed since then.
    touched: BTreeSet<u64>,
}

/// The finished proofs.
pub(super) struct Proved {
    proofs: Vec<DiskProof>,
    /// Disks without a proof.
    without: Vec<DiskId>,
}

impl Proved {
    /// Checks that the results of an unchanged guest contain what was exported.
    ///
    /// # Errors
    /// [`Error::ContentDiffers`].
    pub(super) fn unchanged(&self) -> Result<(), Error> {
        match self.proofs.iter().find(|proof| proof.result != proof.exported) {
            Some(DiskProof { id, exported, result, .. }) => Err(Error::ContentDiffers {
                disk: id.clone(),
                exported: *exported,
                converted: *result,
            }),
            None => Ok(()),
        }
    }

    /// The complete proof; `files` are the files that FIX changed, where they are known. Disks
    /// without a proof cause a warning.
    pub(super) fn with_files(
        self,
        files: Option<Vec<FixedFile>>,
        warnings: &mut Vec<Warning>,
    ) -> Proof {
        for disk in &self.without {
            let text = format!(
                "the content of {disk} was not compared with the exported disk: its image has a \
                 feature that hyperexport does not read itself, or its stream had another order"
            );
            warnings.push(Warning::new(Stage::Pipeline, WarningCode::ContentNotCompared, text));
        }
        Proof { disks: self.proofs, files }
    }
}

/// The work of the thread for one disk.
struct ProofTask {
    id: DiskId,
    image: PathBuf,
    capacity: ByteSize,
    list: PathBuf,
    exported: Option<Sha256Digest>,
    /// The exported image, where it is a separate file.
    source: Option<(PathBuf, DiskFormat)>,
    task: Task,
}

impl Proofs {
    /// Starts to hash the images of a run.
    pub(super) fn begin<'a>(
        run: &ConversionRun<'_>,
        images: impl IntoIterator<Item = ConvertedImage<'a>>,
    ) -> Self {
        let orders: Vec<_> = images.into_iter().map(|image| ProofTask::new(run, &image)).collect();
        let cancel = run.tools.cancel.child_token();
        let mut tools = run.tools.clone();
        tools.cancel = cancel.clone();
        let working = tools.clone();
        let work = move || orders.into_iter().map(|order| order.fulfil(&working)).collect();
        let state = Mutex::new(ProofState::Running(tokio::task::spawn_blocking(work)));
        Self { state, tools, _guard: cancel.drop_guard() }
    }

    /// Waits until all images are verified to contain what was exported.
    ///
    /// # Errors
    /// [`Error::ContentDiffers`] for the first that does not; [`Error::Cancelled`],
    /// [`Error::TimedOut`], [`Error::Io`].
    pub(super) async fn settled(&self) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        if let ProofState::Running(work) = &mut *state {
            let ended = work.await;
            *state = ProofState::Failed;
            let bases =
                ended.map_err(|join| Error::io("hashing the converted disks")(join.into()))??;
            *state = ProofState::Known(bases);
        }
        match &*state {
            ProofState::Failed => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }

    /// Records the blocks that an overlay of a disk is about to change.
    ///
    /// # Errors
    /// As those of [`Proofs::settled`].
    pub(super) async fn will_commit(&self, disk: &DiskId, overlay: &Path) -> Result<(), Error> {
        self.settled().await?;
        let ProofState::Known(bases) = &mut *self.state.lock().await else { return Ok(()) };
        let Some(base) = bases.iter_mut().find(|base| base.id == *disk) else { return Ok(()) };
        if base.proved.is_some() {
            let (path, size, going) = (overlay.to_owned(), base.capacity.0, self.tools.going());
            let read = move || stored_ranges(&File::open(path)?, size, &going);
            let ranges = tokio::task::spawn_blocking(read).await;
            let ranges = ranges.unwrap_or_else(|join| Err(join.into()));
            let ranges = ranges.map_err(|error| self.tools.hashing(overlay, error))?;
            let blocks =
                ranges.iter().flat_map(|range| range.start / BLOCK..=(range.end - 1) / BLOCK);
            base.touched.extend(blocks.filter(|block| block * BLOCK < base.capacity.0));
        }
        Ok(())
    }

    /// Ends the thread of a failed conversion, so that nothing writes into the work folder.
    pub(super) async fn stop(self) {
        self.tools.cancel.cancel();
        if let ProofState::Running(work) = self.state.into_inner()
            && let Err(error) = work.await
        {
            tracing::debug!(%error, "hashing the converted disks");
        }
    }

    /// The proofs of the current images, and the disks that have no proof. Only the blocks passed
    /// to [`Proofs::will_commit`] may have changed.
    ///
    /// # Errors
    /// As those of [`Proofs::settled`].
    pub(super) async fn finish<'a>(
        self,
        images: impl IntoIterator<Item = ConvertedImage<'a>>,
    ) -> Result<Proved, Error> {
        self.ended(images, compare_touched).await
    }

    /// [`Self::finish`] for other images, which another program made: all their blocks are
    /// compared.
    ///
    /// # Errors
    /// As those of [`Proofs::settled`].
    pub(super) async fn finish_anew<'a>(
        self,
        images: impl IntoIterator<Item = ConvertedImage<'a>>,
    ) -> Result<Proved, Error> {
        self.ended(images, compare_all).await
    }

    async fn ended<'a>(
        self,
        images: impl IntoIterator<Item = ConvertedImage<'a>>,
        compare: Compare,
    ) -> Result<Proved, Error> {
        self.settled().await?;
        let images: Vec<_> =
            images.into_iter().map(|image| (image.id.clone(), image.image.to_owned())).collect();
        let ProofState::Known(bases) = self.state.into_inner() else {
            return Err(Error::Cancelled);
        };
        let tools = self.tools;
        let work = move || {
            let (mut proofs, mut without) = (Vec::new(), Vec::new());
            for base in bases {
                let Some((id, image)) = images.iter().find(|(id, _)| *id == base.id) else {
                    continue;
                };
                let Some((exported, list)) = base.proved else {
                    without.push(id.clone());
                    continue;
                };
                let Base { id, touched, .. } = base;
                let compared = Compared { id, exported, list: &list, image, touched };
                let proof = compare(compared, &tools);
                proofs.push(proof.map_err(|error| tools.hashing(image, error))?);
            }
            Ok(Proved { proofs, without })
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|join| Error::io("hashing the results")(join.into()))?
    }
}

impl ProofTask {
    fn new(
        run: &ConversionRun<'_>,
        ConvertedImage { id, image, capacity }: &ConvertedImage<'_>,
    ) -> Self {
        let disk = run.manifest.disks.iter().find(|disk| disk.id == **id);
        let kept = disk.filter(|disk| run.manifest.received(&disk.id).is_none());
        Self {
            id: (*id).clone(),
            image: (*image).to_owned(),
            capacity: *capacity,
            list: run.work.tmp().join(format!("{id}.blocks")),
            exported: run.manifest.content(id),
            source: kept.map(|disk| (disk.local_path.clone(), disk.source_format)),
            task: run.progress.task(format!("compare {id}"), Some(capacity.0), Unit::Bytes),
        }
    }

    fn fulfil(self, tools: &Tools) -> Result<Base, Error> {
        tools.is_in_time().map_err(|error| tools.hashing(&self.image, error))?;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| tools.hashing(&path, error)
        };
        let exported = match (self.exported, &self.source) {
            (None, Some((path, format))) => {
                let mut each = |_, _: &Sha256Digest| tools.is_in_time();
                let hashed = hash_image_at(path, *format, &tools.going(), &mut each);
                // A format that cannot be read completely is no reason to lose the conversion.
                hashed
                    .or_else(|error| tools.is_in_time().map(|()| unread(&error)))
                    .map_err(failed(path))?
            }
            (exported, _) => exported,
        };
        let Self { id, image, capacity, list, .. } = &self;
        let proved = match exported {
            Some(exported) => {
                let mut options = File::options();
                let options =
                    options.read(true).write(true).create(true).truncate(true).mode(0o600);
                let mut blocks = BlockList::new(options.open(list).map_err(failed(list))?);
                let mut each = |block: u64, hash: &Sha256Digest| {
                    self.task.at((block * BLOCK).min(capacity.0));
                    tools.is_in_time()?;
                    blocks.push(hash)
                };
                let hashed = File::open(image).and_then(|file| {
                    hash_image(&file, DiskFormat::Qcow2, &tools.going(), &mut each)
                });
                match hashed.map_err(failed(image))? {
                    Some(converted) if converted != exported => {
                        return Err(Error::ContentDiffers {
                            disk: id.clone(),
                            exported,
                            converted,
                        });
                    }
                    Some(_) => Some((exported, blocks)),
                    None => None,
                }
            }
            None => None,
        };
        let (id, capacity) = (id.clone(), *capacity);
        Ok(Base { id, capacity, proved, touched: BTreeSet::new() })
    }
}

fn unread(error: &io::Error) -> Option<Sha256Digest> {
    tracing::warn!(%error, "hashing the content of an exported disk");
    None
}

/// Compares an image with the list of its blocks before FIX.
type Compare = fn(Compared<'_>, &Tools) -> io::Result<DiskProof>;

/// An image, and its state before FIX.
struct Compared<'a> {
    id: DiskId,
    /// Hash of the content of the exported disk.
    exported: Sha256Digest,
    list: &'a BlockList,
    image: &'a Path,
    /// The blocks that may have changed.
    touched: BTreeSet<u64>,
}

fn compare_touched(
    Compared { id, exported, list, image, touched }: Compared<'_>,
    tools: &Tools,
) -> io::Result<DiskProof> {
    let file = File::open(image)?;
    let mut changed = Vec::new();
    for (block, after) in hash_blocks(&file, DiskFormat::Qcow2, &tools.going(), touched)? {
        let before = list.get(block)?;
        if before != after {
            changed.push(ChangedBlock { block, before, after });
        }
    }
    let after: BTreeMap<_, _> = changed.iter().map(|one| (one.block, one.after)).collect();
    Ok(DiskProof { id, exported, result: list.with(&after)?, changed })
}

fn compare_all(
    Compared { id, exported, list, image, .. }: Compared<'_>,
    tools: &Tools,
) -> io::Result<DiskProof> {
    let mut changed = Vec::new();
    let mut each = |block, after: &Sha256Digest| {
        tools.is_in_time()?;
        let before = list.get(block)?;
        if before != *after {
            changed.push(ChangedBlock { block, before, after: *after });
        }
        Ok(())
    };
    let file = File::open(image)?;
    let result = hash_image(&file, DiskFormat::Qcow2, &tools.going(), &mut each)?;
    let result = result.ok_or(ErrorKind::Unsupported)?;
    Ok(DiskProof { id, exported, result, changed })
}

impl Tools {
    pub(super) fn going(&self) -> Going {
        Going::from(&self.cancel)
    }

    /// Checks that the conversion is not cancelled and still has time.
    pub(super) fn is_in_time(&self) -> io::Result<()> {
        self.going().check()?;
        match self.deadline.elapsed().is_zero() {
            true => Ok(()),
            false => Err(ErrorKind::TimedOut.into()),
        }
    }

    fn hashing(&self, path: &Path, error: io::Error) -> Error {
        match error.kind() {
            _ if is_stop(&error) => Error::Cancelled,
            ErrorKind::TimedOut => Error::TimedOut { after: self.timeout },
            _ => Error::io(format!("hashing {}", path.display()))(error),
        }
    }
}
