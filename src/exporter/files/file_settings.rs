//! What the user says about a VM that lies in files.

use std::path::PathBuf;

use crate::exporter::Rewrite;
use crate::model::{DiskFormat, Firmware, SourceNic};

/// Where a VM lies, and what its files do not say.
#[derive(Debug, Clone)]
pub struct FileSettings {
    /// The OVA, OVF, VMX, folder or image; further ones are further images.
    pub paths: Vec<PathBuf>,
    /// Which VM of a package to export, and the facts that the files leave open.
    pub choice: FileChoice,
    /// What packed disks become while they are read, if they can; none to keep them as they are.
    pub rewrite: Option<Rewrite>,
}

impl FileSettings {
    /// The first path, which names the VM's files in messages.
    pub(super) fn path(&self) -> PathBuf {
        self.paths.first().cloned().unwrap_or_default()
    }
}

/// What the user says about a VM in files.
#[derive(Debug, Clone, Default)]
pub struct FileChoice {
    /// Name or id of the VM, where a package holds several.
    pub vm: Option<String>,
    /// Format of the images, where their names do not tell or tell wrong.
    pub format: Option<DiskFormat>,
    /// Whether the package's own sums are passed over.
    pub ignore_checksums: bool,
    /// The VM's name instead of its own.
    pub name: Option<String>,
    /// Its number of CPUs instead of its own.
    pub cpu: Option<u32>,
    /// Its memory in MiB instead of its own.
    pub memory_mib: Option<u64>,
    /// Its firmware instead of its own.
    pub firmware: Option<Firmware>,
    /// Its network cards, where the source describes none.
    pub nics: Option<Vec<SourceNic>>,
}
