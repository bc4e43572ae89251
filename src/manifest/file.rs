//! Reads the manifest's file with a size limit and checks it; writes the file atomically.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::rules::{Violation, check, check_value};
use super::types::Manifest;
use super::{Error, moved};
use crate::state;

/// Largest manifest that is read, in bytes: enough for some ten thousand disks.
const LARGEST: u64 = 16 << 20;

/// Whether an existing file may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// Leave the file and report [`Error::Exists`].
    No,
    /// Replace the file atomically.
    Yes,
}

/// Reads a manifest and checks it against the contract. Files that the manifest names are also
/// searched for in the manifest's own folder ([`moved`]). Blocks for a small read.
///
/// # Errors
/// [`Error`] when the file cannot be read, is too large, is not JSON or breaks a rule; all broken
/// rules are listed.
pub fn read(path: &Path) -> Result<Manifest, Error> {
    let text = state::read_small(path, LARGEST).map_err(Error::from)?;
    parse(path, &text)
}

/// Reads a manifest that an earlier run has written, as [`read`] does; `None` if the file is
/// missing.
///
/// # Errors
/// As [`read`]; [`Error::State`] when another user could have written the file.
pub fn read_own(path: &Path) -> Result<Option<Manifest>, Error> {
    let text = state::read_own(path, LARGEST).map_err(Error::from)?;
    text.map(|text| parse(path, &text)).transpose()
}

fn parse(path: &Path, text: &[u8]) -> Result<Manifest, Error> {
    let value: Value = serde_json::from_slice(text)
        .map_err(|source| Error::NotJson { path: path.to_owned(), source })?;
    check_value(&value).map_err(|violations| Error::Invalid { violations })?;
    // The rules cover every typed field, so this does not fail; a failure is reported all the same.
    let manifest = Manifest::deserialize(value).map_err(|error| Error::Invalid {
        violations: vec![Violation { path: "$".to_owned(), rule: error.to_string() }],
    })?;
    Ok(moved::found(manifest, &folder_of(path)?))
}

/// The folder of a file, as an absolute path.
fn folder_of(path: &Path) -> Result<PathBuf, Error> {
    let absolute = std::path::absolute(path)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(absolute.parent().unwrap_or(Path::new("/")).to_owned())
}

/// Checks a manifest against the contract and writes it: to a temporary file first, which is synced
/// and then renamed. Blocks for a small write.
///
/// # Errors
/// [`Error`] when the manifest breaks a rule, the file exists and may not be replaced, or writing
/// fails; an existing file is then unchanged.
pub fn write(manifest: &Manifest, path: &Path, overwrite: Overwrite) -> Result<(), Error> {
    check(manifest).map_err(|violations| Error::Invalid { violations })?;
    let failed = |source: io::Error| Error::Write { path: path.to_owned(), source };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        // The prefix by which the next run finds the leftovers of a killed run.
        .prefix(".hyperexport-tmp-")
        // The manifest contains addresses, host names and other data of the guest.
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(failed)?;
    serde_json::to_writer_pretty(&mut file, manifest).map_err(|e| failed(e.into()))?;
    file.write_all(b"\n").map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    let renamed = match overwrite {
        Overwrite::Yes => file.persist(path),
        Overwrite::No => file.persist_noclobber(path),
    };
    renamed.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => failed(error.error),
    })?;
    state::sync_folder(folder).map_err(failed)
}
