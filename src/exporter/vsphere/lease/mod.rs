//! The export lease (vim25, `HttpNfcLease`).
//!
//! ```text
//! ExportVm ─▶ initializing ─▶ ready ─▶ downloads … ─▶ GetManifest ─▶ Complete
//!                  │            │ Progress every quarter of the timeout, by a background task
//!                  └─▶ error    └─▶ error when nothing renews it; Abort on every other path
//! ```
//!
//! During the lease, the VM can be neither started nor moved, so every lease is ended. A lease
//! belongs to its session: when the session ends, so does the lease.

pub(in crate::exporter) mod device_url;
pub(in crate::exporter) mod download;
pub(in crate::exporter) mod export;
pub(in crate::exporter) mod lease_renewal;
pub(in crate::exporter) mod part_files;
pub(in crate::exporter) mod server_sums;

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::soap::args::{Args, Moref};
use super::soap::node::Node;
use super::soap::session::{VSphere, lacks};
use super::soap::{Soap, localized_fault};
use crate::exporter::{Error, Fault};

/// Pause before the second poll of a lease that is not ready yet; each further pause doubles …
const FIRST_POLL: Duration = Duration::from_millis(20);
/// … up to this limit.
const POLL: Duration = Duration::from_millis(500);
/// Maximum time until the lease is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(600);
/// `leaseTimeout` if the server does not state it (it is 300 s on all known servers).
const USUAL_TIMEOUT: u64 = 300;

/// A lease in any state.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) soap: Soap,
    pub(super) moref: Moref,
}

/// The contents of a lease that is ready.
#[derive(Debug)]
pub(super) struct Offer {
    /// Time until the lease ends without a renewal.
    pub(super) timeout: Duration,
    /// The files of the lease.
    pub(super) urls: Vec<DeviceUrl>,
}

/// A file of a lease.
#[derive(Debug, Clone)]
pub(super) struct DeviceUrl {
    /// `/vm-42/ParaVirtualSCSIController0:0`.
    pub(super) key: String,
    /// URL of the file; the host may be `*`.
    pub(super) url: String,
    /// Thumbprint of the host's certificate; may be empty.
    pub(super) thumbprint: String,
    /// Whether the file is a disk, and not an ISO image or the firmware's variables.
    pub(super) disk: bool,
}

/// Hash algorithm of a server's checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerAlgorithm {
    /// Supported by all versions.
    Sha1,
    /// Computed by newer versions on request: the checksum that is recorded in any case.
    Sha256,
}

/// A file in the server's manifest.
#[derive(Debug)]
pub(super) struct SentFile {
    /// As in [`DeviceUrl::key`].
    pub(super) key: String,
    /// Size in bytes.
    pub(super) size: Option<u64>,
    /// Checksum in lower-case hexadecimal, with its algorithm.
    pub(super) sum: Option<(ServerAlgorithm, String)>,
}

impl VSphere {
    /// Requests a lease on all disks of `of`, a VM or a snapshot. The caller must end it by
    /// [`Lease::complete`] or [`Lease::abort`].
    pub(super) async fn lease(&self, of: &Moref) -> Result<Lease, Error> {
        let method =
            if of.kind == "VirtualMachineSnapshot" { "ExportSnapshot" } else { "ExportVm" };
        let reply = self.soap.call(method, of, Args::default()).await?;
        let moref = reply.child("returnval").and_then(Node::moref);
        let moref = moref.ok_or_else(|| lacks(method, "returnval"))?;
        Ok(Lease { soap: self.soap.clone(), moref })
    }

    /// Waits until `lease` is ready.
    pub(super) async fn offer(
        &self,
        lease: &Lease,
        cancel: &CancellationToken,
    ) -> Result<Offer, Error> {
        let deadline = Instant::now() + READY_TIMEOUT;
        let mut pause = FIRST_POLL;
        loop {
            if self.is_ready(lease).await? {
                let object = self.properties(&lease.moref, &["info"]).await.map_err(lost)?;
                let info = object.get("info").ok_or_else(|| lacks("ExportVm", "lease info"))?;
                return Ok(Offer::read(info));
            }
            if Instant::now() > deadline {
                let action = "waiting for the export lease".to_owned();
                return Err(Error::TimedOut { action, after: READY_TIMEOUT });
            }
            tokio::select! {
                () = cancel.cancelled() => return Err(Error::Cancelled),
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(POLL),
            }
        }
    }

    /// Whether `lease` is ready; false while the server prepares it.
    ///
    /// # Errors
    /// [`Error::Lease`] when the lease is lost.
    pub(super) async fn is_ready(&self, lease: &Lease) -> Result<bool, Error> {
        let object = self.properties(&lease.moref, &["state", "error"]).await.map_err(lost)?;
        match object.text("state") {
            "ready" => Ok(true),
            "initializing" => Ok(false),
            state => Err(Error::Lease(object.get("error").map_or_else(
                || Fault { kind: "none".into(), text: format!("the lease is {state}") },
                localized_fault,
            ))),
        }
    }
}

impl VSphere {
    /// A more specific reason for a lost lease: if the lease does not exist any more because its
    /// session has ended, the end of the session.
    pub(super) async fn why_lost(&self, error: Error) -> Error {
        if !matches!(&error, Error::Lease(fault) if is_gone(fault)) {
            return error;
        }
        match self.properties(&self.root_folder, &["name"]).await {
            Err(ended @ Error::SessionEnded { .. }) => ended,
            _ => error,
        }
    }
}

impl Lease {
    /// Requests SHA-256 checksums for these files; returns whether the server supports them, which
    /// vSphere does since 6.7 (vim25 reference, `HttpNfcLeaseSetManifestChecksumType`).
    pub(super) async fn ask_for_sha256(&self, files: &[&DeviceUrl]) -> Result<bool, Error> {
        let args = files.iter().fold(Args::default(), |args, file| {
            let pair = Args::default().text("key", &file.url).text("value", "sha256");
            args.nested("deviceUrlsToChecksumTypes", pair)
        });
        let method = "HttpNfcLeaseSetManifestChecksumType";
        match self.soap.call(method, &self.moref, args).await {
            Ok(_) => Ok(true),
            Err(Error::Refused { source, .. }) if !is_gone(&source) => Ok(false),
            Err(error) => Err(lost(error)),
        }
    }

    /// The files that the server has sent so far, or the fault of a server that does not support
    /// the call, as old and small servers do.
    pub(super) async fn sent(&self) -> Result<Result<Vec<SentFile>, Fault>, Error> {
        match self.soap.read("HttpNfcLeaseGetManifest", &self.moref, Args::default()).await {
            Ok(reply) => Ok(Ok(reply.all("returnval").map(SentFile::read).collect())),
            Err(Error::Refused { source, .. }) if !is_gone(&source) => Ok(Err(source)),
            Err(error) => Err(lost(error)),
        }
    }

    /// Ends the lease after a successful export.
    pub(super) async fn complete(&self) -> Result<(), Error> {
        self.soap.call("HttpNfcLeaseComplete", &self.moref, Args::default()).await.map(drop)
    }

    /// Aborts the lease. A lease that does not exist any more is not an error.
    pub(super) async fn abort(&self) -> Result<(), Error> {
        match self.soap.read("HttpNfcLeaseAbort", &self.moref, Args::default()).await {
            Ok(_) | Err(Error::SessionEnded { .. }) => Ok(()),
            Err(Error::Refused { source, .. }) if is_gone(&source) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Offer {
    pub(super) fn read(info: &Node) -> Self {
        let timeout = info.number("leaseTimeout").filter(|seconds| *seconds > 0);
        Self {
            timeout: Duration::from_secs(timeout.unwrap_or(USUAL_TIMEOUT)),
            urls: info
                .all("deviceUrl")
                .map(|url| DeviceUrl {
                    key: url.text_of("key").trim().to_owned(),
                    url: url.text_of("url").trim().to_owned(),
                    thumbprint: url.text_of("sslThumbprint").trim().to_owned(),
                    // Before vSphere 4.1 this field did not exist, and all files were disks.
                    disk: url.child("disk").is_none_or(Node::is_true),
                })
                .collect(),
        }
    }
}

impl SentFile {
    fn read(entry: &Node) -> Self {
        Self {
            key: entry.text_of("key").trim().to_owned(),
            size: entry.number("size"),
            sum: Self::sum(entry),
        }
    }

    fn sum(entry: &Node) -> Option<(ServerAlgorithm, String)> {
        let text = |name| Some(entry.text_of(name).trim().to_lowercase()).filter(|t| !t.is_empty());
        let newer = text("checksum").filter(|_| entry.text_of("checksumType") == "sha256");
        let newer = newer.map(|sum| (ServerAlgorithm::Sha256, sum));
        newer.or_else(|| text("sha1").map(|sum| (ServerAlgorithm::Sha1, sum)))
    }
}

/// Maps a rejected call on a lease to the loss of the lease.
pub(super) fn lost(error: Error) -> Error {
    match error {
        Error::Refused { source, .. } => Error::Lease(source),
        error => error,
    }
}

fn is_gone(fault: &Fault) -> bool {
    fault.is("ManagedObjectNotFound") || fault.is("Timedout")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(inner: &str) -> Option<(ServerAlgorithm, String)> {
        let entry = Node::parse(&format!("<returnval>{inner}</returnval>")).expect("well-formed");
        SentFile::read(&entry).sum
    }

    #[test]
    fn sums_are_read_in_either_algorithm() {
        let newer = "<checksum>CD</checksum><checksumType>sha256</checksumType>";
        assert_eq!(sum("<sha1>AB</sha1>"), Some((ServerAlgorithm::Sha1, "ab".into())));
        assert_eq!(
            sum(&format!("<sha1>AB</sha1>{newer}")),
            Some((ServerAlgorithm::Sha256, "cd".into()))
        );
        assert_eq!(sum("<checksum>CD</checksum><checksumType>md5</checksumType>"), None);
    }

    #[test]
    fn an_offer_without_a_timeout_gets_the_usual_one() {
        let info = "<info><deviceUrl><key>/vm-1/x</key><url>u</url></deviceUrl></info>";
        let offer = Offer::read(&Node::parse(info).expect("well-formed"));
        assert_eq!(offer.timeout, Duration::from_secs(300));
        assert!(offer.urls[0].disk);
    }
}
