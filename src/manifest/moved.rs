//! Finds the files of an export whose folder was moved, renamed or copied since. Files are recorded
//! by absolute paths.
//!
//! The file of a disk is the first of these that exists:
//!
//! 1. The same path below the manifest's own folder, if the recorded folder is another one. A copy
//!    is preferred to the original: a file at the old path may belong to another export by now.
//! 2. The recorded path.
//! 3. The file of that name beside the manifest.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use super::types::Manifest;

/// Recorded and current path of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    from: Option<PathBuf>,
    to: PathBuf,
}

impl Moved {
    /// A folder that is at `to` and was recorded at `from`, if `from` is known. A symbolic link to
    /// the same folder is no move.
    pub fn new(from: Option<&Path>, to: &Path) -> Self {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let from = from.filter(|from| from.is_absolute() && real(from) != real(to));
        Self { from: from.map(Path::to_owned), to: to.to_owned() }
    }

    /// Whether the folder was recorded at another path.
    pub fn is_known(&self) -> bool {
        self.from.is_some()
    }

    /// The current path of a file below the recorded folder; the file need not exist.
    pub fn now(&self, path: &Path) -> PathBuf {
        let below = self.from.as_ref().and_then(|from| path.strip_prefix(from).ok());
        below.map_or_else(|| path.to_owned(), |below| self.to.join(below))
    }

    /// The file that a recorded path refers to, in the order above; the recorded path if no file
    /// exists.
    pub fn find(&self, path: &Path) -> PathBuf {
        let beside = path.file_name().map(|name| self.to.join(name));
        let places = [Some(self.now(path)), Some(path.to_owned()), beside];
        let found = places.into_iter().flatten().find(|place| place.is_file());
        found.unwrap_or_else(|| path.to_owned())
    }
}

/// The manifest with the paths of its files replaced by those found from its own folder.
pub(super) fn found(mut manifest: Manifest, folder: &Path) -> Manifest {
    let ours = manifest.metadata.as_ref().is_some_and(|metadata| metadata.hyperexport.is_some());
    let output = manifest.output.as_ref().and_then(|output| output.directory.clone());
    // In a manifest of another program, `output` is only the folder of the converter's results.
    let moved = Moved::new(output.as_deref().filter(|_| ours), folder);
    let has_moved = Cell::new(false);
    manifest.each_path(|path| {
        let found = moved.find(path);
        has_moved.set(has_moved.get() || found != path && found == moved.now(path));
        found
    });
    if let Some(output) = manifest.output.as_mut().filter(|_| has_moved.get()) {
        output.directory = Some(folder.to_owned());
    }
    manifest
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_found_where_its_folder_is_now() {
        let dir = tempfile::tempdir().expect("a folder");
        let [old, new, user] = ["old", "new", "user"].map(|name| dir.path().join(name));
        for folder in [&old, &new, &user] {
            fs::create_dir(folder).expect("made");
        }
        for file in [old.join("a"), new.join("a"), old.join("b"), new.join("c"), user.join("d")] {
            fs::write(file, "x").expect("written");
        }
        let moved = Moved::new(Some(&old), &new);
        assert_eq!(moved.find(&old.join("a")), new.join("a"), "a copy goes before the original");
        assert_eq!(moved.find(&old.join("b")), old.join("b"), "what was not copied");
        assert_eq!(moved.find(&dir.path().join("gone/c")), new.join("c"), "beside it");
        assert_eq!(moved.find(&user.join("d")), user.join("d"), "an image of the user's");
        assert_eq!(moved.find(&old.join("e")), old.join("e"), "nowhere");
        assert_eq!(moved.now(&old.join("e")), new.join("e"));
    }

    #[test]
    fn a_link_to_the_folder_is_no_move() {
        let dir = tempfile::tempdir().expect("a folder");
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::create_dir(&real).expect("made");
        std::os::unix::fs::symlink(&real, &link).expect("linked");
        assert!(!Moved::new(Some(&link), &real).is_known());
        assert!(!Moved::new(None, &real).is_known());
        assert_eq!(Moved::new(Some(&link), &real).now(&link.join("a")), link.join("a"));
    }
}
