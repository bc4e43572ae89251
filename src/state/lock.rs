//! Locks of files that may be removed by an earlier owner.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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
