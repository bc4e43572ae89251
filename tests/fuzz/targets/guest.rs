//! Text files of a guest: fstab, crypttab, mdadm.conf, units, boot loaders, and every form of
//! network configuration.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hyperexport::convert::fuzzing::text(bytes));
