//! A whole export: files begun, lease taken, disks downloaded and proven, files named, lease ended.
//! Whatever goes wrong, the lease is aborted and no file of this run stays.

use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::args::Moref;
use super::device_url::{Sources, entries};
use super::download::{Download, download_all, gauge};
use super::files::{begin, commit, discard};
use super::lease::{Algorithm, DeviceUrl, Lease, SentFile};
use super::session::VSphere;
use crate::exporter::transfer::{Broken, Meter, Part, Written};
use crate::exporter::{Error, ExportRequest, Fault};
use crate::model::{
    ByteSize, DiskFormat, ExportMethod, ExportedDisk, ExportedVm, Firmware, SourceDisk, SourceVm,
    Stage, Warning,
};
use crate::progress::{Event, Progress};

/// How many read timeouts may pass without a byte before the lease's keeper gives up.
const PATIENCE: u32 = 10;

impl VSphere {
    /// Downloads all disks of `vm` into the request's folder as `<disk-id>.vmdk`, checked.
    ///
    /// The caller cancels by `cancel` and then waits: dropping the future instead would leave the
    /// lease to its timeout.
    ///
    /// # Errors
    /// [`Error::Exists`] before anything begins; [`Error::Download`] when a disk did not arrive
    /// whole; [`Error::NoUrl`] when the server leaves a disk out; [`Error::Cancelled`].
    pub async fn export(
        &self,
        vm: &SourceVm,
        request: &ExportRequest,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<ExportedVm, Error> {
        let parts = begin(request, &vm.disks).await?;
        let run = Run { vsphere: self, vm, parts: &parts, progress, cancel };
        let end = run.with_lease().await;
        if end.is_err() {
            discard(parts, progress).await;
        }
        end
    }
}

/// One export under way.
struct Run<'a> {
    vsphere: &'a VSphere,
    vm: &'a SourceVm,
    parts: &'a [Arc<Part>],
    progress: &'a Progress,
    cancel: &'a CancellationToken,
}

impl Run<'_> {
    async fn with_lease(&self) -> Result<ExportedVm, Error> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let lease = self.vsphere.lease(&Moref::new("VirtualMachine", &self.vm.id)).await?;
        let mut exported = match self.under(&lease).await {
            Ok(exported) => exported,
            Err(error) => {
                if let Err(undo) = lease.abort().await {
                    let message = format!(
                        "the export lease could not be aborted ({undo}): the VM stays locked until \
                         it times out, after five minutes"
                    );
                    self.warn(Warning::new(Stage::Export, "lease-not-aborted", message));
                }
                return Err(error);
            }
        };
        // The disks are proven and named by now, so this is no reason to throw them away.
        if let Err(error) = lease.complete().await {
            let message = format!("the export lease could not be completed: {error}");
            exported.warnings.push(Warning::new(Stage::Export, "lease-not-completed", message));
        }
        Ok(exported)
    }

    async fn under(&self, lease: &Lease) -> Result<ExportedVm, Error> {
        let offer = self.vsphere.offer(lease, self.cancel).await?;
        let entries = entries(&self.vm.disks, &offer.urls)?;
        let downloads = self.downloads(&entries)?;
        let patience = self.vsphere.settings.read_timeout * PATIENCE;
        let mut keeper = JoinSet::new();
        keeper.spawn(lease.clone().keep(offer.timeout, patience, gauge(&downloads)));
        let written = self.download(lease, &downloads, &mut keeper).await?;
        let mut warnings = self.skipped(&offer.urls);
        warnings.extend(self.check(lease, &entries, &written).await?);
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        commit(self.parts.to_vec()).await?;
        Ok(self.exported(&written, warnings))
    }

    fn downloads(&self, entries: &[&DeviceUrl]) -> Result<Vec<Download>, Error> {
        let mut sources = Sources::new(self.vsphere);
        let disks = self.vm.disks.iter().zip(entries).zip(self.parts);
        disks
            .map(|((disk, entry), part)| {
                Ok(Download {
                    disk: disk.id.clone(),
                    capacity: disk.capacity,
                    source: sources.source(&disk.id, entry)?,
                    part: part.clone(),
                    meter: Arc::new(Meter::default()),
                })
            })
            .collect()
    }

    async fn download(
        &self,
        lease: &Lease,
        downloads: &[Download],
        keeper: &mut JoinSet<Error>,
    ) -> Result<Vec<Written>, Error> {
        let stop = self.cancel.child_token();
        let parallel = self.vsphere.settings.parallel;
        let mut all = std::pin::pin!(download_all(downloads, parallel, self.progress, &stop));
        let error = tokio::select! {
            end = &mut all => match end {
                Ok(written) => return Ok(written),
                Err(error) => error,
            },
            Some(lost) = keeper.join_next() => {
                stop.cancel();
                // Its own error would only be that it was stopped; its files are free now.
                drop(all.await);
                let panicked = |error: JoinError| Error::Lease(Fault {
                    kind: "keeper".into(), text: error.to_string(),
                });
                return Err(self.vsphere.why_lost(lost.unwrap_or_else(panicked)).await);
            }
        };
        // A host cuts its transfers when the lease is lost: that is the better reason, if so.
        if matches!(error, Error::Download { .. })
            && let Err(reason) = self.vsphere.is_ready(lease).await
        {
            let reason = self.vsphere.why_lost(reason).await;
            if matches!(reason, Error::Lease(_) | Error::SessionEnded { .. }) {
                tracing::info!(%error, "the lease was lost");
                return Err(reason);
            }
        }
        Err(error)
    }

    /// What is in the lease but not taken along. CD images are the user's own affair.
    fn skipped(&self, urls: &[DeviceUrl]) -> Vec<Warning> {
        let others = urls.iter().filter(|url| !url.disk);
        let (nvram, rest): (Vec<_>, Vec<_>) =
            others.partition(|url| url.key.rsplit('/').next() == Some("nvram"));
        for url in rest {
            tracing::info!(key = url.key, "not a disk, left out");
        }
        if nvram.is_empty() || self.vm.firmware != Firmware::Efi {
            return Vec::new();
        }
        let message = "the UEFI variables (nvram) of the VM were not exported: its boot entries are \
                       made anew, keys enrolled by hand are not";
        vec![Warning::new(Stage::Export, "nvram-not-exported", message)]
    }

    /// Compares with what the server says it sent.
    async fn check(
        &self,
        lease: &Lease,
        entries: &[&DeviceUrl],
        written: &[Written],
    ) -> Result<Vec<Warning>, Error> {
        let unverified = |what: &str, why: &str| {
            let message = format!("{what} was not verified by the server: {why}");
            Warning::new(Stage::Export, "not-verified-by-server", message)
        };
        let sent = match lease.sent().await? {
            Ok(sent) => sent,
            Err(fault) => return Ok(vec![unverified("the export", &fault.to_string())]),
        };
        let mut warnings = Vec::new();
        for ((disk, entry), written) in self.vm.disks.iter().zip(entries).zip(written) {
            let told = sent.iter().find(|file| file.key == entry.key);
            let Some(told) = told.filter(|told| told.sum.is_some()) else {
                warnings.push(unverified(disk.id.as_str(), "its manifest has no sum of it"));
                continue;
            };
            compare(told, written)
                .map_err(|source| Error::Download { disk: disk.id.clone(), source })?;
        }
        Ok(warnings)
    }

    fn exported(&self, written: &[Written], warnings: Vec<Warning>) -> ExportedVm {
        let disks = self.vm.disks.iter().zip(self.parts).zip(written);
        ExportedVm {
            vm: self.vm.clone(),
            method: ExportMethod::NfcLease,
            exported_at: jiff::Timestamp::now(),
            disks: disks.map(|((disk, part), written)| exported(disk, part, written)).collect(),
            warnings,
        }
    }

    fn warn(&self, warning: Warning) {
        self.progress.send(Event::Warned(warning));
    }
}

fn exported(disk: &SourceDisk, part: &Part, written: &Written) -> ExportedDisk {
    ExportedDisk {
        id: disk.id.clone(),
        path: part.target().to_owned(),
        format: DiskFormat::Vmdk,
        file_size: ByteSize(written.bytes),
        capacity: disk.capacity,
        sha256: written.sha256,
    }
}

fn compare(sent: &SentFile, written: &Written) -> Result<(), Broken> {
    if let Some(size) = sent.size.filter(|size| *size != written.bytes) {
        return Err(Broken::Size { received: written.bytes, sent: size });
    }
    let Some((algorithm, sum)) = &sent.sum else { return Ok(()) };
    let received = match algorithm {
        Algorithm::Sha1 => written.sha1.clone(),
        Algorithm::Sha256 => written.sha256.to_string(),
    };
    if received == *sum { Ok(()) } else { Err(Broken::Sum { received, sent: sum.clone() }) }
}
