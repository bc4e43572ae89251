//! Locks of files that may be removed by whoever held them before.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Error;
use super::read::open_own_by;

/// How often a file may vanish between its opening and its lock before that is an error.
const TRIES: usize = 100;

/// What became of a lock.
#[derive(Debug)]
pub enum Locked {
    /// The file, which is locked and still has its name.
    Ours(File),
    /// The file, where the file system knows no locks.
    Unlocked(File),
    /// Another process holds the lock.
    Busy,
    /// There is no such file.
    Gone,
}

/// Opens a file of our own state as `options` say and locks it. Between the two another run may have
/// removed the file and made another: a lock of a file that has lost its name excludes nobody.
///
/// # Errors
/// As [`super::open_own`].
pub fn lock(options: &OpenOptions, path: &Path) -> Result<Locked, Error> {
    for _ in 0..TRIES {
        let Some(file) = open_own_by(options, path)? else { return Ok(Locked::Gone) };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Locked::Busy),
            Err(TryLockError::Error(error)) => {
                tracing::debug!(path = %path.display(), %error, "lock");
                return Ok(Locked::Unlocked(file));
            }
        }
        if has_name(&file, path).map_err(Error::read(path))? {
            return Ok(Locked::Ours(file));
        }
    }
    Ok(Locked::Busy)
}

/// Whether an open file is the one that has the name.
///
/// # Errors
/// What the file system says.
pub fn has_name(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match path.symlink_metadata() {
        Ok(named) => Ok((open.dev(), open.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the renames in a folder last.
///
/// # Errors
/// What the file system says.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_lock_is_of_the_file_that_has_the_name() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("lock");
        let mut options = OpenOptions::new();
        options.read(true).append(true);
        assert!(matches!(lock(&options, &path), Ok(Locked::Gone)));
        let Ok(Locked::Ours(first)) = lock(options.create(true), &path) else { panic!("free") };
        assert!(matches!(lock(&options, &path), Ok(Locked::Busy)));
        // As its holder does at the end; who waits has opened the file before.
        let waiting = File::open(&path).expect("there");
        fs::remove_file(&path).expect("removed");
        drop(first);
        assert!(!has_name(&waiting, &path).expect("looked"));
        let Ok(Locked::Ours(second)) = lock(&options, &path) else { panic!("free") };
        assert!(has_name(&second, &path).expect("looked"));
        assert!(!has_name(&waiting, &path).expect("looked"), "another file of the same name");
    }
}
