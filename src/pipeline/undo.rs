//! `hyperexport undo`: what a run made in libvirt goes; the export stays.

use std::path::Path;

use super::report::RunReport;
use crate::libvirt::{self, TakenBack, Undo};

/// Why nothing was taken back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The result cannot be read.
    #[error("read {path}")]
    Result {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// The run that it tells of defined nothing.
    #[error("{0} tells of no domain: there is nothing to take back")]
    NoDomain(String),
    /// libvirt refused.
    #[error("take back domain '{name}'")]
    Libvirt {
        /// The domain.
        name: String,
        /// What was refused.
        source: libvirt::Error,
    },
}

impl Error {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Result { .. } => Some("give the result.json of an output directory".to_owned()),
            Self::NoDomain(_) => None,
            Self::Libvirt { source, .. } => source.hint(),
        }
    }
}

/// Takes back what the run made whose report is `result`, and nothing else: domain, variables of
/// its firmware, snapshot, the volumes that were made for it, and a pool that was made and is
/// empty. In a dry run it only says what that would be.
///
/// # Errors
/// [`Error`]; nothing was changed then.
pub async fn undo(result: &Path, dry_run: bool) -> Result<TakenBack, Error> {
    let path = result.display().to_string();
    let broken = |source| Error::Result { path: path.clone(), source };
    let text = std::fs::read_to_string(result).map_err(broken)?;
    let report: RunReport = serde_json::from_str(&text).map_err(|e| broken(e.into()))?;
    let domain = report.domain.filter(|domain| !domain.undo.is_empty());
    let domain = domain.ok_or_else(|| Error::NoDomain(path.clone()))?;
    if dry_run {
        let left = domain.undo.iter().rev().map(Undo::to_string).collect();
        return Ok(TakenBack { left, ..TakenBack::default() });
    }
    let refused = |source| Error::Libvirt { name: domain.name.clone(), source };
    let settings = libvirt::Settings { uri: domain.uri.clone(), ..libvirt::Settings::default() };
    let target = libvirt::Target::connect(&settings).await.map_err(refused)?;
    target.take_back(&domain.undo).await.map_err(refused)
}
