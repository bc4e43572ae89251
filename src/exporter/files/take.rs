//! The disks of a VM that was found in files, as files of the export.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::described::{Content, Described, Sums, Wanted};
use super::package::{LONGEST_MF, check, read_sums, small};
use super::sink::{Sink, Unpacked, invalid};
use super::store::{Member, Store};
use super::sums::{Digests, Sums as Told, summed};
use crate::exporter::Error;
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
    /// Takes all disks, or none. Blocks.
    ///
    /// # Errors
    /// [`Error`]; no file of this run stays then.
    pub(super) fn take(&self) -> Result<Vec<ExportedDisk>, Error> {
        let mut slots = Vec::new();
        let end = self.begin(&mut slots).and_then(|()| self.fill(&mut slots));
        end.and_then(|()| self.commit(&slots)).inspect_err(|_| {
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

    fn fill(&self, slots: &mut [Slot<'_>]) -> Result<(), Error> {
        for slot in slots.iter_mut() {
            slot.done = match (&slot.wanted.content, &slot.part) {
                (Content::InPlace(path), _) => Some(self.sum(slot.wanted, path)?),
                (Content::Split(path), Some(part)) => Some(self.join(slot.wanted, path, part)?),
                (Content::Empty, Some(part)) => Some(self.empty(slot.wanted, part)?),
                _ => None,
            };
        }
        match &self.described.store {
            Some(store) if slots.iter().any(|slot| slot.packed.is_some()) => {
                self.unpack(store, slots)
            }
            _ => Ok(()),
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

    /// All packed disks, in one pass over their store.
    fn unpack(&self, store: &Store, slots: &mut [Slot<'_>]) -> Result<(), Error> {
        let places = places(store, slots)?;
        let later = match &self.described.sums {
            Sums::Later { mf, .. } => Some(mf.as_str()),
            _ => None,
        };
        let mut seen = Vec::new();
        let mut told = None;
        let mut visit = |member: Member<'_>| {
            if later == Some(member.name.as_str()) {
                let name = member.name.clone();
                told = Some(read_sums(store, &name, &small(store, member, LONGEST_MF)?)?);
            } else if let Some(&(disk, chunk)) = places.get(&member.name) {
                let name = member.name.clone();
                let digests = self.member(store, &mut slots[disk], chunk, member)?;
                seen.push((name, digests));
            }
            let all = seen.len() == places.len() && later.is_none();
            Ok(if all { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        match store {
            Store::Folder(folder) => {
                let mut names: Vec<_> = places.iter().map(|(name, place)| (*place, name)).collect();
                names.sort();
                for (_, name) in names {
                    let path = folder.join(name);
                    let failed =
                        |source| Error::File { action: "open", path: path.clone(), source };
                    let mut file = File::open(&path).map_err(failed)?;
                    let _ = visit(Member { name: name.clone(), content: &mut file })?;
                }
            }
            _ => {
                store.each(&|name| places.contains_key(name) || later == Some(name), &mut visit)?
            }
        }
        if let Some(name) = places.keys().find(|name| !seen.iter().any(|(seen, _)| seen == *name)) {
            return Err(store.unusable(format!("'{name}', which its OVF names, is not in it")));
        }
        self.check_later(store, told, seen)
    }

    /// What came before its sums.
    fn check_later(
        &self,
        store: &Store,
        told: Option<Told>,
        mut seen: Vec<(String, Digests)>,
    ) -> Result<(), Error> {
        let (Sums::Later { ovf, .. }, Some(sums)) = (&self.described.sums, told) else {
            return Ok(());
        };
        seen.push((ovf.0.clone(), (*ovf.1).clone()));
        let prefix = &self.described.prefix;
        seen.iter().try_for_each(|(name, digests)| check(store, &sums, prefix, name, digests))
    }

    /// One member of a packed disk.
    fn member(
        &self,
        store: &Store,
        slot: &mut Slot<'_>,
        chunk: usize,
        member: Member<'_>,
    ) -> Result<Digests, Error> {
        let name = member.name;
        let Some(packed) = slot.packed.as_mut().filter(|packed| packed.chunks == chunk) else {
            return Err(store.unusable(format!("'{name}' does not come in its order")));
        };
        let (out, task, read) = (&mut packed.out, &packed.task, &mut packed.read);
        let end = self.copy(member.content, self.digests(&name), |bytes| {
            *read += bytes.len() as u64;
            task.at(*read);
            out.write_all(bytes)
        });
        let digests = end.map_err(|error| self.read_error(&store.path().join(&name), error))?;
        if let Sums::Known(sums) = &self.described.sums {
            check(store, sums, &self.described.prefix, &name, &digests)?;
        }
        packed.chunks += 1;
        let Content::Packed { members, .. } = &slot.wanted.content else { return Ok(digests) };
        if packed.chunks == members.len()
            && let Some(packed) = slot.packed.take()
        {
            let path = store.path().join(&name);
            let done = packed.out.finish().map_err(|error| self.read_error(&path, error))?;
            slot.done = Some((done.0, done.1.unwrap_or_else(|| digests.recorded())));
            self.look(slot, &path)?;
        }
        Ok(digests)
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

/// Which disk, and which chunk of it, each member is. One file as two disks would be the same bytes
/// twice, which nobody writes.
fn places(store: &Store, slots: &[Slot<'_>]) -> Result<HashMap<String, (usize, usize)>, Error> {
    let mut places = HashMap::new();
    for (disk, slot) in slots.iter().enumerate() {
        let Content::Packed { members, .. } = &slot.wanted.content else { continue };
        for (chunk, name) in members.iter().enumerate() {
            if places.insert(name.clone(), (disk, chunk)).is_some() {
                return Err(store.unusable(format!("'{name}' in it is two disks at once")));
            }
        }
    }
    Ok(places)
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
