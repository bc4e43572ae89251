//! Headers of a VHDX (Microsoft, MS-VHDX 7.0) that define the disk's size and the location of its
//! blocks; little endian throughout.

use std::fs::File;
use std::io;

use super::number::{at, entries, little};

/// Offsets of the two headers, in bytes (2.2); the one with the higher number is valid.
const HEADERS: [u64; 2] = [64 * 1024, 128 * 1024];
/// Bytes of a sector of the log (2.3).
const LOG_SECTOR: u64 = 4096;
/// Offset of the region table, in bytes (2.2), and the most entries of the table (2.2.3.1).
const REGIONS: u64 = 192 * 1024;
const MOST_REGIONS: u64 = 2047;
/// Most entries of the metadata table (2.6.1.1).
const MOST_ITEMS: u64 = 2047;
/// `{2DC27766-F623-4200-9D64-115E9BFD4A08}` as it is stored in a file (2.2.3.2).
const BAT: [u8; 16] = *b"\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08";
/// `{8B7CA206-4790-4B9A-B8FE-575F050F886E}` (2.2.3.2).
const METADATA: [u8; 16] = *b"\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e";
/// `{CAA16737-FA36-4D43-B3B6-33F0AA44E76B}` (2.6.2.1).
const PARAMETERS: [u8; 16] = *b"\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b";
/// `{2FA54224-CD1B-4876-B211-5DBED83BF4B8}` (2.6.2.2).
const DISK_SIZE: [u8; 16] = *b"\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8";
/// `{8141BF1D-A96F-4709-BA47-F233A8FAAB5F}` (2.6.2.4).
const SECTOR_SIZE: [u8; 16] = *b"\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f";

/// Fields of the headers.
#[derive(Debug, Default)]
pub(super) struct Vhdx {
    /// Size that the guest sees, in bytes.
    pub(super) size: u64,
    /// Bytes of a block of the disk.
    pub(super) block: u64,
    /// Bytes of a sector as the guest sees it.
    pub(super) sector: u64,
    /// Whether the log contains writes that must be replayed.
    pub(super) has_log: bool,
    /// Whether the image is the difference to another image.
    pub(super) has_parent: bool,
    /// Offset and length of the block table, in bytes.
    pub(super) table: (u64, u64),
}

impl Vhdx {
    /// Reads the headers; `None` if the file is no VHDX.
    ///
    /// # Errors
    /// If the file cannot be read, or is truncated ([`io::ErrorKind::UnexpectedEof`]).
    pub(super) fn read(file: &File) -> io::Result<Option<Self>> {
        let start: [u8; 8] = at(file, 0)?;
        let regions: [u8; 16] = at(file, REGIONS)?;
        if start != *b"vhdxfile" || !regions.starts_with(b"regi") {
            return Ok(None);
        }
        let (mut vhdx, mut metadata) = (Self::default(), None);
        for n in 0..little(&regions[8..12]).min(MOST_REGIONS) {
            let region: [u8; 32] = at(file, REGIONS + 16 + n * 32)?;
            let place = little(&region[16..24]);
            match &region[..16] {
                id if *id == BAT => vhdx.table = (place, little(&region[24..28])),
                id if *id == METADATA => metadata = Some(place),
                _ => {}
            }
        }
        metadata.map_or(Ok(()), |place| vhdx.take_metadata(file, place))?;
        vhdx.has_log = has_log(file)?;
        Ok(vhdx.is_plausible().then_some(vhdx))
    }

    /// Reads the metadata table (2.6.1), and its items.
    fn take_metadata(&mut self, file: &File, metadata: u64) -> io::Result<()> {
        let table: [u8; 32] = at(file, metadata)?;
        if !table.starts_with(b"metadata") {
            return Ok(());
        }
        for n in 0..little(&table[10..12]).min(MOST_ITEMS) {
            let item: [u8; 32] = at(file, metadata.saturating_add(32 + n * 32))?;
            let place = metadata.saturating_add(little(&item[16..20]));
            match &item[..16] {
                id if *id == DISK_SIZE => self.size = little(&at::<8>(file, place)?),
                id if *id == SECTOR_SIZE => self.sector = little(&at::<4>(file, place)?),
                id if *id == PARAMETERS => {
                    let parameters: [u8; 8] = at(file, place)?;
                    self.block = little(&parameters[..4]);
                    self.has_parent = parameters[4] & 0b10 != 0;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn is_plausible(&self) -> bool {
        self.size > 0
            && self.block.is_power_of_two()
            && (1 << 20..=1 << 28).contains(&self.block)
            && matches!(self.sector, 512 | 4096)
    }

    /// Number of blocks in the table before the entry of a bitmap (2.5).
    pub(super) fn chunk(&self) -> u64 {
        (self.sector << 23) / self.block
    }
}

/// Whether the log contains entries of the session that the header names; a closed image names
/// none. Header (2.2.2): number in bytes 8 to 15, `LogGuid` 48 to 63, length of the log 68 to 71,
/// offset 72 to 79. Log entry (2.3.1.1): `LogGuid` in bytes 32 to 47.
fn has_log(file: &File) -> io::Result<bool> {
    let mut current: Option<[u8; 80]> = None;
    for place in HEADERS {
        let header: [u8; 80] = at(file, place)?;
        let number = |header: &[u8; 80]| little(&header[8..16]);
        if header.starts_with(b"head")
            && current.is_none_or(|current| number(&header) > number(&current))
        {
            current = Some(header);
        }
    }
    let Some(header) = current.filter(|header| header[48..64] != [0; 16]) else {
        return Ok(false);
    };
    let (place, sectors) = (little(&header[72..80]), little(&header[68..72]) / LOG_SECTOR);
    let mut found = false;
    entries(file, place, sectors, LOG_SECTOR, |_, sector| {
        found |= sector.starts_with(b"loge") && sector[32..48] == header[48..64];
        Ok(())
    })?;
    Ok(found)
}
