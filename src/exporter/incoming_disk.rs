//! A disk that is received chunk by chunk: its file gets its final name after the disk is complete
//! and verified.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::content::content_of;
use super::transfer::{PartFile, sync_directory};
use super::{Error, FinishedDisk};
use crate::budget::{Going, is_stop};
use crate::digest;
use crate::image::{self, content::ContentHasher};
use crate::model::{ByteSize, DiskFormat, DiskId, ExportedDisk, ExportedMedium};
use crate::progress::{Control, Unit};

/// A disk that is being received.
#[derive(Debug)]
pub struct IncomingDisk {
    part: PartFile,
    id: DiskId,
    format: DiskFormat,
}

impl IncomingDisk {
    /// Creates the file of a disk in `directory`. Blocks.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Busy`], [`Error::File`].
    pub fn begin(directory: &Path, id: &DiskId, format: DiskFormat) -> Result<Self, Error> {
        let part = PartFile::create(directory.join(file_name(id, format)))?;
        Ok(Self { part, id: id.clone(), format })
    }

    /// Reuses the disk that an interrupted run has finished, if the file matches `whole`; otherwise
    /// the file is removed. Blocks.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Cancelled`], [`Error::File`].
    pub fn adopt(
        directory: &Path,
        whole: &FinishedDisk,
        format: DiskFormat,
        Control { progress, cancel }: Control<'_>,
    ) -> Result<Option<Self>, Error> {
        let id = whole.id.clone();
        let task = progress.task(format!("check {id}"), Some(whole.file_size.0), Unit::Bytes);
        let part = PartFile::adopt(directory.join(file_name(&id, format)), whole, &task, cancel)?;
        Ok(part.map(|part| Self { part, id, format }))
    }

    /// Returns the writer of the disk's bytes, and truncates the file.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn writer(&self) -> Result<IncomingDiskWriter, Error> {
        let file = self.part.restart().map_err(|source| self.failed("truncating", source))?;
        Ok(IncomingDiskWriter { file, position: 0 })
    }

    /// Inspects the complete disk, and computes the file's checksum and the content's hash. Blocks.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the image needs other files or is invalid, [`Error::File`],
    /// [`Error::Cancelled`].
    pub fn check(&self, cancel: &CancellationToken) -> Result<FinishedDisk, Error> {
        let (path, going) = (self.part.path(), Going::from(cancel));
        let failed = |source| match is_stop(&source) {
            true => Error::Cancelled,
            false => self.failed("reading", source),
        };
        let judged = image::inspect(path, self.format, &going).map_err(failed)?;
        let unusable = |reason| Error::Unusable { path: path.to_owned(), reason };
        judged.map_err(unusable)?;
        let file = File::open(path).map_err(failed)?;
        let capacity = image::capacity(&file, self.format).map_err(failed)?;
        let capacity = capacity
            .ok_or_else(|| unusable(format!("it is not a disk image in {}", self.format).into()))?;
        file.sync_all().map_err(failed)?;
        let mut raw = (self.format == DiskFormat::Raw).then(ContentHasher::default);
        let read = digest::read_all(&file, |block, _| {
            if let Some(content) = &mut raw {
                content.data(block);
            }
            // A hole of a remote host may be too long to hash in acceptable time.
            going.check()
        });
        let read = read.map_err(failed)?;
        let content = match raw {
            Some(content) => content.finish(),
            None => content_of(&file, self.format, &going).map_err(failed)?,
        };
        Ok(FinishedDisk {
            id: self.id.clone(),
            capacity: ByteSize(capacity),
            file_size: ByteSize(read.length),
            sha256: read.sha256,
            content,
            received: None,
            uuid: None,
            unverified: None,
        })
    }

    /// Converts to the disk of an export.
    pub fn exported(&self, whole: FinishedDisk) -> ExportedDisk {
        whole.exported(self.part.target(), self.format)
    }

    /// Converts to the CD-ROM image of an export.
    pub fn medium(&self, whole: FinishedDisk) -> ExportedMedium {
        let FinishedDisk { id, file_size, sha256, .. } = whole;
        ExportedMedium { id, path: self.part.target().to_owned(), file_size, sha256 }
    }

    /// Renames the file to its final name, and syncs the directory. Blocks.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::File`].
    pub fn commit(&self) -> Result<(), Error> {
        self.part.commit()?;
        self.part.target().parent().map_or(Ok(()), sync_directory)
    }

    /// Removes the file. Blocks.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn discard(&self) -> Result<(), Error> {
        self.part.discard()
    }

    fn failed(&self, action: &'static str, source: io::Error) -> Error {
        if source.kind() == io::ErrorKind::Interrupted {
            return Error::Cancelled;
        }
        Error::File { action, path: self.part.path().to_owned(), source }
    }
}

/// Name of the file of a disk or of a CD-ROM image.
fn file_name(id: &DiskId, format: DiskFormat) -> String {
    match id.is_of_medium() {
        true => format!("{id}.iso"),
        false => id.file_name(format),
    }
}

/// Writes the bytes of a disk in sequence; holes stay holes.
#[derive(Debug)]
pub struct IncomingDiskWriter {
    file: File,
    position: u64,
}

impl IncomingDiskWriter {
    /// Appends bytes.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.position)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Appends a hole of `length` bytes.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn hole(&mut self, length: u64) -> io::Result<()> {
        let end = self.position.checked_add(length);
        self.position = end.ok_or(io::ErrorKind::FileTooLarge)?;
        self.file.set_len(self.position)
    }
}
