//! A file of grains, none of them compressed, found through a directory of tables.
//!
//! | extent | written by | layout |
//! |---|---|---|
//! | `SPARSE` | Workstation, Fusion | "Virtual Disk Format 5.0" (VMware 2011), "Hosted Sparse Extents" |
//! | `VMFSSPARSE` | ESX | there, "ESX Server Sparse Extents" |
//! | `SESPARSE` | ESXi 5.1 and newer | not published; QEMU, block/vmdk.c, `vmdk_open_se_sparse` |

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::invalid;
use crate::image::vmdk::SECTOR;

/// Most entries of a grain table.
const MOST_ENTRIES: u64 = 1 << 16;
/// Most tables of an extent: 64 TiB in grains of 64 KiB with 512 of them to a table, or of 4 KiB with 4096.
const MOST_TABLES: u64 = 1 << 22;
/// Entries of a table of ESX.
const ESX_ENTRIES: u64 = 4096;
/// Magic number and version of a space-efficient extent.
const SE_MAGIC: u64 = 0xcafe_babe;
const SE_VERSION: u64 = 0x2_0000_0001;
/// Magic number of what changes in its header.
const SE_VOLATILE_MAGIC: u64 = 0xcafe_cafe;

/// A sparse extent.
#[derive(Debug)]
pub(super) struct Sparse {
    file: File,
    layout: Layout,
    /// Sectors of a grain.
    grain: u64,
    /// Grains of one table.
    entries: u64,
    /// The directory: where each table is, as the layout says it; 0 for none.
    tables: Vec<u64>,
    /// The table that was used last.
    table: Option<(usize, Vec<u64>)>,
}

/// How tables and grains are found. All numbers are sectors of the file.
#[derive(Debug, Clone, Copy)]
enum Layout {
    /// Entries of 32 bits, which are sectors; 1 stands for a grain of zeros.
    Sectors,
    /// Entries of 64 bits, which count from where tables and grains begin.
    SpaceEfficient { tables: u64, grains: u64 },
}

impl Sparse {
    /// Opens a hosted extent of `sectors` sectors. Header: flags at byte 8, capacity 12, grain size
    /// 20, entries of a table 44, place of the directory 56.
    pub(super) fn hosted(file: File, sectors: u64) -> io::Result<Self> {
        let header = Header::read(&file, 0)?;
        let plausible = header.0.starts_with(b"KDMV")
            && header.word(8) >> 16 == 0
            && header.long(12) >= sectors
            && (8..=1 << 11).contains(&header.long(20));
        let shape = (header.long(20), u64::from(header.word(44)));
        Self::open(file, Layout::Sectors, shape, header.long(56), sectors, plausible)
    }

    /// Opens an extent of ESX. Header: version at byte 4, capacity 12, grain size 16, place of the
    /// directory 20, entries of it 24.
    pub(super) fn esx(file: File, sectors: u64) -> io::Result<Self> {
        let header = Header::read(&file, 0)?;
        let grain = u64::from(header.word(16));
        let plausible = header.0.starts_with(b"COWD")
            && header.word(4) == 1
            && u64::from(header.word(12)) >= sectors
            && (1..=1 << 11).contains(&grain);
        let directory = u64::from(header.word(20));
        let shape = (grain, ESX_ENTRIES);
        Self::open(file, Layout::Sectors, shape, directory, sectors, plausible)
    }

    /// Opens a space-efficient extent. Header of 64-bit numbers: 0 magic, 1 version, 2 capacity, 3
    /// grain size, 4 size of a table, 10 place of the volatile header, 16 of the directory, 18 of
    /// the tables, 24 of the grains. In the volatile one: 0 magic, 3 whether a journal is to be replayed.
    pub(super) fn space_efficient(file: File, sectors: u64) -> io::Result<Self> {
        let header = Header::read(&file, 0)?;
        let number = |n: usize| header.long(8 * n);
        let changing = Header::read(&file, number(10))?;
        let plausible = number(0) == SE_MAGIC
            && number(1) == SE_VERSION
            && number(2) >= sectors
            && (8..=1 << 11).contains(&number(3))
            && (1..=MOST_ENTRIES).contains(&number(4))
            && changing.long(0) == SE_VOLATILE_MAGIC;
        if plausible && changing.long(24) != 0 {
            return Err(invalid("a sparse extent was not closed: its journal is to be replayed"));
        }
        let layout = Layout::SpaceEfficient { tables: number(18), grains: number(24) };
        let entries = number(4).saturating_mul(SECTOR / 8);
        Self::open(file, layout, (number(3), entries), number(16), sectors, plausible)
    }

    fn open(
        file: File,
        layout: Layout,
        (grain, entries): (u64, u64),
        directory: u64,
        sectors: u64,
        plausible: bool,
    ) -> io::Result<Self> {
        let tables = sectors.div_ceil(grain.saturating_mul(entries).max(1));
        let plausible =
            plausible && grain.is_power_of_two() && (1..=MOST_ENTRIES).contains(&entries);
        if !plausible || tables > MOST_TABLES {
            return Err(invalid("the header of a sparse extent makes no sense"));
        }
        let tables = layout.numbers(&file, directory, tables)?;
        Ok(Self { file, layout, grain, entries, tables, table: None })
    }

    /// The first sector from `sector` on, below `length`, that may hold something.
    pub(super) fn next_data(&mut self, sector: u64, length: u64) -> io::Result<Option<u64>> {
        let mut grain = sector / self.grain;
        while grain * self.grain < length {
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

    /// Reads what is there from `sector` on; the rest of `buffer` stays as it is.
    pub(super) fn read(&mut self, sector: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (mut sector, mut rest) = (sector, buffer);
        while !rest.is_empty() {
            let within = sector % self.grain;
            let length = ((self.grain - within) * SECTOR).min(rest.len() as u64) as usize;
            let (now, later) = rest.split_at_mut(length);
            if let Some(place) = self.place(sector / self.grain)? {
                self.file.read_exact_at(now, bytes(place.saturating_add(within))?)?;
            }
            sector += length as u64 / SECTOR;
            rest = later;
        }
        Ok(())
    }

    /// Where a grain is in the file, if it is there.
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

impl Layout {
    /// Where a table is, by its entry in the directory.
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

    /// Where a grain is, by its entry in a table; none for one that is all zeros.
    fn grain(self, entry: u64, grain: u64) -> io::Result<Option<u64>> {
        match self {
            Self::Sectors => Ok((entry > 1).then_some(entry)),
            // The highest four bits: 0 never written, 1 unmapped, 2 zeros, 3 there.
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

    /// So many little-endian numbers from a sector on.
    fn numbers(self, file: &File, sector: u64, count: u64) -> io::Result<Vec<u64>> {
        let width = match self {
            Self::Sectors => 4,
            Self::SpaceEfficient { .. } => 8,
        };
        let mut raw = vec![0; count as usize * width];
        file.read_exact_at(&mut raw, bytes(sector)?)?;
        Ok(raw.chunks_exact(width).map(little).collect())
    }
}

/// A sector of bytes with numbers in it.
struct Header([u8; SECTOR as usize]);

impl Header {
    fn read(file: &File, sector: u64) -> io::Result<Self> {
        let mut header = [0; SECTOR as usize];
        file.read_exact_at(&mut header, bytes(sector)?)?;
        Ok(Self(header))
    }

    fn word(&self, at: usize) -> u32 {
        little(&self.0[at..at + 4]) as u32
    }

    fn long(&self, at: usize) -> u64 {
        little(&self.0[at..at + 8])
    }
}

fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Where a sector of the file begins.
fn bytes(sector: u64) -> io::Result<u64> {
    sector.checked_mul(SECTOR).ok_or_else(|| invalid("a table or grain lies nowhere"))
}
