//! Settings for a VM in files.

use std::path::PathBuf;

use crate::exporter::Rewrite;
use crate::model::{DiskFormat, Firmware, SourceNic};

/// Paths of a VM, and facts that its files do not contain.
#[derive(Debug, Clone)]
pub struct FileSettings {
    /// The OVA, OVF, VMX, directory or image; further paths are further images.
    pub paths: Vec<PathBuf>,
    /// VM of the package to export, and overrides for missing facts.
    pub choice: FileChoice,
    /// Conversion of packed disks while they are read, where the disk allows it; `None` disables
    /// it.
    pub rewrite: Option<Rewrite>,
}

impl FileSettings {
    /// The first path, which stands for the VM's files in messages.
    pub(super) fn path(&self) -> PathBuf {
        self.paths.first().cloned().unwrap_or_default()
    }
}

/// Choices of the user for a VM in files.
#[derive(Debug, Clone, Default)]
pub struct FileChoice {
    /// Name or id of the VM, required if a package contains several.
    pub vm: Option<String>,
    /// Format of the images, for names without a known or correct extension.
    pub format: Option<DiskFormat>,
    /// Whether the checksums in the package are ignored.
    pub ignore_checksums: bool,
    /// Name that replaces the VM's own name.
    pub name: Option<String>,
    /// Number of CPUs that replaces the VM's own number.
    pub cpu: Option<u32>,
    /// Memory in MiB that replaces the VM's own size.
    pub memory_mib: Option<u64>,
    /// Firmware that replaces the VM's own firmware.
    pub firmware: Option<Firmware>,
    /// Network cards, for a source that describes none.
    pub nics: Option<Vec<SourceNic>>,
}
