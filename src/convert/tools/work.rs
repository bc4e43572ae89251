//! The private folder of one conversion, below the output directory so that results can be moved
//! out of it by a rename. It is locked while its run lives; folders that a killed run left behind
//! are found by their free lock and removed.

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

/// What hyper2kvm runs as `xfs_admin` on the *host*, with device names of the guest, before it
/// knows whether they are the guest's (see `isolate.rs`).
const NO_XFS_ADMIN: &str = "#!/bin/sh\necho 'xfs_admin: not on the host' >&2\nexit 1\n";

/// The private folder of one conversion.
#[derive(Debug)]
pub(in crate::convert) struct WorkDir {
    dir: TempDir,
    path: PathBuf,
    _lock: Flock<File>,
}

impl WorkDir {
    /// Makes one in `output`, an absolute path, and clears away those of killed runs.
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

    /// The folder itself.
    pub(in crate::convert) fn path(&self) -> &Path {
        &self.path
    }

    /// The work image of a disk.
    pub(in crate::convert) fn image(&self, disk: &DiskId) -> PathBuf {
        self.images().join(format!("{disk}.qcow2"))
    }

    /// Where the work images are.
    pub(in crate::convert) fn images(&self) -> PathBuf {
        self.path.join("images")
    }

    /// Where hyper2kvm writes converted images.
    pub(in crate::convert) fn out(&self) -> PathBuf {
        self.path.join("out")
    }

    /// Empties the folders of images, for another converter to begin anew.
    pub(in crate::convert) fn clear(&self) -> io::Result<()> {
        for folder in [self.images(), self.out()] {
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            fs::DirBuilder::new().mode(0o700).create(folder)?;
        }
        Ok(())
    }

    /// Its folder for temporary files.
    pub(in crate::convert) fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Programs that come first in its `PATH`.
    pub(in crate::convert) fn stubs(&self) -> PathBuf {
        self.path.join("bin")
    }

    /// Where its private `/dev` is put together.
    pub(in crate::convert) fn dev(&self) -> PathBuf {
        self.path.join("dev")
    }

    /// The job manifest.
    pub(in crate::convert) fn job(&self) -> PathBuf {
        self.path.join("job.json")
    }

    /// Where hyper2kvm is told to write its report.
    pub(in crate::convert) fn report(&self) -> PathBuf {
        self.path.join("report.json")
    }

    /// Removes the folder and all in it; mounts below it are taken away first.
    pub(in crate::convert) fn remove(self) -> io::Result<()> {
        libguestfs_cleanup::unmount_below(&self.path);
        self.dir.close()
    }
}

/// Makes the folder's lock. It gets its name when it is locked, so that nobody finds it free.
fn lock(folder: &Path) -> io::Result<Flock<File>> {
    let unnamed = folder.join("lock.new");
    let lock = Flock::lock(File::create(&unnamed)?, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, error)| io::Error::from(error))?;
    fs::rename(unnamed, folder.join("lock"))?;
    Ok(lock)
}

/// Removes work folders whose runs are gone. What cannot be removed is left for a person.
fn remove_stale(output: &Path) {
    let Ok(entries) = fs::read_dir(output) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(WORK_PREFIX) {
            continue;
        }
        let path = entry.path();
        // Without a lock it may be one that a run is making at this moment.
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

/// Removes a work folder, unless the run that made it lives; says whether it is gone. Who calls
/// this has claimed the folder around it: a work folder without a lock is of a run that was killed
/// meanwhile.
///
/// # Errors
/// What the file system says.
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
