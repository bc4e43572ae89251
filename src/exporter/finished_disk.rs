//! Disks that are whole before their export is: what a killed run leaves for the next one.

use std::io;
use std::path::Path;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use crate::model::{ByteSize, DiskFormat, DiskId, ExportedDisk, ReceivedStream, Sha256Digest};

/// A disk that has arrived and was checked. The name of its file ends with `.part` until the whole
/// export is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedDisk {
    /// Which disk of the VM.
    pub id: DiskId,
    /// Size that the guest sees.
    pub capacity: ByteSize,
    /// Size of the file.
    pub file_size: ByteSize,
    /// Sum of the file.
    pub sha256: Sha256Digest,
    /// Hash of the content of the disk, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Sha256Digest>,
    /// What it was made of while it arrived, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<ReceivedStream>,
    /// VMware's UUID of it, where what it was made of told one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Why the server did not confirm it, if it did not.
    pub unverified: Option<String>,
}

impl FinishedDisk {
    /// The disk as a part of its export.
    pub fn exported(self, path: &Path, format: DiskFormat) -> ExportedDisk {
        ExportedDisk {
            id: self.id,
            path: path.to_owned(),
            format,
            file_size: self.file_size,
            capacity: self.capacity,
            sha256: self.sha256,
            content: self.content,
            received: self.received,
        }
    }

    /// Reports it; an export goes on where nobody could note it.
    pub async fn report(&self, note: Option<OnFinished<'_>>) {
        if let Some(note) = note
            && let Err(error) = note(self).await
        {
            tracing::warn!(disk = %self.id, %error, "a killed run would lose it");
        }
    }
}

/// Called for every disk as it becomes complete, on the runtime's only thread: what waits for the
/// storage is in the [`Note`].
pub type OnFinished<'a> = &'a (dyn Fn(&FinishedDisk) -> Note + Sync);

/// Ends once a disk is durably noted.
pub type Note = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;
