//! All disks of a lease, some at a time. When one is lost the others stop, and all of them have
//! let go of their files before anybody hears of it.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::keeper::Gauge;
use crate::exporter::Error;
use crate::exporter::transfer::{Broken, Meter, Part, Source, Written, fetch};
use crate::model::{ByteSize, DiskId};
use crate::progress::{Progress, Task, Unit};

/// Attempts at one disk. A stream cannot be resumed: each begins at 0, under the same lease.
const ATTEMPTS: u32 = 3;
/// Time before the second attempt; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Time between two reports of progress.
const REPORT: Duration = Duration::from_millis(250);

/// One disk to download.
#[derive(Debug)]
pub(super) struct Download {
    /// Which disk of the VM.
    pub(super) disk: DiskId,
    /// Its size as the guest sees it.
    pub(super) capacity: ByteSize,
    /// Where it comes from.
    pub(super) source: Source,
    /// Where it goes.
    pub(super) part: Arc<Part>,
    /// How far it is.
    pub(super) meter: Arc<Meter>,
}

/// What the lease's keeper needs to know about `downloads`.
pub(super) fn gauge(downloads: &[Download]) -> Gauge {
    let meters = || -> Vec<_> { downloads.iter().map(|one| one.meter.clone()).collect() };
    let whole = total(downloads).max(1);
    let (for_moved, for_percent) = (meters(), meters());
    Gauge {
        moved: Box::new(move || for_moved.iter().map(|meter| meter.moved()).sum()),
        percent: Box::new(move || {
            let position: u64 = for_percent.iter().map(|meter| meter.position()).sum();
            (u128::from(position) * 100 / u128::from(whole)) as u64
        }),
    }
}

/// Downloads everything, at most `parallel` at a time, and returns in the order given.
///
/// # Errors
/// The first that happened. [`Error::Cancelled`] when `cancel` says so.
pub(super) async fn download_all(
    downloads: &[Download],
    parallel: usize,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Vec<Written>, Error> {
    let stop = cancel.child_token();
    let all = progress.task("download all disks", Some(total(downloads)), Unit::Bytes);
    let work = futures_util::stream::iter(downloads.iter().enumerate())
        .map(|(index, one)| {
            let stop = &stop;
            async move { (index, one.run(progress, stop).await) }
        })
        .buffer_unordered(parallel.max(1))
        .collect::<Vec<_>>();
    let position = || downloads.iter().map(|one| one.meter.position()).sum();
    let mut ended = reporting(&all, position, work).await;
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let first = ended.iter().position(|(_, end)| matches!(end, Err(e) if !is_cancelled(e)));
    if let Some(index) = first {
        return ended.swap_remove(index).1.map(|written| vec![written]);
    }
    ended.sort_by_key(|(index, _)| *index);
    ended.into_iter().map(|(_, end)| end).collect()
}

impl Download {
    async fn run(&self, progress: &Progress, stop: &CancellationToken) -> Result<Written, Error> {
        if stop.is_cancelled() {
            return Err(self.error(Broken::Cancelled));
        }
        let name = format!("download {}", self.disk);
        let task = progress.task(&name, Some(self.capacity.0), Unit::Bytes);
        let work = async {
            let mut pause = FIRST_PAUSE;
            for _ in 1..ATTEMPTS {
                match self.attempt(stop).await {
                    Err(broken) if broken.is_transient() && !stop.is_cancelled() => {
                        progress.note(format!("{name} again: {broken}"));
                    }
                    end => return end,
                }
                tokio::select! {
                    () = stop.cancelled() => return Err(Broken::Cancelled),
                    () = tokio::time::sleep(pause) => pause *= 2,
                }
            }
            self.attempt(stop).await
        };
        let end = reporting(&task, || self.meter.position(), work).await;
        end.map_err(|broken| {
            stop.cancel();
            self.error(broken)
        })
    }

    async fn attempt(&self, stop: &CancellationToken) -> Result<Written, Broken> {
        let part = self.part.clone();
        let file = tokio::task::spawn_blocking(move || part.restart())
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(|source| Broken::File { action: "empty", source })?;
        let written = fetch(&self.source, file, self.capacity.0, &self.meter, stop).await?;
        self.meter.finish(self.capacity.0);
        Ok(written)
    }

    fn error(&self, source: Broken) -> Error {
        Error::Download { disk: self.disk.clone(), source }
    }
}

/// Does `work` and reports the position from time to time, and at the end.
async fn reporting<T>(task: &Task, position: impl Fn() -> u64, work: impl Future<Output = T>) -> T {
    let report = async {
        let mut clock = tokio::time::interval(REPORT);
        loop {
            clock.tick().await;
            task.at(position());
        }
    };
    let end = tokio::select! {
        end = work => end,
        never = never(report) => match never {},
    };
    task.at(position());
    end
}

/// Gives an endless loop the type of one.
async fn never(endless: impl Future<Output = Infallible>) -> Infallible {
    endless.await
}

fn is_cancelled(error: &Error) -> bool {
    matches!(error, Error::Download { source: Broken::Cancelled, .. })
}

fn total(downloads: &[Download]) -> u64 {
    downloads.iter().map(|one| one.capacity.0).sum()
}
