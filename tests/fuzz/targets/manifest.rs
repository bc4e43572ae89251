//! Artifact Manifests: what is accepted is written and read again as the same.
#![no_main]

use hyperexport::manifest::{Manifest, check};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) else { return };
    if check(&manifest).is_err() {
        return;
    }
    let vm = manifest.source_vm();
    let text = serde_json::to_vec(&manifest).expect("it is written");
    let again: Manifest = serde_json::from_slice(&text).expect("it is read");
    assert_eq!(vm, again.source_vm());
});
