//! One run owns its output directory.
//!
//! The file `.hyperexport-run` stands in the directory while a run works there: locked, so that a
//! second run is refused, and naming the files that the run is about to make, so that the next run
//! can remove what a killed one left, and the disks that are whole, so that it need not fetch them
//! again. It also names the VM that the run switches off, which the next run powers on where a
//! killed one has left it off, and what is about to be done to the source after a success. It goes
//! when the run ends, well or not, unless that VM could not be powered on. It only ever grows, line
//! by line: a run that is killed while it writes leaves a torn last line, which is passed over.
//! What is to replace files of an earlier run is made beside them (`beside`); anyone who claims the
//! directory finishes that first.
//!
//! ```text
//!   preflight (nothing on disk)  ->  claim  ->  export, manifest, …  ->  release
//!                                      |                 |
//!                     another run's lock: refused        +-- killed: the file stays, unlocked;
//!                     an unlocked file: a dead run           the next claim removes its leftovers
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::staged_files;
use crate::convert::{self, make_private_folder};
use crate::exporter::{FinishedDisk, Note};
use crate::model::{Hint, PoweredOff, SourceStep, Stage, Warning, WarningCode};
use crate::state::{self, Folder, How, Locked, TEMPORARY_PREFIX, WORK_PREFIX};

/// Name of the file that marks a working run.
const MARKER: &str = ".hyperexport-run";
/// Longest marker read, in bytes.
const LONGEST_MARKER: u64 = 1 << 20;

/// Why an output directory cannot be claimed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another run works there.
    #[error("another run is working in {}", .0.display())]
    Busy(PathBuf),
    /// Somebody else could replace what is made there.
    #[error("{} is not a safe output directory: {why}", path.display())]
    SharedOutput {
        /// The directory.
        path: PathBuf,
        /// Who could.
        why: String,
    },
    /// The marker there is not read.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The file system refused.
    #[error("locking {}", path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
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

/// Whether nobody but root and this user can write to `directory`, or to where it is made. Root
/// refuses another one: anyone who can replace a file there could have root overwrite any file.
/// Another user is told.
///
/// # Errors
/// [`Error::SharedOutput`]; [`Error::State`] when its file system does not answer.
pub(in crate::pipeline) fn check_folder(directory: &Path) -> Result<Option<Warning>, Error> {
    let wanted = directory.to_owned();
    let shared = state::in_time(directory, move || {
        Ok(match wanted.ancestors().find(|path| path.exists()) {
            Some(there) if there == wanted => state::distrust_folder(there),
            // It is made with nobody's right to write but ours: what counts is who can replace it.
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

/// A line of the marker.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct MarkerLine {
    /// Names of files in the directory, never paths. Those of all lines count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    makes: Vec<String>,
    /// What is exported, in which state of it. Disks of the lines before belong to another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Disks that are whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    whole: Vec<FinishedDisk>,
    /// A snapshot that is about to be taken of the VM.
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<String>,
    /// A VM that is about to be switched off for its export, or that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    switched_off: Option<SwitchedOff>,
    /// The VM of the lines before is on again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    switched_on: bool,
    /// A step of `--source-after` that is about to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    follows: Option<NotedStep>,
}

/// A step that is done to a source VM after its migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotedStep {
    /// Which VM of which server, as `held::identity` writes it.
    pub vm: String,
    /// The step.
    #[serde(flatten)]
    pub step: SourceStep,
}

/// A VM that a run switches off, and that is to come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchedOff {
    /// Which VM of which server, as `held::identity` writes it.
    pub vm: String,
    /// The source's id of it.
    #[serde(default)]
    pub id: String,
    /// Its name, for messages.
    pub name: String,
    /// How it was switched off; `None` until it was seen to be off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<PoweredOff>,
}

/// What the marker says.
#[derive(Debug, Default)]
struct Marker {
    makes: Vec<String>,
    key: String,
    whole: Vec<FinishedDisk>,
    snapshots: Vec<String>,
    switched_off: Option<SwitchedOff>,
    followed: Vec<NotedStep>,
}

/// A claimed output directory.
#[derive(Debug)]
pub struct OutputDir {
    directory: PathBuf,
    /// The directory itself, whatever has its name by now.
    folder: Folder,
    file: Arc<File>,
    made_directory: bool,
    /// What a dead run was about to make and had made, found and not yet dealt with.
    dead: Marker,
    /// Whether there was anything of a dead run.
    after_kill: bool,
    /// The VM that this run or a dead one has switched off and nobody has powered on yet.
    switched_off: Mutex<Option<SwitchedOff>>,
    /// Whether the marker stays for the next run, which powers that VM on.
    pub stays: bool,
}

impl OutputDir {
    /// Claims `directory`, and makes it if need be.
    ///
    /// # Errors
    /// [`Error::Busy`] when another run works there; [`Error::SharedOutput`]; [`Error::State`];
    /// [`Error::Io`] when the file system refuses.
    pub fn take(directory: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: directory.to_owned(), source };
        check_folder(directory)?;
        let made_directory = !directory.exists();
        make_private_folder(directory).map_err(io)?;
        // Once more: a folder of that name may have come between.
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

    /// Finishes what a run that was killed left half done of a replacement, and keeps the marker.
    ///
    /// # Errors
    /// [`Error::Busy`] when that run is not dead; [`Error::Io`] when the file system refuses.
    pub fn settle(directory: &Path) -> Result<(), Error> {
        if staged_files::is_unsettled(directory) { Self::take(directory).map(drop) } else { Ok(()) }
    }

    /// Lets QEMU's user pass through to `folder`, that of a storage pool, where the directory is
    /// one that this run made and `folder` lies in it.
    ///
    /// # Errors
    /// [`Error::Io`] when the file system refuses.
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

    /// Whether a run died here.
    pub fn is_of_dead_run(&self) -> bool {
        self.after_kill
    }

    /// The disks that a dead run left whole, if it exported what `key` stands for.
    pub fn whole_disks(&self, key: &str) -> Vec<FinishedDisk> {
        if self.dead.key == key { self.dead.whole.clone() } else { Vec::new() }
    }

    /// Names of the files that a dead run in `directory` was about to make. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Busy`] when that run is not dead; [`Error::Io`] when the file system refuses.
    pub fn leftovers(directory: &Path) -> Result<Vec<String>, Error> {
        Ok(Self::look(directory)?.makes)
    }

    /// The VM that a dead run in `directory` has left switched off. Changes nothing.
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

    /// Removes what a dead run left, but for the files named in `keep`.
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
                // One whose own lock is held is that of a run which lives.
                convert::remove_dead_work(&path).map_err(|source| Error::Io { path, source })?;
            } else if name.to_string_lossy().starts_with(TEMPORARY_PREFIX) {
                remove_if_there(&path)?;
            }
        }
        Ok(())
    }

    /// Notes, durably, that this run is about to make files of these names.
    ///
    /// # Errors
    /// [`Error::Io`] when the marker cannot be written.
    pub fn will_make(&self, names: Vec<String>) -> Result<(), Error> {
        self.note(&MarkerLine { makes: names, ..MarkerLine::default() })
    }

    /// Notes, durably, that what `key` stands for is exported now, and which disks of it are whole.
    ///
    /// # Errors
    /// [`Error::Io`] when the marker cannot be written.
    pub fn exports(&self, key: &str, whole: Vec<FinishedDisk>) -> Result<(), Error> {
        self.note(&MarkerLine { key: Some(key.to_owned()), whole, ..MarkerLine::default() })
    }

    /// Names of the snapshots that dead runs were about to take.
    pub fn snapshots(&self) -> Vec<String> {
        self.dead.snapshots.clone()
    }

    /// Notes, durably, that a snapshot of this name is about to be taken.
    ///
    /// # Errors
    /// [`Error::Io`] when the marker cannot be written.
    pub fn will_snapshot(&self, name: &str) -> Result<(), Error> {
        self.note(&MarkerLine { snapshot: Some(name.to_owned()), ..MarkerLine::default() })
    }

    /// The VM that this run or a dead one has switched off, and that is not on again.
    pub fn switched_off(&self) -> Option<SwitchedOff> {
        self.owed().clone()
    }

    fn owed(&self) -> MutexGuard<'_, Option<SwitchedOff>> {
        self.switched_off.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes, durably, that a VM is about to be switched off, or how that was done.
    ///
    /// # Errors
    /// [`Error::Io`] when the marker cannot be written.
    pub fn switches_off(&self, vm: SwitchedOff) -> Result<(), Error> {
        self.note(&MarkerLine { switched_off: Some(vm.clone()), ..MarkerLine::default() })?;
        *self.owed() = Some(vm);
        Ok(())
    }

    /// Steps that a dead run has done to the VM, or was about to do.
    pub fn followed(&self, vm: &str) -> Vec<SourceStep> {
        let of_vm = self.dead.followed.iter().filter(|noted| noted.vm == vm);
        of_vm.map(|noted| noted.step.clone()).collect()
    }

    /// Notes, durably, that a step is about to be done to the source.
    ///
    /// # Errors
    /// [`Error::Io`] when the marker cannot be written.
    pub fn follows(&self, step: NotedStep) -> Result<(), Error> {
        self.note(&MarkerLine { follows: Some(step), ..MarkerLine::default() })
    }

    /// Notes that the VM is on again.
    ///
    /// # Errors
    /// [`Error::Io`] when the marker cannot be written.
    pub fn switched_on(&self) -> Result<(), Error> {
        *self.owed() = None;
        self.note(&MarkerLine { switched_on: true, ..MarkerLine::default() })
    }

    /// Notes, durably, that one more disk is complete: on a thread of its own, since other disks
    /// arrive meanwhile. An error is that of writing the marker.
    pub fn has(&self, disk: &FinishedDisk) -> Note {
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

    /// Ends a claim that was taken only to clean up: the marker of a dead run stays for the next
    /// one.
    ///
    /// # Errors
    /// [`Error::Io`] when an empty marker cannot be removed.
    pub fn give_back(self) -> Result<(), Error> {
        let is_empty = self.file.metadata().is_ok_and(|found| found.len() == 0);
        if is_empty { self.release() } else { Ok(()) }
    }

    /// Ends the claim: the marker goes, and with it a directory that this run made and left empty.
    ///
    /// # Errors
    /// [`Error::Io`] when the marker cannot be removed.
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

/// Adds a line in one write. It begins on a line of its own whatever a dead run left.
fn append(mut file: &File, line: &MarkerLine) -> io::Result<()> {
    let mut text = b"\n".to_vec();
    serde_json::to_writer(&mut text, line)?;
    file.write_all(&text)?;
    file.sync_all()
}

/// An empty marker is that of a run that died before it made anything. A broken line is one that
/// a run died writing: what it was to say has not begun.
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

/// Whether a name from the marker names a file of this very directory.
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
        drop(dead); // as a kill does: the lock goes, the marker stays
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
