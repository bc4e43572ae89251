//! Bytes of a volume, read back through libvirt.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use virt::connect::Connect;
use virt::storage_vol::StorageVol;
use virt::stream::Stream;

use super::Error;

/// The first `length` bytes of a volume; fewer if it has not so many.
pub(super) fn beginning(
    connect: &Connect,
    volume: &StorageVol,
    length: u64,
) -> Result<Vec<u8>, Error> {
    if length == 0 {
        return Ok(Vec::new());
    }
    let call = || Error::call("read a volume");
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

/// The first `length` bytes of a file; fewer if it has not so many.
pub(super) fn of_file(path: &Path, length: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::file("open", path))?;
    file.take(length).read_to_end(&mut bytes).map_err(Error::file("read", path))?;
    Ok(bytes)
}
