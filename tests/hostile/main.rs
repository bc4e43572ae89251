//! Malicious inputs, each with its generator: the program reports the fault, opens no files except
//! those that it was given, and leaves nothing behind.

#[path = "../support/mod.rs"]
mod support;

mod archives;
mod budgets;
mod children;
mod descriptors;
mod images;
mod names;
mod planted;
mod replies;
mod state;
mod terminal;

use std::path::PathBuf;
use std::process::Command;

use support::files::Desk;
use support::job::Ended;

/// Limit of a run's address space, in KiB: a bomb would need a multiple.
const MEMORY_KIB: u32 = 1_200_000;

/// A command of the desk under that limit, which its children share.
fn limited(desk: &Desk, inner: &Command) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -v {MEMORY_KIB}; exec \"$@\""), "-"]);
    command.arg(inner.get_program()).args(inner.get_args()).current_dir(desk.dir.path());
    // Otherwise the C library reserves 64 MiB of addresses per thread.
    command.env("MALLOC_ARENA_MAX", "2");
    command
}

/// A malicious input.
struct Case {
    /// Name of the case.
    name: &'static str,
    /// Generator of the input; returns the path of the source.
    make: fn(&Desk) -> PathBuf,
    /// Expected text of the error.
    said: &'static str,
}

impl Case {
    /// Runs an export of the input, and asserts that it fails as expected.
    fn check(&self) {
        let desk = Desk::new();
        let source = (self.make)(&desk);
        std::fs::write(desk.path("canary"), "mine").expect("written");
        let before = tree(&desk);
        let source = source.to_str().expect("UTF-8");
        let inner =
            desk.command(&["--source", source, "--output", "out", "--manifest", "--memory", "1G"]);
        let ended = Ended::from(limited(&desk, &inner).output().expect("it runs"));
        assert!(
            matches!(ended.code, Some(1 | 4)),
            "{}: {:?} {}",
            self.name,
            ended.code,
            ended.stderr
        );
        assert!(ended.stderr.contains(self.said), "{}: {}", self.name, ended.stderr);
        assert_eq!(tree(&desk), before, "{}", self.name);
    }
}

/// All files of the desk, without an empty output folder.
fn tree(desk: &Desk) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![desk.dir.path().to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn archives_are_not_trusted() {
    archives::CASES.iter().for_each(Case::check);
}

#[test]
fn descriptors_are_not_trusted() {
    descriptors::CASES.iter().for_each(Case::check);
}

#[test]
fn images_are_not_trusted() {
    images::CASES.iter().for_each(Case::check);
}
