//! Who converts.

use std::path::PathBuf;

use crate::model::Warning;

/// Who converts, once that is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// The hyper2kvm of that path.
    Hyper2kvm(PathBuf),
    /// Ourselves.
    Native,
    /// Ourselves, with virt-v2v-in-place.
    VirtV2v,
}

/// A conversion that may begin.
#[derive(Debug, Clone)]
pub struct ReadyConversion {
    /// Who converts.
    pub engine: Engine,
    /// Its name and version; only the name in a dry run, which does not run it.
    pub converter: String,
    /// Where the results go, boot disk first; none when CONVERT is off.
    pub results: Vec<PathBuf>,
    /// What is less than well.
    pub warnings: Vec<Warning>,
}
