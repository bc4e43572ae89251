//! Disks that are finished before their export is: an interrupted run leaves them for the next one.

use std::io;
use std::path::Path;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use crate::model::{ByteSize, DiskFormat, DiskId, ExportedDisk, ReceivedStream, Sha256Digest};

/// A disk that was downloaded and verified. The name of its file ends with `.part` until the entire
/// export is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedDisk {
    /// Id of the disk in its VM.
    pub id: DiskId,
    /// Size that the guest sees, in bytes.
    pub capacity: ByteSize,
    /// Size of the file in bytes.
    pub file_size: ByteSize,
    /// SHA-256 checksum of the file.
    pub sha256: Sha256Digest,
    /// Hash of the disk's content; `None` if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Sha256Digest>,
    /// The stream that the file was converted from; `None` if the file is the stream itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<ReceivedStream>,
    /// VMware's UUID of the disk, if the received stream contained it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Reason why the server did not confirm the checksum; `None` if it did.
    pub unverified: Option<String>,
}

impl FinishedDisk {
    /// Converts to the disk of an export in the file `path`.
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

    /// Reports the disk to `note`. An error of `note` does not end the export.
    pub async fn report(&self, note: Option<OnFinished<'_>>) {
        if let Some(note) = note
            && let Err(error) = note(self).await
        {
            tracing::warn!(disk = %self.id, %error, "a killed run would lose it");
        }
    }
}

/// Callback for every disk that is finished. It runs on the runtime's only thread, so that anything
/// that waits for the storage belongs into the [`DurableNote`].
pub type OnFinished<'a> = &'a (dyn Fn(&FinishedDisk) -> DurableNote + Sync);

/// Future that ends once the disk is durably recorded.
pub type DurableNote = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;
