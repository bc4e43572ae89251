//! One connection to a libvirt daemon.

pub(super) mod events;
pub(super) mod shared;
pub(super) mod ssh;
pub(super) mod uri;
pub(super) mod uri_check;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use virt::connect::Connect;

use super::{Error, Refusal};

/// How long a daemon may take to let somebody in. Over ssh, with a slow login, it is some seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where libvirt is and how to use it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Connection URI: `qemu:///system`.
    pub uri: String,
    /// How disks get into a pool.
    pub transfer: Transfer,
    /// Whether volumes are read back and their sums compared with those of the images.
    pub verify: bool,
    /// Storage pool that may hold the disk of a guest which proves KVM on another machine, for as
    /// long as that takes.
    pub scratch_pool: Option<String>,
}

/// How disks get into a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transfer {
    /// Copied into the pool's folder where that is on this machine and can be written, else sent.
    #[default]
    Auto,
    /// Sent through libvirt, even to this machine.
    Stream,
}

/// A libvirt daemon that VMs can be given to.
#[derive(Clone)]
pub struct Connection {
    connect: Arc<Connect>,
    settings: Settings,
    /// Whether KVM runs there: the proof takes seconds, so it is made once.
    pub(super) kvm_runs: Arc<OnceCell<bool>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("uri", &self.settings.uri).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// [`Error::Uri`], [`Error::Unreachable`], [`Error::Silent`], [`Error::PermissionDenied`] or
    /// [`Error::Rejected`], each with a hint.
    pub async fn connect(settings: &Settings) -> Result<Self, Error> {
        uri_check::check(&settings.uri)?;
        // Else libvirt prints every error to standard error by itself.
        virt::error::clear_error_callback();
        events::start();
        let uri = ssh::in_batch_mode(&settings.uri).into_owned();
        let opening = tokio::task::spawn_blocking(move || Connect::open(Some(&uri)));
        let opened = tokio::time::timeout(PATIENCE, opening)
            .await
            .map_err(|_| Error::Silent { uri: settings.uri.clone(), after: PATIENCE })?;
        let connect =
            opened.map_err(Error::Task)?.map_err(|error| refused(settings.uri.clone(), error))?;
        events::keep_alive(&connect);
        let kvm_runs = Arc::default();
        Ok(Self { connect: Arc::new(connect), settings: settings.clone(), kvm_runs })
    }

    /// The same connection, used in another way.
    pub(super) fn with(&self, settings: &Settings) -> Self {
        Self { settings: settings.clone(), ..self.clone() }
    }

    /// Whether the daemon is still there. A question, since a connection that nothing was sent over
    /// does not know that it broke.
    pub(super) async fn answers(&self) -> bool {
        let version = |connect: &Connect| {
            connect.lib_version().map_err(Error::call("asking for libvirt's version"))
        };
        self.call(version).await.is_ok()
    }

    /// Runs `act` where it may block.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Connect) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (connect, uri) = (Arc::clone(&self.connect), self.settings.uri.clone());
        let work = move || {
            act(&connect).map_err(|error| match connect.is_alive() {
                Ok(true) => error,
                // Whatever the call said, this is why.
                _ => Error::ConnectionLost { uri, source: Box::new(error) },
            })
        };
        tokio::task::spawn_blocking(work).await.map_err(Error::Task)?
    }

    /// This connection, or a new one where it was lost. The new one may fail as well: then the old
    /// one says so.
    pub(super) async fn revived(&self, lost: bool) -> Self {
        match lost {
            true => Self::connect(&self.settings).await.unwrap_or_else(|_| self.clone()),
            false => self.clone(),
        }
    }

    /// The pool that may hold a disk for a moment.
    pub(super) fn scratch_pool(&self) -> Option<String> {
        self.settings.scratch_pool.clone()
    }

    /// Whether volumes are read back.
    pub(super) fn verifies(&self) -> bool {
        self.settings.verify
    }

    /// Which daemon it is.
    pub(super) fn uri(&self) -> &str {
        &self.settings.uri
    }

    /// Whether the daemon runs on this machine.
    pub(super) fn is_local(&self) -> bool {
        uri::is_local(&self.settings.uri)
    }

    /// Whether disks may be copied into a folder that the daemon names.
    pub(super) fn may_copy(&self) -> bool {
        self.is_local() && self.settings.transfer == Transfer::Auto
    }
}

fn refused(uri: String, error: virt::error::Error) -> Error {
    let why = Refusal::of(&uri, &error);
    let source = error.into();
    if why.is_absence() {
        Error::Unreachable { uri, why, source }
    } else if why.is_permission() {
        Error::PermissionDenied { uri, why, source }
    } else {
        Error::Rejected { uri, why, source }
    }
}
