//! Reads the content of an image at any position, as the guest sees it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use super::blocks::LARGEST;
use super::qcow2::Qcow2;
use super::stream::StreamGrains;
use super::tables::BlockTable;
use super::unit::{DiskUnit, UnitLocation, Units, invalid};
use crate::budget::{Going, TableBudget};
use crate::image::number::LAST_PLACE;
use crate::image::split::Split;
use crate::image::vmdk::{Header, SECTOR};
use crate::image::{capacity, extents};
use crate::model::DiskFormat;

/// Least length of a compressed unit, in bytes.
const LEAST_PACKED: u64 = 8;

/// Reader of an image. Each thread has its own. One second-level table at a time is cached.
pub(super) struct ImageReader {
    /// Size that the guest sees, in bytes: a multiple of a sector.
    pub(super) size: u64,
    layout: ImageLayout,
    /// Hole found by the last search for data: begin and end.
    hole: (u64, u64),
    /// Bytes of units that may still be read: tables that name one unit many times would turn a
    /// small file into a huge disk.
    data: TableBudget,
    going: Going,
}

enum ImageLayout {
    /// A file, and the number of its bytes that belong to the disk.
    Raw(File, u64),
    Split(Split),
    Units(File, Box<dyn Units>, UnpackedUnit),
}

/// The compressed unit that was read last, and its content.
#[derive(Default)]
struct UnpackedUnit {
    begin: Option<u64>,
    packed: Vec<u8>,
    unit: Vec<u8>,
}

impl ImageReader {
    /// Opens an image that names no other file; `None` if it uses an unsupported feature of its
    /// format.
    pub(super) fn open(file: &File, format: DiskFormat, going: &Going) -> io::Result<Option<Self>> {
        let Some(size) = capacity(file, format)? else { return Ok(None) };
        let of = file.try_clone()?;
        let units = |units: Box<dyn Units>| -> io::Result<ImageLayout> {
            Ok(ImageLayout::Units(file.try_clone()?, units, UnpackedUnit::default()))
        };
        let layout = match format {
            DiskFormat::Raw => Some(ImageLayout::Raw(of, size)),
            DiskFormat::Qcow2 => {
                Qcow2::open(file)?.map(|qcow2| units(Box::new(qcow2))).transpose()?
            }
            DiskFormat::Vmdk => {
                let mut sector = [0; SECTOR as usize];
                file.read_exact_at(&mut sector, 0)?;
                match Header::read(&sector) {
                    Ok(_) => Some(units(Box::new(StreamGrains::open(file)?))?),
                    Err(_) => Some(ImageLayout::Split(Split::hosted(of, size / SECTOR)?)),
                }
            }
            DiskFormat::Vhd => match BlockTable::vhd(file)? {
                Some(table) => Some(units(Box::new(table))?),
                None => Some(ImageLayout::Raw(of, size)),
            },
            DiskFormat::Vhdx => {
                BlockTable::vhdx(file)?.map(|table| units(Box::new(table))).transpose()?
            }
            DiskFormat::Vdi => {
                BlockTable::vdi(file)?.map(|table| units(Box::new(table))).transpose()?
            }
        };
        let size = size.checked_next_multiple_of(SECTOR).ok_or(ErrorKind::InvalidData)?;
        let layout = layout.filter(|_| size <= LARGEST);
        let data = TableBudget::of_data(file.metadata()?.len());
        let going = going.clone();
        Ok(layout.map(|layout| Self { size, layout, hole: (0, 0), data, going }))
    }

    /// A VMDK of several files; `None` if the disk is too large.
    pub(super) fn of_split(split: Split, going: &Going) -> Option<Self> {
        let size = split.capacity();
        // The extents have their own budgets.
        let (data, going) = (TableBudget::of_data(0), going.clone());
        let disk = Self { size, layout: ImageLayout::Split(split), hole: (0, 0), data, going };
        Some(disk).filter(|disk| disk.size <= LARGEST)
    }

    /// The same disk for another thread, drawing from the same budget.
    pub(super) fn again(&self) -> io::Result<Self> {
        let layout = match &self.layout {
            ImageLayout::Raw(file, size) => ImageLayout::Raw(file.try_clone()?, *size),
            ImageLayout::Split(split) => ImageLayout::Split(split.again()?),
            ImageLayout::Units(file, units, _) => {
                ImageLayout::Units(file.try_clone()?, units.again()?, UnpackedUnit::default())
            }
        };
        let (data, going) = (self.data.clone(), self.going.clone());
        Ok(Self { size: self.size, layout, hole: (0, 0), data, going })
    }

    /// Fails if the work was cancelled.
    pub(super) fn check(&self) -> io::Result<()> {
        self.going.check()
    }

    /// First position in `from..end` that may contain data.
    pub(super) fn next_data(&mut self, from: u64, end: u64) -> io::Result<Option<u64>> {
        // The last search may have skipped many blocks.
        let (begin, until) = self.hole;
        let from = if (begin..until).contains(&from) { until } else { from };
        if from >= end {
            return Ok(None);
        }
        let found = match &mut self.layout {
            ImageLayout::Raw(file, size) => {
                extents::next_data(file, from, *size)?.map(|data| data.start)
            }
            ImageLayout::Split(split) => {
                let found = split.next_data(from / SECTOR, &self.going)?;
                found.map(|at| (at * SECTOR).max(from))
            }
            ImageLayout::Units(file, units, _) => {
                let mut at = from;
                loop {
                    if at >= end {
                        break Some(at);
                    }
                    let unit = units.find(file, at)?;
                    if unit.place != UnitLocation::Zeros {
                        break Some(at);
                    }
                    at = unit.end.max(at + 1);
                }
            }
        };
        let found = found.unwrap_or(u64::MAX);
        self.hole = (from, found);
        Ok(Some(found).filter(|at| *at < end))
    }

    /// Fills `buffer` with the content at `at`.
    pub(super) fn read(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        match &mut self.layout {
            ImageLayout::Raw(file, size) => {
                let there = size.saturating_sub(at).min(buffer.len() as u64) as usize;
                let (data, rest) = buffer.split_at_mut(there);
                rest.fill(0);
                file.read_exact_at(data, at)
            }
            ImageLayout::Split(split) => split.read(at / SECTOR, buffer),
            ImageLayout::Units(file, units, unpacked) => {
                let (mut at, mut rest) = (at, buffer);
                while !rest.is_empty() {
                    let unit = units.find(file, at)?;
                    let length = unit.end.saturating_sub(at).clamp(1, rest.len() as u64) as usize;
                    let (now, later) = rest.split_at_mut(length);
                    match unit.place {
                        UnitLocation::Zeros => now.fill(0),
                        UnitLocation::Plain(place) => {
                            self.data.draw(length as u64)?;
                            read_to_end(file, now, place.saturating_add(at - unit.begin))?;
                        }
                        UnitLocation::Packed(place, packed) => {
                            let packed = PackedUnit { unit, place, length: packed };
                            let content =
                                unpacked.read(file, packed, &mut **units, &mut self.data)?;
                            let from = (at - unit.begin) as usize;
                            now.copy_from_slice(&content[from..from + length]);
                        }
                    }
                    at += length as u64;
                    rest = later;
                }
                Ok(())
            }
        }
    }
}

/// A unit, and the range of compressed bytes that contains it.
struct PackedUnit {
    unit: DiskUnit,
    place: u64,
    length: usize,
}

impl UnpackedUnit {
    fn read(
        &mut self,
        file: &File,
        PackedUnit { unit, place, length }: PackedUnit,
        units: &mut dyn Units,
        data: &mut TableBudget,
    ) -> io::Result<&[u8]> {
        if self.begin != Some(unit.begin) {
            self.begin = None;
            // Lengths are multiples of a sector: the last bytes may belong to the next unit.
            data.draw((length as u64).saturating_sub(SECTOR - 1).max(LEAST_PACKED))?;
            self.packed.resize(length, 0);
            read_to_end(file, &mut self.packed, place)?;
            self.unit.resize((unit.end - unit.begin) as usize, 0);
            units.unpack(&self.packed, &mut self.unit)?;
            self.begin = Some(unit.begin);
        }
        Ok(&self.unit)
    }
}

/// Fills a buffer from a file. Bytes past the end of the file are zeros, as in QEMU: truncated
/// images have been rejected before.
fn read_to_end(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    if at > LAST_PLACE {
        return Err(invalid("a table names a place that no file has"));
    }
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], at + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer[done..].fill(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::budget::is_stop;
    use crate::image::content::hash_image;

    /// A VDI whose blocks are one sector each: the table is at byte 512, data begins at 1024.
    fn vdi(table: &[u32], data: u64) -> File {
        vdi_of(512, table, (1024, data))
    }

    /// A VDI with blocks of `block` bytes, whose data begins at `begin`.
    fn vdi_of(block: u32, table: &[u32], (begin, data): (u32, u64)) -> File {
        let file = tempfile::tempfile().expect("a file");
        let put = |place, number: u32| {
            file.write_all_at(&number.to_le_bytes(), place).expect("written");
        };
        put(64, 0xbeda_107f);
        put(0x4c, 1);
        put(0x154, 512);
        put(0x158, begin);
        put(0x170, table.len() as u32 * block);
        put(0x178, block);
        put(0x180, table.len() as u32);
        (512..).step_by(4).zip(table).for_each(|(place, entry)| put(place, *entry));
        // A long file is a hole except for its end.
        let there = data.min(1 << 16);
        let end = u64::from(begin) + data;
        file.write_all_at(&vec![7; there as usize], end - there).expect("written");
        file
    }

    #[test]
    fn blocks_that_lie_over_each_other_make_no_disk() {
        let hash = |file| hash_image(&file, DiskFormat::Vdi, &Going::default(), &mut |_, _| Ok(()));
        let sound = hash(vdi(&[3, 2, 1, 0], 2048)).expect("read");
        assert!(sound.is_some());
        let error = hash(vdi(&[0; 100], 512)).expect_err("one block is named a hundred times");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn all_threads_draw_from_one_budget() {
        let hash = |table: &[u32], blocks: u64| {
            let file = vdi_of(1 << 20, table, (1 << 20, blocks << 20));
            hash_image(&file, DiskFormat::Vdi, &Going::default(), &mut |_, _| Ok(()))
        };
        // Several stretches, so that each thread reads some.
        let sound: Vec<u32> = (0..128).collect();
        assert!(hash(&sound, 128).expect("read").is_some());
        let twice: Vec<u32> = (0..64).chain(0..64).collect();
        let error = hash(&twice, 64).expect_err("each block is named twice");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_place_that_no_file_has_is_told() {
        let error = read_to_end(&vdi(&[0], 512), &mut [0; 512], u64::MAX).expect_err("nowhere");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_cancelled_run_hashes_nothing() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let (file, going) = (vdi(&[0], 512), Going::from(&cancel));
        let ended = hash_image(&file, DiskFormat::Vdi, &going, &mut |_, _| Ok(()));
        assert!(is_stop(&ended.expect_err("cancelled")));
    }
}
