//! Locks the output directory for one run.
//!
//! While a run works in the directory, the file `.hyperexport-run` exists there. The file is
//! locked, so that a second run is rejected. Its lines record:
//!
//! - the files that the run will write: the next run removes those that a killed one has left,
//! - the complete disks: the next run does not download them again,
//! - the VM that the run powers off: after a kill, the next run powers it on,
//! - the changes to the source after a success.
//!
//! The file is removed when the run ends, successful or not, unless that VM could not be powered
//! on. The file only grows, line by line: a run that is killed during a write leaves an incomplete
//! last line, which is ignored. Files that replace those of an earlier run are staged
//! (`staged_files`). The next run that locks the directory completes the replacement.
//!
//! ```text
//!   preflight (nothing on disk)  ->  lock  ->  export, manifest, …  ->  release
//!                                      |                 |
//!                     another run's lock: rejected       +-- killed: the file stays, unlocked;
//!                     an unlocked file: a dead run           the next run removes its leftovers
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::staged_files;
use crate::convert::{self, make_private_folder};
use crate::exporter::{DurableNote, FinishedDisk};
use crate::model::{Hint, PoweredOff, SourceStep, Stage, Warning, WarningCode};
use crate::state::{self, Folder, How, Locked, TEMPORARY_PREFIX, WORK_PREFIX};

/// Name of the lock file, which records the work of a run.
const MARKER: &str = ".hyperexport-run";
/// Largest lock file that is read, in bytes.
const LONGEST_MARKER: u64 = 1 << 20;

/// Why an output directory cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another run is working in the directory.
    #[error("another run is working in {}", .0.display())]
    Busy(PathBuf),
    /// Other users could replace files in the directory.
    #[error("{} is not a safe output directory: {why}", path.display())]
    SharedOutput {
        /// Path of the directory.
        path: PathBuf,
        /// Who could replace files there, and how.
        why: String,
    },
    /// The lock file cannot be read safely.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The file system has reported an error.
    #[error("locking {}", path.display())]
    Io {
        /// Path of the directory or file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Busy(_) => Some("wait for that run, or use another --output".to_owned()),
            Self::SharedOutput { .. } => Some(
                "use an --output below a folder that only you and root can write to; or have its \
                 owner run this, or remove the others' right to write: chmod go-w"
                    .to_owned(),
            ),
            Self::State(error) => error.hint(),
            Self::Io { .. } => None,
        }
    }
}

/// Checks whether only root and this user can write to `directory`, or to the folder in which it
/// will be created. For root, a shared directory is an error: anyone who can replace a file there
/// could make root overwrite any file. For another user it is a warning.
///
/// # Errors
/// [`Error::SharedOutput`]; [`Error::State`] when its file system does not answer.
pub(in crate::pipeline) fn check_folder(directory: &Path) -> Result<Option<Warning>, Error> {
    let wanted = directory.to_owned();
    let shared = state::in_time(directory, move || {
        Ok(match wanted.ancestors().find(|path| path.exists()) {
            Some(there) if there == wanted => state::distrust_folder(there),
            // The directory will be created writable only by its owner: what counts is who can
            // replace it.
            Some(above) => state::distrust(above),
            None => None,
        })
    });
    let Some(why) = shared? else { return Ok(None) };
    let path = directory.to_owned();
    if state::is_fatal() {
        return Err(Error::SharedOutput { path, why });
    }
    let text = format!("{why}: who does so can replace and read the files in {}", path.display());
    Ok(Some(Warning::new(Stage::Preflight, WarningCode::OutputShared, text)))
}

/// A line of the lock file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct MarkerLine {
    /// Names of files in the directory, never paths. The names of all lines count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    makes: Vec<String>,
    /// Key of the export (`held::key`). Disks of earlier lines belong to another export.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Disks that are complete.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    whole: Vec<FinishedDisk>,
    /// Name of a snapshot of the VM that is about to be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<String>,
    /// A VM that is about to be powered off for its export, or that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    switched_off: Option<SwitchedOff>,
    /// The VM of the earlier lines is powered on again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    switched_on: bool,
    /// A step of `--source-after` that is about to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    follows: Option<NotedStep>,
}

/// A change to a source VM after its migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotedStep {
    /// Identity of the VM, as `held::identity` writes it.
    pub vm: String,
    /// The change.
    #[serde(flatten)]
    pub step: SourceStep,
}

/// A VM that a run powers off and that is to be powered on again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchedOff {
    /// Identity of the VM, as `held::identity` writes it.
    pub vm: String,
    /// The source's id of the VM, such as a moref; empty in lock files of earlier versions.
    #[serde(default)]
    pub id: String,
    /// Name of the VM, for messages.
    pub name: String,
    /// How the VM was powered off; `None` until it is known to be off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<PoweredOff>,
}

/// Contents of the lock file.
#[derive(Debug, Default)]
struct Marker {
    makes: Vec<String>,
    key: String,
    whole: Vec<FinishedDisk>,
    snapshots: Vec<String>,
    switched_off: Option<SwitchedOff>,
    followed: Vec<NotedStep>,
}

/// A locked output directory.
#[derive(Debug)]
pub struct OutputDir {
    directory: PathBuf,
    /// The directory by its descriptor, independent of its path.
    folder: Folder,
    file: Arc<File>,
    made_directory: bool,
    /// Records of a dead run that were not handled yet.
    dead: Marker,
    /// Whether a dead run was found.
    after_kill: bool,
    /// VM that this run or a dead one has powered off and that was not powered on again.
    switched_off: Mutex<Option<SwitchedOff>>,
    /// Whether the lock file stays for the next run, which powers that VM on.
    pub stays: bool,
}

impl OutputDir {
    /// Locks `directory`, and creates it if necessary.
    ///
    /// [`Error::Busy`] when another run is working there; [`Error::SharedOutput`];
    /// [`Error::State`]; [`Error::Io`] when the file system reports an error.
    pub fn take(directory: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: directory.to_owned(), source };
        check_folder(directory)?;
        let made_directory = !directory.exists();
        make_private_folder(directory).map_err(io)?;
        // Checked again: another folder of that name may have been created in between.
        check_folder(directory)?;
        let path = directory.join(MARKER);
        let folder = Folder::open(directory)?;
        let file = match folder.lock(MARKER, How::Append)? {
            Locked::Ours(file) => file,
            Locked::Busy | Locked::Gone => return Err(Error::Busy(directory.to_owned())),
            Locked::Unlocked(_) => return Err(io(io::ErrorKind::Unsupported.into())),
        };
        let dead = read_marker(&file, &path)?;
        staged_files::settle(directory).map_err(io)?;
        let after_kill = !dead.makes.is_empty() || !dead.key.is_empty();
        let switched_off = Mutex::new(dead.switched_off.clone());
        let directory = directory.to_owned();
        let stays = false;
        let file = Arc::new(file);
        Ok(Self { directory, folder, file, made_directory, dead, after_kill, switched_off, stays })
    }

    /// Completes a replacement that a killed run has left unfinished; the lock file stays.
    ///
    /// # Errors
    /// [`Error::Busy`] when that run is alive; [`Error::Io`] when the file system reports an error.
    pub fn settle(directory: &Path) -> Result<(), Error> {
        if staged_files::is_unsettled(directory) { Self::take(directory).map(drop) } else { Ok(()) }
    }

    /// Allows QEMU's user to traverse the output directory to `folder`, the directory of a storage
    /// pool. Does nothing unless this run created the output directory and `folder` is in it.
    ///
    /// # Errors
    /// [`Error::Io`] when the file system reports an error.
    pub fn leads_to(&self, folder: &Path) -> Result<(), Error> {
        let failed = |source| Error::Io { path: self.directory.clone(), source };
        let folder = std::path::absolute(folder).map_err(failed)?;
        let directory = std::path::absolute(&self.directory).map_err(failed)?;
        if !self.made_directory || !folder.starts_with(directory) {
            return Ok(());
        }
        fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o711)).map_err(failed)
    }

    /// The directory, by its descriptor.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Whether an earlier run was killed in this directory.
    pub fn is_of_dead_run(&self) -> bool {
        self.after_kill
    }

    /// Complete disks that a dead run has left, if the key of its export is `key`.
    pub fn whole_disks(&self, key: &str) -> Vec<FinishedDisk> {
        if self.dead.key == key { self.dead.whole.clone() } else { Vec::new() }
    }

    /// Names of the files that a dead run in `directory` was about to write. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Busy`] when that run is alive; [`Error::Io`] when the file system reports an error.
    pub fn leftovers(directory: &Path) -> Result<Vec<String>, Error> {
        Ok(Self::look(directory)?.makes)
    }

    /// The VM that a dead run in `directory` has left powered off. Changes nothing.
    ///
    /// # Errors
    /// As [`Self::leftovers`].
    pub fn left_off(directory: &Path) -> Result<Option<SwitchedOff>, Error> {
        Ok(Self::look(directory)?.switched_off)
    }

    fn look(directory: &Path) -> Result<Marker, Error> {
        let path = directory.join(MARKER);
        let Some(file) = state::open_own(&path)? else { return Ok(Marker::default()) };
        match file.try_lock_shared() {
            Ok(()) => Ok(read_marker(&file, &path)?),
            Err(TryLockError::WouldBlock) => Err(Error::Busy(directory.to_owned())),
            Err(TryLockError::Error(source)) => Err(Error::Io { path, source }),
        }
    }

    /// Removes the leftovers of a dead run, except the files named in `keep`.
    ///
    /// # Errors
    /// [`Error::Io`] naming the file that could not be removed.
    pub fn remove_leftovers(&mut self, keep: &[String]) -> Result<(), Error> {
        for name in std::mem::take(&mut self.dead.makes) {
            if !keep.contains(&name) && is_plain_name(&name) {
                remove_if_there(&self.directory.join(&name))?;
                remove_if_there(&self.directory.join(format!("{name}.part")))?;
            }
        }
        let entries = fs::read_dir(&self.directory)
            .map_err(|source| Error::Io { path: self.directory.clone(), source })?;
        for entry in entries.flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            if name.to_string_lossy().starts_with(WORK_PREFIX) {
                // A work folder that is locked belongs to a living run and stays.
                convert::remove_dead_work(&path).map_err(|source| Error::Io { path, source })?;
            } else if name.to_string_lossy().starts_with(TEMPORARY_PREFIX) {
                remove_if_there(&path)?;
            }
        }
        Ok(())
    }

    /// Records, durably, that this run is about to write files of these names.
    ///
    /// # Errors
    /// [`Error::Io`] when the lock file cannot be written.
    pub fn will_make(&self, names: Vec<String>) -> Result<(), Error> {
        self.note(&MarkerLine { makes: names, ..MarkerLine::default() })
    }

    /// Records, durably, that the export with this `key` has started, and which of its disks are
    /// complete.
    ///
    /// # Errors
    /// [`Error::Io`] when the lock file cannot be written.
    pub fn exports(&self, key: &str, whole: Vec<FinishedDisk>) -> Result<(), Error> {
        self.note(&MarkerLine { key: Some(key.to_owned()), whole, ..MarkerLine::default() })
    }

    /// Names of the snapshots that dead runs were about to take.
    pub fn snapshots(&self) -> Vec<String> {
        self.dead.snapshots.clone()
    }

    /// Records, durably, that a snapshot of this name is about to be taken.
    ///
    /// # Errors
    /// [`Error::Io`] when the lock file cannot be written.
    pub fn will_snapshot(&self, name: &str) -> Result<(), Error> {
        self.note(&MarkerLine { snapshot: Some(name.to_owned()), ..MarkerLine::default() })
    }

    /// The VM that this run or a dead one has powered off and that is still off.
    pub fn switched_off(&self) -> Option<SwitchedOff> {
        self.owed().clone()
    }

    fn owed(&self) -> MutexGuard<'_, Option<SwitchedOff>> {
        self.switched_off.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records, durably, that a VM is about to be powered off, or how that was done.
    ///
    /// # Errors
    /// [`Error::Io`] when the lock file cannot be written.
    pub fn switches_off(&self, vm: SwitchedOff) -> Result<(), Error> {
        self.note(&MarkerLine { switched_off: Some(vm.clone()), ..MarkerLine::default() })?;
        *self.owed() = Some(vm);
        Ok(())
    }

    /// Changes that a dead run has made to the VM, or was about to make.
    pub fn followed(&self, vm: &str) -> Vec<SourceStep> {
        let of_vm = self.dead.followed.iter().filter(|noted| noted.vm == vm);
        of_vm.map(|noted| noted.step.clone()).collect()
    }

    /// Records, durably, that a change to the source is about to be made.
    ///
    /// # Errors
    /// [`Error::Io`] when the lock file cannot be written.
    pub fn follows(&self, step: NotedStep) -> Result<(), Error> {
        self.note(&MarkerLine { follows: Some(step), ..MarkerLine::default() })
    }

    /// Records, durably, that the VM is powered on again.
    ///
    /// # Errors
    /// [`Error::Io`] when the lock file cannot be written.
    pub fn switched_on(&self) -> Result<(), Error> {
        *self.owed() = None;
        self.note(&MarkerLine { switched_on: true, ..MarkerLine::default() })
    }

    /// Records, durably, that one more disk is complete: on a separate thread, since other disks
    /// are downloaded at the same time. The error is that of writing the lock file.
    pub fn has(&self, disk: &FinishedDisk) -> DurableNote {
        let line = MarkerLine { whole: vec![disk.clone()], ..MarkerLine::default() };
        let file = Arc::clone(&self.file);
        Box::pin(async move {
            let noted = tokio::task::spawn_blocking(move || append(&file, &line)).await;
            noted.unwrap_or_else(|join| Err(join.into()))
        })
    }

    fn note(&self, line: &MarkerLine) -> Result<(), Error> {
        let path = || self.directory.join(MARKER);
        append(&self.file, line).map_err(|source| Error::Io { path: path(), source })
    }

    /// Unlocks a directory that was locked only for a cleanup: the lock file of a dead run stays
    /// for the next run.
    ///
    /// # Errors
    /// [`Error::Io`] when an empty lock file cannot be removed.
    pub fn give_back(self) -> Result<(), Error> {
        let is_empty = self.file.metadata().is_ok_and(|found| found.len() == 0);
        if is_empty { self.release() } else { Ok(()) }
    }

    /// Unlocks the directory: removes the lock file, and the directory if this run created it and
    /// it is empty.
    ///
    /// # Errors
    /// [`Error::Io`] when the lock file cannot be removed.
    pub fn release(self) -> Result<(), Error> {
        let failed = |source| Error::Io { path: self.directory.join(MARKER), source };
        self.folder.remove(MARKER).map_err(failed)?;
        if self.made_directory
            && let Err(error) = fs::remove_dir(&self.directory)
        {
            tracing::trace!(%error, "output directory is not removed: it is not empty");
        }
        Ok(())
    }
}

/// Appends a line in one write. It starts with a line break, after any incomplete line of a dead
/// run.
fn append(mut file: &File, line: &MarkerLine) -> io::Result<()> {
    let mut text = b"\n".to_vec();
    serde_json::to_writer(&mut text, line)?;
    file.write_all(&text)?;
    file.sync_all()
}

/// Reads the lock file. An empty file belongs to a run that died before it wrote anything. A broken
/// line was being written when its run died: its work was not started.
fn read_marker(file: &File, path: &Path) -> Result<Marker, state::Error> {
    let text = state::read_from(file, path, LONGEST_MARKER)?;
    let mut marker = Marker::default();
    for line in text.split(|byte| *byte == b'\n') {
        let Ok(mut line) = serde_json::from_slice::<MarkerLine>(line) else { continue };
        marker.makes.append(&mut line.makes);
        if let Some(key) = line.key {
            marker.key = key;
            marker.whole.clear();
        }
        marker.whole.append(&mut line.whole);
        marker.snapshots.extend(line.snapshot);
        if line.switched_on {
            marker.switched_off = None;
        }
        marker.switched_off = line.switched_off.or(marker.switched_off);
        marker.followed.extend(line.follows);
    }
    Ok(marker)
}

/// Whether a name in the lock file is a file name, not a path.
fn is_plain_name(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|last| last == name)
}

fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Io { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_refused_while_the_first_works() {
        let parent = tempfile::tempdir().expect("temp dir");
        let directory = parent.path().join("export");
        let first = OutputDir::take(&directory).expect("free");
        assert!(matches!(OutputDir::take(&directory), Err(Error::Busy(_))));
        first.release().expect("released");
        assert!(!directory.exists(), "a directory that stayed empty goes with its run");
    }

    #[test]
    fn the_leftovers_of_a_dead_run_go_and_nothing_else() {
        let directory = tempfile::tempdir().expect("temp dir");
        let path = |name: &str| directory.path().join(name);
        let dead = OutputDir::take(directory.path()).expect("free");
        dead.will_make(vec!["disk-0.vmdk".into(), "disk-1.vmdk".into(), "../user".into()])
            .expect("noted");
        drop(dead); // as a kill does: the lock is gone, the lock file stays
        for name in ["disk-0.vmdk", "disk-1.vmdk.part", "notes.txt"] {
            fs::write(path(name), name).expect("write");
        }
        fs::create_dir(path(".hyperexport-work-x1")).expect("mkdir");
        fs::write(path(".hyperexport-tmp-x2"), "half a manifest").expect("write");

        assert_eq!(OutputDir::leftovers(directory.path()).expect("readable").len(), 3);
        let mut next = OutputDir::take(directory.path()).expect("free");
        next.remove_leftovers(&[]).expect("removed");
        next.release().expect("released");
        let left: Vec<_> = fs::read_dir(directory.path())
            .expect("read")
            .map(|e| e.expect("entry").file_name().into_string().expect("utf-8"))
            .collect();
        assert_eq!(left, ["notes.txt"]);
    }

    #[tokio::test]
    async fn whole_disks_of_the_same_state_are_known_to_the_next_run() {
        let directory = tempfile::tempdir().expect("temp dir");
        let disk = |index| FinishedDisk {
            id: crate::model::DiskId::from_index(index),
            capacity: crate::model::ByteSize(9),
            file_size: crate::model::ByteSize(5),
            sha256: crate::model::Sha256Digest([7; 32]),
            content: None,
            received: None,
            uuid: None,
            unverified: None,
        };
        let dead = OutputDir::take(directory.path()).expect("free");
        dead.will_make(vec!["disk-0.vmdk".into()]).expect("noted");
        dead.exports("vm-1 a", vec![disk(0)]).expect("noted");
        dead.has(&disk(1)).await.expect("noted");
        drop(dead);
        let marker = directory.path().join(MARKER);
        let torn = [fs::read(&marker).expect("there"), b"\n{\"whole\":[{".to_vec()].concat();
        fs::write(&marker, torn).expect("written");

        let next = OutputDir::take(directory.path()).expect("free");
        assert!(next.is_of_dead_run());
        assert_eq!(next.whole_disks("vm-1 a"), [disk(0), disk(1)]);
        assert!(next.whole_disks("vm-1 b").is_empty(), "the VM has changed since");
        next.exports("vm-1 b", Vec::new()).expect("noted");
        drop(next);
        let last = OutputDir::take(directory.path()).expect("free");
        assert!(last.whole_disks("vm-1 a").is_empty(), "its file may have been replaced");
    }

    #[test]
    fn a_vm_that_a_dead_run_switched_off_is_known_until_it_is_on_again() {
        let directory = tempfile::tempdir().expect("temp dir");
        let vm = |how| SwitchedOff {
            vm: "vc vm-1".into(),
            id: "vm-1".into(),
            name: "web01".into(),
            how,
        };
        let dead = OutputDir::take(directory.path()).expect("free");
        assert!(dead.switched_off().is_none());
        dead.switches_off(vm(None)).expect("noted");
        dead.switches_off(vm(Some(PoweredOff::Shutdown))).expect("noted");
        drop(dead);
        let left = Some(vm(Some(PoweredOff::Shutdown)));
        assert_eq!(OutputDir::left_off(directory.path()).expect("readable"), left);
        let next = OutputDir::take(directory.path()).expect("free");
        assert_eq!(next.switched_off(), left);
        next.switched_on().expect("noted");
        assert!(next.switched_off().is_none());
        drop(next);
        assert!(OutputDir::take(directory.path()).expect("free").switched_off().is_none());
    }

    #[test]
    fn a_work_folder_whose_run_lives_stays() {
        let directory = tempfile::tempdir().expect("temp dir");
        let [alive, dead] = ["alive", "dead"].map(|name| {
            let work = directory.path().join(format!("{WORK_PREFIX}{name}"));
            fs::create_dir(&work).expect("mkdir");
            (File::create(work.join("lock")).expect("made"), work)
        });
        alive.0.try_lock().expect("free");
        drop(dead.0);
        let mut next = OutputDir::take(directory.path()).expect("free");
        next.remove_leftovers(&[]).expect("removed");
        assert!(alive.1.exists() && !dead.1.exists());
    }

    #[test]
    fn a_claim_that_was_taken_to_clean_up_leaves_what_was_there() {
        let directory = tempfile::tempdir().expect("temp dir");
        let marker = directory.path().join(MARKER);
        OutputDir::take(directory.path()).expect("free").give_back().expect("given back");
        assert!(!marker.exists());
        let dead = OutputDir::take(directory.path()).expect("free");
        dead.will_make(vec!["disk-0.vmdk".into()]).expect("noted");
        drop(dead);
        OutputDir::take(directory.path()).expect("free").give_back().expect("given back");
        assert!(marker.exists());
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_not_claimed() {
        let directory = tempfile::tempdir().expect("temp dir");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).expect("set");
        if nix::unistd::geteuid().is_root() {
            for output in [directory.path().to_owned(), directory.path().join("new/folder")] {
                let error = OutputDir::take(&output).expect_err("refused");
                assert!(matches!(error, Error::SharedOutput { .. }), "{error}");
                assert!(error.hint().is_some());
            }
            assert_eq!(fs::read_dir(directory.path()).expect("read").count(), 0);
        } else {
            assert!(check_folder(directory.path()).expect("told").is_some());
        }
    }

    #[test]
    fn a_marker_cannot_name_files_elsewhere() {
        for name in ["../user", "/etc/passwd", "a/b", "..", ""] {
            assert!(!is_plain_name(name), "{name}");
        }
        assert!(is_plain_name("disk-0.vmdk"));
    }
}
