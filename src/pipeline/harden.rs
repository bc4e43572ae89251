//! What holds for the whole process, from its beginning.

use std::ffi::OsStr;

use crate::child;

/// Writes no core file, in which passwords would stand, and finds programs in `path`, but for its
/// relative entries.
pub fn harden(path: &OsStr) {
    child::find_programs_in(path);
    if let Err(error) = child::write_no_core() {
        tracing::debug!(%error, "forbidding core files");
    }
}
