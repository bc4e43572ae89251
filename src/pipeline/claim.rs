//! One run owns its output directory.
//!
//! The file `.hyperexport-run` stands in the directory while a run works there: locked, so that a
//! second run is refused, and naming the files that the run is about to make, so that the next run
//! can remove what a killed one left. It goes when the run ends, well or not.
//!
//! ```text
//!   preflight (nothing on disk)  ->  claim  ->  export, manifest, …  ->  release
//!                                      |                 |
//!                     another run's lock: refused        +-- killed: the file stays, unlocked;
//!                     an unlocked file: a dead run           the next claim removes its leftovers
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Name of the file that marks a working run.
const MARKER: &str = ".hyperexport-run";
/// Beginning of the names of the converter's work folders.
const WORK_PREFIX: &str = ".hyperexport-work-";
/// Longest marker read, in bytes.
const LONGEST_MARKER: u64 = 1 << 20;

/// Why an output directory cannot be claimed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another run works there.
    #[error("another run works in {}", .0.display())]
    Busy(PathBuf),
    /// The file system refused.
    #[error("claim {}", path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Busy(_) => Some("wait for it, or give another --output".to_owned()),
            Self::Io { .. } => None,
        }
    }
}

/// What the marker says: names of files in the directory, never paths.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Marker {
    makes: Vec<String>,
}

/// A claimed output directory.
#[derive(Debug)]
pub struct Claim {
    directory: PathBuf,
    file: File,
    made_directory: bool,
    /// Files that a dead run was about to make, found and not yet dealt with.
    leftovers: Vec<String>,
}

impl Claim {
    /// Claims `directory`, and makes it if need be.
    ///
    /// # Errors
    /// [`Error::Busy`] when another run works there; [`Error::Io`] when the file system refuses.
    pub fn take(directory: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: directory.to_owned(), source };
        let made_directory = !directory.exists();
        fs::create_dir_all(directory).map_err(io)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(directory.join(MARKER))
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy(directory.to_owned())),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let leftovers = read_marker(&mut file).map_err(io)?.makes;
        Ok(Self { directory: directory.to_owned(), file, made_directory, leftovers })
    }

    /// Names of the files that a dead run in `directory` was about to make. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Busy`] when that run is not dead; [`Error::Io`] when the file system refuses.
    pub fn leftovers(directory: &Path) -> Result<Vec<String>, Error> {
        let path = directory.join(MARKER);
        let io = |source| Error::Io { path: path.clone(), source };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(io(source)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(read_marker(&mut file).map_err(io)?.makes),
            Err(TryLockError::WouldBlock) => Err(Error::Busy(directory.to_owned())),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// Removes what a dead run left, but for the files named in `keep`.
    ///
    /// # Errors
    /// [`Error::Io`] naming the file that could not be removed.
    pub fn remove_leftovers(&mut self, keep: &[String]) -> Result<(), Error> {
        for name in std::mem::take(&mut self.leftovers) {
            if !keep.contains(&name) && is_plain_name(&name) {
                remove_if_there(&self.directory.join(&name))?;
                remove_if_there(&self.directory.join(format!("{name}.part")))?;
            }
        }
        let entries = fs::read_dir(&self.directory)
            .map_err(|source| Error::Io { path: self.directory.clone(), source })?;
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(WORK_PREFIX) {
                let path = entry.path();
                fs::remove_dir_all(&path).map_err(|source| Error::Io { path, source })?;
            }
        }
        Ok(())
    }

    /// Notes, durably, that this run is about to make files of these names.
    ///
    /// # Errors
    /// [`Error::Io`] when the marker cannot be written.
    pub fn will_make(&mut self, names: Vec<String>) -> Result<(), Error> {
        let io = |source| Error::Io { path: self.directory.join(MARKER), source };
        let text = serde_json::to_vec(&Marker { makes: names }).map_err(|e| io(e.into()))?;
        self.file.set_len(0).map_err(io)?;
        self.file.rewind().map_err(io)?;
        self.file.write_all(&text).map_err(io)?;
        self.file.sync_all().map_err(io)
    }

    /// Ends the claim: the marker goes, and with it a directory that this run made and left empty.
    ///
    /// # Errors
    /// [`Error::Io`] when the marker cannot be removed.
    pub fn release(self) -> Result<(), Error> {
        let marker = self.directory.join(MARKER);
        fs::remove_file(&marker).map_err(|source| Error::Io { path: marker, source })?;
        if self.made_directory
            && let Err(error) = fs::remove_dir(&self.directory)
        {
            tracing::trace!(%error, "the output directory stays: it is not empty");
        }
        Ok(())
    }
}

/// An empty or broken marker is that of a run that died before it made anything.
fn read_marker(file: &mut File) -> io::Result<Marker> {
    let mut text = Vec::new();
    file.take(LONGEST_MARKER).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text).unwrap_or_default())
}

/// Whether a name from the marker names a file of this very directory.
fn is_plain_name(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|last| last == name)
}

fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Io { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_refused_while_the_first_works() {
        let parent = tempfile::tempdir().expect("temp dir");
        let directory = parent.path().join("export");
        let first = Claim::take(&directory).expect("free");
        assert!(matches!(Claim::take(&directory), Err(Error::Busy(_))));
        first.release().expect("released");
        assert!(!directory.exists(), "a directory that stayed empty goes with its run");
    }

    #[test]
    fn the_leftovers_of_a_dead_run_go_and_nothing_else() {
        let directory = tempfile::tempdir().expect("temp dir");
        let path = |name: &str| directory.path().join(name);
        let mut dead = Claim::take(directory.path()).expect("free");
        dead.will_make(vec!["disk-0.vmdk".into(), "disk-1.vmdk".into(), "../user".into()])
            .expect("noted");
        drop(dead); // as a kill does: the lock goes, the marker stays
        for name in ["disk-0.vmdk", "disk-1.vmdk.part", "notes.txt"] {
            fs::write(path(name), name).expect("write");
        }
        fs::create_dir(path(".hyperexport-work-x1")).expect("mkdir");

        assert_eq!(Claim::leftovers(directory.path()).expect("readable").len(), 3);
        let mut next = Claim::take(directory.path()).expect("free");
        next.remove_leftovers(&[]).expect("removed");
        next.release().expect("released");
        let left: Vec<_> = fs::read_dir(directory.path())
            .expect("read")
            .map(|e| e.expect("entry").file_name().into_string().expect("utf-8"))
            .collect();
        assert_eq!(left, ["notes.txt"]);
    }

    #[test]
    fn a_marker_cannot_name_files_elsewhere() {
        for name in ["../user", "/etc/passwd", "a/b", "..", ""] {
            assert!(!is_plain_name(name), "{name}");
        }
        assert!(is_plain_name("disk-0.vmdk"));
    }
}
