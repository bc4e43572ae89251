//! Security settings of the process, made at its start.

use std::ffi::OsStr;

use crate::child;

/// Disables core dumps, which would contain passwords. Sets the search path of programs to `path`,
/// without its relative entries.
pub fn harden(path: &OsStr) {
    child::find_programs_in(path);
    if let Err(error) = child::write_no_core() {
        tracing::debug!(%error, "forbidding core files");
    }
}
