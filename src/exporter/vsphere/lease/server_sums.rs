//! Compares a downloaded disk with the server's manifest while the lease is active, so that a disk
//! that differs is downloaded again alone.

use std::fs::File;
use std::time::Duration;

use super::{Lease, SentFile, ServerAlgorithm};
use crate::exporter::Error;
use crate::exporter::blocking::blocking_io;
use crate::exporter::transfer::{Broken, PartFile, WrittenStream, sha1_of};

/// Time that a host may need to add a sent file to its manifest.
const ENTRY_DELAY: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::exporter::vsphere) enum Verdict {
    /// The checksum equals the server's.
    Same,
    /// Size or checksum differ from the server's.
    Different(TransferDifference),
    /// The server provides no checksum: the reason.
    Unknown(String),
}

/// Difference between a received disk and the server's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::exporter::vsphere) enum TransferDifference {
    /// The number of bytes in the server's manifest.
    Size(u64),
    /// The checksum of the received bytes, and the checksum in the server's manifest.
    Sum(String, String),
}

/// Requests the server's checksum of the file `key`, and compares it.
///
/// # Errors
/// Errors of the lease, the connection or the server.
pub(in crate::exporter::vsphere) async fn verify(
    lease: &Lease,
    key: &str,
    written: &WrittenStream,
    part: &PartFile,
) -> Result<Verdict, Error> {
    let mut last = false;
    loop {
        let sent = match lease.sent().await? {
            Ok(sent) => sent,
            Err(fault) => return Ok(Verdict::Unknown(fault.to_string())),
        };
        match sent.iter().find(|file| file.key == key).filter(|file| file.sum.is_some()) {
            Some(told) => {
                let mut written = written.clone();
                // The server announced SHA-256, but computed SHA-1.
                if matches!(told.sum, Some((ServerAlgorithm::Sha1, _))) && written.sha1.is_none() {
                    if written.received.is_some() {
                        let why = "the server computed SHA-1 only, although it had announced \
                            SHA-256";
                        return Ok(Verdict::Unknown(why.to_owned()));
                    }
                    written.sha1 = Some(sha1(part).await?);
                }
                return Ok(compare(told, &written));
            }
            None if last => {
                return Ok(Verdict::Unknown(
                    "the manifest of the server has no checksum of it".to_owned(),
                ));
            }
            None => tokio::time::sleep(ENTRY_DELAY).await,
        }
        last = true;
    }
}

/// Computes the SHA-1 checksum of the written file.
async fn sha1(part: &PartFile) -> Result<String, Error> {
    let path = part.path().to_owned();
    let work = move || File::open(path).and_then(sha1_of);
    blocking_io(work).await.map_err(|source| Error::File {
        action: "reading",
        path: part.path().to_owned(),
        source,
    })
}

fn compare(sent: &SentFile, written: &WrittenStream) -> Verdict {
    if let Some(size) = sent.size.filter(|size| *size != written.bytes) {
        return Verdict::Different(TransferDifference::Size(size));
    }
    let Some((algorithm, sum)) = &sent.sum else {
        return Verdict::Unknown("the manifest of the server has no checksum of it".to_owned());
    };
    let received = match algorithm {
        ServerAlgorithm::Sha1 => written.sha1.clone().unwrap_or_default(),
        ServerAlgorithm::Sha256 => written.sha256.to_string(),
    };
    if received == *sum {
        Verdict::Same
    } else {
        Verdict::Different(TransferDifference::Sum(received, sum.clone()))
    }
}

impl TransferDifference {
    /// Converts to the reason why the download of `written` failed.
    pub(in crate::exporter::vsphere) fn broken(self, written: &WrittenStream) -> Broken {
        match self {
            Self::Size(sent) => Broken::Size { received: written.bytes, sent },
            Self::Sum(received, sent) => Broken::Sum { received, sent },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sha256Digest;

    fn written() -> WrittenStream {
        WrittenStream {
            bytes: 10,
            sha256: Sha256Digest([0x11; 32]),
            sha1: Some("aa".repeat(20)),
            file_size: 10,
            file_sha256: Sha256Digest([0x11; 32]),
            content: None,
            received: None,
        }
    }

    fn sent(size: Option<u64>, sum: Option<(ServerAlgorithm, String)>) -> SentFile {
        SentFile { key: "k".into(), size, sum }
    }

    #[test]
    fn size_and_either_sum_count() {
        let (sha1, sha256) = ("aa".repeat(20), "11".repeat(32));
        for (size, sum) in [
            (Some(10), (ServerAlgorithm::Sha1, sha1.clone())),
            (None, (ServerAlgorithm::Sha256, sha256)),
        ] {
            assert_eq!(compare(&sent(size, Some(sum)), &written()), Verdict::Same);
        }
        let longer = sent(Some(11), Some((ServerAlgorithm::Sha1, sha1.clone())));
        assert_eq!(compare(&longer, &written()), Verdict::Different(TransferDifference::Size(11)));
        let other = sent(Some(10), Some((ServerAlgorithm::Sha1, "bb".repeat(20))));
        let difference = TransferDifference::Sum(sha1, "bb".repeat(20));
        assert_eq!(compare(&other, &written()), Verdict::Different(difference));
    }
}
