//! Supposed VMDK streams: the result does not depend on the size of the pieces, and is an image or
//! an error.
#![no_main]

use std::io::Write;

use hyperexport::image::vmdk::{StreamEnd, Stream};
use hyperexport::image::{Rewriter, OutputFormat};

/// Size of the disk, in bytes.
const CAPACITY: u64 = 1 << 20;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (whole, pieces) = (follow(bytes, bytes.len().max(1)), follow(bytes, 7));
    assert_eq!(whole, pieces);
    let path = std::path::Path::new("/dev/shm/hyperexport-fuzz");
    let file = std::fs::File::options().read(true).write(true).create(true).truncate(true).open(path);
    let mut rewriter = Rewriter::new(file.expect("opened"), CAPACITY, OutputFormat::Qcow2(None));
    let end = rewriter.push(bytes).and_then(|()| rewriter.finish(read_at(bytes)));
    if let Ok(mut wrote) = end {
        assert_eq!(whole, Some(StreamEnd::Whole));
        wrote.file.flush().expect("flushed");
    }
});

fn follow(bytes: &[u8], piece: usize) -> Option<StreamEnd> {
    let mut stream = Stream::new(CAPACITY);
    bytes.chunks(piece).try_for_each(|piece| stream.push(piece, |_| {})).ok()?;
    stream.finish(read_at(bytes)).ok()
}

fn read_at(bytes: &[u8]) -> impl Fn(&mut [u8], u64) -> std::io::Result<()> {
    move |buffer, offset| {
        let end = std::io::ErrorKind::UnexpectedEof;
        let from = usize::try_from(offset).map_err(|_| end)?;
        let found = bytes.get(from..).and_then(|rest| rest.get(..buffer.len())).ok_or(end)?;
        buffer.copy_from_slice(found);
        Ok(())
    }
}
