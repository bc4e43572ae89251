//! Reads small files: never beyond a limit, and never from a file that blocks or is endless.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::O_NONBLOCK;

use super::answer::in_time;
use super::folder::parted;
use super::{Error, Folder, How};

/// Content of a file that the user names: a regular file, or a link to one, of at most `limit`
/// bytes.
///
/// # Errors
/// [`Error::Read`], [`Error::NoFile`], [`Error::TooLarge`], [`Error::NoAnswer`].
pub fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let wanted = path.to_owned();
    in_time(path, move || {
        let path = wanted.as_path();
        // Opening a pipe without a writer would block otherwise.
        let opened = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path);
        let file = opened.map_err(Error::read(path))?;
        if !file.metadata().map_err(Error::read(path))?.is_file() {
            return Err(Error::NoFile { path: path.to_owned(), link: false });
        }
        read_from(&file, path, limit)
    })
}

/// As [`read_small`], but the file may also be a pipe of a shell's process substitution, for
/// instance with a secret. Waits for the writer.
///
/// # Errors
/// As [`read_small`].
pub fn read_piped(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let found = path.metadata().map_err(Error::read(path))?;
    if !found.file_type().is_fifo() {
        return read_small(path, limit);
    }
    let file = File::open(path).map_err(Error::read(path))?;
    read_from(&file, path, limit)
}

/// Opens a file of our own state for reading; `None` if it does not exist.
///
/// # Errors
/// [`Error::Read`], [`Error::NoFile`], [`Error::Distrusted`].
pub fn open_own(path: &Path) -> Result<Option<File>, Error> {
    match of(path)? {
        Some((folder, name)) => folder.open_own(name, How::Read),
        None => Ok(None),
    }
}

/// Opened folder and name of a file; `None` if the folder does not exist.
fn of(path: &Path) -> Result<Option<(Folder, &str)>, Error> {
    let parts = parted(path).ok_or(ErrorKind::InvalidInput);
    let (folder, name) = parts.map_err(|kind| Error::read(path)(kind.into()))?;
    match Folder::open(folder) {
        Ok(folder) => Ok(Some((folder, name))),
        Err(Error::Read { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Content of a file of our own state, at most `limit` bytes; `None` if it does not exist.
///
/// # Errors
/// As [`open_own`]; [`Error::TooLarge`].
pub fn read_own(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    match of(path)? {
        Some((folder, name)) => folder.read_own(name, limit),
        None => Ok(None),
    }
}

/// Reads an open file from its position to its end, at most `limit` bytes.
///
/// # Errors
/// [`Error::Read`], [`Error::TooLarge`].
pub fn read_from(file: &File, path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read: io::Result<usize> = file.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(Error::read(path))?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::path::PathBuf;

    use super::*;

    fn file() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("state");
        fs::write(&path, "ours").expect("written");
        (dir, path)
    }

    #[test]
    fn a_file_of_ours_is_read_up_to_its_limit() {
        let (dir, path) = file();
        assert_eq!(read_own(&path, 4).expect("read").as_deref(), Some(&b"ours"[..]));
        assert!(matches!(read_own(&path, 3), Err(Error::TooLarge { .. })));
        assert_eq!(read_own(&dir.path().join("none"), 4).expect("looked"), None);
        for name in ["none", "state/none"] {
            assert!(read_small(&dir.path().join(name), 4).expect_err("none").is_absence());
        }
    }

    #[test]
    fn a_link_is_followed_only_where_the_user_names_it() {
        let (dir, path) = file();
        let link = dir.path().join("link");
        symlink(&path, &link).expect("linked");
        assert!(matches!(read_own(&link, 9), Err(Error::NoFile { link: true, .. })));
        assert_eq!(read_small(&link, 9).expect("read"), b"ours");
    }

    #[test]
    fn what_has_no_end_or_no_writer_is_no_file() {
        let (dir, _) = file();
        let (pipe, zero) = (dir.path().join("pipe"), dir.path().join("zero"));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("made");
        symlink("/dev/zero", &zero).expect("linked");
        for path in [&pipe, &zero] {
            assert!(matches!(read_own(path, 9), Err(Error::NoFile { .. })), "{path:?}");
            assert!(matches!(read_small(path, 9), Err(Error::NoFile { .. })), "{path:?}");
        }
        assert!(matches!(read_piped(&zero, 9), Err(Error::NoFile { .. })));
    }

    #[test]
    fn what_others_could_have_written_is_not_believed() {
        let (_dir, path) = file();
        for mode in [0o666, 0o602] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
            assert!(matches!(read_own(&path, 9), Err(Error::Distrusted { .. })), "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        if nix::unistd::geteuid().is_root() {
            chown(&path, Some(12345), None).expect("chown");
            assert!(matches!(read_own(&path, 9), Err(Error::Distrusted { .. })));
        }
    }
}
