//! Size limit of a packed disk: a decompression bomb of a few KiB would fill every file system.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use crate::image;
use crate::model::DiskFormat;

/// Maximum bytes by which an image may exceed its disk: grain headers, tables, descriptor.
const OVERHEAD: u64 = 64 << 20;
/// Largest disk that a package may contain without stating its size, in bytes: that of the largest
/// VMDK.
const LARGEST: u64 = 62 << 40;

/// Size limit of one disk while it is written. The capacity in the package is the first limit; when
/// the capacity is too small, the header of the image replaces it.
#[derive(Debug)]
pub(super) struct Bound {
    /// Path of the file being written.
    path: PathBuf,
    format: DiskFormat,
    /// Size of the disk, in bytes.
    capacity: u64,
    /// Source of `capacity`.
    by: SizeSource,
    /// Capacity from the disk's own header, if it was parsed during reading: the file being written
    /// is then another image.
    header: Option<u64>,
}

/// Source of a disk's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SizeSource {
    /// The disk is not compressed, so the length of its file is its limit.
    Source,
    Package,
    Image,
}

/// A disk exceeds its size limit.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("longer than a disk of {capacity} bytes can be")]
pub(super) struct TooLong {
    /// Size of the disk, in bytes.
    pub(super) capacity: u64,
    /// Source of `capacity`: `its own header`, `its package`.
    pub(super) by: &'static str,
}

impl Bound {
    /// Limit for a disk of `capacity` bytes; 0 if the capacity is unknown. `inflated` is true for a
    /// compressed disk: only compressed data can be a bomb.
    pub(super) fn new(path: PathBuf, format: DiskFormat, capacity: u64, inflated: bool) -> Self {
        let by = if inflated { SizeSource::Package } else { SizeSource::Source };
        let capacity = if capacity == 0 { LARGEST } else { capacity };
        Self { path, format, capacity, by, header: None }
    }

    /// Stores the capacity from the header of the image.
    pub(super) fn note_header(&mut self, capacity: u64) {
        self.header = Some(capacity);
    }

    /// Maximum length of a raw disk whose file at the source has `length` bytes; 0 if the length is
    /// unknown. The length of an uncompressed disk is its limit, whatever the package states.
    pub(super) fn longest_raw(&self, length: u64) -> u64 {
        match (self.by, length) {
            (SizeSource::Source, 0) => LARGEST,
            (SizeSource::Source, length) => length,
            _ => self.most(),
        }
    }

    /// Checks that the disk may have `bytes` bytes. Blocks.
    ///
    /// # Errors
    /// [`TooLong`] as [`ErrorKind::InvalidData`]; errors of the operating system.
    pub(super) fn check(&mut self, bytes: u64) -> io::Result<()> {
        if self.by == SizeSource::Source || bytes <= self.most() {
            return Ok(());
        }
        if self.by == SizeSource::Package
            && let Some(capacity) = self.own_capacity()?
        {
            (self.capacity, self.by) = (capacity, SizeSource::Image);
            return self.check(bytes);
        }
        let by = if self.by == SizeSource::Image { "its own header" } else { "its package" };
        Err(io::Error::new(ErrorKind::InvalidData, TooLong { capacity: self.capacity, by }))
    }

    fn most(&self) -> u64 {
        let tables = if self.format == DiskFormat::Raw { 0 } else { self.capacity / 16 };
        self.capacity.saturating_add(tables).saturating_add(OVERHEAD)
    }

    /// Capacity from the header of the image, which is stored or written by now: the header is in
    /// the first MiBs.
    fn own_capacity(&self) -> io::Result<Option<u64>> {
        let found = match self.header {
            None => image::header_capacity(&File::open(&self.path)?, self.format)?,
            noted => noted,
        };
        Ok(found.filter(|capacity| *capacity > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_header_of_the_image_counts_more_than_its_package() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("disk");
        let mut qcow2 = vec![0; 64];
        qcow2[..4].copy_from_slice(b"QFI\xfb");
        qcow2[24..32].copy_from_slice(&(512 * MIB).to_be_bytes());
        std::fs::write(&path, qcow2).expect("written");
        let bound =
            |format, capacity, inflated| Bound::new(path.clone(), format, capacity, inflated);
        let longest = |format, capacity, inflated| {
            (0..2000).rfind(|mib| bound(format, capacity, inflated).check(mib * MIB).is_ok())
        };
        // The package states 1 MiB: 512 MiB and tables are the limit by the image's own header.
        assert_eq!(longest(DiskFormat::Qcow2, MIB, true), Some(608));
        assert_eq!(longest(DiskFormat::Qcow2, 800 * MIB, true), Some(914));
        // A raw disk has no header.
        assert_eq!(longest(DiskFormat::Raw, MIB, true), Some(65));
        assert_eq!(longest(DiskFormat::Vhd, MIB, true), Some(65));
        // The limit of an uncompressed disk is the length of its file.
        assert_eq!(longest(DiskFormat::Raw, MIB, false), Some(1999));
        let error = bound(DiskFormat::Raw, MIB, true).check(100 * MIB).expect_err("too long");
        let told = error.get_ref().and_then(|error| error.downcast_ref::<TooLong>());
        assert_eq!(told.map(|told| (told.capacity, told.by)), Some((MIB, "its package")));
    }

    #[test]
    fn a_disk_that_becomes_another_image_has_the_same_bound() {
        // The file being written is a qcow2 image, or does not exist yet.
        let path = PathBuf::from("/none");
        let mut bound = Bound::new(path.clone(), DiskFormat::Vmdk, MIB, true);
        bound.note_header(512 * MIB);
        assert_eq!((0..2000).rfind(|mib| bound.check(mib * MIB).is_ok()), Some(608));
        let error = bound.check(700 * MIB).expect_err("too long");
        let told = error.get_ref().and_then(|error| error.downcast_ref::<TooLong>());
        assert_eq!(told.map(|told| (told.capacity, told.by)), Some((512 * MIB, "its own header")));
        let raw = |inflated| Bound::new(path.clone(), DiskFormat::Raw, MIB, inflated);
        assert_eq!(raw(true).longest_raw(200 * MIB), 65 * MIB);
        assert_eq!(raw(false).longest_raw(200 * MIB), 200 * MIB);
        assert_eq!(raw(false).longest_raw(0), LARGEST);
    }
}
