//! Images of CDs, such as virtio-win.iso.
#![no_main]

use std::fs::{self, File};
use std::io;
use std::path::Path;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("/dev/shm/hyperexport-fuzz-iso");
    fs::write(path, bytes).expect("written");
    let Ok(files) = hyperexport::image::iso_files(path) else { return };
    let mut image = File::open(path).expect("opened");
    for file in files.iter().take(8) {
        file.copy(&mut image, &mut io::sink()).ok();
    }
});
