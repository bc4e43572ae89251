//! One disk from an HTTPS address into a checked file.
//!
//! `fetch` reads the answer under a limit of silence, `sink` writes, hashes and checks on a thread
//! of its own, `image::vmdk` knows what a whole stream looks like, `part` keeps the file unusable
//! until it is proven. Memory stays flat: a few chunks are under way at a time.

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

/// Attempts at a disk that arrives whole but wrong.
const WRONG_DATA_ATTEMPTS: u32 = 3;

/// Why a disk did not arrive whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// The host's certificate was refused.
    #[error(transparent)]
    Refused(Box<Error>),
    /// The host answered with something else than the disk.
    #[error("host answered HTTP {0}")]
    Status(u16),
    /// The host could not be reached, or broke the connection.
    #[error("connection failed after {received} bytes")]
    Connection {
        /// Bytes that had arrived.
        received: u64,
        /// What the HTTP client said.
        source: reqwest::Error,
    },
    /// The connection ended before the length it had announced.
    #[error("{received} of {expected} bytes arrived")]
    Short {
        /// Bytes that arrived.
        received: u64,
        /// Bytes announced.
        expected: u64,
    },
    /// Nothing arrived for too long.
    #[error("nothing arrived for {} after {received} bytes", humantime::format_duration(*after))]
    Silent {
        /// The limit.
        after: Duration,
        /// Bytes that had arrived.
        received: u64,
    },
    /// The answer ended well, but the disk in it did not.
    #[error("the stream ended after {received} bytes, at {reached} of {capacity} of the disk")]
    Incomplete {
        /// Bytes that arrived.
        received: u64,
        /// How far into the disk they reach.
        reached: ByteSize,
        /// The disk's size.
        capacity: ByteSize,
    },
    /// What arrived is no such disk.
    #[error("downloaded data is no valid disk")]
    Stream(#[source] InvalidStream),
    /// What arrived cannot become an image.
    #[error("converting the downloaded data")]
    Image(#[source] image::Error),
    /// The server counted another number of bytes.
    #[error("{received} bytes arrived, the server counted {sent}")]
    Size {
        /// Bytes here.
        received: u64,
        /// Bytes by the server's manifest.
        sent: u64,
    },
    /// The server computed another sum.
    #[error("checksum is {received}, the server computed {sent}")]
    Sum {
        /// The sum here.
        received: String,
        /// The sum in the server's manifest.
        sent: String,
    },
    /// The file could not be written.
    #[error("{action} the disk's file")]
    File {
        /// What was being done, as a gerund: `writing`.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The run was cancelled.
    #[error("interrupted")]
    Cancelled,
}

impl Broken {
    /// The stream of a disk of `capacity` bytes ended early.
    fn early(received: u64, reached: u64, capacity: u64) -> Self {
        Self::Incomplete { received, reached: ByteSize(reached), capacity: ByteSize(capacity) }
    }

    /// How often the same download is worth an attempt. A link that breaks deserves patience;
    /// data that arrives wrong time and again is wrong at its source.
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

/// How far one disk is. Written by its sink, read by the reporter.
#[derive(Debug, Default)]
pub(super) struct Meter {
    moved: AtomicU64,
    position: AtomicU64,
}

impl Meter {
    /// All bytes received so far, those of broken attempts included.
    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// How far into the disk the current attempt reaches, in bytes.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// The disk is there.
    pub(super) fn finish(&self, capacity: u64) {
        self.advance(0, capacity);
    }

    fn advance(&self, received: u64, position: u64) {
        self.moved.fetch_add(received, Ordering::Relaxed);
        self.position.store(position, Ordering::Relaxed);
    }
}
