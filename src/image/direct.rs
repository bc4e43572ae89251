//! A file that is written past the page cache. A download of many GiB would push out what the
//! host's machines have there; it is spared a copy of every byte, too, and little is left for the
//! `fsync` at the end.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::begin_to_write;

/// Bytes written at a time: enough to keep a storage busy that answers slowly.
const BLOCK: usize = 2 << 20;
/// Addresses, offsets and lengths are multiples of it: the largest logical block size there is, as
/// open(2) demands under `O_DIRECT`.
const ALIGNMENT: usize = 4096;

/// A file that is written from its beginning, up to [`DirectFile::finish`].
#[derive(Debug)]
pub struct DirectFile {
    file: File,
    /// Where the file has not been written yet.
    position: u64,
    /// Holds a block, from [`DirectFile::begin`] on.
    buffer: Vec<u8>,
    begin: usize,
    /// Bytes of the block that wait to be written.
    filled: usize,
    /// Whether the cache is passed by.
    direct: bool,
}

impl DirectFile {
    /// Writes into `file`, which is empty. Where the file system knows no way past the cache, the
    /// data goes through it, and early from there to the disk.
    pub fn new(file: File) -> Self {
        let buffer = vec![0; BLOCK + ALIGNMENT];
        let begin = buffer.as_ptr().align_offset(ALIGNMENT);
        let direct = pass_by_cache(&file, true);
        Self { file, position: 0, buffer, begin, filled: 0, direct }
    }

    /// Writes the rest, and gives the file back as one like any other.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(mut self) -> io::Result<File> {
        // The rest is of any length.
        self.use_cache();
        self.put()?;
        self.file.try_clone()
    }

    fn put(&mut self) -> io::Result<()> {
        let block = &self.buffer[self.begin..][..self.filled];
        match self.file.write_all_at(block, self.position) {
            // What some file systems say only now; and the end of a write that was cut short is
            // not aligned any more.
            Err(error) if self.direct && error.kind() == ErrorKind::InvalidInput => {
                self.use_cache();
                return self.put();
            }
            written => written?,
        }
        if !self.direct {
            begin_to_write(&self.file, self.position, self.filled);
        }
        self.position += self.filled as u64;
        self.filled = 0;
        Ok(())
    }

    fn use_cache(&mut self) {
        if std::mem::take(&mut self.direct) {
            pass_by_cache(&self.file, false);
        }
    }
}

impl Write for DirectFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK - self.filled);
        let free = &mut self.buffer[self.begin + self.filled..];
        free[..taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        if self.filled == BLOCK {
            self.put()?;
        }
        Ok(taken)
    }

    /// Nothing: a block cannot be written in parts.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for DirectFile {
    /// All handles to the file share how it is written.
    fn drop(&mut self) {
        self.use_cache();
    }
}

/// Turns `O_DIRECT` on or off; whether that was done.
fn pass_by_cache(file: &File, on: bool) -> bool {
    let Ok(flags) = fcntl(file.as_fd(), FcntlArg::F_GETFL) else { return false };
    let mut flags = OFlag::from_bits_retain(flags);
    flags.set(OFlag::O_DIRECT, on);
    fcntl(file.as_fd(), FcntlArg::F_SETFL(flags)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_direct(file: &File) -> bool {
        let flags = fcntl(file.as_fd(), FcntlArg::F_GETFL).expect("the flags");
        OFlag::from_bits_retain(flags).contains(OFlag::O_DIRECT)
    }

    fn content(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|n| (n / 7 % 251) as u8).collect()
    }

    #[test]
    fn every_length_arrives_whole() {
        for bytes in [0, 1, ALIGNMENT, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 12345] {
            let file = tempfile::tempfile_in("/var/tmp").expect("a file");
            let mut out = DirectFile::new(file);
            for piece in content(bytes).chunks(400_001) {
                out.write_all(piece).expect("written");
            }
            let file = out.finish().expect("finished");
            let mut found = vec![0; bytes];
            file.read_exact_at(&mut found, 0).expect("read");
            assert_eq!(file.metadata().expect("its size").len(), bytes as u64);
            assert!(found == content(bytes), "{bytes} bytes came out otherwise");
        }
    }

    #[test]
    fn afterwards_the_file_is_one_like_any_other() {
        let file = tempfile::tempfile_in("/var/tmp").expect("a file");
        let other = file.try_clone().expect("another handle");
        let out = DirectFile::new(file);
        assert!(is_direct(&other), "/var/tmp is on no file system that can");
        drop(out);
        assert!(!is_direct(&other));
        assert!(!is_direct(&DirectFile::new(other).finish().expect("finished")));
    }

    #[test]
    fn a_block_that_is_refused_goes_through_the_cache() {
        let file = tempfile::tempfile_in("/var/tmp").expect("a file");
        let mut out = DirectFile::new(file);
        // As on a file system that wants more than a page's alignment.
        out.begin += 1;
        out.buffer.push(0);
        out.write_all(&content(BLOCK + 1)).expect("written");
        assert!(!out.direct);
        let mut found = vec![0; BLOCK + 1];
        out.finish().expect("finished").read_exact_at(&mut found, 0).expect("read");
        assert!(found == content(BLOCK + 1));
    }
}
