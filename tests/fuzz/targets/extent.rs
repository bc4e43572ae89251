//! Sparse extents of a VMDK: any input yields an image or an error.
#![no_main]

use std::fs::{self, File};
use std::io;
use std::path::Path;

use hyperexport::budget::Going;
use hyperexport::image::Split;

/// Size of the disk, in bytes.
const CAPACITY: u64 = 4 << 20;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let folder = Path::new("/dev/shm/hyperexport-fuzz-extent");
    fs::create_dir_all(folder).expect("made");
    let kind = match bytes.get(..4) {
        Some(b"KDMV") => "SPARSE",
        Some(b"COWD") => "VMFSSPARSE",
        _ => "SESPARSE",
    };
    let text = format!("# Disk DescriptorFile\nRW {} {kind} \"extent\"\n", CAPACITY / 512);
    let descriptor = folder.join("disk.vmdk");
    fs::write(&descriptor, text).expect("written");
    fs::write(folder.join("extent"), bytes).expect("written");
    let Ok(split) = Split::open(&descriptor) else { return };
    assert_eq!(split.capacity(), CAPACITY);
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(true);
    let file = options.open(folder.join("image")).expect("opened");
    let mut last = 0;
    let written = split.write(file, &Going::default(), |position| {
        let ahead = position > last && position <= CAPACITY;
        last = position;
        if ahead { Ok(()) } else { Err(io::Error::other("it goes back")) }
    });
    if let Err(error) = written {
        assert!(!format!("{error:?}").contains("it goes back"), "{error:?}");
    }
});
