//! Runs programs of libguestfs: their backend, and their view of this machine.
//!
//! `direct` is the backend: libguestfs starts QEMU by itself, within the confinement. With
//! `libvirt` the daemon starts QEMU, outside of it, as a user who cannot reach the work folder; it
//! confines only where sVirt is on. So libvirt is used only where the user asks for it. The
//! programs are then not confined, since they talk to the daemon.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::num::NonZero;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use crate::child::{Bounds, Confinement, Door, Program};

use super::super::Settings;
use super::qemu_img::Tools;

/// libguestfs' setting for a host whose KVM cannot run guests.
pub(in crate::convert) const FORCE_TCG: &str = "force_tcg";
/// Folder in which libguestfs stores its appliance between runs; libguestfs checks its owner.
/// Inside the work folder the appliance would be rebuilt each time.
pub(in crate::convert) const APPLIANCE_CACHE: &str = "/var/tmp";
/// The backend where the user names none.
const DIRECT: &str = "direct";
/// Paths from which supermin builds the appliance, beside programs and libraries: configuration,
/// kernels, and the list of packages.
const PARTS: [&str; 6] =
    ["/etc", "/boot", "/var/lib/dpkg", "/var/lib/rpm", "/var/lib/pacman", "/var/lib/apk"];
/// Folders whose subfolders supermin needs, since packages list them: an appliance without `/sys`
/// and `/run` does not start.
const OUTLINE: [&str; 6] = ["/", "/run", "/var", "/var/cache", "/var/lib", "/var/log"];
/// Inputs by which supermin decides whether to rebuild the appliance: lists of packages, kernels,
/// and libguestfs' own description.
const INPUTS: [&str; 11] = [
    "/var/lib/dpkg/status",
    "/var/lib/rpm/Packages",
    "/var/lib/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/var/lib/pacman/local",
    "/lib/apk/db/installed",
    "/boot",
    "/lib/modules",
    "/usr/lib/x86_64-linux-gnu/guestfs/supermin.d",
    "/usr/lib64/guestfs/supermin.d",
    "/usr/lib/guestfs/supermin.d",
];
/// Secret files of `/etc`.
const SECRETS: [&str; 20] = [
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/security/opasswd",
    "/etc/sudoers.d",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/pki/tls/private",
    "/etc/pki/libvirt",
    "/etc/pki/qemu",
    "/etc/krb5.keytab",
    "/etc/libvirt",
    "/etc/NetworkManager/system-connections",
    "/etc/wireguard",
    "/etc/openvpn",
    "/etc/ipsec.d",
    "/etc/letsencrypt",
    "/etc/kubernetes",
    "/etc/ceph",
];
/// Longest file that FIX makes, an overlay or a file in transit: configuration, kernels, drivers.
const LONGEST_FILE: u64 = 16 << 30;

/// The confinement of a program of libguestfs. [`Door::None`] where the user's backend needs a
/// daemon, and where the appliance is not built yet: supermin needs the machine's files and their
/// owners.
pub(in crate::convert) async fn door(settings: &Settings, tools: &Tools) -> Door {
    if backend(settings) == DIRECT && (has_fixed_appliance(settings) || is_built()) {
        tools.door().await
    } else {
        Door::None
    }
}

/// The backend of libguestfs: the user's choice, or else `direct`.
pub(in crate::convert) fn backend(settings: &Settings) -> &str {
    settings.guestfs.backend.as_deref().unwrap_or(DIRECT)
}

/// Whether the user has a fixed appliance, which is never rebuilt.
/// libguestfs-make-fixed-appliance(1) leaves this file, by which libguestfs recognizes it.
fn has_fixed_appliance(settings: &Settings) -> bool {
    settings.guestfs.path.iter().any(|folder| folder.join("README.fixed").is_file())
}

/// Environment variables with the backend and the appliance for libguestfs.
pub(in crate::convert) fn choices(settings: &Settings) -> Vec<(&'static str, OsString)> {
    let mut choices = vec![("LIBGUESTFS_BACKEND", backend(settings).into())];
    if let Ok(path) = std::env::join_paths(&settings.guestfs.path)
        && !path.is_empty()
    {
        choices.push(("LIBGUESTFS_PATH", path));
    }
    choices
}

/// Whether the appliance is newer than its inputs, so that supermin does not rebuild it.
fn is_built() -> bool {
    let Some(folder) = appliance_folder() else { return false };
    let changed = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
    let Some(built) = changed(&folder.join("appliance.d")) else { return false };
    INPUTS.iter().filter_map(|path| changed(Path::new(path))).all(|input| input < built)
}

/// `program` with libguestfs' backend and limits, confined as `door`. It may write below `work`, if
/// given.
pub(in crate::convert) fn confined(
    program: Program,
    settings: &Settings,
    work: Option<&Path>,
    door: Door,
) -> Program {
    let cpus = available_parallelism().map_or(1, NonZero::get);
    // The address space is not limited: an emulator maps several times its guest's memory, which
    // libguestfs itself limits (`-m`).
    let bounds = Bounds {
        address_space: None,
        cpu: Some(settings.timeout.saturating_mul(u32::try_from(cpus).unwrap_or(u32::MAX))),
        file_size: Some(LONGEST_FILE),
    };
    let confinement = Confinement::new()
        .read(PARTS)
        .hide(SECRETS)
        .skeleton(&OUTLINE)
        .read(users_files(settings))
        .read(&settings.guestfs.path)
        .devices(&["kvm"])
        // Sockets, and supermin's temporary files beside the appliance's folder.
        .scratch(&["/tmp", "/var/tmp"])
        .write(appliance_folder())
        .write(work);
    program.envs(choices(settings)).bounds(bounds).confined(confinement, door)
}

/// The user's files that are copied into the guest.
fn users_files(settings: &Settings) -> impl Iterator<Item = &PathBuf> {
    let windows = &settings.windows;
    let customize = &settings.customize;
    let windows = [&windows.virtio_win, &windows.virtio_win_variable, &windows.virt_tools];
    let keys = customize.ssh_keys.iter().map(|(_, file)| file);
    let packages = &settings.agent.packages;
    windows.into_iter().flatten().chain(keys).chain(&customize.firstboot).chain(packages)
}

/// The folder of libguestfs' appliance, created as libguestfs creates it. None where another user
/// owns it: libguestfs would refuse it.
fn appliance_folder() -> Option<PathBuf> {
    let us = nix::unistd::geteuid();
    let folder = Path::new(APPLIANCE_CACHE).join(format!(".guestfs-{us}"));
    if let Err(error) = DirBuilder::new().mode(0o755).create(&folder) {
        tracing::trace!(%error, "the folder of the appliance");
    }
    let found = fs::symlink_metadata(&folder).ok()?;
    (found.is_dir() && found.uid() == us.as_raw()).then_some(folder)
}

/// A description of how libguestfs works here, for messages.
pub(in crate::convert) fn described(settings: &Settings, door: Door) -> String {
    let how = match door {
        Door::None => "not confined",
        Door::Privilege | Door::UserNamespace => "confined",
    };
    format!("backend {}, {how}", backend(settings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::GuestfsSettings;

    #[test]
    fn an_appliance_of_the_user_is_named_and_not_built() {
        let dir = tempfile::tempdir().expect("a folder");
        let (fixed, empty) = (dir.path().join("fixed"), dir.path().join("empty"));
        for folder in [&fixed, &empty] {
            fs::create_dir(folder).expect("made");
        }
        fs::write(fixed.join("README.fixed"), "").expect("written");
        let with = |folders: &[&PathBuf]| Settings {
            guestfs: GuestfsSettings {
                path: folders.iter().map(|folder| folder.to_path_buf()).collect(),
                ..GuestfsSettings::default()
            },
            ..Settings::default()
        };
        assert!(!choices(&with(&[])).iter().any(|(name, _)| *name == "LIBGUESTFS_PATH"));
        assert!(!has_fixed_appliance(&with(&[&empty])));
        let both = with(&[&empty, &fixed]);
        assert!(has_fixed_appliance(&both));
        let paths = std::env::join_paths([empty, fixed]).expect("no colon");
        assert!(choices(&both).contains(&("LIBGUESTFS_PATH", paths)));
    }
}
