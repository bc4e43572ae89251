//! Finds hyper2kvm. Root will run the program found, so a candidate that another user could have
//! written is skipped.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};

use crate::model::{Stage, Warning, WarningCode, quoted};
use crate::state::distrust;

use super::super::{Error, Settings};
use super::shebang::interpreters;

/// Folders with the homes of users, also where `/home` is a link, and root's home.
const HOMES: [&str; 4] = ["/home", "/var/home", "/export/home", "/root"];

/// How a user gets a working hyper2kvm. Its metadata names neither `rich` nor `requests`.
pub(in crate::convert) const INSTALL: &str = "install it: python3 -m venv --system-site-packages ~/hyper2kvm-venv && \
     ~/hyper2kvm-venv/bin/pip install hyper2kvm==0.2.1 rich==15.0.0 requests==2.34.2 (FIX needs python3-guestfs \
     too), then give --hyper2kvm-path ~/hyper2kvm-venv/bin/hyper2kvm";

/// A hyper2kvm that is safe to run, whose version is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundHyper2kvm {
    /// Absolute path of the program.
    pub path: PathBuf,
    /// One warning for each candidate that was skipped.
    pub warnings: Vec<Warning>,
}

/// A path at which hyper2kvm may be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct InstallCandidate {
    path: PathBuf,
    /// Why a program at this path is reported and not run.
    doubt: Option<String>,
}

/// Finds hyper2kvm: at the path that the user gave and nowhere else, or at the fixed places and in
/// `PATH`.
///
/// # Errors
/// [`Error::NoSuchProgram`] or [`Error::Unsafe`] for the user's own path, else [`Error::NotFound`].
pub fn find(settings: &Settings) -> Result<FoundHyper2kvm, Error> {
    let here = std::env::current_dir().map_err(Error::io("finding the current directory"))?;
    if let Some(path) = &settings.hyper2kvm_path {
        let path = here.join(path);
        if !is_program(&path) {
            return Err(Error::NoSuchProgram { path });
        }
        return match distrust_all(&path, &settings.path) {
            Some(why) => Err(Error::Unsafe { path, why }),
            None => Ok(FoundHyper2kvm { path, warnings: Vec::new() }),
        };
    }
    first_trusted(candidates(settings, &here), &homes(settings), &settings.path)
}

/// The first program that is safe to run. Each unsafe program before it becomes a warning.
fn first_trusted(
    candidates: Vec<InstallCandidate>,
    homes: &[PathBuf],
    search: &OsStr,
) -> Result<FoundHyper2kvm, Error> {
    let mut warnings = Vec::new();
    for InstallCandidate { path, doubt } in
        candidates.iter().filter(|place| is_program(&place.path))
    {
        if let Some(why) = distrust_all(path, search) {
            let text = format!("{} is passed over: {why}", path.display());
            warnings.push(Warning::new(Stage::Pipeline, WarningCode::Hyper2kvmUnsafePath, text));
            continue;
        }
        match doubt.clone().or_else(|| any_of_another_home(path, homes, search)) {
            None => return Ok(FoundHyper2kvm { path: path.clone(), warnings }),
            Some(why) => {
                let word = quoted(&path.to_string_lossy());
                let text = format!(
                    "{} is not run: {why}. To run it, give --hyper2kvm-path {word}",
                    path.display()
                );
                warnings.push(Warning::new(Stage::Pipeline, WarningCode::Hyper2kvmNotRun, text));
            }
        }
    }
    let searched = candidates.into_iter().map(|place| place.path).collect();
    Err(Error::NotFound { searched, passed_over: warnings })
}

/// Every place to search, in the order that the project's owner gave. A program found relative to
/// the working folder is not trusted: it came with the folder's contents, for example from an
/// archive.
fn candidates(settings: &Settings, here: &Path) -> Vec<InstallCandidate> {
    let sure = |path: PathBuf| InstallCandidate { path, doubt: None };
    let beside = |path: PathBuf| {
        let doubt = Some("it lies in or beside the working folder".to_owned());
        InstallCandidate { path, doubt }
    };
    let mut places = vec![sure("/home/tt/hyper2kvm/hyper2kvm".into())];
    places.extend(settings.home.as_ref().map(|home| sure(home.join("hyper2kvm/hyper2kvm"))));
    places.push(sure("/usr/local/bin/hyper2kvm".into()));
    places.push(sure("/usr/bin/hyper2kvm".into()));
    places.push(beside(here.join("hyper2kvm")));
    places.extend(here.parent().map(|above| beside(above.join("hyper2kvm/hyper2kvm"))));
    for dir in std::env::split_paths(&settings.path) {
        let doubt = (!dir.is_absolute())
            .then(|| format!("the entry '{}' of PATH is relative", dir.display()));
        places.push(InstallCandidate { path: here.join(dir).join("hyper2kvm"), doubt });
    }
    // The working folder may be one of the trusted places.
    let known: Vec<_> = places
        .iter()
        .filter(|place| place.doubt.is_none())
        .map(|place| place.path.clone())
        .collect();
    places.retain(|place| place.doubt.is_none() || !known.contains(&place.path));
    places
}

/// The homes of the user who runs this, from the environment and from the user database, links
/// resolved as well.
fn homes(settings: &Settings) -> Vec<PathBuf> {
    let us = User::from_uid(geteuid()).ok().flatten().map(|user| user.dir);
    let homes = settings.home.iter().cloned().chain(us).filter(|home| home.is_absolute());
    homes.flat_map(|home| [fs::canonicalize(&home).ok(), Some(home)]).flatten().collect()
}

/// [`of_another_home`] for the program and for the programs that it starts first.
fn any_of_another_home(path: &Path, homes: &[PathBuf], search: &OsStr) -> Option<String> {
    let interpreters = interpreters(path, search).unwrap_or_default();
    let programs = std::iter::once(path).chain(interpreters.iter().map(PathBuf::as_path));
    programs.into_iter().find_map(|program| of_another_home(program, homes))
}

/// Why a program in another user's home is not run, even where this user owns the file. Programs
/// below `homes` are accepted.
fn of_another_home(path: &Path, homes: &[PathBuf]) -> Option<String> {
    let real = fs::canonicalize(path).ok();
    let another = std::iter::once(path).chain(real.as_deref()).find(|path| {
        let own = homes.iter().any(|home| home.parent().is_some() && path.starts_with(home));
        !own && HOMES.iter().any(|place| path.starts_with(place))
    });
    another.map(|path| format!("{} lies in a home that is not yours", path.display()))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Why a program is not run: another user could have written it, or an interpreter that it starts.
fn distrust_all(path: &Path, search: &OsStr) -> Option<String> {
    if let Some(why) = distrust(path) {
        return Some(why);
    }
    let interpreters = match interpreters(path, search) {
        Ok(interpreters) => interpreters,
        Err(error) => return Some(format!("it cannot be read: {error}")),
    };
    interpreters.iter().find_map(|program| {
        if !program.is_absolute() {
            return Some(format!("its interpreter '{}' is a relative path", program.display()));
        }
        // A missing interpreter runs nothing; the probe reports it.
        let why = program.exists().then(|| distrust(program)).flatten()?;
        Some(format!("its interpreter is {}: {why}", program.display()))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

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
        let sure = |path: &PathBuf| InstallCandidate { path: path.clone(), doubt: None };
        let places = vec![sure(&not_executable), sure(&bad), sure(&good)];
        let found = first_trusted(places, &[], OsStr::new("")).expect("found");
        assert_eq!(found.path, good);
        assert_eq!(found.warnings[0].code, "hyper2kvm-unsafe-path");
        let Err(Error::NotFound { passed_over, .. }) =
            first_trusted(vec![sure(&bad)], &[], OsStr::new(""))
        else {
            panic!("found");
        };
        assert_eq!(passed_over[0].code, "hyper2kvm-unsafe-path");
    }

    #[test]
    fn what_lies_in_the_working_folder_or_by_a_relative_path_is_named_and_not_run() {
        let (dir, path) = place(0o755);
        let below = dir.path().join("below");
        fs::create_dir(&below).expect("made");
        for (here, variable) in
            [(dir.path(), "/nowhere"), (&below, ".."), (dir.path(), "/a:"), (&below, "/a:./..")]
        {
            let settings = Settings { path: variable.into(), ..Settings::default() };
            let places: Vec<_> = candidates(&settings, here)
                .into_iter()
                .filter(|place| place.path.starts_with(dir.path()))
                .collect();
            let Err(Error::NotFound { passed_over, .. }) =
                first_trusted(places, &[], OsStr::new(""))
            else {
                panic!("it would be run: {variable}");
            };
            let named = passed_over.iter().any(|warning| {
                warning.code == "hyper2kvm-not-run"
                    && warning.message.contains("--hyper2kvm-path /")
                    && warning.message.contains("hyper2kvm")
            });
            assert!(named, "{passed_over:?}");
        }
        // The absolute path of the working folder may be in PATH.
        let settings = Settings { path: dir.path().into(), ..Settings::default() };
        let places = candidates(&settings, dir.path());
        let good = places.iter().find(|place| place.path == path).expect("a place");
        assert_eq!(good.doubt, None);
    }

    #[test]
    fn an_interpreter_is_judged_as_the_program_itself() {
        let (_open, program) = place(0o755);
        let (_bad, interpreter) = place(0o757);
        let judge = |line: &str| {
            fs::write(&program, line).expect("written");
            distrust_all(&program, OsStr::new("/usr/bin"))
        };
        assert_eq!(judge("#!/usr/bin/env sh\n"), None);
        assert_eq!(judge("#!/no/such/python3\n"), None);
        let why = judge(&format!("#!{}\n", interpreter.display()));
        assert!(why.is_some_and(|why| why.contains("everybody")));
        assert!(judge("#!python3\n").is_some_and(|why| why.contains("relative")));
        let why = judge(&format!("#!/usr/bin/env -S {} -I\n", interpreter.display()));
        assert!(why.is_some_and(|why| why.contains("everybody")));
    }

    #[test]
    fn only_the_own_home_is_trusted() {
        let why = |path: &str, homes: &[&str]| {
            let homes: Vec<_> = homes.iter().map(PathBuf::from).collect();
            of_another_home(Path::new(path), &homes)
        };
        for path in ["/home/tt/hyper2kvm/hyper2kvm", "/root/bin/hyper2kvm", "/var/home/x/h"] {
            assert!(why(path, &["/home/me", "/"]).is_some(), "{path}");
        }
        assert_eq!(why("/home/tt/hyper2kvm/hyper2kvm", &["/home/tt"]), None);
        assert_eq!(why("/root/hyper2kvm/hyper2kvm", &["/root"]), None);
        assert_eq!(why("/opt/hyper2kvm", &[]), None);
        assert!(why("/home/tt2/hyper2kvm", &["/home/tt"]).is_some());
    }

    #[test]
    fn the_places_come_in_their_order() {
        let settings =
            Settings { home: Some("/root".into()), path: "/a:rel".into(), ..Settings::default() };
        let places = candidates(&settings, Path::new("/w/here"));
        let places: Vec<_> = places.iter().map(|p| p.path.to_str().expect("text")).collect();
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
