//! The storage pool and the volumes that an import asks for.

use std::fs::File;
use std::path::PathBuf;

use crate::domain::{DiskKind, PlannedDisk};
use crate::image::extents;
use crate::model::{ByteSize, DiskFormat, DiskId, Sha256Digest};

use super::super::Error;

/// The storage pool that the disks go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolChoice {
    /// Its name.
    pub name: String,
    /// Where it is made, as a pool of type `dir`, if it does not exist. The folder of one that
    /// exists is made if that is missing.
    pub path: Option<PathBuf>,
}

/// The storage pool of a user who has named none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DefaultPool {
    /// The folder for the user's data on this machine: `XDG_DATA_HOME`, or `.local/share` in the
    /// home folder.
    pub data_home: Option<PathBuf>,
}

/// A volume that there shall be.
#[derive(Debug, Clone)]
pub(in crate::libvirt) struct WantedVolume {
    /// Which disk of the VM.
    pub id: DiskId,
    /// Name of the volume, unless the image lies in the pool already.
    pub name: String,
    /// The image.
    pub image: PathBuf,
    /// Its format.
    pub image_format: DiskFormat,
    /// What the volume is.
    pub kind: DiskKind,
    /// The volume's format: that of the image in a file, raw on a device.
    pub format: DiskFormat,
    /// Size that the guest sees.
    pub capacity: ByteSize,
    /// Bytes that it occupies.
    pub allocated: ByteSize,
    /// 0 is the boot disk.
    pub boot_order: u32,
    /// Whether the converter has made the guest fit for virtio.
    pub fixed: bool,
    /// Whether it lies in a CD-ROM drive.
    pub medium: bool,
    /// Hash of the content that the conversion left, if that is known.
    pub content: Option<Sha256Digest>,
}

impl WantedVolume {
    /// The same with the bytes of data that its image, which exists, really has: what will be
    /// written. Blocks on disk would not do, since a file system may compress them.
    pub(in crate::libvirt) fn measured(&self) -> Result<Self, Error> {
        let file = File::open(&self.image).map_err(Error::file("opening", &self.image))?;
        let data = extents::data_bytes(&file).map_err(Error::file("reading", &self.image))?;
        Ok(Self { allocated: ByteSize(data), ..self.clone() })
    }

    /// Bytes that it takes of its pool: a device all that its guest sees.
    pub(in crate::libvirt) fn needs(&self) -> ByteSize {
        match self.kind {
            DiskKind::File => self.allocated,
            DiskKind::Block => self.capacity,
        }
    }

    /// The disk for the plan, once it is known where it lies.
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
