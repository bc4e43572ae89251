//! A streamOptimized VMDK in, another format out, while it arrives.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::batches::{Clusters, Grains};
use super::vmdk::{self, Piece, StreamEnd};
use super::workers::{WorkForm, WorkKind, WorkerStopped, Workers};
use super::{CLUSTER, Compression, Error, qcow2, raw};
use crate::model::Sha256Digest;

/// The format to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// qcow2, its clusters compressed or not.
    Qcow2(Option<Compression>),
    /// Raw, with its holes kept.
    Raw,
}

impl OutputFormat {
    /// How clusters are compressed, if they are.
    fn compression(self) -> Option<Compression> {
        match self {
            Self::Qcow2(compression) => compression,
            Self::Raw => None,
        }
    }
}

/// What was written.
#[derive(Debug)]
pub struct Wrote {
    /// The file, whole but not yet synced.
    pub file: File,
    /// Bytes of the disk that are not zero, in whole clusters.
    pub data: u64,
    /// Hash of the content of the disk, where it was asked for and the stream went forward.
    pub content: Option<Sha256Digest>,
}

/// Turns the stream of one disk into an image.
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
    /// So much of the header has not arrived.
    Begin(File, OutputFormat, usize),
    Running {
        batch: Grains,
        grain: usize,
        workers: Workers,
    },
    Ended,
}

impl Rewriter {
    /// A rewrite of the stream of a disk of `capacity` bytes into `file`, which is empty.
    pub fn new(file: File, capacity: u64, target: OutputFormat) -> Self {
        let state = RewriteState::Begin(file, target, vmdk::SECTOR as usize);
        let (stream, reached) = (vmdk::Stream::new(capacity), Arc::default());
        Self { stream, capacity, state, reached, hashes: false }
    }

    /// Hashes the content of the disk, too.
    #[must_use]
    pub fn hashing(self) -> Self {
        Self { hashes: true, ..self }
    }

    /// How far into the disk the image has come, in bytes.
    pub fn reached(&self) -> u64 {
        self.reached.load(Ordering::Relaxed)
    }

    /// Where the part in front of the grains ends that [`Rewriter::finish`] may read again, in
    /// bytes of the stream; none as long as the header has not arrived.
    pub fn front_end(&self) -> Option<u64> {
        self.stream.header().map(vmdk::Header::front_end)
    }

    /// Takes the next bytes of the stream. Blocks while the disk is behind.
    ///
    /// # Errors
    /// [`Error`]; the file is of no use then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut rest = bytes;
        if let RewriteState::Begin(_, _, missing) = &mut self.state {
            // The header apart: what it says is needed before the first grain comes.
            let (head, tail) = rest.split_at(rest.len().min(*missing));
            *missing -= head.len();
            self.stream.push(head, |_| {})?;
            self.begin()?;
            rest = tail;
        }
        // In pieces that fill a batch at most by one: grains end within them.
        for piece in rest.chunks(CLUSTER) {
            self.take(piece)?;
        }
        Ok(())
    }

    /// Waits until the whole image is written. `read_at` reads the stream again: one with its
    /// tables in front is compared with them.
    ///
    /// # Errors
    /// [`Error`]; the file is of no use then.
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

    /// Why the threads stopped.
    fn failure(&mut self) -> Error {
        match std::mem::replace(&mut self.state, RewriteState::Ended) {
            RewriteState::Running { workers, .. } => workers.finish().err(),
            _ => None,
        }
        .unwrap_or_else(|| Error::Write(io::Error::other("the conversion has ended")))
    }
}

/// An image in the making.
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
    /// None: the disk is only hashed.
    None,
}

impl NewImage {
    /// No image.
    pub fn none() -> Self {
        Self { format: NewImageFormat::None, data: 0, reached: Arc::default() }
    }

    /// Whether anything is written.
    pub fn keeps(&self) -> bool {
        !matches!(self.format, NewImageFormat::None)
    }

    /// An image of `capacity` bytes in `file`, which is empty; `reached` follows what is written.
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

    /// Has the disk end at `capacity` bytes, which is no more than it was made for.
    pub fn end_at(&mut self, capacity: u64) -> io::Result<()> {
        match &mut self.format {
            NewImageFormat::Qcow2(writer) => writer.end_at(capacity),
            NewImageFormat::Raw(writer) => writer.end_at(capacity)?,
            NewImageFormat::None => {}
        }
        Ok(())
    }

    /// Writes a batch.
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

    /// Ends it; `content` is the hash of the disk.
    pub fn finish(self, content: Option<Sha256Digest>) -> Result<Wrote, Error> {
        let file = match self.format {
            NewImageFormat::Qcow2(writer) => writer.finish()?,
            NewImageFormat::Raw(writer) => writer.finish(),
            NewImageFormat::None => return Err(io::Error::from(io::ErrorKind::Unsupported).into()),
        };
        Ok(Wrote { file, data: self.data, content })
    }
}
