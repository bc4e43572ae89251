//! A stream that becomes a qcow2 image while it arrives, so that no VMDK is ever written.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::FileExt;

use sha1::Digest;
use tokio::sync::mpsc;
use tokio_util::bytes::Bytes;

use super::sink::{Wanted, Written, hex};
use super::{Broken, Meter};
use crate::image::{self, Compression, Rewriter, Target};
use crate::model::{ByteSize, DiskFormat, ReceivedStream, Sha256Digest};

/// Bytes read at a time.
const BLOCK: usize = 1 << 20;

/// Rewrites what arrives into `file`, which is empty.
pub(super) fn rewrite(
    file: File,
    (wanted, compression): (Wanted, Option<Compression>),
    meter: &Meter,
    mut chunks: mpsc::Receiver<Bytes>,
) -> Result<Written, Broken> {
    let failed = |action| move |source| Broken::File { action, source };
    let mut front = Front::new().map_err(failed("begin"))?;
    let target = Target::Qcow2(compression);
    let mut rewriter = Rewriter::new(file, wanted.capacity, target);
    let (mut sha256, mut sha1) = (sha2::Sha256::new(), wanted.sha1.then(sha1::Sha1::new));
    let mut bytes = 0;
    while let Some(chunk) = chunks.blocking_recv() {
        bytes += chunk.len() as u64;
        rewriter.push(&chunk).map_err(|error| broken(error, bytes))?;
        front.keep(&chunk, rewriter.tables_end()).map_err(failed("write"))?;
        sha256.update(&chunk);
        if let Some(sha1) = &mut sha1 {
            sha1.update(&chunk);
        }
        meter.advance(chunk.len() as u64, rewriter.reached());
    }
    let wrote = rewriter
        .finish(|buffer, offset| front.file.read_exact_at(buffer, offset))
        .map_err(|error| broken(error, bytes))?;
    let mut file = wrote.file;
    file.sync_all().map_err(failed("sync"))?;
    let stream = Sha256Digest(sha256.finalize().into());
    let (file_size, own) = sum(&mut file).map_err(failed("read"))?;
    Ok(Written {
        bytes,
        sha256: stream,
        sha1: sha1.map(|sum| hex(&sum.finalize())),
        file_size,
        file_sha256: own,
        received: Some(ReceivedStream {
            format: DiskFormat::Vmdk,
            bytes: ByteSize(bytes),
            sha256: stream,
        }),
    })
}

fn broken(error: image::Error, received: u64) -> Broken {
    match error {
        image::Error::Stream(invalid) => Broken::Stream(invalid),
        image::Error::Early { reached, capacity } => Broken::early(received, reached, capacity),
        image::Error::Write(source) => Broken::File { action: "write", source },
        other => Broken::Image(other),
    }
}

fn sum(file: &mut File) -> std::io::Result<(u64, Sha256Digest)> {
    file.rewind()?;
    let (mut sum, mut length, mut buffer) = (sha2::Sha256::new(), 0, vec![0; BLOCK]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((length, Sha256Digest(sum.finalize().into()))),
            read => {
                sum.update(&buffer[..read]);
                length += read as u64;
            }
        }
    }
}

/// The beginning of a stream, as far as the tables in front of its grains reach: they are compared
/// with the grains at the end.
struct Front {
    file: File,
    kept: u64,
}

impl Front {
    fn new() -> std::io::Result<Self> {
        Ok(Self { file: tempfile::tempfile()?, kept: 0 })
    }

    /// Keeps a chunk up to `end`, or all of it while nobody knows where the tables end.
    fn keep(&mut self, chunk: &[u8], end: Option<u64>) -> std::io::Result<()> {
        let wanted = end.map_or(u64::MAX, |end| end.saturating_sub(self.kept));
        let length = wanted.min(chunk.len() as u64) as usize;
        self.kept += length as u64;
        self.file.write_all(&chunk[..length])
    }
}
