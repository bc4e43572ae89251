//! Checks a disk for truncation while it is copied: a stream-optimized VMDK has no tables to check
//! afterwards.

use std::io::{self, ErrorKind};

use crate::image::content::{ContentHasher, HashedStream};
use crate::image::vmdk::{Header, InvalidStream, SECTOR, StreamEnd};
use crate::model::{DiskFormat, Sha256Digest};

pub(super) struct StreamCheck {
    format: DiskFormat,
    /// Bytes of the first sector, until it is complete.
    head: Vec<u8>,
    stream: Option<HashedStream>,
    /// Content hash of a raw disk.
    content: ContentHasher,
}

impl StreamCheck {
    pub(super) fn new(format: DiskFormat) -> Self {
        Self { format, head: Vec::new(), stream: None, content: ContentHasher::default() }
    }

    /// Processes the next bytes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] with what is wrong with the disk.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.format == DiskFormat::Raw {
            self.content.data(bytes);
        }
        if self.format != DiskFormat::Vmdk {
            return Ok(());
        }
        let missing = (SECTOR as usize - self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(missing);
        if !head.is_empty() {
            self.head.extend_from_slice(head);
            if self.head.len() == SECTOR as usize {
                self.begin()?;
            }
        }
        match &mut self.stream {
            Some(stream) if !rest.is_empty() => stream.push(rest).map_err(invalid),
            _ => Ok(()),
        }
    }

    /// Checks the first sector. A VMDK that is text would refer to other files.
    fn begin(&mut self) -> io::Result<()> {
        if !self.head.starts_with(b"KDMV") {
            return Err(invalid("it is not a VMDK, or is one that names other files"));
        }
        if let Ok(header) = Header::read(&self.head) {
            let mut stream = HashedStream::new(header.capacity * SECTOR);
            stream.push(&self.head).map_err(invalid)?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    /// Checks the disk after its last byte; `read_at` reads from its bytes again. Returns the
    /// content hash, if the format allows a sequential reader to compute it.
    ///
    /// # Errors
    /// As [`StreamCheck::push`], when the disk is truncated.
    pub(super) fn finish(
        self,
        read_at: impl Fn(&mut [u8], u64) -> io::Result<()>,
    ) -> io::Result<Option<Sha256Digest>> {
        if self.format == DiskFormat::Raw {
            return Ok(self.content.finish());
        }
        if self.format == DiskFormat::Vmdk && self.head.len() < SECTOR as usize {
            return Err(invalid(format!("it is not a VMDK: it has {} bytes", self.head.len())));
        }
        let Some(stream) = self.stream else { return Ok(None) };
        let reached = stream.reached();
        let end = stream.finish(read_at).map_err(|error| match error {
            // An error in the tables is more specific than the read error.
            InvalidStream::Tables(source) if source.kind() == ErrorKind::InvalidData => source,
            error => invalid(error),
        });
        match end? {
            (StreamEnd::Whole, content) => Ok(content),
            (StreamEnd::Early, _) => {
                Err(invalid(format!("it is cut off: it ends at byte {reached} of the disk")))
            }
        }
    }
}

pub(super) fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}
