//! Reads disks from their datastore, for hosts that grant no export lease. The flat file of each
//! disk is downloaded as raw over HTTPS (vSphere Web Services Programming Guide, "HTTP access to
//! datastores"). Range requests resume it, so that a lost connection only costs the data in
//! progress.
//!
//! Nothing locks the VM during the download: at the end, a check detects whether the VM was started
//! or changed.

use std::sync::Arc;

use futures_util::StreamExt;
use reqwest::header::{CONTENT_RANGE, RANGE};
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::inventory::folder::{folder_url, read_small};
use super::lease::part_files::{begin, commit, discard};
use super::soap::session::VSphere;
use crate::exporter::blocking::blocking_io;
use crate::exporter::transfer::{Broken, PartFile, RawSums, Sink};
use crate::exporter::{Error, ExportRequest, FinishedDisk};
use crate::image::vmdk::{self, LONGEST_DESCRIPTOR, SECTOR};
use crate::model::{
    ByteSize, DiskFormat, DiskId, ExportMethod, ExportedVm, PowerState, SourceDisk, SourceVm,
};
use crate::progress::{Progress, Unit};

/// The flat file of a disk.
struct Flat {
    id: DiskId,
    capacity: ByteSize,
    url: Url,
}

impl VSphere {
    /// Downloads all disks of `vm` into the request's directory as `<disk-id>.raw`.
    ///
    /// # Errors
    /// [`Error::NotFlat`] when a disk is not one file of the datastore; [`Error::Download`];
    /// [`Error::Changed`] when the VM was started or changed meanwhile; [`Error::Cancelled`].
    pub(super) async fn export_datastore(
        &self,
        vm: &SourceVm,
        request: &ExportRequest<'_>,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<ExportedVm, Error> {
        let revision = self.in_session(async || self.revision(vm).await).await?;
        let mut flats = Vec::new();
        for disk in &vm.disks {
            flats.push(self.in_session(async || self.flat(vm, disk).await).await?);
        }
        let begun = begin(request, &vm.disks, DiskFormat::Raw, progress, cancel).await?;
        let parts: Vec<_> = begun.iter().map(|one| one.part.clone()).collect();
        let run = DatastoreRun { vsphere: self, request, progress, cancel };
        let work = futures_util::stream::iter(flats.iter().zip(begun))
            .map(|(flat, begun)| async {
                match begun.whole {
                    Some(whole) => Ok(whole),
                    None => run.disk(flat, begun.part).await,
                }
            })
            .buffered(self.settings.parallel.max(1));
        let whole: Result<Vec<FinishedDisk>, Error> =
            futures_util::TryStreamExt::try_collect(work).await;
        let end = async {
            let whole = whole?;
            self.in_session(async || self.unchanged(vm, &revision).await).await?;
            commit(parts.clone()).await?;
            let mut exported = exported(vm, &parts, whole);
            let (directory, warnings) = (&request.directory, &mut exported.warnings);
            exported.nvram = self.nvram(vm, &[], directory, warnings).await;
            Ok(exported)
        };
        let end = match end.await {
            Err(_) if cancel.is_cancelled() => Err(Error::Cancelled),
            end => end,
        };
        if end.is_err() {
            discard(parts, progress).await;
        }
        end
    }

    /// Locates the flat file of a disk, from its descriptor.
    async fn flat(&self, vm: &SourceVm, disk: &SourceDisk) -> Result<Flat, Error> {
        let not_flat =
            |reason: &str| Error::NotFlat { disk: disk.id.clone(), reason: reason.into() };
        let path = disk.backing.as_deref().ok_or_else(|| not_flat("it has no file"))?;
        if is_delta(path) {
            return Err(not_flat("it is the difference to a snapshot"));
        }
        let url = folder_url(self, vm, path).ok_or_else(|| not_flat("its path is none"))?;
        let text = read_small(self, url, LONGEST_DESCRIPTOR).await.map_err(|missing| {
            Error::NotFlat { disk: disk.id.clone(), reason: format!("its descriptor: {missing}") }
        })?;
        let text = String::from_utf8_lossy(&text);
        if text.contains("parentFileNameHint") {
            return Err(not_flat("it is the difference to a snapshot"));
        }
        let extents = vmdk::extents(&text);
        let [extent] = extents.as_slice() else {
            return Err(not_flat("its descriptor does not name one file"));
        };
        let plain = !extent.file.is_empty() && !extent.file.contains(['/', '\\', ':']);
        if !matches!(extent.kind.as_str(), "VMFS" | "FLAT") || !plain || extent.offset != 0 {
            return Err(not_flat(
                "its data is not a flat file (vSAN, vVol, a snapshot, a raw device)",
            ));
        }
        if extent.sectors.checked_mul(SECTOR) != Some(disk.capacity.0) {
            return Err(not_flat("its descriptor is of another size"));
        }
        let folder = path.rfind('/').map_or_else(|| path.find("] ").map(|at| at + 1), Some);
        let folder = folder.map_or("", |at| &path[..=at]);
        let url = folder_url(self, vm, &format!("{folder}{}", extent.file));
        let url = url.ok_or_else(|| not_flat("its path is none"))?;
        Ok(Flat { id: disk.id.clone(), capacity: disk.capacity, url })
    }

    /// Checks that the VM was not changed since the download of its disks started.
    async fn unchanged(&self, vm: &SourceVm, revision: &str) -> Result<(), Error> {
        let now = self.inspect(&vm.id).await?;
        match now.vm.power == PowerState::Off && now.revision == revision {
            true => Ok(()),
            false => Err(Error::Changed { vm: vm.name.clone() }),
        }
    }
}

/// Whether a disk's file has the name of a snapshot's delta disk: `web01-000001.vmdk`.
fn is_delta(path: &str) -> bool {
    let number = path.strip_suffix(".vmdk").and_then(|stem| stem.rsplit_once('-'));
    number.is_some_and(|(_, n)| n.len() == 6 && n.bytes().all(|digit| digit.is_ascii_digit()))
}

fn exported(vm: &SourceVm, parts: &[Arc<PartFile>], whole: Vec<FinishedDisk>) -> ExportedVm {
    let disks = parts.iter().zip(whole);
    let disks = disks.map(|(part, whole)| whole.exported(part.target(), DiskFormat::Raw));
    ExportedVm {
        media: Vec::new(),
        vm: vm.clone(),
        method: ExportMethod::Datastore,
        exported_at: jiff::Timestamp::now(),
        disks: disks.collect(),
        nvram: None,
        warnings: Vec::new(),
    }
}

/// Download of all disks of a VM.
struct DatastoreRun<'a> {
    vsphere: &'a VSphere,
    request: &'a ExportRequest<'a>,
    progress: &'a Progress,
    cancel: &'a CancellationToken,
}

impl DatastoreRun<'_> {
    /// Downloads a disk to its end, and resumes after a lost connection.
    async fn disk(&self, flat: &Flat, part: Arc<PartFile>) -> Result<FinishedDisk, Error> {
        let failed = |source| Error::Download { disk: flat.id.clone(), source };
        let name = format!("read {}", flat.id);
        let task = self.progress.task(&name, Some(flat.capacity.0), Unit::Bytes);
        let file = blocking_io(move || part.restart()).await;
        let broken = |source| failed(Broken::File { action: "truncating", source });
        let sink = Sink::of_raw(file.map_err(broken)?, flat.capacity.0, task);
        let retry = self.vsphere.settings.retry;
        let (mut received, mut pauses, mut attempt) = (0, retry.pauses(), 1);
        while received < flat.capacity.0 {
            let before = received;
            let Err(broken) = self.range(flat, &mut received, &sink).await else { break };
            if received > before {
                (pauses, attempt) = (retry.pauses(), 1);
            }
            let ended = matches!(broken, Broken::Status(401));
            let most = if ended { retry.attempts } else { broken.attempts(&retry) };
            let pause = pauses.next().filter(|_| attempt < most && !self.cancel.is_cancelled());
            let Some(pause) = pause else { return Err(failed(broken)) };
            attempt += 1;
            let seconds = pause.as_secs_f64();
            self.progress.note(format!(
                "{name} continues at {}: {broken}; in {seconds:.1} s",
                ByteSize(received)
            ));
            tokio::select! {
                () = self.cancel.cancelled() => return Err(Error::Cancelled),
                () = tokio::time::sleep(pause) => {}
            }
            if ended {
                self.vsphere.renew().await?;
            }
        }
        let sums = sink.finish().await.map_err(failed)?;
        let whole = FinishedDisk {
            id: flat.id.clone(),
            capacity: flat.capacity,
            file_size: flat.capacity,
            sha256: sums.file,
            content: sums.content,
            received: None,
            uuid: None,
            unverified: None,
        };
        whole.report(self.request.note).await;
        Ok(whole)
    }

    /// One range request, from `received` on.
    async fn range(
        &self,
        flat: &Flat,
        received: &mut u64,
        sink: &Sink<RawSums>,
    ) -> Result<(), Broken> {
        let settings = &self.vsphere.settings;
        let from = *received;
        let client = self.vsphere.soap.client();
        let request = client.http().get(flat.url.clone()).header(RANGE, format!("bytes={from}-"));
        let broken = |received, error: reqwest::Error| Broken::Connection {
            received,
            source: error.without_url(),
        };
        let silent = |received| Broken::Silent { after: settings.read_timeout, received };
        let sent = tokio::select! {
            () = self.cancel.cancelled() => return Err(Broken::Cancelled),
            sent = tokio::time::timeout(settings.read_timeout, request.send()) => sent,
        };
        let mut response = sent.map_err(|_| silent(from))?.map_err(|error| broken(from, error))?;
        // A server that ignores the range would send the file from its start, which would be
        // written at the wrong offset.
        let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let expected = format!("bytes {from}-");
        let is_range = range.is_some_and(|range| range.starts_with(&expected));
        match response.status().as_u16() {
            206 if is_range => {}
            200 if from == 0 => {}
            status => return Err(Broken::Status(status)),
        }
        loop {
            let next = tokio::select! {
                () = self.cancel.cancelled() => return Err(Broken::Cancelled),
                next = tokio::time::timeout(settings.read_timeout, response.chunk()) => next,
            };
            let chunk = next.map_err(|_| silent(*received))?;
            let Some(chunk) = chunk.map_err(|error| broken(*received, error))? else { break };
            let left = flat.capacity.0 - *received;
            let chunk: Bytes =
                chunk.slice(..chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            tokio::select! {
                () = self.cancel.cancelled() => return Err(Broken::Cancelled),
                () = self.request.limit.take(chunk.len() as u64) => {}
            }
            let length = chunk.len() as u64;
            if sink.push(chunk).await.is_err() {
                return Ok(());
            }
            *received += length;
        }
        match *received == flat.capacity.0 {
            true => Ok(()),
            false => Err(Broken::Short { received: *received, expected: flat.capacity.0 }),
        }
    }
}
