//! A user's session daemon (`/session`): its guests have only the rights of that user.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Gid, Group, User, access, geteuid};

use crate::domain::{Closed, HostBridge, OwnDaemon};

use super::super::connection::uri;
use super::bridge_helper::BridgeHelper;

/// Device that opens KVM.
const KVM: &str = "/dev/kvm";

/// Restrictions of the session daemon at `uri`. `None` for a system daemon, and for root's session
/// daemon, which has all rights.
pub(in crate::libvirt) fn of(uri: &str) -> Option<OwnDaemon> {
    if !uri::is_session(uri) {
        return None;
    }
    if !uri::is_local(uri) {
        let is_root = uri::user(uri) == "root";
        return (!is_root).then_some(OwnDaemon { kvm: None, seen: false });
    }
    (!geteuid().is_root()).then(|| OwnDaemon { kvm: closed_kvm(Path::new(KVM)), seen: true })
}

/// Records for each bridge of this machine whether a user's guests may join it.
pub(in crate::libvirt) fn judge(bridges: &mut [HostBridge]) {
    let helper = BridgeHelper::look(Path::new("/"), named_helper());
    for bridge in bridges.iter_mut() {
        bridge.closed = helper.closed(&bridge.name);
        // The helper connects to a bridge but sets no VLAN.
        bridge.vlans = false;
    }
}

/// Why the user may not open KVM; `None` also if the machine has no KVM.
fn closed_kvm(device: &Path) -> Option<Closed> {
    let meta = fs::metadata(device).ok()?;
    if access(device, AccessFlags::R_OK | AccessFlags::W_OK).is_ok() {
        return None;
    }
    let group = Group::from_gid(Gid::from_raw(meta.gid())).ok().flatten();
    let group = group.map_or_else(|| "kvm".to_owned(), |group| group.name);
    Some(Closed {
        why: format!("you may not open {}", device.display()),
        remedy: format!(
            "add yourself to the group {group} ('sudo usermod -aG {group} $USER', then log in again)"
        ),
    })
}

/// The bridge helper in the user's own libvirt configuration.
fn named_helper() -> Option<PathBuf> {
    let home = User::from_uid(geteuid()).ok().flatten()?.dir;
    let text = fs::read_to_string(home.join(".config/libvirt/qemu.conf")).ok()?;
    bridge_helper(&text)
}

fn bridge_helper(text: &str) -> Option<PathBuf> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("bridge_helper"));
    let value = lines.filter_map(|rest| rest.trim_start().strip_prefix('=')).next_back()?;
    let value = value.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| PathBuf::from(value))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_a_user_s_own_daemon_lacks_rights() {
        assert_eq!(of("qemu:///system"), None);
        assert_eq!(of("qemu+ssh://root@h/session"), None);
        assert_eq!(of("qemu+ssh://me@h/session"), Some(OwnDaemon { kvm: None, seen: false }));
        assert_eq!(of("qemu:///session").is_none(), geteuid().is_root());
    }

    #[test]
    fn the_group_of_the_device_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let device = dir.path().join("kvm");
        assert_eq!(closed_kvm(&device), None, "no KVM is another matter");
        fs::write(&device, "").expect("written");
        assert_eq!(closed_kvm(&device), None);
        if !geteuid().is_root() {
            fs::set_permissions(&device, fs::Permissions::from_mode(0o000)).expect("set");
            assert!(closed_kvm(&device).expect("closed").remedy.contains("usermod -aG"));
        }
    }

    #[test]
    fn the_user_s_choice_of_a_helper_is_read() {
        let text = "#bridge_helper = \"/no\"\nbridge_helper = \"/opt/helper\" \n";
        assert_eq!(bridge_helper(text), Some(PathBuf::from("/opt/helper")));
        assert_eq!(bridge_helper("bridge_helper = \"\""), None);
        assert_eq!(bridge_helper("user = \"me\""), None);
    }
}
