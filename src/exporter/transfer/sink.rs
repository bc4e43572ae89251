//! Writes, hashes and checks the incoming chunks, on a thread of its own, in one pass.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use sha1::Digest;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::bytes::Bytes;

use super::rewrite::rewrite;
use super::stream_sums::{StreamSums, hex};
use super::{Broken, Meter};
use crate::budget::{Going, is_stop};
use crate::digest;
use crate::exporter::Rewrite;
use crate::exporter::content::content_of;
use crate::image::DirectFile;
use crate::image::content::HashedStream;
use crate::image::vmdk::StreamEnd;
use crate::model::{DiskFormat, ReceivedStream, Sha256Digest};

/// Queued chunks between the network and the thread. Each has at most some 400 KiB.
const UNDER_WAY: usize = 2;

/// A stream that was completely written and synced.
#[derive(Debug, Clone)]
pub(in crate::exporter) struct WrittenStream {
    /// Length of the stream in bytes.
    pub(in crate::exporter) bytes: u64,
    /// SHA-256 checksum of the stream.
    pub(in crate::exporter) sha256: Sha256Digest,
    /// SHA-1 checksum of the stream in lower-case hexadecimal, which older servers compute, if
    /// requested.
    pub(in crate::exporter) sha1: Option<String>,
    /// Length of the file in bytes.
    pub(in crate::exporter) file_size: u64,
    /// SHA-256 checksum of the file.
    pub(in crate::exporter) file_sha256: Sha256Digest,
    /// Hash of the disk's content.
    pub(in crate::exporter) content: Option<Sha256Digest>,
    /// The stream that the file was converted from; `None` if the file is the stream itself.
    pub(in crate::exporter) received: Option<ReceivedStream>,
}

/// Parameters of a stream that will be received.
#[derive(Debug, Clone, Copy)]
pub(in crate::exporter) struct ExpectedStream {
    /// Size of the disk in bytes.
    pub(in crate::exporter) capacity: u64,
    /// Whether to compute the SHA-1 checksum, too.
    pub(in crate::exporter) sha1: bool,
    /// Conversion of the stream; `None` keeps the stream as it is.
    pub(in crate::exporter) rewrite: Option<Rewrite>,
}

/// Consumer of chunks: a thread that returns a `T` at the end.
pub(in crate::exporter) struct Sink<T> {
    chunks: mpsc::Sender<Bytes>,
    thread: JoinHandle<Result<T, Broken>>,
}

/// The thread stopped early; [`Sink::finish`] returns the reason.
pub(in crate::exporter) struct SinkStopped;

impl Sink<WrittenStream> {
    /// A sink that writes the stream of a disk into `file`, which is empty.
    pub(super) fn of_stream(
        file: File,
        wanted: ExpectedStream,
        meter: Arc<Meter>,
        going: Going,
    ) -> Self {
        Self::start(move |chunks| match wanted.rewrite {
            Some(Rewrite { compression, .. }) => rewrite(file, wanted, compression, &meter, chunks),
            None => write(file, wanted, &meter, &going, chunks),
        })
    }
}

impl<T: Send + 'static> Sink<T> {
    /// A sink whose chunks `work` processes, which may block.
    pub(super) fn start(
        work: impl FnOnce(mpsc::Receiver<Bytes>) -> Result<T, Broken> + Send + 'static,
    ) -> Self {
        let (chunks, received) = mpsc::channel(UNDER_WAY);
        Self { chunks, thread: tokio::task::spawn_blocking(move || work(received)) }
    }

    /// Passes a chunk to the thread; waits while the thread is behind.
    pub(in crate::exporter) async fn push(&self, chunk: Bytes) -> Result<(), SinkStopped> {
        self.chunks.send(chunk).await.map_err(|_| SinkStopped)
    }

    /// Waits until all chunks are written, or the stream is found invalid.
    pub(in crate::exporter) async fn finish(self) -> Result<T, Broken> {
        drop(self.chunks);
        self.thread.await.unwrap_or_else(|error| {
            Err(Broken::File { action: "writing", source: std::io::Error::other(error) })
        })
    }
}

fn write(
    file: File,
    ExpectedStream { capacity, sha1, .. }: ExpectedStream,
    meter: &Meter,
    going: &Going,
    mut chunks: mpsc::Receiver<Bytes>,
) -> Result<WrittenStream, Broken> {
    let failed = |action| {
        move |source: io::Error| match is_stop(&source) {
            true => Broken::Cancelled,
            false => Broken::File { action, source },
        }
    };
    let mut check = HashedStream::new(capacity);
    let mut sums = StreamSums::new(sha1);
    let mut out = DirectFile::new(file);
    let mut bytes = 0;
    while let Some(chunk) = chunks.blocking_recv() {
        check.push(&chunk).map_err(Broken::Stream)?;
        sums.update(&chunk);
        out.write_all(&chunk).map_err(failed("writing"))?;
        bytes += chunk.len() as u64;
        meter.advance(chunk.len() as u64, check.reached());
    }
    let file = out.finish().map_err(failed("writing"))?;
    let reached = check.reached();
    let end = check.finish(|buffer, offset| {
        going.check()?;
        file.read_exact_at(buffer, offset)
    });
    let (end, content) = end.map_err(|invalid| match is_stop(&invalid) {
        true => Broken::Cancelled,
        false => Broken::Stream(invalid),
    })?;
    if end == StreamEnd::Early {
        return Err(Broken::early(bytes, reached, capacity));
    }
    file.sync_all().map_err(failed("syncing"))?;
    // If grains are out of order, only the tables give the content.
    let content = match content {
        None => content_of(&file, DiskFormat::Vmdk, going).map_err(failed("reading"))?,
        content => content,
    };
    let (sha256, sha1) = sums.finish();
    let (file_size, file_sha256) = (bytes, sha256);
    Ok(WrittenStream { bytes, sha256, sha1, file_size, file_sha256, content, received: None })
}

/// SHA-1 checksum of a written file, in lower-case hexadecimal. Blocks.
pub(in crate::exporter) fn sha1_of(file: File) -> io::Result<String> {
    let mut sum = sha1::Sha1::new();
    digest::each_block(file, |block, _| {
        sum.update(block);
        Ok(())
    })?;
    Ok(hex(&sum.finalize()))
}
