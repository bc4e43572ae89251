//! Checks whether a stream is a complete streamOptimized VMDK ("Virtual Disk Format 5.0", VMware
//! 2011).
//!
//! ```text
//! ESXi:      header  descriptor … | grain grain … GT marker+table … GD marker+directory footer EOS
//! qemu-img:  header  descriptor, directory, tables … | grain grain …            (no end marker)
//! ```
//!
//! Every grain begins at a sector: its position on the disk (LBA, 64 bit), the length of its
//! compressed data (32 bit), and the data. A length of 0 denotes another kind of marker. HTTP does
//! not distinguish a truncated stream from a finished one. A complete stream therefore ends with a
//! footer and an end-of-stream marker, or has as many grains as the tables in front name.
//!
//! [`Stream`] parses such a stream as it arrives, in pieces of any size, and passes the grains to a
//! visitor without storing them.

mod descriptor;
mod header;
mod uuid;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub use descriptor::{Extent, LONGEST_DESCRIPTOR, extents, text};
pub use header::{Header, SECTOR};
pub use uuid::uuid;

use crate::budget::{Going, TableBudget};
use header::{DIRECTORY_AT_END, u32_at, u64_at};

/// Bytes of a marker that determine its kind.
const MARKER: usize = 16;
/// Entries of a directory that are read at once.
const DIRECTORY_ENTRIES: u64 = 1 << 12;

/// Why a stream is invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidStream {
    /// The header is not that of a streamOptimized VMDK.
    #[error("not a streamOptimized VMDK: {0}")]
    Header(&'static str),
    /// The stream contains a disk of another size.
    #[error("stream contains a disk of {found} bytes instead of {expected}")]
    Capacity {
        /// Size of the VM's disk, in bytes.
        expected: u64,
        /// Size in the header, in bytes.
        found: u64,
    },
    /// A marker after the header is invalid.
    #[error("stream is damaged at byte {offset}: {fault}")]
    Marker {
        /// Offset in the stream, in bytes.
        offset: u64,
        /// Clause that names the fault.
        fault: &'static str,
    },
    /// The stream contains more grains than its tables name.
    #[error("stream contains {found} grains, its tables name {named}")]
    Grains {
        /// Grains in the stream.
        found: u64,
        /// Entries in the tables.
        named: u64,
    },
    /// The grain tables could not be read again.
    #[error("reading the grain tables")]
    Tables(#[source] io::Error),
}

/// How a valid stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The stream is complete.
    Whole,
    /// The stream is truncated.
    Early,
}

/// Kind of the next bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Header,
    Marker,
    Footer,
    /// Number of bytes to skip, and what follows them.
    Skip(u64, After),
    /// Remaining bytes of a grain and, after them, of its padding.
    Grain {
        left: u64,
        padding: u64,
    },
    /// Past the end-of-stream marker.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Marker,
    Footer,
    Nothing,
}

/// Content of a stream that belongs to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A grain begins.
    Grain {
        /// Position on the disk, in sectors of 512 bytes: a multiple of [`Header::grain`].
        sector: u64,
        /// Bytes of compressed data, which follow in [`Piece::Data`].
        length: u32,
    },
    /// Next bytes of the grain's compressed data (zlib, RFC 1950).
    Data(&'a [u8]),
}

/// Parser of a stream that arrives in pieces of any size.
#[derive(Debug)]
pub struct Stream {
    capacity: u64,
    header: Option<Header>,
    next: Next,
    piece: Vec<u8>,
    offset: u64,
    grains: u64,
    reached: u64,
    footer: bool,
}

impl Stream {
    /// Parser for the stream of a disk of `capacity` bytes.
    pub fn new(capacity: u64) -> Self {
        Self {
            capacity,
            header: None,
            next: Next::Header,
            piece: Vec::with_capacity(SECTOR as usize),
            offset: 0,
            grains: 0,
            reached: 0,
            footer: false,
        }
    }

    /// Position on the disk that the stream has reached, in bytes. It jumps, since streams omit
    /// grains of zeros.
    pub fn reached(&self) -> u64 {
        (self.reached * SECTOR).min(self.capacity)
    }

    /// The header, once it has arrived.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Parses the next bytes; `visit` gets the content of the disk in them.
    ///
    /// # Errors
    /// [`InvalidStream`] if they are malformed; afterwards no more may be pushed.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        mut visit: impl FnMut(Piece<'_>),
    ) -> Result<(), InvalidStream> {
        while !bytes.is_empty() {
            let used = match self.next {
                Next::Skip(left, after) => {
                    let used = left.min(bytes.len() as u64);
                    self.skip(left - used, after);
                    used as usize
                }
                Next::Grain { left, padding } => {
                    let used = left.min(bytes.len() as u64);
                    visit(Piece::Data(&bytes[..used as usize]));
                    self.grain_left(left - used, padding);
                    used as usize
                }
                Next::Nothing => {
                    if bytes.iter().any(|byte| *byte != 0) {
                        return Err(self.marker("there is more after its end"));
                    }
                    bytes.len()
                }
                Next::Header | Next::Footer => self.collect(bytes, SECTOR as usize, &mut visit)?,
                Next::Marker => self.collect(bytes, MARKER, &mut visit)?,
            };
            self.offset += used as u64;
            bytes = &bytes[used..];
        }
        Ok(())
    }

    /// Whether the stream is complete. `read_at` reads the bytes pushed so far again; its error is
    /// returned.
    ///
    /// # Errors
    /// [`InvalidStream`] if tables and grains do not match, or the tables cannot be read.
    pub fn finish(
        self,
        read_at: impl Fn(&mut [u8], u64) -> io::Result<()>,
    ) -> Result<StreamEnd, InvalidStream> {
        let Some(header) = self.header else { return Ok(StreamEnd::Early) };
        let at_end = self.next == Next::Nothing;
        if header.directory == DIRECTORY_AT_END {
            return Ok(if at_end && self.footer { StreamEnd::Whole } else { StreamEnd::Early });
        }
        let between = self.next == Next::Marker && self.piece.is_empty();
        if !(between || at_end) {
            return Ok(StreamEnd::Early);
        }
        let named = named_grains(&header, self.offset, read_at).map_err(InvalidStream::Tables)?;
        match self.grains.cmp(&named) {
            std::cmp::Ordering::Less => Ok(StreamEnd::Early),
            std::cmp::Ordering::Equal => Ok(StreamEnd::Whole),
            std::cmp::Ordering::Greater => Err(InvalidStream::Grains { found: self.grains, named }),
        }
    }

    /// Collects up to `wanted` bytes, and parses them once complete.
    fn collect(
        &mut self,
        bytes: &[u8],
        wanted: usize,
        visit: &mut impl FnMut(Piece<'_>),
    ) -> Result<usize, InvalidStream> {
        let used = (wanted - self.piece.len()).min(bytes.len());
        self.piece.extend_from_slice(&bytes[..used]);
        if self.piece.len() == wanted {
            let piece = std::mem::take(&mut self.piece);
            match self.next {
                Next::Header => self.header_read(&piece)?,
                Next::Footer => self.footer_read(&piece)?,
                _ => self.marker_read(&piece, visit)?,
            }
            self.piece = piece;
            self.piece.clear();
        }
        Ok(used)
    }

    fn skip(&mut self, left: u64, after: After) {
        self.next = match (left, after) {
            (0, After::Marker) => Next::Marker,
            (0, After::Footer) => Next::Footer,
            (0, After::Nothing) => Next::Nothing,
            _ => Next::Skip(left, after),
        };
    }

    fn grain_left(&mut self, left: u64, padding: u64) {
        match left {
            0 => self.skip(padding, After::Marker),
            _ => self.next = Next::Grain { left, padding },
        }
    }

    fn header_read(&mut self, sector: &[u8]) -> Result<(), InvalidStream> {
        let header = Header::read(sector).map_err(InvalidStream::Header)?;
        let (found, expected) = (header.capacity.saturating_mul(SECTOR), self.capacity);
        if header.capacity != expected.div_ceil(SECTOR) {
            return Err(InvalidStream::Capacity { expected, found });
        }
        self.header = Some(header);
        self.skip((header.overhead - 1) * SECTOR, After::Marker);
        Ok(())
    }

    /// The footer repeats the header, but with the directory's position.
    fn footer_read(&mut self, sector: &[u8]) -> Result<(), InvalidStream> {
        let footer = Header::read(sector).map_err(|fault| self.marker(fault))?;
        let same = self.header.is_some_and(|header| header.capacity == footer.capacity);
        if !same || footer.directory == DIRECTORY_AT_END {
            return Err(self.marker("its footer does not fit its header"));
        }
        self.footer = true;
        self.next = Next::Marker;
        Ok(())
    }

    fn marker_read(
        &mut self,
        marker: &[u8],
        visit: &mut impl FnMut(Piece<'_>),
    ) -> Result<(), InvalidStream> {
        let Some(header) = self.header else { return Err(self.marker("a marker before a header")) };
        let (value, size, kind) = (u64_at(marker, 0), u32_at(marker, 8), u32_at(marker, 12));
        let rest = SECTOR - MARKER as u64;
        if size > 0 {
            if !value.is_multiple_of(header.grain) || value >= header.capacity {
                return Err(self.marker("a grain outside of the disk"));
            }
            if u64::from(size) > header.grain * SECTOR * 2 {
                return Err(self.marker("a grain that is too long"));
            }
            self.grains += 1;
            self.reached = self.reached.max((value + header.grain).min(header.capacity));
            visit(Piece::Grain { sector: value, length: size });
            // The last four bytes of the marker already belong to the grain.
            let here = u64::from(size).min(4);
            visit(Piece::Data(&marker[12..12 + here as usize]));
            let left = u64::from(size) - here;
            let whole = (12 + u64::from(size)).next_multiple_of(SECTOR);
            self.grain_left(left, whole - MARKER as u64 - left);
            return Ok(());
        }
        let directory = header.tables().div_ceil(SECTOR / 4);
        let table = u64::from(header.table_entries).div_ceil(SECTOR / 4);
        match kind {
            0 if value == 0 => self.skip(rest, After::Nothing),
            1 if value == table => self.skip(rest + value * SECTOR, After::Marker),
            2 if value == directory => self.skip(rest + value * SECTOR, After::Marker),
            3 if value == 1 => self.skip(rest, After::Footer),
            _ => return Err(self.marker("an unknown marker")),
        }
        if kind == 0 {
            self.reached = header.capacity;
        }
        Ok(())
    }

    fn marker(&self, fault: &'static str) -> InvalidStream {
        InvalidStream::Marker { offset: self.offset, fault }
    }
}

/// Bytes of the disk that a complete streamOptimized VMDK contains in grains, by its tables.
///
/// # Errors
/// If the file cannot be read, is no such VMDK ([`io::ErrorKind::InvalidData`]), or `going` is
/// cancelled.
pub fn populated(file: &File, going: &Going) -> io::Result<u64> {
    let found = final_header(file)?;
    let grains = named_grains(&found, file.metadata()?.len(), |bytes, place| {
        going.check()?;
        file.read_exact_at(bytes, place)
    })?;
    Ok(grains.saturating_mul(found.grain * SECTOR))
}

/// Location of the tables of a complete streamOptimized VMDK, all in sectors.
#[derive(Debug, Clone, Copy)]
pub(super) struct GrainTables {
    /// Size of a grain, in sectors.
    pub(super) grain: u64,
    /// Grains that one table describes.
    pub(super) entries: u64,
    /// Sector of the directory of tables.
    pub(super) directory: u64,
}

impl GrainTables {
    /// Reads the tables' location from the header or, if they are at the end, from the footer.
    pub(super) fn read(file: &File) -> io::Result<Self> {
        let Header { grain, table_entries, directory, .. } = final_header(file)?;
        Ok(Self { grain, entries: table_entries.into(), directory })
    }
}

/// Header of a complete stream that contains the directory's position: the first one, or the
/// footer.
fn final_header(file: &File) -> io::Result<Header> {
    let header = |place| {
        let mut sector = [0; SECTOR as usize];
        file.read_exact_at(&mut sector, place)?;
        Header::read(&sector).map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))
    };
    let found = header(0)?;
    if found.directory != DIRECTORY_AT_END {
        return Ok(found);
    }
    // The footer, before the end-of-stream marker.
    header(file.metadata()?.len().saturating_sub(2 * SECTOR))
}

/// Counts the grains that the tables of a file of `length` bytes name. An entry is the sector of a
/// grain; 0 and 1 mean that the grain is missing.
fn named_grains(
    header: &Header,
    length: u64,
    read_at: impl Fn(&mut [u8], u64) -> io::Result<()>,
) -> io::Result<u64> {
    let mut budget = TableBudget::of_tables(length);
    let mut table = vec![0; header.table_entries as usize * 4];
    let mut directory = Vec::new();
    let mut named = 0;
    for first in (0..header.tables()).step_by(DIRECTORY_ENTRIES as usize) {
        let count = DIRECTORY_ENTRIES.min(header.tables() - first);
        directory.resize(count as usize * 4, 0);
        budget.draw(count * 4)?;
        let place = header.directory.saturating_mul(SECTOR).saturating_add(first * 4);
        read_at(&mut directory, place)?;
        for sector in directory.chunks_exact(4).map(|entry| u64::from(u32_at(entry, 0))) {
            if sector != 0 {
                budget.draw(table.len() as u64)?;
                read_at(&mut table, sector * SECTOR)?;
                named += table.chunks(4).filter(|entry| u32_at(entry, 0) > 1).count() as u64;
            }
        }
    }
    Ok(named)
}

#[cfg(test)]
mod tests;
