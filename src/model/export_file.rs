//! Names of the files that an export will write.

use super::{DiskFormat, DiskId};

/// A file that an export writes into its output directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportFile {
    /// Disk whose image the file is; `None` for an ISO and for the firmware's variables.
    pub disk: Option<DiskId>,
    /// File name, relative to the output directory.
    pub name: String,
}

impl ExportFile {
    /// The image of a disk in that format.
    pub fn of_disk(disk: &DiskId, format: DiskFormat) -> Self {
        Self { disk: Some(disk.clone()), name: disk.file_name(format) }
    }

    /// A file that is not the image of a disk.
    pub fn other(name: impl Into<String>) -> Self {
        Self { disk: None, name: name.into() }
    }

    /// Whether the file is the image of `disk`.
    pub fn is_of(&self, disk: &DiskId) -> bool {
        self.disk.as_ref() == Some(disk)
    }
}
