//! The files that an export writes, before it writes them.

use super::{DiskFormat, DiskId};

/// A file that an export writes into its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportFile {
    /// The disk that is in it. An ISO and the firmware's variables are no disks.
    pub disk: Option<DiskId>,
    /// Its name in the folder.
    pub name: String,
}

impl ExportFile {
    /// The file of a disk in that format.
    pub fn of_disk(disk: &DiskId, format: DiskFormat) -> Self {
        Self { disk: Some(disk.clone()), name: disk.file_name(format) }
    }

    /// A file that has no disk.
    pub fn other(name: impl Into<String>) -> Self {
        Self { disk: None, name: name.into() }
    }

    /// Whether `disk` is in it.
    pub fn is_of(&self, disk: &DiskId) -> bool {
        self.disk.as_ref() == Some(disk)
    }
}
