//! Undo steps, as the journal and the record of a run store them.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::model::Sha256Digest;

use super::super::results::RegisteredVolume;

/// Evidence that the steps describe changes of a hyperexport run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The seal of the steps: a run of this user wrote them on this machine.
    Seal,
    /// Marks on the objects themselves: anybody may have written the steps.
    Marks,
}

/// A step that undoes one change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Undo {
    /// Undefine a domain and delete its UEFI variables.
    Undefine {
        /// Name, for messages only.
        name: String,
        /// UUID of the domain.
        uuid: String,
        /// Mark in the metadata of the domain, if the domain keeps the UUID of its source: by now
        /// another domain may have that UUID.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mark: Option<String>,
    },
    /// Nothing to undo: state of the domain just before its definition, or at the end of a finished
    /// run. A later `undo` compares the state to detect whether the domain has been used since.
    Defined {
        /// Name, for messages only.
        name: String,
        /// UUID of the domain.
        uuid: String,
        /// Name of the storage pool of the domain's disks.
        pool: String,
        /// State of the disks.
        disks: Vec<DiskThen>,
    },
    /// Restore the name of a domain that was set aside for its successor.
    BringBack {
        /// Original name of the domain.
        name: String,
        /// Name of the domain while it is set aside.
        aside: String,
        /// UUID of the domain.
        uuid: String,
        /// Whether the domain started when its host booted.
        autostart: bool,
    },
    /// Switch off a domain that was started for the boot proof.
    Stop {
        /// Name, for messages only.
        name: String,
        /// UUID of the domain.
        uuid: String,
    },
    /// Delete a snapshot. The files of an external snapshot are removed by steps of their own.
    DropSnapshot {
        /// Name of the snapshot.
        name: String,
        /// UUID of the domain.
        uuid: String,
        /// Whether the snapshot is external, with overlay files of its own.
        external: bool,
    },
    /// Delete a volume that libvirt created.
    DeleteVolume {
        /// Name of the volume.
        name: String,
        /// Name of the storage pool.
        pool: String,
        /// Path of the image that was uploaded into the volume; null for a device and for the file
        /// of a snapshot.
        image: Option<PathBuf>,
        /// SHA-256 checksum of the first MiB that was uploaded, if the volume is a device.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        begins: Option<Sha256Digest>,
    },
    /// Remove a file that was copied into the folder of a pool.
    RemoveFile {
        /// Path of the file.
        path: PathBuf,
        /// Name of the storage pool.
        pool: String,
        /// Identity of the file. Another file at the same path is not removed.
        id: FileId,
    },
    /// Stop a pool that the run started.
    StopPool {
        /// Name of the storage pool.
        name: String,
        /// Names of the volumes in the pool when it was started.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        held: Vec<String>,
    },
    /// Remove the folder that was created for an existing pool.
    RemoveFolder {
        /// Name of the storage pool.
        pool: String,
    },
    /// Stop and undefine a pool.
    RemovePool {
        /// Name, for messages only.
        name: String,
        /// UUID of the pool, made for it.
        uuid: String,
        /// Whether the folder of the pool was created too.
        folder: bool,
        /// Names of the volumes that were in the folder before.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        held: Vec<String>,
    },
}

impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefine { name, .. } | Self::Defined { name, .. } => {
                write!(f, "domain '{name}'")
            }
            Self::BringBack { name, aside, .. } => {
                write!(f, "domain '{aside}', which was '{name}'")
            }
            Self::Stop { name, .. } => write!(f, "domain '{name}' running"),
            Self::DropSnapshot { name, .. } => write!(f, "snapshot '{name}'"),
            Self::DeleteVolume { name, pool, .. } => write!(f, "volume '{name}' in pool '{pool}'"),
            Self::RemoveFile { path, .. } => write!(f, "{}", path.display()),
            Self::StopPool { name, .. } => write!(f, "storage pool '{name}' started"),
            Self::RemoveFolder { pool } => write!(f, "folder of storage pool '{pool}'"),
            Self::RemovePool { name, .. } => write!(f, "storage pool '{name}'"),
        }
    }
}

impl Undo {
    /// Rank of the step in the order of undoing; steps of one rank are undone in reverse. A domain
    /// goes before its volumes, and a successor gives up its name before the old domain gets the
    /// name back.
    pub(in crate::libvirt) fn place(&self) -> u8 {
        match self {
            Self::Stop { .. } | Self::DropSnapshot { .. } => 0,
            Self::Undefine { .. } | Self::Defined { .. } => 1,
            Self::BringBack { .. } => 2,
            Self::DeleteVolume { .. } | Self::RemoveFile { .. } => 3,
            Self::StopPool { .. } | Self::RemoveFolder { .. } | Self::RemovePool { .. } => 4,
        }
    }

    /// Whether the step removes a volume or its file.
    pub(in crate::libvirt) fn is_of_volume(&self) -> bool {
        matches!(self, Self::DeleteVolume { .. } | Self::RemoveFile { .. })
    }

    /// Whether the step has no effect after the run has finished: others may use the pool by then.
    pub(in crate::libvirt) fn is_over(&self) -> bool {
        matches!(self, Self::Stop { .. } | Self::StopPool { .. } | Self::RemoveFolder { .. })
    }
}

/// Storage pool and disks of the domain that the steps define, as recorded; `None` for a run of an
/// earlier version.
pub(in crate::libvirt) fn defined(steps: &[Undo]) -> Option<(&str, &[DiskThen])> {
    steps.iter().rev().find_map(|step| match step {
        Undo::Defined { pool, disks, .. } => Some((pool.as_str(), disks.as_slice())),
        _ => None,
    })
}

/// A disk of a domain just before the definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DiskThen {
    /// Volume of the disk.
    #[serde(flatten)]
    pub volume: RegisteredVolume,
    /// When the volume was last written to, in seconds since 1970 by the clock of its host; absent
    /// if the pool does not report the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
}

/// Identity of a file, whatever its name. An inode number alone may be reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FileId {
    /// Inode number of the file.
    inode: u64,
    /// When the file was created, in nanoseconds since 1970, if the file system records it.
    born: Option<u64>,
}

impl From<&fs::Metadata> for FileId {
    fn from(found: &fs::Metadata) -> Self {
        let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
        let born = found.created().ok().and_then(since);
        let born = born.and_then(|since| u64::try_from(since.as_nanos()).ok());
        Self { inode: found.ino(), born }
    }
}
