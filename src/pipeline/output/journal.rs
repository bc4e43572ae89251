//! Journal of everything that a run creates on its target. Each step is recorded in the output
//! directory before it is taken, so that the next run can undo the steps of a killed one.
//!
//! ```text
//!   begin (locked) ─▶ step, step, … ─▶ end: the import is complete, or was undone
//!                          └── killed: the file stays, unlocked; the next run undoes its steps
//! ```
//!
//! Each line ends with a seal (`state::Key`), and the first line names the folder. A journal is
//! executed only if a run of this user has written it here, for this folder. Other journals only
//! protect the files that they name. A journal is undone only through the URI of the command line.
//!
//! The file's modification time is the last time at which its run was alive. A domain that may have
//! been used since is not undone: the domain gets a record of its own, with which `hyperexport
//! undo` removes it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::super::job::ImportSettings;
use super::journal_file::{FoundJournal, NAME};
use super::records::{self, Record};
use super::report::{RunOutcome, RunReport};
use super::result_file::in_its_place;
use crate::libvirt::{self, Connections, Undo, UndoReport, UsedDomain};
use crate::model::Hint;
use crate::state;

pub use super::journal_file::JournalFile;

/// Largest number of steps that an error lists.
const NAMED: usize = 5;

/// Why a journal cannot be written, or its steps cannot be undone.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The run that writes the journal is still alive.
    #[error("another run is working in {}", .0.display())]
    Busy(PathBuf),
    /// The file system has reported an error, or the file is damaged.
    #[error("{act} {}", path.display())]
    File {
        /// Failed operation, as a gerund.
        act: &'static str,
        /// Path of the journal.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The journal cannot be read safely, or no key exists to seal it.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The journal was not written by a run of this user for this folder.
    #[error(
        "{} has no seal of this user on this machine, or is of another folder: nothing of what it \
         names was removed ({})",
        path.display(),
        .steps.join(", ")
    )]
    JournalUnproved {
        /// Path of the journal.
        path: PathBuf,
        /// The first steps of the journal, for the message.
        steps: Vec<String>,
    },
    /// The journal belongs to a run on another libvirt than that of the command line.
    #[error(
        "a killed run of {} left {what} on {there}; this run uses {here}",
        output.display()
    )]
    KilledRunElsewhere {
        /// Path of the output directory.
        output: PathBuf,
        /// Objects that the killed run has left: its domain, or `volumes`.
        what: String,
        /// URI in the journal.
        there: String,
        /// URI of the command line.
        here: String,
    },
    /// libvirt has reported an error.
    #[error("undoing what a killed run left")]
    Libvirt(#[from] libvirt::Error),
    /// Some steps could not be undone.
    #[error("undoing what a killed run left: not removed: {}", taken.left.join(", "))]
    Left {
        /// Steps that were undone, and those that were not.
        taken: Box<UndoReport>,
    },
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Busy(_) => Some("wait for that run, or use another --output".to_owned()),
            Self::State(error) => error.hint(),
            Self::JournalUnproved { path, .. } => Some(format!(
                "remove by hand what is left of this ('virsh list --all', 'virsh vol-list POOL'), then \
                 'rm {}' and run the same command again; or use another --output",
                path.display()
            )),
            Self::KilledRunElsewhere { output, there, .. } => Some(format!(
                "run 'hyperexport undo {}', or this command with --libvirt-uri '{there}'; or use \
                 another --output; or, where the host is gone for good, remove {}",
                output.display(),
                output.join(NAME).display()
            )),
            Self::Libvirt(error) => error.hint(),
            Self::Left { .. } => {
                Some("remove that yourself, and run the same command again".to_owned())
            }
            Self::File { .. } => None,
        }
    }
}

/// Result of the recovery from a killed run.
#[derive(Debug, Default)]
pub struct JournalRecovery {
    /// Steps that were undone.
    pub taken: UndoReport,
    /// The domain that stays, since it may be in use by now.
    pub kept: Option<SurvivingDomain>,
}

/// A domain of a killed run that stays.
#[derive(Debug)]
pub struct SurvivingDomain {
    /// Record of the killed run.
    pub record: Record,
    /// Name of the domain.
    pub name: String,
    /// Why the domain may be in use, as a sentence.
    pub why: String,
}

/// Undoes the steps of a killed run in `output` on the target, and returns the result. A domain
/// that may be in use stays, and is recorded as one that its run defined. The caller has locked the
/// directory; the journal is locked until it is removed.
///
/// # Errors
/// [`Error`]; the journal stays, so that the next run tries again.
pub async fn recover(output: &Path, target: &ImportSettings) -> Result<JournalRecovery, Error> {
    let path = output.join(NAME);
    let Some(found) = FoundJournal::locked(output)? else { return Ok(JournalRecovery::default()) };
    let mut recovered = JournalRecovery::default();
    if let Some(pending) = found.pending(output) {
        pending.check(output, &target.settings.uri)?;
        // Only a target of the command line is ever connected to.
        let connection = target.connections.open(&target.settings).await?;
        let back = connection.recover(&pending.steps, pending.alive_at).await?;
        if !back.taken.is_complete() {
            return Err(Error::Left { taken: Box::new(back.taken) });
        }
        recovered.taken = back.taken;
        if let Some(used) = back.kept {
            let mut kept = SurvivingDomain::of(used, output, pending.report);
            let failed =
                |source| Error::File { act: "recording the run of", path: path.clone(), source };
            if let Some(domain) = &mut kept.record.report.domain {
                let seal = records::seal(domain)?;
                domain.seal = seal;
            }
            records::begin(&mut kept.record.report).map_err(failed)?;
            kept.record = Record::of(kept.record.report);
            recovered.kept = Some(kept);
        }
    }
    found.remove()?;
    Ok(recovered)
}

impl SurvivingDomain {
    fn of(used: UsedDomain, output: &Path, report: Option<RunReport>) -> Self {
        let UsedDomain { domain, why } = used;
        let name = domain.name.clone();
        let report = report.unwrap_or_else(|| RunReport::begin(&name, output));
        let mut report = report.finish(RunOutcome::Interrupted);
        // The folder may have been moved since.
        output.clone_into(&mut report.output);
        report.domain = Some(domain);
        Self { record: Record::of(report), name, why }
    }
}

/// Undoes all steps on the user's request, even of a domain that was used since, unless it is
/// running. Steps that cannot be undone are no error; the journal stays in that case.
///
/// # Errors
/// [`Error`] for a journal that is locked, unreadable or not sealed, and for errors of libvirt.
pub async fn take_back(output: &Path, connections: &Connections) -> Result<UndoReport, Error> {
    let Some(found) = FoundJournal::locked(output)? else { return Ok(UndoReport::default()) };
    let taken = match found.pending(output) {
        Some(pending) => {
            pending.proved(output)?;
            let settings = settings(&pending.uri);
            connections.open(&settings).await?.take_back(&pending.steps).await?
        }
        // The run was killed before its first line was complete: it had created nothing.
        None => UndoReport::default(),
    };
    if taken.is_complete() {
        found.remove()?;
    }
    Ok(taken)
}

/// Connection settings for a URI, with defaults for all else.
pub(in crate::pipeline) fn settings(uri: &str) -> libvirt::Settings {
    libvirt::Settings { uri: uri.to_owned(), ..libvirt::Settings::default() }
}

/// Journal of a run that was killed, or that could not undo all its steps.
#[derive(Debug)]
pub struct Pending {
    /// URI of the libvirt on which the steps were taken.
    pub uri: String,
    /// Last time at which the run was alive.
    pub alive_at: SystemTime,
    /// Steps of the run, in the order in which they were taken.
    pub steps: Vec<Undo>,
    /// Report of the run before its import.
    pub(in crate::pipeline) report: Option<RunReport>,
    /// Whether all lines were written by a run of this user, for this folder.
    pub(in crate::pipeline) is_proved: bool,
}

impl Pending {
    /// Name of the domain, if the run had reached its definition.
    pub fn domain(&self) -> Option<String> {
        self.steps.iter().rev().find_map(|step| match step {
            Undo::Undefine { name, .. } => Some(name.clone()),
            _ => None,
        })
    }

    /// Refuses to execute a journal that was not written by a run of this user for this folder.
    ///
    /// # Errors
    /// [`Error::JournalUnproved`].
    pub fn proved(&self, output: &Path) -> Result<(), Error> {
        if self.is_proved {
            return Ok(());
        }
        let mut steps: Vec<_> = self.steps.iter().take(NAMED).map(ToString::to_string).collect();
        steps.dedup();
        let more = self.steps.len().saturating_sub(NAMED);
        if more > 0 {
            steps.push(format!("{more} more"));
        }
        if steps.is_empty() {
            steps.push("it names nothing".to_owned());
        }
        Err(Error::JournalUnproved { path: output.join(NAME), steps })
    }

    /// Also refuses if `uri`, that of the command line, is not the journal's.
    ///
    /// # Errors
    /// [`Error::JournalUnproved`], [`Error::KilledRunElsewhere`].
    pub fn check(&self, output: &Path, uri: &str) -> Result<(), Error> {
        self.proved(output)?;
        if self.uri == uri {
            return Ok(());
        }
        let domain = self.domain().map(|name| format!("domain '{name}'"));
        Err(Error::KilledRunElsewhere {
            output: output.to_owned(),
            what: domain.unwrap_or_else(|| "volumes".to_owned()),
            there: self.uri.clone(),
            here: uri.to_owned(),
        })
    }

    /// What [`recover`] would undo or keep now. Changes nothing.
    ///
    /// # Errors
    /// As [`Self::check`]; [`Error::Libvirt`].
    pub async fn foreseen(
        &self,
        output: &Path,
        target: &ImportSettings,
    ) -> Result<JournalRecovery, Error> {
        self.check(output, &target.settings.uri)?;
        let target = target.connections.open(&target.settings).await?;
        let found = target.would_recover(&self.steps, self.alive_at).await?;
        let kept = found.kept.map(|used| SurvivingDomain::of(used, output, self.report.clone()));
        Ok(JournalRecovery { taken: found.taken, kept })
    }
}

/// Report of a killed run before its import, if the journal has one that can be read.
pub fn report(output: &Path) -> Option<RunReport> {
    let report = pending(output).ok()??.report?;
    Some(in_its_place(report.moved_to(output), output))
}

/// Reads the journal in `output`, if one exists. Changes nothing.
///
/// # Errors
/// [`Error::Busy`], [`Error::File`], [`Error::State`].
pub fn pending(output: &Path) -> Result<Option<Pending>, Error> {
    Ok(FoundJournal::locked(output)?.and_then(|found| found.pending(output)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    fn step(name: &str) -> Undo {
        Undo::StopPool { name: name.to_owned(), held: Vec::new() }
    }

    fn begin(output: &Path, uri: &str) -> Result<JournalFile, Error> {
        let folder = crate::state::Folder::open(output)?;
        JournalFile::begin(&folder, uri, &RunReport::begin("web01", output))
    }

    fn seen(output: &Path) -> Pending {
        pending(output).expect("read").expect("there")
    }

    /// The journal of a run that recorded one step and was killed.
    fn killed(output: &Path) -> PathBuf {
        let journal = begin(output, "qemu:///system").expect("begun");
        journal.lines.append(&step("a")).expect("noted");
        output.join(NAME)
    }

    #[test]
    fn what_was_written_is_read_and_a_line_that_was_cut_off_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = begin(dir.path(), "qemu:///system").expect("begun");
        assert!(matches!(pending(dir.path()), Err(Error::Busy(_))), "its run is at work");
        journal.lines.append(&step("a")).expect("noted");
        let path = dir.path().join(NAME);
        let text = fs::read_to_string(&path).expect("there");
        assert!(text.contains("{\"step\":\"stop-pool\",\"name\":\"a\"}\t"), "{text}");
        drop(journal);
        for cut in ["", "{\"step\":\"stop-po", "{\"step\":\"stop-pool\",\"name\":\"b\"}\t00"] {
            fs::write(&path, format!("{text}{cut}")).expect("written");
            let pending = seen(dir.path());
            assert_eq!(
                (pending.uri.as_str(), &*pending.steps),
                ("qemu:///system", &[step("a")][..])
            );
            pending.proved(dir.path()).expect("ours");
        }
        for cut in ["", "{\"ur"] {
            fs::write(&path, cut).expect("written");
            assert!(pending(dir.path()).expect("read").is_none());
        }
    }

    #[test]
    fn the_end_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = begin(dir.path(), "test:///default").expect("begun");
        assert!(begin(dir.path(), "test:///default").is_err(), "there is one");
        journal.end().expect("removed");
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn a_journal_that_nobody_of_us_wrote_is_told_and_not_executed() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = killed(dir.path());
        let ours = fs::read_to_string(&path).expect("there");
        let lines: Vec<_> = ours.lines().collect();
        let refused = |text: String| {
            fs::write(&path, text).expect("written");
            let error = seen(dir.path()).check(dir.path(), "qemu:///system").expect_err("refused");
            assert!(matches!(error, Error::JournalUnproved { .. }), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("rm ")));
            error.to_string()
        };
        // As an earlier version wrote the journal, and as anyone can.
        let bare: Vec<_> = lines.iter().map(|line| line.split('\t').next().unwrap_or("")).collect();
        let said = refused(format!("{}\n", bare.join("\n")));
        assert!(said.contains("storage pool 'a' started"), "{said}");
        refused(ours.replace("qemu:///system", "qemu:///session"));
        refused(ours.replace("\"name\":\"a\"", "\"name\":\"b\""));
        refused(format!("{}\n{}\n{}\n", lines[0], lines[1], lines[1]));
        refused(format!("{ours}{{\"step\":\"stop-pool\",\"name\":\"b\"}}\n"));
        fs::write(&path, &ours).expect("written");
        seen(dir.path()).check(dir.path(), "qemu:///system").expect("ours");
    }

    #[test]
    fn a_journal_serves_the_folder_that_it_was_written_for_also_where_that_was_moved() {
        let dir = tempfile::tempdir().expect("a folder");
        let [first, other, moved] = ["first", "other", "moved"].map(|name| dir.path().join(name));
        fs::create_dir(&first).expect("made");
        fs::create_dir(&other).expect("made");
        let path = killed(&first);
        fs::copy(&path, other.join(NAME)).expect("copied");
        assert!(matches!(seen(&other).proved(&other), Err(Error::JournalUnproved { .. })));
        fs::rename(&first, &moved).expect("renamed");
        seen(&moved).proved(&moved).expect("the same folder");
    }

    #[test]
    fn a_journal_is_taken_back_by_way_of_the_uri_of_the_command_line_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        killed(dir.path());
        let error = seen(dir.path()).check(dir.path(), "qemu:///session").expect_err("refused");
        for part in ["volumes", "qemu:///system", "qemu:///session"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        let hint = error.hint().expect("a hint");
        assert!(hint.contains("hyperexport undo") && hint.contains("--libvirt-uri"), "{hint}");
    }

    #[test]
    fn what_a_dead_run_has_noted_is_seen_and_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(pending(dir.path()).expect("read").is_none());
        let journal = begin(dir.path(), "qemu:///system").expect("begun");
        let domain = Undo::Undefine { name: "web01".to_owned(), uuid: "u".to_owned(), mark: None };
        journal.lines.append(&domain).expect("noted");
        drop(journal);
        let seen = seen(dir.path());
        assert_eq!(
            (seen.uri.as_str(), seen.domain().as_deref()),
            ("qemu:///system", Some("web01"))
        );
        assert_eq!(seen.steps, [domain]);
        assert!(dir.path().join(NAME).exists());
    }

    #[tokio::test]
    async fn without_a_journal_there_is_nothing_to_take_back() {
        let (dir, none) = (tempfile::tempdir().expect("a folder"), Connections::default());
        let taken = take_back(dir.path(), &none).await.expect("nothing to do");
        assert_eq!(taken, UndoReport::default());
    }

    #[tokio::test]
    async fn the_time_of_the_file_follows_its_run() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(NAME);
        let journal = begin(dir.path(), "qemu:///system").expect("begun");
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let age = || journal.lines.file.set_modified(long_ago).expect("set");
        let alive_at = || path.metadata().and_then(|found| found.modified()).expect("there");
        age();
        let pause = Duration::from_millis(10);
        let pulse = journal.pulse_every(pause).expect("it beats");
        while alive_at() == long_ago {
            tokio::time::sleep(pause).await;
        }
        drop(pulse);
        tokio::time::sleep(pause * 2).await;
        age();
        tokio::time::sleep(pause * 5).await;
        assert_eq!(alive_at(), long_ago, "nobody is alive");
    }
}
