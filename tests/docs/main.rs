//! What the program says and what docs/ say of it: the language of errors, hints and help, and the
//! pages that are made of the code. `UPDATE_GOLDEN=1 cargo test --test docs` makes those anew.

mod formats;
mod language;
mod warnings;

use std::fs;
use std::path::{Path, PathBuf};

/// The path of a file of the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Compares a page with what it is made of.
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
