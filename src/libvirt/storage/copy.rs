//! Copies an image into the folder of a pool on this machine. Holes stay holes, and blocks are
//! shared if the file system supports that. The copy never overwrites a file, and is renamed to its
//! final name only when complete.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::libc;
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use crate::image::{begin_to_write, extents};
use crate::progress::Task;

use super::super::Error;
use super::super::rollback::undo_step::FileId;
use super::pool::Access;

/// Bytes copied at once.
const CHUNK: usize = 1024 * 1024;

/// An incomplete copy in the folder of a pool; it is deleted unless it is completed.
#[derive(Debug)]
pub(in crate::libvirt) struct PartialCopy(NamedTempFile);

/// Opens a hidden file in `dir` with mode 0600, like libvirt's volumes. `None` if this process
/// lacks permission or the folder is not on this machine.
pub(in crate::libvirt) fn open(dir: &Path) -> Result<Option<PartialCopy>, Error> {
    match tempfile::Builder::new().prefix(".hyperexport-").suffix(".part").tempfile_in(dir) {
        Ok(file) => Ok(Some(PartialCopy(file))),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound
            ) =>
        {
            tracing::debug!(dir = %dir.display(), %error, "the pool's folder cannot be written");
            Ok(None)
        }
        Err(error) => Err(Error::file("writing to", dir)(error)),
    }
}

impl PartialCopy {
    pub fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    /// Identity of the file, which a rename preserves.
    pub fn id(&self) -> Result<FileId, Error> {
        let found = self.0.as_file().metadata();
        found.map(|found| FileId::from(&found)).map_err(Error::file("inspecting", self.path()))
    }

    /// Sets owner, group and mode to those of the pool's volumes. Only root can change the owner,
    /// and not on every NFS server. If that is denied, libvirt adjusts the owner when the domain
    /// starts.
    pub fn belongs(&self, access: Access) -> Result<(), Error> {
        let failed = |error| Error::file("setting the owner of", self.path())(error);
        match fchown(self.0.as_file(), Some(access.owner), Some(access.group)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::debug!(%error, "the volume stays with who made it");
            }
            end => end.map_err(failed)?,
        }
        self.0.as_file().set_permissions(Permissions::from_mode(access.mode)).map_err(failed)
    }

    /// Copies `image` and gives the copy its final name; returns its path.
    pub fn fill(
        self,
        image: &Path,
        name: &str,
        task: &Task,
        cancel: &CancellationToken,
    ) -> Result<PathBuf, Error> {
        let from = File::open(image).map_err(Error::file("opening", image))?;
        let part = self.0.path().to_owned();
        copy(&from, self.0.as_file(), task, cancel).map_err(|error| {
            if cancel.is_cancelled() {
                Error::Cancelled
            } else {
                Error::file("copying into the storage pool", image)(error)
            }
        })?;
        self.0.as_file().sync_all().map_err(Error::file("writing", part))?;
        let dir = self.0.path().parent().unwrap_or(Path::new("/")).to_owned();
        let path = dir.join(name);
        self.0.persist_noclobber(&path).map_err(|e| Error::file("creating", &path)(e.error))?;
        let synced = File::open(&dir).and_then(|dir| dir.sync_all());
        if let Err(error) = synced {
            // The file has its final name, so only this call can still remove it.
            if let Err(error) = fs::remove_file(&path) {
                tracing::debug!(path = %path.display(), %error, "removing volume");
            }
            return Err(Error::file("writing", dir)(error));
        }
        Ok(path)
    }
}

fn copy(from: &File, to: &File, task: &Task, cancel: &CancellationToken) -> io::Result<()> {
    let len = from.metadata()?.len();
    if share_blocks(from, to) {
        return Ok(());
    }
    to.set_len(len)?;
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    let mut at = 0;
    while let Some(data) = extents::next_data(from, at, len)? {
        at = data.start;
        while at < data.end {
            if cancel.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let wanted = CHUNK.min(usize::try_from(data.end - at).unwrap_or(CHUNK));
            from.read_exact_at(&mut buffer[..wanted], at)?;
            to.write_all_at(&buffer[..wanted], at)?;
            begin_to_write(to, at, wanted);
            at += wanted as u64;
            done += wanted as u64;
            task.at(done);
        }
    }
    Ok(())
}

/// Makes `to` a copy that shares its blocks with `from`, if the file system supports that (Btrfs,
/// XFS).
fn share_blocks(from: &File, to: &File) -> bool {
    // SAFETY: FICLONE takes a file descriptor by value; both files are open during the call.
    unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONE, from.as_raw_fd()) == 0 }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::progress::{Progress, Unit};

    fn sparse(dir: &Path) -> PathBuf {
        let image = dir.join("image");
        let file = File::create(&image).expect("a file");
        file.set_len(64 << 20).expect("sized");
        file.write_all_at(&[7; 70_000], 20 << 20).expect("written");
        file.write_all_at(&[9; 10], (64 << 20) - 10).expect("written");
        image
    }

    fn fill(pool: &Path, image: &Path, cancel: &CancellationToken) -> Result<PathBuf, Error> {
        let task = Progress::none().task("copy", None, Unit::Bytes);
        open(pool).expect("opens").expect("writable").fill(image, "v.raw", &task, cancel)
    }

    #[test]
    fn bytes_are_equal_and_holes_stay() {
        let (source, pool) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
        let image = sparse(source.path());
        let path = fill(pool.path(), &image, &CancellationToken::new()).expect("copies");
        assert!(fs::read(&path).expect("reads") == fs::read(&image).expect("reads"));
        let meta = path.metadata().expect("exists");
        assert!(meta.blocks() * 512 < 1 << 20, "{} blocks", meta.blocks());
        assert_eq!(meta.mode() & 0o777, 0o600);
    }

    #[test]
    fn another_file_is_not_overwritten_and_a_cancelled_copy_leaves_nothing() {
        let (source, pool) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
        let image = sparse(source.path());
        fs::write(pool.path().join("v.raw"), "mine").expect("written");
        let error = fill(pool.path(), &image, &CancellationToken::new()).expect_err("taken");
        assert!(error.to_string().starts_with("creating "), "{error}");
        assert_eq!(fs::read_to_string(pool.path().join("v.raw")).expect("reads"), "mine");
        fs::remove_file(pool.path().join("v.raw")).expect("removed");

        let cancel = CancellationToken::new();
        cancel.cancel();
        assert!(matches!(fill(pool.path(), &image, &cancel), Err(Error::Cancelled)));
        assert_eq!(fs::read_dir(pool.path()).expect("reads").count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_here_is_no_error() {
        assert!(open(Path::new("/no/such/folder")).expect("no error").is_none());
    }
}
