//! Reader of an extent of uncompressed grains, located by a directory of tables.
//!
//! | extent | written by | layout |
//! |---|---|---|
//! | `SPARSE` | Workstation, Fusion | "Virtual Disk Format 5.0" (VMware), "Hosted Sparse Extents" |
//! | `VMFSSPARSE` | ESX | there, "ESX Server Sparse Extents" |
//! | `SESPARSE` | ESXi 5.1 and newer | not published; QEMU, block/vmdk.c, `vmdk_open_se_sparse` |

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::invalid;
use crate::budget::{Going, TableBudget};
use crate::image::number::{LAST_PLACE, little};
use crate::image::vmdk::SECTOR;

/// Largest grain, in sectors.
const LARGEST_GRAIN: u64 = 1 << 11;
/// Most entries of a grain table.
const MOST_ENTRIES: u64 = 1 << 16;
/// Most tables of an extent: 64 TiB in grains of 64 KiB with 512 per table, or of 4 KiB with 4096.
const MOST_TABLES: u64 = 1 << 22;
/// Entries of a table of an ESX extent.
const ESX_ENTRIES: u64 = 4096;
/// Magic number and version of a space-efficient extent.
const SE_MAGIC: u64 = 0xcafe_babe;
const SE_VERSION: u64 = 0x2_0000_0001;
/// Magic number of the volatile header of a space-efficient extent.
const SE_VOLATILE_MAGIC: u64 = 0xcafe_cafe;

/// A sparse extent.
#[derive(Debug)]
pub(in crate::image) struct Sparse {
    file: File,
    layout: SparseLayout,
    /// Sectors of a grain.
    grain: u64,
    /// Grains of one table.
    entries: u64,
    /// Directory: position of each table in the layout's encoding; 0 for a missing table.
    tables: Arc<[u64]>,
    /// Index and entries of the table that was used last.
    table: Option<(usize, Vec<u64>)>,
    /// Sectors of grains that may still be read: entries that name one grain twice would turn a
    /// small file into a huge disk.
    grains: TableBudget,
}

/// Fields of an extent's header.
struct Shape {
    layout: SparseLayout,
    /// Sectors of the disk that the extent can contain.
    capacity: u64,
    /// Sectors of a grain.
    grain: u64,
    /// Grains of one table.
    entries: u64,
    /// Sector of the directory.
    directory: u64,
}

/// Encoding of the locations of tables and grains. All numbers are sectors of the file.
#[derive(Debug, Clone, Copy)]
enum SparseLayout {
    /// Entries of 32 bits, which are sectors; 1 stands for a grain of zeros.
    Sectors,
    /// Entries of 64 bits, relative to the begin of the tables and of the grains.
    SpaceEfficient { tables: u64, grains: u64 },
}

impl Sparse {
    /// Opens a hosted extent of `sectors` sectors. Header: flags at byte 8, capacity 12, grain size
    /// 20, entries of a table 44, position of the directory 56.
    pub(in crate::image) fn hosted(file: File, sectors: u64) -> io::Result<Self> {
        let header = SparseHeader::read(&file, 0)?;
        // A flag in the upper half means compressed grains.
        let known = header.0.starts_with(b"KDMV") && header.word(8) >> 16 == 0;
        let shape = Shape {
            layout: SparseLayout::Sectors,
            capacity: header.long(12),
            grain: header.long(20),
            entries: header.word(44),
            directory: header.long(56),
        };
        Self::open(file, known.then_some(shape), sectors)
    }

    /// Opens an ESX extent. Header: version at byte 4, capacity 12, grain size 16, position of the
    /// directory 20.
    pub(super) fn esx(file: File, sectors: u64) -> io::Result<Self> {
        let header = SparseHeader::read(&file, 0)?;
        let known = header.0.starts_with(b"COWD") && header.word(4) == 1;
        let shape = Shape {
            layout: SparseLayout::Sectors,
            capacity: header.word(12),
            grain: header.word(16),
            entries: ESX_ENTRIES,
            directory: header.word(20),
        };
        Self::open(file, known.then_some(shape), sectors)
    }

    /// Opens a space-efficient extent. Header of 64-bit numbers: 0 magic, 1 version, 2 capacity, 3
    /// grain size, 4 sectors of a table. Positions: 10 volatile header, 16 directory, 18 tables, 24
    /// grains. In the volatile header: 0 magic, 3 whether a journal must be replayed.
    pub(super) fn space_efficient(file: File, sectors: u64) -> io::Result<Self> {
        let header = SparseHeader::read(&file, 0)?;
        let number = |n: usize| header.long(8 * n);
        let changing = SparseHeader::read(&file, number(10))?;
        let known = number(0) == SE_MAGIC
            && number(1) == SE_VERSION
            && changing.long(0) == SE_VOLATILE_MAGIC;
        if known && changing.long(24) != 0 {
            return Err(invalid("a sparse extent was not closed: its journal is to be replayed"));
        }
        let shape = Shape {
            layout: SparseLayout::SpaceEfficient { tables: number(18), grains: number(24) },
            capacity: number(2),
            grain: number(3),
            entries: number(4).saturating_mul(SECTOR / 8),
            directory: number(16),
        };
        Self::open(file, known.then_some(shape), sectors)
    }

    fn open(file: File, shape: Option<Shape>, sectors: u64) -> io::Result<Self> {
        let shape = shape.filter(|shape| shape.is_plausible(sectors));
        let shape = shape.ok_or_else(|| invalid("the header of a sparse extent makes no sense"))?;
        let Shape { layout, grain, entries, directory, .. } = shape;
        let tables = layout.numbers(&file, directory, shape.tables(sectors))?;
        let length = file.metadata()?.len();
        let used = tables.iter().filter(|entry| **entry != 0).count() as u64;
        let bytes = used.saturating_mul(entries).saturating_mul(layout.width() as u64);
        TableBudget::of_tables(length).draw(bytes)?;
        let grains = TableBudget::of_data(length);
        Ok(Self { file, layout, grain, entries, tables: tables.into(), table: None, grains })
    }

    /// The same extent for another thread.
    pub(super) fn again(&self) -> io::Result<Self> {
        let (tables, grains) = (self.tables.clone(), self.grains.clone());
        let Self { layout, grain, entries, .. } = *self;
        let file = self.file.try_clone()?;
        Ok(Self { file, layout, grain, entries, tables, table: None, grains })
    }

    /// First sector in `sector..length` that may contain data.
    pub(super) fn next_data(
        &mut self,
        sector: u64,
        length: u64,
        going: &Going,
    ) -> io::Result<Option<u64>> {
        let mut grain = sector / self.grain;
        while grain * self.grain < length {
            going.check_at(grain)?;
            if self.tables[(grain / self.entries) as usize] == 0 {
                grain = (grain / self.entries + 1) * self.entries;
            } else if self.place(grain)?.is_none() {
                grain += 1;
            } else {
                return Ok(Some((grain * self.grain).max(sector)));
            }
        }
        Ok(None)
    }

    /// End of the last grain in the file, in bytes, for a disk of `sectors` sectors.
    pub(in crate::image) fn reach(&mut self, sectors: u64, going: &Going) -> io::Result<u64> {
        let (mut held, mut end) = (0_u64, 0);
        for index in 0..self.tables.len() as u64 {
            if self.tables[index as usize] == 0 {
                continue;
            }
            going.check()?;
            for grain in index * self.entries..(index + 1) * self.entries {
                let left = sectors.saturating_sub(grain * self.grain).min(self.grain);
                if left > 0
                    && let Some(place) = self.place(grain)?
                {
                    held = held.saturating_add(left);
                    end = end.max(place.saturating_add(left));
                }
            }
        }
        let (end, length) = (bytes(end)?, self.file.metadata()?.len());
        // If the file is truncated, the caller reports where.
        if end <= length {
            TableBudget::of_data(length).draw(held.saturating_mul(SECTOR))?;
        }
        Ok(end)
    }

    /// Reads existing grains from `sector` on; the rest of `buffer` is unchanged.
    pub(super) fn read(&mut self, sector: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (mut sector, mut rest) = (sector, buffer);
        while !rest.is_empty() {
            let within = sector % self.grain;
            let length = ((self.grain - within) * SECTOR).min(rest.len() as u64) as usize;
            let (now, later) = rest.split_at_mut(length);
            if let Some(place) = self.place(sector / self.grain)? {
                self.grains.draw(length as u64)?;
                self.file.read_exact_at(now, bytes(place.saturating_add(within))?)?;
            }
            sector += length as u64 / SECTOR;
            rest = later;
        }
        Ok(())
    }

    /// Sector of a grain in the file, if it exists.
    fn place(&mut self, grain: u64) -> io::Result<Option<u64>> {
        let index = (grain / self.entries) as usize;
        let Some(place) = self.layout.table(self.tables[index], self.entries)? else {
            return Ok(None);
        };
        if self.table.as_ref().is_none_or(|(known, _)| *known != index) {
            let table = self.layout.numbers(&self.file, place, self.entries)?;
            self.table = Some((index, table));
        }
        let entry =
            self.table.as_ref().map_or(0, |(_, table)| table[(grain % self.entries) as usize]);
        self.layout.grain(entry, self.grain)
    }
}

impl Shape {
    fn is_plausible(&self, sectors: u64) -> bool {
        self.capacity >= sectors
            && self.grain.is_power_of_two()
            && self.grain <= LARGEST_GRAIN
            && (1..=MOST_ENTRIES).contains(&self.entries)
            && self.tables(sectors) <= MOST_TABLES
    }

    /// Number of tables for `sectors` sectors.
    fn tables(&self, sectors: u64) -> u64 {
        sectors.div_ceil(self.grain * self.entries)
    }
}

impl SparseLayout {
    /// Sector of a table, by its entry in the directory.
    fn table(self, entry: u64, entries: u64) -> io::Result<Option<u64>> {
        match self {
            _ if entry == 0 => Ok(None),
            Self::Sectors => Ok(Some(entry)),
            Self::SpaceEfficient { tables, .. } if entry >> 32 == 0x1000_0000 => {
                let before = (entry & 0xffff_ffff) * (entries * 8 / SECTOR);
                Ok(Some(tables.saturating_add(before)))
            }
            Self::SpaceEfficient { .. } => Err(invalid("a directory entry makes no sense")),
        }
    }

    /// Sector of a grain, by its entry in a table; `None` for a grain of zeros.
    fn grain(self, entry: u64, grain: u64) -> io::Result<Option<u64>> {
        match self {
            Self::Sectors => Ok((entry > 1).then_some(entry)),
            // The highest four bits: 0 never written, 1 unmapped, 2 zeros, 3 allocated.
            Self::SpaceEfficient { grains, .. } => match entry >> 60 {
                0..=2 => Ok(None),
                3 => {
                    let low = (entry >> 48) & 0xfff;
                    let index = ((entry & 0xffff_ffff_ffff) << 12) | low;
                    Ok(Some(grains.saturating_add(index.saturating_mul(grain))))
                }
                _ => Err(invalid("a grain table entry makes no sense")),
            },
        }
    }

    /// Bytes of an entry.
    fn width(self) -> usize {
        match self {
            Self::Sectors => 4,
            Self::SpaceEfficient { .. } => 8,
        }
    }

    /// Reads `count` little-endian numbers, beginning at a sector.
    fn numbers(self, file: &File, sector: u64, count: u64) -> io::Result<Vec<u64>> {
        let width = self.width();
        let mut raw = vec![0; count as usize * width];
        file.read_exact_at(&mut raw, bytes(sector)?)?;
        Ok(raw.chunks_exact(width).map(little).collect())
    }
}

/// One sector of a header, with access to its numbers.
struct SparseHeader([u8; SECTOR as usize]);

impl SparseHeader {
    fn read(file: &File, sector: u64) -> io::Result<Self> {
        let mut header = [0; SECTOR as usize];
        file.read_exact_at(&mut header, bytes(sector)?)?;
        Ok(Self(header))
    }

    fn word(&self, at: usize) -> u64 {
        little(&self.0[at..at + 4])
    }

    fn long(&self, at: usize) -> u64 {
        little(&self.0[at..at + 8])
    }
}

/// Byte offset of a sector of the file.
fn bytes(sector: u64) -> io::Result<u64> {
    let place = sector.checked_mul(SECTOR).filter(|place| *place <= LAST_PLACE);
    place.ok_or_else(|| invalid("a table or grain lies nowhere"))
}
