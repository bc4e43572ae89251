//! The bytes to write into a volume: those of the image for a file, or for a block device those of
//! the disk in the image.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::child::{self, Bounds, Confinement, Door, Limits, Output, Program};
use crate::image::extents;
use crate::model::{DiskFormat, Sha256Digest};

use super::super::Error;
use super::wanted::WantedVolume;

/// Number of bytes at the beginning of a volume that identify it later.
pub(in crate::libvirt) const BEGINNING: u64 = 1 << 20;

/// Content to write into a volume. A clone shares the open file.
#[derive(Debug, Clone)]
pub(in crate::libvirt) struct VolumeContent {
    /// File with the bytes.
    pub file: Arc<File>,
    /// Path of the source image, for messages.
    pub image: PathBuf,
}

impl VolumeContent {
    /// Opens the image, or converts it to a raw disk in a sparse, unnamed file that disappears when
    /// it is closed.
    pub async fn of(wanted: &WantedVolume, cancel: &CancellationToken) -> Result<Self, Error> {
        let image = wanted.image.clone();
        let file = if wanted.image_format == wanted.format {
            File::open(&image).map_err(Error::file("opening", &image))?
        } else {
            raw(wanted, cancel).await?
        };
        Ok(Self { file: Arc::new(file), image })
    }

    /// Length in bytes.
    pub fn len(&self) -> Result<u64, Error> {
        let found = self.file.metadata().map_err(Error::file("inspecting", &self.image))?;
        Ok(found.len())
    }

    /// Bytes of data, without holes.
    pub fn data(&self) -> Result<u64, Error> {
        extents::data_bytes(&self.file).map_err(Error::file("reading", &self.image))
    }

    /// SHA-256 checksum of the first bytes, which identifies a device later.
    pub fn begins(&self) -> Result<Sha256Digest, Error> {
        beginning(&fd_path(&self.file), BEGINNING).map(|bytes| sum_of(&bytes))
    }
}

/// The first `length` bytes of a file; fewer if the file is shorter.
pub(in crate::libvirt) fn beginning(path: &Path, length: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::file("opening", path))?;
    file.take(length).read_to_end(&mut bytes).map_err(Error::file("reading", path))?;
    Ok(bytes)
}

pub(in crate::libvirt) fn sum_of(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest(Sha256::digest(bytes).into())
}

async fn raw(wanted: &WantedVolume, cancel: &CancellationToken) -> Result<File, Error> {
    let image = &wanted.image;
    if wanted.image_format == DiskFormat::Vmdk {
        // The descriptor of a VMDK may name other files. This function never needs to convert a
        // VMDK.
        let reason = "a VMDK is converted before it becomes a volume".to_owned();
        return Err(Error::NotRaw { image: image.clone(), reason });
    }
    let dir = image.parent().unwrap_or(Path::new("/"));
    let make = Error::file("making a raw disk beside", image);
    let file = tempfile::tempfile_in(dir).map_err(make)?;
    file.set_len(wanted.capacity.0).map_err(Error::file("making a raw disk beside", image))?;
    let limits = Limits { timeout: None, cancel: cancel.clone() };
    let qemu_img =
        || Program::new("qemu-img").env("PATH", child::search_path()).env("LC_ALL", "C.UTF-8");
    let door = Door::find(|| qemu_img().arg("--version"), &limits).await;
    let confinement = Confinement::new().read([image]).keep(&file);
    let program = qemu_img()
        .args(["convert", "-n", "--target-is-zero", "-O", DiskFormat::Raw.qemu_driver()])
        .args(["-f", wanted.image_format.qemu_driver()])
        .arg(image)
        .arg(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .bounds(Bounds::of_writing(wanted.capacity.0))
        .confined(confinement, door);
    let mut last = String::new();
    let ended = child::run(program, &limits, |output, line| {
        if output == Output::Stderr {
            line.clone_into(&mut last);
        }
    });
    match ended.await {
        Ok(status) if status.success() => Ok(file),
        Err(child::Error::Cancelled { .. }) => Err(Error::Cancelled),
        Ok(_) => Err(Error::NotRaw { image: image.clone(), reason: last }),
        Err(error) => {
            Err(Error::NotRaw { image: image.clone(), reason: crate::model::chain(&error) })
        }
    }
}

/// Path by which this process can open an unnamed file.
fn fd_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
}
