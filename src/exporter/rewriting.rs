//! Converts a disk to a qcow2 image while the disk arrives, so that its own format is never written
//! to a file. The caller hashes the incoming bytes.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::mpsc;

use sha2::{Digest, Sha256};

use crate::image::{self, Compression, FlatRewriter, OutputFormat, Rewriter};
use crate::model::Sha256Digest;

/// Bytes read at a time.
const BLOCK: usize = 1 << 20;
/// Queued blocks between the reading and the hashing thread.
const UNDER_WAY: usize = 2;

/// A conversion in progress.
#[derive(Debug)]
pub(super) enum Rewriting {
    /// From a streamOptimized VMDK.
    Vmdk(Box<Rewriter>, Front),
    /// From a raw disk.
    Raw(Box<FlatRewriter>),
}

/// A complete image, synced to disk.
#[derive(Debug)]
pub(super) struct Rewritten {
    /// Length of the image in bytes.
    pub(super) bytes: u64,
    /// SHA-256 checksum of the image.
    pub(super) sha256: Sha256Digest,
    /// Hash of the disk's content.
    pub(super) content: Option<Sha256Digest>,
    /// The part of a VMDK before its grains, including its descriptor.
    pub(super) front: Option<File>,
}

impl Rewriting {
    /// Converts a VMDK of a disk of `capacity` bytes into `file`, which is empty, as is `front`.
    pub(super) fn of_vmdk(
        file: File,
        front: File,
        capacity: u64,
        compression: Option<Compression>,
    ) -> Self {
        let rewriter = Rewriter::new(file, capacity, OutputFormat::Qcow2(compression)).hashing();
        Self::Vmdk(Box::new(rewriter), Front { file: front, kept: 0 })
    }

    /// Converts a raw disk of at most `most` bytes into `file`, which is empty.
    ///
    /// # Errors
    /// [`image::Error`].
    pub(super) fn of_raw(
        file: File,
        most: u64,
        compression: Option<Compression>,
    ) -> Result<Self, image::Error> {
        Ok(Self::Raw(Box::new(FlatRewriter::new(file, most, compression)?)))
    }

    /// Processes the next bytes. Blocks while the image is behind.
    ///
    /// # Errors
    /// [`image::Error`]; the file is unusable then.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), image::Error> {
        match self {
            Self::Vmdk(rewriter, front) => {
                rewriter.push(bytes)?;
                Ok(front.keep(bytes, rewriter.front_end())?)
            }
            Self::Raw(rewriter) => rewriter.push(bytes),
        }
    }

    /// Position in the disk up to which the image is written, in bytes.
    pub(super) fn reached(&self) -> u64 {
        match self {
            Self::Vmdk(rewriter, _) => rewriter.reached(),
            Self::Raw(rewriter) => rewriter.reached(),
        }
    }

    /// Waits until the image is complete, syncs it, and computes its checksum.
    ///
    /// # Errors
    /// [`image::Error`], also when the stream is truncated.
    pub(super) fn finish(self) -> Result<Rewritten, image::Error> {
        let (wrote, front) = match self {
            Self::Vmdk(rewriter, front) => {
                let read_again =
                    |buffer: &mut [u8], offset| front.file.read_exact_at(buffer, offset);
                (rewriter.finish(read_again)?, Some(front.file))
            }
            Self::Raw(rewriter) => (rewriter.finish()?, None),
        };
        let (file, content) = (wrote.file, wrote.content);
        // Syncing uses the storage, while hashing uses a CPU core.
        let (synced, summed) = std::thread::scope(|scope| {
            let syncing = scope.spawn(|| file.sync_all());
            let summed = sum(&file);
            let broken = |_| Err(io::Error::other("a thread broke off"));
            (syncing.join().unwrap_or_else(broken), summed)
        });
        synced?;
        let (bytes, sha256) = summed?;
        Ok(Rewritten { bytes, sha256, content, front })
    }
}

/// Length and checksum of a file. One thread reads while another hashes.
fn sum(file: &File) -> io::Result<(u64, Sha256Digest)> {
    let (to_sum, read) = mpsc::sync_channel::<Vec<u8>>(UNDER_WAY);
    let (back, used) = mpsc::channel();
    std::thread::scope(|scope| {
        let summing = scope.spawn(move || {
            let mut sum = Sha256::new();
            for block in read {
                sum.update(&block);
                // The reader may have finished.
                back.send(block).ok();
            }
            Sha256Digest(sum.finalize().into())
        });
        let mut length = 0;
        loop {
            let mut block = used.try_recv().unwrap_or_default();
            block.resize(BLOCK, 0);
            let read = file.read_at(&mut block, length)?;
            block.truncate(read);
            length += read as u64;
            if read == 0 || to_sum.send(block).is_err() {
                break;
            }
        }
        drop(to_sum);
        let broken = |_| io::Error::other("a thread broke off");
        Ok((length, summing.join().map_err(broken)?))
    })
}

/// The start of a VMDK, up to its grains: its tables are compared with the grains at the end.
#[derive(Debug)]
pub(super) struct Front {
    file: File,
    kept: u64,
}

impl Front {
    /// Stores a chunk up to `end`, or all of it while the end of the front is unknown.
    fn keep(&mut self, chunk: &[u8], end: Option<u64>) -> io::Result<()> {
        let wanted = end.map_or(u64::MAX, |end| end.saturating_sub(self.kept));
        let length = wanted.min(chunk.len() as u64) as usize;
        self.kept += length as u64;
        self.file.write_all(&chunk[..length])
    }
}
