//! The file of a journal: written by a working run, and read by a later run.
//!
//! ```text
//!   {"uri":…,"place":…,"report":…} TAB SEAL     the head
//!   {"step":…}                     TAB SEAL     a step, before it is taken
//! ```
//!
//! Each seal covers its line and all lines before, with the key of this user on this machine.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::super::job::real;
use super::journal::{Error, Pending};
use super::report::RunReport;
use crate::libvirt::{self, FileId, Undo};
use crate::state::{self, Chain, Folder, How, Key, Locked};

/// Name of the journal in the output directory.
pub(in crate::pipeline) const NAME: &str = ".hyperexport-undo";
/// Largest journal that is read, in bytes: the report of a run with a thousand disks has about two
/// million.
const LARGEST: u64 = 64 << 20;
/// Purpose of the seals.
const SEALS: &str = "journal";
/// Separator of a line and its seal; it does not occur in JSON.
const BETWEEN: char = '\t';
/// Interval of the updates that show that the run is alive.
const PULSE: Duration = Duration::from_secs(2);
/// The first line of a journal.
#[derive(Serialize, Deserialize)]
struct Head {
    uri: String,
    /// Output directory. An earlier version did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<FolderIdentity>,
    /// Report of the run before its import. An earlier version did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    report: Option<Box<RunReport>>,
}

/// Identity of a folder: its path with links resolved, and its id, which survives a move.
#[derive(Serialize, Deserialize)]
struct FolderIdentity {
    path: PathBuf,
    id: FileId,
}

impl FolderIdentity {
    fn of(output: &Path) -> io::Result<Self> {
        Ok(Self { path: real(output), id: FileId::from(&output.metadata()?) })
    }

    /// Whether `output` is this folder, so that the journal was not copied or moved to another one.
    fn is(&self, output: &Path) -> bool {
        Self::of(output).is_ok_and(|now| now.path == self.path || now.id == self.id)
    }
}

/// Journal of a working run.
#[derive(Debug)]
pub struct JournalFile {
    path: PathBuf,
    folder: Folder,
    pub(in crate::pipeline) lines: Arc<JournalLines>,
}

pub(in crate::pipeline) struct JournalLines {
    pub(in crate::pipeline) file: File,
    chain: Mutex<Chain>,
}

impl std::fmt::Debug for JournalLines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lines")
    }
}

impl JournalLines {
    /// Appends a line with its seal, in one synced write.
    pub(in crate::pipeline) fn append(&self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        let seal = self.chain.lock().unwrap_or_else(PoisonError::into_inner).seal(&text);
        text.extend(format!("{BETWEEN}{seal}\n").bytes());
        (&self.file).write_all(&text)?;
        self.file.sync_data()
    }
}

impl JournalFile {
    /// Begins a journal in `folder` for an import through `uri`; `report` is the report of the run
    /// so far. No journal may exist yet.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::State`].
    pub fn begin(folder: &Folder, uri: &str, report: &RunReport) -> Result<Self, Error> {
        let (output, path) = (folder.path(), folder.path().join(NAME));
        let failed = |act, source| Error::File { act, path: path.clone(), source };
        let chain = Mutex::new(Chain::new(&Key::get()?, SEALS));
        // The file is renamed to its final name after it is locked and has its first line, so that
        // no run finds it unlocked or empty. The next run finds leftovers of a killed one by the
        // prefix.
        let unnamed = folder.create_temporary().map_err(|source| failed("creating", source))?;
        let file = unnamed.file().try_clone().map_err(|source| failed("creating", source))?;
        if let Err(error) = file.try_lock() {
            // On a file system without locks, the lock of the directory has to suffice.
            tracing::debug!(path = %path.display(), %error, "lock");
        }
        let lines = Arc::new(JournalLines { file, chain });
        let place = FolderIdentity::of(output).map_err(|source| failed("creating", source))?;
        let report = Some(Box::new(report.clone()));
        let head = Head { uri: uri.to_owned(), place: Some(place), report };
        lines.append(&head).map_err(|source| failed("writing", source))?;
        unnamed.name(NAME).map_err(|source| failed("creating", source))?;
        Ok(Self { path, folder: folder.clone(), lines })
    }

    /// The callback with which libvirt's steps are recorded.
    pub fn writer(&self) -> libvirt::Journal {
        let lines = self.lines.clone();
        libvirt::Journal::new(move |step| lines.append(step))
    }

    /// Updates the file's modification time to show that the run is alive, until the pulse is
    /// dropped.
    ///
    /// # Errors
    /// [`Error::File`] when the system has no more file descriptors.
    pub fn pulse(&self) -> Result<Pulse, Error> {
        self.pulse_every(PULSE)
    }

    pub(in crate::pipeline) fn pulse_every(&self, pause: Duration) -> Result<Pulse, Error> {
        let failed = |source| Error::File { act: "writing", path: self.path.clone(), source };
        let file = self.lines.file.try_clone().map_err(failed)?;
        Ok(Pulse(tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                // If the update fails, the run seems to have died earlier: later changes count as
                // somebody else's, and stay.
                if let Err(error) = file.set_modified(SystemTime::now()) {
                    tracing::debug!(%error, "showing that the run is alive");
                }
            }
        })))
    }

    /// Removes the journal: a later run has nothing to undo.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn end(self) -> Result<(), Error> {
        let failed = |source| Error::File { act: "removing", path: self.path.clone(), source };
        self.folder.remove(NAME).map_err(failed)
    }
}

/// Periodic sign of life of a run; dropping it stops the updates.
#[derive(Debug)]
pub struct Pulse(JoinHandle<()>);

impl Drop for Pulse {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A journal that no run is writing, locked.
pub(in crate::pipeline) struct FoundJournal {
    file: File,
    folder: Folder,
    path: PathBuf,
    head: Option<Head>,
    steps: Vec<Undo>,
    is_sealed: bool,
}

impl FoundJournal {
    /// Locks and reads the journal in `output`, if one exists.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::File`], [`Error::State`].
    pub(in crate::pipeline) fn locked(output: &Path) -> Result<Option<Self>, Error> {
        let path = output.join(NAME);
        let folder = match Folder::open(output) {
            Err(error) if error.is_absence() => return Ok(None),
            folder => folder?,
        };
        let file = match folder.lock(NAME, How::Read)? {
            Locked::Ours(file) | Locked::Unlocked(file) => file,
            Locked::Busy => return Err(Error::Busy(output.to_owned())),
            Locked::Gone => return Ok(None),
        };
        let text = state::read_from(&file, &path, LARGEST)?;
        let key = Key::existing()?;
        let (head, steps, is_sealed) = parse(&text, key.as_ref())
            .map_err(|source| Error::File { act: "reading", path: path.clone(), source })?;
        Ok(Some(Self { file, folder, path, head, steps, is_sealed }))
    }

    /// Contents of the journal; `None` if its run was killed before the first line was complete.
    pub(in crate::pipeline) fn pending(&self, output: &Path) -> Option<Pending> {
        let head = self.head.as_ref()?;
        let modified = self.file.metadata().and_then(|found| found.modified());
        Some(Pending {
            uri: head.uri.clone(),
            // If the time is unknown, all changes count as somebody else's.
            alive_at: modified.unwrap_or(SystemTime::UNIX_EPOCH),
            steps: self.steps.clone(),
            report: head.report.as_deref().cloned(),
            is_proved: self.is_sealed && head.place.as_ref().is_some_and(|place| place.is(output)),
        })
    }

    /// Removes the journal after its steps were undone.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(in crate::pipeline) fn remove(self) -> Result<(), Error> {
        let Self { folder, path, .. } = self;
        folder.remove(NAME).map_err(|source| Error::File { act: "removing", path, source })
    }
}

/// Parses head and steps of a journal, and checks whether every line has the seal of `key`.
fn parse(text: &[u8], key: Option<&Key>) -> io::Result<(Option<Head>, Vec<Undo>, bool)> {
    let text = String::from_utf8_lossy(text);
    // The part after the last line break was cut off by the kill: its step was not taken.
    let lines: Vec<_> =
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).collect();
    let mut chain = key.map(|key| Chain::new(key, SEALS));
    let (mut head, mut steps, mut is_sealed) = (None, Vec::new(), true);
    for (index, line) in lines.iter().enumerate() {
        let (json, seal) = line.split_once(BETWEEN).unwrap_or((line, ""));
        is_sealed &= chain.as_mut().is_some_and(|chain| chain.holds(json.as_bytes(), seal));
        if index == 0 {
            // A head of an earlier version, cut off by a kill: the run had created nothing.
            let Ok(read) = serde_json::from_str(json) else { break };
            head = Some(read);
        } else {
            steps.push(serde_json::from_str(json)?);
        }
    }
    Ok((head, steps, is_sealed))
}
