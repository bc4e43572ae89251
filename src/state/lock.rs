//! Locks of files that a previous owner may have removed.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Result of locking a file.
#[derive(Debug)]
pub enum Locked {
    /// The file is locked and still has its name.
    Ours(File),
    /// The file is open, but its file system does not support locks.
    Unlocked(File),
    /// Another process holds the lock.
    Busy,
    /// The file does not exist.
    Gone,
}

/// Whether `path` still names the open file.
///
/// # Errors
/// Error of the file system.
pub fn has_name(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match path.symlink_metadata() {
        Ok(named) => Ok((open.dev(), open.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Syncs a folder, so that renames in it survive a power failure.
///
/// # Errors
/// Error of the file system.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
