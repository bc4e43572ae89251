//! An initramfs of a guest, in each compression.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hyperexport::convert::fuzzing::initramfs(bytes));
