//! The program that converts the disks.

use std::path::PathBuf;

use crate::model::Warning;

/// The program that converts the disks, once it is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// The hyper2kvm at this path.
    Hyper2kvm(PathBuf),
    /// hyperexport itself.
    Native,
    /// hyperexport itself, with virt-v2v-in-place for the guest.
    VirtV2v,
}

/// A conversion whose preconditions have been checked.
#[derive(Debug, Clone)]
pub struct ReadyConversion {
    /// The program that converts the disks.
    pub engine: Engine,
    /// Name and version of the converter; only the name in a dry run, which does not run the
    /// converter.
    pub converter: String,
    /// Paths of the results, boot disk first; empty when CONVERT is off.
    pub results: Vec<PathBuf>,
    /// Problems that do not stop the conversion.
    pub warnings: Vec<Warning>,
}
