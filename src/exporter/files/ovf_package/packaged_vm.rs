//! The VMs that a package describes.

use crate::model::{DiskFormat, SourceVm, Warning};

#[derive(Debug, Clone)]
pub(in crate::exporter::files) struct PackagedVm {
    pub(in crate::exporter::files) vm: SourceVm,
    /// In the order of the VM's disks.
    pub(in crate::exporter::files) disks: Vec<OvfDisk>,
    /// Whether the number of CPUs is invalid.
    pub(in crate::exporter::files) odd_cpu: bool,
    /// Images of the CD-ROM drives.
    pub(in crate::exporter::files) media: Vec<OvfMedium>,
    /// File of the UEFI variables beside the descriptor, if there is one.
    pub(in crate::exporter::files) nvram: Option<String>,
    /// Warnings about the VM.
    pub(in crate::exporter::files) warnings: Vec<Warning>,
}

/// The image in a CD-ROM drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::exporter::files) struct OvfMedium {
    /// Reference relative to the descriptor.
    pub(in crate::exporter::files) href: String,
    pub(in crate::exporter::files) gzip: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::exporter::files) struct OvfDisk {
    /// Reference relative to the descriptor; `None` for an empty disk.
    pub(in crate::exporter::files) href: Option<String>,
    /// Number of chunks; `None` if the disk is one file.
    pub(in crate::exporter::files) chunks: Option<u64>,
    /// Length in the package, in bytes, if the descriptor states it.
    pub(in crate::exporter::files) size: Option<u64>,
    pub(in crate::exporter::files) gzip: bool,
    /// Format by the descriptor or the file name.
    pub(in crate::exporter::files) format: Option<DiskFormat>,
    /// Whether oVirt wrote the package: it states the format of the volume in its storage.
    pub(in crate::exporter::files) of_ovirt: bool,
    /// Size that the guest sees, in bytes; 0 when the descriptor does not state it.
    pub(in crate::exporter::files) capacity: u64,
}

impl OvfDisk {
    /// References of the disk's files (DSP0243 2.1.1, section 7.1): chunks are called
    /// `HREF.000000000` and so on. The names are built lazily.
    pub(super) fn hrefs(&self) -> impl Iterator<Item = String> + '_ {
        let count = self.chunks.unwrap_or(1);
        self.href.iter().flat_map(move |href| {
            (0..count).map(move |n| match self.chunks {
                None => href.clone(),
                Some(_) => format!("{href}.{n:09}"),
            })
        })
    }
}
