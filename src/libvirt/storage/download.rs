//! Reads volumes back through libvirt.

use std::io;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use virt::connect::Connect;
use virt::storage_vol::StorageVol;
use virt::stream::Stream;
use virt::sys;

use crate::budget::{Budget, Going};
use crate::image::extents;
use crate::model::Sha256Digest;
use crate::progress::Task;

use super::super::Error;
use super::content::VolumeContent;

/// Bytes read at once; libvirt's packets contain a quarter of a MiB.
const CHUNK: usize = 512 * 1024;

/// The first `length` bytes of a volume; fewer if the volume is shorter.
pub(in crate::libvirt) fn beginning(
    connect: &Connect,
    volume: &StorageVol,
    length: u64,
) -> Result<Vec<u8>, Error> {
    if length == 0 {
        return Ok(Vec::new());
    }
    let call = || Error::call("reading a volume");
    let stream = Stream::new(connect, 0).map_err(call())?;
    volume.download(&stream, 0, length, 0).map_err(call())?;
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while (bytes.len() as u64) < length {
        match stream.recv(&mut buffer).map(usize::try_from) {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(received)) => bytes.extend_from_slice(&buffer[..received.min(buffer.len())]),
            Err(error) => return Err(call()(error)),
        }
    }
    stream.finish().map_err(call())?;
    Ok(bytes)
}

/// Bytes by which a volume may exceed its reported size: pools round sizes up to extents.
const ROUNDING: u64 = 64 << 20;

/// SHA-256 checksum of the first `length` bytes of a volume, 0 for all. Holes are read as zeros.
pub(in crate::libvirt) fn sum(
    connect: &Connect,
    volume: &StorageVol,
    length: u64,
    task: &Task,
    cancel: &CancellationToken,
) -> Result<Sha256Digest, Error> {
    let (mut sum, going) = (RunningSum::default(), Going::from(cancel));
    each(connect, volume, length, cancel, &mut |chunk| {
        match chunk {
            Chunk::Data(bytes) => sum.add(bytes),
            Chunk::Hole(length) => sum.zeros(length, &going).map_err(|_| Error::Cancelled)?,
        }
        task.at(sum.length);
        Ok(())
    })?;
    Ok(sum.finish())
}

/// Next part of a volume.
#[derive(Debug)]
pub enum Chunk<'a> {
    /// Bytes of data.
    Data(&'a [u8]),
    /// A hole of that many bytes, which read as zeros.
    Hole(u64),
}

/// Reads the first `length` bytes of a volume in order; 0 for all.
pub(in crate::libvirt) fn each(
    connect: &Connect,
    volume: &StorageVol,
    length: u64,
    cancel: &CancellationToken,
    visit: &mut dyn FnMut(Chunk<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let call = || Error::call("reading a volume");
    let stream = Stream::new(connect, 0).map_err(call())?;
    let sparse = sys::VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM;
    volume.download(&stream, 0, length, sparse).map_err(call())?;
    let mut buffer = vec![0; CHUNK];
    let most = longest(volume);
    let mut budget = Budget::new(most, "bytes, which is all that its host says it holds");
    loop {
        let end = match cancel.is_cancelled() {
            true => Err(Error::Cancelled),
            false => match receive(&stream, &mut buffer).map_err(call())? {
                Received::Data(0) => break,
                Received::Data(length) => draw(&mut budget, volume, length as u64)
                    .and_then(|()| visit(Chunk::Data(&buffer[..length]))),
                Received::Hole(length) => {
                    draw(&mut budget, volume, length).and_then(|()| visit(Chunk::Hole(length)))
                }
            },
        };
        if let Err(error) = end {
            stream.abort().map_err(call())?;
            return Err(error);
        }
    }
    stream.finish().map_err(call())
}

/// Upper limit for the bytes of a volume: its size for the guest, or the length of its image if
/// that is larger. A hole costs its sender nothing, while this program writes and hashes its zeros.
fn longest(volume: &StorageVol) -> u64 {
    let known = volume.info().map(|info| info.capacity.max(info.allocation));
    let mut info = sys::virStorageVolInfo { type_: 0, capacity: 0, allocation: 0 };
    let physical = sys::VIR_STORAGE_VOL_GET_PHYSICAL;
    // SAFETY: the volume is alive, and `info` outlives the call.
    let result =
        unsafe { sys::virStorageVolGetInfoFlags(volume.as_ptr(), &raw mut info, physical) };
    match known {
        Ok(known) if result == 0 => known.max(info.allocation).saturating_add(ROUNDING),
        // libvirt before 3.0 does not report the length of an image.
        _ => u64::MAX,
    }
}

fn draw(budget: &mut Budget, volume: &StorageVol, bytes: u64) -> Result<(), Error> {
    budget.draw(bytes).map_err(|exhausted| Error::NotTaken {
        name: volume.path().unwrap_or_default(),
        reason: exhausted.to_string(),
    })
}

/// SHA-256 checksum of the content that goes into a volume.
pub(in crate::libvirt) fn sum_of(
    content: &VolumeContent,
    going: &Going,
) -> io::Result<Sha256Digest> {
    let (file, length) = (&content.file, content.file.metadata()?.len());
    let mut sum = RunningSum::default();
    let mut buffer = vec![0; CHUNK];
    while let Some(data) = extents::next_data(file, sum.length, length)? {
        sum.zeros(data.start - sum.length, going)?;
        while sum.length < data.end {
            going.check()?;
            let wanted = CHUNK.min(usize::try_from(data.end - sum.length).unwrap_or(CHUNK));
            file.read_exact_at(&mut buffer[..wanted], sum.length)?;
            sum.add(&buffer[..wanted]);
        }
    }
    sum.zeros(length - sum.length, going)?;
    Ok(sum.finish())
}

/// A checksum in progress.
#[derive(Default)]
struct RunningSum {
    sha256: Sha256,
    length: u64,
}

impl RunningSum {
    fn add(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.length += bytes.len() as u64;
    }

    fn zeros(&mut self, length: u64, going: &Going) -> io::Result<()> {
        let zeros = [0; 64 * 1024];
        let mut left = length;
        while left > 0 {
            going.check()?;
            let next = left.min(zeros.len() as u64);
            self.add(&zeros[..usize::try_from(next).unwrap_or(zeros.len())]);
            left -= next;
        }
        Ok(())
    }

    fn finish(self) -> Sha256Digest {
        Sha256Digest(self.sha256.finalize().into())
    }
}

/// Next part of a sparse stream. Empty data marks the end.
enum Received {
    Data(usize),
    Hole(u64),
}

/// Returned by `virStreamRecvFlags` at the beginning of a hole.
const AT_HOLE: i32 = -3;

/// Receives by FFI, since the crate has no functions for holes.
fn receive(stream: &Stream, buffer: &mut [u8]) -> Result<Received, virt::error::Error> {
    let stop = sys::VIR_STREAM_RECV_STOP_AT_HOLE;
    // SAFETY: the stream is alive, and the buffer has the length that is passed.
    let received = unsafe {
        sys::virStreamRecvFlags(stream.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len(), stop)
    };
    if received == AT_HOLE {
        let mut length = 0;
        // SAFETY: the stream is alive, and `length` outlives the call.
        let result = unsafe { sys::virStreamRecvHole(stream.as_ptr(), &raw mut length, 0) };
        let hole = u64::try_from(length).unwrap_or(0);
        return if result < 0 {
            Err(virt::error::Error::last_error())
        } else {
            Ok(Received::Hole(hole))
        };
    }
    usize::try_from(received).map(Received::Data).map_err(|_| virt::error::Error::last_error())
}
