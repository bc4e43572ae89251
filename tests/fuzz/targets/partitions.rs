//! First sectors of a disk.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hyperexport::convert::fuzzing::partitions(bytes));
