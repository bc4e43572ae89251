//! Where the bytes of one packed disk go: inflated if need be, summed, bounded, and followed if
//! they are a streamOptimized VMDK, in one pass.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::FileExt;

use flate2::write::MultiGzDecoder;

use super::sums::Digests;
use crate::image::EarlyFile;
use crate::image::vmdk::{End, Header, SECTOR, Stream};
use crate::model::{DiskFormat, Sha256Digest};

/// Bytes written at a time.
const BLOCK: usize = 1 << 20;

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
    out: BufWriter<EarlyFile>,
    /// None where what comes in is summed already.
    digests: Option<Digests>,
    bytes: u64,
    /// Longest that the file may become.
    most: u64,
    format: DiskFormat,
    /// Its first sector, until it is there.
    head: Vec<u8>,
    stream: Option<Stream>,
}

impl Sink {
    /// A disk of that format into `file`, which is empty, of at most `most` bytes; `sum` says whether it is to
    /// be summed here.
    pub(super) fn new(file: File, format: DiskFormat, most: u64, sum: bool) -> Self {
        Self {
            out: BufWriter::with_capacity(BLOCK, EarlyFile::new(file)),
            digests: sum.then(|| Digests::with(None)),
            bytes: 0,
            most,
            format,
            head: Vec::new(),
            stream: None,
        }
    }

    /// Makes it last; returns its length and its sum, if that is made here.
    ///
    /// # Errors
    /// What the system said, or [`ErrorKind::InvalidData`] with what is wrong with the disk.
    fn finish(self) -> io::Result<(u64, Option<Sha256Digest>)> {
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?.into_file();
        if let Some(stream) = self.stream {
            let reached = stream.reached();
            let end = stream.finish(|buffer, offset| file.read_exact_at(buffer, offset));
            if end.map_err(invalid)? == End::Early {
                return Err(invalid(format!("it ends at byte {reached} of the disk")));
            }
        }
        file.sync_all()?;
        Ok((self.bytes, self.digests.map(|digests| digests.recorded())))
    }

    /// Looks at the first sector. A VMDK that is text would name other files.
    fn begin(&mut self) -> io::Result<()> {
        if self.format != DiskFormat::Vmdk {
            return Ok(());
        }
        if !self.head.starts_with(b"KDMV") {
            return Err(invalid("it is no VMDK, or one that names other files"));
        }
        if let Ok(header) = Header::read(&self.head) {
            let mut stream = Stream::new(header.capacity * SECTOR);
            stream.push(&self.head, |_| {}).map_err(invalid)?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    fn follow(&mut self, bytes: &[u8]) -> io::Result<()> {
        let missing = (SECTOR as usize - self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(missing);
        if !head.is_empty() {
            self.head.extend_from_slice(head);
            if self.head.len() == SECTOR as usize {
                self.begin()?;
            }
        }
        match &mut self.stream {
            Some(stream) if !rest.is_empty() => stream.push(rest, |_| {}).map_err(invalid),
            _ => Ok(()),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.most {
            return Err(invalid(format!("it is longer than {} bytes", self.most)));
        }
        self.follow(bytes)?;
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

pub(super) fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}
