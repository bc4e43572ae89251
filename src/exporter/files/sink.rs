//! Where the bytes of one packed disk go: inflated if need be, summed, bounded, and followed if
//! they are a streamOptimized VMDK, in one pass.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use flate2::write::MultiGzDecoder;

use super::bound::Bound;
use super::follow::Follower;
use super::sums::Digests;
use crate::image::DirectFile;
use crate::model::{DiskFormat, Sha256Digest};

/// A packed disk in the making.
pub(super) enum Unpacked {
    Plain(Box<Sink>),
    Gzip(Box<MultiGzDecoder<Sink>>),
}

impl Unpacked {
    pub(super) fn new(sink: Sink, gzip: bool) -> Self {
        if gzip {
            Self::Gzip(Box::new(MultiGzDecoder::new(sink)))
        } else {
            Self::Plain(Box::new(sink))
        }
    }

    /// Ends it. [`Sink::finish`] tells the errors.
    pub(super) fn finish(self) -> io::Result<(u64, Option<Sha256Digest>)> {
        match self {
            Self::Plain(sink) => sink.finish(),
            Self::Gzip(decoder) => decoder.finish()?.finish(),
        }
    }
}

impl Write for Unpacked {
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

/// A file that grows, and what is known of it.
pub(super) struct Sink {
    out: DirectFile,
    /// None where what comes in is summed already.
    digests: Option<Digests>,
    bytes: u64,
    bound: Bound,
    follower: Follower,
}

impl Sink {
    /// A disk of that format into `file`, which is empty, as long as `bound` lets it become; `sum` says
    /// whether it is to be summed here.
    pub(super) fn new(file: File, format: DiskFormat, bound: Bound, sum: bool) -> Self {
        Self {
            out: DirectFile::new(file),
            digests: sum.then(|| Digests::with(&[])),
            bytes: 0,
            bound,
            follower: Follower::new(format),
        }
    }

    /// Makes it last; returns its length and its sum, if that is made here.
    ///
    /// # Errors
    /// What the system said, or [`io::ErrorKind::InvalidData`] with what is wrong with the disk.
    fn finish(self) -> io::Result<(u64, Option<Sha256Digest>)> {
        let file = self.out.finish()?;
        self.follower.finish(|buffer, offset| file.read_exact_at(buffer, offset))?;
        file.sync_all()?;
        Ok((self.bytes, self.digests.map(|digests| digests.recorded())))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        self.bound.check(self.bytes)?;
        self.follower.push(bytes)?;
        if let Some(digests) = &mut self.digests {
            digests.update(bytes);
        }
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
