//! VMware's UUIDs of disks, as their images tell them.

use std::fs::File;
use std::path::Path;

use crate::image::vmdk;
use crate::model::{DiskFormat, ExportedDisk, SourceVm};

/// VMware's UUID of the disk in an image, if the image is a VMDK that tells one. A file that cannot
/// be read tells none: the UUID is no reason to fail, and anyone who reads the disk reports the
/// error. Blocks.
pub(super) fn of_image(path: &Path, format: DiskFormat) -> Option<String> {
    if format != DiskFormat::Vmdk {
        return None;
    }
    let read = File::open(path).and_then(|file| vmdk::uuid(&file));
    let failed =
        |error: &std::io::Error| tracing::debug!(%error, path = %path.display(), "no UUID");
    read.inspect_err(failed).unwrap_or_default()
}

/// Fills in the UUIDs of `vm` that only the exported images tell. Blocks.
pub fn fill_disk_uuids(vm: &mut SourceVm, exported: &[ExportedDisk]) {
    for disk in vm.disks.iter_mut().filter(|disk| disk.uuid.is_none()) {
        let image = exported.iter().find(|image| image.id == disk.id);
        disk.uuid = image.and_then(|image| of_image(&image.path, image.format));
    }
}
