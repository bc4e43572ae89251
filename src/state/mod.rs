//! Whose state a file is. What steers a run from a folder of the user's (journals, records,
//! markers, plans) is read here and nowhere else:
//!
//! ```text
//!   read_small   a file that the user names: a regular file, up to a limit
//!   read_own     state of ours: also no link, of this user or root, and nobody else may write it
//!   Folder       a folder with such state by its descriptor: the one that a run has claimed
//!   in_time      for all that looks: a file system that does not answer ends the run with an error
//!   Key          what journals and records are sealed with; it stays below the state directory
//! ```
//!
//! Ownership alone does not prove anything: what root unpacks belongs to root. So whatever leads to
//! acts carries a seal, too.

mod answer;
mod folder;
mod key;
mod lock;
mod read;
mod trust;

pub use answer::in_time;
pub use folder::{Folder, How, TEMPORARY_PREFIX, Temporary};
pub use key::{Chain, Key};
pub use lock::{Locked, has_name, sync_folder};
pub use read::{open_own, read_from, read_own, read_piped, read_small};
pub use trust::{distrust, distrust_folder, is_fatal, is_folder, make_folder};

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::model::Hint;

/// Beginning of the names of work folders in an output directory. The next run there removes them.
pub const WORK_PREFIX: &str = ".hyperexport-work-";

/// What the environment says about this user.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Folder for the state of programs: `XDG_STATE_HOME`. None for the usual place.
    pub state_home: Option<PathBuf>,
    /// The home folder of the user, if `HOME` names it.
    pub home: Option<PathBuf>,
    /// Who called sudo to run this process: that user may name any program for it to run.
    pub invoker: Option<u32>,
}

static SURROUNDINGS: OnceLock<Surroundings> = OnceLock::new();

/// Says once, before anything is read, what the environment tells.
pub fn begin(surroundings: Surroundings) {
    if SURROUNDINGS.set(surroundings).is_err() {
        tracing::debug!("the surroundings are known already");
    }
}

fn surroundings() -> Surroundings {
    SURROUNDINGS.get().cloned().unwrap_or_default()
}

/// Why a file is not read, or not believed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a link, a device, a pipe or the like.
    #[error("{} is not a regular file{}", path.display(), if *link { ": it is a symbolic link" } else { "" })]
    NoFile {
        /// The file.
        path: PathBuf,
        /// Whether it is a symbolic link.
        link: bool,
    },
    /// It is larger than anything of its kind.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// The file system does not answer, as NFS whose server is gone.
    #[error("reading {}: the file system has not answered for {} s", path.display(), after.as_secs())]
    NoAnswer {
        /// The file.
        path: PathBuf,
        /// How long.
        after: Duration,
    },
    /// Somebody else could have written it.
    #[error("{} is not trusted: {why}", path.display())]
    Distrusted {
        /// The file.
        path: PathBuf,
        /// Who could.
        why: String,
    },
    /// There is no key to seal journals with.
    #[error("creating the key that seals journals, {}", path.display())]
    Key {
        /// The key.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody knows where this user keeps state.
    #[error("this user has no home folder for the key that seals journals")]
    NoHome,
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoFile { .. } | Self::TooLarge { .. } => {
                Some("move it away, or name another file or folder".to_owned())
            }
            Self::Distrusted { .. } => Some(
                "run this as the user who made the file, or name a folder that only you and root can \
                 write to"
                    .to_owned(),
            ),
            Self::Key { .. } | Self::NoHome => {
                Some("set XDG_STATE_HOME to a folder of your own".to_owned())
            }
            Self::NoAnswer { .. } => Some(
                "check that the server of the file system answers, or name a folder on another one"
                    .to_owned(),
            ),
            Self::Read { .. } => None,
        }
    }
}

impl Error {
    /// Whether there is no such file, nor the folder that it would lie in.
    pub fn is_absence(&self) -> bool {
        use io::ErrorKind::{NotADirectory, NotFound};
        matches!(self, Self::Read { source, .. } if [NotFound, NotADirectory].contains(&source.kind()))
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Read { path, source }
    }
}
