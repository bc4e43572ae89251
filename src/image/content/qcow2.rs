//! Reader of qcow2 images (QEMU, docs/interop/qcow2.rst) of version 2 or 3, including those of
//! other programs.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::unit::{DiskUnit, UnitLocation, Units, invalid};
use crate::budget::{Going, TableBudget};
use crate::image::codec::Inflater;
use crate::image::number::{LAST_PLACE, at, big, entries};

/// Most entries of the L1 table: QEMU accepts at most 32 MiB (`QCOW_MAX_L1_SIZE`).
const MOST_TABLES: u64 = (32 << 20) / 8;
/// Bits of an entry that are an offset in the file.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Flag of a compressed cluster's entry.
const COMPRESSED: u64 = 1 << 62;
/// Incompatible features that do not matter here: the image was not closed, its compression type.
const DIRTY: u64 = 1;
const COMPRESSION_TYPE: u64 = 1 << 3;

/// Reader of an image.
pub(super) struct Qcow2 {
    bits: u64,
    /// L1 table: offsets of the L2 tables. All threads share it.
    tables: Arc<[u64]>,
    /// Index and entries of the L2 table that was used last.
    table: Option<(usize, Vec<u64>)>,
    /// Length of the file, in bytes.
    length: u64,
    budget: TableBudget,
    codec: Codec,
}

enum Codec {
    Deflate(Inflater),
    Zstd(zstd::bulk::Decompressor<'static>),
}

impl Codec {
    fn new(is_zstd: bool) -> io::Result<Self> {
        Ok(match is_zstd {
            true => Self::Zstd(zstd::bulk::Decompressor::new()?),
            false => Self::Deflate(Inflater::new()),
        })
    }
}

impl Qcow2 {
    /// Opens an image; `None` if it has a backing file, is encrypted, or has unsupported features.
    /// Header: backing file at byte 8, cluster bits 20, encryption 32, L1 entries 36, L1 offset 40,
    /// incompatible features 72, length 100, compression type 104.
    pub(super) fn open(file: &File) -> io::Result<Option<Self>> {
        Self::read(file, false)
    }

    fn read(file: &File, overlay: bool) -> io::Result<Option<Self>> {
        let header: [u8; 72] = at(file, 0)?;
        let (version, bits) = (big(&header[4..8]), big(&header[20..24]));
        let count = big(&header[36..40]);
        if !(2..=3).contains(&version) || !(9..=21).contains(&bits) || count > MOST_TABLES {
            return Err(invalid("its qcow2 header makes no sense"));
        }
        let features = if version == 2 { 0 } else { big(&at::<8>(file, 72)?) };
        let is_zstd = features & COMPRESSION_TYPE != 0 && at::<1>(file, 104)? == [1];
        let is_known = features & !(DIRTY | COMPRESSION_TYPE) == 0;
        let stands_alone = overlay || big(&header[8..16]) == 0;
        if !is_known || !stands_alone || big(&header[32..36]) != 0 {
            return Ok(None);
        }
        let length = file.metadata()?.len();
        let mut budget = TableBudget::of_tables(length);
        // Before memory is allocated for the table.
        budget.draw(count * 8)?;
        let mut tables = Vec::with_capacity(count as usize);
        entries(file, big(&header[40..48]), count, 8, |_, entry| {
            tables.push(big(entry) & OFFSET);
            Ok(())
        })?;
        let (tables, codec) = (tables.into(), Codec::new(is_zstd)?);
        Ok(Some(Self { bits, tables, table: None, length, budget, codec }))
    }

    /// Entry of a cluster in its L2 table; `None` if there is no such table.
    fn entry(&mut self, file: &File, cluster: u64) -> io::Result<Option<u64>> {
        let (index, width) = ((cluster >> (self.bits - 3)) as usize, 1_u64 << (self.bits - 3));
        let Some(place) = self.tables.get(index).copied().filter(|place| *place != 0) else {
            return Ok(None);
        };
        if self.table.as_ref().is_none_or(|(known, _)| *known != index) {
            self.budget.draw(width * 8)?;
            let mut table = Vec::with_capacity(width as usize);
            entries(file, place, width, 8, |_, entry| {
                table.push(big(entry));
                Ok(())
            })?;
            self.table = Some((index, table));
        }
        let within = (cluster & (width - 1)) as usize;
        Ok(self.table.as_ref().and_then(|(_, table)| table.get(within).copied()))
    }

    fn place(&self, entry: u64) -> UnitLocation {
        if entry & COMPRESSED != 0 {
            let place_bits = 62 - (self.bits - 8);
            let place = entry & ((1 << place_bits) - 1);
            let sectors = (entry & (COMPRESSED - 1)) >> place_bits;
            let end = (place & !511) + (sectors + 1) * 512;
            return UnitLocation::Packed(place, (end - place) as usize);
        }
        match entry & OFFSET {
            place if place == 0 || entry & 1 == 1 => UnitLocation::Zeros,
            place => UnitLocation::Plain(place),
        }
    }
}

impl Units for Qcow2 {
    fn again(&self) -> io::Result<Box<dyn Units>> {
        // Each thread reads the L2 tables that it needs itself.
        let budget = TableBudget::of_tables(self.length);
        let codec = Codec::new(matches!(self.codec, Codec::Zstd(_)))?;
        let (bits, tables, length) = (self.bits, self.tables.clone(), self.length);
        Ok(Box::new(Self { bits, tables, table: None, length, budget, codec }))
    }

    fn find(&mut self, file: &File, at: u64) -> io::Result<DiskUnit> {
        let cluster = at >> self.bits;
        let (begin, end) = (cluster << self.bits, (cluster + 1) << self.bits);
        if let Some(entry) = self.entry(file, cluster)? {
            return Ok(DiskUnit { begin, end, place: self.place(entry) });
        }
        // Zeros in the entire range of the missing L2 table.
        let reach = 2 * self.bits - 3;
        let end = ((at >> reach) + 1).checked_mul(1 << reach).unwrap_or(LAST_PLACE);
        Ok(DiskUnit { begin, end, place: UnitLocation::Zeros })
    }

    fn unpack(&mut self, packed: &[u8], unit: &mut [u8]) -> io::Result<()> {
        let broken = || invalid("a compressed cluster is damaged");
        let length = match &mut self.codec {
            Codec::Deflate(inflater) => inflater.inflate_raw(packed, unit),
            Codec::Zstd(decompressor) => {
                // Bytes after the frame belong to another cluster.
                let frame = zstd::zstd_safe::find_frame_compressed_size(packed);
                let frame = frame.ok().and_then(|length| packed.get(..length));
                frame.and_then(|frame| decompressor.decompress_to_buffer(frame, unit).ok())
            }
        };
        if length == Some(unit.len()) { Ok(()) } else { Err(broken()) }
    }
}

/// Ranges of the disk that an overlay made by qemu-img contains instead of its base, in order and
/// in full clusters.
///
/// # Errors
/// If the overlay cannot be read, is no qcow2, or `going` is cancelled.
pub fn stored_ranges(file: &File, size: u64, going: &Going) -> io::Result<Vec<Range<u64>>> {
    let read = Qcow2::read(file, true)?;
    let mut overlay = read.ok_or_else(|| invalid("the overlay has features that are not known"))?;
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let (mut at, mut units) = (0, 0);
    while at < size {
        going.check_at(units)?;
        units += 1;
        let unit = overlay.find(file, at)?;
        // A cluster of zeros hides the base, too.
        let is_stored = overlay.entry(file, at >> overlay.bits)?.is_some_and(|entry| entry != 0);
        if is_stored {
            match ranges.last_mut() {
                Some(last) if last.end == unit.begin => last.end = unit.end,
                _ => ranges.push(unit.begin..unit.end),
            }
        }
        at = unit.end.max(at + 1);
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::os::unix::fs::FileExt;

    use super::*;

    /// A header with `entries` entries in its L1 table, in a file of 1 MiB.
    fn claims(entries: u32) -> File {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(1 << 20).expect("sized");
        let put = |place, bytes: &[u8]| file.write_all_at(bytes, place).expect("written");
        put(0, b"QFI\xfb");
        put(4, &2_u32.to_be_bytes());
        put(20, &16_u32.to_be_bytes());
        put(36, &entries.to_be_bytes());
        put(40, &512_u64.to_be_bytes());
        file
    }

    #[test]
    fn a_first_table_is_no_longer_than_its_file_and_is_shared() {
        let error = Qcow2::open(&claims(1 << 22)).err().expect("32 MiB of table in one");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let qcow2 = Qcow2::open(&claims(1 << 10)).expect("read").expect("known");
        let _again = qcow2.again().expect("opened");
        assert_eq!(Arc::strong_count(&qcow2.tables), 2, "a thread has a copy");
    }
}
