//! Converts a stream to a qcow2 image while it arrives, so that no VMDK is ever written.

use std::fs::File;

use tokio::sync::mpsc;
use tokio_util::bytes::Bytes;

use super::sink::{ExpectedStream, WrittenStream};
use super::stream_sums::StreamSums;
use super::{Broken, Meter};
use crate::exporter::rewriting::Rewriting;
use crate::image::{self, Compression};
use crate::model::{ByteSize, DiskFormat, ReceivedStream};

/// Converts the incoming stream into `file`, which is empty.
pub(super) fn rewrite(
    file: File,
    wanted: ExpectedStream,
    compression: Option<Compression>,
    meter: &Meter,
    mut chunks: mpsc::Receiver<Bytes>,
) -> Result<WrittenStream, Broken> {
    let failed = |source| Broken::File { action: "creating", source };
    let front = tempfile::tempfile().map_err(failed)?;
    let mut rewriting = Rewriting::of_vmdk(file, front, wanted.capacity, compression);
    let mut sums = StreamSums::new(wanted.sha1);
    let mut bytes = 0;
    while let Some(chunk) = chunks.blocking_recv() {
        bytes += chunk.len() as u64;
        rewriting.push(&chunk).map_err(|error| broken(error, bytes))?;
        sums.update(&chunk);
        meter.advance(chunk.len() as u64, rewriting.reached());
    }
    let written = rewriting.finish().map_err(|error| broken(error, bytes))?;
    let (sha256, sha1) = sums.finish();
    Ok(WrittenStream {
        bytes,
        sha256,
        sha1,
        file_size: written.bytes,
        file_sha256: written.sha256,
        content: written.content,
        received: Some(ReceivedStream { format: DiskFormat::Vmdk, bytes: ByteSize(bytes), sha256 }),
    })
}

fn broken(error: image::Error, received: u64) -> Broken {
    match error {
        image::Error::Stream(invalid) => Broken::Stream(invalid),
        image::Error::Early { reached, capacity } => Broken::early(received, reached, capacity),
        image::Error::Write(source) => Broken::File { action: "writing", source },
        other => Broken::Image(other),
    }
}
