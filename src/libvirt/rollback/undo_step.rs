//! The steps themselves, as the journal and the record of a run keep them.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::model::Sha256Digest;

use super::super::results::RegisteredVolume;

/// What shows that steps name what a run of ours has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A run of this user has written them on this machine, as their seal proves.
    Seal,
    /// Nothing but marks on the things themselves: anybody may have written the steps.
    Marks,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Undo {
    /// Take a domain out of libvirt, with the variables of its firmware.
    Undefine {
        /// For messages.
        name: String,
        /// Its identity.
        uuid: String,
        /// What its metadata has, where its UUID is that of its source and not made for it: another
        /// domain may have the UUID by now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mark: Option<String>,
    },
    /// Nothing to undo: the domain just before its definition, and in the record of a finished run
    /// as the run left it. A later `undo` compares, and so knows whether somebody has used the
    /// domain since.
    Defined {
        /// For messages.
        name: String,
        /// Its identity.
        uuid: String,
        /// The storage pool of its disks.
        pool: String,
        /// Its disks.
        disks: Vec<DiskThen>,
    },
    /// Give a domain its name back that was set aside for another.
    BringBack {
        /// Its name.
        name: String,
        /// The name that it has now.
        aside: String,
        /// Its identity.
        uuid: String,
        /// Whether it started with its host.
        autostart: bool,
    },
    /// Switch a domain off that was started to prove that it boots.
    Stop {
        /// For messages.
        name: String,
        /// Its identity, made for it.
        uuid: String,
    },
    /// Forget a snapshot; the files of an external one are steps of their own.
    DropSnapshot {
        /// Its name.
        name: String,
        /// Identity of its domain.
        uuid: String,
        /// Whether it lies in files of its own.
        external: bool,
    },
    /// Delete a volume that libvirt made.
    DeleteVolume {
        /// The volume.
        name: String,
        /// Its pool.
        pool: String,
        /// The image that was sent into it; none for a device and for a snapshot's file.
        image: Option<PathBuf>,
        /// Sum of the first MiB that was sent into it, if it is a device.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        begins: Option<Sha256Digest>,
    },
    /// Remove a file that was copied into a pool's folder.
    RemoveFile {
        /// The file.
        path: PathBuf,
        /// The pool.
        pool: String,
        /// Another file of that name is not ours.
        id: FileId,
    },
    /// Stop a pool that was not started.
    StopPool {
        /// The pool.
        name: String,
        /// Names of the volumes that it held when it was started.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        held: Vec<String>,
    },
    /// Remove the folder that was made for a pool which was there without one.
    RemoveFolder {
        /// The pool.
        pool: String,
    },
    /// Stop and forget a pool.
    RemovePool {
        /// For messages.
        name: String,
        /// Its identity, made for it.
        uuid: String,
        /// Whether its folder was made too.
        folder: bool,
        /// Names of the volumes that lay in its folder before.
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
    /// In which order steps are undone, those of one place in reverse: no volume goes before
    /// its domain, and no domain gets its name back before its successor has left it.
    pub(in crate::libvirt) fn place(&self) -> u8 {
        match self {
            Self::Stop { .. } | Self::DropSnapshot { .. } => 0,
            Self::Undefine { .. } | Self::Defined { .. } => 1,
            Self::BringBack { .. } => 2,
            Self::DeleteVolume { .. } | Self::RemoveFile { .. } => 3,
            Self::StopPool { .. } | Self::RemoveFolder { .. } | Self::RemovePool { .. } => 4,
        }
    }

    /// Whether the step removes a volume.
    pub(in crate::libvirt) fn is_of_volume(&self) -> bool {
        matches!(self, Self::DeleteVolume { .. } | Self::RemoveFile { .. })
    }

    /// Whether a run that came to its end has nothing to undo by the step: others may use the pool
    /// by then.
    pub(in crate::libvirt) fn is_over(&self) -> bool {
        matches!(self, Self::Stop { .. } | Self::StopPool { .. } | Self::RemoveFolder { .. })
    }
}

/// The storage pool and the disks of the domain that the steps define, as they were then; none of a
/// run of an earlier version.
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
    /// The disk.
    #[serde(flatten)]
    pub volume: RegisteredVolume,
    /// When its volume was written to last by the clock of its host, in seconds since 1970; none
    /// where the pool does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
}

/// What tells a file from any other, whatever their names: inodes are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FileId {
    /// Its inode.
    inode: u64,
    /// When it was made, in nanoseconds since 1970, where the file system knows.
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
