//! VMware's UUIDs of disks, read from their images.

use std::fs::File;
use std::path::Path;

use crate::image::vmdk;
use crate::model::{DiskFormat, ExportedDisk, SourceVm};

/// VMware's UUID of the disk in an image; `None` unless the image is a VMDK with a UUID. An
/// unreadable file yields `None`: a missing UUID must not fail the export, and the error is
/// reported when the disk is read. Blocks.
pub(super) fn of_image(path: &Path, format: DiskFormat) -> Option<String> {
    if format != DiskFormat::Vmdk {
        return None;
    }
    let read = File::open(path).and_then(|file| vmdk::uuid(&file));
    let failed =
        |error: &std::io::Error| tracing::debug!(%error, path = %path.display(), "no UUID");
    read.inspect_err(failed).unwrap_or_default()
}

/// Sets the UUIDs of `vm` that are only known from the exported images. Blocks.
pub fn fill_disk_uuids(vm: &mut SourceVm, exported: &[ExportedDisk]) {
    for disk in vm.disks.iter_mut().filter(|disk| disk.uuid.is_none()) {
        let image = exported.iter().find(|image| image.id == disk.id);
        disk.uuid = image.and_then(|image| of_image(&image.path, image.format));
    }
}
