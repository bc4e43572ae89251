//! Folders with information about guests, which only their owner may read.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Creates a folder that only its owner may enter; missing parents get the umask's mode. An
/// existing folder stays unchanged.
///
/// # Errors
/// The error of the file system.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        // Even without a umask, no other user may write there.
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        end => end,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_that_is_made_is_private_and_one_that_is_there_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o777;
        let (new, old) = (dir.path().join("a/b"), dir.path().join("old"));
        make_private_folder(&new).expect("made");
        assert_eq!(mode(&new), 0o700);
        assert_ne!(mode(&dir.path().join("a")), 0o700, "it is for others, too");
        fs::create_dir(&old).expect("made");
        let before = mode(&old);
        make_private_folder(&old).expect("there");
        assert_eq!(mode(&old), before);
        fs::write(dir.path().join("file"), "").expect("written");
        assert!(make_private_folder(&dir.path().join("file")).is_err());
        assert!(make_private_folder(Path::new("/")).is_ok());
    }
}
