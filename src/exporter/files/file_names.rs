//! Disk formats and kinds of files by their names.

use std::path::{Path, PathBuf};

use crate::exporter::Error;
use crate::model::DiskFormat;

/// The format by the descriptor's `format`, or else by the file's name.
pub(super) fn format_of(uri: &str, name: &str) -> Option<DiskFormat> {
    let uri = uri.to_ascii_lowercase();
    let told = [
        ("vmdk", DiskFormat::Vmdk),
        // Applies to qcow and qcow2: `http://www.gnome.org/~markmc/qcow-image-format.html`.
        ("qcow", DiskFormat::Qcow2),
        ("vhdx", DiskFormat::Vhdx),
        ("vhd", DiskFormat::Vhd),
        ("vdi", DiskFormat::Vdi),
    ];
    let told = told.into_iter().find(|(word, _)| uri.contains(word)).map(|(_, format)| format);
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let extension = Path::new(name).extension().map(|text| text.to_string_lossy().into_owned());
    told.or_else(|| format_by_extension(&extension?))
}

/// The format of files with this extension.
pub(super) fn format_by_extension(extension: &str) -> Option<DiskFormat> {
    Some(match extension.to_ascii_lowercase().as_str() {
        "vmdk" => DiskFormat::Vmdk,
        "qcow2" => DiskFormat::Qcow2,
        "raw" | "img" => DiskFormat::Raw,
        "vhd" | "vpc" => DiskFormat::Vhd,
        "vhdx" => DiskFormat::Vhdx,
        "vdi" => DiskFormat::Vdi,
        _ => return None,
    })
}

/// The ordinary files of a directory, sorted by name, without files that only accompany others.
/// Blocks.
pub(super) fn files_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::File { action: "reading", path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file()
            && !path.file_name().is_some_and(|name| is_shadow(&name.to_string_lossy()))
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Whether the file is the `._NAME` that macOS writes beside `NAME`, in archives too.
pub(super) fn is_shadow(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|name| name.starts_with("._"))
}

/// Whether a name has this extension, in any case.
pub(super) fn has_extension(name: impl AsRef<Path>, extension: &str) -> bool {
    name.as_ref().extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}
