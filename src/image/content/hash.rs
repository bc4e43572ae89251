//! Hashes a finished image on all cores.
//!
//! Each thread hashes every n-th stretch of the disk. The block hashes pass through a short queue
//! per thread, so that no thread runs far ahead.

use std::fs::File;
use std::io;
use std::path::Path;

use crossbeam_channel::{Receiver, bounded};

use super::blocks::{BLOCK, Block, Blocks};
use super::disk::ImageReader;
use crate::budget::Going;
use crate::image::{Split, is_single_vmdk};
use crate::model::{DiskFormat, Sha256Digest};

/// Blocks in a stretch.
const STRETCH: u64 = 8;
/// Most threads; more would only wait for the storage.
const MOST_THREADS: usize = 8;
/// Most finished stretches that a thread may queue.
const AHEAD: usize = 4;
/// Bytes read at once.
const PIECE: u64 = 1 << 20;

/// Callback for each block in order: number and hash. An error ends the work.
pub type Each<'a> = &'a mut dyn FnMut(u64, &Sha256Digest) -> io::Result<()>;

type Hashes = io::Result<Vec<Sha256Digest>>;

/// Hash of the content of an image that names no other file; `None` if it uses an unsupported
/// feature of its format. Blocks.
///
/// # Errors
/// If the image cannot be read or is damaged, `going` is cancelled, or `each` fails.
pub fn hash_image(
    file: &File,
    format: DiskFormat,
    going: &Going,
    each: Each<'_>,
) -> io::Result<Option<Sha256Digest>> {
    let disk = ImageReader::open(file, format, going)?;
    disk.map(|disk| hash_disk(disk, each)).transpose()
}

/// As [`hash_image`], for a path, which may be a VMDK of several files. [`inspect`] must have
/// accepted the image.
///
/// # Errors
/// As [`hash_image`].
///
/// [`inspect`]: crate::image::inspect()
pub fn hash_image_at(
    path: &Path,
    format: DiskFormat,
    going: &Going,
    each: Each<'_>,
) -> io::Result<Option<Sha256Digest>> {
    if format != DiskFormat::Vmdk || is_single_vmdk(path)? {
        return hash_image(&File::open(path)?, format, going, each);
    }
    let disk = ImageReader::of_split(Split::open(path)?, going);
    disk.map(|disk| hash_disk(disk, each)).transpose()
}

fn hash_disk(disk: ImageReader, each: Each<'_>) -> io::Result<Sha256Digest> {
    let stretches = disk.size.div_ceil(BLOCK * STRETCH);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (threads.min(MOST_THREADS) as u64).min(stretches).max(1);
    let mut disks = vec![disk];
    while (disks.len() as u64) < threads {
        disks.push(disks[0].again()?);
    }
    std::thread::scope(|scope| {
        let mut queues: Vec<Receiver<Hashes>> = Vec::new();
        for (first, mut disk) in (0..).zip(disks) {
            let (done, queue) = bounded(AHEAD);
            queues.push(queue);
            scope.spawn(move || {
                let mut buffer = vec![0; PIECE as usize];
                for stretch in (first..stretches).step_by(threads as usize) {
                    let hashes = hash_stretch(&mut disk, stretch, &mut buffer);
                    let failed = hashes.is_err();
                    // The receiver is gone after an error.
                    if done.send(hashes).is_err() || failed {
                        return;
                    }
                }
            });
        }
        collect(&queues, stretches, each)
    })
}

fn collect(
    queues: &[Receiver<Hashes>],
    stretches: u64,
    each: Each<'_>,
) -> io::Result<Sha256Digest> {
    let (mut blocks, mut number) = (Blocks::default(), 0);
    for stretch in 0..stretches {
        let queue = &queues[(stretch % queues.len() as u64) as usize];
        let hashes = queue.recv().map_err(|_| io::Error::other("a thread broke off"))?;
        for hash in hashes? {
            each(number, &hash)?;
            blocks.add(&hash);
            number += 1;
        }
    }
    Ok(blocks.finish())
}

fn hash_stretch(disk: &mut ImageReader, stretch: u64, buffer: &mut [u8]) -> Hashes {
    let first = stretch * STRETCH;
    let last = (first + STRETCH).min(disk.size.div_ceil(BLOCK));
    (first..last).map(|number| hash_one(disk, number, buffer)).collect()
}

fn hash_one(disk: &mut ImageReader, number: u64, buffer: &mut [u8]) -> io::Result<Sha256Digest> {
    disk.check()?;
    let (mut at, end) = (number * BLOCK, ((number + 1) * BLOCK).min(disk.size));
    let mut block = Block::default();
    while let Some(data) = disk.next_data(at, end)? {
        block.zeros(data - at);
        // Aligned, so that each unit is read in one piece.
        let until = ((data / PIECE + 1) * PIECE).min(end);
        let piece = &mut buffer[..(until - data) as usize];
        disk.read(data, piece)?;
        block.data(piece);
        at = until;
    }
    block.zeros(end - at);
    Ok(block.finish())
}

/// Hashes of some blocks of an image, with their numbers. Blocks.
///
/// # Errors
/// As [`hash_image`]; also if the format or a feature is unsupported.
pub fn hash_blocks(
    file: &File,
    format: DiskFormat,
    going: &Going,
    numbers: impl IntoIterator<Item = u64>,
) -> io::Result<Vec<(u64, Sha256Digest)>> {
    let disk = ImageReader::open(file, format, going)?;
    let mut disk = disk.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
    let mut buffer = vec![0; PIECE as usize];
    let hashes = numbers
        .into_iter()
        .map(|number| hash_one(&mut disk, number, &mut buffer).map(|hash| (number, hash)));
    hashes.collect()
}
