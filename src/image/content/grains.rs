//! Hashes the content of a streamOptimized VMDK while it is stored unchanged.

use std::io;

use crate::image::batches::Grains;
use crate::image::vmdk::{InvalidStream, Piece, SECTOR, Stream, StreamEnd};
use crate::image::workers::{WorkForm, Workers};
use crate::model::Sha256Digest;

/// Parser of a stream that also hashes the grains' content.
#[derive(Debug)]
pub struct HashedStream {
    stream: Stream,
    capacity: u64,
    /// Bytes of the header that have not arrived.
    missing: usize,
    hashing: Option<Hashing>,
}

#[derive(Debug)]
struct Hashing {
    batch: Grains,
    grain: usize,
    workers: Workers,
}

impl HashedStream {
    /// Begins the stream of a disk of `capacity` bytes.
    pub fn new(capacity: u64) -> Self {
        let stream = Stream::new(capacity);
        Self { stream, capacity, missing: SECTOR as usize, hashing: None }
    }

    /// Position on the disk that the stream has reached, in bytes.
    pub fn reached(&self) -> u64 {
        self.stream.reached()
    }

    /// Parses the next bytes of the stream. Blocks while hashing lags behind.
    ///
    /// # Errors
    /// [`InvalidStream`] if the bytes are malformed.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), InvalidStream> {
        let (head, rest) = bytes.split_at(bytes.len().min(self.missing));
        if !head.is_empty() {
            // Header first: its fields are needed before the first grain.
            self.stream.push(head, |_| {})?;
            self.missing -= head.len();
            self.hashing = self.stream.header().and_then(|header| {
                let grain = usize::try_from(header.grain * SECTOR).ok()?;
                // A failure to hash must not fail the export.
                let begun = || Workers::of_hash(self.capacity, grain, WorkForm::Deflated);
                let workers = header.has_usual_grains().then(begun);
                Some(Hashing { batch: Grains::default(), grain, workers: workers?.ok()? })
            });
        }
        let (hashing, mut stopped) = (&mut self.hashing, false);
        self.stream.push(rest, |piece| {
            if let Some(hashing) = hashing {
                stopped |= hashing.add(piece).is_none();
            }
        })?;
        if stopped {
            self.hashing = None;
        }
        Ok(())
    }

    /// How the stream ended, and the hash of the content: `None` if its grains are damaged or of an
    /// unusual size.
    ///
    /// # Errors
    /// [`InvalidStream`] if tables and grains do not match.
    pub fn finish(
        self,
        read_at: impl Fn(&mut [u8], u64) -> io::Result<()>,
    ) -> Result<(StreamEnd, Option<Sha256Digest>), InvalidStream> {
        let end = self.stream.finish(read_at)?;
        let capacity = self.capacity;
        Ok((end, self.hashing.and_then(|hashing| hashing.finish(capacity))))
    }
}

impl Hashing {
    /// Adds a piece; `None` after the threads have stopped.
    fn add(&mut self, piece: Piece<'_>) -> Option<()> {
        let is_full = matches!(piece, Piece::Grain { .. }) && self.batch.is_full(self.grain);
        if is_full {
            self.workers.push(std::mem::take(&mut self.batch)).ok()?;
        }
        self.batch.add(piece);
        Some(())
    }

    fn finish(mut self, capacity: u64) -> Option<Sha256Digest> {
        self.workers.push(self.batch).ok()?;
        let (_, content) = self.workers.finish().ok()?;
        content.finish(capacity)
    }
}
