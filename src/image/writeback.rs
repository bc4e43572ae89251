//! A file with early writeback, so that little is left for the final `fsync` and a download waits
//! only for the network.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;

use nix::libc;

/// A file that is written sequentially. Each write should be about a MiB.
#[derive(Debug)]
pub struct WritebackFile {
    file: File,
    position: u64,
}

impl WritebackFile {
    /// Writes into `file`, which must be empty.
    pub fn new(file: File) -> Self {
        Self { file, position: 0 }
    }

    /// Returns the underlying file.
    pub fn into_file(self) -> File {
        self.file
    }
}

impl Write for WritebackFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        begin_to_write(&self.file, self.position, written);
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Asks the kernel to write a range back early. Only a hint: a file system without support makes
/// the `fsync` wait instead.
pub fn begin_to_write(to: &File, at: u64, len: usize) {
    // SAFETY: the call takes a file descriptor and numbers by value; the file is open.
    unsafe {
        libc::sync_file_range(to.as_raw_fd(), at as i64, len as i64, libc::SYNC_FILE_RANGE_WRITE)
    };
}
