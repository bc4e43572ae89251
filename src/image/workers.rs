//! Threads between a stream and its new image.
//!
//! ```text
//! push ─▶ grains ─▶ worker … worker ─▶ clusters ─▶ writer ─▶ content ─▶ hash
//! ```
//!
//! Batches are numbered, and the writer processes them in order: the same stream yields the same
//! image. All queues are short, so that a slow disk slows down the stream instead of filling
//! memory.

use std::collections::BTreeMap;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::batches::{Clusters, Grains, Plain};
use super::codec::{Compressor, Inflater, is_zero};
use super::content::ContentHasher;
use super::rewrite::NewImage;
use super::{CLUSTER, Compression, Error, vmdk};
use crate::model::Sha256Digest;

/// Most worker threads; more would only wait for the writer.
const MOST_WORKERS: usize = 8;

type Numbered<T> = (u64, T);

/// Encoding of the grains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkForm {
    /// The zlib streams (RFC 1950) of a streamOptimized VMDK.
    Deflated,
    /// Uncompressed bytes of the disk.
    Flat,
}

/// Input and output of the threads.
#[derive(Debug, Clone, Copy)]
pub(super) struct WorkKind {
    /// Bytes of a grain.
    pub(super) grain: usize,
    pub(super) form: WorkForm,
    pub(super) compression: Option<Compression>,
    /// Whether the content is hashed, too.
    pub(super) hashes: bool,
}

/// The threads of one conversion.
#[derive(Debug)]
pub(super) struct Workers {
    grains: Sender<Numbered<Grains>>,
    next: u64,
    writer: JoinHandle<Result<NewImage, Error>>,
    hash: JoinHandle<Hashed>,
}

/// A thread stopped early; [`Workers::finish`] returns the cause.
pub(super) struct WorkerStopped;

impl Workers {
    /// Starts the threads for a disk of `capacity` bytes.
    pub fn start(
        image: NewImage,
        capacity: u64,
        WorkKind { grain, form, compression, hashes }: WorkKind,
    ) -> Result<Self, Error> {
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS);
        let (grains, todo) = bounded(count);
        let (done, clusters) = bounded(count);
        let keeps = image.keeps();
        for _ in 0..count {
            let worker = Worker {
                inflater: (form == WorkForm::Deflated).then(Inflater::new),
                compressor: compression.map(Compressor::new).transpose()?,
                grain: vec![0; grain],
                scratch: vec![0; CLUSTER],
                capacity,
                keeps,
                hashes,
            };
            let (todo, done) = (todo.clone(), done.clone());
            std::thread::spawn(move || worker.run(&todo, &done));
        }
        let (to_hash, plain) = bounded(count);
        let writer = std::thread::spawn(move || write(image, &clusters, &to_hash));
        let hash = std::thread::spawn(move || hash(&plain, hashes));
        Ok(Self { grains, next: 0, writer, hash })
    }

    /// Starts the threads only to hash the content.
    pub fn of_hash(capacity: u64, grain: usize, form: WorkForm) -> Result<Self, Error> {
        let kind = WorkKind { grain, form, compression: None, hashes: true };
        Self::start(NewImage::none(), capacity, kind)
    }

    /// Passes a batch on; blocks while the threads lag behind.
    pub fn push(&mut self, grains: Grains) -> Result<(), WorkerStopped> {
        let number = self.next;
        self.next += 1;
        self.grains.send((number, grains)).map_err(|_| WorkerStopped)
    }

    /// Waits until all grains are written. Image and hash are not completed yet.
    pub fn finish(self) -> Result<(NewImage, Hashed), Error> {
        drop(self.grains);
        let ended = |_| Error::Write(std::io::Error::other("a thread of the conversion ended"));
        let image = self.writer.join().map_err(ended)??;
        Ok((image, self.hash.join().map_err(ended)?))
    }
}

/// Hash of a disk up to its last data.
#[derive(Debug, Default)]
pub(super) struct Hashed(Option<ContentHasher>);

impl Hashed {
    /// Hash of a disk of `size` bytes; `None` if it was not requested, or the stream was not in
    /// ascending order.
    pub fn finish(self, size: u64) -> Option<Sha256Digest> {
        let mut content = self.0?;
        content.zeros(size.checked_sub(content.position())?);
        content.finish()
    }

    fn add(&mut self, plain: &Plain) {
        for (offset, range) in &plain.pieces {
            let Some(content) = &mut self.0 else { return };
            match offset.checked_sub(content.position()) {
                Some(hole) => {
                    content.zeros(hole);
                    content.data(&plain.data[range.clone()]);
                }
                None => self.0 = None,
            }
        }
    }
}

struct Worker {
    /// `None` for uncompressed grains.
    inflater: Option<Inflater>,
    compressor: Option<Compressor>,
    grain: Vec<u8>,
    /// Buffer for a compressed cluster.
    scratch: Vec<u8>,
    capacity: u64,
    /// Whether an image is written.
    keeps: bool,
    /// Whether the content is hashed.
    hashes: bool,
}

impl Worker {
    fn run(
        mut self,
        todo: &Receiver<Numbered<Grains>>,
        done: &Sender<Numbered<Result<Clusters, Error>>>,
    ) {
        for (number, grains) in todo {
            let clusters = self.batch(&grains);
            // The receiver is gone after an error in another thread.
            if done.send((number, clusters)).is_err() {
                return;
            }
        }
    }

    fn batch(&mut self, grains: &Grains) -> Result<Clusters, Error> {
        let mut clusters = Clusters::default();
        for (sector, range) in &grains.grains {
            let offset = sector * vmdk::SECTOR;
            self.unpack(offset, &grains.data[range.clone()])?;
            // Data that the source's deflate could not compress, with its larger window, is not
            // tried again: the attempt takes longer than all other steps.
            let compressible = self.inflater.is_none() || range.len() < self.grain.len();
            let first = offset / CLUSTER as u64;
            for (index, content) in self.grain.chunks(CLUSTER).enumerate() {
                let number = first + index as u64;
                let at = number * CLUSTER as u64;
                if at >= self.capacity || is_zero(content) {
                    continue;
                }
                if self.hashes {
                    // Missing bytes of an uncompressed grain are not part of the disk.
                    let there = match self.inflater {
                        Some(_) => self.capacity - at,
                        None => range.len() as u64,
                    };
                    let length = there.min(content.len() as u64) as usize;
                    clusters.plain.add(at, &content[..length]);
                }
                if !self.keeps {
                    continue;
                }
                let begin = clusters.data.len();
                let compressed = match &mut self.compressor {
                    Some(compressor) if compressible => {
                        compressor.append(content, &mut self.scratch, &mut clusters.data)?
                    }
                    _ => false,
                };
                if !compressed {
                    clusters.data.extend_from_slice(content);
                }
                clusters.clusters.push((number, begin..clusters.data.len(), compressed));
            }
            clusters.reached = (offset + self.grain.len() as u64).min(self.capacity);
        }
        Ok(clusters)
    }

    /// Decompresses the grain at `offset`. The disk's last grain may be short.
    fn unpack(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let Some(inflater) = &mut self.inflater else {
            let (content, rest) = self.grain.split_at_mut(data.len());
            content.copy_from_slice(data);
            rest.fill(0);
            return Ok(());
        };
        let needed = (self.capacity - offset).min(self.grain.len() as u64) as usize;
        let length = inflater.inflate(data, &mut self.grain).unwrap_or(0);
        if length < needed {
            return Err(Error::Grain { offset });
        }
        self.grain[needed..].fill(0);
        Ok(())
    }
}

fn write(
    mut image: NewImage,
    clusters: &Receiver<Numbered<Result<Clusters, Error>>>,
    to_hash: &Sender<Plain>,
) -> Result<NewImage, Error> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    for (number, batch) in clusters {
        early.insert(number, batch?);
        while let Some(batch) = early.remove(&next) {
            image.write(&batch)?;
            // The hash thread receives until the end.
            to_hash.send(batch.plain).ok();
            next += 1;
        }
    }
    Ok(image)
}

fn hash(plain: &Receiver<Plain>, hashes: bool) -> Hashed {
    let mut hashed = Hashed(hashes.then(ContentHasher::default));
    plain.iter().for_each(|plain| hashed.add(&plain));
    hashed
}
