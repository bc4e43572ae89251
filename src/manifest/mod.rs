//! The Artifact Manifest v1.0: the contract between an exporter and a converter.
//!
//! `build` makes a manifest from an export, `check` checks a manifest against the contract's rules,
//! `read` and `write` move it from and to its file. Unknown fields survive a read and a write. The
//! contract is that of HyperSDK (which writes it) and hyper2kvm (which reads it); every rule is a
//! line of `rules.rs`.

mod build;
mod described_vm;
mod file;
mod moved;
mod node;
mod rules;
mod sums;
mod types;

pub use build::{BuildOptions, GENERATOR, PipelineFlags, build, stages};
pub use file::{Overwrite, read, read_own, write};
pub use moved::Moved;
pub use rules::{Violation, check};
pub use sums::{check_files, sum_of, sum_of_file, verify_sums};
pub use types::{
    ConvertStage, Disk, DiskType, Exact, FixStage, InspectStage, Manifest, ManifestFirmware,
    ManifestSource, Metadata, Nic, OutputTarget, Pipeline, RecordedWarning, ValidateStage, Vm,
};

use std::io;
use std::path::PathBuf;

use crate::model::{DiskId, Hint, Sha256Digest};
use crate::state;

/// Name of the manifest's file in an output directory.
pub const FILE_NAME: &str = "manifest.json";

/// Why a manifest, or a file that it names, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading a file failed.
    #[error("reading {}", path.display())]
    Read {
        /// The manifest or a disk image.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file exceeds the size limit of a manifest.
    #[error("{} is larger than {limit} bytes, the limit of a manifest", path.display())]
    TooLarge {
        /// Path of the manifest.
        path: PathBuf,
        /// Largest accepted size, in bytes.
        limit: u64,
    },
    /// The file is not JSON.
    #[error("{} is not JSON", path.display())]
    NotJson {
        /// Path of the manifest.
        path: PathBuf,
        /// Syntax error with its line and column.
        source: serde_json::Error,
    },
    /// Rules of the contract are broken.
    #[error("manifest is not valid: {}", list(violations))]
    Invalid {
        /// All broken rules, not only the first.
        violations: Vec<Violation>,
    },
    /// Writing the manifest failed.
    #[error("writing {}", path.display())]
    Write {
        /// Path of the manifest.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A file of that name exists, and it may not be overwritten.
    #[error("{} exists already", path.display())]
    Exists {
        /// Path of the existing file.
        path: PathBuf,
    },
    /// A disk image is not the one that was exported.
    #[error("SHA-256 checksum of {disk} ({}) is {found}, not {expected}", path.display())]
    SumDiffers {
        /// Id of the disk in the manifest.
        disk: DiskId,
        /// Path of the disk's image.
        path: PathBuf,
        /// Checksum in the manifest.
        expected: Sha256Digest,
        /// Checksum of the file.
        found: Sha256Digest,
    },
    /// The path is not a regular file that may be read, or another user could have written it.
    #[error(transparent)]
    State(state::Error),
    /// The run was cancelled.
    #[error("interrupted")]
    Cancelled,
}

impl From<state::Error> for Error {
    fn from(error: state::Error) -> Self {
        match error {
            state::Error::Read { path, source } => Self::Read { path, source },
            state::Error::TooLarge { path, limit } => Self::TooLarge { path, limit },
            other => Self::State(other),
        }
    }
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => Some(
                "pass the path of a manifest with --manifest FILE; an export writes manifest.json"
                    .to_owned(),
            ),
            Self::NotJson { .. } | Self::TooLarge { .. } => {
                Some("pass an Artifact Manifest v1.0: the manifest.json of an export".to_owned())
            }
            Self::Exists { path } => {
                Some(format!("move {} away, or use another --output", path.display()))
            }
            Self::State(error) => error.hint(),
            Self::SumDiffers { .. } => {
                Some("export the VM again: the image has changed".to_owned())
            }
            _ => None,
        }
    }
}

fn list(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
