//! Replies of vSphere.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hyperexport::exporter::fuzzing::soap(bytes));
