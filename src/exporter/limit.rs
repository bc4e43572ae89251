//! Bandwidth limit of all streams together. Each chunk reserves its time on one clock before it is
//! passed on. A stream that has to wait stops reading, so that TCP slows the sender down.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Unused time that a stream may catch up on; longer pauses are lost.
const BURST: Duration = Duration::from_millis(100);

/// A limit in bytes per second that can be changed at any time, and that all clones share.
#[derive(Debug, Clone, Default)]
pub struct BandwidthLimit(Arc<LimitState>);

#[derive(Debug, Default)]
struct LimitState {
    /// Bytes per second; 0 for no limit.
    rate: AtomicU64,
    /// Time at which all bytes reserved so far will have passed.
    due: Mutex<Option<Instant>>,
    changed: Notify,
}

impl BandwidthLimit {
    /// Sets the limit in bytes per second, or removes it. Streams that wait by the old limit
    /// continue at once.
    pub fn set(&self, rate: Option<u64>) {
        self.0.rate.store(rate.unwrap_or(0), Ordering::Relaxed);
        *self.0.due.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.0.changed.notify_waiters();
    }

    /// Waits until `bytes` more bytes may pass.
    pub(super) async fn take(&self, bytes: u64) {
        let changed = self.0.changed.notified();
        let Some(due) = self.book(bytes, Instant::now()) else { return };
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = changed => {}
        }
    }

    /// Like `take`, for threads of the runtime that may block. Returns early when `cancel` is
    /// cancelled.
    pub fn take_blocking(&self, bytes: u64, cancel: &CancellationToken) {
        if self.0.rate.load(Ordering::Relaxed) == 0 {
            return;
        }
        Handle::current().block_on(async {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = self.take(bytes) => {}
            }
        });
    }

    /// Time at which `bytes` that are reserved now will have passed; `None` without a limit.
    fn book(&self, bytes: u64, now: Instant) -> Option<Instant> {
        let rate = self.0.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return None;
        }
        let mut due = self.0.due.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let from = due.map_or(now, |due| due.max(earliest));
        let until = from + Duration::from_secs_f64(bytes as f64 / rate as f64);
        *due = Some(until);
        Some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_blocks_is_cancelled_all_the_same() {
        let (limit, cancel) = (BandwidthLimit::default(), CancellationToken::new());
        limit.set(Some(1));
        let (other, told) = (limit.clone(), cancel.clone());
        let begun = Instant::now();
        let blocked = tokio::task::spawn_blocking(move || other.take_blocking(1000, &told));
        tokio::time::sleep(Duration::from_millis(50)).await;
        cancel.cancel();
        blocked.await.expect("it ends");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn bookings_of_all_streams_add_up() {
        let (limit, now) = (BandwidthLimit::default(), Instant::now());
        assert_eq!(limit.book(1 << 30, now), None);
        limit.set(Some(1000));
        let other = limit.clone();
        assert_eq!(limit.book(500, now), Some(now + Duration::from_millis(500)));
        assert_eq!(other.book(500, now), Some(now + Duration::from_secs(1)));
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let (limit, begin) = (BandwidthLimit::default(), Instant::now());
        limit.set(Some(1000));
        limit.book(100, begin);
        let later = begin + Duration::from_secs(60);
        assert_eq!(limit.book(1100, later), Some(later + Duration::from_secs(1)));
    }

    #[tokio::test]
    async fn a_lifted_limit_frees_those_who_wait() {
        let limit = BandwidthLimit::default();
        limit.set(Some(1));
        let begun = Instant::now();
        let lift = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            limit.set(None);
        };
        tokio::join!(limit.take(1000), lift);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
