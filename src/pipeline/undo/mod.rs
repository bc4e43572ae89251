//! `hyperexport undo`: what runs made in libvirt goes; the export stays.

pub(super) mod undo_check;
pub(super) mod undo_source;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::output::journal::{self, Pending};
use super::output::made::Undone;
use super::output::output_lock::OutputDir;
use super::output::records::{self, Record};
use super::output::report;
use super::output::stored::folder_of;
use crate::libvirt::{self, Connections, Evidence, Life, Undo, UndoReport};
use crate::model::{Hint, chain, quoted};
use undo_check::{EVEN_IF_USED, UndoCandidate};
use undo_source::AtSource;

/// Why nothing was taken back.
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
    Busy(#[from] super::output::output_lock::Error),
    /// What a run has noted that did not come to its end cannot be read or taken back.
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
    /// Refuses a URI of a file that could name a program to run, and one that the user has not named.
    fn check_uri(&self, uri: &str) -> Result<(), libvirt::Error> {
        check_uri(uri, self.uri.as_deref())
    }
}

/// Refuses the `uri` of a file that could name a program to run, and one that is not the user's.
pub(super) fn check_uri(uri: &str, named: Option<&str>) -> Result<(), libvirt::Error> {
    match named {
        None => libvirt::check_uri_from_file(uri),
        Some(named) if named == uri => Ok(()),
        Some(named) => {
            Err(libvirt::Error::OtherUri { there: uri.to_owned(), here: named.to_owned() })
        }
    }
}

/// What is to be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UndoScope {
    /// Runs of an output directory.
    Folder(PathBuf, WhichRuns),
    /// The run that a result tells of.
    File(PathBuf),
}

impl UndoScope {
    /// An output directory, or a file of it: alone that is a word for its own run.
    pub fn of(path: PathBuf, which: WhichRuns) -> Self {
        match (path.is_file(), which) {
            (true, WhichRuns::Newest) => Self::File(path),
            (true, which) => Self::Folder(folder_of(&path).to_owned(), which),
            (false, which) => Self::Folder(path, which),
        }
    }

    /// The output directory.
    fn output(&self) -> PathBuf {
        match self {
            Self::Folder(folder, _) => folder.clone(),
            Self::File(path) => folder_of(path).to_owned(),
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

/// The name of a run that was killed, or could not take back what it had made: it has no record.
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

/// The runs of an output directory that made something in libvirt, the newest first.
///
/// # Errors
/// [`Error::Record`], [`Error::NoDomain`], [`Error::Journal`].
pub fn runs(place: &UndoScope) -> Result<Vec<RecordedRun>, Error> {
    let folder = place.output();
    let pending = match journal::pending(&folder) {
        // A run that is at work takes back what it makes, or records it.
        Err(journal::Error::Busy(_)) => None,
        pending => pending?,
    };
    let records = match recorded(&folder) {
        Err(_) if pending.is_some() => Vec::new(),
        records => records?,
    };
    let recorded = records.iter().filter_map(RecordedRun::of);
    Ok(pending.iter().map(RecordedRun::unfinished).chain(recorded).collect())
}

/// Takes back what runs made, in libvirt and, with a login, at their source.
///
/// # Errors
/// As [`undo_domains`].
pub async fn undo(
    place: &UndoScope,
    how: &UndoOptions,
    source: &AtSource,
) -> Result<TakenBackRuns, Error> {
    let output = place.output();
    let mut all = match undo_domains(place, how, source.settings.is_some()).await {
        // A run without a domain may have done something at its source.
        Err(Error::NoDomain(_) | Error::Record(_)) if undo_source::is_owed(&output, source) => {
            OutputDir::leftovers(&output)?;
            TakenBackRuns::default()
        }
        all => all?,
    };
    undo_source::at_source(&output, source, how, &mut all).await;
    Ok(all)
}

/// Takes back what runs made, and nothing else: domain, variables of its firmware, snapshot, the
/// volumes that were made for it, and a pool that was made and is empty. In a dry run it only says what
/// that would be.
///
/// # Errors
/// [`Error`]; nothing was changed then. Where one of several runs cannot be undone, the runs before it
/// are, and it stands in what is left, with the reason.
async fn undo_domains(
    place: &UndoScope,
    how: &UndoOptions,
    has_login: bool,
) -> Result<TakenBackRuns, Error> {
    let (output, pending, records) = match place {
        UndoScope::Folder(folder, which) => {
            let pending = journal::pending(folder)?.filter(|_| which.has_unfinished());
            let records = chosen(folder, which, pending.is_some())?;
            (folder.clone(), pending, records)
        }
        UndoScope::File(path) => {
            let found = records::of_file(path).map_err(|stopped| record(path, stopped))?;
            let (output, found) = found.ok_or_else(|| {
                Error::Record(format!("reading {}: No such file or directory", path.display()))
            })?;
            (output, None, vec![found])
        }
    };
    OutputDir::leftovers(&output)?;
    let mut all = TakenBackRuns::default();
    let mut before = Vec::new();
    if let Some(pending) = pending {
        all.runs.push(RecordedRun::unfinished(&pending));
        let (taken, told) = of_unfinished(&output, &pending, how).await?;
        all.taken.add(taken);
        all.notes.extend(told);
        before.extend(pending.steps);
    }
    for mut record in records {
        let shown = || match place {
            UndoScope::File(path) => path.display().to_string(),
            UndoScope::Folder(..) => record.path.display().to_string(),
        };
        let domain = record.report.domain.clone().filter(|domain| !domain.undo.is_empty());
        let domain = domain.ok_or_else(|| Error::NoDomain(shown()))?;
        let life = Life { started: domain.started.is_some(), alive: None };
        let evidence = match records::is_sealed(&domain) {
            true => Evidence::Seal,
            false => Evidence::Marks,
        };
        let (name, steps) = (&*domain.name, &*domain.undo);
        let run = UndoCandidate { name, steps, evidence, life, output: &output };
        let taken = match take_back(&domain.uri, &run, &before, how).await {
            Ok((taken, told)) => {
                all.notes.extend(told);
                taken
            }
            Err(error) if all.runs.is_empty() => return Err(error),
            Err(error) => {
                all.taken.left.push(format!("domain '{}': {}", domain.name, chain(&error)));
                all.notes.extend(error.hint().map(|hint| format!("{}: {hint}", domain.name)));
                break;
            }
        };
        all.notes.extend(of_source(&record, has_login));
        before.extend(domain.undo);
        if !how.dry_run {
            let (left, shared) = (taken.left.clone(), taken.shared);
            record.report.undone = Some(Undone { at: jiff::Timestamp::now(), left, shared });
            if let Err(error) = record.rewrite(&output) {
                let path = record.path.display();
                all.notes.push(format!("{path} does not record that it is undone: {error}"));
            }
        }
        all.runs.extend(RecordedRun::of(&record));
        all.taken.add(taken);
    }
    Ok(all)
}

/// What became of the source that a run has switched off; with a login the source itself is asked later.
fn of_source(record: &Record, has_login: bool) -> Option<String> {
    let source = record.report.source.as_ref().filter(|source| source.powered_off.is_some())?;
    let vm = &record.report.vm;
    match (source.is_left_off(), has_login) {
        (true, true) => None,
        (true, false) => Some(format!(
            "source {vm} was powered off by this run; whether it is on now was not asked; \
             --power-on-source powers it on"
        )),
        (false, _) => Some(format!("source {vm} was powered off by this run, and is on again")),
    }
}

/// Takes back what a run has left that did not come to its end; returns also what is told of its disks.
async fn of_unfinished(
    output: &Path,
    pending: &Pending,
    how: &UndoOptions,
) -> Result<(UndoReport, Vec<String>), Error> {
    pending.proved(output)?;
    how.check_uri(&pending.uri).map_err(journal::Error::Libvirt)?;
    let connections = Connections::default();
    let settings = journal::settings(&pending.uri);
    let target = connections.open(&settings).await.map_err(journal::Error::Libvirt)?;
    let name = pending.domain().unwrap_or_default();
    let life = Life { alive: Some(pending.alive_at), started: false };
    let (steps, evidence) = (&*pending.steps, Evidence::Seal);
    let run = UndoCandidate { name: &name, steps, evidence, life, output };
    let told = undo_check::check(&target, &run, &[], how).await?;
    let taken = match how.dry_run {
        true => target.would_take_back(&pending.steps).await.map_err(journal::Error::Libvirt)?,
        false => journal::take_back(output, &connections).await?,
    };
    Ok((taken, told))
}

async fn take_back(
    uri: &str,
    run: &UndoCandidate<'_>,
    before: &[Undo],
    how: &UndoOptions,
) -> Result<(UndoReport, Vec<String>), Error> {
    let refused = |source| Error::Libvirt { name: run.name.to_owned(), source };
    how.check_uri(uri).map_err(refused)?;
    let settings = journal::settings(uri);
    let target = libvirt::Connection::connect(&settings).await.map_err(refused)?;
    let told = undo_check::check(&target, run, before, how).await?;
    let taken = match how.dry_run {
        true => target.would_take_back_by(run.steps, run.evidence).await,
        false => target.take_back_by(run.steps, run.evidence).await,
    };
    Ok((taken.map_err(refused)?, told))
}

/// The records of the runs that are to be undone, beside one that did not come to its end.
fn chosen(folder: &Path, which: &WhichRuns, unfinished: bool) -> Result<Vec<Record>, Error> {
    let mut records = match recorded(folder) {
        Err(_) if unfinished => Vec::new(),
        records => records?,
    };
    match which {
        // It is the newest.
        WhichRuns::Newest | WhichRuns::Named(_) if unfinished => records.clear(),
        WhichRuns::Newest => {
            records.retain(|record| !record.is_undone());
            records.truncate(1);
        }
        WhichRuns::All => records.retain(|record| !record.is_undone()),
        WhichRuns::Named(id) => {
            records.retain(|record| record.id == *id);
            if records.is_empty() {
                return Err(Error::NoRun { id: id.clone(), folder: folder.to_owned() });
            }
        }
    }
    Ok(records)
}

fn recorded(folder: &Path) -> Result<Vec<Record>, Error> {
    let records = records::all(folder).map_err(|stopped| record(folder, stopped))?;
    if records.is_empty() {
        let result = folder.join(report::FILE_NAME);
        return Err(if result.is_file() {
            Error::NoDomain(result.display().to_string())
        } else {
            Error::Record(format!("{} contains no result of hyperexport", folder.display()))
        });
    }
    Ok(records)
}

fn record(path: &Path, stopped: super::stage::stage_error::StageError) -> Error {
    let message = stopped.failure.message;
    let path = path.display().to_string();
    Error::Record(if message.contains(&path) { message } else { format!("{path}: {message}") })
}

impl WhichRuns {
    /// Whether a run is among them that did not come to its end.
    fn has_unfinished(&self) -> bool {
        match self {
            Self::Newest | Self::All => true,
            Self::Named(id) => id == UNFINISHED,
        }
    }
}

impl RecordedRun {
    fn unfinished(pending: &Pending) -> Self {
        Self {
            run: UNFINISHED.to_owned(),
            started_at: jiff::Timestamp::try_from(pending.alive_at).unwrap_or_default(),
            uri: pending.uri.clone(),
            domain: pending.domain(),
            undone_at: None,
        }
    }

    fn of(record: &Record) -> Option<Self> {
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
