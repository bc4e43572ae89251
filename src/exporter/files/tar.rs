//! Reads the members of a tar archive one after another (POSIX.1-2017, "pax Interchange Format",
//! and GNU tar's long names). The `tar` crate only parses headers: its own iterator reads names of
//! any length into memory.

use std::io::{self, ErrorKind, Read};

use tar::{EntryType, Header, PaxExtensions};

use crate::budget::{Budget, Watched};

/// Block size in bytes.
pub(super) const BLOCK: u64 = 512;
/// Maximum length of a long name or another extended header, in bytes.
const LONGEST_NOTE: u64 = 64 * 1024;
/// Maximum number of members and extended headers. Each member may have a long name, a long link
/// and a pax header.
const MOST_HEADERS: u64 = 40_000;

/// A reader that can skip bytes.
pub(super) trait Skip: Read {
    fn skip(&mut self, bytes: u64) -> io::Result<()>;
}

/// A stream skips bytes by reading them, until its watch stops it: some megabytes of it may be a
/// terabyte of zeros.
impl<R: Read> Skip for Watched<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let passed = io::copy(&mut self.by_ref().take(bytes), &mut io::sink())?;
        if passed == bytes { Ok(()) } else { Err(cut_off()) }
    }
}

/// An archive, and the unread part of its current member.
pub(super) struct Tar<R> {
    reader: R,
    left: u64,
    padding: u64,
    headers: Budget,
    /// Whether a header was read.
    begun: bool,
}

/// A member, whose content is read from the [`Tar`].
pub(super) struct TarMember {
    pub(super) name: String,
    /// Length in bytes.
    pub(super) size: u64,
    pub(super) is_file: bool,
}

/// Contents of the extended headers before a member.
#[derive(Default)]
struct Notes {
    name: Option<String>,
    size: Option<u64>,
}

impl<R: Skip> Tar<R> {
    pub(super) fn new(reader: R) -> Self {
        let headers = Budget::new(MOST_HEADERS, "members and notes about them");
        Self { reader, left: 0, padding: 0, headers, begun: false }
    }

    /// The next member; `None` at the end.
    ///
    /// # Errors
    /// When the archive is damaged or truncated.
    pub(super) fn next(&mut self) -> io::Result<Option<TarMember>> {
        let mut notes = Notes::default();
        loop {
            self.headers.draw(1)?;
            self.reader.skip(self.left.saturating_add(self.padding))?;
            (self.left, self.padding) = (0, 0);
            let Some(header) = self.header()? else { return Ok(None) };
            let kind = header.entry_type();
            // An extended header before the member overrides the length.
            let size = match notes.size.filter(|_| !is_note(kind)) {
                Some(size) => size,
                None => header.entry_size()?,
            };
            self.left = size;
            self.padding = padding(size)?;
            match kind {
                EntryType::XHeader => notes.take_pax(&self.note()?)?,
                EntryType::GNULongName => notes.name = Some(text(&self.note()?)),
                EntryType::GNULongLink | EntryType::XGlobalHeader => {}
                _ => {
                    let name = notes.name.unwrap_or_else(|| text(&header.path_bytes()));
                    let is_file = matches!(kind, EntryType::Regular | EntryType::Continuous);
                    return Ok(Some(TarMember { name: super::store::plain(&name), size, is_file }));
                }
            }
        }
    }

    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        let mut filled = 0;
        while filled < BLOCK as usize {
            match self.reader.read(&mut header.as_mut_bytes()[filled..])? {
                // Some writers omit the blocks that mark the end.
                0 if filled == 0 => return Ok(None),
                0 => return Err(cut_off()),
                read => filled += read,
            }
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if !is_tar(header.as_bytes()) {
            let wrong = match self.begun {
                true => "a tar header has a wrong checksum",
                // Possibly a compressed disk image.
                false => "what is compressed in it is not a tar archive: unpack it first",
            };
            return Err(io::Error::new(ErrorKind::InvalidData, wrong));
        }
        self.begun = true;
        Ok(Some(header))
    }

    fn note(&mut self) -> io::Result<Vec<u8>> {
        if self.left > LONGEST_NOTE {
            return Err(io::Error::new(ErrorKind::InvalidData, "a name in it is too long"));
        }
        let mut note = Vec::new();
        self.read_to_end(&mut note)?;
        Ok(note)
    }
}

impl<R: Read> Read for Tar<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.reader.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(cut_off());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

impl Notes {
    fn take_pax(&mut self, note: &[u8]) -> io::Result<()> {
        for record in PaxExtensions::new(note) {
            let record = record?;
            match record.key_bytes() {
                b"path" => self.name = Some(text(record.value_bytes())),
                b"size" => {
                    let size = record.value().ok().and_then(|value| value.parse().ok());
                    let wrong = || io::Error::new(ErrorKind::InvalidData, "a size makes no sense");
                    self.size = Some(size.filter(|size| *size < u64::MAX / 2).ok_or_else(wrong)?);
                }
                // GNU tar's sparse files: their content is not stored contiguously.
                key if key.starts_with(b"GNU.sparse") => {
                    let sparse = "it contains a sparse file: pack it without --sparse";
                    return Err(io::Error::new(ErrorKind::InvalidData, sparse));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Bytes from the end of a member to the end of its last block. GNU tar allows sizes of 64 bits, of
/// which the largest would overflow to a member of length 0.
fn padding(size: u64) -> io::Result<u64> {
    let end = size.checked_next_multiple_of(BLOCK).filter(|end| i64::try_from(*end).is_ok());
    let wrong = || io::Error::new(ErrorKind::InvalidData, "a size makes no sense");
    Ok(end.ok_or_else(wrong)? - size)
}

fn is_note(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::XHeader
            | EntryType::XGlobalHeader
            | EntryType::GNULongName
            | EntryType::GNULongLink
    )
}

/// Whether a block is the header of a member, by its checksum.
pub(super) fn is_tar(block: &[u8]) -> bool {
    const SUM: std::ops::Range<usize> = 148..156;
    if block.len() < BLOCK as usize {
        return false;
    }
    let sum = block
        .iter()
        .enumerate()
        .fold(0, |sum, (at, byte)| sum + u32::from(if SUM.contains(&at) { b' ' } else { *byte }));
    let mut header = Header::new_old();
    header.as_mut_bytes().copy_from_slice(&block[..BLOCK as usize]);
    header.cksum().is_ok_and(|told| told == sum)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

fn cut_off() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the archive is cut off")
}
