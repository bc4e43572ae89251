//! Buffered writing at offsets that mostly follow each other.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::image::begin_to_write;

/// Bytes written at once.
const BLOCK: usize = 1 << 20;

/// A file with data that is still to be written.
#[derive(Debug)]
pub(super) struct Append {
    file: File,
    pending: Vec<u8>,
    /// Offset of `pending` in the file.
    offset: u64,
}

impl Append {
    pub fn new(file: File) -> Self {
        Self { file, pending: Vec::with_capacity(BLOCK + super::CLUSTER), offset: 0 }
    }

    /// Writes `bytes` at `offset`, possibly later.
    pub fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if offset != self.offset + self.pending.len() as u64 || self.pending.len() >= BLOCK {
            self.flush()?;
            self.offset = offset;
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// Reads back written data.
    pub fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.flush()?;
        self.file.read_exact_at(bytes, offset)
    }

    /// Writes all pending data, and returns the file.
    pub fn into_file(mut self) -> io::Result<File> {
        self.flush()?;
        Ok(self.file)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.pending, self.offset)?;
        begin_to_write(&self.file, self.offset, self.pending.len());
        self.offset += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}
