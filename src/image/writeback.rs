//! A file whose data goes to the disk while it is written, so that little is left for the `fsync`
//! at its end: a download then waits for the network alone.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;

use nix::libc;

/// A file that is written from its beginning. Each write should be of a MiB or so.
#[derive(Debug)]
pub struct WritebackFile {
    file: File,
    position: u64,
}

impl WritebackFile {
    /// Writes into `file`, which is empty.
    pub fn new(file: File) -> Self {
        Self { file, position: 0 }
    }

    /// The file itself.
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

/// Has the kernel write what it was given, so that little is left for the `fsync` at the end. Only
/// a hint: a file system that cannot is waited for then.
pub fn begin_to_write(to: &File, at: u64, len: usize) {
    // SAFETY: the call takes a file descriptor and numbers by value; the file is open.
    unsafe {
        libc::sync_file_range(to.as_raw_fd(), at as i64, len as i64, libc::SYNC_FILE_RANGE_WRITE)
    };
}
