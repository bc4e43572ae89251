//! Bridges for guests of unprivileged users: QEMU's privileged helper connects them, subject to its
//! own access list (`qemu-bridge-helper.c`).

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::{AccessFlags, access};

use crate::domain::Closed;

use super::super::hint_words::word;

/// Paths where libvirt searches for the helper (its build option `qemu_bridge_prefix`).
const HELPERS: [&str; 3] = [
    "usr/libexec/qemu-bridge-helper",
    "usr/lib/qemu/qemu-bridge-helper",
    "usr/lib/qemu-bridge-helper",
];
/// Access list of the bridges that users may join.
const RULES: &str = "etc/qemu/bridge.conf";
/// Maximum depth of nested includes, as a guard against cycles.
const DEEPEST: usize = 8;
/// Bit of `CAP_NET_ADMIN` in a capability set.
const NET_ADMIN: u32 = 1 << 12;

/// QEMU's bridge helper on this machine, as the current user can use it.
#[derive(Debug)]
pub(in crate::libvirt) struct BridgeHelper {
    /// Problem with the helper program itself.
    fault: Option<Closed>,
    rules: Rules,
    /// Path of the list.
    file: PathBuf,
}

/// Rules of the access list. All rules count, and a deny rule overrides an allow rule.
#[derive(Debug, Default)]
struct Rules {
    allowed: Vec<String>,
    denied: Vec<String>,
    /// Why the access list, or a part of it, is not applied.
    fault: Option<String>,
    /// Whether the `fault` is that this user may not read the access list.
    unreadable: bool,
}

impl BridgeHelper {
    /// Searches for the helper below `root`. `named` is the helper in the user's own `qemu.conf`.
    pub(in crate::libvirt) fn look(root: &Path, named: Option<PathBuf>) -> Self {
        let there = HELPERS.iter().map(|path| root.join(path)).find(|path| path.exists());
        let fault = match named.or(there) {
            Some(helper) => fault(&helper),
            None => Some(Closed {
                why: "QEMU's qemu-bridge-helper is not there".to_owned(),
                remedy: "install qemu-system-common (Debian and Ubuntu) or qemu-common (Fedora)"
                    .to_owned(),
            }),
        };
        let file = root.join(RULES);
        let mut rules = Rules::default();
        rules.read(&file, DEEPEST);
        Self { fault, rules, file }
    }

    /// Why guests may not join a bridge; `None` if they may.
    pub(in crate::libvirt) fn closed(&self, bridge: &str) -> Option<Closed> {
        let rule = self.rules.closed(bridge, &self.file);
        match (&self.fault, rule) {
            (None, rule) => rule,
            (Some(fault), None) => Some(fault.clone()),
            (Some(fault), Some(rule)) => Some(Closed {
                why: format!("{}, and {}", fault.why, rule.why),
                remedy: format!("{}; {}", fault.remedy, rule.remedy),
            }),
        }
    }
}

/// Why the user cannot run the helper with the rights that it needs.
fn fault(helper: &Path) -> Option<Closed> {
    let path = helper.display();
    let quoted = word(&helper.to_string_lossy());
    let meta = match fs::metadata(helper) {
        Ok(meta) => meta,
        Err(error) => {
            let remedy = "correct 'bridge_helper' in ~/.config/libvirt/qemu.conf".to_owned();
            return Some(Closed { why: format!("{path}: {error}"), remedy });
        }
    };
    if access(helper, AccessFlags::X_OK).is_err() {
        let why = format!("you may not run {path}");
        let remedy = format!("add yourself to its group ('stat -c %G {quoted}'), and log in again");
        return Some(Closed { why, remedy });
    }
    let is_setuid = meta.permissions().mode() & 0o4000 != 0 && meta.uid() == 0;
    if is_setuid || has_net_admin(helper, &meta) {
        return None;
    }
    let why = format!("{path} has not the rights of root");
    Some(Closed { why, remedy: format!("'sudo chmod u+s {quoted}'") })
}

/// Whether a file grants `CAP_NET_ADMIN` to every user who runs it (`struct vfs_cap_data`: a word
/// of flags, then the lower half of the permitted set).
fn has_net_admin(file: &Path, meta: &Metadata) -> bool {
    let Ok(path) = std::ffi::CString::new(file.as_os_str().as_bytes()) else { return false };
    let mut data = [0_u8; 24];
    // SAFETY: both strings end with NUL, and the buffer has the length that is passed.
    let length = unsafe {
        libc::getxattr(
            path.as_ptr(),
            c"security.capability".as_ptr(),
            data.as_mut_ptr().cast(),
            data.len(),
        )
    };
    let permitted = u32::from_le_bytes([data[4], data[5], data[6], data[7]]);
    meta.is_file() && length >= 12 && permitted & NET_ADMIN != 0
}

impl Rules {
    /// Reads a list and its includes. The helper reads them with the rights of the user.
    fn read(&mut self, file: &Path, depth: usize) {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if depth == DEEPEST => {
                let path = file.display();
                self.fault = Some(match error.kind() {
                    ErrorKind::NotFound => format!("{path}, which lists the bridges, is not there"),
                    ErrorKind::PermissionDenied => {
                        self.unreadable = true;
                        format!("you may not read {path}")
                    }
                    _ => format!("{path}: {error}"),
                });
                return;
            }
            // The helper skips an include that it cannot open.
            Err(_) => return,
        };
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let (rule, name) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            match (rule, name.trim_start()) {
                ("allow", name) if !name.is_empty() => self.allowed.push(name.to_owned()),
                ("deny", name) if !name.is_empty() => self.denied.push(name.to_owned()),
                ("include", path) if !path.is_empty() && depth > 0 => {
                    self.read(Path::new(path), depth - 1);
                }
                // In the main list such a line makes the helper fail; in an included list it ends
                // that list.
                _ if depth == DEEPEST => {
                    self.fault = Some(format!("{} has the line '{line}'", file.display()));
                    return;
                }
                _ => return,
            }
        }
    }

    fn closed(&self, bridge: &str, file: &Path) -> Option<Closed> {
        let path = word(&file.to_string_lossy());
        let names = |list: &[String]| list.iter().any(|name| name == bridge || name == "all");
        let allow = format!(
            "'sudo install -d /etc/qemu' and 'echo allow {} | sudo tee -a {path}'",
            word(bridge)
        );
        let (why, remedy) = if let Some(fault) = &self.fault {
            let remedy = match () {
                () if !file.exists() => allow,
                () if self.unreadable => format!("'sudo chmod a+r {path}'"),
                () => "correct the line".to_owned(),
            };
            (fault.clone(), remedy)
        } else if names(&self.denied) {
            let remedy = format!("remove that line ('sudoedit {path}')");
            (format!("{} denies it", file.display()), remedy)
        } else if names(&self.allowed) {
            return None;
        } else {
            (format!("{} does not allow it", file.display()), allow)
        };
        Some(Closed { why, remedy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root folder with a helper of that mode and an access list of that content.
    fn machine(mode: Option<u32>, rules: Option<&str>) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for dir in ["usr/lib/qemu", "etc/qemu"] {
            fs::create_dir_all(root.path().join(dir)).expect("made");
        }
        if let Some(mode) = mode {
            let helper = root.path().join(HELPERS[1]);
            fs::write(&helper, "").expect("written");
            fs::set_permissions(&helper, fs::Permissions::from_mode(mode)).expect("set");
        }
        if let Some(rules) = rules {
            let rules = rules.replace("ROOT", root.path().to_str().expect("UTF-8"));
            fs::write(root.path().join(RULES), rules).expect("written");
        }
        root
    }

    fn closed(rules: &str, bridge: &str) -> Option<Closed> {
        let root = machine(None, Some(rules));
        fs::write(root.path().join("more"), "allow br1\n").expect("written");
        fs::write(root.path().join("circle"), "include ROOT/circle\n").expect("written");
        BridgeHelper::look(root.path(), None).rules.closed(bridge, &root.path().join(RULES))
    }

    #[test]
    fn the_list_counts_as_the_helper_reads_it() {
        for (rules, open) in [
            ("allow br0\n", true),
            ("# bridges\n\n\tallow\t br0  \n", true),
            ("allow all", true),
            ("include ROOT/more\nallow br0", true),
            ("include ROOT/none\nallow br0", true),
            ("allow br1\n", false),
            ("", false),
            ("allow all\ndeny br0\n", false),
            ("deny all\nallow br0\n", false),
            ("allow br00\nallow br\n", false),
            ("#allow br0\n", false),
            ("permit br0\nallow br0\n", false),
            ("allow\nallow br0\n", false),
        ] {
            assert_eq!(closed(rules, "br0").is_none(), open, "{rules:?}");
        }
        assert!(closed("include ROOT/more\n", "br1").is_none());
        assert!(closed("include ROOT/circle\nallow br1", "br1").is_none());
        let told = closed("allow br1", "br0").expect("closed");
        assert!(told.remedy.contains("echo allow br0 | sudo tee -a"), "{told:?}");
    }

    #[test]
    fn both_commands_are_told_where_both_are_needed() {
        let look = |mode, rules| {
            let root = machine(mode, rules);
            BridgeHelper::look(root.path(), None).closed("br0")
        };
        let said = look(Some(0o755), None).expect("closed");
        for part in ["has not the rights of root", "is not there"] {
            assert!(said.why.contains(part), "{said:?}");
        }
        for part in ["sudo chmod u+s ", "echo allow br0 | sudo tee -a "] {
            assert!(said.remedy.contains(part), "{said:?}");
        }
        let said = look(None, Some("allow br0")).expect("closed");
        assert!(said.remedy.contains("qemu-system-common"), "{said:?}");
        assert!(look(Some(0o644), Some("allow br0")).is_some());
        if nix::unistd::geteuid().is_root() {
            assert_eq!(look(Some(0o4755), Some("allow br0")), None);
        }
    }
}
