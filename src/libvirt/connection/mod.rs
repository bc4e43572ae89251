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

/// Time limit for opening a connection. A slow login over ssh takes some seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// How to connect to a libvirt daemon, and how to store disks there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Connection URI: `qemu:///system`.
    pub uri: String,
    /// How disk images are transferred into a storage pool.
    pub transfer: Transfer,
    /// Whether volumes are read back and their checksums compared with those of the images.
    pub verify: bool,
    /// Storage pool for the temporary disk of the guest that proves KVM on a remote host.
    pub scratch_pool: Option<String>,
}

/// How disk images are transferred into a storage pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transfer {
    /// Copies into the pool's folder if the folder is on this machine and writable, else uploads.
    #[default]
    Auto,
    /// Uploads through libvirt, even to this machine.
    Stream,
}

/// A connection to a libvirt daemon that VMs can be imported into.
#[derive(Clone)]
pub struct Connection {
    connect: Arc<Connect>,
    settings: Settings,
    /// Whether KVM runs on the daemon's host. The proof takes seconds, so it is made once.
    pub(super) kvm_runs: Arc<OnceCell<bool>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("uri", &self.settings.uri).finish_non_exhaustive()
    }
}

impl Connection {
    /// Opens a connection.
    ///
    /// # Errors
    /// [`Error::Uri`], [`Error::Unreachable`], [`Error::Silent`], [`Error::PermissionDenied`] or
    /// [`Error::Rejected`], each with a hint.
    pub async fn connect(settings: &Settings) -> Result<Self, Error> {
        uri_check::check(&settings.uri)?;
        // Without this call libvirt prints every error to standard error.
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

    /// The same connection with other settings.
    pub(super) fn with(&self, settings: &Settings) -> Self {
        Self { settings: settings.clone(), ..self.clone() }
    }

    /// Whether the daemon still answers. Sends a request, since an idle connection does not notice
    /// that it broke.
    pub(super) async fn answers(&self) -> bool {
        let version = |connect: &Connect| {
            connect.lib_version().map_err(Error::call("asking for libvirt's version"))
        };
        self.call(version).await.is_ok()
    }

    /// Runs `act` on a thread that may block.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Connect) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (connect, uri) = (Arc::clone(&self.connect), self.settings.uri.clone());
        let work = move || {
            act(&connect).map_err(|error| match connect.is_alive() {
                Ok(true) => error,
                // The call failed because the connection is lost, whatever its error says.
                _ => Error::ConnectionLost { uri, source: Box::new(error) },
            })
        };
        tokio::task::spawn_blocking(work).await.map_err(Error::Task)?
    }

    /// This connection, or a new one if it was lost. If connecting fails, returns the old
    /// connection, whose next call reports the error.
    pub(super) async fn revived(&self, lost: bool) -> Self {
        match lost {
            true => Self::connect(&self.settings).await.unwrap_or_else(|_| self.clone()),
            false => self.clone(),
        }
    }

    pub(super) fn scratch_pool(&self) -> Option<String> {
        self.settings.scratch_pool.clone()
    }

    pub(super) fn verifies(&self) -> bool {
        self.settings.verify
    }

    pub(super) fn uri(&self) -> &str {
        &self.settings.uri
    }

    /// Whether the daemon runs on this machine.
    pub(super) fn is_local(&self) -> bool {
        uri::is_local(&self.settings.uri)
    }

    /// Whether disks may be copied into the pool's folder, whose path the daemon reports.
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
