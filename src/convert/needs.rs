//! What a conversion has to do, as far as that is known before it begins.

use crate::manifest::{Disk, Manifest};
use crate::model::{ByteSize, DiskId, OsFamily, SourceVm};

/// What a conversion is going to be about, known before there is a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Display name of the VM.
    pub vm_name: String,
    /// Its disks, the boot disk first.
    pub disks: Vec<DiskId>,
    /// Bytes of the images to convert, as far as they are known.
    pub data: ByteSize,
    /// The same without images that were converted while they arrived.
    pub unconverted: ByteSize,
    /// The family of the guest, as far as the source tells.
    pub family: OsFamily,
}

impl From<&Manifest> for Needs {
    fn from(manifest: &Manifest) -> Self {
        let order = manifest.disks_in_boot_order();
        let bytes = |counts: &dyn Fn(&&Disk) -> bool| {
            manifest.disks.iter().filter(counts).map(|disk| ByteSize(disk.bytes)).sum()
        };
        Self {
            vm_name: manifest.vm_name().to_owned(),
            disks: order.iter().map(|disk| disk.id.clone()).collect(),
            data: bytes(&|_| true),
            unconverted: bytes(&|disk| manifest.received(&disk.id).is_none()),
            family: manifest.source_vm().guest.family,
        }
    }
}

impl From<&SourceVm> for Needs {
    fn from(vm: &SourceVm) -> Self {
        let mut disks: Vec<_> = vm.disks.iter().collect();
        disks.sort_by_key(|disk| disk.boot_order);
        Self {
            vm_name: vm.name.clone(),
            disks: disks.iter().map(|disk| disk.id.clone()).collect(),
            // How much of its capacity a disk uses is not known before it is exported.
            data: ByteSize(0),
            unconverted: ByteSize(0),
            family: vm.guest.family,
        }
    }
}
