//! Detects what is at a path: an archive, a descriptor, a directory or images.

use std::path::{Path, PathBuf};

use super::file_names::{files_in, has_extension};
use super::file_settings::FileSettings;
use super::store::Store;
use super::{below, images};
use crate::exporter::Error;
use crate::model::{Stage, Warning, WarningCode, revision};

/// Maximum number of VMs that an error names.
const MOST_NAMED: usize = 12;

/// Location of a VM.
pub(super) enum VmLocation {
    Archive(Store),
    Ovf(PathBuf),
    Vmx(PathBuf),
    Images(Vec<PathBuf>),
}

impl VmLocation {
    /// The files that describe the VM, without directories: any new file in a directory would
    /// change the revision.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Archive(store) => vec![store.path().to_owned()],
            Self::Ovf(path) => {
                let beside = path.parent().map(files_in).and_then(Result::ok).unwrap_or_default();
                let sums = beside.into_iter().filter(|path| has_extension(path, "mf"));
                [path.clone()].into_iter().chain(sums).collect()
            }
            Self::Vmx(path) => vec![path.clone()],
            Self::Images(paths) => paths.clone(),
        }
    }
}

/// Makes the paths absolute: sibling files are found by the directory.
///
/// # Errors
/// [`Error::Unusable`] when a path is empty.
pub(super) fn absolute(mut settings: FileSettings) -> Result<FileSettings, Error> {
    for path in &mut settings.paths {
        *path = std::path::absolute(&path).map_err(|_| unusable(path, "no file is named"))?;
    }
    Ok(settings)
}

/// Detects the kind of VM at the paths of the settings. Blocks.
///
/// # Errors
/// [`Error::Unusable`] when the paths contain no VM or more than one.
pub(super) fn locate(settings: &FileSettings) -> Result<(VmLocation, Option<Warning>), Error> {
    let Some(path) = settings.paths.first() else {
        return Err(unusable(Path::new(""), "no file is named"));
    };
    for path in &settings.paths {
        check_kind(path)?;
    }
    let failed = |source| Error::File { action: "opening", path: path.clone(), source };
    let found = std::fs::metadata(path).map_err(failed)?;
    if settings.paths.len() > 1 {
        let is_package = |path: &&PathBuf| {
            path.is_dir() || ["ova", "ovf", "vmx"].iter().any(|kind| has_extension(path, kind))
        };
        return match settings.paths.iter().find(is_package) {
            Some(path) => {
                Err(unusable(path, "it is a VM, and only disks can be passed several at a time"))
            }
            None => Ok((VmLocation::Images(settings.paths.clone()), None)),
        };
    }
    if !found.is_dir() {
        return of_file(path, settings).map(|place| (place, None));
    }
    if let Some(place) = in_folder(path)? {
        return Ok((place, None));
    }
    let found = below::find(path, settings.choice.vm.as_deref())?;
    let warning = Warning::new(
        Stage::Export,
        WarningCode::FoundBelow,
        format!("{} itself contains no VM: using {}", path.display(), found.display()),
    );
    Ok((of_file(&found, settings)?, Some(warning)))
}

/// The kind of the file at a path.
fn of_file(path: &PathBuf, settings: &FileSettings) -> Result<VmLocation, Error> {
    let failed = |source| Error::File { action: "opening", path: path.clone(), source };
    let is_ova = has_extension(path, "ova");
    match path {
        _ if has_extension(path, "ovf") => Ok(VmLocation::Ovf(path.clone())),
        _ if has_extension(path, "vmx") => Ok(VmLocation::Vmx(path.clone())),
        _ if !is_ova && images::format(path, &settings.choice).is_some() => {
            Ok(VmLocation::Images(settings.paths.clone()))
        }
        _ => match Store::archive(path).map_err(failed)? {
            Some(store) => Ok(VmLocation::Archive(store)),
            None if is_ova => Err(unusable(
                path,
                "it is neither a tar archive, plain or compressed by gzip or xz, nor a zip",
            )),
            None => Err(Error::UnknownFormat { path: path.clone() }),
        },
    }
}

/// Rejects other paths than files and directories. Reading from a device or a pipe may block or
/// never end.
fn check_kind(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::File { action: "opening", path: path.to_owned(), source };
    let kind = std::fs::metadata(path).map_err(failed)?.file_type();
    if kind.is_file() || kind.is_dir() {
        return Ok(());
    }
    Err(unusable(path, "it is not an ordinary file; copy the content of a device into one first"))
}

/// The only package or VM of a directory, if there is one.
fn in_folder(folder: &Path) -> Result<Option<VmLocation>, Error> {
    let files = files_in(folder)?;
    let of = |kind| -> Vec<_> { files.iter().filter(|path| has_extension(path, kind)).collect() };
    match (of("ovf").as_slice(), of("vmx").as_slice()) {
        ([ovf], _) => Ok(Some(VmLocation::Ovf((*ovf).clone()))),
        ([], [vmx]) => Ok(Some(VmLocation::Vmx((*vmx).clone()))),
        ([], []) => Ok(None),
        ([], several) => Err(several_of("VMXs", folder, several)),
        (several, _) => Err(several_of("OVFs", folder, several)),
    }
}

/// Error: several candidates where one is expected.
pub(super) fn several_of(what: &str, folder: &Path, several: &[&PathBuf]) -> Error {
    let names = several.iter().map(|path| path.strip_prefix(folder).unwrap_or(path));
    let mut names: Vec<_> = names.take(MOST_NAMED).map(|name| name.display().to_string()).collect();
    if several.len() > MOST_NAMED {
        names.push(format!("{} more", several.len() - MOST_NAMED));
    }
    let names = names.join(", ");
    unusable(folder, &format!("there are several {what} in it: name one of them: {names}"))
}

/// Fingerprint that detects changes of files: their lengths and times. Blocks.
pub(super) fn revision(paths: &[PathBuf]) -> Result<String, Error> {
    use std::os::unix::fs::MetadataExt;
    let state = |path: &PathBuf| match std::fs::metadata(path) {
        Ok(found) => Ok(format!("{}@{}.{}", found.len(), found.mtime(), found.mtime_nsec())),
        // A missing file is rejected later, where it is needed.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok("-".to_owned()),
        Err(source) => Err(Error::File { action: "inspecting", path: path.clone(), source }),
    };
    Ok(revision::of_files(&paths.iter().map(state).collect::<Result<Vec<_>, _>>()?))
}

pub(super) fn unusable(path: &Path, reason: &str) -> Error {
    Error::Unusable { path: path.to_owned(), reason: reason.into() }
}
