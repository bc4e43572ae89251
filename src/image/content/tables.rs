//! VHD, VHDX and VDI, whose single table locates each block of the disk. `truncation.rs` and
//! `vhdx.rs` name the specifications.

use std::fs::File;
use std::io;

use super::unit::{DiskUnit, UnitLocation, Units, invalid};
use crate::image::number::{at, big, entries, little};
use crate::image::vhdx::Vhdx;

/// Entries of the table in memory.
const WINDOW: u64 = 1 << 13;
/// Largest block in bytes: that of a VHDX.
const LARGEST: u64 = 1 << 28;

/// Reader of an image with one table of blocks.
pub(super) struct BlockTable {
    kind: TableKind,
    /// Offset of the table in bytes; `count` is the number of its entries.
    place: u64,
    count: u64,
    /// Bytes of a block of the disk.
    block: u64,
    /// Index of the first entry in memory, and the entries.
    window: Option<(u64, Vec<u64>)>,
}

#[derive(Clone, Copy)]
enum TableKind {
    /// Entries are sectors; a bitmap of `bitmap` bytes precedes each block.
    Vhd { bitmap: u64 },
    /// Entries are states and MiB; the entry of a bitmap follows each `chunk` blocks.
    Vhdx { chunk: u64 },
    /// Entries are numbers of blocks, which begin at byte `blocks`, each after `before` further
    /// bytes.
    Vdi { blocks: u64, before: u64 },
}

impl BlockTable {
    /// A dynamic VHD; `None` for a fixed one. The footer locates the header in bytes 16 to 23.
    /// Header: offset of the table 16 to 23, entries 28 to 31, size of a block 32 to 35.
    pub(super) fn vhd(file: &File) -> io::Result<Option<Self>> {
        let end = file.metadata()?.len().checked_sub(512);
        let footer: [u8; 64] = at(file, end.ok_or_else(|| invalid("it is not a VHD"))?)?;
        if big(&footer[60..64]) == 2 {
            return Ok(None);
        }
        let header: [u8; 36] = at(file, big(&footer[16..24]))?;
        let block = big(&header[32..36]);
        let bitmap = (block / 512).div_ceil(8).next_multiple_of(512);
        let (place, count) = (big(&header[16..24]), big(&header[28..32]));
        Self::new(TableKind::Vhd { bitmap }, place, count, block).map(Some)
    }

    /// A VHDX; `None` if its log must be replayed, or it needs its parent.
    pub(super) fn vhdx(file: &File) -> io::Result<Option<Self>> {
        let vhdx = Vhdx::read(file)?.filter(|vhdx| !vhdx.has_log && !vhdx.has_parent);
        let Some(vhdx) = vhdx else { return Ok(None) };
        let (place, bytes) = vhdx.table;
        let kind = TableKind::Vhdx { chunk: vhdx.chunk().max(1) };
        Self::new(kind, place, bytes / 8, vhdx.block).map(Some)
    }

    /// A VDI; `None` for the difference to another image: bytes 76 to 79 contain the kind.
    pub(super) fn vdi(file: &File) -> io::Result<Option<Self>> {
        let header: [u8; 0x184] = at(file, 0)?;
        let word = |place: usize| little(&header[place..place + 4]);
        if word(0x4c) > 2 {
            return Ok(None);
        }
        let kind = TableKind::Vdi { blocks: word(0x158), before: word(0x17c) };
        Self::new(kind, word(0x154), word(0x180), word(0x178)).map(Some)
    }

    fn new(kind: TableKind, place: u64, count: u64, block: u64) -> io::Result<Self> {
        if !block.is_multiple_of(512) || !(512..=LARGEST).contains(&block) {
            return Err(invalid("its blocks have no size that makes sense"));
        }
        Ok(Self { kind, place, count, block, window: None })
    }

    fn entry(&mut self, file: &File, index: u64) -> io::Result<u64> {
        if index >= self.count {
            return Err(invalid("its table is shorter than the disk"));
        }
        let first = index / WINDOW * WINDOW;
        if self.window.as_ref().is_none_or(|(known, _)| *known != first) {
            let mut window = Vec::with_capacity(WINDOW as usize);
            let (width, number): (u64, fn(&[u8]) -> u64) = match self.kind {
                TableKind::Vhd { .. } => (4, big),
                TableKind::Vhdx { .. } => (8, little),
                TableKind::Vdi { .. } => (4, little),
            };
            let place = self.place.saturating_add(first * width);
            entries(file, place, WINDOW.min(self.count - first), width, |_, entry| {
                window.push(number(entry));
                Ok(())
            })?;
            self.window = Some((first, window));
        }
        let window = self.window.as_ref().map_or(&[][..], |(_, window)| window);
        Ok(window[(index - first) as usize])
    }

    fn place(&self, entry: u64) -> io::Result<UnitLocation> {
        let place = match self.kind {
            TableKind::Vhd { .. } if entry == 0xffff_ffff => None,
            TableKind::Vhd { bitmap } => (entry * 512).checked_add(bitmap),
            TableKind::Vhdx { .. } => match entry & 0b111 {
                6 => Some(entry >> 20 << 20),
                7 => return Err(invalid("a block of it is only partly there")),
                _ => None,
            },
            TableKind::Vdi { .. } if entry >= 0xffff_fffe => None,
            TableKind::Vdi { blocks, before } => {
                let place = entry.saturating_mul(self.block + before);
                Some(place.saturating_add(blocks + before))
            }
        };
        Ok(place.map_or(UnitLocation::Zeros, UnitLocation::Plain))
    }
}

impl Units for BlockTable {
    fn again(&self) -> io::Result<Box<dyn Units>> {
        let Self { kind, place, count, block, .. } = *self;
        Ok(Box::new(Self { kind, place, count, block, window: None }))
    }

    fn find(&mut self, file: &File, at: u64) -> io::Result<DiskUnit> {
        let index = at / self.block;
        let (begin, end) = (index * self.block, (index + 1) * self.block);
        let entry = match self.kind {
            TableKind::Vhdx { chunk } => self.entry(file, index + index / chunk)?,
            _ => self.entry(file, index)?,
        };
        Ok(DiskUnit { begin, end, place: self.place(entry)? })
    }

    fn unpack(&mut self, _: &[u8], _: &mut [u8]) -> io::Result<()> {
        Err(invalid("nothing in it is compressed"))
    }
}
