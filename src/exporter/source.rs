//! Where the VM of a run comes from: one face for all kinds of source.

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

/// Why something could not be had from a source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// vSphere or files.
    #[error(transparent)]
    Exporter(#[from] exporter::Error),
    /// A libvirt host.
    #[error(transparent)]
    Libvirt(#[from] libvirt::Error),
    /// A mistake in this program.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The domain runs.
    #[error("domain '{name}' cannot be exported: the domain is running")]
    Running {
        /// Which.
        name: String,
    },
    /// What is to follow the migration cannot be done to files.
    #[error("--source-after {step}: the source is files, which are never changed")]
    CannotFollow {
        /// What was asked for.
        step: String,
    },
    /// The domain's memory lies saved on its host.
    #[error("domain '{name}' cannot be exported: its memory is saved on its host")]
    Saved {
        /// Which.
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

/// How to reach a source.
#[derive(Debug, Clone)]
pub enum SourceSettings {
    /// A vCenter or ESXi host, by a login.
    VSphere(exporter::Settings),
    /// Files of this machine.
    Files(FileSettings),
    /// Another libvirt host.
    Host(LibvirtSourceSettings),
}

impl SourceSettings {
    /// Logs in, or opens what is there.
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

/// A source that is open.
#[derive(Debug)]
pub enum Source {
    /// A session of a vCenter or ESXi host.
    VSphere(Box<VSphere>),
    /// Files of this machine.
    Files(Files),
    /// Another libvirt host.
    Host(LibvirtSource),
}

impl Source {
    /// All VMs that it has.
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

    /// Adds to `vms` the tags that they have; only a vCenter knows any.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_tags(&self, vms: &mut [VmSummary]) -> Result<(), Error> {
        match self {
            Self::VSphere(source) => Ok(source.add_tags(vms).await?),
            Self::Files(_) | Self::Host(_) => Ok(()),
        }
    }

    /// Everything about the VM that `selector` names; files know themselves which one is meant. Its
    /// name has one line.
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

    /// Compares the files of a package with its sums and counts them; nothing where there are none.
    ///
    /// # Errors
    /// [`Error`], among them a file that is not what its sum says.
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

    /// Whether the VM can be exported, or could be if `running` is no obstacle.
    pub(crate) fn exportable(&self, inspected: &Inspected, running: bool) -> Result<(), Error> {
        match self {
            Self::VSphere(_) | Self::Files(_) => Ok(inspected.exportable(running)?),
            Self::Host(_) => libvirt_source::exportable(&inspected.vm, running),
        }
    }

    /// In which state the VM is now.
    pub(crate) async fn state(&self, vm: &SourceVm) -> Result<SourceState, Error> {
        match self {
            Self::VSphere(source) => Ok(source.state(vm).await?),
            Self::Files(_) | Self::Host(_) => Ok(self.inspect(&vm.id).await?.state()),
        }
    }

    /// Shuts a running VM down; `None` when there was none to shut down. What lies in files does
    /// not run.
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

    /// Powers the VM on, unless the VM is on.
    pub(crate) async fn power_on(&self, vm: &SourceVm, progress: &Progress) -> Result<(), Error> {
        match self {
            Self::VSphere(source) => Ok(source.power_on(vm, progress).await?),
            Self::Host(source) => source.power_on(vm).await,
            Self::Files(_) => Ok(()),
        }
    }

    /// What `wanted` comes down to for the VM as it is now; `None` where nothing is to be done.
    /// Changes nothing.
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

    /// Does a step.
    pub(crate) async fn do_step(&self, vm: &SourceVm, step: &SourceStep) -> Result<(), Error> {
        match self {
            Self::VSphere(source) => Ok(source.do_step(vm, step).await?),
            Self::Host(source) => source.do_step(vm, step).await,
            Self::Files(_) => Err(Error::CannotFollow { step: step.to_string() }),
        }
    }

    /// Undoes a step as far as the VM is as it was left; false where nothing was to be undone.
    pub(crate) async fn undo_step(&self, vm: &SourceVm, step: &SourceStep) -> Result<bool, Error> {
        match self {
            Self::VSphere(source) => Ok(source.undo_step(vm, step).await?),
            Self::Host(source) => source.undo_step(vm, step).await,
            Self::Files(_) => Ok(false),
        }
    }

    /// Removes snapshots that a killed run left.
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

    /// Takes the disks of the VM.
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

    /// Logs out.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn close(self) -> Result<(), Error> {
        match self {
            Self::VSphere(source) => Ok(source.close().await?),
            Self::Files(_) | Self::Host(_) => Ok(()),
        }
    }

    /// The same where it changes nothing that it did not work: the log tells it.
    pub async fn leave(self) {
        if let Err(error) = self.close().await {
            tracing::warn!(error = chain(&error), "logging out");
        }
    }
}
