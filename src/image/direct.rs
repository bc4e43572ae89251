//! Writes a file without the page cache. A download of many GiB would evict the cached data of the
//! host's VMs. Direct I/O also saves a copy of every byte, and leaves little for the final `fsync`.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::ops::{Deref, DerefMut};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::begin_to_write;

/// Bytes written at once: enough to keep a slow storage busy.
const BLOCK: usize = 2 << 20;
/// Aligned data of at least this many bytes is written directly, without buffering.
const LARGE: usize = 1 << 20;
/// Alignment of addresses, offsets and lengths: the largest logical block size, as open(2) requires
/// for `O_DIRECT`.
const ALIGNMENT: usize = 4096;

/// A file that is written sequentially until [`DirectFile::finish`].
#[derive(Debug)]
pub struct DirectFile {
    file: File,
    /// Offset up to which the file has been written.
    position: u64,
    /// Buffer that collects a block.
    buffer: AlignedBuffer,
    /// Bytes in `buffer` that are not written yet.
    filled: usize,
    /// Whether `O_DIRECT` is on.
    direct: bool,
}

impl DirectFile {
    /// Writes into `file`, which must be empty. If the file system does not support direct I/O, the
    /// data is written through the cache, with early writeback.
    pub fn new(file: File) -> Self {
        let direct = pass_by_cache(&file, true);
        Self { file, position: 0, buffer: AlignedBuffer::new(BLOCK), filled: 0, direct }
    }

    /// Writes the rest, and returns the file without `O_DIRECT`.
    ///
    /// # Errors
    /// Error of the operating system.
    pub fn finish(mut self) -> io::Result<File> {
        // The rest may have any length.
        self.use_cache();
        self.put_gathered()?;
        self.file.try_clone()
    }

    fn put_gathered(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let put = self.put(&buffer[..self.filled]);
        self.buffer = buffer;
        self.filled = 0;
        put
    }

    fn put(&mut self, block: &[u8]) -> io::Result<()> {
        match self.file.write_all_at(block, self.position) {
            // Some file systems refuse `O_DIRECT` only here; and after a partial write the rest is
            // no longer aligned.
            Err(error) if self.direct && error.kind() == ErrorKind::InvalidInput => {
                self.use_cache();
                return self.put(block);
            }
            written => written?,
        }
        if !self.direct {
            begin_to_write(&self.file, self.position, block.len());
        }
        self.position += block.len() as u64;
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
        let whole = bytes.len() - bytes.len() % ALIGNMENT;
        if self.filled == 0 && whole >= LARGE && is_aligned(bytes) {
            self.put(&bytes[..whole])?;
            return Ok(whole);
        }
        let taken = bytes.len().min(BLOCK - self.filled);
        self.buffer[self.filled..][..taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        if self.filled == BLOCK {
            self.put_gathered()?;
        }
        Ok(taken)
    }

    /// Does nothing: a block cannot be written in parts.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for DirectFile {
    /// All handles to the file share the flag `O_DIRECT`.
    fn drop(&mut self) {
        self.use_cache();
    }
}

/// Bytes at an address that is aligned for `O_DIRECT`.
#[derive(Debug, Default)]
pub struct AlignedBuffer {
    memory: Vec<u8>,
    /// Offset of the aligned bytes in `memory`.
    begin: usize,
}

impl AlignedBuffer {
    /// A buffer of `length` zeros.
    pub fn new(length: usize) -> Self {
        let mut memory = vec![0; length + ALIGNMENT];
        let begin = memory.as_ptr().align_offset(ALIGNMENT);
        memory.truncate(begin + length);
        Self { memory, begin }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.begin..]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.begin..]
    }
}

fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().align_offset(ALIGNMENT) == 0
}

/// Turns `O_DIRECT` on or off; returns whether that succeeded.
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
    fn what_is_aligned_is_written_as_it_comes() {
        let bytes = content(2 * LARGE + 5000);
        let mut buffer = AlignedBuffer::new(bytes.len());
        buffer.copy_from_slice(&bytes);
        assert!(is_aligned(&buffer));
        let mut out = DirectFile::new(tempfile::tempfile_in("/var/tmp").expect("a file"));
        assert_eq!(out.write(&buffer).expect("written"), 2 * LARGE + ALIGNMENT);
        out.write_all(&buffer[2 * LARGE + ALIGNMENT..]).expect("written");
        out.write_all(&buffer).expect("written");
        let mut found = vec![0; 2 * bytes.len()];
        out.finish().expect("finished").read_exact_at(&mut found, 0).expect("read");
        assert!(found == bytes.repeat(2));
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
        // Like a file system that requires more than page alignment.
        out.buffer.begin += 1;
        out.buffer.memory.push(0);
        out.write_all(&content(BLOCK + 1)).expect("written");
        assert!(!out.direct);
        let mut found = vec![0; BLOCK + 1];
        out.finish().expect("finished").read_exact_at(&mut found, 0).expect("read");
        assert!(found == content(BLOCK + 1));
    }
}
