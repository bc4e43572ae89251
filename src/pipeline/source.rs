//! Where the VM of a run comes from: one face for all kinds of source.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::exporter::{
    self, BandwidthLimit, ExportRequest, FileSettings, Files, Inspected, VSphere, VmSummary,
};
use crate::model::{ExportedVm, PowerState, SourceVm};
use crate::progress::Progress;

/// How to reach a source.
#[derive(Debug, Clone)]
pub enum SourceSettings {
    /// A vCenter or ESXi host, by a login.
    VSphere(exporter::Settings),
    /// Files of this machine.
    Files(FileSettings),
}

impl SourceSettings {
    /// Logs in, or opens what is there.
    ///
    /// # Errors
    /// [`exporter::Error`].
    pub async fn open(&self) -> Result<Source, exporter::Error> {
        Ok(match self {
            Self::VSphere(settings) => {
                Source::VSphere(Box::new(VSphere::connect(settings.clone()).await?))
            }
            Self::Files(settings) => Source::Files(Files::open(settings.clone()).await?),
        })
    }

    /// The limit of its transfers, where it has one.
    pub fn limit(&self) -> Option<&BandwidthLimit> {
        match self {
            Self::VSphere(settings) => Some(&settings.limit),
            Self::Files(_) => None,
        }
    }
}

/// A source that is open.
#[derive(Debug)]
pub enum Source {
    /// A session of a vCenter or ESXi host.
    VSphere(Box<VSphere>),
    /// Files of this machine.
    Files(Files),
}

impl Source {
    /// All VMs that it has.
    ///
    /// # Errors
    /// [`exporter::Error`].
    pub async fn list(&self) -> Result<Vec<VmSummary>, exporter::Error> {
        match self {
            Self::VSphere(source) => source.list().await,
            Self::Files(source) => Ok(source.list()),
        }
    }

    /// Everything about the VM that `selector` names; files know themselves which one is meant.
    ///
    /// # Errors
    /// [`exporter::Error`].
    pub async fn inspect(&self, selector: &str) -> Result<Inspected, exporter::Error> {
        match self {
            Self::VSphere(source) => source.inspect(selector).await,
            Self::Files(source) => source.inspect().await,
        }
    }

    /// What [`Inspected::revision`] is now.
    pub(super) async fn revision(&self, vm: &SourceVm) -> Result<String, exporter::Error> {
        match self {
            Self::VSphere(source) => source.revision(vm).await,
            Self::Files(source) => Ok(source.inspect().await?.revision),
        }
    }

    /// Shuts the VM down, or powers it off after `limit`. What lies in files does not run.
    pub(super) async fn power_off(
        &self,
        vm: &SourceVm,
        limit: Duration,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<(), exporter::Error> {
        match self {
            Self::VSphere(source) => source.power_off(vm, limit, progress, cancel).await,
            Self::Files(_) => Ok(()),
        }
    }

    /// Removes snapshots that a killed run left.
    pub(super) async fn remove_snapshots(
        &self,
        vm: &SourceVm,
        names: &[String],
        progress: &Progress,
    ) -> Result<(), exporter::Error> {
        match self {
            Self::VSphere(source) => source.remove_snapshots(vm, names, progress).await,
            Self::Files(_) => Ok(()),
        }
    }

    /// Takes the disks of the VM.
    pub(super) async fn export(
        &self,
        vm: &SourceVm,
        request: &ExportRequest<'_>,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<ExportedVm, exporter::Error> {
        match self {
            Self::VSphere(source) => source.export(vm, request, progress, cancel).await,
            Self::Files(source) => source.export(vm, request, progress, cancel).await,
        }
    }

    /// Whether the VM runs now.
    pub(super) async fn power(&self, id: &str) -> Result<PowerState, exporter::Error> {
        Ok(self.inspect(id).await?.vm.power)
    }

    /// Logs out.
    ///
    /// # Errors
    /// [`exporter::Error`].
    pub async fn close(self) -> Result<(), exporter::Error> {
        match self {
            Self::VSphere(source) => source.close().await,
            Self::Files(_) => Ok(()),
        }
    }
}
