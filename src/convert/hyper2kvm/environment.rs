//! The environment of hyper2kvm: built here from nothing, so that no variable of the user's shell
//! affects hyper2kvm.

use std::ffi::OsString;
use std::path::Path;

use super::super::Settings;
use super::super::tools::libguestfs::{APPLIANCE_CACHE, choices};
use super::super::tools::work::WorkDir;

/// The environment of any Python: `PATH`, UTF-8 on every output, and the user's own packages
/// although HOME is another.
pub(in crate::convert) fn python_environment(settings: &Settings) -> Vec<(&'static str, OsString)> {
    let mut environment = vec![
        ("PATH", settings.path.clone()),
        ("LC_ALL", "C.UTF-8".into()),
        ("PYTHONUTF8", "1".into()),
        ("PYTHONIOENCODING", "utf-8".into()),
        ("PYTHONDONTWRITEBYTECODE", "1".into()),
    ];
    if let Some(home) = &settings.home {
        environment.push(("PYTHONUSERBASE", home.join(".local").into_os_string()));
    }
    environment
}

/// The environment of hyper2kvm. `backend_settings` are libguestfs' own, such as `force_tcg`.
///
/// `HYPER2KVM_GUESTFS_BACKEND` is the only way to keep 0.2.1 from its default back end, which
/// mounts the host's own `/dev/sda1`.
pub(in crate::convert) fn hyper2kvm_environment(
    settings: &Settings,
    work: &WorkDir,
    backend_settings: Option<&str>,
) -> Vec<(&'static str, OsString)> {
    let mut environment = python_environment(settings);
    environment[0].1 = path_with_stubs(&work.stubs(), &settings.path);
    let tmp = work.tmp().into_os_string();
    environment.extend([
        ("HOME", work.path().as_os_str().to_owned()),
        ("TMPDIR", tmp.clone()),
        ("LIBGUESTFS_TMPDIR", tmp),
        ("LIBGUESTFS_CACHEDIR", APPLIANCE_CACHE.into()),
        ("HYPER2KVM_GUESTFS_BACKEND", "libguestfs".into()),
        // log.rs reads the trace for failures that hyper2kvm does not log.
        ("LIBGUESTFS_TRACE", "1".into()),
    ]);
    environment.extend(choices(settings));
    if let Some(given) = backend_settings {
        environment.push(("LIBGUESTFS_BACKEND_SETTINGS", given.into()));
    }
    environment
}

fn path_with_stubs(stubs: &Path, path: &OsString) -> OsString {
    let mut joined = stubs.as_os_str().to_owned();
    joined.push(":");
    joined.push(path);
    joined
}
