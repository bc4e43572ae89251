//! What is asked of an undo, what came of it, and why there was none.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::libvirt::{self, UndoReport};
use crate::model::{Hint, quoted};
use crate::pipeline::output::journal::{self, Pending};
use crate::pipeline::output::records::Record;

/// Why nothing was undone.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A result or a record cannot be read.
    #[error("{0}")]
    Record(String),
    /// The run that it tells of defined nothing.
    #[error("{0} names no domain: there is nothing to undo")]
    NoDomain(String),
    /// No run of that name.
    #[error("no run '{id}' is recorded in {}", folder.display())]
    NoRun {
        /// The name.
        id: String,
        /// The output directory.
        folder: PathBuf,
    },
    /// Another run works in the folder.
    #[error(transparent)]
    Busy(#[from] crate::pipeline::output::output_lock::Error),
    /// What a run has noted that did not come to its end cannot be read or undone.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The newest data of the machine may be in the disks that would go.
    #[error("domain '{name}' was used since its run: {}", disks.join("; "))]
    Used {
        /// The domain.
        name: String,
        /// What shows that, one line a disk.
        disks: Vec<String>,
    },
    /// A later run has set the domain aside, and would give it its name back.
    #[error("domain '{name}' is now '{now}': a later run has renamed it{}", run_of(by, folder))]
    SetAside {
        /// The domain.
        name: String,
        /// Its present name.
        now: String,
        /// That run, if it is one of the folder.
        by: Option<String>,
        /// The output directory.
        folder: PathBuf,
    },
    /// libvirt refused.
    #[error("undoing the definition of domain '{name}'")]
    Libvirt {
        /// The domain.
        name: String,
        /// What was refused.
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

/// Which runs of an output directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhichRuns {
    /// The newest that is not undone.
    Newest,
    /// All that are not undone, the newest first.
    All,
    /// The one of that name.
    Named(String),
}

/// How it is undone.
#[derive(Debug, Clone, Default)]
pub struct UndoOptions {
    /// The libvirt URI, where the user names it: it may say more than one that a file names.
    pub uri: Option<String>,
    /// Only say what would go.
    pub dry_run: bool,
    /// Also where the disks were written to since.
    pub even_if_used: bool,
}

impl UndoOptions {
    /// Refuses a URI of a file that could name a program to run, and one that the user has not
    /// named.
    pub(super) fn check_uri(&self, uri: &str) -> Result<(), libvirt::Error> {
        check_uri(uri, self.uri.as_deref())
    }
}

/// Refuses the `uri` of a file that could name a program to run, and one that is not the user's.
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
    /// Its name.
    pub run: String,
    /// When it began.
    pub started_at: jiff::Timestamp,
    /// Which libvirt.
    pub uri: String,
    /// The domain; `None` of a run that did not come to define it.
    pub domain: Option<String>,
    /// When all of it was undone; `None` when it was not, or not all.
    pub undone_at: Option<jiff::Timestamp>,
}

/// The name of a run that was killed, or could not undo what it had made: it has no record.
pub(super) const UNFINISHED: &str = "unfinished";

/// Which run that is, for the end of a sentence.
fn run_of(id: &Option<String>, folder: &Path) -> String {
    id.as_ref().map(|id| format!(", {id} of {}", folder.display())).unwrap_or_default()
}

/// What became of runs.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TakenBackRuns {
    /// Which runs.
    pub runs: Vec<RecordedRun>,
    /// What became of their steps.
    #[serde(flatten)]
    pub taken: UndoReport,
    /// What stays that a person may not expect, one line each.
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

/// The flag by which the user says that used disks go.
pub(in crate::pipeline) const EVEN_IF_USED: &str = "--even-if-used";
