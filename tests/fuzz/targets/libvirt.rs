//! A libvirt host's descriptions of a domain and its volumes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    hyperexport::libvirt::fuzz(&String::from_utf8_lossy(bytes));
});
