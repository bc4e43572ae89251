//! Images of every format: for any headers and tables the inspection and the content hash
//! terminate.
#![no_main]

use std::fs::{self, File};
use std::path::Path;

use hyperexport::budget::Going;
use hyperexport::image::{self, content::hash_image};
use hyperexport::model::DiskFormat;

/// Largest disk that is hashed here, in bytes: a few bytes can describe an empty disk of any size.
const LARGEST: u64 = 1 << 30;

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
    let (file, going) = (File::open(path).expect("opened"), Going::default());
    image::inspect(path, format, &going).expect("readable").ok();
    let size = image::capacity(&file, format).expect("readable");
    if size.is_some_and(|size| size <= LARGEST) {
        hash_image(&file, format, &going, &mut |_, _| Ok(())).ok();
    }
});
