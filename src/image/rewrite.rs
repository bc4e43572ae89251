//! Converts a streamOptimized VMDK to another format while it arrives.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::batches::{Clusters, Grains};
use super::vmdk::{self, Piece, StreamEnd};
use super::workers::{WorkForm, WorkKind, WorkerStopped, Workers};
use super::{CLUSTER, Compression, Error, qcow2, raw};
use crate::model::Sha256Digest;

/// Format of the new image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// qcow2, optionally with compressed clusters.
    Qcow2(Option<Compression>),
    /// Raw and sparse.
    Raw,
}

impl OutputFormat {
    /// Compression of the clusters, if any.
    fn compression(self) -> Option<Compression> {
        match self {
            Self::Qcow2(compression) => compression,
            Self::Raw => None,
        }
    }
}

/// Result of a conversion.
#[derive(Debug)]
pub struct Wrote {
    /// The complete file, not yet synced.
    pub file: File,
    /// Bytes of the disk that are not zero, in full clusters.
    pub data: u64,
    /// Hash of the disk's content, if requested and the stream was in ascending order.
    pub content: Option<Sha256Digest>,
}

/// Converter from the stream of one disk to an image.
#[derive(Debug)]
pub struct Rewriter {
    stream: vmdk::Stream,
    capacity: u64,
    state: RewriteState,
    reached: Arc<AtomicU64>,
    hashes: bool,
}

#[derive(Debug)]
enum RewriteState {
    /// Waiting for the header, of which this many bytes have not arrived.
    Begin(File, OutputFormat, usize),
    Running {
        batch: Grains,
        grain: usize,
        workers: Workers,
    },
    Ended,
}

impl Rewriter {
    /// Begins to convert the stream of a disk of `capacity` bytes into `file`, which must be empty.
    pub fn new(file: File, capacity: u64, target: OutputFormat) -> Self {
        let state = RewriteState::Begin(file, target, vmdk::SECTOR as usize);
        let (stream, reached) = (vmdk::Stream::new(capacity), Arc::default());
        Self { stream, capacity, state, reached, hashes: false }
    }

    /// Also hashes the content of the disk.
    #[must_use]
    pub fn hashing(self) -> Self {
        Self { hashes: true, ..self }
    }

    /// Position on the disk that has been written to the image, in bytes.
    pub fn reached(&self) -> u64 {
        self.reached.load(Ordering::Relaxed)
    }

    /// Number of bytes at the stream's beginning that [`Rewriter::finish`] may read again; `None`
    /// before the header has arrived.
    pub fn front_end(&self) -> Option<u64> {
        self.stream.header().map(vmdk::Header::front_end)
    }

    /// Converts the next bytes of the stream. Blocks while writing lags behind.
    ///
    /// # Errors
    /// [`Error`]; the image is then unusable.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut rest = bytes;
        if let RewriteState::Begin(_, _, missing) = &mut self.state {
            // Header first: its fields are needed before the first grain.
            let (head, tail) = rest.split_at(rest.len().min(*missing));
            *missing -= head.len();
            self.stream.push(head, |_| {})?;
            self.begin()?;
            rest = tail;
        }
        // In pieces that complete at most one batch, since grains end within them.
        for piece in rest.chunks(CLUSTER) {
            self.take(piece)?;
        }
        Ok(())
    }

    /// Waits until the image is complete. `read_at` reads the stream again, to compare tables in
    /// front of the grains with the grains.
    ///
    /// # Errors
    /// [`Error`]; the image is then unusable.
    pub fn finish(
        mut self,
        read_at: impl Fn(&mut [u8], u64) -> io::Result<()>,
    ) -> Result<Wrote, Error> {
        let reached = self.stream.reached();
        if let RewriteState::Running { batch, workers, .. } = &mut self.state
            && let Err(WorkerStopped) = workers.push(std::mem::take(batch))
        {
            return Err(self.failure());
        }
        let wrote = match std::mem::replace(&mut self.state, RewriteState::Ended) {
            RewriteState::Running { workers, .. } => {
                let (image, hashed) = workers.finish()?;
                image.finish(hashed.finish(self.capacity))?
            }
            _ => return Err(Error::Early { reached, capacity: self.capacity }),
        };
        match self.stream.finish(read_at)? {
            StreamEnd::Whole => Ok(wrote),
            StreamEnd::Early => Err(Error::Early { reached, capacity: self.capacity }),
        }
    }

    fn begin(&mut self) -> Result<(), Error> {
        let Some(header) = self.stream.header() else { return Ok(()) };
        let grain = header.grain * vmdk::SECTOR;
        if !header.has_usual_grains() {
            return Err(Error::GrainSize(grain));
        }
        let RewriteState::Begin(file, target, _) =
            std::mem::replace(&mut self.state, RewriteState::Ended)
        else {
            return Ok(());
        };
        let image = NewImage::new(file, self.capacity, target, Arc::clone(&self.reached))?;
        let kind = WorkKind {
            grain: grain as usize,
            form: WorkForm::Deflated,
            compression: target.compression(),
            hashes: self.hashes,
        };
        let workers = Workers::start(image, self.capacity, kind)?;
        self.state =
            RewriteState::Running { batch: Grains::default(), grain: grain as usize, workers };
        Ok(())
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), Error> {
        let RewriteState::Running { batch, grain, workers } = &mut self.state else {
            return Err(self.failure());
        };
        let mut stopped = false;
        let visit = |piece: Piece<'_>| {
            if matches!(piece, Piece::Grain { .. }) && batch.is_full(*grain) {
                stopped |= workers.push(std::mem::take(batch)).is_err();
            }
            batch.add(piece);
        };
        self.stream.push(piece, visit)?;
        if stopped { Err(self.failure()) } else { Ok(()) }
    }

    /// Error with which the threads stopped.
    fn failure(&mut self) -> Error {
        match std::mem::replace(&mut self.state, RewriteState::Ended) {
            RewriteState::Running { workers, .. } => workers.finish().err(),
            _ => None,
        }
        .unwrap_or_else(|| Error::Write(io::Error::other("the conversion has ended")))
    }
}

/// An image that is being written.
#[derive(Debug)]
pub(super) struct NewImage {
    format: NewImageFormat,
    data: u64,
    reached: Arc<AtomicU64>,
}

#[derive(Debug)]
enum NewImageFormat {
    Qcow2(qcow2::Qcow2Writer),
    Raw(raw::RawWriter),
    /// No image: the disk is only hashed.
    None,
}

impl NewImage {
    /// Writes no image, for hashing only.
    pub fn none() -> Self {
        Self { format: NewImageFormat::None, data: 0, reached: Arc::default() }
    }

    /// Whether an image is written.
    pub fn keeps(&self) -> bool {
        !matches!(self.format, NewImageFormat::None)
    }

    /// Begins an image of `capacity` bytes in `file`, which must be empty; `reached` follows the
    /// writer.
    pub fn new(
        file: File,
        capacity: u64,
        target: OutputFormat,
        reached: Arc<AtomicU64>,
    ) -> Result<Self, Error> {
        let format = match target {
            OutputFormat::Qcow2(compression) => {
                NewImageFormat::Qcow2(qcow2::Qcow2Writer::new(file, capacity, compression)?)
            }
            OutputFormat::Raw => NewImageFormat::Raw(raw::RawWriter::new(file, capacity)?),
        };
        Ok(Self { format, data: 0, reached })
    }

    /// Sets the size of the disk to `capacity` bytes, at most the initial one.
    pub fn end_at(&mut self, capacity: u64) -> io::Result<()> {
        match &mut self.format {
            NewImageFormat::Qcow2(writer) => writer.end_at(capacity),
            NewImageFormat::Raw(writer) => writer.end_at(capacity)?,
            NewImageFormat::None => {}
        }
        Ok(())
    }

    /// Writes a batch of clusters.
    pub fn write(&mut self, batch: &Clusters) -> Result<(), Error> {
        for (number, range, compressed) in &batch.clusters {
            let content = &batch.data[range.clone()];
            match &mut self.format {
                NewImageFormat::Qcow2(writer) => writer.write(*number, content, *compressed)?,
                NewImageFormat::Raw(writer) => writer.write(*number, content)?,
                NewImageFormat::None => {}
            }
            self.data += CLUSTER as u64;
        }
        self.reached.fetch_max(batch.reached, Ordering::Relaxed);
        Ok(())
    }

    /// Completes the image; `content` is the hash of the disk.
    pub fn finish(self, content: Option<Sha256Digest>) -> Result<Wrote, Error> {
        let file = match self.format {
            NewImageFormat::Qcow2(writer) => writer.finish()?,
            NewImageFormat::Raw(writer) => writer.finish(),
            NewImageFormat::None => return Err(io::Error::from(io::ErrorKind::Unsupported).into()),
        };
        Ok(Wrote { file, data: self.data, content })
    }
}
