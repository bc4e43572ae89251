//! `hyperexport undo`: removes what runs have created in libvirt; the export stays.

pub(super) mod taken_back;
pub(super) mod undo_check;
pub(super) mod undo_source;

use std::path::{Path, PathBuf};

use super::output::journal::{self, Pending};
use super::output::made::Undone;
use super::output::output_lock::OutputDir;
use super::output::records::{self, Record};
use super::output::report;
use crate::libvirt::{self, Connections, Evidence, Life, Undo, UndoReport};
use crate::model::{Hint, chain};
use crate::pipeline::output::result_file::folder_of;
use taken_back::{Error, RecordedRun, TakenBackRuns, UNFINISHED, UndoOptions, WhichRuns};
use undo_check::UndoCandidate;
use undo_source::AtSource;

/// Runs to undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UndoScope {
    /// Runs of an output directory.
    Folder(PathBuf, WhichRuns),
    /// The run of a result file.
    File(PathBuf),
}

impl UndoScope {
    /// The scope of a path: a file with [`WhichRuns::Newest`] means its own run, all else the runs
    /// of the output directory.
    pub fn of(path: PathBuf, which: WhichRuns) -> Self {
        match (path.is_file(), which) {
            (true, WhichRuns::Newest) => Self::File(path),
            (true, which) => Self::Folder(folder_of(&path).to_owned(), which),
            (false, which) => Self::Folder(path, which),
        }
    }

    /// Path of the output directory.
    fn output(&self) -> PathBuf {
        match self {
            Self::Folder(folder, _) => folder.clone(),
            Self::File(path) => folder_of(path).to_owned(),
        }
    }
}

/// The runs of an output directory that created something in libvirt, the newest first.
///
/// # Errors
/// [`Error::Record`], [`Error::NoDomain`], [`Error::Journal`].
pub fn runs(place: &UndoScope) -> Result<Vec<RecordedRun>, Error> {
    let folder = place.output();
    let pending = match journal::pending(&folder) {
        // A working run undoes its own steps, or records them.
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

/// Undoes runs in libvirt and, with a login, at their source.
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
        // A run without a domain may have changed its source.
        Err(Error::NoDomain(_) | Error::Record(_)) if undo_source::is_owed(&output, source) => {
            OutputDir::leftovers(&output)?;
            TakenBackRuns::default()
        }
        all => all?,
    };
    undo_source::at_source(&output, source, how, &mut all).await;
    Ok(all)
}

/// Removes what runs have created in libvirt, and nothing else: domain, firmware variables,
/// snapshot, the domain's volumes, and an empty pool. A dry run only lists these objects.
///
/// # Errors
/// [`Error`]; nothing was changed then. If one of several runs cannot be undone, the runs before it
/// are undone, and that run is reported as left, with the reason.
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

/// A note about a source that a run has powered off; `None` if a login allows a check later.
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

/// Undoes an unfinished run; also returns notes about its disks.
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

/// Records of the runs to undo, besides an unfinished one.
fn chosen(folder: &Path, which: &WhichRuns, unfinished: bool) -> Result<Vec<Record>, Error> {
    let mut records = match recorded(folder) {
        Err(_) if unfinished => Vec::new(),
        records => records?,
    };
    match which {
        // The unfinished run is the newest.
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
    /// Whether an unfinished run is among them.
    fn has_unfinished(&self) -> bool {
        match self {
            Self::Newest | Self::All => true,
            Self::Named(id) => id == UNFINISHED,
        }
    }
}
