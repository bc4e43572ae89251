//! A whole export: files begun, lease taken, disks downloaded and proven, files named, lease ended.
//! Whatever goes wrong, the lease is aborted and no file of this run stays.

use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::args::Moref;
use super::device_url::{Sources, entries};
use super::download::{Arrived, Download, Slot, download_all, gauge};
use super::files::{begin, commit, discard};
use super::lease::{DeviceUrl, Lease};
use super::session::VSphere;
use crate::exporter::transfer::{Part, Written};
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
        let slot = |part: &Arc<Part>| Slot {
            part: part.clone(),
            meter: Arc::default(),
            arrived: Arc::default(),
        };
        let slots = parts.iter().map(slot).collect();
        let run = Run { vsphere: self, vm, slots, progress, cancel };
        let end = run.rounds().await;
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
    slots: Vec<Slot>,
    progress: &'a Progress,
    cancel: &'a CancellationToken,
}

impl Run<'_> {
    /// Takes a lease, and another one when it or its session is lost: that costs only the disks
    /// under way. Each new round has a login of its own, so that nothing of the old one stays.
    async fn rounds(&self) -> Result<ExportedVm, Error> {
        let retry = self.vsphere.settings.retry.of_server();
        let mut pauses = retry.pauses();
        let (mut whole, mut lost) = (0, false);
        loop {
            let round = async {
                if lost {
                    self.vsphere.renew().await?;
                }
                self.with_lease().await
            };
            let error = match round.await {
                Err(error) if error.is_loss() && !self.cancel.is_cancelled() => error,
                end => return end,
            };
            let arrived = self.slots.iter().filter(|slot| slot.arrived.get().is_some()).count();
            if arrived > whole {
                (whole, pauses) = (arrived, retry.pauses());
            }
            let Some(pause) = pauses.next() else { return Err(error) };
            let (all, seconds) = (self.slots.len(), pause.as_secs_f64());
            self.progress.note(format!(
                "{}; {whole} of {all} disks are whole, the rest again in {seconds:.1} s",
                with_cause(&error)
            ));
            tokio::select! {
                () = self.cancel.cancelled() => return Err(Error::Cancelled),
                () = tokio::time::sleep(pause) => lost = true,
            }
        }
    }

    async fn with_lease(&self) -> Result<ExportedVm, Error> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let lease = self.vsphere.lease(&Moref::new("VirtualMachine", &self.vm.id)).await?;
        let mut exported = match self.under(&lease).await {
            Ok(exported) => exported,
            Err(error) => {
                // A lease that is lost needs no end, and the next round's login ends it for good.
                if let Err(undo) = lease.abort().await
                    && !error.is_loss()
                {
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
        let downloads = self.downloads(lease, &entries)?;
        let patience = self.vsphere.settings.read_timeout * PATIENCE;
        let mut keeper = JoinSet::new();
        keeper.spawn(lease.clone().keep(offer.timeout, patience, gauge(&downloads)));
        self.download(lease, &downloads, &mut keeper).await?;
        let mut warnings = self.skipped(&offer.urls);
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        commit(self.slots.iter().map(|slot| slot.part.clone()).collect()).await?;
        let disks = self.exported(&mut warnings);
        Ok(ExportedVm {
            vm: self.vm.clone(),
            method: ExportMethod::NfcLease,
            exported_at: jiff::Timestamp::now(),
            disks,
            warnings,
        })
    }

    fn downloads(&self, lease: &Lease, entries: &[&DeviceUrl]) -> Result<Vec<Download>, Error> {
        let mut sources = Sources::new(self.vsphere);
        let disks = self.vm.disks.iter().zip(entries).zip(&self.slots);
        disks
            .map(|((disk, entry), slot)| {
                Ok(Download {
                    disk: disk.id.clone(),
                    capacity: disk.capacity,
                    source: sources.source(&disk.id, entry)?,
                    slot: slot.clone(),
                    lease: lease.clone(),
                    key: entry.key.clone(),
                    retry: self.vsphere.settings.retry,
                })
            })
            .collect()
    }

    async fn download(
        &self,
        lease: &Lease,
        downloads: &[Download],
        keeper: &mut JoinSet<Error>,
    ) -> Result<(), Error> {
        let stop = self.cancel.child_token();
        let parallel = self.vsphere.settings.parallel;
        let mut all = std::pin::pin!(download_all(downloads, parallel, self.progress, &stop));
        let error = tokio::select! {
            end = &mut all => match end {
                Ok(()) => return Ok(()),
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
            if reason.is_loss() || matches!(reason, Error::Lease(_)) {
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

    /// The disks, all of them whole; warns of those that the server did not confirm.
    fn exported(&self, warnings: &mut Vec<Warning>) -> Vec<ExportedDisk> {
        let disks = self.vm.disks.iter().zip(&self.slots);
        disks
            .filter_map(|(disk, slot)| {
                let Arrived { written, unverified } = slot.arrived.get()?;
                if let Some(reason) = unverified {
                    let message = format!("{} was not verified by the server: {reason}", disk.id);
                    warnings.push(Warning::new(Stage::Export, "not-verified-by-server", message));
                }
                Some(exported(disk, &slot.part, written))
            })
            .collect()
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

fn with_cause(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
