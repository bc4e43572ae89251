//! Writer of a qcow2 image, version 3 (QEMU, docs/interop/qcow2.txt), in one pass.
//!
//! ```text
//! header │ L1 table │ data data L2 data … refcount block … │ last L2 │ refcount blocks and table
//! ```
//!
//! Everything is appended. Only tables that can still change are in memory, so that memory does not
//! grow with the disk. These are the L2 table in progress (512 MiB of the disk) and the last
//! refcount blocks (2 GiB of the file each). The header is written last: a file without a header is
//! no image.

mod append;
mod refcounts;

use std::fs::File;
use std::io;

use append::Append;
use refcounts::Refcounts;

use super::{CLUSTER, Compression, Error};

/// Entries of an L2 table: one cluster of 64-bit words.
const ENTRIES: usize = CLUSTER / 8;
/// Largest disk: QEMU accepts an L1 table of at most 32 MiB (`QCOW_MAX_L1_SIZE`).
const MOST: u64 = (32 << 20) / 8 * ENTRIES as u64 * CLUSTER as u64;
/// L1 and L2: the refcount of the cluster is exactly one.
const COPIED: u64 = 1 << 63;
/// L2: the cluster is compressed.
const COMPRESSED: u64 = 1 << 62;
/// L2: shift of the number of further sectors of a compressed cluster; 62 - (cluster_bits - 8).
const SECTORS_SHIFT: u32 = 54;
/// Unit in bytes of the length of compressed clusters.
const SECTOR: u64 = 512;
/// Incompatible feature: the header has a compression type other than zlib.
const COMPRESSION_TYPE: u64 = 1 << 3;
/// Length of the header including its compression type.
const HEADER: u32 = 112;

/// Writer of an image, see the module.
#[derive(Debug)]
pub struct Qcow2Writer {
    out: Append,
    capacity: u64,
    compression: Option<Compression>,
    l1: Vec<u64>,
    l2: Option<L2Table>,
    refcounts: Refcounts,
    /// Offset of the next compressed cluster; `packed_end` is the end of the space for it.
    packed: u64,
    packed_end: u64,
    /// End of the allocated clusters, in bytes.
    end: u64,
}

/// The L2 table in memory, and its index in the L1 table.
#[derive(Debug)]
struct L2Table {
    index: usize,
    entries: Vec<u64>,
}

impl Qcow2Writer {
    /// Begins an image of `capacity` bytes in `file`, which must be empty.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if qcow2 does not support the size.
    pub fn new(file: File, capacity: u64, compression: Option<Compression>) -> Result<Self, Error> {
        if capacity > MOST {
            return Err(Error::TooLarge(capacity));
        }
        let tables = capacity.div_ceil((CLUSTER * ENTRIES) as u64).max(1) as usize;
        let mut writer = Self {
            out: Append::new(file),
            capacity,
            compression,
            l1: vec![0; tables],
            l2: None,
            refcounts: Refcounts::default(),
            packed: 0,
            packed_end: 0,
            end: 0,
        };
        writer.allocate(1);
        writer.allocate(clusters(8 * tables as u64));
        Ok(writer)
    }

    /// Writes a cluster of the disk; `content` is the full cluster or its compressed form.
    ///
    /// # Errors
    /// [`Error::Twice`] if the cluster has already been written; [`Error::Write`].
    pub fn write(&mut self, cluster: u64, content: &[u8], compressed: bool) -> Result<(), Error> {
        let entry = cluster as usize % ENTRIES;
        self.load(cluster as usize / ENTRIES)?;
        if self.l2.as_ref().is_none_or(|table| table.entries[entry] != 0) {
            return Err(Error::Twice { offset: cluster * CLUSTER as u64 });
        }
        let value = if compressed { self.pack(content)? } else { self.place(content)? };
        if let Some(table) = &mut self.l2 {
            table.entries[entry] = value;
        }
        self.retire()?;
        Ok(())
    }

    /// Sets the size of the disk to `capacity` bytes, at most the size given to
    /// [`Qcow2Writer::new`]. The L1 table stays as long as it is: QEMU accepts a longer one than
    /// the disk needs.
    pub(super) fn end_at(&mut self, capacity: u64) {
        self.capacity = capacity;
    }

    /// Writes the remaining tables and the header, and returns the file.
    ///
    /// # Errors
    /// Error of the operating system.
    pub fn finish(mut self) -> io::Result<File> {
        self.store()?;
        let (blocks, table) = self.refcounts.to_come(self.end / CLUSTER as u64);
        let block_clusters: Vec<u64> = (0..blocks).map(|_| self.allocate(1)).collect();
        let table_at = self.allocate(table);
        for offset in block_clusters {
            let block = self.refcounts.close();
            self.out.write_at(&block, offset)?;
            self.refcounts.written(offset);
        }
        self.out.write_at(&self.refcounts.table(), table_at)?;
        self.out.write_at(&big_endian(&self.l1), CLUSTER as u64)?;
        self.out.write_at(&self.header(table_at, table), 0)?;
        let file = self.out.into_file()?;
        // The last cluster of each kind is complete, even if nothing was written at its end.
        file.set_len(self.end)?;
        Ok(file)
    }

    /// Allocates `count` clusters at the end of the file and returns their offset.
    fn allocate(&mut self, count: u64) -> u64 {
        let offset = self.end;
        self.end += count * CLUSTER as u64;
        (0..count).for_each(|i| self.refcounts.add(offset / CLUSTER as u64 + i));
        offset
    }

    fn place(&mut self, content: &[u8]) -> io::Result<u64> {
        let offset = self.allocate(1);
        self.out.write_at(content, offset)?;
        Ok(offset | COPIED)
    }

    /// Writes a compressed cluster directly after the previous one; it may extend into the next
    /// host cluster.
    fn pack(&mut self, content: &[u8]) -> io::Result<u64> {
        let length = content.len() as u64;
        if self.packed + length > self.packed_end {
            // Only at the end of the file can the space grow.
            if self.packed_end != self.end {
                self.packed = self.end;
            }
            self.end = (self.packed + length).next_multiple_of(CLUSTER as u64);
            self.packed_end = self.end;
        }
        let (first, last) = (self.packed, self.packed + length - 1);
        (first / CLUSTER as u64..=last / CLUSTER as u64).for_each(|used| self.refcounts.add(used));
        self.out.write_at(content, first)?;
        self.packed += length;
        let further = last / SECTOR - first / SECTOR;
        Ok(COMPRESSED | further << SECTORS_SHIFT | first)
    }

    /// Loads the L2 table of that index. A sequential stream loads each table once; other orders
    /// are slow, but correct.
    fn load(&mut self, index: usize) -> io::Result<()> {
        if self.l2.as_ref().is_some_and(|table| table.index == index) {
            return Ok(());
        }
        self.store()?;
        let mut entries = vec![0; ENTRIES];
        let offset = self.l1[index] & !COPIED;
        if offset != 0 {
            let mut bytes = vec![0; CLUSTER];
            self.out.read_at(&mut bytes, offset)?;
            let (words, _) = bytes.as_chunks::<8>();
            entries = words.iter().map(|word| u64::from_be_bytes(*word)).collect();
        }
        self.l2 = Some(L2Table { index, entries });
        Ok(())
    }

    fn store(&mut self) -> io::Result<()> {
        let Some(table) = self.l2.take() else { return Ok(()) };
        let offset = match self.l1[table.index] {
            0 => self.allocate(1),
            known => known & !COPIED,
        };
        self.l1[table.index] = offset | COPIED;
        self.out.write_at(&big_endian(&table.entries), offset)
    }

    /// Writes refcount blocks that cannot change any more.
    fn retire(&mut self) -> io::Result<()> {
        let settled = if self.packed_end == self.end { self.packed } else { self.end };
        while self.refcounts.is_settled(settled / CLUSTER as u64) {
            let offset = self.allocate(1);
            let block = self.refcounts.close();
            self.out.write_at(&block, offset)?;
            self.refcounts.written(offset);
        }
        Ok(())
    }

    fn header(&self, refcount_table: u64, refcount_clusters: u64) -> Vec<u8> {
        let zstd = matches!(self.compression, Some(Compression::Zstd(_)));
        let mut header = b"QFI\xfb".to_vec();
        let words = |header: &mut Vec<u8>, words: &[u32]| {
            words.iter().for_each(|word| header.extend(word.to_be_bytes()));
        };
        let longs = |header: &mut Vec<u8>, longs: &[u64]| {
            longs.iter().for_each(|long| header.extend(long.to_be_bytes()));
        };
        words(&mut header, &[3]);
        longs(&mut header, &[0]); // no backing file
        words(&mut header, &[0, CLUSTER.trailing_zeros()]);
        longs(&mut header, &[self.capacity]);
        words(&mut header, &[0, self.l1.len() as u32]); // no encryption
        longs(&mut header, &[CLUSTER as u64, refcount_table]);
        words(&mut header, &[refcount_clusters as u32, 0]); // no snapshots
        longs(&mut header, &[0, if zstd { COMPRESSION_TYPE } else { 0 }, 0, 0]);
        words(&mut header, &[4, HEADER]); // refcounts of 2^4 bits
        header.push(u8::from(zstd));
        // Padding of the header, and the end marker of its extensions.
        header.resize(HEADER as usize + 8, 0);
        header
    }
}

/// Number of clusters that `bytes` bytes occupy.
fn clusters(bytes: u64) -> u64 {
    bytes.div_ceil(CLUSTER as u64)
}

fn big_endian(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}
