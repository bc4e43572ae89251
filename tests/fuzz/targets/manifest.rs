//! Artifact Manifests: an accepted manifest is unchanged after writing and reading.
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
