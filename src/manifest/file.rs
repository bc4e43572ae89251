//! The manifest's file: read with a limit and checked, written whole or not at all.

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

/// Largest manifest read, in bytes: some ten thousand disks.
const LARGEST: u64 = 16 << 20;

/// Whether an existing file may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// Leave it and report [`Error::Exists`].
    No,
    /// Replace it, in one step.
    Yes,
}

/// Reads a manifest and holds it to the contract; the files that it names are looked for in its own
/// folder, too ([`moved`]). Blocks for a small read.
///
/// # Errors
/// [`Error`] when the file cannot be read, is too large, holds no JSON or breaks a rule; all broken
/// rules are named.
pub fn read(path: &Path) -> Result<Manifest, Error> {
    let text = state::read_small(path, LARGEST).map_err(Error::from)?;
    parse(path, &text)
}

/// The same of a manifest that a run of ours has written; `None` where there is none.
///
/// # Errors
/// As [`read`]; [`Error::State`] when somebody else could have written it.
pub fn read_own(path: &Path) -> Result<Option<Manifest>, Error> {
    let text = state::read_own(path, LARGEST).map_err(Error::from)?;
    text.map(|text| parse(path, &text)).transpose()
}

fn parse(path: &Path, text: &[u8]) -> Result<Manifest, Error> {
    let value: Value = serde_json::from_slice(text)
        .map_err(|source| Error::NotJson { path: path.to_owned(), source })?;
    check_value(&value).map_err(|violations| Error::Invalid { violations })?;
    // The rules cover every typed field, so this does not fail; if it should, it is reported too.
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

/// Holds a manifest to the contract and writes it: to a file of another name first, which is
/// synced and then renamed. Blocks for a small write.
///
/// # Errors
/// [`Error`] when it breaks a rule, the file exists and may not be replaced, or writing fails; the
/// file is then as it was.
pub fn write(manifest: &Manifest, path: &Path, overwrite: Overwrite) -> Result<(), Error> {
    check(manifest).map_err(|violations| Error::Invalid { violations })?;
    let failed = |source: io::Error| Error::Write { path: path.to_owned(), source };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        // The prefix by which the next run finds what a killed one left.
        .prefix(".hyperexport-tmp-")
        // Addresses, names of hosts and more of the guest stand in it.
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
