//! The environment variables that mean something to hyperexport, read once. Those that may be
//! secrets are then removed: libvirt's own children inherit this process' environment.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::absolute;
use crate::convert::GuestfsSettings;
use crate::model::Secret;
use crate::state::Surroundings;

/// What the environment says. The `GOVC_*` names are govc's own, so that one set-up serves both.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `GOVC_URL`: address of the vCenter, perhaps with a user and a password.
    pub govc_url: Option<String>,
    /// `GOVC_USERNAME`.
    pub govc_username: Option<String>,
    /// `GOVC_PASSWORD`.
    pub govc_password: Option<Secret>,
    /// `GOVC_INSECURE`: one of Go's words for true switches certificate checks off.
    pub govc_insecure: bool,
    /// `GOVC_TLS_CA_CERTS`: PEM files of trusted authorities, `:` between them.
    pub govc_ca_files: Vec<PathBuf>,
    /// `PATH`.
    pub path: OsString,
    /// What a program with windows needs of the user's session.
    pub session: Vec<(OsString, OsString)>,
    /// Whether there is a screen: `DISPLAY` or `WAYLAND_DISPLAY` is set.
    pub display: bool,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// Folder for the user's data: `XDG_DATA_HOME`, else `.local/share` in the home folder (XDG
    /// Base Directory Specification).
    pub data_home: Option<PathBuf>,
    /// Where state of programs is kept, and who called sudo (`XDG_STATE_HOME`, `HOME`, `SUDO_UID`).
    pub surroundings: Surroundings,
    /// Settings of libguestfs (`LIBGUESTFS_*`).
    pub guestfs: GuestfsSettings,
    /// `VIRTIO_WIN`, or its old name `VIRTIO_WIN_DIR`: drivers of virtio for Windows, as virt-v2v
    /// looks for them. Absolute.
    pub virtio_win: Option<PathBuf>,
    /// `HYPEREXPORT_PANIC_AT`: the stage in which a test of a debug build has the program break.
    pub panic_at: Option<String>,
    /// `VIRT_TOOLS_DATA_DIR`: virt-v2v's programs for the first start of Windows. Absolute.
    pub virt_tools: Option<PathBuf>,
}

/// How the variables begin that may hold a password or where it goes: no program that is started
/// needs any of them.
const SECRET: &str = "GOVC_";
/// What belongs to the session of a user at a screen; with a `*` all that begin so.
const SESSION: [&str; 19] = [
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_*",
    "DBUS_SESSION_BUS_ADDRESS",
    "SSH_AUTH_SOCK",
    "KRB5CCNAME",
    "DESKTOP_SESSION",
    "GNOME_*",
    "GDK_*",
    "GTK_*",
    "GSETTINGS_*",
    "LIBVIRT_*",
];

impl Environment {
    /// Reads the environment of this process, and removes from it what may be secret. An empty
    /// variable counts as unset. Called once, while there is one thread.
    pub fn read() -> Self {
        let environment = Self::look();
        for name in secrets(env::vars_os().map(|(name, _)| name)) {
            // SAFETY: no other thread reads the environment, since there is none yet.
            unsafe { env::remove_var(name) };
        }
        environment
    }

    fn look() -> Self {
        let text = |name| env::var(name).ok().filter(|value| !value.is_empty());
        // Programs run in folders of their own, where a relative path would lead elsewhere.
        let place = |name| {
            let given = env::var_os(name).filter(|value| !value.is_empty())?;
            Some(absolute(Path::new(&given)))
        };
        let home = env::var_os("HOME").map(PathBuf::from);
        let data_home = env::var_os("XDG_DATA_HOME").map(PathBuf::from);
        // Relative paths in it are to be ignored.
        let data_home = data_home.filter(|path| path.is_absolute());
        let state_home = env::var_os("XDG_STATE_HOME").map(PathBuf::from);
        let surroundings = Surroundings {
            state_home: state_home.filter(|path| path.is_absolute()),
            home: home.clone().filter(|path| path.is_absolute()),
            invoker: text("SUDO_UID").and_then(|uid| uid.parse().ok()),
        };
        Self {
            panic_at: text("HYPEREXPORT_PANIC_AT").filter(|_| cfg!(debug_assertions)),
            govc_url: text("GOVC_URL"),
            govc_username: text("GOVC_USERNAME"),
            govc_password: text("GOVC_PASSWORD").map(Secret::new),
            govc_insecure: text("GOVC_INSECURE").is_some_and(|value| is_true(&value)),
            govc_ca_files: text("GOVC_TLS_CA_CERTS")
                .map(|paths| env::split_paths(&paths).collect())
                .unwrap_or_default(),
            path: env::var_os("PATH").unwrap_or_default(),
            session: env::vars_os().filter(|(name, _)| is_of_session(name)).collect(),
            display: text("DISPLAY").or_else(|| text("WAYLAND_DISPLAY")).is_some(),
            data_home: data_home.or_else(|| Some(home.as_ref()?.join(".local/share"))),
            home,
            surroundings,
            guestfs: GuestfsSettings {
                backend: text("LIBGUESTFS_BACKEND"),
                backend_settings: text("LIBGUESTFS_BACKEND_SETTINGS"),
                path: env::var_os("LIBGUESTFS_PATH")
                    .filter(|value| !value.is_empty())
                    .map(|paths| env::split_paths(&paths).map(|path| absolute(&path)).collect())
                    .unwrap_or_default(),
            },
            virtio_win: place("VIRTIO_WIN").or_else(|| place("VIRTIO_WIN_DIR")),
            virt_tools: place("VIRT_TOOLS_DATA_DIR"),
        }
    }
}

/// The names of those variables that may be secret.
fn secrets(names: impl Iterator<Item = OsString>) -> Vec<OsString> {
    names.filter(|name| name.as_encoded_bytes().starts_with(SECRET.as_bytes())).collect()
}

fn is_of_session(name: &OsStr) -> bool {
    SESSION.iter().any(|known| match known.strip_suffix('*') {
        Some(beginning) => name.as_encoded_bytes().starts_with(beginning.as_bytes()),
        None => name == *known,
    })
}

/// What govc takes for true (Go, `strconv.ParseBool`). Everything else leaves the checks on.
fn is_true(value: &str) -> bool {
    ["1", "t", "T", "true", "TRUE", "True"].contains(&value)
}

#[cfg(test)]
mod tests {
    use super::{OsStr, is_of_session, is_true, secrets};

    #[test]
    fn what_may_be_secret_is_kept_from_children() {
        let names = ["GOVC_PASSWORD", "GOVC_URL", "GOVC_USERNAME", "GOVC_NEW", "PATH", "MY_GOVC_X"];
        let found = secrets(names.iter().map(std::convert::Into::into));
        assert_eq!(found, ["GOVC_PASSWORD", "GOVC_URL", "GOVC_USERNAME", "GOVC_NEW"]);
        let of_session = |name: &str| is_of_session(OsStr::new(name));
        assert!(
            of_session("XDG_RUNTIME_DIR") && of_session("SSH_AUTH_SOCK") && of_session("LC_ALL")
        );
        for name in ["GOVC_PASSWORD", "https_proxy", "LD_PRELOAD", "AWS_SECRET_ACCESS_KEY", "HOMES"]
        {
            assert!(!of_session(name), "{name}");
        }
    }

    #[test]
    fn true_is_spelled_as_govc_spells_it() {
        for value in ["1", "t", "T", "true", "TRUE", "True"] {
            assert!(is_true(value), "{value}");
        }
        for value in ["", "0", "f", "FALSE", "no", "yes", "tRuE", " true"] {
            assert!(!is_true(value), "{value}");
        }
    }
}
