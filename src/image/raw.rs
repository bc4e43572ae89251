//! Writer of a sparse raw image: unwritten ranges occupy no space.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::CLUSTER;

/// Writer of a raw image; clusters may come in any order.
#[derive(Debug)]
pub(super) struct RawWriter {
    file: File,
    capacity: u64,
}

impl RawWriter {
    /// Begins an image of `capacity` bytes in `file`, which must be empty.
    pub fn new(file: File, capacity: u64) -> io::Result<Self> {
        file.set_len(capacity)?;
        Ok(Self { file, capacity })
    }

    /// Writes a cluster, without the bytes past the end of the disk.
    pub fn write(&mut self, cluster: u64, content: &[u8]) -> io::Result<()> {
        let offset = cluster * CLUSTER as u64;
        let length = (self.capacity - offset).min(content.len() as u64) as usize;
        self.file.write_all_at(&content[..length], offset)
    }

    /// Sets the size of the disk to `capacity` bytes.
    pub fn end_at(&mut self, capacity: u64) -> io::Result<()> {
        self.capacity = capacity;
        self.file.set_len(capacity)
    }

    /// Returns the file.
    pub fn finish(self) -> File {
        self.file
    }
}
