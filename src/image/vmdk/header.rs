//! The header of a sparse VMDK, which the footer repeats; little endian throughout.

use super::LONGEST_DESCRIPTOR;
use crate::image::CLUSTER;

/// `KDMV`, little endian.
const MAGIC: u32 = 0x564d_444b;
/// Flags: grains are compressed; markers precede grains and metadata.
const STREAM_FLAGS: u32 = 1 << 16 | 1 << 17;
/// Most entries of a grain table; all known writers use 512.
const MOST_TABLE_ENTRIES: u32 = 1 << 16;
/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Largest grain in bytes; a larger one would make memory depend on the stream.
const LARGEST_GRAIN: u64 = 1 << 20;
/// Most bytes before the grains besides their tables: descriptor and padding.
const MOST_FRONT: u64 = 1 << 20;
/// `gdOffset` of a header whose directory comes at the end.
pub(super) const DIRECTORY_AT_END: u64 = u64::MAX;

/// Header fields that are needed here; lengths are in sectors.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    /// Size of the disk, in sectors.
    pub capacity: u64,
    /// Size of a grain, in sectors: 128 with all known writers.
    pub grain: u64,
    /// Grains that one table describes.
    pub(super) table_entries: u32,
    /// Sector of the directory of tables.
    pub(super) directory: u64,
    /// Sector of the first marker.
    pub(super) overhead: u64,
}

impl Header {
    /// Parses a sector that contains the header or its copy, the footer.
    ///
    /// # Errors
    /// What is wrong with the header, as a clause.
    pub fn read(sector: &[u8]) -> Result<Self, &'static str> {
        if u32_at(sector, 0) != MAGIC {
            return Err("its magic number is missing");
        }
        if u32_at(sector, 8) & STREAM_FLAGS != STREAM_FLAGS {
            return Err("its flags are those of another subformat");
        }
        // These four bytes change when a text-mode transfer mangles line ends.
        if sector[73..77] != *b"\n \r\n" {
            return Err("its line ends are mangled");
        }
        if u16::from_le_bytes([sector[77], sector[78]]) != 1 {
            return Err("its compression is not deflate");
        }
        let header = Self {
            capacity: u64_at(sector, 12),
            grain: u64_at(sector, 20),
            table_entries: u32_at(sector, 44),
            directory: u64_at(sector, 56),
            overhead: u64_at(sector, 64),
        };
        let plausible = (1..=u64::MAX / SECTOR / 2).contains(&header.capacity)
            && (8..=1 << 16).contains(&header.grain)
            && (1..=MOST_TABLE_ENTRIES).contains(&header.table_entries)
            && (1..=u64::from(u32::MAX)).contains(&header.overhead);
        if plausible { Ok(header) } else { Err("its lengths make no sense") }
    }

    /// End of the tables before the grains, in bytes; 0 if the tables are at the end.
    pub fn tables_end(&self) -> u64 {
        if self.directory == DIRECTORY_AT_END { 0 } else { self.overhead.saturating_mul(SECTOR) }
    }

    /// Number of bytes from the file's beginning that are read again after all grains: the
    /// descriptor, and the tables if they precede the grains.
    pub fn front_end(&self) -> u64 {
        let most = SECTOR + LONGEST_DESCRIPTOR as u64;
        self.tables_end().max(self.overhead.saturating_mul(SECTOR).min(most))
    }

    /// Whether the tables before the grains are no longer than a disk of that size needs. Each
    /// table exists at most twice.
    pub fn has_usual_front(&self) -> bool {
        let table = (u64::from(self.table_entries) * 4).next_multiple_of(SECTOR);
        let tables = self.tables().saturating_mul(table + 4).saturating_mul(2);
        self.tables_end() <= tables.saturating_add(MOST_FRONT)
    }

    /// Whether a [`Rewriter`](crate::image::Rewriter) supports the grain size: 64 KiB or a small
    /// multiple.
    pub fn has_usual_grains(&self) -> bool {
        let grain = self.grain.saturating_mul(SECTOR);
        grain.is_multiple_of(CLUSTER as u64) && grain <= LARGEST_GRAIN
    }

    /// Number of grain tables, which equals the number of directory entries.
    pub(super) fn tables(&self) -> u64 {
        self.capacity.div_ceil(self.grain * u64::from(self.table_entries))
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
