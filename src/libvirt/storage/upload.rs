//! Uploads an image through libvirt into a volume, with holes as holes.
//!
//! The hole function is called by FFI, since the crate has none. The declared length is 0, which
//! means unknown: libvirtd 11.3 crashes or spins when one byte more than a declared length arrives.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use virt::connect::Connect;
use virt::storage_vol::StorageVol;
use virt::stream::Stream;
use virt::sys;

use crate::image::extents;
use crate::progress::Task;

use super::super::Error;
use super::content::VolumeContent;

/// Bytes sent at once, so that a packet leaves in a single write. This is the default socket buffer
/// of a local daemon (`net.core.wmem_default`), minus libvirt's framing
/// (`src/rpc/virnetprotocol.x`: length and header). Larger packets are half as fast.
const CHUNK: usize = 212_992 - 28;

/// Attempts to open a device: five seconds in total. udev creates the device name, and ZFS does not
/// wait for it.
const DEVICE_TRIES: u32 = 50;
const DEVICE_PAUSE: Duration = Duration::from_millis(100);

/// Whether the path of a volume does not exist (`virFDStreamOpenInternal`).
fn is_missing(error: &virt::error::Error) -> bool {
    error.message().ends_with("No such file or directory")
}

/// A stream that is aborted unless it is finished: otherwise a dropped stream would stay open in
/// the daemon.
struct Upload {
    stream: Option<Stream>,
    volume: String,
}

/// Sends `content` into `volume`.
pub(in crate::libvirt) fn send(
    connect: &Connect,
    volume: &StorageVol,
    content: &VolumeContent,
    task: &Task,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let (file, len) = (&content.file, content.len()?);
    let unreadable = |error| Error::file("reading", &content.image)(error);
    let upload = Upload::begin(connect, volume)?;
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    let mut sent = 0;
    while let Some(data) = extents::next_data(file, at, len).map_err(unreadable)? {
        upload.hole(data.start - at)?;
        at = data.start;
        while at < data.end {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let wanted = CHUNK.min(usize::try_from(data.end - at).unwrap_or(CHUNK));
            file.read_exact_at(&mut buffer[..wanted], at).map_err(unreadable)?;
            upload.data(&buffer[..wanted])?;
            at += wanted as u64;
            sent += wanted as u64;
            task.at(sent);
        }
    }
    upload.hole(len - at)?;
    upload.finish()
}

/// Sends `bytes` into `volume`, followed by a hole up to `length`.
pub(in crate::libvirt) fn send_beginning(
    connect: &Connect,
    volume: &StorageVol,
    bytes: &[u8],
    length: u64,
) -> Result<(), Error> {
    let upload = Upload::begin(connect, volume)?;
    upload.data(bytes)?;
    upload.hole(length - bytes.len() as u64)?;
    upload.finish()
}

impl Upload {
    fn begin(connect: &Connect, volume: &StorageVol) -> Result<Self, Error> {
        let name = volume.name().map_err(Error::call("reading the name of a volume"))?;
        let flags = sys::VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM;
        let mut tries = 0;
        loop {
            let stream = Stream::new(connect, 0).map_err(Error::call("opening a stream"))?;
            match volume.upload(&stream, 0, 0, flags) {
                Err(error) if is_missing(&error) && tries < DEVICE_TRIES => {
                    tries += 1;
                    std::thread::sleep(DEVICE_PAUSE);
                }
                begun => {
                    begun.map_err(Error::call(format!("beginning to send volume '{name}'")))?;
                    return Ok(Self { stream: Some(stream), volume: name });
                }
            }
        }
    }

    fn stream(&self) -> &Stream {
        self.stream.as_ref().expect("it is taken by finish and drop only")
    }

    fn refused(&self) -> impl FnOnce(virt::error::Error) -> Error {
        Error::call(format!("sending volume '{}'", self.volume))
    }

    fn data(&self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            // May be short; negative only for streams that do not block, which this one does.
            let sent = self.stream().send(bytes).map_err(self.refused())?;
            bytes = &bytes[usize::try_from(sent).unwrap_or(0).min(bytes.len())..];
        }
        Ok(())
    }

    fn hole(&self, len: u64) -> Result<(), Error> {
        if len == 0 {
            return Ok(());
        }
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        // SAFETY: the stream is alive as long as `self`, and the call stores no pointer.
        let result = unsafe { sys::virStreamSendHole(self.stream().as_ptr(), len, 0) };
        if result < 0 { Err(self.refused()(virt::error::Error::last_error())) } else { Ok(()) }
    }

    fn finish(mut self) -> Result<(), Error> {
        let stream = self.stream.take().expect("it is taken here and by drop only");
        stream.finish().map_err(self.refused())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take()
            && let Err(error) = stream.abort()
        {
            tracing::debug!(volume = %self.volume, %error, "aborting stream");
        }
    }
}
