//! The disks of a VM that was found in files, as files of the export.

mod unpack;

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use crate::exporter::Error;
use crate::exporter::files::described::{Content, Described, Sums, Wanted};
use crate::exporter::files::package::check;
use crate::exporter::files::sink::{Sink, Unpacked, invalid};
use crate::exporter::files::store::Store;
use crate::exporter::files::sums::{Digests, summed};
use crate::exporter::transfer::{Part, sync_directory};
use crate::image::{self, Split, qcow2};
use crate::model::{ByteSize, DiskFormat, ExportedDisk, Sha256Digest};
use crate::progress::{Progress, Task, Unit};

/// What a VMDK may be longer than its disk: headers of grains, tables, descriptor.
const OVERHEAD: u64 = 64 << 20;
/// Longest packed disk whose capacity nobody tells, in bytes: that of the largest VMDK.
const LARGEST: u64 = 62 << 40;

/// The taking of all disks.
pub(super) struct Taking<'a> {
    pub(super) described: &'a Described,
    /// An absolute path.
    pub(super) directory: &'a Path,
    pub(super) progress: &'a Progress,
    pub(super) cancel: &'a CancellationToken,
}

/// A disk on its way.
struct Slot<'a> {
    wanted: &'a Wanted,
    part: Option<Part>,
    packed: Option<Packed>,
    done: Option<(u64, Sha256Digest)>,
}

/// A packed disk on its way.
struct Packed {
    out: Unpacked,
    /// How many of its chunks are there.
    chunks: usize,
    read: u64,
    task: Task,
}

impl Taking<'_> {
    /// Takes all disks, or none; and what the store has of UEFI variables. Blocks.
    ///
    /// # Errors
    /// [`Error`]; no file of this run stays then.
    pub(super) fn take(&self) -> Result<(Vec<ExportedDisk>, Option<Vec<u8>>), Error> {
        let mut slots = Vec::new();
        let end = self.begin(&mut slots).and_then(|()| self.fill(&mut slots));
        end.and_then(|nvram| Ok((self.commit(&slots)?, nvram))).inspect_err(|_| {
            for part in slots.iter().filter_map(|slot| slot.part.as_ref()) {
                if let Err(error) = part.discard() {
                    tracing::warn!(%error, "a half-written file is left behind");
                }
            }
        })
    }

    fn begin<'a>(&'a self, slots: &mut Vec<Slot<'a>>) -> Result<(), Error> {
        for wanted in &self.described.disks {
            let part = wanted.file_name().map(|name| Part::create(self.directory.join(name)));
            let part = part.transpose()?;
            let packed = match (&wanted.content, &part) {
                (Content::Packed { gzip, members }, Some(part)) => {
                    let file = part.restart().map_err(|error| self.failed(wanted, error))?;
                    let most = most(wanted);
                    let sum = *gzip || members.len() > 1;
                    let out = Unpacked::new(Sink::new(file, wanted.format, most, sum), *gzip);
                    let task = self.progress.task(format!("take {}", wanted.id), None, Unit::Bytes);
                    Some(Packed { out, chunks: 0, read: 0, task })
                }
                _ => None,
            };
            slots.push(Slot { wanted, part, packed, done: None });
        }
        Ok(())
    }

    fn fill(&self, slots: &mut [Slot<'_>]) -> Result<Option<Vec<u8>>, Error> {
        for slot in slots.iter_mut() {
            slot.done = match (&slot.wanted.content, &slot.part) {
                (Content::InPlace(path), _) => Some(self.sum(slot.wanted, path)?),
                (Content::Split(path), Some(part)) => Some(self.join(slot.wanted, path, part)?),
                (Content::Empty, Some(part)) => Some(self.empty(slot.wanted, part)?),
                _ => None,
            };
        }
        match &self.described.store {
            Some(store)
                if self.variables().is_some() || slots.iter().any(|slot| slot.packed.is_some()) =>
            {
                self.unpack(store, slots)
            }
            _ => Ok(None),
        }
    }

    fn commit(&self, slots: &[Slot<'_>]) -> Result<Vec<ExportedDisk>, Error> {
        let mut exported = Vec::new();
        for slot in slots {
            let (wanted, path) = match (&slot.wanted.content, &slot.part) {
                (Content::InPlace(path), _) => (slot.wanted, path.clone()),
                (_, Some(part)) => {
                    part.commit()?;
                    (slot.wanted, part.target().to_owned())
                }
                _ => continue,
            };
            let format = wanted.exported_format();
            let failed = |error| self.failed(wanted, error);
            let found = File::open(&path).and_then(|file| image::capacity(&file, format));
            let capacity = found.map_err(failed)?.unwrap_or(wanted.capacity);
            let (bytes, sha256) = slot.done.ok_or_else(|| failed(cut_off()))?;
            exported.push(ExportedDisk {
                id: wanted.id.clone(),
                path,
                format,
                file_size: ByteSize(bytes),
                capacity: ByteSize(capacity),
                sha256,
                received: None,
            });
        }
        sync_directory(self.directory)?;
        Ok(exported)
    }

    /// An image that stays where it is: its sum says what it was.
    fn sum(&self, wanted: &Wanted, path: &Path) -> Result<(u64, Sha256Digest), Error> {
        let failed = |source| Error::File { action: "read", path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let task = self.progress.task(format!("check {}", wanted.id), Some(length), Unit::Bytes);
        let folder = self.described.store.as_ref().map_or(Path::new(""), Store::path);
        let name = path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned();
        let mut position = 0;
        let read = self.copy(&mut file, self.digests(&name), |bytes| {
            position += bytes.len() as u64;
            task.at(position);
            Ok(())
        });
        let digests = read.map_err(|error| self.read_error(path, error))?;
        if let (Sums::Known(sums), Some(store)) = (&self.described.sums, &self.described.store) {
            check(store, sums, "", &name, &digests)?;
        }
        Ok((position, digests.recorded()))
    }

    /// A VMDK of several files, put together.
    fn join(
        &self,
        wanted: &Wanted,
        path: &Path,
        part: &Part,
    ) -> Result<(u64, Sha256Digest), Error> {
        let failed = |source| Error::File { action: "read", path: path.to_owned(), source };
        let split = Split::open(path).map_err(failed)?;
        let task =
            self.progress.task(format!("take {}", wanted.id), Some(split.capacity()), Unit::Bytes);
        let file = part.restart().map_err(|error| self.failed(wanted, error))?;
        let written = split.write(file, |position| {
            task.at(position);
            if self.cancel.is_cancelled() { Err(ErrorKind::Interrupted.into()) } else { Ok(()) }
        });
        let file = written.map_err(|error| match error {
            image::Error::Write(error) => self.read_error(path, error),
            error => self.failed(wanted, io::Error::other(error)),
        })?;
        self.written(wanted, file)
    }

    /// A disk that nothing was ever written to.
    fn empty(&self, wanted: &Wanted, part: &Part) -> Result<(u64, Sha256Digest), Error> {
        let failed = |error| self.failed(wanted, error);
        let file = part.restart().map_err(failed)?;
        let writer = qcow2::Writer::new(file, wanted.capacity, None);
        let writer = writer.map_err(|error| failed(io::Error::other(error)))?;
        self.written(wanted, writer.finish().map_err(failed)?)
    }

    /// Makes a file of ours last, and sums it.
    fn written(&self, wanted: &Wanted, mut file: File) -> Result<(u64, Sha256Digest), Error> {
        let mut length = 0;
        let read = io::Seek::rewind(&mut file).and_then(|()| file.sync_all()).and_then(|()| {
            self.copy(&mut file, Digests::with(None), |bytes| {
                length += bytes.len() as u64;
                Ok(())
            })
        });
        let digests = read.map_err(|error| self.failed(wanted, error))?;
        Ok((length, digests.recorded()))
    }

    /// The look at a foreign image before any tool opens it.
    fn look(&self, slot: &Slot<'_>, path: &Path) -> Result<(), Error> {
        let (Some(part), format) = (&slot.part, slot.wanted.format) else { return Ok(()) };
        let judged =
            image::inspect(part.path(), format).map_err(|error| self.failed(slot.wanted, error))?;
        judged.map_err(|reason| Error::Unusable { path: path.to_owned(), reason })
    }

    /// The sums to make of a file.
    fn digests(&self, name: &str) -> Digests {
        match &self.described.sums {
            Sums::None => Digests::with(None),
            Sums::Later { .. } => Digests::all(),
            Sums::Known(sums) => {
                let told = sums.of(&self.described.prefix, name);
                Digests::with(told.map(|(algorithm, _)| algorithm))
            }
        }
    }

    /// Reads all of `from`, summed, unless the run is cancelled.
    fn copy(
        &self,
        from: &mut dyn Read,
        digests: Digests,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<Digests> {
        summed(from, digests, |bytes| {
            if self.cancel.is_cancelled() {
                return Err(ErrorKind::Interrupted.into());
            }
            each(bytes)
        })
    }

    /// What went wrong while something at the source was read, or written from there.
    fn read_error(&self, path: &Path, error: io::Error) -> Error {
        let path = path.to_owned();
        match error.kind() {
            ErrorKind::Interrupted => Error::Cancelled,
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                Error::Unusable { path, reason: error.to_string() }
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Error::File { action: "write into", path: self.directory.to_owned(), source: error }
            }
            _ => Error::File { action: "take", path, source: error },
        }
    }

    fn failed(&self, wanted: &Wanted, error: io::Error) -> Error {
        let path: PathBuf = self.directory.join(wanted.file_name().unwrap_or_default());
        match error.kind() {
            ErrorKind::Interrupted => Error::Cancelled,
            _ => Error::File { action: "write", path, source: error },
        }
    }
}

/// Longest that a packed disk may become: a bomb ends there.
fn most(wanted: &Wanted) -> u64 {
    match (wanted.capacity, wanted.format) {
        (0, _) => LARGEST,
        (capacity, DiskFormat::Raw) => capacity.saturating_add(OVERHEAD),
        (capacity, _) => capacity.saturating_add(capacity / 16).saturating_add(OVERHEAD),
    }
}

fn cut_off() -> io::Error {
    invalid("it is not whole")
}
