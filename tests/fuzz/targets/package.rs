//! Packages as tar, gzip, xz and zip, down to the names of their disks.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = std::path::Path::new("/dev/shm/hyperexport-fuzz-package");
    std::fs::write(path, bytes).expect("written");
    hyperexport::exporter::fuzzing::package(path);
});
