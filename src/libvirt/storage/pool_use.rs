//! Tracks which runs on this machine need a storage pool started. A run that has started a pool
//! stops it again after a failure. Another run may be about to use the pool without having created
//! a volume yet.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;
use virt::storage_pool::StoragePool;

/// Folder of the lock files: shared by all users and services, and emptied by a reboot. A systemd
/// service may have a private `/tmp`.
const FOLDER: &str = "/dev/shm";

/// A run's lock on a pool, if it can be locked. Dropping the value releases the lock.
#[derive(Debug)]
pub(in crate::libvirt) struct PoolUse {
    _lock: Option<File>,
}

impl PoolUse {
    /// Takes a shared lock: several runs may need the pool. Waits for a run that is stopping the
    /// pool.
    pub fn begin(pool: &StoragePool) -> Self {
        let shared = |file: File| told(file.lock_shared().map(|()| file));
        Self { _lock: lock_file(pool).and_then(shared) }
    }

    /// Takes an exclusive lock, to stop the pool; `None` if another run needs it.
    pub fn alone(pool: &StoragePool) -> Option<Self> {
        let lock = match lock_file(pool) {
            Some(file) => alone(file)?,
            None => None,
        };
        Some(Self { _lock: lock })
    }
}

/// The file once it is locked, or an empty inner value if it cannot be; `None` if another run has
/// locked it.
fn alone(file: File) -> Option<Option<File>> {
    match file.try_lock() {
        Ok(()) => Some(Some(file)),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(error)) => Some(told(Err(error))),
    }
}

fn lock_file(pool: &StoragePool) -> Option<File> {
    let uuid = pool.uuid_string().ok()?;
    told(open(Path::new(FOLDER), &uuid))
}

/// Opens the lock file without creating it first. In a world-writable folder a call that might
/// create the file may not open another user's file (`fs.protected_regular`).
fn open(folder: &Path, uuid: &str) -> io::Result<File> {
    let path = folder.join(format!("hyperexport-pool-{uuid}.lock"));
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOFOLLOW);
    match options.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let created = options.clone().write(true).create_new(true).mode(0o644).open(&path);
    match created {
        // Another run has created the file in the meantime.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(&path),
        created => created,
    }
}

fn told(file: io::Result<File>) -> Option<File> {
    file.inspect_err(|error| tracing::debug!(%error, "locking a storage pool")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_another_run_uses_is_nobodys_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = || open(dir.path(), "uuid").expect("opened");
        let (first, second) = (file(), file());
        first.lock_shared().expect("locked");
        second.lock_shared().expect("several use it");
        assert!(alone(file()).is_none());
        drop(first);
        assert!(alone(file()).is_none());
        drop(second);
        let stopping = alone(file()).expect("nobody uses it");
        assert!(file().try_lock_shared().is_err(), "it is being stopped");
        drop(stopping);
        assert!(open(dir.path(), "other").expect("opened").try_lock().is_ok());
    }
}
