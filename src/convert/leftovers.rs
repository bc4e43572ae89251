//! What a killed hyper2kvm leaves behind outside its work folder: FUSE mounts, and libguestfs'
//! socket folders, which root's libguestfs always puts in /tmp.

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

/// Takes away every mount below `folder`, the innermost first.
pub(super) fn unmount_below(folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for mount in mount_points(&mounts).into_iter().rev().filter(|m| m.starts_with(folder)) {
        match umount2(&mount, MntFlags::MNT_DETACH) {
            Ok(()) => tracing::info!(mount = %mount.display(), "unmounted"),
            Err(error) => tracing::warn!(mount = %mount.display(), %error, "unmount"),
        }
    }
}

/// The fifth field of every line of proc(5)'s mountinfo, in the order they were mounted.
fn mount_points(mountinfo: &str) -> Vec<PathBuf> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape).collect()
}

/// Undoes mountinfo's `\040` for a space.
fn unescape(text: &str) -> PathBuf {
    let (bytes, mut plain, mut i) = (text.as_bytes(), Vec::new(), 0);
    while i < bytes.len() {
        let code = text.get(i + 1..i + 4).filter(|_| bytes[i] == b'\\');
        if let Some(byte) = code.and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
            plain.push(byte);
            i += 4;
        } else {
            plain.push(bytes[i]);
            i += 1;
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(plain))
}

/// The libguestfs folders in /tmp at one moment; those of a run are the ones that come later.
#[derive(Debug)]
pub(super) struct GuestfsFolders(HashSet<PathBuf>);

impl GuestfsFolders {
    /// Those that are there now.
    pub(super) fn now() -> Self {
        Self(guestfs_folders())
    }

    /// Removes those that came since, are ours, and whose sockets no process listens on: another
    /// libguestfs may have started meanwhile.
    pub(super) fn remove_newer(&self) {
        let us = nix::unistd::geteuid().as_raw();
        let listening = fs::read_to_string("/proc/net/unix").unwrap_or_default();
        for folder in guestfs_folders().difference(&self.0) {
            let ours = fs::symlink_metadata(folder).is_ok_and(|m| m.is_dir() && m.uid() == us);
            let socket = folder.join("guestfsd.sock");
            let alive = listening.contains(&*folder.to_string_lossy());
            if ours && socket.exists() && !alive {
                match fs::remove_dir_all(folder) {
                    Ok(()) => tracing::debug!(folder = %folder.display(), "removed"),
                    Err(error) => tracing::warn!(folder = %folder.display(), %error, "remove"),
                }
            }
        }
    }
}

fn guestfs_folders() -> HashSet<PathBuf> {
    let entries = fs::read_dir("/tmp").into_iter().flatten().flatten();
    let named = entries.filter(|e| e.file_name().to_string_lossy().starts_with("libguestfs"));
    named.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_spaces() {
        let text = "36 35 98:0 / /mnt/a\\040b rw - ext3 /dev/root rw\n\
                    37 36 0:5 / /mnt/a\\040b/c rw - fuse x rw\n";
        assert_eq!(mount_points(text), [Path::new("/mnt/a b"), Path::new("/mnt/a b/c")]);
    }
}
