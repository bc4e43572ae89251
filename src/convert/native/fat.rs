//! FAT32 with few clusters. By Microsoft's specification the number of clusters decides the type,
//! and fatfs follows that rule. `mkfs.fat -F 32` makes a FAT32 of any size, and firmware reads the
//! fields of FAT32 in the boot sector (EDK II, `FatPkg/EnhancedFatDxe/Init.c`).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::budget::Budget;

/// Smallest number of clusters of a FAT32 (Microsoft's FAT specification, "FAT Type
/// Determination").
const LEAST: u64 = 65525;
/// Offset of the number of sectors in the boot sector of FAT32.
const SECTORS: usize = 32;
/// Most bytes that are read to find one file: some sectors of the table and some of folders.
const MOST_READ: u64 = 4 << 20;

/// Patches the boot sector of a FAT32 with few clusters so that it declares enough of them. The
/// file allocation table, which locates files, stays unchanged.
///
/// # Errors
/// Those of reading and writing the file.
pub(super) fn admit(path: &Path) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut sector = [0; 512];
    file.read_exact_at(&mut sector, 0)?;
    let word = |at: usize| u64::from(u16::from_le_bytes([sector[at], sector[at + 1]]));
    let number = |at: usize| word(at) + (word(at + 2) << 16);
    let is_fat32 = word(17) == 0 && word(19) == 0 && word(22) == 0 && number(36) != 0;
    let (per_cluster, tables) = (u64::from(sector[13]), u64::from(sector[16]));
    let begin = word(14) + tables * number(36);
    let least = begin + LEAST * per_cluster;
    if !is_fat32 || per_cluster == 0 || number(SECTORS) >= least {
        return Ok(());
    }
    match u32::try_from(least) {
        Ok(least) => file.write_all_at(&least.to_le_bytes(), SECTORS as u64),
        Err(_) => Ok(()),
    }
}

/// A file system that is read up to a limit: a folder whose last cluster points to its first never
/// ends.
pub(super) struct Bounded {
    file: File,
    left: Budget,
}

impl Bounded {
    pub(super) const fn new(file: File) -> Self {
        Self { file, left: Budget::new(MOST_READ, "bytes to read") }
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.left.draw(read as u64)?;
        Ok(read)
    }
}

impl Write for Bounded {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Bounded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
