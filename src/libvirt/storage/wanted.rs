//! The requested storage pool and volumes of an import.

use std::fs::File;
use std::path::PathBuf;

use crate::domain::{DiskKind, PlannedDisk};
use crate::image::extents;
use crate::model::{ByteSize, DiskFormat, DiskId, Sha256Digest};

use super::super::Error;

/// The storage pool for the disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolChoice {
    /// Name of the pool.
    pub name: String,
    /// Folder over which the pool is created, with type `dir`, if it does not exist. If the pool
    /// exists but its folder is missing, the folder is created.
    pub path: Option<PathBuf>,
}

/// The storage pool if the user names none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DefaultPool {
    /// The user's data folder on this machine: `XDG_DATA_HOME`, or `.local/share` in the home
    /// folder.
    pub data_home: Option<PathBuf>,
}

/// A requested volume.
#[derive(Debug, Clone)]
pub(in crate::libvirt) struct WantedVolume {
    /// ID of the disk within the VM.
    pub id: DiskId,
    /// Name of the volume, unless the image is in the pool already.
    pub name: String,
    /// Path of the image.
    pub image: PathBuf,
    /// Format of the image.
    pub image_format: DiskFormat,
    /// Whether the volume is a file or a block device.
    pub kind: DiskKind,
    /// Format of the volume: that of the image in a file, raw on a device.
    pub format: DiskFormat,
    /// Size that the guest sees.
    pub capacity: ByteSize,
    /// Bytes that the volume occupies.
    pub allocated: ByteSize,
    /// Place in the boot order; 0 is the boot disk.
    pub boot_order: u32,
    /// Whether the converter has prepared the guest for virtio.
    pub fixed: bool,
    /// Whether the volume is the medium of a CD-ROM drive.
    pub medium: bool,
    /// Hash of the guest-visible content after the conversion, if known.
    pub content: Option<Sha256Digest>,
}

impl WantedVolume {
    /// The same volume with the actual number of data bytes in its existing image: those will be
    /// written. Allocated blocks would not do, since a file system may compress them. Blocks.
    pub(in crate::libvirt) fn measured(&self) -> Result<Self, Error> {
        let file = File::open(&self.image).map_err(Error::file("opening", &self.image))?;
        let data = extents::data_bytes(&file).map_err(Error::file("reading", &self.image))?;
        Ok(Self { allocated: ByteSize(data), ..self.clone() })
    }

    /// Bytes that the volume needs in its pool; for a device the full size.
    pub(in crate::libvirt) fn needs(&self) -> ByteSize {
        match self.kind {
            DiskKind::File => self.allocated,
            DiskKind::Block => self.capacity,
        }
    }

    /// The disk for the plan, at its final path.
    pub(in crate::libvirt) fn planned(&self, path: String) -> PlannedDisk {
        PlannedDisk {
            id: self.id.clone(),
            kind: self.kind,
            path,
            format: self.format,
            boot_order: self.boot_order,
            fixed: self.fixed,
            medium: self.medium,
        }
    }
}
