//! How long a packed disk may become: a bomb of a few KiB would fill every file system.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use crate::image;
use crate::model::DiskFormat;

/// What an image may be longer than its disk: headers of grains, tables, descriptor.
const OVERHEAD: u64 = 64 << 20;
/// Largest disk that a package may hold without telling its size, in bytes: that of the largest
/// VMDK.
const LARGEST: u64 = 62 << 40;

/// The bound of one disk while it is written. The capacity that its package tells bounds it first;
/// when that turns out to be too small, the header of the image itself does.
#[derive(Debug)]
pub(super) struct Bound {
    /// Where the disk is written.
    path: PathBuf,
    format: DiskFormat,
    /// Size of the disk, in bytes.
    capacity: u64,
    /// Who says so.
    by: SizeSource,
    /// What its own header says, where that was read as the disk came: what is written then is
    /// another image.
    header: Option<u64>,
}

/// Who tells how large a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SizeSource {
    /// What lies at the source is as long as it is.
    Source,
    Package,
    Image,
}

/// A disk is longer than it may be.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("longer than a disk of {capacity} bytes can be")]
pub(super) struct TooLong {
    /// Size of the disk, in bytes.
    pub(super) capacity: u64,
    /// Who says so.
    pub(super) by: &'static str,
}

impl Bound {
    /// For a disk of `capacity` bytes, 0 if nobody tells. `inflated` says whether it is compressed
    /// where it lies: what is not can be no bomb.
    pub(super) fn new(path: PathBuf, format: DiskFormat, capacity: u64, inflated: bool) -> Self {
        let by = if inflated { SizeSource::Package } else { SizeSource::Source };
        let capacity = if capacity == 0 { LARGEST } else { capacity };
        Self { path, format, capacity, by, header: None }
    }

    /// Notes what the header of the image says of the size of its disk.
    pub(super) fn note_header(&mut self, capacity: u64) {
        self.header = Some(capacity);
    }

    /// Longest that a raw disk may become, of which `length` bytes lie at the source, or 0 if
    /// nobody knows: what is not compressed is as long as it is, whatever its package tells.
    pub(super) fn longest_raw(&self, length: u64) -> u64 {
        match (self.by, length) {
            (SizeSource::Source, 0) => LARGEST,
            (SizeSource::Source, length) => length,
            _ => self.most(),
        }
    }

    /// Whether the disk may have `bytes` bytes. Blocks.
    ///
    /// # Errors
    /// [`TooLong`] as [`ErrorKind::InvalidData`]; what the system says.
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

    /// What the header of the image says, which is noted or written by now: it stands within the
    /// first MiBs.
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
        // Its package says 1 MiB: 512 MiB and tables are what its own header allows.
        assert_eq!(longest(DiskFormat::Qcow2, MIB, true), Some(608));
        assert_eq!(longest(DiskFormat::Qcow2, 800 * MIB, true), Some(914));
        // A raw disk has no header.
        assert_eq!(longest(DiskFormat::Raw, MIB, true), Some(65));
        assert_eq!(longest(DiskFormat::Vhd, MIB, true), Some(65));
        // What is not compressed is as long as it lies there.
        assert_eq!(longest(DiskFormat::Raw, MIB, false), Some(1999));
        let error = bound(DiskFormat::Raw, MIB, true).check(100 * MIB).expect_err("too long");
        let told = error.get_ref().and_then(|error| error.downcast_ref::<TooLong>());
        assert_eq!(told.map(|told| (told.capacity, told.by)), Some((MIB, "its package")));
    }

    #[test]
    fn a_disk_that_becomes_another_image_has_the_same_bound() {
        // Where it is written there is a qcow2 image, or nothing yet.
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
