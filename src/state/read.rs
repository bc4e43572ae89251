//! Reads small files: never more than a limit, and never from what would block or has no end.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use super::Error;
use super::trust::{distrust_folder, foreign, is_fatal};

/// The bytes of a file that the user names: a regular file of at most `limit` bytes, also by a link.
///
/// # Errors
/// [`Error::Read`], [`Error::NoFile`], [`Error::TooLarge`].
pub fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    // A pipe without a writer blocks whoever opens it otherwise.
    let opened = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path);
    let file = opened.map_err(Error::read(path))?;
    if !file.metadata().map_err(Error::read(path))?.is_file() {
        return Err(Error::NoFile { path: path.to_owned(), link: false });
    }
    read_from(&file, path, limit)
}

/// The same where the file may be a pipe that a shell has made for the output of a program, as of a
/// secret. Waits for its writer.
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

/// Opens a file of our own state for reading; `None` where there is none.
///
/// # Errors
/// [`Error::Read`], [`Error::NoFile`], [`Error::Distrusted`].
pub fn open_own(path: &Path) -> Result<Option<File>, Error> {
    open_own_by(OpenOptions::new().read(true), path)
}

/// The same opened as `options` say.
///
/// # Errors
/// As [`open_own`].
pub(super) fn open_own_by(options: &OpenOptions, path: &Path) -> Result<Option<File>, Error> {
    let mut options = options.clone();
    let file = match options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // Of a link (ELOOP), and of a socket or a pipe that is opened for writing (ENXIO).
        Err(error) => {
            return Err(match path.symlink_metadata() {
                Ok(found) if !found.is_file() => {
                    Error::NoFile { path: path.to_owned(), link: found.is_symlink() }
                }
                _ => Error::read(path)(error),
            });
        }
    };
    let found = file.metadata().map_err(Error::read(path))?;
    if !found.is_file() {
        return Err(Error::NoFile { path: path.to_owned(), link: false });
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let why = foreign(&found).map(|why| format!("it {why}"));
    match why.or_else(|| is_fatal().then(|| distrust_folder(folder)).flatten()) {
        Some(why) => Err(Error::Distrusted { path: path.to_owned(), why }),
        None => Ok(Some(file)),
    }
}

/// The bytes of a file of our own state, at most `limit`; `None` where there is none.
///
/// # Errors
/// As [`open_own`]; [`Error::TooLarge`].
pub fn read_own(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    open_own(path)?.map(|file| read_from(&file, path, limit)).transpose()
}

/// What is left of an open file, at most `limit` bytes.
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
