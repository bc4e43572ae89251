//! The program's texts and docs/: the style of errors, hints and help, and the pages that are
//! generated from the code. `UPDATE_GOLDEN=1 cargo test --test docs` regenerates those.

mod formats;
mod language;
mod warnings;

use std::fs;
use std::path::{Path, PathBuf};

/// Absolute path of a file of the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Compares a page with its generated content.
fn assert_golden(name: &str, found: &str) {
    let path = path(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).expect("made");
        }
        fs::write(&path, found).expect("written");
        return;
    }
    let page = fs::read_to_string(&path).unwrap_or_default();
    assert!(page == found, "{name} is old: UPDATE_GOLDEN=1 cargo test --test docs");
}
