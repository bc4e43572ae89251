//! A raw image that keeps its holes: what is never written occupies nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::CLUSTER;

/// Writes a raw image, in any order.
#[derive(Debug)]
pub(super) struct RawWriter {
    file: File,
    capacity: u64,
}

impl RawWriter {
    /// An image of `capacity` bytes in `file`, which is empty.
    pub fn new(file: File, capacity: u64) -> io::Result<Self> {
        file.set_len(capacity)?;
        Ok(Self { file, capacity })
    }

    /// Writes a cluster; what of it lies past the end of the disk is left out.
    pub fn write(&mut self, cluster: u64, content: &[u8]) -> io::Result<()> {
        let offset = cluster * CLUSTER as u64;
        let length = (self.capacity - offset).min(content.len() as u64) as usize;
        self.file.write_all_at(&content[..length], offset)
    }

    /// Has the disk end at `capacity` bytes.
    pub fn end_at(&mut self, capacity: u64) -> io::Result<()> {
        self.capacity = capacity;
        self.file.set_len(capacity)
    }

    /// Ends the image.
    pub fn finish(self) -> File {
        self.file
    }
}
