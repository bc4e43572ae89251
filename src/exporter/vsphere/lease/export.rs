//! A complete export: creates the files, requests the lease, downloads and verifies the disks,
//! renames the files, and ends the lease. On any error, the lease is aborted and all files of this
//! run are removed.

use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::soap::args::Moref;
use super::super::soap::session::VSphere;
use super::super::vm::nvram::is_nvram;
use super::device_url::{Sources, entries};
use super::download::{DiskDownload, Download, download_all, gauge, with_cause};
use super::part_files::{begin, commit, discard};
use super::{DeviceUrl, Lease};
use crate::exporter::{Error, ExportRequest, Fault, SnapshotRequest, Transport};
use crate::model::{
    DiskFormat, ExportMethod, ExportedDisk, ExportedVm, SourceVm, Stage, Warning, WarningCode,
};
use crate::panics::{self, caught};
use crate::progress::{Control, Event, Progress};

/// Number of read timeouts without a byte after which the lease is given up.
const PATIENCE: u32 = 10;
/// Longest wait for the lease of an interrupted run: it times out after 300 s on all known servers.
const DEAD_LEASE: Duration = Duration::from_secs(330);
/// Pause between two attempts during that wait.
const DEAD_LEASE_POLL: Duration = Duration::from_secs(1);

impl VSphere {
    /// Downloads and verifies all disks of `vm` into the request's directory as `<disk-id>.vmdk`,
    /// or as `<disk-id>.raw` if they are read from the datastore.
    ///
    /// The caller cancels by `cancel` and then waits: if the future were dropped instead, the lease
    /// would only end by its timeout.
    ///
    /// # Errors
    /// [`Error::Exists`] before any file is written; [`Error::Download`] when a disk is truncated
    /// or wrong; [`Error::NoUrl`] when the server omits a disk; [`Error::Cancelled`].
    pub async fn export(
        &self,
        vm: &SourceVm,
        request: &ExportRequest<'_>,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<ExportedVm, Error> {
        let lease = match self.settings.transport {
            Transport::Datastore => {
                return self.export_datastore(vm, request, progress, cancel).await;
            }
            Transport::Auto | Transport::Nfc => self.export_nfc(vm, request, progress, cancel),
        };
        match lease.await {
            Err(error) if self.settings.transport == Transport::Auto && no_lease(&error) => {
                progress.note(format!("{}: reading the datastore instead", with_cause(&error)));
                self.export_datastore(vm, request, progress, cancel).await
            }
            end => end,
        }
    }

    /// Format of the exported disks of a lease.
    pub(in crate::exporter::vsphere) fn disk_format(&self) -> DiskFormat {
        if self.settings.rewrite.is_some() { DiskFormat::Qcow2 } else { DiskFormat::Vmdk }
    }

    async fn export_nfc(
        &self,
        vm: &SourceVm,
        request: &ExportRequest<'_>,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<ExportedVm, Error> {
        let begun = begin(request, &vm.disks, self.disk_format(), progress, cancel).await?;
        let parts: Vec<_> = begun.iter().map(|one| one.part.clone()).collect();
        let slots = begun.into_iter().map(|one| DiskDownload::new(one.part, one.whole)).collect();
        let mut run =
            ExportRun { vsphere: self, vm, request, slots, snapshot: None, progress, cancel };
        let end = match &request.snapshot {
            None => caught(run.rounds()).await,
            Some(snapshot) => caught(run.over_snapshot(snapshot)).await,
        };
        if end.is_err() {
            discard(parts, progress).await;
        }
        end
    }
}

/// State of one export.
struct ExportRun<'a> {
    vsphere: &'a VSphere,
    vm: &'a SourceVm,
    request: &'a ExportRequest<'a>,
    slots: Vec<DiskDownload>,
    /// The snapshot to export; `None` to export the VM itself.
    snapshot: Option<Moref>,
    progress: &'a Progress,
    cancel: &'a CancellationToken,
}

impl ExportRun<'_> {
    /// Takes the snapshot, exports it, and removes it in any case.
    async fn over_snapshot(&mut self, request: &SnapshotRequest) -> Result<ExportedVm, Error> {
        let control = Control { progress: self.progress, cancel: self.cancel };
        let taken = self.vsphere.take_snapshot(self.vm, request, control).await;
        let end = match taken {
            Ok(taken) => {
                self.snapshot = Some(taken.moref);
                let end = caught(self.rounds()).await;
                end.map(|mut exported| {
                    exported.method = ExportMethod::NfcSnapshot;
                    exported.warnings.extend(taken.warnings);
                    exported
                })
            }
            Err(error) => Err(error),
        };
        let names = std::slice::from_ref(&request.name);
        if let Err(error) = self.vsphere.remove_snapshots(self.vm, names, self.progress).await {
            let message = format!(
                "the snapshot {} could not be removed ({error}): remove it in the vSphere client, \
                 or it grows for as long as the VM runs",
                request.name
            );
            self.warn(Warning::new(Stage::Export, WarningCode::SnapshotLeft, message));
        }
        end
    }

    /// Exports by a lease, and requests a new one when the lease or its session is lost: only disks
    /// in progress are then downloaded again. Each round uses a new login, so that nothing of the
    /// old session remains.
    async fn rounds(&self) -> Result<ExportedVm, Error> {
        let retry = self.vsphere.settings.retry.of_server();
        let mut pauses = retry.pauses();
        let (mut whole, mut lost) = (self.whole(), false);
        let mut revision = None;
        loop {
            let round = async {
                if lost {
                    self.vsphere.renew().await?;
                }
                self.forget_if_changed(&mut revision).await?;
                self.with_lease(lost || self.request.after_kill).await
            };
            let error = match round.await {
                Err(error) if error.is_loss() && !self.cancel.is_cancelled() => error,
                end => return end,
            };
            let arrived = self.whole();
            if arrived > whole {
                pauses = retry.pauses();
            }
            whole = arrived;
            let Some(pause) = pauses.next() else { return Err(error) };
            let (all, seconds) = (self.slots.len(), pause.as_secs_f64());
            self.progress.note(format!(
                "{}; {whole} of {all} disks are complete, the rest again in {seconds:.1} s",
                with_cause(&error)
            ));
            tokio::select! {
                () = self.cancel.cancelled() => return Err(Error::Cancelled),
                () = tokio::time::sleep(pause) => lost = true,
            }
        }
    }

    /// Number of finished disks.
    fn whole(&self) -> usize {
        self.slots.iter().filter(|slot| slot.arrived().is_some()).count()
    }

    /// Without a lease, the VM may have been started and stopped: its disks would then be of two
    /// states. So finished disks are discarded when the VM's revision has changed. A snapshot never
    /// changes.
    async fn forget_if_changed(&self, known: &mut Option<String>) -> Result<(), Error> {
        if self.snapshot.is_some() {
            return Ok(());
        }
        let now = self.vsphere.revision(self.vm).await?;
        if known.as_ref().is_some_and(|known| *known != now) {
            self.progress.note("the VM has changed meanwhile: all its disks are taken again");
            self.slots.iter().for_each(|slot| slot.set(None));
        }
        *known = Some(now);
        Ok(())
    }

    async fn with_lease(&self, patient: bool) -> Result<ExportedVm, Error> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let lease = self.lease(patient).await?;
        let mut exported = match caught(self.under(&lease)).await {
            Ok(exported) => exported,
            Err(error) => {
                // A lost lease need not be aborted: the login of the next round ends it.
                if let Err(undo) = lease.abort().await
                    && !error.is_loss()
                {
                    let message = format!(
                        "the export lease could not be aborted ({undo}): the VM stays locked until \
                         it times out, after five minutes"
                    );
                    self.warn(Warning::new(Stage::Export, WarningCode::LeaseNotAborted, message));
                }
                return Err(error);
            }
        };
        // The disks are verified and renamed by now, so this error must not fail the export.
        if let Err(error) = lease.complete().await {
            let message = format!("the export lease could not be completed: {error}");
            exported.warnings.push(Warning::new(
                Stage::Export,
                WarningCode::LeaseNotCompleted,
                message,
            ));
        }
        Ok(exported)
    }

    /// Requests the lease. A lease of an interrupted run or a lost session blocks the VM until its
    /// timeout: a `patient` run waits for that.
    async fn lease(&self, patient: bool) -> Result<Lease, Error> {
        let vm = || Moref::new("VirtualMachine", &self.vm.id);
        let exported = self.snapshot.clone().unwrap_or_else(vm);
        let deadline = Instant::now() + DEAD_LEASE;
        let mut told = false;
        loop {
            match self.vsphere.lease(&exported).await {
                Err(Error::Refused { source, .. })
                    if patient && source.is("TaskInProgress") && Instant::now() < deadline =>
                {
                    if !told {
                        self.progress.note(
                            "an interrupted export still locks the VM: waiting until its lease \
                             times out, which takes up to five minutes",
                        );
                        told = true;
                    }
                }
                end => return end,
            }
            tokio::select! {
                () = self.cancel.cancelled() => return Err(Error::Cancelled),
                () = tokio::time::sleep(DEAD_LEASE_POLL) => {}
            }
        }
    }

    async fn under(&self, lease: &Lease) -> Result<ExportedVm, Error> {
        let offer = self.vsphere.offer(lease, self.cancel).await?;
        let entries = entries(&self.vm.disks, &offer.urls)?;
        let sha256 = lease.ask_for_sha256(&entries).await?;
        let downloads = self.downloads(lease, &entries, !sha256)?;
        let patience = self.vsphere.settings.read_timeout * PATIENCE;
        let mut keeper = JoinSet::new();
        keeper.spawn(lease.clone().keep(offer.timeout, patience, gauge(&downloads)));
        self.download(lease, &downloads, &mut keeper).await?;
        panics::point("export");
        tell_skipped(&offer.urls);
        let mut warnings = Vec::new();
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        commit(self.slots.iter().map(|slot| slot.part.clone()).collect()).await?;
        let disks = self.exported(&mut warnings);
        let directory = &self.request.directory;
        let nvram = self.vsphere.nvram(self.vm, &offer.urls, directory, &mut warnings).await;
        Ok(ExportedVm {
            media: Vec::new(),
            vm: self.vm.clone(),
            method: ExportMethod::NfcLease,
            exported_at: jiff::Timestamp::now(),
            disks,
            nvram,
            warnings,
        })
    }

    fn downloads(
        &self,
        lease: &Lease,
        entries: &[&DeviceUrl],
        sha1: bool,
    ) -> Result<Vec<Download<'_>>, Error> {
        let mut sources = Sources::new(self.vsphere);
        let disks = self.vm.disks.iter().zip(entries).zip(&self.slots);
        disks
            .map(|((disk, entry), slot)| {
                Ok(Download {
                    disk: disk.id.clone(),
                    capacity: disk.capacity,
                    source: sources.source(&disk.id, entry, self.request.limit.clone())?,
                    slot: slot.clone(),
                    lease: lease.clone(),
                    key: entry.key.clone(),
                    sha1,
                    rewrite: self.vsphere.settings.rewrite,
                    retry: self.vsphere.settings.retry,
                    note: self.request.note,
                })
            })
            .collect()
    }

    async fn download(
        &self,
        lease: &Lease,
        downloads: &[Download<'_>],
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
                // Its own error would only be that it was stopped; its files are closed now.
                drop(all.await);
                let panicked = |error: JoinError| Error::Lease(Fault {
                    kind: "keeper".into(), text: error.to_string(),
                });
                return Err(self.vsphere.why_lost(lost.unwrap_or_else(panicked)).await);
            }
        };
        // A host closes its transfers when the lease is lost, which is then the better reason.
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

    /// The finished disks; warns about disks that the server did not confirm.
    fn exported(&self, warnings: &mut Vec<Warning>) -> Vec<ExportedDisk> {
        let disks = self.vm.disks.iter().zip(&self.slots);
        disks
            .filter_map(|(disk, slot)| {
                let whole = slot.arrived()?;
                if let Some(reason) = &whole.unverified {
                    let message = format!("{} was not verified by the server: {reason}", disk.id);
                    warnings.push(Warning::new(
                        Stage::Export,
                        WarningCode::NotVerifiedByServer,
                        message,
                    ));
                }
                Some(whole.exported(slot.part.target(), self.vsphere.disk_format()))
            })
            .collect()
    }

    fn warn(&self, warning: Warning) {
        self.progress.send(Event::Warned(warning));
    }
}

/// Whether the server grants no leases at all, because of its licence, its privileges or its
/// version.
fn no_lease(error: &Error) -> bool {
    let kinds = ["RestrictedVersion", "NoPermission", "NotSupported", "MethodDisabled"];
    matches!(error, Error::Refused { method: "ExportVm", source }
        if kinds.iter().any(|kind| source.is(kind)))
}

/// Logs the entries of a lease that are not exported: CD-ROM images are up to the user.
fn tell_skipped(offered: &[DeviceUrl]) {
    for entry in offered.iter().filter(|entry| !entry.disk && !is_nvram(entry)) {
        tracing::info!(key = entry.key, "not a disk, left out");
    }
}
