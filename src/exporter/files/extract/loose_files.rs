//! Disks whose files are beside the descriptor, unpacked.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Extraction, ExtractionSlot, whole};
use crate::budget::Going;
use crate::exporter::content::content_of;
use crate::exporter::files::expected_sums::Expected;
use crate::exporter::files::store::Store;
use crate::exporter::files::sums::Digests;
use crate::exporter::files::vm_files::{DescribedVm, WantedDisk};
use crate::exporter::files::vmdk_check::StreamCheck;
use crate::exporter::transfer::PartFile;
use crate::exporter::{Error, FinishedDisk};
use crate::image::{self, CLUSTER, Split};
use crate::progress::Unit;

impl Extraction<'_> {
    /// Computes the checksum of an image that is used in place.
    pub(super) fn sum(
        &self,
        slot: &mut ExtractionSlot<'_>,
        path: &Path,
    ) -> Result<FinishedDisk, Error> {
        let failed = |source| Error::File { action: "reading", path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let id = &slot.wanted.id;
        let task = self.progress.task(format!("check {id}"), Some(length), Unit::Bytes);
        let (mut follower, mut stored) = (StreamCheck::new(slot.wanted.format), 0);
        let digests = self.compare(path, &mut file, |bytes| {
            stored += bytes.len() as u64;
            task.at(stored);
            follower.push(bytes)
        })?;
        slot.stored = Some(stored);
        let going = Going::from(self.cancel);
        let end = follower.finish(|buffer, offset| {
            going.check()?;
            file.read_exact_at(buffer, offset)
        });
        let content = match end.map_err(|error| self.read_error(path, error))? {
            None if !slot.wanted.medium => content_of(&file, slot.wanted.format, &going)
                .map_err(|error| self.read_error(path, error))?,
            content => content,
        };
        Ok(FinishedDisk { content, ..whole(slot.wanted, stored, digests.recorded()) })
    }

    /// Reads a file that is used in place, and compares it with the checksums in its package.
    fn compare(
        &self,
        path: &Path,
        file: &mut File,
        each: impl FnMut(&[u8]) -> io::Result<()> + Send,
    ) -> Result<Digests, Error> {
        let DescribedVm { sums, prefix, store, .. } = self.described;
        let name = self.name(path);
        let read = self.read(file, sums.digests(prefix, &name), each);
        let digests = read.map_err(|error| self.read_error(path, error))?;
        if let Some(store) = store {
            sums.check(store, prefix, &name, &digests)?;
        }
        Ok(digests)
    }

    /// Name of a file in its package.
    pub(super) fn name(&self, path: &Path) -> String {
        let folder = self.described.store.as_ref().map_or(Path::new(""), Store::path);
        path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned()
    }

    /// Joins a VMDK of several files.
    pub(super) fn join(
        &self,
        wanted: &WantedDisk,
        path: &Path,
        part: &PartFile,
    ) -> Result<FinishedDisk, Error> {
        let failed = |source| Error::File { action: "reading", path: path.to_owned(), source };
        if matches!(self.described.sums, Expected::Known(_)) {
            for part in Split::files(path).map_err(failed)? {
                let mut file = File::open(&part).map_err(failed)?;
                self.compare(&part, &mut file, |_| Ok(()))?;
            }
        }
        let split = Split::open(path).map_err(failed)?;
        let task =
            self.progress.task(format!("take {}", wanted.id), Some(split.capacity()), Unit::Bytes);
        let file = part.restart().map_err(|error| self.failed(wanted, error))?;
        let written = split.write(file, &Going::from(self.cancel), |position| {
            task.at(position);
            self.limit.take_blocking(CLUSTER as u64, self.cancel);
            if self.cancel.is_cancelled() { Err(ErrorKind::Interrupted.into()) } else { Ok(()) }
        });
        let (file, content) = written.map_err(|error| match error {
            image::Error::Write(error) => self.read_error(path, error),
            error => self.failed(wanted, io::Error::other(error)),
        })?;
        self.written(wanted, file, content)
    }
}
