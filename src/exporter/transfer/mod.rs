//! Downloads one disk from an HTTPS URL into a verified file.
//!
//! `fetch` reads the response under a read timeout. `sink` writes, hashes and checks on a thread of
//! its own. `image::vmdk` validates the stream. `part` gives the file a temporary name until it is
//! verified. Memory stays flat: only a few chunks are queued.

mod adopt;
mod fetch;
mod part;
mod raw;
mod rewrite;
mod sink;
mod stream_sums;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Error, Retry};
use crate::image;
use crate::image::vmdk::InvalidStream;
use crate::model::{ByteSize, Hint};

pub(super) use fetch::{StreamSource, fetch};
pub(super) use part::{PartFile, sync_directory};
pub(super) use raw::RawSums;
pub(super) use sink::{ExpectedStream, Sink, WrittenStream, sha1_of};

/// Maximum number of attempts at a disk that arrives completely but with wrong data.
const WRONG_DATA_ATTEMPTS: u32 = 3;

/// Reason why the download of a disk failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// The host's certificate was rejected.
    #[error(transparent)]
    Refused(Box<Error>),
    /// The host returned this HTTP status instead of the disk.
    #[error("host answered HTTP {0}")]
    Status(u16),
    /// The host is unreachable, or closed the connection.
    #[error("connection failed after {received} bytes")]
    Connection {
        /// Bytes that had arrived before.
        received: u64,
        /// Error of the HTTP client.
        source: reqwest::Error,
    },
    /// The connection ended before the announced length.
    #[error("{received} of {expected} bytes arrived")]
    Short {
        /// Bytes that arrived.
        received: u64,
        /// Bytes announced by the host.
        expected: u64,
    },
    /// No byte arrived within the read timeout.
    #[error("nothing arrived for {} after {received} bytes", humantime::format_duration(*after))]
    Silent {
        /// Read timeout.
        after: Duration,
        /// Bytes that had arrived before.
        received: u64,
    },
    /// The response is complete, but the disk in it is truncated.
    #[error("the stream ended after {received} bytes, at {reached} of {capacity} of the disk")]
    Incomplete {
        /// Bytes that arrived.
        received: u64,
        /// Position in the disk that was reached.
        reached: ByteSize,
        /// Size of the disk.
        capacity: ByteSize,
    },
    /// The stream is not a valid streamOptimized VMDK.
    #[error("downloaded data is no valid disk")]
    Stream(#[source] InvalidStream),
    /// The stream cannot be converted to an image.
    #[error("converting the downloaded data")]
    Image(#[source] image::Error),
    /// The number of bytes differs from the server's manifest.
    #[error("{received} bytes arrived, the server counted {sent}")]
    Size {
        /// Bytes that arrived.
        received: u64,
        /// Bytes in the server's manifest.
        sent: u64,
    },
    /// The checksum differs from the server's manifest.
    #[error("checksum is {received}, the server computed {sent}")]
    Sum {
        /// Checksum of the received bytes, in hexadecimal.
        received: String,
        /// Checksum in the server's manifest, in hexadecimal.
        sent: String,
    },
    /// Writing the file failed.
    #[error("{action} the disk's file")]
    File {
        /// The action, as a gerund: `writing`.
        action: &'static str,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The run was cancelled.
    #[error("interrupted")]
    Cancelled,
}

impl Broken {
    /// Error: the stream of a disk of `capacity` bytes ended early.
    fn early(received: u64, reached: u64, capacity: u64) -> Self {
        Self::Incomplete { received, reached: ByteSize(reached), capacity: ByteSize(capacity) }
    }

    /// Number of attempts that this error justifies. A network error is retried often; data that
    /// repeatedly arrives wrong is wrong at its source.
    pub(super) fn attempts(&self, retry: &Retry) -> u32 {
        match self {
            Self::Status(status) if *status >= 500 => retry.attempts,
            Self::Connection { .. }
            | Self::Short { .. }
            | Self::Silent { .. }
            | Self::Incomplete { .. } => retry.attempts,
            Self::Image(image::Error::GrainSize(_)) => 1,
            Self::Stream(_) | Self::Image(_) | Self::Size { .. } | Self::Sum { .. } => {
                retry.attempts.min(WRONG_DATA_ATTEMPTS)
            }
            _ => 1,
        }
    }
}

impl Hint for Broken {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Refused(error) => return error.hint(),
            Self::Connection { source, .. } if source.is_connect() => {
                "check whether the name of the ESXi host resolves here and its port 443 is reachable: \
                 disks come from that host; or pass its address with --host-map NAME=ADDRESS"
                    .to_owned()
            }
            Self::File { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space, or use another --output".to_owned()
            }
            Self::Image(image::Error::GrainSize(_)) => {
                "pass --stream-convert=false: qemu-img may read the disk".to_owned()
            }
            Self::Size { .. } | Self::Sum { .. } | Self::Stream(_) => {
                "run the same command again; if it fails again, check the host's storage and network".to_owned()
            }
            _ => return None,
        })
    }
}

/// Progress of one disk, written by its sink and read by the reporter.
#[derive(Debug, Default)]
pub(super) struct Meter {
    moved: AtomicU64,
    position: AtomicU64,
}

impl Meter {
    /// All bytes received so far, including those of failed attempts.
    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Position in the disk that the current attempt has reached, in bytes.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Sets the progress of a finished disk.
    pub(super) fn finish(&self, capacity: u64) {
        self.advance(0, capacity);
    }

    fn advance(&self, received: u64, position: u64) {
        self.moved.fetch_add(received, Ordering::Relaxed);
        self.position.store(position, Ordering::Relaxed);
    }
}
