//! What a package tells of its VMs.

use crate::model::{DiskFormat, SourceVm, Warning};

/// A VM of a package.
#[derive(Debug, Clone)]
pub(in crate::exporter::files) struct PackagedVm {
    pub(in crate::exporter::files) vm: SourceVm,
    /// In the order of the VM's disks.
    pub(in crate::exporter::files) disks: Vec<OvfDisk>,
    /// Whether the number of its CPUs makes no sense.
    pub(in crate::exporter::files) odd_cpu: bool,
    /// What lies in its CD-ROM drives.
    pub(in crate::exporter::files) media: Vec<OvfMedium>,
    /// The file of its UEFI variables beside the descriptor, if there is one.
    pub(in crate::exporter::files) nvram: Option<String>,
    /// What is worth telling of it.
    pub(in crate::exporter::files) warnings: Vec<Warning>,
}

/// The image in a CD-ROM drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::exporter::files) struct OvfMedium {
    /// What it is called beside the descriptor.
    pub(in crate::exporter::files) href: String,
    /// Whether it is gzip-compressed.
    pub(in crate::exporter::files) gzip: bool,
}

/// The file of a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::exporter::files) struct OvfDisk {
    /// What it is called beside the descriptor; none when the disk is empty.
    pub(in crate::exporter::files) href: Option<String>,
    /// How many chunks it comes in; none when it is whole.
    pub(in crate::exporter::files) chunks: Option<u64>,
    /// Its length in the package, in bytes, if the descriptor states it.
    pub(in crate::exporter::files) size: Option<u64>,
    /// Whether it is gzip-compressed.
    pub(in crate::exporter::files) gzip: bool,
    /// Its format, if descriptor or name tell.
    pub(in crate::exporter::files) format: Option<DiskFormat>,
    /// Whether oVirt wrote it, which names the format of the volume in its storage.
    pub(in crate::exporter::files) of_ovirt: bool,
    /// Size that the guest sees, in bytes; 0 when the descriptor does not say.
    pub(in crate::exporter::files) capacity: u64,
}

impl OvfDisk {
    /// The files that it comes in (DSP0243 2.1.1, section 7.1): chunks are called
    /// `HREF.000000000` and so on. Each name is made when it is asked for.
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
