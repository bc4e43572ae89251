//! Downloads all disks of a lease, some in parallel. When one disk fails, the others stop. The
//! error is returned after all of them have closed their files.

use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::Lease;
use super::lease_renewal::TransferProgress;
use super::server_sums::{Verdict, verify};
use crate::exporter::blocking::blocking_io;
use crate::exporter::transfer::{
    Broken, ExpectedStream, Meter, PartFile, StreamSource, WrittenStream, fetch,
};
use crate::exporter::{Error, FinishedDisk, OnFinished, Retry, Rewrite};
use crate::model::{ByteSize, DiskId};
use crate::progress::{Progress, Task, Unit};

/// Time between two reports of progress.
const REPORT: Duration = Duration::from_millis(250);

/// State of one disk, which survives the loss of a lease.
#[derive(Debug, Clone)]
pub(in crate::exporter::vsphere) struct DiskDownload {
    pub(in crate::exporter::vsphere) part: Arc<PartFile>,
    /// Progress of the disk.
    pub(in crate::exporter::vsphere) meter: Arc<Meter>,
    arrived: Arc<Mutex<Option<FinishedDisk>>>,
}

impl DiskDownload {
    /// State for the file `part`; `whole` is set if the file is finished already.
    pub(in crate::exporter::vsphere) fn new(
        part: Arc<PartFile>,
        whole: Option<FinishedDisk>,
    ) -> Self {
        let meter = Arc::new(Meter::default());
        if let Some(whole) = &whole {
            meter.finish(whole.capacity.0);
        }
        Self { part, meter, arrived: Arc::new(Mutex::new(whole)) }
    }

    /// The disk, if finished. A finished disk survives the loss of the lease.
    pub(in crate::exporter::vsphere) fn arrived(&self) -> Option<FinishedDisk> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Marks the disk as finished, or as not finished any more.
    pub(in crate::exporter::vsphere) fn set(&self, whole: Option<FinishedDisk>) {
        *self.arrived.lock().unwrap_or_else(PoisonError::into_inner) = whole;
    }
}

/// One disk to download. A stream cannot be resumed: each attempt begins at 0, under the same
/// lease, and does not affect the other disks.
pub(in crate::exporter::vsphere) struct Download<'a> {
    pub(in crate::exporter::vsphere) disk: DiskId,
    /// Size as the guest sees it.
    pub(in crate::exporter::vsphere) capacity: ByteSize,
    pub(in crate::exporter::vsphere) source: StreamSource,
    /// State with the output file.
    pub(in crate::exporter::vsphere) slot: DiskDownload,
    /// The lease that the download belongs to.
    pub(in crate::exporter::vsphere) lease: Lease,
    /// Key of the disk in the lease.
    pub(in crate::exporter::vsphere) key: String,
    /// Whether the server computes SHA-1 instead of SHA-256.
    pub(in crate::exporter::vsphere) sha1: bool,
    /// Conversion of the stream; `None` keeps the stream as it is.
    pub(in crate::exporter::vsphere) rewrite: Option<Rewrite>,
    /// Limits for retries.
    pub(in crate::exporter::vsphere) retry: Retry,
    /// Callback for the finished disk.
    pub(in crate::exporter::vsphere) note: Option<OnFinished<'a>>,
}

/// Progress of `downloads`, for the lease renewal.
pub(in crate::exporter::vsphere) fn gauge(downloads: &[Download<'_>]) -> TransferProgress {
    let meters = || -> Vec<_> { downloads.iter().map(|one| one.slot.meter.clone()).collect() };
    let whole = total(downloads).max(1);
    let (for_moved, for_percent) = (meters(), meters());
    TransferProgress {
        moved: Box::new(move || for_moved.iter().map(|meter| meter.moved()).sum()),
        percent: Box::new(move || {
            let ByteSize(position) =
                for_percent.iter().map(|meter| ByteSize(meter.position())).sum();
            (u128::from(position) * 100 / u128::from(whole)) as u64
        }),
    }
}

/// Downloads all unfinished disks, at most `parallel` at a time.
///
/// # Errors
/// The first error; [`Error::Cancelled`] when `cancel` is cancelled.
pub(in crate::exporter::vsphere) async fn download_all(
    downloads: &[Download<'_>],
    parallel: usize,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let stop = cancel.child_token();
    let work = futures_util::stream::iter(downloads.iter().enumerate())
        .map(|(index, one)| {
            let stop = &stop;
            async move { (index, one.run(progress, stop).await) }
        })
        .buffer_unordered(parallel.max(1))
        .collect::<Vec<_>>();
    let mut ended = work.await;
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    ended.sort_by_key(|(index, _)| *index);
    let mut errors = ended.into_iter().filter_map(|(_, end)| end.err());
    // A disk that was only stopped is not the cause.
    match errors.find(|error| !is_cancelled(error)) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

impl Download<'_> {
    async fn run(&self, progress: &Progress, stop: &CancellationToken) -> Result<(), Error> {
        if self.slot.arrived().is_some() {
            return Ok(());
        }
        if stop.is_cancelled() {
            return Err(self.error(Broken::Cancelled));
        }
        let name = format!("download {}", self.disk);
        let task = progress.task(&name, Some(self.capacity.0), Unit::Bytes);
        let work = self.attempts(&name, progress, stop);
        match reporting(&task, &self.slot.meter, work).await {
            Ok(whole) => {
                whole.report(self.note).await;
                self.slot.set(Some(whole));
                Ok(())
            }
            Err(error) => {
                stop.cancel();
                Err(error)
            }
        }
    }

    async fn attempts(
        &self,
        name: &str,
        progress: &Progress,
        stop: &CancellationToken,
    ) -> Result<FinishedDisk, Error> {
        let mut pauses = self.retry.pauses();
        for attempt in 1.. {
            let error = match self.attempt(stop).await {
                Err(error) if !stop.is_cancelled() => error,
                end => return end,
            };
            let most = match &error {
                Error::Download { source, .. } => source.attempts(&self.retry),
                _ => 1,
            };
            let Some(pause) = pauses.next().filter(|_| attempt < most) else { return Err(error) };
            let reason = match &error {
                Error::Download { source, .. } => with_cause(source),
                other => other.to_string(),
            };
            let next = attempt + 1;
            let seconds = pause.as_secs_f64();
            progress.note(format!(
                "{name} again: {reason}; attempt {next} of {most} in {seconds:.1} s"
            ));
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        Err(self.error(Broken::Cancelled))
    }

    async fn attempt(&self, stop: &CancellationToken) -> Result<FinishedDisk, Error> {
        let written = self.fetch(stop).await.map_err(|broken| self.error(broken))?;
        let unverified = match verify(&self.lease, &self.key, &written, &self.slot.part).await? {
            Verdict::Same => None,
            Verdict::Unknown(reason) => Some(reason),
            Verdict::Different(difference) => {
                return Err(self.error(difference.broken(&written)));
            }
        };
        self.slot.meter.finish(self.capacity.0);
        Ok(FinishedDisk {
            id: self.disk.clone(),
            capacity: self.capacity,
            file_size: ByteSize(written.file_size),
            sha256: written.file_sha256,
            content: written.content,
            received: written.received,
            uuid: None,
            unverified,
        })
    }

    async fn fetch(&self, stop: &CancellationToken) -> Result<WrittenStream, Broken> {
        let part = self.slot.part.clone();
        let file = blocking_io(move || part.restart())
            .await
            .map_err(|source| Broken::File { action: "truncating", source })?;
        let wanted =
            ExpectedStream { capacity: self.capacity.0, sha1: self.sha1, rewrite: self.rewrite };
        fetch(&self.source, file, wanted, &self.slot.meter, stop).await
    }

    fn error(&self, source: Broken) -> Error {
        Error::Download { disk: self.disk.clone(), source }
    }
}

/// An error with its cause, on one line.
pub(super) fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Runs `work`, and reports its progress periodically and at the end.
async fn reporting<T>(task: &Task, meter: &Meter, work: impl Future<Output = T>) -> T {
    let tell = || {
        task.received(meter.moved());
        task.at(meter.position());
    };
    let report = async {
        let mut clock = tokio::time::interval(REPORT);
        loop {
            clock.tick().await;
            tell();
        }
    };
    let end = tokio::select! {
        end = work => end,
        never = never(report) => match never {},
    };
    tell();
    end
}

/// Gives an endless loop its type.
async fn never(endless: impl Future<Output = Infallible>) -> Infallible {
    endless.await
}

fn is_cancelled(error: &Error) -> bool {
    matches!(error, Error::Download { source: Broken::Cancelled, .. })
}

fn total(downloads: &[Download<'_>]) -> u64 {
    downloads.iter().map(|one| one.capacity).sum::<ByteSize>().0
}
