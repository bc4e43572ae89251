//! Variables of a firmware.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hyperexport::exporter::fuzzing::nvram(bytes));
