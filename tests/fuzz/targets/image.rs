//! Images of every format: whatever their headers and tables say, the look at them ends.
#![no_main]

use std::fs::{self, File};
use std::path::Path;

use hyperexport::budget::Going;
use hyperexport::image;
use hyperexport::model::DiskFormat;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("/dev/shm/hyperexport-fuzz-image");
    fs::write(path, bytes).expect("written");
    let format = match bytes {
        [b'Q', b'F', b'I', 0xfb, ..] => DiskFormat::Qcow2,
        [b'v', b'h', b'd', b'x', ..] => DiskFormat::Vhdx,
        [b'K' | b'#', ..] => DiskFormat::Vmdk,
        bytes if bytes.get(64..68) == Some(&[0x7f, 0x10, 0xda, 0xbe]) => DiskFormat::Vdi,
        _ => DiskFormat::Vhd,
    };
    image::inspect(path, format, &Going::default()).expect("readable").ok();
    image::capacity(&File::open(path).expect("opened"), format).expect("readable");
});
