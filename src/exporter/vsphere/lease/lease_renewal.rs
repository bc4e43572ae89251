//! Renews an export lease while its disks are downloaded: well before its timeout, independently of
//! the downloads. The renewal stops when no bytes arrive any more.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::super::soap::args::Args;
use super::{Lease, lost};
use crate::exporter::Error;

/// Longest time between two renewals.
const LONGEST_BEAT: Duration = Duration::from_secs(30);

/// Progress of all downloads of a lease.
pub(in crate::exporter::vsphere) struct TransferProgress {
    /// Total number of received bytes.
    pub(in crate::exporter::vsphere) moved: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Progress in percent, 0 to 100.
    pub(in crate::exporter::vsphere) percent: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Lease {
    /// Renews the lease until it is lost, or until no byte has arrived for `patience`; returns the
    /// reason.
    ///
    /// The renewal runs on a timer beside the downloads: a slow read must not cost the lease. But a
    /// transfer that is permanently stalled must not lock the VM either.
    pub(in crate::exporter::vsphere) async fn keep(
        self,
        timeout: Duration,
        patience: Duration,
        gauge: TransferProgress,
    ) -> Error {
        let mut beat = tokio::time::interval((timeout / 4).min(LONGEST_BEAT));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut percent, mut moved) = (0, 0);
        let (mut moved_at, mut renewed_at) = (Instant::now(), Instant::now());
        loop {
            beat.tick().await;
            let now = (gauge.moved)();
            if now != moved {
                (moved, moved_at) = (now, Instant::now());
            } else if moved_at.elapsed() > patience {
                return Error::Stalled { after: patience };
            }
            // The server expects a growing number; a restarted download would decrease it.
            percent = percent.max((gauge.percent)().min(100));
            let args = Args::default().text("percent", &percent.to_string());
            match self.soap.call("HttpNfcLeaseProgress", &self.moref, args).await {
                Ok(_) => renewed_at = Instant::now(),
                Err(error @ (Error::Call { .. } | Error::Status { .. }))
                    if renewed_at.elapsed() < timeout =>
                {
                    tracing::debug!(%error, "renewing the lease");
                }
                Err(error) => return lost(error),
            }
        }
    }
}
