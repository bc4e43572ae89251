//! Writes and hashes a raw disk as it arrives, on a thread of its own; blocks of zeros become
//! holes.

use std::fs::File;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_util::bytes::Bytes;

use super::Broken;
use super::sink::Sink;
use crate::image::begin_to_write;
use crate::image::content::ContentHasher;
use crate::model::Sha256Digest;
use crate::progress::Task;

/// Block size in bytes of writes; a block of zeros becomes a hole.
const BLOCK: usize = 64 * 1024;

/// Digests of a raw disk that was written and synced.
#[derive(Debug, Clone, Copy)]
pub(in crate::exporter) struct RawSums {
    /// SHA-256 checksum of the file.
    pub(in crate::exporter) file: Sha256Digest,
    /// Hash of the disk's content.
    pub(in crate::exporter) content: Option<Sha256Digest>,
}

impl Sink<RawSums> {
    /// A sink that writes a disk of `capacity` bytes into `file`, which is empty.
    pub(in crate::exporter) fn of_raw(file: File, capacity: u64, task: Task) -> Self {
        Self::start(move |chunks| write(&file, capacity, &task, chunks))
    }
}

fn write(
    file: &File,
    capacity: u64,
    task: &Task,
    mut chunks: mpsc::Receiver<Bytes>,
) -> Result<RawSums, Broken> {
    let failed = |action| move |source| Broken::File { action, source };
    file.set_len(capacity).map_err(failed("resizing"))?;
    let (mut sum, mut content) = (Sha256::new(), ContentHasher::default());
    let (mut block, mut position) = (Vec::with_capacity(BLOCK), 0);
    let place = |block: &mut Vec<u8>, position: &mut u64| {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, *position).map_err(failed("writing"))?;
            begin_to_write(file, *position, block.len());
        }
        *position += block.len() as u64;
        task.at(*position);
        block.clear();
        Ok::<_, Broken>(())
    };
    while let Some(chunk) = chunks.blocking_recv() {
        sum.update(&chunk);
        content.data(&chunk);
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(BLOCK - block.len()));
            block.extend_from_slice(now);
            rest = later;
            if block.len() == BLOCK {
                place(&mut block, &mut position)?;
            }
        }
    }
    place(&mut block, &mut position)?;
    if position != capacity {
        return Err(Broken::Short { received: position, expected: capacity });
    }
    file.sync_all().map_err(failed("syncing"))?;
    Ok(RawSums { file: Sha256Digest(sum.finalize().into()), content: content.finish() })
}
