//! The source VM of a run: a common interface to all kinds of source.

use tokio_util::sync::CancellationToken;

use super::libvirt_source::{self, LibvirtSource, LibvirtSourceSettings};
use crate::exporter::{
    self, ExportRequest, FileSettings, Files, Inspected, Shutdown, VSphere, VmSummary,
};
use crate::libvirt;
use crate::model::{
    ExportedVm, Hint, PoweredOff, SourceAfter, SourceState, SourceStep, SourceVm, chain, shown,
};
use crate::panics::Panicked;
use crate::progress::Progress;

/// Errors of a source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Error of vSphere or files.
    #[error(transparent)]
    Exporter(#[from] exporter::Error),
    /// Error of a libvirt host.
    #[error(transparent)]
    Libvirt(#[from] libvirt::Error),
    /// A bug: a thread panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The domain is running.
    #[error("domain '{name}' cannot be exported: the domain is running")]
    Running {
        /// Name of the domain.
        name: String,
    },
    /// `--source-after` was passed for a VM in files.
    #[error("--source-after {step}: the source is files, which are never changed")]
    CannotFollow {
        /// Step that the user passed.
        step: String,
    },
    /// The domain is saved: its memory state is in a file on its host.
    #[error("domain '{name}' cannot be exported: its memory is saved on its host")]
    Saved {
        /// Name of the domain.
        name: String,
    },
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Exporter(error) => error.hint(),
            Self::Libvirt(error) => error.hint(),
            Self::Panicked(_) => None,
            Self::Running { .. } => {
                Some("shut its guest down first, or pass --power-off".to_owned())
            }
            Self::CannotFollow { .. } => Some("leave --source-after out".to_owned()),
            Self::Saved { .. } => Some("start the domain, and shut its guest down".to_owned()),
        }
    }
}

/// Connection settings of a source.
#[derive(Debug, Clone)]
pub enum SourceSettings {
    /// A vCenter or ESXi host, with a login.
    VSphere(exporter::Settings),
    /// Files on this machine.
    Files(FileSettings),
    /// Another libvirt host, with its connection settings.
    Host(LibvirtSourceSettings),
}

impl SourceSettings {
    /// Logs in to the server, or opens the files.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn open(&self) -> Result<Source, Error> {
        Ok(match self {
            Self::VSphere(settings) => {
                Source::VSphere(Box::new(VSphere::connect(settings.clone()).await?))
            }
            Self::Files(settings) => Source::Files(Files::open(settings.clone()).await?),
            Self::Host(settings) => Source::Host(LibvirtSource::connect(settings).await?),
        })
    }
}

/// An open source.
#[derive(Debug)]
pub enum Source {
    /// A session on a vCenter or ESXi host.
    VSphere(Box<VSphere>),
    /// Files on this machine.
    Files(Files),
    /// A connection to another libvirt host.
    Host(LibvirtSource),
}

impl Source {
    /// All VMs of the source.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn list(&self) -> Result<Vec<VmSummary>, Error> {
        match self {
            Self::VSphere(source) => Ok(source.list().await?),
            Self::Files(source) => Ok(source.list()),
            Self::Host(source) => source.list().await,
        }
    }

    /// Adds the tags to `vms`; only a vCenter has tags.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_tags(&self, vms: &mut [VmSummary]) -> Result<(), Error> {
        match self {
            Self::VSphere(source) => Ok(source.add_tags(vms).await?),
            Self::Files(_) | Self::Host(_) => Ok(()),
        }
    }

    /// All facts about the VM that `selector` names; for files, the settings select the VM. Line
    /// breaks in the VM's name become spaces.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn inspect(&self, selector: &str) -> Result<Inspected, Error> {
        let mut inspected = match self {
            Self::VSphere(source) => source.inspect(selector).await?,
            Self::Files(source) => source.inspect().await?,
            Self::Host(source) => source.inspect(selector).await?,
        };
        inspected.vm.name = shown::name(&inspected.vm.name);
        Ok(inspected)
    }

    /// Verifies the checksums of a package, and returns their number; `None` if there are none.
    ///
    /// # Errors
    /// [`Error`], among others for a file that does not match its checksum.
    pub async fn check_sums(
        &self,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<Option<usize>, Error> {
        match self {
            Self::Files(source) => Ok(source.check_sums(progress, cancel).await?),
            Self::VSphere(_) | Self::Host(_) => Ok(None),
        }
    }

    /// Checks whether the VM can be exported. With `running`, a running VM passes, too.
    pub(crate) fn exportable(&self, inspected: &Inspected, running: bool) -> Result<(), Error> {
        match self {
            Self::VSphere(_) | Self::Files(_) => Ok(inspected.exportable(running)?),
            Self::Host(_) => libvirt_source::exportable(&inspected.vm, running),
        }
    }

    /// Current state of the VM.
    pub(crate) async fn state(&self, vm: &SourceVm) -> Result<SourceState, Error> {
        match self {
            Self::VSphere(source) => Ok(source.state(vm).await?),
            Self::Files(_) | Self::Host(_) => Ok(self.inspect(&vm.id).await?.state()),
        }
    }

    /// Shuts a running VM down; `None` if the VM was not running. VMs in files never run.
    pub(crate) async fn power_off(
        &self,
        vm: &SourceVm,
        how: Shutdown,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<Option<PoweredOff>, Error> {
        match self {
            Self::VSphere(source) => Ok(source.power_off(vm, how, progress, cancel).await?),
            Self::Host(source) => source.power_off(vm, how, progress, cancel).await,
            Self::Files(_) => Ok(None),
        }
    }

    /// Powers the VM on, unless it is on.
    pub(crate) async fn power_on(&self, vm: &SourceVm, progress: &Progress) -> Result<(), Error> {
        match self {
            Self::VSphere(source) => Ok(source.power_on(vm, progress).await?),
            Self::Host(source) => source.power_on(vm).await,
            Self::Files(_) => Ok(()),
        }
    }

    /// The step that `wanted` requires in the current state of the VM; `None` if nothing has to be
    /// done. Read-only.
    pub(crate) async fn plan_step(
        &self,
        vm: &SourceVm,
        wanted: &SourceAfter,
        note: &str,
    ) -> Result<Option<SourceStep>, Error> {
        match self {
            Self::VSphere(source) => Ok(source.plan_step(vm, wanted, note).await?),
            Self::Host(source) => source.plan_step(vm, wanted, note).await,
            Self::Files(_) => Err(Error::CannotFollow { step: wanted.to_string() }),
        }
    }

    pub(crate) async fn do_step(&self, vm: &SourceVm, step: &SourceStep) -> Result<(), Error> {
        match self {
            Self::VSphere(source) => Ok(source.do_step(vm, step).await?),
            Self::Host(source) => source.do_step(vm, step).await,
            Self::Files(_) => Err(Error::CannotFollow { step: step.to_string() }),
        }
    }

    /// Undoes a step, unless the VM was changed since; false if nothing was undone.
    pub(crate) async fn undo_step(&self, vm: &SourceVm, step: &SourceStep) -> Result<bool, Error> {
        match self {
            Self::VSphere(source) => Ok(source.undo_step(vm, step).await?),
            Self::Host(source) => source.undo_step(vm, step).await,
            Self::Files(_) => Ok(false),
        }
    }

    /// Removes snapshots that an interrupted run has left.
    pub(crate) async fn remove_snapshots(
        &self,
        vm: &SourceVm,
        names: &[String],
        progress: &Progress,
    ) -> Result<(), Error> {
        match self {
            Self::VSphere(source) => Ok(source.remove_snapshots(vm, names, progress).await?),
            Self::Files(_) | Self::Host(_) => Ok(()),
        }
    }

    pub(crate) async fn export(
        &self,
        vm: &SourceVm,
        request: &ExportRequest<'_>,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<ExportedVm, Error> {
        match self {
            Self::VSphere(source) => Ok(source.export(vm, request, progress, cancel).await?),
            Self::Files(source) => Ok(source.export(vm, request, progress, cancel).await?),
            Self::Host(source) => source.export(vm, request, progress, cancel).await,
        }
    }

    /// Logs out of the server.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn close(self) -> Result<(), Error> {
        match self {
            Self::VSphere(source) => Ok(source.close().await?),
            Self::Files(_) | Self::Host(_) => Ok(()),
        }
    }

    /// Logs out; an error is only logged, since it changes nothing.
    pub async fn leave(self) {
        if let Err(error) = self.close().await {
            tracing::warn!(error = chain(&error), "logging out");
        }
    }
}
