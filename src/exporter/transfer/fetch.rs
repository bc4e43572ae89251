//! Reads one response of an NFC host into a sink. The transfer has no total time limit, only a read
//! timeout: a disk may take hours, but bytes must always arrive.

use std::fs::File;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use url::Url;

use super::sink::{ExpectedStream, Sink, WrittenStream};
use super::{Broken, Meter};
use crate::budget::Going;
use crate::exporter::BandwidthLimit;
use crate::exporter::tls::Client;

/// The stream of a disk.
#[derive(Debug, Clone)]
pub(in crate::exporter) struct StreamSource {
    /// A client that trusts this host.
    pub(in crate::exporter) client: Client,
    /// URL of the stream. It contains a ticket that replaces a login, so it is never shown.
    pub(in crate::exporter) url: Url,
    /// Maximum time without a received byte.
    pub(in crate::exporter) read_timeout: Duration,
    /// Bandwidth limit.
    pub(in crate::exporter) limit: BandwidthLimit,
}

/// Downloads a disk into the empty `file`.
///
/// # Errors
/// [`Broken`], after which the content of the file is invalid and nothing writes to it any more.
pub(in crate::exporter) async fn fetch(
    source: &StreamSource,
    file: File,
    wanted: ExpectedStream,
    meter: &Arc<Meter>,
    cancel: &CancellationToken,
) -> Result<WrittenStream, Broken> {
    let waiting = Waiting { source, cancel };
    let request = source.client.http().get(source.url.clone()).send();
    let mut response = waiting.wait(request, 0, None).await?;
    let status = response.status().as_u16();
    if status != 200 {
        return Err(Broken::Status(status));
    }
    let expected = response.content_length();
    let sink = Sink::of_stream(file, wanted, meter.clone(), Going::from(cancel));
    let mut received = 0;
    let broken = loop {
        match waiting.wait(response.chunk(), received, expected).await {
            Ok(Some(chunk)) => {
                received += chunk.len() as u64;
                tokio::select! {
                    () = cancel.cancelled() => break Some(Broken::Cancelled),
                    () = source.limit.take(chunk.len() as u64) => {}
                }
                if sink.push(chunk).await.is_err() {
                    break None;
                }
            }
            Ok(None) => break None,
            Err(broken) => break Some(broken),
        }
    };
    // In any case, wait until the thread has finished with the file.
    let written = sink.finish().await;
    broken.map_or(written, Err)
}

/// Limits of waiting for the host.
struct Waiting<'a> {
    source: &'a StreamSource,
    cancel: &'a CancellationToken,
}

impl Waiting<'_> {
    async fn wait<T>(
        &self,
        work: impl Future<Output = Result<T, reqwest::Error>>,
        received: u64,
        expected: Option<u64>,
    ) -> Result<T, Broken> {
        let after = self.source.read_timeout;
        let result = tokio::select! {
            () = self.cancel.cancelled() => return Err(Broken::Cancelled),
            result = tokio::time::timeout(after, work) => result,
        };
        let error = match result {
            Err(_) => return Err(Broken::Silent { after, received }),
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
        };
        let host = self.source.url.host_str().unwrap_or_default();
        Err(match (self.source.client.refusal(host), expected) {
            (Some(refusal), _) if error.is_connect() => Broken::Refused(Box::new(refusal)),
            (_, Some(expected)) => Broken::Short { received, expected },
            _ => Broken::Connection { received, source: error.without_url() },
        })
    }
}
