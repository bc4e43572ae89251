//! Cleans up after a killed hyper2kvm, outside its work folder: FUSE mounts, and libguestfs' socket
//! folders, which root's libguestfs always puts in /tmp.

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::unistd::geteuid;

/// The socket on which libguestfs waits for its appliance.
const SOCKET: &str = "guestfsd.sock";
/// Minimum age of a socket before it can count as unused.
const SETTLED: Duration = Duration::from_secs(1);

/// Unmounts every mount below `folder`, the innermost first.
pub(in crate::convert) fn unmount_below(folder: &Path) {
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

/// The libguestfs folders in /tmp at one moment; a run's own folders appear later.
#[derive(Debug)]
pub(in crate::convert) struct GuestfsFolders(HashSet<PathBuf>);

impl GuestfsFolders {
    /// The folders that exist now.
    pub(in crate::convert) fn now() -> Self {
        Self(guestfs_folders())
    }

    /// Removes the folders that appeared since, belong to this user, and whose appliance is dead:
    /// other runs may have started theirs in the meantime. Where all processes of the machine are
    /// visible, older folders that a killed run left are removed, too.
    pub(in crate::convert) fn remove_newer(&self) {
        let (us, all) = (geteuid().as_raw(), sees_all_processes());
        let mut folders = guestfs_folders();
        folders.retain(|folder| all || !self.0.contains(folder));
        folders.retain(|folder| {
            let is_ours = fs::symlink_metadata(folder).is_ok_and(|m| m.is_dir() && m.uid() == us);
            is_ours && is_settled(&folder.join(SOCKET))
        });
        if folders.is_empty() {
            return;
        }
        let sockets = unix_sockets();
        for folder in folders.iter().filter(|folder| !is_in_use(folder, &sockets)) {
            match fs::remove_dir_all(folder) {
                Ok(()) => tracing::debug!(folder = %folder.display(), "removed"),
                Err(error) => tracing::warn!(folder = %folder.display(), %error, "remove"),
            }
        }
    }
}

/// Whether the socket exists and is old enough for the kernel to list it: its file comes first.
fn is_settled(socket: &Path) -> bool {
    let made = fs::symlink_metadata(socket).and_then(|found| found.modified());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age >= SETTLED))
}

/// Whether a process listens on a socket in the folder, or talks through one.
fn is_in_use(folder: &Path, sockets: &str) -> bool {
    sockets.contains(&format!("{}/", folder.display()))
}

/// The sockets of all network namespaces that contain a process (proc(5), `/proc/net/unix`): each
/// namespace has its own list.
fn unix_sockets() -> String {
    let (mut seen, mut sockets) = (HashSet::new(), String::new());
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = process.path();
        let Ok(namespace) = fs::read_link(path.join("ns/net")) else { continue };
        if seen.insert(namespace) {
            sockets += &fs::read_to_string(path.join("net/unix")).unwrap_or_default();
        }
    }
    sockets
}

/// Whether this process sees all processes: root does in the first PID namespace, whose number is a
/// constant of the kernel (include/linux/proc_ns.h, `PROC_PID_INIT_INO`).
fn sees_all_processes() -> bool {
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    geteuid().is_root() && namespace == Path::new("pid:[4026531836]")
}

fn guestfs_folders() -> HashSet<PathBuf> {
    let entries = fs::read_dir("/tmp").into_iter().flatten().flatten();
    let named = entries.filter(|e| e.file_name().to_string_lossy().starts_with("libguestfs"));
    named.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn mount_points_are_read_with_their_spaces() {
        let text = "36 35 98:0 / /mnt/a\\040b rw - ext3 /dev/root rw\n\
                    37 36 0:5 / /mnt/a\\040b/c rw - fuse x rw\n";
        assert_eq!(mount_points(text), [Path::new("/mnt/a b"), Path::new("/mnt/a b/c")]);
    }

    #[test]
    fn a_folder_is_in_use_while_a_socket_in_it_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join(SOCKET);
        assert!(!is_settled(&socket), "there is none");
        let listener = UnixListener::bind(&socket).expect("bound");
        assert!(!is_settled(&socket), "it has just been made");
        let client = UnixStream::connect(&socket).expect("connected");
        let (server, _) = listener.accept().expect("accepted");
        assert!(is_in_use(dir.path(), &unix_sockets()));
        drop(listener);
        assert!(is_in_use(dir.path(), &unix_sockets()), "the appliance talks still");
        drop((server, client));
        assert!(!is_in_use(dir.path(), &unix_sockets()));
        let longer = PathBuf::from(format!("{}x", dir.path().display()));
        assert!(!is_in_use(dir.path(), &format!(" {}/{SOCKET}\n", longer.display())));
    }
}
