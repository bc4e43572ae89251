//! State of a packed disk: its output file, and the results once all bytes are read.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Extraction, ExtractionSlot, whole};
use crate::budget::Going;
use crate::exporter::content::content_of;
use crate::exporter::files::bound::Bound;
use crate::exporter::files::sink::{GrowingFile, Incoming, UnpackedDisk, WrittenDisk};
use crate::exporter::files::store::Store;
use crate::exporter::files::sums::Digests;
use crate::exporter::files::vm_files::{DiskBytes, WantedDisk};
use crate::exporter::transfer::PartFile;
use crate::exporter::{Error, FinishedDisk};
use crate::image::{self, vmdk};
use crate::model::{ByteSize, ReceivedStream, Sha256Digest};
use crate::progress::{Task, Unit};

/// A packed disk during its extraction.
pub(super) struct Packed {
    out: UnpackedDisk,
    /// Number of chunks that were read.
    pub(super) chunks: usize,
    task: Task,
    /// Digest of all chunks as stored, if the disk has several.
    stream: Option<Sha256>,
    /// Bytes of the chunks that were read.
    read: u64,
}

impl Packed {
    /// Accepts bytes of a member.
    pub(super) fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.read += bytes.len() as u64;
        self.task.at(self.read);
        if let Some(stream) = &mut self.stream {
            stream.update(bytes);
        }
        self.out.write_all(bytes)
    }

    /// Bytes that were read from the disk's members.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Finishes the disk; `last` are the digests of its last member.
    fn finish(self, wanted: &WantedDisk, last: &Digests) -> io::Result<FinishedDisk> {
        let only_member = || last.recorded();
        let stream = self.stream.map(|sum| Sha256Digest(sum.finalize().into()));
        Ok(match self.out.finish()? {
            WrittenDisk::Kept(kept) => FinishedDisk {
                content: kept.content,
                ..whole(wanted, kept.bytes, kept.sum.unwrap_or_else(only_member))
            },
            WrittenDisk::Rewritten(image) => FinishedDisk {
                received: Some(ReceivedStream {
                    format: wanted.format,
                    bytes: ByteSize(self.read),
                    sha256: stream.unwrap_or_else(only_member),
                }),
                // An unreadable UUID must not fail the export.
                uuid: image.front.and_then(|front| vmdk::uuid(&front).ok().flatten()),
                content: image.content,
                ..whole(wanted, image.bytes, image.sha256)
            },
        })
    }
}

impl Extraction<'_> {
    /// The output for the bytes of a packed disk; `None` for other disks.
    pub(super) fn packed(&self, slot: &ExtractionSlot<'_>) -> Result<Option<Packed>, Error> {
        let wanted = slot.wanted;
        let (DiskBytes::Packed { gzip, members }, Some(part)) = (&wanted.content, &slot.part)
        else {
            return Ok(None);
        };
        let in_chunks = members.len() > 1;
        let incoming = Incoming {
            format: wanted.format,
            bound: self.bound(wanted, part),
            length: wanted.least,
            sum: *gzip || in_chunks,
            rewrite: self.rewrite.filter(|_| wanted.streaming.may()),
            scratch: self.directory.to_owned(),
        };
        let file = part.restart().map_err(|error| self.failed(wanted, error))?;
        Ok(Some(Packed {
            out: UnpackedDisk::new(GrowingFile::new(file, incoming), *gzip),
            chunks: 0,
            task: self.progress.task(format!("take {}", wanted.id), None, Unit::Bytes),
            stream: in_chunks.then(Sha256::new),
            read: 0,
        }))
    }

    /// Size limit of a packed disk.
    fn bound(&self, wanted: &WantedDisk, part: &PartFile) -> Bound {
        let is_open = matches!(self.described.store, Some(Store::Tar(_) | Store::Folder(_)));
        let inflated = wanted.is_compressed() || !is_open;
        Bound::new(part.path().to_owned(), wanted.format, wanted.capacity, inflated)
    }

    /// Finishes a packed disk whose bytes were all read, the last of them from the member at
    /// `path`.
    pub(super) fn end(
        &self,
        slot: &mut ExtractionSlot<'_>,
        last: &Digests,
        path: &Path,
    ) -> Result<(), Error> {
        let Some(packed) = slot.packed.take() else { return Ok(()) };
        let done = packed.finish(slot.wanted, last);
        slot.done = Some(done.map_err(|error| self.read_error(path, error))?);
        let name = slot.wanted.file_name(slot.is_rewritten());
        if let Some(part) = &mut slot.part {
            part.retarget(self.directory.join(name))?;
        }
        self.look(slot, path)?;
        self.hash(slot)
    }

    /// Computes the content hash of a disk whose format needs a complete image for it.
    fn hash(&self, slot: &mut ExtractionSlot<'_>) -> Result<(), Error> {
        let (wanted, format) = (slot.wanted, slot.format());
        let (Some(part), Some(done)) = (&slot.part, &mut slot.done) else { return Ok(()) };
        if done.content.is_none() && !wanted.medium {
            let file = File::open(part.path());
            let going = Going::from(self.cancel);
            let content = file.and_then(|file| content_of(&file, format, &going));
            done.content = content.map_err(|error| self.failed(wanted, error))?;
        }
        Ok(())
    }

    /// Inspects a foreign image before any tool opens it. An image that this run wrote is not
    /// foreign.
    fn look(&self, slot: &ExtractionSlot<'_>, path: &Path) -> Result<(), Error> {
        let (Some(part), false) = (&slot.part, slot.is_rewritten()) else { return Ok(()) };
        let judged = image::inspect(part.path(), slot.wanted.format, &Going::from(self.cancel))
            .map_err(|error| self.failed(slot.wanted, error))?;
        judged.map_err(|reason| Error::Unusable { path: path.to_owned(), reason })
    }
}
