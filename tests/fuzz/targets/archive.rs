//! Members of an archive.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hyperexport::exporter::fuzzing::archive(bytes));
