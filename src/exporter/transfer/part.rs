//! A file with a temporary name until it is verified: written as `NAME.part`, renamed at the end.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags};
use tokio_util::sync::CancellationToken;

use super::adopt;
use crate::exporter::{Error, FinishedDisk};
use crate::progress::Task;
use crate::state;

/// How often another run may remove the file between its creation and its lock.
const TRIES: usize = 10;

/// A file that is being written. The file is locked, so that two runs cannot write it at the same
/// time.
#[derive(Debug)]
pub(in crate::exporter) struct PartFile {
    file: File,
    path: PathBuf,
    target: PathBuf,
    committed: AtomicBool,
}

impl PartFile {
    /// Creates the file `target`. A half-written file of an earlier run is replaced. Blocks.
    ///
    /// # Errors
    /// [`Error::Exists`] when `target` exists, or its `.part` is not an ordinary file;
    /// [`Error::Busy`] when another run is writing it.
    pub(in crate::exporter) fn create(target: PathBuf) -> Result<Self, Error> {
        // A symbolic link counts as a file, even a dangling one.
        if target.symlink_metadata().is_ok() {
            return Err(Error::Exists { path: target });
        }
        let path = part_of(&target);
        let failed = |source| Error::File { action: "creating", path: path.clone(), source };
        for _ in 0..TRIES {
            remove_stale(&path)?;
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                // The file will contain a machine's data, including keys and password hashes.
                .mode(0o600)
                .custom_flags(OFlag::O_NOFOLLOW.bits())
                .open(&path)
                .map_err(failed)?;
            lock(&file, &path)?;
            // Another run may have removed the file as stale before it was locked.
            if state::has_name(&file, &path).map_err(failed)? {
                return Ok(Self { file, path, target, committed: AtomicBool::new(false) });
            }
        }
        Err(Error::Busy { path })
    }

    /// Reuses the finished file of an interrupted run for `target`, with its temporary or its final
    /// name, if the file matches `disk`. `None` if a temporary file does not match, which is then
    /// removed. Blocks.
    ///
    /// # Errors
    /// [`Error::Busy`] when another run is writing the file; [`Error::Exists`] when a file with the
    /// final name does not match, since it may be the user's; [`Error::Cancelled`];
    /// [`Error::File`].
    pub(in crate::exporter) fn adopt(
        target: PathBuf,
        disk: &FinishedDisk,
        task: &Task,
        cancel: &CancellationToken,
    ) -> Result<Option<Self>, Error> {
        let path = part_of(&target);
        let failed = |action, source| Error::File { action, path: path.clone(), source };
        let is_named = path.symlink_metadata().is_err();
        let found = if is_named { &target } else { &path };
        match found.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("inspecting", source)),
            Ok(file) if !file.is_file() => return Err(Error::Exists { path: found.clone() }),
            Ok(_) => {}
        }
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(found);
        let file = open.map_err(|source| failed("opening", source))?;
        lock(&file, found)?;
        if !state::has_name(&file, found).map_err(|source| failed("inspecting", source))? {
            return Err(Error::Busy { path: found.clone() });
        }
        let same = file.try_clone().and_then(|file| adopt::is_same(file, disk, task, cancel));
        match same {
            Ok(true) => {
                if is_named {
                    std::fs::rename(&target, &path).map_err(|source| failed("renaming", source))?;
                }
                Ok(Some(Self { file, path, target, committed: AtomicBool::new(false) }))
            }
            Ok(false) if is_named => Err(Error::Exists { path: target }),
            Ok(false) => {
                drop(file);
                remove_stale(&path)?;
                Ok(None)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(Error::Cancelled),
            Err(source) => Err(failed("reading", source)),
        }
    }

    /// Changes the final name to `target`. Blocks.
    ///
    /// # Errors
    /// As those of [`PartFile::create`].
    pub(in crate::exporter) fn retarget(&mut self, target: PathBuf) -> Result<(), Error> {
        if target == self.target {
            return Ok(());
        }
        if target.symlink_metadata().is_ok() {
            return Err(Error::Exists { path: target });
        }
        let path = part_of(&target);
        remove_stale(&path)?;
        let failed = |source| Error::File { action: "renaming", path: self.path.clone(), source };
        std::fs::rename(&self.path, &path).map_err(failed)?;
        (self.path, self.target) = (path, target);
        Ok(())
    }

    /// Truncates the file, and returns another handle for writing it from the beginning. Blocks.
    pub(in crate::exporter) fn restart(&self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.set_len(0)?;
        file.rewind()?;
        Ok(file)
    }

    /// Path of the file before the commit.
    pub(in crate::exporter) fn path(&self) -> &Path {
        &self.path
    }

    /// Path of the file after the commit.
    pub(in crate::exporter) fn target(&self) -> &Path {
        &self.target
    }

    /// Renames the file to its final name, unless a file of that name exists. Blocks.
    pub(in crate::exporter) fn commit(&self) -> Result<(), Error> {
        let rename = nix::fcntl::renameat2(
            AT_FDCWD,
            &self.path,
            AT_FDCWD,
            &self.target,
            RenameFlags::RENAME_NOREPLACE,
        );
        let result = match rename {
            // NFS and others cannot rename without overwriting in one step.
            Err(Errno::EINVAL | Errno::ENOSYS) if self.target.symlink_metadata().is_err() => {
                std::fs::rename(&self.path, &self.target)
            }
            other => other.map_err(io::Error::from),
        };
        self.committed.store(result.is_ok(), Ordering::Release);
        result.map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists | ErrorKind::InvalidInput => {
                Error::Exists { path: self.target.clone() }
            }
            _ => Error::File { action: "renaming", path: self.path.clone(), source },
        })
    }

    /// Removes the file, under its temporary or final name. Blocks.
    pub(in crate::exporter) fn discard(&self) -> Result<(), Error> {
        let committed = self.committed.load(Ordering::Acquire);
        let path = if committed { &self.target } else { &self.path };
        match std::fs::remove_file(path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(Error::File { action: "removing", path: path.clone(), source })
            }
            _ => Ok(()),
        }
    }
}

/// Syncs the directory, so that renames in it survive a crash. Blocks.
pub(in crate::exporter) fn sync_directory(directory: &Path) -> Result<(), Error> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|source| Error::File {
        action: "syncing",
        path: directory.to_owned(),
        source,
    })
}

fn part_of(target: &Path) -> PathBuf {
    let mut name = target.to_owned().into_os_string();
    name.push(".part");
    PathBuf::from(name)
}

fn remove_stale(path: &Path) -> Result<(), Error> {
    let failed = |action, source| Error::File { action, path: path.to_owned(), source };
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed("inspecting", source)),
        Ok(found) if !found.is_file() => return Err(Error::Exists { path: path.to_owned() }),
        Ok(_) => {}
    }
    let stale = OpenOptions::new()
        .write(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path)
        .map_err(|source| failed("opening", source))?;
    lock(&stale, path)?;
    // Only a locked file is removed: another run may have replaced the stale file by its own.
    match state::has_name(&stale, path).map_err(|source| failed("inspecting", source))? {
        true => std::fs::remove_file(path).map_err(|source| failed("removing", source)),
        false => Err(Error::Busy { path: path.to_owned() }),
    }
}

/// Locks the file, if the file system supports it; otherwise the user has to avoid parallel runs.
fn lock(file: &File, path: &Path) -> Result<(), Error> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Error::Busy { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => {
            tracing::debug!(path = %path.display(), %error, "lock");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn target() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        let target = dir.path().join("disk-0.vmdk");
        (dir, target)
    }

    #[test]
    fn the_name_appears_at_the_end() {
        let (_dir, target) = target();
        let part = PartFile::create(target.clone()).expect("created");
        part.restart().expect("a handle").write_all(b"first, longer").expect("written");
        part.restart().expect("a handle").write_all(b"second").expect("written");
        assert!(!target.exists());
        part.commit().expect("renamed");
        assert_eq!(std::fs::read(&target).expect("there"), b"second");
    }

    #[test]
    fn another_name_is_taken_before_the_end_and_replaces_nothing() {
        let (dir, target) = target();
        let mut part = PartFile::create(target.clone()).expect("created");
        part.restart().expect("a handle").write_all(b"image").expect("written");
        let other = dir.path().join("disk-0.qcow2");
        part.retarget(other.clone()).expect("renamed");
        assert!(!dir.path().join("disk-0.vmdk.part").exists());
        std::fs::write(&target, "mine").expect("written");
        assert!(matches!(part.retarget(target), Err(Error::Exists { .. })));
        part.commit().expect("named");
        assert_eq!(std::fs::read(&other).expect("there"), b"image");
    }

    #[test]
    fn what_is_there_is_never_replaced() {
        let (_dir, target) = target();
        let part = PartFile::create(target.clone()).expect("created");
        std::fs::write(&target, "mine").expect("written");
        assert!(matches!(part.commit(), Err(Error::Exists { .. })));
        assert!(matches!(PartFile::create(target.clone()), Err(Error::Exists { .. })));
        assert_eq!(std::fs::read(&target).expect("there"), b"mine");
    }

    #[test]
    fn links_are_not_followed() {
        let (dir, target) = target();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "mine").expect("written");
        std::os::unix::fs::symlink(&victim, dir.path().join("disk-0.vmdk.part")).expect("linked");
        assert!(matches!(PartFile::create(target.clone()), Err(Error::Exists { .. })));
        std::os::unix::fs::symlink("/nowhere", &target).expect("linked");
        assert!(matches!(PartFile::create(target), Err(Error::Exists { .. })));
        assert_eq!(std::fs::read(&victim).expect("there"), b"mine");
    }

    #[test]
    fn only_the_very_file_of_a_killed_run_is_taken_over() {
        let (dir, target) = target();
        let bytes = b"whole";
        let disk = FinishedDisk {
            id: crate::model::DiskId::from_index(0),
            capacity: crate::model::ByteSize(5),
            file_size: crate::model::ByteSize(5),
            sha256: crate::model::Sha256Digest(
                sha2::Digest::finalize(sha2::Digest::chain_update(
                    <sha2::Sha256 as sha2::Digest>::new(),
                    bytes,
                ))
                .into(),
            ),
            content: None,
            received: None,
            uuid: None,
            unverified: None,
        };
        let adopt = || {
            let task =
                crate::progress::Progress::none().task("look", None, crate::progress::Unit::Bytes);
            PartFile::adopt(target.clone(), &disk, &task, &CancellationToken::new())
        };
        assert!(adopt().expect("looked").is_none());
        std::fs::write(&target, "other").expect("written");
        assert!(matches!(adopt(), Err(Error::Exists { .. })));
        assert_eq!(std::fs::read(&target).expect("stays"), b"other");
        let elsewhere = dir.path().join("elsewhere");
        std::fs::rename(&target, &elsewhere).expect("moved");
        std::fs::write(&elsewhere, bytes).expect("written");
        std::os::unix::fs::symlink(&elsewhere, &target).expect("linked");
        assert!(matches!(adopt(), Err(Error::Exists { .. })), "a link");
        assert!(target.is_symlink());
        std::fs::remove_file(&target).expect("removed");
        std::fs::write(&target, bytes).expect("written");
        let part = adopt().expect("looked").expect("the same");
        assert!(part.path().exists() && !target.exists());
        drop(part);
        std::fs::write(dir.path().join("disk-0.vmdk.part"), "other").expect("written");
        assert!(adopt().expect("looked").is_none());
        assert!(!dir.path().join("disk-0.vmdk.part").exists());
    }

    #[test]
    fn a_stale_part_is_replaced_but_one_in_use_is_not() {
        let (_dir, target) = target();
        let first = PartFile::create(target.clone()).expect("created");
        assert!(matches!(PartFile::create(target.clone()), Err(Error::Busy { .. })));
        drop(first);
        let second = PartFile::create(target).expect("replaced");
        second.discard().expect("removed");
        assert!(!second.path.exists());
    }
}
