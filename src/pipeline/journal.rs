//! What a run makes on its target, noted in the output directory before each act, so that the next
//! run can take back what a killed one left there.
//!
//! ```text
//!   begin (locked) ─▶ step, step, … ─▶ end: the import is whole, or was taken back
//!                          └── killed: the file stays, unlocked; the next run takes it back
//! ```
//!
//! The time of the file shows when its run was alive for the last time. A domain that somebody may have
//! used since is not taken back: it gets a record of its own, by which `hyperexport undo` removes it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::records::{self, Record};
use super::report::{Outcome, RunReport};
use crate::libvirt::{self, Connections, TakenBack, Undo, UsedDomain};

/// Name of the journal in the output directory.
const NAME: &str = ".hyperexport-undo";
/// How often a run shows that it is alive.
const PULSE: Duration = Duration::from_secs(2);

/// Why a journal cannot be kept, or what it says cannot be taken back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The run that writes it is not dead.
    #[error("another run works in {}", .0.display())]
    Busy(PathBuf),
    /// The file system refused, or the file is broken.
    #[error("{act} {}", path.display())]
    File {
        /// The verb.
        act: &'static str,
        /// The journal.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// libvirt refused.
    #[error("take back what a killed run left")]
    Libvirt(#[from] libvirt::Error),
    /// Not all could be taken back.
    #[error("take back what a killed run left: {}", .0.join(", "))]
    Left(Vec<String>),
}

impl Error {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Busy(_) => Some("wait for it, or give another --output".to_owned()),
            Self::Libvirt(error) => error.hint(),
            Self::Left(_) => Some("remove what stands there yourself, and run it again".to_owned()),
            Self::File { .. } => None,
        }
    }
}

/// The first line: whose steps follow.
#[derive(Serialize, Deserialize)]
struct Head {
    uri: String,
    /// What the run had done before. An earlier version did not note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    report: Option<Box<RunReport>>,
}

/// The journal of a working run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Begins one in `output` for an import by way of `uri`, of a run that has done what `report` tells.
    /// There must be none.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn begin(output: &Path, uri: &str, report: &RunReport) -> Result<Self, Error> {
        let path = output.join(NAME);
        let failed = |act, source| Error::File { act, path: path.clone(), source };
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(&path)
            .map_err(|source| failed("create", source))?;
        lock(&file, &path)?;
        let head = Head { uri: uri.to_owned(), report: Some(Box::new(report.clone())) };
        append(&file, &head).map_err(|source| failed("write", source))?;
        Ok(Self { path, file })
    }

    /// The side that notes steps.
    ///
    /// # Errors
    /// [`Error::File`] when the system has no more file descriptors.
    pub fn writer(&self) -> Result<libvirt::Journal, Error> {
        let failed = |source| Error::File { act: "write", path: self.path.clone(), source };
        let file = self.file.try_clone().map_err(failed)?;
        Ok(libvirt::Journal::new(move |step| append(&file, step)))
    }

    /// Shows by the time of the file that the run is alive, until the pulse is dropped.
    ///
    /// # Errors
    /// [`Error::File`] when the system has no more file descriptors.
    pub fn pulse(&self) -> Result<Pulse, Error> {
        self.pulse_every(PULSE)
    }

    fn pulse_every(&self, pause: Duration) -> Result<Pulse, Error> {
        let failed = |source| Error::File { act: "write", path: self.path.clone(), source };
        let file = self.file.try_clone().map_err(failed)?;
        Ok(Pulse(tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                // Where that fails the run seems to have died earlier: what was written since counts
                // as somebody else's, and stays.
                if let Err(error) = file.set_modified(SystemTime::now()) {
                    tracing::debug!(%error, "show that the run is alive");
                }
            }
        })))
    }

    /// Ends it: there is nothing that a later run would have to take back.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn end(self) -> Result<(), Error> {
        let failed = |source| Error::File { act: "remove", path: self.path.clone(), source };
        fs::remove_file(&self.path).map_err(failed)
    }
}

/// The life sign of a run.
#[derive(Debug)]
pub struct Pulse(JoinHandle<()>);

impl Drop for Pulse {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What became of what a killed run left.
#[derive(Debug, Default)]
pub struct Recovered {
    /// What was taken back.
    pub taken: TakenBack,
    /// The domain that stays, since somebody may use it by now.
    pub kept: Option<Kept>,
}

/// A domain of a killed run that stays.
#[derive(Debug)]
pub struct Kept {
    /// The record of its run.
    pub record: Record,
    /// Name of the domain.
    pub name: String,
    /// What shows that it may be used, as a sentence.
    pub why: String,
}

/// Takes back what a killed run in `output` left on its target, and returns that. A domain that somebody
/// may use by now stays, and is recorded as one that its run defined.
///
/// # Errors
/// [`Error`]; the journal stays, so that the next run tries again.
pub async fn recover(output: &Path, connections: &Connections) -> Result<Recovered, Error> {
    let path = output.join(NAME);
    let Some((head, steps)) = read(&path)? else { return Ok(Recovered::default()) };
    let mut recovered = Recovered::default();
    if let Some(Head { uri, report }) = head {
        let target = connections.open(&settings(uri)).await?;
        let libvirt::Recovered { taken, kept } = target.recover(&steps, alive_at(&path)).await?;
        if !taken.is_complete() {
            return Err(Error::Left(taken.left));
        }
        recovered.taken = taken;
        if let Some(used) = kept {
            let mut kept = Kept::of(used, (output, report.map(|report| *report)));
            let failed =
                |source| Error::File { act: "record the run of", path: path.clone(), source };
            records::begin(&mut kept.record.report).map_err(failed)?;
            kept.record = Record::of(kept.record.report);
            recovered.kept = Some(kept);
        }
    }
    fs::remove_file(&path).map_err(|source| Error::File { act: "remove", path, source })?;
    Ok(recovered)
}

impl Kept {
    fn of(used: UsedDomain, (output, report): (&Path, Option<RunReport>)) -> Self {
        let UsedDomain { domain, why } = used;
        let name = domain.name.clone();
        let report = report.unwrap_or_else(|| RunReport::begin(&name, output));
        let mut report = report.finish(Outcome::Interrupted);
        // The folder may have been moved since.
        output.clone_into(&mut report.output);
        report.domain = Some(domain);
        Self { record: Record::of(report), name, why }
    }
}

fn settings(uri: String) -> libvirt::Settings {
    libvirt::Settings { uri, ..libvirt::Settings::default() }
}

/// When the run of a journal was alive for the last time.
fn alive_at(path: &Path) -> SystemTime {
    let modified = path.metadata().and_then(|found| found.modified());
    // In doubt whatever was written is not the run's.
    modified.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Takes back everything, as a person asks for it: also a domain that was used since, as long as it does
/// not run. What cannot be taken back is no error. The journal stays then.
///
/// # Errors
/// [`Error::Busy`], [`Error::File`], [`Error::Libvirt`].
pub async fn take_back(output: &Path, connections: &Connections) -> Result<TakenBack, Error> {
    let path = output.join(NAME);
    let Some((head, steps)) = read(&path)? else { return Ok(TakenBack::default()) };
    let taken = match head {
        Some(head) => connections.open(&settings(head.uri)).await?.take_back(&steps).await?,
        // Killed before its first line was whole: it had made nothing.
        None => TakenBack::default(),
    };
    if taken.is_complete() {
        fs::remove_file(&path).map_err(|source| Error::File { act: "remove", path, source })?;
    }
    Ok(taken)
}

/// What a run has noted that was killed, or that could not take everything back.
#[derive(Debug)]
pub struct Pending {
    /// By way of which libvirt.
    pub uri: String,
    /// When the run was alive for the last time.
    pub alive_at: SystemTime,
    /// The steps.
    pub steps: Vec<Undo>,
    /// What the run had done before its import.
    report: Option<RunReport>,
}

impl Pending {
    /// Name of the domain, if the run came to define it.
    pub fn domain(&self) -> Option<String> {
        self.steps.iter().rev().find_map(|step| match step {
            Undo::Undefine { name, .. } => Some(name.clone()),
            _ => None,
        })
    }

    /// What would be taken back now, or kept. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Libvirt`].
    pub async fn foreseen(
        &self,
        output: &Path,
        connections: &Connections,
    ) -> Result<Recovered, Error> {
        let target = connections.open(&settings(self.uri.clone())).await?;
        let found = target.would_recover(&self.steps, self.alive_at).await?;
        let kept = found.kept.map(|used| Kept::of(used, (output, self.report.clone())));
        Ok(Recovered { taken: found.taken, kept })
    }
}

/// What a killed run had done before its import, if it noted that and can be read.
pub fn report(output: &Path) -> Option<RunReport> {
    let report = pending(output).ok()??.report?;
    Some(report.moved_to(output))
}

/// Where the journal of an output directory is.
pub fn path(output: &Path) -> PathBuf {
    output.join(NAME)
}

/// What the journal in `output` says, if there is one. Changes nothing.
///
/// # Errors
/// [`Error::Busy`], [`Error::File`].
pub fn pending(output: &Path) -> Result<Option<Pending>, Error> {
    let path = output.join(NAME);
    let Some((Some(head), steps)) = read(&path)? else { return Ok(None) };
    let report = head.report.map(|report| *report);
    Ok(Some(Pending { uri: head.uri, alive_at: alive_at(&path), steps, report }))
}

type Read = (Option<Head>, Vec<Undo>);

fn read(path: &Path) -> Result<Option<Read>, Error> {
    let failed = |source| Error::File { act: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    lock(&file, path)?;
    let lines = BufReader::new(file).lines().collect::<io::Result<Vec<_>>>().map_err(failed)?;
    let Some((head, rest)) = lines.split_first() else { return Ok(Some((None, Vec::new()))) };
    let Ok(head) = serde_json::from_str(head) else { return Ok(Some((None, Vec::new()))) };
    let mut steps = Vec::new();
    for (index, line) in rest.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(step) => steps.push(step),
            // Cut off by the kill: what it was to announce was not begun.
            Err(_) if index + 1 == rest.len() => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
    Ok(Some((Some(head), steps)))
}

fn append(mut file: &File, line: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    file.write_all(&text)?;
    file.sync_data()
}

fn lock(file: &File, path: &Path) -> Result<(), Error> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::Busy(path.parent().unwrap_or(path).to_owned())),
        // Where the file system knows no locks the claim on the directory has to do.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str) -> Undo {
        Undo::StopPool { name: name.to_owned(), held: Vec::new() }
    }

    fn begin(output: &Path, uri: &str) -> Result<Journal, Error> {
        Journal::begin(output, uri, &RunReport::begin("web01", output))
    }

    #[test]
    fn what_was_written_is_read_and_a_line_that_was_cut_off_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(NAME);
        let journal = begin(dir.path(), "qemu:///system").expect("begun");
        assert!(matches!(read(&path), Err(Error::Busy(_))), "its run is at work");
        drop(journal);
        let whole = "{\"uri\":\"qemu:///system\"}\n{\"step\":\"stop-pool\",\"name\":\"a\"}\n";
        fs::write(&path, format!("{whole}{{\"step\":\"stop-po")).expect("written");
        let (head, steps) = read(&path).expect("read").expect("there");
        assert_eq!((head.expect("whole").uri.as_str(), steps), ("qemu:///system", vec![step("a")]));
        fs::write(&path, "{\"ur").expect("written");
        let (head, steps) = read(&path).expect("read").expect("there");
        assert!(head.is_none() && steps.is_empty());
    }

    #[test]
    fn steps_are_there_as_soon_as_they_are_noted_and_the_end_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = begin(dir.path(), "test:///default").expect("begun");
        append(&journal.file, &step("x")).expect("noted");
        let text = fs::read_to_string(dir.path().join(NAME)).expect("there");
        assert!(text.ends_with("{\"step\":\"stop-pool\",\"name\":\"x\"}\n"), "{text}");
        journal.end().expect("removed");
        assert!(!dir.path().join(NAME).exists());
    }

    #[test]
    fn what_a_dead_run_has_noted_is_seen_and_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(pending(dir.path()).expect("read").is_none());
        let journal = begin(dir.path(), "qemu:///system").expect("begun");
        assert!(matches!(pending(dir.path()), Err(Error::Busy(_))), "its run is at work");
        let domain = Undo::Undefine { name: "web01".to_owned(), uuid: "u".to_owned(), mark: None };
        append(&journal.file, &domain).expect("noted");
        drop(journal);
        let seen = pending(dir.path()).expect("read").expect("there");
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
        let recovered = recover(dir.path(), &none).await.expect("nothing to do");
        assert_eq!(recovered.taken, TakenBack::default());
        assert!(recovered.kept.is_none());
    }

    #[tokio::test]
    async fn the_time_of_the_file_follows_its_run() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(NAME);
        let journal = begin(dir.path(), "qemu:///system").expect("begun");
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let age = || journal.file.set_modified(long_ago).expect("set");
        age();
        let pause = Duration::from_millis(10);
        let pulse = journal.pulse_every(pause).expect("it beats");
        while alive_at(&path) == long_ago {
            tokio::time::sleep(pause).await;
        }
        drop(pulse);
        tokio::time::sleep(pause * 2).await;
        age();
        tokio::time::sleep(pause * 5).await;
        assert_eq!(alive_at(&path), long_ago, "nobody is alive");
    }
}
