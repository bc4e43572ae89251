//! What a path means.

use std::path::{Path, PathBuf};

use super::store::Store;
use super::{FileSettings, images};
use crate::exporter::Error;

/// Where a VM lies.
pub(super) enum Place {
    Archive(Store),
    Ovf(PathBuf),
    Vmx(PathBuf),
    Images(Vec<PathBuf>),
}

/// Finds out what lies at the paths of the settings. Blocks.
///
/// # Errors
/// [`Error::Unusable`] when it is nothing that a VM can be taken from, or more than one thing.
pub(super) fn locate(settings: &FileSettings) -> Result<Place, Error> {
    let Some(path) = settings.paths.first() else {
        return Err(unusable(Path::new(""), "no file is named"));
    };
    let failed = |source| Error::File { action: "open", path: path.clone(), source };
    let found = std::fs::metadata(path).map_err(failed)?;
    if settings.paths.len() > 1 {
        return Ok(Place::Images(settings.paths.clone()));
    }
    if found.is_dir() {
        return in_folder(path);
    }
    match extension(path).as_str() {
        "ovf" => Ok(Place::Ovf(path.clone())),
        "vmx" => Ok(Place::Vmx(path.clone())),
        kind if kind != "ova" && images::format(path, &settings.choice).is_some() => {
            Ok(Place::Images(settings.paths.clone()))
        }
        _ => match Store::archive(path).map_err(failed)? {
            Some(store) => Ok(Place::Archive(store)),
            None => Err(Error::UnknownFormat { path: path.clone() }),
        },
    }
}

/// The one package or VM of a folder.
fn in_folder(folder: &Path) -> Result<Place, Error> {
    let failed = |source| Error::File { action: "read", path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        files.push(entry.map_err(failed)?.path());
    }
    files.sort();
    let of =
        |kind: &str| -> Vec<_> { files.iter().filter(|path| extension(path) == kind).collect() };
    match (of("ovf").as_slice(), of("vmx").as_slice()) {
        ([ovf], _) => Ok(Place::Ovf((*ovf).clone())),
        ([], [vmx]) => Ok(Place::Vmx((*vmx).clone())),
        ([], []) => Err(unusable(folder, "there is neither an OVF nor a VMX in it")),
        (several, _) if !several.is_empty() => {
            Err(unusable(folder, "there are several OVFs in it: name one of them"))
        }
        _ => Err(unusable(folder, "there are several VMXs in it: name one of them")),
    }
}

/// What tells whether files have changed: their lengths and times. Blocks.
pub(super) fn revision(paths: &[PathBuf]) -> Result<String, Error> {
    use std::os::unix::fs::MetadataExt;
    let mut revision = String::new();
    for path in paths {
        let failed = |source| Error::File { action: "look at", path: path.clone(), source };
        let found = std::fs::metadata(path).map_err(failed)?;
        revision += &format!("{}@{}.{} ", found.len(), found.mtime(), found.mtime_nsec());
    }
    Ok(revision)
}

fn extension(path: &Path) -> String {
    path.extension().map(|text| text.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

fn unusable(path: &Path, reason: &str) -> Error {
    Error::Unusable { path: path.to_owned(), reason: reason.to_owned() }
}
