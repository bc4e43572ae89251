//! VMs in the subdirectories of a directory, such as an external drive or an unpacked archive.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::file_names::{files_in, has_extension};
use super::locate::{several_of, unusable};
use crate::exporter::Error;

/// Maximum depth of the search below a directory.
const DEEPEST: usize = 3;
/// Maximum number of directories that are searched: a user who passes `/` must not wait
/// indefinitely.
const MOST_FOLDERS: usize = 10_000;

/// The only VM below a directory that directly contains no OVF and no VMX, or the VM whose file
/// name is `vm`: storage domains of oVirt name each file by the VM's id. Blocks.
///
/// # Errors
/// [`Error::Unusable`] when no VM or more than one VM is found.
pub(super) fn find(folder: &Path, vm: Option<&str>) -> Result<PathBuf, Error> {
    let mut found = packed(&files_in(folder)?);
    let mut level = folders(folder);
    let mut looked = 0;
    for _ in 0..DEEPEST {
        looked += level.len();
        if looked > MOST_FOLDERS {
            return Err(unusable(
                folder,
                "it has too many folders to look for a VM: name its file",
            ));
        }
        // A directory that cannot be read, such as `lost+found`, is skipped.
        found.extend(level.iter().filter_map(|below| Some(vms(&files_in(below).ok()?))).flatten());
        level = level.iter().flat_map(|below| folders(below)).collect();
    }
    let is_meant = |path: &&PathBuf| vm.is_some() && path.file_stem().and_then(OsStr::to_str) == vm;
    if let [only] = found.iter().filter(is_meant).collect::<Vec<_>>().as_slice() {
        return Ok((*only).clone());
    }
    match found.iter().collect::<Vec<_>>().as_slice() {
        [] => Err(unusable(folder, "there is neither an OVF nor a VMX in it")),
        [only] => Ok((*only).clone()),
        several => Err(several_of("VMs", folder, several)),
    }
}

/// The VMs among the files of a directory. Fusion and others write a VMX beside an OVF for the same
/// VM.
fn vms(files: &[PathBuf]) -> Vec<PathBuf> {
    let of = |kind| files.iter().filter(move |path| has_extension(path, kind));
    let kind = if of("ovf").next().is_some() { "ovf" } else { "vmx" };
    of(kind).cloned().chain(packed(files)).collect()
}

fn packed(files: &[PathBuf]) -> Vec<PathBuf> {
    files.iter().filter(|path| has_extension(path, "ova")).cloned().collect()
}

/// Subdirectories of a directory, without hidden ones and without symbolic links.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let entries = entries.filter_map(Result::ok);
    let is_folder = |entry: &std::fs::DirEntry| {
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        !is_hidden && entry.file_type().is_ok_and(|kind| kind.is_dir())
    };
    let mut folders: Vec<_> = entries.filter(is_folder).map(|entry| entry.path()).collect();
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_vm_below_a_folder_is_found_and_several_are_listed() {
        let root = tempfile::tempdir().expect("a folder");
        let put = |name: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(&path, "").expect("written");
            path
        };
        let said = || find(root.path(), None).expect_err("refused").to_string();
        put(".Trash/old/vm.ovf");
        put("too/deep/for/us/vm.ovf");
        assert!(said().ends_with("neither an OVF nor a VMX in it"));
        let ovf = put("stick/web/web.ovf");
        put("stick/web/web.vmx");
        put("stick/web/._web.ovf");
        assert_eq!(find(root.path(), None).expect("one"), ovf);
        put("db.ova");
        put("stick/mail/mail.vmx");
        let said = said();
        assert!(said.contains("several VMs in it"), "{said}");
        assert!(said.ends_with("db.ova, stick/mail/mail.vmx, stick/web/web.ovf"), "{said}");
        assert_eq!(find(root.path(), Some("web")).expect("the one of that name"), ovf);
        assert!(find(root.path(), Some("none")).is_err());
    }
}
