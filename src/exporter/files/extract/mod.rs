//! Extracts the disks of a VM from files into files of the export.

mod boxed;
mod loose_files;
mod packed;
mod unpack;

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::budget::is_stop;
use crate::exporter::files::bound::TooLong;
use crate::exporter::files::expected_sums::Expected;
use crate::exporter::files::sink::NotStreamable;
use crate::exporter::files::sums::{Digests, summed};
use crate::exporter::files::vm_files::{DescribedVm, DiskBytes, WantedDisk};
use crate::exporter::files::vmdk_check::invalid;
use crate::exporter::transfer::{PartFile, sync_directory};
use crate::exporter::{BandwidthLimit, Error, FinishedDisk, Rewrite};
use crate::image::content::ContentHasher as DiskContent;
use crate::image::{self, Flaw, qcow2};
use crate::model::{
    ByteSize, DiskFormat, DiskId, ExportedDisk, ExportedMedium, Sha256Digest, Stage, Warning,
    WarningCode,
};
use crate::panics::{self, caught_here};
use crate::progress::{Progress, Unit};

use packed::Packed;

/// Extraction of all disks of one VM.
pub(super) struct Extraction<'a> {
    pub(super) described: &'a DescribedVm,
    /// Absolute path of the output directory.
    pub(super) directory: &'a Path,
    pub(super) progress: &'a Progress,
    pub(super) cancel: &'a CancellationToken,
    pub(super) limit: &'a BandwidthLimit,
    /// Conversion of the disks while they are read, where the disk allows it.
    pub(super) rewrite: Option<Rewrite>,
    /// Disks that an interrupted run has finished.
    pub(super) whole: &'a [FinishedDisk],
    /// Receiver of every disk that is finished.
    pub(super) tell: &'a UnboundedSender<FinishedDisk>,
}

/// State of a disk, or of a CD-ROM image, during its extraction.
struct ExtractionSlot<'a> {
    wanted: &'a WantedDisk,
    part: Option<PartFile>,
    packed: Option<Packed>,
    /// Bytes read at the source; `None` when an interrupted run has read the disk.
    stored: Option<u64>,
    done: Option<FinishedDisk>,
}

impl ExtractionSlot<'_> {
    /// Whether the disk was converted while it was read.
    fn is_rewritten(&self) -> bool {
        self.done.as_ref().is_some_and(|done| done.received.is_some())
    }

    /// Format of the exported file.
    fn format(&self) -> DiskFormat {
        self.wanted.exported_format(self.is_rewritten())
    }
}

/// The UEFI variables if the store contains them, the checksums known so far, and warnings about
/// missing members.
type Filled = (Option<Vec<u8>>, Expected, Vec<Warning>);

pub(super) struct Extracted {
    pub(super) disks: Vec<ExportedDisk>,
    /// Images of the CD-ROM drives.
    pub(super) media: Vec<ExportedMedium>,
    /// VMware's UUIDs of disks that were VMDKs and were converted while they were read.
    pub(super) uuids: Vec<(DiskId, String)>,
    /// The UEFI variables, if the store contains them.
    pub(super) nvram: Option<Vec<u8>>,
    /// Warnings about the package.
    pub(super) warnings: Vec<Warning>,
}

impl Extraction<'_> {
    /// Extracts all disks, or none, and the UEFI variables in the store. Blocks.
    ///
    /// # Errors
    /// [`Error`]; all files of this run are removed then.
    pub(super) fn take(&self) -> Result<Extracted, Error> {
        let mut slots = Vec::new();
        let end = caught_here(|| {
            self.begin(&mut slots)?;
            let filled = self.fill(&mut slots)?;
            panics::point("export");
            Ok(filled)
        });
        let taken = end.and_then(|(nvram, sums, missed)| {
            let warnings = [missed, self.warnings(&slots, &sums)].concat();
            let (disks, media) = self.commit(&slots)?;
            let done = slots.iter().filter_map(|slot| slot.done.as_ref());
            let uuids = done.filter_map(|done| Some((done.id.clone(), done.uuid.clone()?)));
            Ok(Extracted { disks, uuids: uuids.collect(), media, nvram, warnings })
        });
        taken.inspect_err(|_| {
            for part in slots.iter().filter_map(|slot| slot.part.as_ref()) {
                if let Err(error) = part.discard() {
                    tracing::warn!(%error, "a half-written file is left behind");
                }
            }
        })
    }

    fn begin<'a>(&'a self, slots: &mut Vec<ExtractionSlot<'a>>) -> Result<(), Error> {
        for wanted in self.described.images() {
            if let Some((part, whole)) = self.adopt(wanted)? {
                let done = Some(whole);
                slots.push(ExtractionSlot {
                    wanted,
                    part: Some(part),
                    packed: None,
                    stored: None,
                    done,
                });
                continue;
            }
            let name = wanted.exported_files().into_iter().next().map(|file| file.name);
            let part = name.map(|name| PartFile::create(self.directory.join(name))).transpose()?;
            let mut slot =
                ExtractionSlot { wanted, part, packed: None, stored: Some(0), done: None };
            slot.packed = self.packed(&slot)?;
            slots.push(slot);
        }
        Ok(())
    }

    /// Reuses a disk that an interrupted run has finished, if its file still matches.
    fn adopt(&self, wanted: &WantedDisk) -> Result<Option<(PartFile, FinishedDisk)>, Error> {
        let same = |whole: &&FinishedDisk| {
            whole.id == wanted.id && whole.capacity == ByteSize(wanted.capacity)
        };
        let Some(whole) = self.whole.iter().rfind(same) else { return Ok(None) };
        let name = wanted.file_name(whole.received.is_some());
        if !wanted.exported_files().iter().any(|file| file.name == name) {
            return Ok(None);
        }
        let length = Some(whole.file_size.0);
        let task = self.progress.task(format!("check {}", wanted.id), length, Unit::Bytes);
        let part = PartFile::adopt(self.directory.join(name), whole, &task, self.cancel)?;
        if part.is_some() {
            self.note(whole.clone());
        }
        Ok(part.map(|part| (part, whole.clone())))
    }

    /// Reports a finished disk. After the end of the export there is no receiver any more.
    fn note(&self, whole: FinishedDisk) {
        if let Err(error) = self.tell.send(whole) {
            tracing::debug!(%error, "a disk is complete");
        }
    }

    /// Reads all disks; returns the UEFI variables, the checksums known by then, and warnings about
    /// missing members.
    fn fill(&self, slots: &mut Vec<ExtractionSlot<'_>>) -> Result<Filled, Error> {
        for slot in slots.iter_mut().filter(|slot| slot.done.is_none()) {
            if let (DiskBytes::PackedSplit { members }, Some(part)) =
                (&slot.wanted.content, &slot.part)
            {
                slot.done = Some(self.join_packed(slot.wanted, members, part)?);
                continue;
            }
            let done = match (&slot.wanted.content, &slot.part) {
                (DiskBytes::InPlace(path), _) => Some(self.sum(slot, path)?),
                (DiskBytes::Split(path), Some(part)) => Some(self.join(slot.wanted, path, part)?),
                (DiskBytes::Empty, Some(part)) => Some(self.empty(slot.wanted, part)?),
                _ => None,
            };
            slot.done = done;
        }
        match &self.described.store {
            Some(store)
                if self.variables().is_some() || slots.iter().any(|slot| slot.packed.is_some()) =>
            {
                self.unpack(store, slots)
            }
            _ => Ok((None, self.described.sums.clone(), Vec::new())),
        }
    }

    /// Warnings about missing checksums and wrong sizes in the package.
    fn warnings(&self, slots: &[ExtractionSlot<'_>], sums: &Expected) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for slot in slots {
            let id = &slot.wanted.id;
            let names = match &slot.wanted.content {
                DiskBytes::Packed { members, .. } | DiskBytes::PackedSplit { members } => {
                    members.clone()
                }
                DiskBytes::InPlace(path) | DiskBytes::Split(path) => vec![self.name(path)],
                DiskBytes::Empty => Vec::new(),
            };
            for name in names.iter().filter(|name| sums.leaves_out(&self.described.prefix, name)) {
                let text =
                    format!("the package has checksums, but none of '{name}' ({id}): not verified");
                warnings.push(Warning::new(Stage::Export, WarningCode::SumMissing, text));
            }
            let is_split =
                matches!(slot.wanted.content, DiskBytes::Split(_) | DiskBytes::PackedSplit { .. });
            if let Some((stored, told)) = slot.stored.zip(slot.wanted.stored)
                && stored != told
                && !is_split
            {
                let text = format!(
                    "the file of {id} has {stored} bytes, and {told} by its description: the size \
                     of the file is used"
                );
                warnings.push(Warning::new(Stage::Export, WarningCode::SizeDiffers, text));
            }
        }
        warnings
    }

    fn commit(
        &self,
        slots: &[ExtractionSlot<'_>],
    ) -> Result<(Vec<ExportedDisk>, Vec<ExportedMedium>), Error> {
        let (mut exported, mut media) = (Vec::new(), Vec::new());
        for slot in slots {
            let (wanted, path) = match (&slot.wanted.content, &slot.part) {
                (DiskBytes::InPlace(path), _) => (slot.wanted, path.clone()),
                (_, Some(part)) => {
                    part.commit()?;
                    (slot.wanted, part.target().to_owned())
                }
                _ => continue,
            };
            let format = slot.format();
            let failed = |error| self.failed(wanted, error);
            let done = slot.done.clone().ok_or_else(|| failed(cut_off()))?;
            if wanted.medium {
                let FinishedDisk { id, file_size, sha256, .. } = done;
                media.push(ExportedMedium { id, path, file_size, sha256 });
                continue;
            }
            let found = File::open(&path).and_then(|file| image::capacity(&file, format));
            let found = found.map_err(failed)?.filter(|size| *size > 0);
            let capacity = found.ok_or_else(|| Error::Unusable {
                path: self.place(wanted),
                reason: format!("it is not a disk image in {format}").into(),
            })?;
            let done = done.exported(&path, format);
            exported.push(ExportedDisk { capacity: ByteSize(capacity), ..done });
        }
        sync_directory(self.directory)?;
        Ok((exported, media))
    }

    /// Creates the image of an empty disk.
    fn empty(&self, wanted: &WantedDisk, part: &PartFile) -> Result<FinishedDisk, Error> {
        let failed = |error| self.failed(wanted, error);
        let file = part.restart().map_err(failed)?;
        let writer = qcow2::Qcow2Writer::new(file, wanted.capacity, None);
        let writer = writer.map_err(|error| failed(io::Error::other(error)))?;
        let mut content = DiskContent::default();
        content.zeros(wanted.capacity);
        self.written(wanted, writer.finish().map_err(failed)?, content.finish())
    }

    /// Syncs a file written by this run, and computes its checksum; `content` is the hash of the
    /// disk in the file.
    fn written(
        &self,
        wanted: &WantedDisk,
        mut file: File,
        content: Option<Sha256Digest>,
    ) -> Result<FinishedDisk, Error> {
        let mut length = 0;
        let read = io::Seek::rewind(&mut file).and_then(|()| file.sync_all()).and_then(|()| {
            self.copy(&mut file, Digests::with(&[]), |bytes| {
                length += bytes.len() as u64;
                Ok(())
            })
        });
        let digests = read.map_err(|error| self.failed(wanted, error))?;
        let done = whole(wanted, length, digests.recorded());
        Ok(FinishedDisk { content, ..done })
    }

    /// Reads `from`, a file of the source, to its end, within the bandwidth limit.
    fn read(
        &self,
        from: &mut dyn Read,
        digests: Digests,
        each: impl FnMut(&[u8]) -> io::Result<()> + Send,
    ) -> io::Result<Digests> {
        self.copy(&mut Limited { from, limit: self.limit, cancel: self.cancel }, digests, each)
    }

    /// Reads `from` to its end and computes digests, unless the run is cancelled.
    fn copy(
        &self,
        from: &mut dyn Read,
        digests: Digests,
        mut each: impl FnMut(&[u8]) -> io::Result<()> + Send,
    ) -> io::Result<Digests> {
        summed(from, digests, |bytes| {
            if self.cancel.is_cancelled() {
                return Err(ErrorKind::Interrupted.into());
            }
            each(bytes)
        })
    }

    /// Path of a disk at the source.
    fn place(&self, wanted: &WantedDisk) -> PathBuf {
        match (&wanted.content, &self.described.store) {
            (DiskBytes::InPlace(path) | DiskBytes::Split(path), _) => path.clone(),
            (_, Some(store)) => store.path().join(wanted.members().next().unwrap_or_default()),
            (_, None) => PathBuf::new(),
        }
    }

    /// Converts an error of reading a file of the source, or of writing its data.
    fn read_error(&self, path: &Path, error: io::Error) -> Error {
        let path = path.to_owned();
        if let Some(NotStreamable(reason)) = error.get_ref().and_then(|e| e.downcast_ref()) {
            return Error::NotStreamable { path, reason: reason.clone() };
        }
        if is_stop(&error) {
            return Error::Cancelled;
        }
        match error.kind() {
            ErrorKind::Interrupted => Error::Cancelled,
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                let bound = error.get_ref().and_then(|error| error.downcast_ref::<TooLong>());
                match bound.copied() {
                    Some(TooLong { capacity, by }) => Error::TooLong { path, capacity, by },
                    None => Error::Unusable { path, reason: flaw(&error) },
                }
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Error::File {
                    action: "writing into",
                    path: self.directory.to_owned(),
                    source: error,
                }
            }
            _ => Error::File { action: "taking", path, source: error },
        }
    }

    fn failed(&self, wanted: &WantedDisk, error: io::Error) -> Error {
        let name = wanted.exported_files().into_iter().next().map(|file| file.name);
        let path: PathBuf = self.directory.join(name.unwrap_or_default());
        match error.kind() {
            ErrorKind::Interrupted => Error::Cancelled,
            _ if is_stop(&error) => Error::Cancelled,
            _ => Error::File { action: "writing", path, source: error },
        }
    }
}

/// A reader within the bandwidth limit.
struct Limited<'a> {
    from: &'a mut dyn Read,
    limit: &'a BandwidthLimit,
    cancel: &'a CancellationToken,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.limit.take_blocking(read as u64, self.cancel);
        Ok(read)
    }
}

/// A finished disk in a file of `bytes` bytes.
fn whole(wanted: &WantedDisk, bytes: u64, sha256: Sha256Digest) -> FinishedDisk {
    FinishedDisk {
        id: wanted.id.clone(),
        capacity: ByteSize(wanted.capacity),
        file_size: ByteSize(bytes),
        sha256,
        content: None,
        received: None,
        uuid: None,
        unverified: None,
    }
}

fn cut_off() -> io::Error {
    invalid("it is truncated")
}

/// The flaw in the data that caused an error.
fn flaw(error: &io::Error) -> Flaw {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Flaw>());
    inner.cloned().unwrap_or_else(|| Flaw::Other(error.to_string()))
}
