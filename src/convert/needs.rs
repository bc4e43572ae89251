//! The task of a conversion, as far as it is known in advance.

use crate::manifest::{Disk, Manifest};
use crate::model::{ByteSize, DiskId, OsFamily, SourceVm};

/// The subject of a conversion, known before the manifest exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Display name of the VM.
    pub vm_name: String,
    /// Disks of the VM, the boot disk first.
    pub disks: Vec<DiskId>,
    /// Total bytes of the images to convert, as far as they are known.
    pub data: ByteSize,
    /// As `data`, without images that were converted during the download.
    pub unconverted: ByteSize,
    /// The family of the guest, as far as the source reports it.
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
