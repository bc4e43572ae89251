//! Staged files, which replace others only once all of them are complete. They are written to a
//! staging folder in the output directory, which is then renamed and emptied into the output
//! directory.
//!
//! ```text
//!   .hyperexport-fresh/  being written     killed here: the next run removes it, old files stay
//!        │ rename: from here on the new files count
//!        ▼
//!   .hyperexport-ready/  complete          killed here: the next run of any command continues
//!        │ old files are removed, each new one is renamed
//!        ▼
//!   the output directory
//! ```
//!
//! Manifest and result are removed first and replaced last, so that neither is ever beside files
//! that it does not describe.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::report;
use super::save::save;
use crate::manifest;
use crate::state::{self, is_folder};

/// Name of the staging folder while its files are written.
pub(in crate::pipeline) const FRESH: &str = ".hyperexport-fresh";
/// Name of the staging folder when its files are complete.
const READY: &str = ".hyperexport-ready";
/// File in the staging folder that lists the files to replace.
const LIST: &str = ".hyperexport-replaces";

/// Largest such list that is read, in bytes.
const LONGEST_LIST: u64 = 16 << 20;

/// List of the files to replace.
#[derive(Debug, Serialize, Deserialize)]
struct Replaced {
    /// Names in the output directory that no staged file has.
    names: Vec<String>,
}

/// Files that are being written, beside those that they will replace.
#[derive(Debug)]
pub(in crate::pipeline) struct StagedFiles {
    output: PathBuf,
    path: PathBuf,
}

impl StagedFiles {
    /// Creates the staging folder. Leftovers of a killed run are removed, except the files named in
    /// `keep`.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn begin(output: &Path, keep: &[String]) -> io::Result<Self> {
        let path = output.join(FRESH);
        state::make_folder(&path)?;
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if keep.iter().any(|kept| name == *kept || name == format!("{kept}.part")) {
                continue;
            }
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
        Ok(Self { output: output.to_owned(), path })
    }

    /// Path of the staging folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The final path of a staged file; any other path is returned unchanged.
    pub fn moved(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.path) {
            Ok(name) => self.output.join(name),
            Err(_) => path.to_owned(),
        }
    }

    /// A text in which paths of the staging folder are replaced by the final paths.
    pub fn told(&self, text: &str) -> String {
        text.replace(&*self.path.to_string_lossy(), &self.output.to_string_lossy())
    }

    /// Moves the staged files to the output directory and removes the files named in `replaces`.
    ///
    /// # Errors
    /// Errors of the file system. The next run continues where this one stopped.
    pub fn commit(self, replaces: &[String]) -> io::Result<()> {
        self.seal(replaces)?;
        settle(&self.output)
    }

    /// Commits the staged files: from here on, the new files count.
    fn seal(&self, replaces: &[String]) -> io::Result<()> {
        let new = |name: &&String| !self.path.join(name).exists();
        let names = replaces.iter().filter(|name| is_plain(name)).filter(new).cloned().collect();
        save(&self.path.join(LIST), &serde_json::to_vec(&Replaced { names })?)?;
        fs::rename(&self.path, self.output.join(READY))?;
        state::sync_folder(&self.output)
    }

    /// Removes the staging folder. Files named in `logs` are moved to the output directory first.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn discard(self, logs: &[&str]) -> io::Result<()> {
        for log in logs {
            match fs::rename(self.path.join(log), self.output.join(log)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::remove_dir_all(&self.path)
    }
}

/// Whether a run was killed while its complete files were moved to the output directory.
pub(in crate::pipeline) fn is_unsettled(output: &Path) -> bool {
    is_folder(&output.join(READY))
}

/// Removes the unfinished files of a killed run.
///
/// # Errors
/// Errors of the file system.
pub(in crate::pipeline) fn remove_unfinished(output: &Path) -> io::Result<()> {
    match fs::remove_dir_all(output.join(FRESH)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Moves complete files of any run to the output directory; does nothing if there are none. Every
/// step can be repeated after a kill.
///
/// # Errors
/// Errors of the file system.
pub(in crate::pipeline) fn settle(output: &Path) -> io::Result<()> {
    let ready = output.join(READY);
    if !is_folder(&ready) {
        return Ok(());
    }
    let list = ready.join(LIST);
    // Without the list, the folder was emptied and not yet removed.
    if let Some(text) = state::read_own(&list, LONGEST_LIST).map_err(io::Error::other)? {
        let Replaced { names } = serde_json::from_slice(&text)?;
        for last in [report::FILE_NAME, manifest::FILE_NAME] {
            // A file that was moved already is the new one.
            if ready.join(last).exists() || names.iter().any(|name| name == last) {
                remove(&output.join(last))?;
            }
        }
        for name in names.iter().filter(|name| is_plain(name)) {
            remove(&output.join(name))?;
        }
        let mut new = Vec::new();
        for entry in fs::read_dir(&ready)? {
            let name = entry?.file_name();
            if name != LIST {
                new.push(name);
            }
        }
        new.sort_by_key(|name| match name.to_str() {
            Some(report::FILE_NAME) => 2,
            Some(manifest::FILE_NAME) => 1,
            _ => 0,
        });
        for name in new {
            fs::rename(ready.join(&name), output.join(&name))?;
        }
        state::sync_folder(output)?;
        fs::remove_file(&list)?;
    }
    match fs::remove_dir(&ready) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a name is a file name, not a path.
fn is_plain(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|last| last == name)
}

fn remove(path: &Path) -> io::Result<()> {
    there(fs::remove_file(path)).map(drop)
}

/// `None` if the file does not exist.
fn there<T>(end: io::Result<T>) -> io::Result<Option<T>> {
    match end {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        end => end.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: [&str; 5] =
        ["disk-0.vmdk", "manifest.json", "notes.txt", "result.json", "web01.qcow2"];

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        for name in OLD {
            fs::write(dir.path().join(name), format!("old {name}")).expect("written");
        }
        dir
    }

    /// Complete new files, some of which have names of old ones.
    fn made(output: &Path) -> StagedFiles {
        let beside = StagedFiles::begin(output, &[]).expect("made");
        for name in ["disk-0.vmdk", "disk-1.vmdk", "manifest.json", "result.json"] {
            fs::write(beside.path().join(name), format!("new {name}")).expect("written");
        }
        beside
    }

    fn content(output: &Path) -> Vec<String> {
        let entries = fs::read_dir(output).expect("a folder").flatten();
        let files = entries.map(|entry| entry.path()).filter(|path| path.is_file());
        let mut found: Vec<_> = files.map(|path| fs::read_to_string(path).expect("read")).collect();
        found.sort();
        found
    }

    const REPLACED: [&str; 4] = ["disk-0.vmdk", "manifest.json", "result.json", "web01.qcow2"];
    const NEW: [&str; 5] = [
        "new disk-0.vmdk",
        "new disk-1.vmdk",
        "new manifest.json",
        "new result.json",
        "old notes.txt",
    ];

    fn replaced() -> Vec<String> {
        REPLACED.map(str::to_owned).to_vec()
    }

    #[test]
    fn new_files_take_the_place_of_the_old_ones_and_others_stay() {
        let dir = folder();
        made(dir.path()).commit(&replaced()).expect("committed");
        assert_eq!(content(dir.path()), NEW);
        assert!(!is_unsettled(dir.path()) && !dir.path().join(FRESH).exists());
    }

    #[test]
    fn a_link_to_a_folder_elsewhere_is_neither_emptied_nor_settled() {
        let (dir, elsewhere) = (folder(), folder());
        for name in [FRESH, READY] {
            std::os::unix::fs::symlink(elsewhere.path(), dir.path().join(name)).expect("linked");
        }
        let replaced = serde_json::json!({"names": ["notes.txt"]}).to_string();
        fs::write(elsewhere.path().join(LIST), replaced).expect("written");
        assert!(StagedFiles::begin(dir.path(), &[]).is_err());
        settle(dir.path()).expect("nothing to do");
        assert_eq!(content(elsewhere.path()).len(), OLD.len() + 1);
        assert!(dir.path().join("notes.txt").exists());
    }

    #[test]
    fn what_is_not_complete_changes_nothing() {
        let dir = folder();
        let beside = made(dir.path());
        fs::write(beside.path().join("convert.log"), "why").expect("written");
        beside.discard(&["convert.log", "hyper2kvm.log"]).expect("discarded");
        let mut expected: Vec<_> = OLD.map(|name| format!("old {name}")).to_vec();
        expected.push("why".to_owned());
        assert_eq!(content(dir.path()), expected);
        drop(made(dir.path()));
        remove_unfinished(dir.path()).expect("removed");
        remove_unfinished(dir.path()).expect("nothing to remove");
        assert!(!dir.path().join(FRESH).exists());
    }

    /// A kill after any number of the renames: the next run continues.
    #[test]
    fn a_commit_that_was_cut_off_is_finished() {
        for moved in 0..=4 {
            let dir = folder();
            made(dir.path()).seal(&replaced()).expect("sealed");
            assert!(is_unsettled(dir.path()));
            let ready = dir.path().join(READY);
            for name in ["result.json", "manifest.json", "web01.qcow2"] {
                fs::remove_file(dir.path().join(name)).expect("as settling does");
            }
            let order = ["disk-0.vmdk", "disk-1.vmdk", "manifest.json", "result.json"];
            for name in &order[..moved] {
                fs::rename(ready.join(name), dir.path().join(name)).expect("as settling does");
            }
            settle(dir.path()).expect("settled");
            assert_eq!(content(dir.path()), NEW, "killed after {moved} renames");
            settle(dir.path()).expect("nothing is left to do");
            assert!(!is_unsettled(dir.path()));
        }
    }

    #[test]
    fn a_whole_disk_of_a_killed_run_can_be_kept() {
        let dir = folder();
        let beside = StagedFiles::begin(dir.path(), &[]).expect("made");
        for name in ["disk-0.vmdk.part", "disk-1.vmdk.part"] {
            fs::write(beside.path().join(name), name).expect("written");
        }
        let again = StagedFiles::begin(dir.path(), &["disk-0.vmdk".to_owned()]).expect("made");
        assert_eq!(content(again.path()), ["disk-0.vmdk.part"]);
    }

    #[test]
    fn paths_are_told_as_they_will_be() {
        let dir = folder();
        let beside = made(dir.path());
        let inside = beside.path().join("disk-0.vmdk");
        assert_eq!(beside.moved(&inside), dir.path().join("disk-0.vmdk"));
        assert_eq!(beside.moved(Path::new("/srv/a.raw")), Path::new("/srv/a.raw"));
        let text = format!("see {}", beside.path().join("convert.log").display());
        assert_eq!(beside.told(&text), format!("see {}/convert.log", dir.path().display()));
    }
}
