//! Writes the bytes of one packed disk in one pass: decompresses them if necessary, limits their
//! size, and either stores and verifies them unchanged or converts them to an image.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use flate2::write::MultiGzDecoder;

use super::bound::Bound;
use super::streaming::header;
use super::sums::Digests;
use super::vmdk_check::{StreamCheck, invalid};
use crate::exporter::Rewrite;
use crate::exporter::rewriting::{Rewriting, Rewritten};
use crate::image::vmdk::SECTOR;
use crate::image::{self, DirectFile};
use crate::model::{DiskFormat, Sha256Digest};

pub(super) enum UnpackedDisk {
    Plain(Box<GrowingFile>),
    Gzip(Box<MultiGzDecoder<GrowingFile>>),
}

impl UnpackedDisk {
    pub(super) fn new(sink: GrowingFile, gzip: bool) -> Self {
        if gzip {
            Self::Gzip(Box::new(MultiGzDecoder::new(sink)))
        } else {
            Self::Plain(Box::new(sink))
        }
    }

    /// Finishes the disk, with the errors of [`GrowingFile::finish`].
    pub(super) fn finish(self) -> io::Result<WrittenDisk> {
        match self {
            Self::Plain(sink) => sink.finish(),
            Self::Gzip(decoder) => decoder.finish()?.finish(),
        }
    }
}

impl Write for UnpackedDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(sink) => sink.write(bytes),
            Self::Gzip(decoder) => decoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Parameters of a disk that will be written.
pub(super) struct Incoming {
    pub(super) format: DiskFormat,
    /// Size limit of the disk.
    pub(super) bound: Bound,
    /// Length of the disk's file at the source, in bytes; 0 if unknown.
    pub(super) length: u64,
    /// Whether to compute the checksum of an unchanged file here.
    pub(super) sum: bool,
    /// Conversion of the disk, if its format allows it.
    pub(super) rewrite: Option<Rewrite>,
    /// Directory for temporary files.
    pub(super) scratch: PathBuf,
}

pub(super) enum WrittenDisk {
    /// A file with the bytes of the source.
    Kept(KeptFile),
    /// The image that the disk was converted to.
    Rewritten(Rewritten),
}

/// Facts about a file with the bytes of the source.
pub(super) struct KeptFile {
    pub(super) bytes: u64,
    /// SHA-256 checksum, if it was computed here.
    pub(super) sum: Option<Sha256Digest>,
    /// Hash of the disk's content, if its format allows a sequential reader to compute it.
    pub(super) content: Option<Sha256Digest>,
}

/// A disk that has to be converted while it is read, and cannot be: the reason, as a clause.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotStreamable(pub(super) String);

/// A file being written, and its state.
pub(super) struct GrowingFile {
    incoming: Incoming,
    bytes: u64,
    out: SinkOutput,
}

enum SinkOutput {
    /// The first sector, which decides, is not complete yet.
    Begin(File, Vec<u8>),
    Kept(Box<UnchangedFile>),
    Rewriting(Box<Rewriting>),
    /// After an error.
    Ended,
}

impl GrowingFile {
    /// Writes a disk to `file`, which is empty. Nothing is started before the first byte arrives.
    pub(super) fn new(file: File, incoming: Incoming) -> Self {
        let out = match incoming.rewrite {
            Some(_) => SinkOutput::Begin(file, Vec::new()),
            None => SinkOutput::Kept(Box::new(UnchangedFile::new(file, &incoming))),
        };
        Self { incoming, bytes: 0, out }
    }

    /// Finishes and syncs the file.
    ///
    /// # Errors
    /// Errors of the operating system, or [`io::ErrorKind::InvalidData`] with what is wrong with
    /// the disk.
    fn finish(mut self) -> io::Result<WrittenDisk> {
        if let SinkOutput::Begin(file, head) = self.out {
            // Too short for any disk; the check of the file rejects it.
            let mut kept = UnchangedFile::new(file, &self.incoming);
            kept.push(&head)?;
            self.out = SinkOutput::Kept(Box::new(kept));
        }
        match self.out {
            SinkOutput::Kept(kept) => kept.finish(self.bytes),
            SinkOutput::Rewriting(rewriting) => {
                let done = rewriting.finish().map_err(broken)?;
                if let Some(front) = &done.front {
                    image::inspect_sparse(front)?.map_err(invalid)?;
                }
                Ok(WrittenDisk::Rewritten(done))
            }
            SinkOutput::Begin(..) | SinkOutput::Ended => Err(io::Error::other("it has ended")),
        }
    }

    /// Collects the first sector; returns the part of `bytes` after it.
    fn begin<'a>(&mut self, bytes: &'a [u8]) -> io::Result<&'a [u8]> {
        let SinkOutput::Begin(_, head) = &mut self.out else { return Ok(bytes) };
        let needed = if self.incoming.format == DiskFormat::Vmdk { SECTOR as usize } else { 0 };
        let (now, later) = bytes.split_at(bytes.len().min(needed - head.len()));
        head.extend_from_slice(now);
        if head.len() == needed
            && let SinkOutput::Begin(file, head) =
                std::mem::replace(&mut self.out, SinkOutput::Ended)
        {
            self.out = self.decide(file, &head)?;
            self.put(&head)?;
        }
        Ok(later)
    }

    fn decide(&mut self, file: File, head: &[u8]) -> io::Result<SinkOutput> {
        let incoming = &mut self.incoming;
        let kept =
            |file, incoming| Ok(SinkOutput::Kept(Box::new(UnchangedFile::new(file, incoming))));
        let Some(rewrite) = incoming.rewrite else { return kept(file, incoming) };
        if incoming.format == DiskFormat::Raw {
            let most = incoming.bound.longest_raw(incoming.length);
            let rewriting = Rewriting::of_raw(file, most, rewrite.compression);
            return Ok(SinkOutput::Rewriting(Box::new(rewriting.map_err(broken)?)));
        }
        match header(head) {
            Ok(header) => {
                let front = tempfile::tempfile_in(&incoming.scratch)?;
                let capacity = header.capacity.saturating_mul(SECTOR);
                incoming.bound.note_header(capacity);
                let rewriting = Rewriting::of_vmdk(file, front, capacity, rewrite.compression);
                Ok(SinkOutput::Rewriting(Box::new(rewriting)))
            }
            Err(why) if rewrite.required => Err(invalid(NotStreamable(why.to_owned()))),
            Err(_) => kept(file, incoming),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.out {
            SinkOutput::Kept(kept) => kept.push(bytes),
            SinkOutput::Rewriting(rewriting) => rewriting.push(bytes).map_err(broken),
            SinkOutput::Begin(..) | SinkOutput::Ended => Ok(()),
        }
    }
}

impl Write for GrowingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        self.incoming.bound.check(self.bytes)?;
        let rest = self.begin(bytes)?;
        self.put(rest)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file with the bytes of the source.
struct UnchangedFile {
    out: DirectFile,
    /// `None` if the input is already hashed elsewhere.
    digests: Option<Digests>,
    follower: StreamCheck,
}

impl UnchangedFile {
    fn new(file: File, incoming: &Incoming) -> Self {
        Self {
            out: DirectFile::new(file),
            digests: incoming.sum.then(|| Digests::with(&[])),
            follower: StreamCheck::new(incoming.format),
        }
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.follower.push(bytes)?;
        if let Some(digests) = &mut self.digests {
            digests.update(bytes);
        }
        self.out.write_all(bytes)
    }

    fn finish(self, bytes: u64) -> io::Result<WrittenDisk> {
        let file = self.out.finish()?;
        let content = self.follower.finish(|buffer, offset| file.read_exact_at(buffer, offset))?;
        file.sync_all()?;
        let sum = self.digests.map(|digests| digests.recorded());
        Ok(WrittenDisk::Kept(KeptFile { bytes, sum, content }))
    }
}

/// Maps the error of a conversion to an error of reading the disk, or of writing the image.
fn broken(error: image::Error) -> io::Error {
    match error {
        image::Error::Write(error) => error,
        image::Error::Stream(fault) => invalid(fault),
        image::Error::Early { reached, .. } => {
            invalid(format!("it is cut off: it ends at byte {reached} of the disk"))
        }
        // Other programs may be able to read a disk that this one cannot.
        other => invalid(NotStreamable(other.to_string())),
    }
}
