//! Where hyper2kvm is. Root will run what is found here, so a candidate that somebody else could
//! have written is passed over.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::model::{Stage, Warning};
use crate::state::distrust;

use super::{Error, Settings};

/// How a user gets a hyper2kvm that works. Its metadata names neither `rich` nor `requests`.
pub(super) const INSTALL: &str = "install it: python3 -m venv --system-site-packages ~/hyper2kvm-venv && \
     ~/hyper2kvm-venv/bin/pip install hyper2kvm==0.2.1 rich==15.0.0 requests==2.34.2 (FIX needs python3-guestfs \
     too), then give --hyper2kvm-path ~/hyper2kvm-venv/bin/hyper2kvm";

/// A hyper2kvm that may be run, not yet asked for its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Absolute path of the program.
    pub path: PathBuf,
    /// Candidates passed over.
    pub warnings: Vec<Warning>,
}

/// Looks for hyper2kvm: the path the user gave and nothing else, or the fixed places and `PATH`.
///
/// # Errors
/// [`Error::NoSuchProgram`] or [`Error::Unsafe`] for the user's own path, else [`Error::NotFound`].
pub fn find(settings: &Settings) -> Result<Found, Error> {
    let here = std::env::current_dir().map_err(Error::io("find the current directory"))?;
    if let Some(path) = &settings.hyper2kvm_path {
        let path = here.join(path);
        if !is_program(&path) {
            return Err(Error::NoSuchProgram { path });
        }
        return match distrust(&path) {
            Some(why) => Err(Error::Unsafe { path, why }),
            None => Ok(Found { path, warnings: Vec::new() }),
        };
    }
    first_trusted(candidates(settings, &here))
}

fn first_trusted(candidates: Vec<PathBuf>) -> Result<Found, Error> {
    let mut warnings = Vec::new();
    for path in candidates.iter().filter(|path| is_program(path)) {
        match distrust(path) {
            None => return Ok(Found { path: path.clone(), warnings }),
            Some(why) => warnings.push(Warning::new(
                Stage::Pipeline,
                "hyper2kvm-unsafe-path",
                format!("{} is passed over: {why}", path.display()),
            )),
        }
    }
    for warning in &warnings {
        tracing::warn!(code = warning.code, "{}", warning.message);
    }
    Err(Error::NotFound { searched: candidates })
}

/// Every place to look at, in order.
fn candidates(settings: &Settings, here: &Path) -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from("/home/tt/hyper2kvm/hyper2kvm")];
    places.extend(settings.home.as_ref().map(|home| home.join("hyper2kvm/hyper2kvm")));
    places.push("/usr/local/bin/hyper2kvm".into());
    places.push("/usr/bin/hyper2kvm".into());
    places.push(here.join("hyper2kvm"));
    places.extend(here.parent().map(|above| above.join("hyper2kvm/hyper2kvm")));
    let path: &OsStr = &settings.path;
    places.extend(std::env::split_paths(path).map(|dir| here.join(dir).join("hyper2kvm")));
    places
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder with an executable `hyper2kvm`.
    fn place(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("hyper2kvm");
        fs::write(&path, "#!/bin/sh\n").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
        (dir, path)
    }

    #[test]
    fn a_private_program_in_a_sticky_folder_is_trusted() {
        let (_dir, path) = place(0o755);
        assert_eq!(distrust(&path), None);
    }

    #[test]
    fn what_others_can_write_is_not() {
        let (dir, path) = place(0o757);
        assert!(distrust(&path).is_some_and(|why| why.contains("everybody")));
        let (_open, good) = place(0o755);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("mode");
        let link = dir.path().join("link");
        symlink(good, &link).expect("link");
        assert!(
            distrust(&link).is_some_and(|why| why.contains("everybody")),
            "a link can be moved"
        );
    }

    #[test]
    fn what_belongs_to_another_user_is_not() {
        let (dir, path) = place(0o755);
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        std::os::unix::fs::chown(dir.path(), Some(12345), None).expect("chown");
        assert!(distrust(&path).is_some_and(|why| why.contains("belongs to user 12345")));
    }

    #[test]
    fn an_unsafe_candidate_is_passed_over_with_a_warning() {
        let (_a, bad) = place(0o757);
        let (_b, good) = place(0o755);
        let (_c, not_executable) = place(0o644);
        let found = first_trusted(vec![not_executable, bad.clone(), good.clone()]).expect("found");
        assert_eq!(found.path, good);
        assert_eq!(found.warnings[0].code, "hyper2kvm-unsafe-path");
        assert!(matches!(first_trusted(vec![bad]), Err(Error::NotFound { .. })));
    }

    #[test]
    fn the_places_come_in_their_order() {
        let settings =
            Settings { home: Some("/root".into()), path: "/a:rel".into(), ..Settings::default() };
        let places = candidates(&settings, Path::new("/w/here"));
        let places: Vec<_> = places.iter().map(|p| p.to_str().expect("text")).collect();
        assert_eq!(
            places,
            [
                "/home/tt/hyper2kvm/hyper2kvm",
                "/root/hyper2kvm/hyper2kvm",
                "/usr/local/bin/hyper2kvm",
                "/usr/bin/hyper2kvm",
                "/w/here/hyper2kvm",
                "/w/hyper2kvm/hyper2kvm",
                "/a/hyper2kvm",
                "/w/here/rel/hyper2kvm",
            ]
        );
    }
}
