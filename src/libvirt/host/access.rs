//! Checks whether QEMU may enter the folder of a pool on this machine.
//!
//! libvirt gives an image to the user that QEMU runs as, but does not change the folders above it.
//! In a pool below `/root` a domain can be defined but never starts.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::{Gid, Uid, geteuid, setfsgid, setfsuid};
use virt::connect::Connect;

use super::super::Error;
use super::super::xml::capabilities::Capabilities;
use super::capabilities;

/// The user that QEMU runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AccessUser {
    uid: u32,
    gid: u32,
}

/// Refuses a folder that QEMU cannot enter. For a folder that does not exist yet, its parents are
/// checked. Without root's rights the check is impossible, and the folder is accepted.
pub(in crate::libvirt) fn check(connect: &Connect, pool: &str, dir: &Path) -> Result<(), Error> {
    let Some(user) = qemu_user(&capabilities::host(connect)?) else { return Ok(()) };
    if user.uid == 0 || !geteuid().is_root() {
        return Ok(());
    }
    let path = dir.to_owned();
    // The thread drops root's rights for good, so it exits after the check.
    let blocked = std::thread::spawn(move || blocked(&path, user)).join().unwrap_or_default();
    match blocked {
        Some(folder) => Err(Error::PoolBlocked { pool: pool.to_owned(), folder, uid: user.uid }),
        None => Ok(()),
    }
}

/// QEMU's user according to libvirt: the base label of the DAC driver, `+UID:+GID`
/// (<https://libvirt.org/formatcaps.html>, `secmodel`).
fn qemu_user(capabilities: &Capabilities) -> Option<AccessUser> {
    let models = &capabilities.host.as_ref()?.secmodel;
    let labels = &models.iter().find(|model| model.model == "dac")?.baselabel;
    let (uid, gid) = labels.first()?.text.split_once(':')?;
    let number = |text: &str| text.trim().trim_start_matches('+').parse().ok();
    Some(AccessUser { uid: number(uid)?, gid: number(gid)? })
}

/// The first folder on the path to `dir` that `user` may not search. The kernel decides, so that
/// ACLs count as well as modes. Changes the identity of the calling thread.
fn blocked(dir: &Path, user: AccessUser) -> Option<PathBuf> {
    // Links are resolved while this thread still has root's rights.
    let existing = dir.ancestors().find_map(|folder| folder.canonicalize().ok())?;
    // SAFETY: no memory is passed. Unlike the C library's function, the raw system call affects
    // this thread alone.
    unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) };
    setfsgid(Gid::from_raw(user.gid));
    setfsuid(Uid::from_raw(user.uid));
    let mut folders: Vec<_> = existing.ancestors().collect();
    folders.reverse();
    let closed = |folder: &&Path| {
        let inside = fs::metadata(folder.join("."));
        inside.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    };
    folders.into_iter().find(closed).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::libvirt::xml;

    #[test]
    fn the_user_is_what_libvirt_says() {
        let read = |label: &str| {
            let text = format!(
                "<capabilities><host><cpu/><secmodel><model>none</model><doi>0</doi></secmodel>\
                 <secmodel><model>dac</model>{label}</secmodel></host></capabilities>"
            );
            qemu_user(&xml::read("capabilities", &text).expect("XML"))
        };
        let label = "<baselabel type='kvm'>+64055:+108</baselabel><baselabel type='qemu'>+1:+1\
                     </baselabel>";
        assert_eq!(read(label), Some(AccessUser { uid: 64055, gid: 108 }));
        assert_eq!(read(""), None);
    }

    #[test]
    fn the_folder_that_is_closed_is_named() {
        if !geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir_in("/tmp").expect("a folder");
        let (open, shut) = (dir.path().join("open"), dir.path().join("open/shut"));
        fs::create_dir_all(shut.join("pool")).expect("made");
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
        };
        mode(dir.path(), 0o711);
        mode(&open, 0o755);
        // Open to root's group, of which this process is a member and QEMU is not.
        mode(&shut, 0o770);
        let look = |path: PathBuf| {
            let user = AccessUser { uid: 64055, gid: 64055 };
            std::thread::spawn(move || blocked(&path, user)).join().expect("no panic")
        };
        assert_eq!(look(shut.join("pool")), Some(shut.clone()));
        assert_eq!(look(shut.join("new/pool")), Some(shut.clone()));
        assert_eq!(look(open.clone()), None);
        mode(&shut, 0o701);
        assert_eq!(look(shut.join("pool")), None);
        assert_eq!(fs::read_dir(&shut).expect("this thread is root still").count(), 1);
    }
}
