//! Stores of the files of an OVF package: a directory, a tar archive (plain, gzip, xz) or a zip.
//! Archives are only read: nothing is unpacked under the names in them.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use zip::ZipArchive;
use zip::result::ZipError;

use super::tar::{BLOCK, Skip, Tar, is_tar};
use crate::budget::{Going, Watched, is_stop};
use crate::exporter::Error;
use crate::image::Flaw;

/// Maximum number of members of an archive.
const MOST_MEMBERS: usize = 10_000;
/// Maximum memory of an xz stream, in bytes: streams of `xz -9` need 65 MiB.
const XZ_MEMORY: u64 = 128 << 20;

/// Bytes at the end of an xz file that are inspected.
const MOST_XZ_PADDING: u64 = 64 << 10;
/// Remedy for a truncated archive.
const COPY_AGAIN: &str = "download or copy it again";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Store {
    Folder(PathBuf),
    Tar(PathBuf),
    TarGz(PathBuf),
    TarXz(PathBuf),
    Zip(PathBuf),
}

pub(super) struct Member<'a> {
    /// Path inside the store, without a leading `./`.
    pub(super) name: String,
    pub(super) content: &'a mut dyn Read,
}

/// Callback for each member.
pub(super) type Visit<'a> = &'a mut dyn FnMut(Member<'_>) -> Result<ControlFlow<()>, Error>;

impl Store {
    /// The archive in a file, detected by its magic number; `None` for another file.
    pub(super) fn archive(path: &Path) -> io::Result<Option<Self>> {
        let mut start = Vec::new();
        File::open(path)?.take(512).read_to_end(&mut start)?;
        let path = path.to_owned();
        Ok(match start.as_slice() {
            [0x1f, 0x8b, ..] => Some(Self::TarGz(path)),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::TarXz(path)),
            [b'P', b'K', 3, 4, ..] => Some(Self::Zip(path)),
            start if is_tar(start) => Some(Self::Tar(path)),
            _ => None,
        })
    }

    /// Path of the directory or archive.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Folder(path)
            | Self::Tar(path)
            | Self::TarGz(path)
            | Self::TarXz(path)
            | Self::Zip(path) => path,
        }
    }

    /// Whether a member can only be read after all members before it.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::TarGz(_) | Self::TarXz(_))
    }

    /// Visits the members of an archive in their order, until the visitor stops. `wanted` selects
    /// them by name and size; selected members must be ordinary files with unique names. Blocks and
    /// cannot be cancelled: only for short reads.
    ///
    /// # Errors
    /// [`Error::Unusable`] for an archive that is damaged or invalid; [`Error::File`].
    pub(super) fn each(
        &self,
        wanted: &dyn Fn(&str, u64) -> bool,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        self.each_until(&Going::default(), wanted, visit)
    }

    /// As [`Store::each`], with cancellation.
    ///
    /// # Errors
    /// As those of [`Store::each`]; [`Error::Cancelled`].
    pub(super) fn each_until(
        &self,
        going: &Going,
        wanted: &dyn Fn(&str, u64) -> bool,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        let passing = |reader: Box<dyn Read>| Watched::new(reader, going);
        let mut seen = Vec::new();
        let mut once = |member: Member<'_>| {
            if seen.contains(&member.name) {
                return Err(self.unusable(format!("it contains '{}' twice", member.name)));
            }
            seen.push(member.name.clone());
            visit(member)
        };
        let open = || File::open(self.path()).map_err(|source| self.failed(source));
        match self {
            Self::Folder(_) => Ok(()),
            Self::Tar(_) => {
                let seekable = Seekable::new(open()?).map_err(|source| self.failed(source))?;
                self.each_of(seekable, wanted, &mut once)
            }
            Self::TarGz(_) => {
                let reader = MultiGzDecoder::new(BufReader::new(open()?));
                self.each_of(passing(Box::new(reader)), wanted, &mut once)
            }
            Self::TarXz(_) => {
                let mut file = open()?;
                if !has_xz_end(&mut file).map_err(|source| self.failed(source))? {
                    return Err(self.cut_off());
                }
                let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED);
                let stream = stream.map_err(|error| self.failed(error.into()))?;
                let reader = XzDecoder::new_stream(file, stream);
                self.each_of(passing(Box::new(reader)), wanted, &mut once)
            }
            Self::Zip(_) => self.each_zipped(open()?, wanted, &mut once),
        }
    }

    fn each_of(
        &self,
        reader: impl super::tar::Skip,
        wanted: &dyn Fn(&str, u64) -> bool,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        let mut tar = Tar::new(reader);
        let mut members = 0;
        while let Some(found) = tar.next().map_err(|source| self.damaged(source))? {
            members += 1;
            if members > MOST_MEMBERS {
                return Err(self.unusable(format!("it contains more than {MOST_MEMBERS} files")));
            }
            if !wanted(&found.name, found.size) {
                continue;
            }
            if !found.is_file {
                return Err(
                    self.unusable(format!("'{}' in it is not an ordinary file", found.name))
                );
            }
            let member = Member { name: found.name, content: &mut tar };
            if visit(member)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn each_zipped(
        &self,
        file: File,
        wanted: &dyn Fn(&str, u64) -> bool,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        let failed = |error: ZipError| match error {
            // The list of members is at the end of the file.
            ZipError::InvalidArchive(why) => {
                self.unusable(format!("it is not a complete zip archive ({why}): {COPY_AGAIN}"))
            }
            error => self.failed(io::Error::other(error)),
        };
        let mut archive = ZipArchive::new(BufReader::new(file)).map_err(failed)?;
        if archive.len() > MOST_MEMBERS {
            return Err(self.unusable(format!("it contains more than {MOST_MEMBERS} files")));
        }
        for index in 0..archive.len() {
            let mut found = archive.by_index(index).map_err(failed)?;
            // Old Windows tools write names with `\`.
            let name = plain(&found.name().replace('\\', "/"));
            if !wanted(&name, found.size()) {
                continue;
            }
            if !found.is_file() || found.is_symlink() {
                return Err(self.unusable(format!("'{name}' in it is not an ordinary file")));
            }
            if visit(Member { name, content: &mut found })?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Error: the store lacks a file that its descriptor names.
    pub(super) fn lacks(&self, name: &str) -> Error {
        self.unusable(format!("'{name}', which its OVF names, is not in it"))
    }

    /// Error: the store is unusable, with the reason.
    pub(super) fn unusable(&self, reason: impl Into<Flaw>) -> Error {
        Error::Unusable { path: self.path().to_owned(), reason: reason.into() }
    }

    /// Error: the archive is truncated.
    fn cut_off(&self) -> Error {
        self.unusable(format!("the archive is cut off or damaged: {COPY_AGAIN}"))
    }

    /// Error: reading the members failed.
    fn damaged(&self, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => self.cut_off(),
            _ => self.failed(source),
        }
    }

    /// Error: the checksums cannot be verified, with the reason.
    pub(super) fn bad_sums(&self, reason: impl Into<String>) -> Error {
        Error::Sums { path: self.path().to_owned(), reason: reason.into() }
    }

    /// Error: reading the store failed.
    pub(super) fn failed(&self, source: io::Error) -> Error {
        if is_stop(&source) {
            return Error::Cancelled;
        }
        Error::File { action: "reading", path: self.path().to_owned(), source }
    }
}

/// A member's name, as a reference in the OVF would spell it.
pub(super) fn plain(name: &str) -> String {
    name.trim_start_matches("./").to_owned()
}

/// An archive file that is open, in which unneeded members are skipped by seeking.
struct Seekable {
    reader: BufReader<File>,
    position: u64,
    length: u64,
}

impl Seekable {
    fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { reader: BufReader::new(file), position: 0, length })
    }
}

impl Read for Seekable {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Skip for Seekable {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let end = self.position.saturating_add(bytes);
        // Some writers omit the padding of the last block.
        if end > self.length.next_multiple_of(BLOCK) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position = self.reader.seek(SeekFrom::Start(end))?;
        Ok(())
    }
}

/// Whether a file ends like an xz file (The .xz File Format 1.2.1, 2.1.2.4 and 2.2): with the magic
/// bytes of a stream footer, and possibly zeros. Rewinds the file.
fn has_xz_end(file: &mut File) -> io::Result<bool> {
    const MAGIC: &[u8] = b"YZ";
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MOST_XZ_PADDING)))?;
    let mut end = Vec::new();
    file.by_ref().take(MOST_XZ_PADDING).read_to_end(&mut end)?;
    file.rewind()?;
    let last = end.iter().rposition(|byte| *byte != 0);
    // Longer padding is left to the decoder.
    Ok(last.is_none_or(|last| end[..=last].ends_with(MAGIC)))
}
