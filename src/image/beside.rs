//! Finds the files that a descriptor names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The name without a prefix for the current folder (`./disk.vmdk`, `.\disk.vmdk`); `None` if it
/// may lead to another folder.
pub fn plain_name(name: &str) -> Option<&str> {
    let mut name = name;
    while let Some(rest) = name.strip_prefix("./").or_else(|| name.strip_prefix(".\\")) {
        name = rest;
    }
    let leads_away = name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']);
    (!leads_away).then_some(name)
}

/// The regular file of `folder` that a descriptor calls `name`: an exact match, or else the only
/// match without regard to case, as on Windows and macOS. `None` if there is none, or the name
/// leads to another folder. Blocks.
///
/// # Errors
/// If the folder cannot be read.
pub fn beside(folder: &Path, name: &str) -> io::Result<Option<PathBuf>> {
    let Some(name) = plain_name(name) else { return Ok(None) };
    let is_file = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_file());
    let exact = folder.join(name);
    if exact.symlink_metadata().is_ok() {
        return Ok(Some(exact).filter(|path| is_file(path)));
    }
    let lower = name.to_lowercase();
    let mut alike = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|found| found.to_lowercase() == lower) {
            alike.push(entry.path());
        }
    }
    match alike.as_slice() {
        [only] if is_file(only) => Ok(Some(only.clone())),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_as_windows_and_macos_find_it() {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["Disk.VMDK", "two.vmdk", "TWO.vmdk", "Büro.vmdk"] {
            fs::write(dir.path().join(name), "x").expect("written");
        }
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link.vmdk")).expect("a link");
        let found = |name: &str| {
            let path = beside(dir.path(), name).expect("readable")?;
            Some(path.file_name()?.to_string_lossy().into_owned())
        };
        for name in ["Disk.VMDK", "disk.vmdk", ".\\DISK.vmdk", "././Disk.VMDK"] {
            assert_eq!(found(name).as_deref(), Some("Disk.VMDK"), "{name}");
        }
        assert_eq!(found("two.vmdk").as_deref(), Some("two.vmdk"));
        assert_eq!(found("BÜRO.vmdk").as_deref(), Some("Büro.vmdk"));
        for name in ["Two.vmdk", "link.vmdk", "LINK.vmdk", "../two.vmdk", "C:\\two.vmdk", "", "."] {
            assert_eq!(found(name), None, "{name}");
        }
    }
}
