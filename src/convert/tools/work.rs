//! The private folder of one conversion, below the output directory so that results can be moved
//! out of it by a rename. The folder is locked while its run lives. A folder without a locked lock
//! file was left by a killed run, and is removed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;

use crate::model::DiskId;
use crate::state::WORK_PREFIX;

use super::super::Error;
use super::libguestfs_cleanup;

/// A stub for `xfs_admin`, which hyper2kvm runs on the *host* with device names of the guest,
/// before it knows whether they are the guest's (see `isolate.rs`).
const NO_XFS_ADMIN: &str = "#!/bin/sh\necho 'xfs_admin: not on the host' >&2\nexit 1\n";

#[derive(Debug)]
pub(in crate::convert) struct WorkDir {
    dir: TempDir,
    path: PathBuf,
    _lock: Flock<File>,
}

impl WorkDir {
    /// Creates a work folder in `output`, an absolute path, and removes those of killed runs.
    pub(in crate::convert) fn new(output: &Path) -> Result<Self, Error> {
        remove_stale(output);
        let failed = || Error::io(format!("making a work folder in {}", output.display()));
        let dir = tempfile::Builder::new()
            .prefix(WORK_PREFIX)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(output)
            .map_err(failed())?;
        let path = dir.path().to_owned();
        let lock = lock(&path).map_err(failed())?;
        let work = Self { dir, path, _lock: lock };
        for folder in [work.images(), work.out(), work.tmp(), work.stubs(), work.dev()] {
            fs::DirBuilder::new().mode(0o700).create(folder).map_err(failed())?;
        }
        let stub = work.stubs().join("xfs_admin");
        fs::write(&stub, NO_XFS_ADMIN).map_err(failed())?;
        fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).map_err(failed())?;
        Ok(work)
    }

    pub(in crate::convert) fn path(&self) -> &Path {
        &self.path
    }

    /// Path of the work image of a disk.
    pub(in crate::convert) fn image(&self, disk: &DiskId) -> PathBuf {
        self.images().join(format!("{disk}.qcow2"))
    }

    /// Folder of the work images.
    pub(in crate::convert) fn images(&self) -> PathBuf {
        self.path.join("images")
    }

    /// Folder into which hyper2kvm writes converted images.
    pub(in crate::convert) fn out(&self) -> PathBuf {
        self.path.join("out")
    }

    /// Empties the folders of images, so that another converter can start anew.
    pub(in crate::convert) fn clear(&self) -> io::Result<()> {
        for folder in [self.images(), self.out()] {
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            fs::DirBuilder::new().mode(0o700).create(folder)?;
        }
        Ok(())
    }

    /// hyper2kvm's folder for temporary files.
    pub(in crate::convert) fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Folder of programs that come first in hyper2kvm's `PATH`.
    pub(in crate::convert) fn stubs(&self) -> PathBuf {
        self.path.join("bin")
    }

    /// Folder in which hyper2kvm's private `/dev` is assembled.
    pub(in crate::convert) fn dev(&self) -> PathBuf {
        self.path.join("dev")
    }

    /// Path of the job manifest.
    pub(in crate::convert) fn job(&self) -> PathBuf {
        self.path.join("job.json")
    }

    /// Path at which hyper2kvm writes its report.
    pub(in crate::convert) fn report(&self) -> PathBuf {
        self.path.join("report.json")
    }

    /// Removes the folder and its content; unmounts everything below it first.
    pub(in crate::convert) fn remove(self) -> io::Result<()> {
        libguestfs_cleanup::unmount_below(&self.path);
        self.dir.close()
    }
}

/// Creates the folder's lock file. The file is renamed to its final name only after it is locked,
/// so that no run finds it unlocked.
fn lock(folder: &Path) -> io::Result<Flock<File>> {
    let unnamed = folder.join("lock.new");
    let lock = Flock::lock(File::create(&unnamed)?, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, error)| io::Error::from(error))?;
    fs::rename(unnamed, folder.join("lock"))?;
    Ok(lock)
}

/// Removes work folders whose runs are gone. Folders that cannot be removed are left to the
/// administrator.
fn remove_stale(output: &Path) {
    let Ok(entries) = fs::read_dir(output) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(WORK_PREFIX) {
            continue;
        }
        let path = entry.path();
        // A folder without a lock file may be one that a run is creating at this moment.
        if path.join("lock").symlink_metadata().is_err() {
            continue;
        }
        match remove_dead_work(&path) {
            Ok(true) => tracing::info!(path = %path.display(), "removed a killed run's folder"),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "removing a killed run's folder");
            }
        }
    }
}

/// Removes a work folder, unless the run that created it lives; returns whether the folder is gone.
/// The caller must have locked the parent folder: a work folder without a lock file then belongs to
/// a killed run.
///
/// # Errors
/// The error of the file system.
pub fn remove_dead_work(path: &Path) -> io::Result<bool> {
    let lock = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(path.join("lock"));
    let _lock = match lock {
        Ok(file) => match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Some(lock),
            Err((_, Errno::EWOULDBLOCK)) => return Ok(false),
            Err((_, error)) => return Err(error.into()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    libguestfs_cleanup::unmount_below(path);
    match path.symlink_metadata()?.is_dir() {
        true => fs::remove_dir_all(path)?,
        false => fs::remove_file(path)?,
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_work_folder_is_private_and_goes_without_a_trace() {
        let output = tempfile::tempdir().expect("a folder");
        let work = WorkDir::new(output.path()).expect("made");
        let mode = fs::metadata(work.path()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        work.remove().expect("removed");
        assert_eq!(fs::read_dir(output.path()).expect("list").count(), 0);
    }

    #[test]
    fn folders_of_killed_runs_go_and_those_of_live_ones_stay() {
        let output = tempfile::tempdir().expect("a folder");
        let alive = WorkDir::new(output.path()).expect("made");
        let dead = output.path().join(".hyperexport-work-dead");
        fs::create_dir(&dead).expect("made");
        fs::write(dead.join("lock"), "").expect("made");
        let foreign = output.path().join(".hyperexport-work-foreign");
        fs::create_dir(&foreign).expect("made");
        let new = WorkDir::new(output.path()).expect("made");
        assert!(!dead.exists());
        remove_dead_work(alive.path()).expect("looked at");
        fs::create_dir(&dead).expect("made");
        remove_dead_work(&dead).expect("removed");
        assert!(!dead.exists());
        assert!(alive.path().exists() && foreign.exists() && new.path().exists());
    }
}
