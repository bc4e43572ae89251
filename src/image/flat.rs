//! Converts a raw disk to qcow2 while the disk arrives, and hashes its content. The size of the
//! disk is known only at its end.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::batches::Grains;
use super::rewrite::{NewImage, OutputFormat, Wrote};
use super::vmdk::{Piece, SECTOR};
use super::workers::{WorkForm, WorkKind, WorkerStopped, Workers};
use super::{CLUSTER, Compression, Error};

/// Converter from the bytes of a raw disk to a qcow2 image.
#[derive(Debug)]
pub struct FlatRewriter {
    /// `None` after an error.
    workers: Option<Workers>,
    batch: Grains,
    /// Bytes that have arrived.
    length: u64,
    reached: Arc<AtomicU64>,
}

impl FlatRewriter {
    /// Begins to convert a disk of at most `most` bytes into `file`, which must be empty.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Write`].
    pub fn new(file: File, most: u64, compression: Option<Compression>) -> Result<Self, Error> {
        let reached: Arc<AtomicU64> = Arc::default();
        let image =
            NewImage::new(file, most, OutputFormat::Qcow2(compression), Arc::clone(&reached))?;
        let kind = WorkKind { grain: CLUSTER, form: WorkForm::Flat, compression, hashes: true };
        let workers = Some(Workers::start(image, most, kind)?);
        Ok(Self { workers, batch: Grains::default(), length: 0, reached })
    }

    /// Position on the disk that has been written to the image, in bytes.
    pub fn reached(&self) -> u64 {
        self.reached.load(Ordering::Relaxed)
    }

    /// Converts the next bytes of the disk. Blocks while writing lags behind.
    ///
    /// # Errors
    /// [`Error`]; the image is then unusable.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = (self.length % CLUSTER as u64) as usize;
            if within == 0 {
                self.begin_cluster()?;
            }
            let (now, later) = rest.split_at(rest.len().min(CLUSTER - within));
            self.batch.add(Piece::Data(now));
            self.length += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Waits until the image is complete. The size of the disk is rounded up to a sector.
    ///
    /// # Errors
    /// [`Error`]; the image is then unusable.
    pub fn finish(mut self) -> Result<Wrote, Error> {
        self.hand_over()?;
        let Some(workers) = self.workers else { return Err(ended()) };
        let (mut image, hashed) = workers.finish()?;
        let size = self.length.next_multiple_of(SECTOR);
        image.end_at(size)?;
        image.finish(hashed.finish(size))
    }

    fn begin_cluster(&mut self) -> Result<(), Error> {
        if self.batch.is_full(CLUSTER) {
            self.hand_over()?;
        }
        self.batch.add(Piece::Grain { sector: self.length / SECTOR, length: CLUSTER as u32 });
        Ok(())
    }

    fn hand_over(&mut self) -> Result<(), Error> {
        let batch = std::mem::take(&mut self.batch);
        let Some(workers) = &mut self.workers else { return Err(ended()) };
        match workers.push(batch) {
            Ok(()) => Ok(()),
            // The workers' result contains the cause.
            Err(WorkerStopped) => {
                let failed = self.workers.take().and_then(|workers| workers.finish().err());
                Err(failed.unwrap_or_else(ended))
            }
        }
    }
}

fn ended() -> Error {
    Error::Write(io::Error::other("the conversion has ended"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::image::capacity;
    use crate::model::DiskFormat;

    fn image(disk: &[u8], most: u64, piece: usize) -> Vec<u8> {
        let file = tempfile::tempfile().expect("a file");
        let mut rewriter = FlatRewriter::new(file, most, Some(Compression::ZSTD)).expect("begun");
        disk.chunks(piece).for_each(|piece| rewriter.push(piece).expect("taken"));
        let mut wrote = rewriter.finish().expect("finished");
        let size = capacity(&wrote.file, DiskFormat::Qcow2).expect("read");
        assert_eq!(size, Some((disk.len() as u64).next_multiple_of(SECTOR)));
        let mut bytes = Vec::new();
        io::Seek::rewind(&mut wrote.file).expect("at its start");
        wrote.file.read_to_end(&mut bytes).expect("read");
        bytes
    }

    #[test]
    fn pieces_of_any_length_give_the_same_image() {
        let mut disk: Vec<u8> = (0..3 * CLUSTER as u64 + 700).map(|n| (n / 9) as u8).collect();
        disk[CLUSTER..2 * CLUSTER].fill(0);
        let first = image(&disk, 1 << 20, 1 << 20);
        for piece in [1, 511, CLUSTER, CLUSTER + 1] {
            assert!(image(&disk, 1 << 20, piece) == first, "pieces of {piece}");
        }
        assert!(first.len() < 8 * CLUSTER, "{}", first.len());
    }
}
