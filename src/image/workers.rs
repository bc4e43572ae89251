//! The threads between a stream and its new image.
//!
//! ```text
//! push ─▶ grains ─▶ worker … worker ─▶ clusters ─▶ writer
//! ```
//!
//! Batches carry numbers, and the writer takes them in order: the same stream gives the same
//! image. Both queues are short, so that a slow disk slows the stream and not the memory.

use std::collections::BTreeMap;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::codec::{Compressor, Inflater, is_zero};
use super::pieces::{Clusters, Grains};
use super::rewrite::Image;
use super::{CLUSTER, Compression, Error, vmdk};

/// More threads than this would only wait for the one that writes.
const MOST_WORKERS: usize = 8;

type Numbered<T> = (u64, T);

/// What grains hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The zlib streams (RFC 1950) of a streamOptimized VMDK.
    Deflated,
    /// The bytes of the disk.
    Flat,
}

/// The threads of one rewrite.
#[derive(Debug)]
pub(super) struct Workers {
    grains: Sender<Numbered<Grains>>,
    next: u64,
    writer: JoinHandle<Result<Image, Error>>,
}

/// A thread stopped early; [`Workers::finish`] says why.
pub(super) struct Stopped;

impl Workers {
    /// Starts them for a disk of `capacity` bytes in grains of `grain` bytes.
    pub fn start(
        image: Image,
        capacity: u64,
        (grain, form): (usize, Form),
        compression: Option<Compression>,
    ) -> Result<Self, Error> {
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS);
        let (grains, todo) = bounded(count);
        let (done, clusters) = bounded(count);
        for _ in 0..count {
            let worker = Worker {
                inflater: (form == Form::Deflated).then(Inflater::new),
                compressor: compression.map(Compressor::new).transpose()?,
                grain: vec![0; grain],
                scratch: vec![0; CLUSTER],
                capacity,
            };
            let (todo, done) = (todo.clone(), done.clone());
            std::thread::spawn(move || worker.run(&todo, &done));
        }
        let writer = std::thread::spawn(move || write(image, &clusters));
        Ok(Self { grains, next: 0, writer })
    }

    /// Hands a batch over; waits while the threads are behind.
    pub fn push(&mut self, grains: Grains) -> Result<(), Stopped> {
        let number = self.next;
        self.next += 1;
        self.grains.send((number, grains)).map_err(|_| Stopped)
    }

    /// Waits until all grains are written. The image has no end yet.
    pub fn finish(self) -> Result<Image, Error> {
        drop(self.grains);
        self.writer.join().unwrap_or_else(|_| {
            Err(Error::Write(std::io::Error::other("a thread of the conversion ended")))
        })
    }
}

struct Worker {
    /// None for grains that are no compressed data.
    inflater: Option<Inflater>,
    compressor: Option<Compressor>,
    grain: Vec<u8>,
    /// Room for a compressed cluster.
    scratch: Vec<u8>,
    capacity: u64,
}

impl Worker {
    fn run(
        mut self,
        todo: &Receiver<Numbered<Grains>>,
        done: &Sender<Numbered<Result<Clusters, Error>>>,
    ) {
        for (number, grains) in todo {
            let clusters = self.batch(&grains);
            // Nobody listens after an error of another thread.
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
            // What the source's deflate could not make smaller, with its larger window, ours will
            // not either: trying takes longer than anything else.
            let compressible = self.inflater.is_none() || range.len() < self.grain.len();
            let first = offset / CLUSTER as u64;
            for (index, content) in self.grain.chunks(CLUSTER).enumerate() {
                let number = first + index as u64;
                if number * CLUSTER as u64 >= self.capacity || is_zero(content) {
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

    /// Has the grain at `offset` in memory. The disk's last one may be short.
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
    mut image: Image,
    clusters: &Receiver<Numbered<Result<Clusters, Error>>>,
) -> Result<Image, Error> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    for (number, batch) in clusters {
        early.insert(number, batch?);
        while let Some(batch) = early.remove(&next) {
            image.write(&batch)?;
            next += 1;
        }
    }
    Ok(image)
}
