//! Trusted reading of state. Files in the user's folders that control a run (journals, records,
//! markers, plans) are read only here:
//!
//! ```text
//!   read_small   a file that the user names: a regular file, up to a limit
//!   read_own     our own state: no link, owned by this user or root, writable by nobody else
//!   Folder       an open folder with such state, such as the one that a run has locked
//!   in_time      a timeout for all reads, for a file system that does not answer
//!   Key          the key that seals journals and records, stored in the state directory
//! ```
//!
//! Ownership alone proves nothing: files that root unpacks belong to root. Files that lead to
//! changes are therefore sealed, too.

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

/// Prefix of work folders in an output directory. The next run there removes them.
pub const WORK_PREFIX: &str = ".hyperexport-work-";

/// What the environment says about the user who runs this process.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// State directory of `XDG_STATE_HOME`; `None` for the default.
    pub state_home: Option<PathBuf>,
    /// Home folder of the user, from `HOME`.
    pub home: Option<PathBuf>,
    /// User ID of the caller of sudo, who may let this process run any program.
    pub invoker: Option<u32>,
}

static SURROUNDINGS: OnceLock<Surroundings> = OnceLock::new();

/// Sets the surroundings once, before any state is read.
pub fn begin(surroundings: Surroundings) {
    if SURROUNDINGS.set(surroundings).is_err() {
        tracing::debug!("the surroundings are known already");
    }
}

fn surroundings() -> Surroundings {
    SURROUNDINGS.get().cloned().unwrap_or_default()
}

/// Why a file was not read, or is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be opened or read.
    #[error("reading {}", path.display())]
    Read {
        /// File or folder that was read.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The path names a link, a device, a pipe or the like.
    #[error("{} is not a regular file{}", path.display(), if *link { ": it is a symbolic link" } else { "" })]
    NoFile {
        /// Path that is not a regular file.
        path: PathBuf,
        /// Whether it is a symbolic link.
        link: bool,
    },
    /// The file exceeds the limit for its kind.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// File that is too large.
        path: PathBuf,
        /// Limit in bytes.
        limit: u64,
    },
    /// The file system does not answer, such as NFS with an unreachable server.
    #[error("reading {}: the file system has not answered for {} s", path.display(), after.as_secs())]
    NoAnswer {
        /// File that was read.
        path: PathBuf,
        /// Time that the caller waited.
        after: Duration,
    },
    /// Another user could have written the file.
    #[error("{} is not trusted: {why}", path.display())]
    Distrusted {
        /// File that is not trusted.
        path: PathBuf,
        /// Clause that names who could have written the file, and why.
        why: String,
    },
    /// The key that seals journals could not be created.
    #[error("creating the key that seals journals, {}", path.display())]
    Key {
        /// File of the key.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// This user has no known home folder to store state in.
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
    /// Whether the file, or the folder of the file, does not exist.
    pub fn is_absence(&self) -> bool {
        use io::ErrorKind::{NotADirectory, NotFound};
        matches!(self, Self::Read { source, .. } if [NotFound, NotADirectory].contains(&source.kind()))
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Read { path, source }
    }
}
