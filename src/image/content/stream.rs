//! Reads a streamOptimized VMDK at any position, by its tables.

use std::fs::File;
use std::io;

use super::unit::{DiskUnit, UnitLocation, Units, invalid};
use crate::budget::TableBudget;
use crate::image::codec::Inflater;
use crate::image::number::{at, entries, little};
use crate::image::vmdk::{GrainTables, SECTOR};

/// Bytes of a grain's marker before its data: position on the disk, and length.
const MARKER: u64 = 12;

/// Reader of a stream's grains.
pub(super) struct StreamGrains {
    tables: GrainTables,
    /// Index and entries of the table that was used last.
    table: Option<(u64, Vec<u64>)>,
    /// Length of the file, in bytes.
    length: u64,
    budget: TableBudget,
    inflater: Inflater,
}

impl StreamGrains {
    pub(super) fn open(file: &File) -> io::Result<Self> {
        Ok(Self::of(GrainTables::read(file)?, file.metadata()?.len()))
    }

    fn of(tables: GrainTables, length: u64) -> Self {
        let budget = TableBudget::of_tables(length);
        Self { tables, table: None, length, budget, inflater: Inflater::new() }
    }
}

impl Units for StreamGrains {
    fn again(&self) -> io::Result<Box<dyn Units>> {
        Ok(Box::new(Self::of(self.tables, self.length)))
    }

    fn find(&mut self, file: &File, at_byte: u64) -> io::Result<DiskUnit> {
        let bytes = self.tables.grain * SECTOR;
        let grain = at_byte / bytes;
        let (begin, end) = (grain * bytes, (grain + 1) * bytes);
        let (index, within) = (grain / self.tables.entries, grain % self.tables.entries);
        if self.table.as_ref().is_none_or(|(known, _)| *known != index) {
            let directory = self.tables.directory.saturating_mul(SECTOR);
            let sector = little(&at::<4>(file, directory.saturating_add(index * 4))?);
            let mut table = Vec::new();
            if sector != 0 {
                self.budget.draw(self.tables.entries * 4)?;
                entries(file, sector * SECTOR, self.tables.entries, 4, |_, entry| {
                    table.push(little(entry));
                    Ok(())
                })?;
            }
            self.table = Some((index, table));
        }
        let table = self.table.as_ref().map_or(&[][..], |(_, table)| table);
        if table.is_empty() {
            let end = (index + 1) * self.tables.entries * bytes;
            return Ok(DiskUnit { begin, end, place: UnitLocation::Zeros });
        }
        // 0 and 1 stand for missing grains.
        let sector = table.get(within as usize).copied().unwrap_or(0);
        if sector < 2 {
            return Ok(DiskUnit { begin, end, place: UnitLocation::Zeros });
        }
        let marker: [u8; MARKER as usize] = at(file, sector * SECTOR)?;
        let length = little(&marker[8..]);
        if little(&marker[..8]) != begin / SECTOR || length == 0 || length > bytes * 2 {
            return Err(invalid("a table names something that is no grain"));
        }
        Ok(DiskUnit {
            begin,
            end,
            place: UnitLocation::Packed(sector * SECTOR + MARKER, length as usize),
        })
    }

    fn unpack(&mut self, packed: &[u8], unit: &mut [u8]) -> io::Result<()> {
        // The last grain of a disk may be short.
        let length = self.inflater.inflate(packed, unit);
        let length = length.ok_or_else(|| invalid("a grain is damaged"))?;
        unit[length..].fill(0);
        Ok(())
    }
}
