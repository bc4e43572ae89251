//! Options, results and errors of an undo.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::libvirt::{self, UndoReport};
use crate::model::{Hint, quoted};
use crate::pipeline::output::journal::{self, Pending};
use crate::pipeline::output::records::Record;

/// Why an undo has failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A result or a record cannot be read.
    #[error("{0}")]
    Record(String),
    /// The run has not defined a domain.
    #[error("{0} names no domain: there is nothing to undo")]
    NoDomain(String),
    /// No run has that name.
    #[error("no run '{id}' is recorded in {}", folder.display())]
    NoRun {
        /// Name that the user has passed.
        id: String,
        /// Path of the output directory.
        folder: PathBuf,
    },
    /// Another run is working in the output directory.
    #[error(transparent)]
    Busy(#[from] crate::pipeline::output::output_lock::Error),
    /// The journal of an unfinished run cannot be read or undone.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The disks that would be removed may have the machine's newest data.
    #[error("domain '{name}' was used since its run: {}", disks.join("; "))]
    Used {
        /// Name of the domain.
        name: String,
        /// Evidence of the use, one line for each disk.
        disks: Vec<String>,
    },
    /// A later run has renamed the domain, and its undo would restore the name.
    #[error("domain '{name}' is now '{now}': a later run has renamed it{}", run_of(by, folder))]
    SetAside {
        /// Name of the domain when it was defined.
        name: String,
        /// Current name of the domain.
        now: String,
        /// Name of the later run, if it is a run of this output directory.
        by: Option<String>,
        /// Path of the output directory.
        folder: PathBuf,
    },
    /// libvirt has reported an error.
    #[error("undoing the definition of domain '{name}'")]
    Libvirt {
        /// Name of the domain.
        name: String,
        /// Error of libvirt.
        source: libvirt::Error,
    },
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Record(_) => {
                Some("pass an output directory, or the result.json of one".to_owned())
            }
            Self::NoDomain(_) => None,
            Self::NoRun { folder, .. } => Some(format!(
                "run 'hyperexport undo --list {}', which shows the runs",
                folder.display()
            )),
            Self::Busy(error) => error.hint(),
            Self::Journal(error) => error.hint(),
            Self::Used { .. } => Some(format!(
                "copy what is needed out of these disks first; {EVEN_IF_USED} deletes them with \
                 all that their guest has written; nothing was changed"
            )),
            Self::SetAside { by: Some(id), folder, .. } => Some(format!(
                "undo that run first: hyperexport undo {} --run {id}",
                quoted(&folder.to_string_lossy())
            )),
            Self::SetAside { name, now, by: None, .. } => Some(format!(
                "undo that run first, in its own output directory; or, if the directory is gone, \
                 rename the domain: virsh domrename {} {}",
                quoted(now),
                quoted(name)
            )),
            Self::Libvirt { source, .. } => source.hint(),
        }
    }
}

/// Selection of the runs of an output directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhichRuns {
    /// The newest run that is not undone.
    Newest,
    /// All runs that are not undone, the newest first.
    All,
    /// The run with that name.
    Named(String),
}

/// Options of an undo.
#[derive(Debug, Clone, Default)]
pub struct UndoOptions {
    /// Libvirt URI that the user has passed: unlike a URI in a file, it may name a program to run.
    pub uri: Option<String>,
    /// Only report what would be removed.
    pub dry_run: bool,
    /// Also remove disks that were written to since the run.
    pub even_if_used: bool,
}

impl UndoOptions {
    /// Rejects a URI of a file that could name a program to run, and a URI that the user has not
    /// passed.
    pub(super) fn check_uri(&self, uri: &str) -> Result<(), libvirt::Error> {
        check_uri(uri, self.uri.as_deref())
    }
}

/// Rejects the `uri` of a file that could name a program to run, or that differs from the user's.
pub(in crate::pipeline) fn check_uri(uri: &str, named: Option<&str>) -> Result<(), libvirt::Error> {
    match named {
        None => libvirt::check_uri_from_file(uri),
        Some(named) if named == uri => Ok(()),
        Some(named) => {
            Err(libvirt::Error::OtherUri { there: uri.to_owned(), here: named.to_owned() })
        }
    }
}

/// A run that defined a domain.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecordedRun {
    /// Name of the run.
    pub run: String,
    /// Start time of the run; for an unfinished run, the last time at which it was alive.
    pub started_at: jiff::Timestamp,
    /// Connection URI of the libvirt on which the domain was defined.
    pub uri: String,
    /// Name of the domain; null if the run was killed before it defined the domain.
    pub domain: Option<String>,
    /// Time at which the run was undone completely; null otherwise.
    pub undone_at: Option<jiff::Timestamp>,
}

/// Name of a run that was killed, or could not undo its steps: such a run has no record.
pub(super) const UNFINISHED: &str = "unfinished";

/// The run, for the end of a sentence.
fn run_of(id: &Option<String>, folder: &Path) -> String {
    id.as_ref().map(|id| format!(", {id} of {}", folder.display())).unwrap_or_default()
}

/// Result of `hyperexport undo`.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TakenBackRuns {
    /// Runs that were undone.
    pub runs: Vec<RecordedRun>,
    /// Objects of these runs that were removed, and those that were not.
    #[serde(flatten)]
    pub taken: UndoReport,
    /// Notes for the user about the result, one line each.
    pub notes: Vec<String>,
}

impl RecordedRun {
    pub(super) fn unfinished(pending: &Pending) -> Self {
        Self {
            run: UNFINISHED.to_owned(),
            started_at: jiff::Timestamp::try_from(pending.alive_at).unwrap_or_default(),
            uri: pending.uri.clone(),
            domain: pending.domain(),
            undone_at: None,
        }
    }

    pub(super) fn of(record: &Record) -> Option<Self> {
        let domain = record.report.domain.as_ref()?;
        let undone = record.report.undone.as_ref().filter(|_| record.is_undone());
        Some(Self {
            run: record.id.clone(),
            started_at: record.report.started_at,
            uri: domain.uri.clone(),
            domain: Some(domain.name.clone()),
            undone_at: undone.map(|undone| undone.at),
        })
    }
}

/// Flag with which the user permits the removal of used disks.
pub(in crate::pipeline) const EVEN_IF_USED: &str = "--even-if-used";
