//! The header of a sparse VMDK, which the footer repeats; little endian throughout.

use super::LONGEST_DESCRIPTOR;
use crate::image::CLUSTER;

/// `KDMV`, little endian.
const MAGIC: u32 = 0x564d_444b;
/// Flags: grains are compressed; markers stand before grains and metadata.
const STREAM_FLAGS: u32 = 1 << 16 | 1 << 17;
/// Most entries of a grain table; all known writers use 512.
const MOST_TABLE_ENTRIES: u32 = 1 << 16;
/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Larger grains would make memory depend on the stream.
const LARGEST_GRAIN: u64 = 1 << 20;
/// What may stand in front of the grains beside their tables, in bytes: descriptor and padding.
const MOST_FRONT: u64 = 1 << 20;
/// `gdOffset` of a header whose directory comes at the end.
pub(super) const DIRECTORY_AT_END: u64 = u64::MAX;

/// The header fields that matter here, in sectors where they are lengths.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    /// Size of the disk.
    pub capacity: u64,
    /// Size of a grain: 128 with all known writers.
    pub grain: u64,
    /// Grains that one table describes.
    pub(super) table_entries: u32,
    /// Where the directory of tables stands.
    pub(super) directory: u64,
    /// Where the first marker stands.
    pub(super) overhead: u64,
}

impl Header {
    /// Reads a sector.
    ///
    /// # Errors
    /// What is wrong with it, in words.
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

    /// Where the tables in front of the grains end, in bytes; 0 when they stand at the end.
    pub fn tables_end(&self) -> u64 {
        if self.directory == DIRECTORY_AT_END { 0 } else { self.overhead.saturating_mul(SECTOR) }
    }

    /// Where the part in front of the grains ends that is read again once all of them have passed,
    /// in bytes: the descriptor, and the tables if they stand there.
    pub fn front_end(&self) -> u64 {
        let most = SECTOR + LONGEST_DESCRIPTOR as u64;
        self.tables_end().max(self.overhead.saturating_mul(SECTOR).min(most))
    }

    /// Whether the tables in front of the grains are no longer than a disk of that size needs: each
    /// stands there twice at most.
    pub fn has_usual_front(&self) -> bool {
        let table = (u64::from(self.table_entries) * 4).next_multiple_of(SECTOR);
        let tables = self.tables().saturating_mul(table + 4).saturating_mul(2);
        self.tables_end() <= tables.saturating_add(MOST_FRONT)
    }

    /// Whether a [`Rewriter`](crate::image::Rewriter) takes such grains: 64 KiB, or a small
    /// multiple of it.
    pub fn has_usual_grains(&self) -> bool {
        let grain = self.grain.saturating_mul(SECTOR);
        grain.is_multiple_of(CLUSTER as u64) && grain <= LARGEST_GRAIN
    }

    /// Number of grain tables, which is that of the directory's entries.
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
