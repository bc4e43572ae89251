//! What a run makes on its target, noted in the output directory before each act, so that the next
//! run can take back what a killed one left there.
//!
//! ```text
//!   begin (locked) ─▶ step, step, … ─▶ end: the import is whole, or was taken back
//!                          └── killed: the file stays, unlocked; the next run takes it back
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::libvirt::{self, Connections, TakenBack, Undo};

/// Name of the journal in the output directory.
const NAME: &str = ".hyperexport-undo";

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
}

/// The journal of a working run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Begins one in `output` for an import by way of `uri`. There must be none.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn begin(output: &Path, uri: &str) -> Result<Self, Error> {
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
        append(&file, &Head { uri: uri.to_owned() }).map_err(|source| failed("write", source))?;
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

    /// Ends it: there is nothing that a later run would have to take back.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn end(self) -> Result<(), Error> {
        let failed = |source| Error::File { act: "remove", path: self.path.clone(), source };
        fs::remove_file(&self.path).map_err(failed)
    }
}

/// Takes back what a killed run in `output` left on its target, and returns that.
///
/// # Errors
/// [`Error`]; the journal stays, so that the next run tries again.
pub async fn recover(output: &Path, connections: &Connections) -> Result<TakenBack, Error> {
    let taken = take_back(output, connections).await?;
    if taken.is_complete() { Ok(taken) } else { Err(Error::Left(taken.left)) }
}

/// The same where what cannot be taken back is no error. The journal stays then.
///
/// # Errors
/// [`Error::Busy`], [`Error::File`], [`Error::Libvirt`].
pub async fn take_back(output: &Path, connections: &Connections) -> Result<TakenBack, Error> {
    let path = output.join(NAME);
    let Some((head, steps)) = read(&path)? else { return Ok(TakenBack::default()) };
    let taken = match head {
        Some(head) => {
            let settings = libvirt::Settings { uri: head.uri, ..libvirt::Settings::default() };
            connections.open(&settings).await?.take_back(&steps).await?
        }
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
    /// When the last step was noted.
    pub noted_at: jiff::Timestamp,
    /// The steps.
    pub steps: Vec<Undo>,
}

impl Pending {
    /// Name of the domain, if the run came to define it.
    pub fn domain(&self) -> Option<String> {
        self.steps.iter().rev().find_map(|step| match step {
            Undo::Undefine { name, .. } => Some(name.clone()),
            _ => None,
        })
    }
}

/// What the journal in `output` says, if there is one. Changes nothing.
///
/// # Errors
/// [`Error::Busy`], [`Error::File`].
pub fn pending(output: &Path) -> Result<Option<Pending>, Error> {
    let path = output.join(NAME);
    let Some((Some(head), steps)) = read(&path)? else { return Ok(None) };
    let modified = path.metadata().and_then(|found| found.modified());
    let noted_at = modified.ok().and_then(|time| jiff::Timestamp::try_from(time).ok());
    Ok(Some(Pending { uri: head.uri, noted_at: noted_at.unwrap_or_default(), steps }))
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

    #[test]
    fn what_was_written_is_read_and_a_line_that_was_cut_off_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(NAME);
        let journal = Journal::begin(dir.path(), "qemu:///system").expect("begun");
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
        let journal = Journal::begin(dir.path(), "test:///default").expect("begun");
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
        let journal = Journal::begin(dir.path(), "qemu:///system").expect("begun");
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
        assert_eq!(recover(dir.path(), &none).await.expect("nothing to do"), TakenBack::default());
    }
}
