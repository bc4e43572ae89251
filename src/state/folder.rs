//! A folder with state, accessed by an open descriptor. If another process renames or replaces the
//! folder during a run, nothing is read, written or removed in the replacement.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::libc::{O_DIRECTORY, O_NONBLOCK};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::answer::in_time;
use super::read::read_from;
use super::trust::{distrust_folder, foreign, is_fatal, open_to_others};
use super::{Error, Locked};

/// Prefix of the names of temporary files. The next run removes those that a killed run left
/// behind.
pub const TEMPORARY_PREFIX: &str = ".hyperexport-tmp-";
/// How often a file may vanish between being opened and being locked.
const TRIES: usize = 100;
/// Source of random bytes.
const RANDOM: &str = "/dev/urandom";

/// How a file of a folder is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Read-only; the file must exist.
    Read,
    /// For reading and appending. A missing file is created.
    Append,
}

/// An open folder. Clones share the descriptor.
#[derive(Debug, Clone)]
pub struct Folder {
    /// Path as the caller gave it, for messages.
    path: PathBuf,
    fd: Arc<OwnedFd>,
}

impl Folder {
    /// Opens an existing folder. Symbolic links in its path are followed. Root trusts no file in a
    /// folder that others can write to.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::NoAnswer`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let wanted = path.to_owned();
        in_time(path, move || Self::open_here(wanted))
    }

    fn open_here(path: PathBuf) -> Result<Self, Error> {
        let shown = if path.as_os_str().is_empty() { Path::new(".") } else { &path };
        let opened =
            OpenOptions::new().read(true).custom_flags(O_DIRECTORY | O_NONBLOCK).open(shown);
        let fd: OwnedFd = opened.map_err(Error::read(shown))?.into();
        Ok(Self { path: shown.to_owned(), fd: Arc::new(fd) })
    }

    /// Who else could have put a file into the folder.
    fn distrust(&self) -> Option<String> {
        // The open folder first: its path may name another one by now.
        let found = self.fd.try_clone().and_then(|fd| File::from(fd).metadata());
        let why = match found {
            Ok(found) => open_to_others(&found).map(|why| format!("{} {why}", self.path.display())),
            Err(error) => Some(format!("{}: {error}", self.path.display())),
        };
        why.or_else(|| distrust_folder(&self.path))
    }

    /// Path of the folder, as it was given to [`Self::open`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file of our own state; `None` if it does not exist.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::NoFile`], [`Error::Distrusted`], [`Error::NoAnswer`].
    pub fn open_own(&self, name: &str, how: How) -> Result<Option<File>, Error> {
        let (folder, wanted) = (self.clone(), name.to_owned());
        in_time(&self.path.join(name), move || folder.open_own_here(&wanted, how))
    }

    /// Content of a file of our own state, at most `limit` bytes; `None` if it does not exist.
    ///
    /// # Errors
    /// As [`Self::open_own`]; [`Error::TooLarge`].
    pub fn read_own(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let (folder, wanted) = (self.clone(), name.to_owned());
        let path = self.path.join(name);
        in_time(&path.clone(), move || {
            let file = folder.open_own_here(&wanted, How::Read)?;
            file.map(|file| read_from(&file, &path, limit)).transpose()
        })
    }

    /// Opens a file of our own state and locks it. If another run replaced the file between the
    /// two, the lock is useless, so the file is opened again.
    ///
    /// # Errors
    /// As [`Self::open_own`].
    pub fn lock(&self, name: &str, how: How) -> Result<Locked, Error> {
        let (folder, wanted) = (self.clone(), name.to_owned());
        in_time(&self.path.join(name), move || folder.lock_here(&wanted, how))
    }

    fn lock_here(&self, name: &str, how: How) -> Result<Locked, Error> {
        let path = self.path.join(name);
        for _ in 0..TRIES {
            let Some(file) = self.open_own_here(name, how)? else { return Ok(Locked::Gone) };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(Locked::Busy),
                Err(TryLockError::Error(error)) => {
                    tracing::debug!(path = %path.display(), %error, "lock");
                    return Ok(Locked::Unlocked(file));
                }
            }
            if self.has_name(&file, name).map_err(Error::read(&path))? {
                return Ok(Locked::Ours(file));
            }
        }
        Ok(Locked::Busy)
    }

    /// Creates a temporary file with access for its owner only; [`Temporary::name`] gives it its
    /// final name.
    ///
    /// # Errors
    /// Error of the file system.
    pub fn create_temporary(&self) -> io::Result<Temporary<'_>> {
        let mut random = [0; 8];
        File::open(RANDOM)?.read_exact(&mut random)?;
        let mut name = TEMPORARY_PREFIX.to_owned();
        random.iter().try_for_each(|byte| write!(name, "{byte:02x}")).map_err(io::Error::other)?;
        let flags = OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_EXCL;
        let file = self.openat(&name, flags)?.into();
        Ok(Temporary { folder: self, name, file, is_named: false })
    }

    /// Writes a file atomically, readable only by its owner; an existing file of that name is
    /// replaced.
    ///
    /// # Errors
    /// Error of the file system.
    pub fn save(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut temporary = self.create_temporary()?;
        (&temporary.file).write_all(bytes)?;
        temporary.file.sync_all()?;
        renameat(&*self.fd, temporary.name.as_str(), &*self.fd, name)?;
        temporary.is_named = true;
        self.sync()
    }

    /// Removes the file called `name`.
    ///
    /// # Errors
    /// Error of the file system.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&*self.fd, name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Syncs the folder, so that renames in it survive a power failure.
    ///
    /// # Errors
    /// Error of the file system.
    pub fn sync(&self) -> io::Result<()> {
        Ok(nix::unistd::fsync(&*self.fd)?)
    }

    fn has_name(&self, file: &File, name: &str) -> io::Result<bool> {
        let open = file.metadata()?;
        match fstatat(&*self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(named) => Ok((open.dev(), open.ino()) == (named.st_dev, named.st_ino)),
            Err(Errno::ENOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn open_own_here(&self, name: &str, how: How) -> Result<Option<File>, Error> {
        let path = self.path.join(name);
        let flags = match how {
            How::Read => OFlag::O_RDONLY,
            How::Append => OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT,
        };
        let file: File = match self.openat(name, flags) {
            Ok(file) => file.into(),
            Err(Errno::ENOENT) => return Ok(None),
            // A link (ELOOP), or a socket or pipe opened for writing (ENXIO).
            Err(error) => {
                let found = fstatat(&*self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW);
                let kind =
                    found.map(|found| SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT);
                return Err(match kind {
                    Ok(kind) if kind != SFlag::S_IFREG => {
                        Error::NoFile { path, link: kind == SFlag::S_IFLNK }
                    }
                    _ => Error::read(&path)(error.into()),
                });
            }
        };
        let found = file.metadata().map_err(Error::read(&path))?;
        if !found.is_file() {
            return Err(Error::NoFile { path, link: false });
        }
        let why = foreign(&found).map(|why| format!("it {why}"));
        match why.or_else(|| is_fatal().then(|| self.distrust()).flatten()) {
            Some(why) => Err(Error::Distrusted { path, why }),
            None => Ok(Some(file)),
        }
    }

    fn openat(&self, name: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        // The name of one file, never a path.
        if name.contains('/') {
            return Err(Errno::EINVAL);
        }
        let always = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        openat(&*self.fd, name, flags | always, Mode::S_IRUSR | Mode::S_IWUSR)
    }
}

/// A temporary file, removed on drop unless it got its final name.
#[derive(Debug)]
pub struct Temporary<'a> {
    folder: &'a Folder,
    name: String,
    file: File,
    is_named: bool,
}

impl Temporary<'_> {
    /// The open file, for reading and appending.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Renames the file to `name`, which must not exist yet.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`], or another error of the file system.
    pub fn name(mut self, name: &str) -> io::Result<()> {
        let (fd, own) = (&*self.folder.fd, self.name.as_str());
        match renameat2(fd, own, fd, name, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => self.is_named = true,
            // A file system without this flag, such as NFS.
            Err(Errno::EINVAL | Errno::ENOSYS) => linkat(fd, own, fd, name, AtFlags::empty())?,
            Err(error) => return Err(error.into()),
        }
        self.folder.sync()
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.is_named
            && let Err(error) = self.folder.remove(&self.name)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::debug!(name = self.name, %error, "remove a temporary file");
        }
    }
}

/// Folder and file name of a path.
pub(super) fn parted(path: &Path) -> Option<(&Path, &str)> {
    let name = path.file_name()?.to_str()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Some((folder.unwrap_or(Path::new(".")), name))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_lock_is_of_the_file_that_has_the_name() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(dir.path()).expect("opened");
        assert!(matches!(folder.lock("lock", How::Read), Ok(Locked::Gone)));
        let Ok(Locked::Ours(first)) = folder.lock("lock", How::Append) else { panic!("free") };
        assert!(matches!(folder.lock("lock", How::Append), Ok(Locked::Busy)));
        // As the lock's owner does at the end; a waiting run has already opened the file.
        let waiting = File::open(dir.path().join("lock")).expect("there");
        folder.remove("lock").expect("removed");
        drop(first);
        assert!(!folder.has_name(&waiting, "lock").expect("looked"));
        let Ok(Locked::Ours(second)) = folder.lock("lock", How::Append) else { panic!("free") };
        assert!(folder.has_name(&second, "lock").expect("looked"));
        assert!(!folder.has_name(&waiting, "lock").expect("looked"), "another file of that name");
    }

    #[test]
    fn a_folder_that_was_replaced_is_still_the_same() {
        let dir = tempfile::tempdir().expect("a folder");
        let (ours, theirs) = (dir.path().join("out"), dir.path().join("moved"));
        fs::create_dir(&ours).expect("made");
        let folder = Folder::open(&ours).expect("opened");
        folder.save("result.json", b"first").expect("saved");
        fs::rename(&ours, &theirs).expect("renamed");
        fs::create_dir(&ours).expect("made");
        symlink("/etc/passwd", ours.join("result.json")).expect("linked");
        folder.save("result.json", b"second").expect("saved");
        folder.create_temporary().expect("created").name("journal").expect("named");
        let read = folder.read_own("result.json", 9).expect("read");
        assert_eq!(read.as_deref(), Some(&b"second"[..]));
        assert_eq!(fs::read_dir(&ours).expect("read").count(), 1, "the link alone");
        let mut names: Vec<_> = fs::read_dir(&theirs)
            .expect("read")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["journal", "result.json"]);
        let mode = theirs.join("result.json").metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        folder.remove("result.json").expect("removed");
        assert!(!theirs.join("result.json").exists());
    }

    #[test]
    fn a_name_is_never_taken_from_another_file_and_is_no_path() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(dir.path()).expect("opened");
        fs::write(dir.path().join("journal"), "mine").expect("written");
        let error = folder.create_temporary().expect("created").name("journal").expect_err("taken");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(
            fs::read_dir(dir.path()).expect("read").count(),
            1,
            "the temporary file is left"
        );
        assert_eq!(fs::read_to_string(dir.path().join("journal")).expect("read"), "mine");
        assert!(folder.open_own("../journal", How::Append).is_err());
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(dir.path()).expect("opened");
        nix::unistd::mkfifo(&dir.path().join("pipe"), Mode::S_IRWXU).expect("made");
        symlink("/dev/null", dir.path().join("link")).expect("linked");
        fs::create_dir(dir.path().join("folder")).expect("made");
        for name in ["pipe", "link", "folder"] {
            for how in [How::Read, How::Append] {
                let error = folder.open_own(name, how).expect_err("no file");
                assert!(matches!(error, Error::NoFile { .. }), "{name} {how:?}: {error}");
            }
        }
    }
}
