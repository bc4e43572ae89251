//! Manual pages rendered by mandoc, and completions executed by their shells.
#![allow(clippy::print_stdout, reason = "a skipped test prints its reason")]

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::{hyperexport, stderr, stdout};

/// Whether a program is installed. A test without it fails in CI and is skipped elsewhere.
fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "this test must run in CI: no {program}");
        println!("skipped: no {program}");
    }
    found
}

/// A command that finds the tested program by name, as a shell does.
fn shell(program: &str) -> Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_hyperexport"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(binary.parent().expect("a folder").to_owned());
    let folders = folders.chain(std::env::split_paths(&path));
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::join_paths(folders).expect("a PATH"));
    command.env("HOME", "/nonexistent").env("LC_ALL", "C.UTF-8");
    command
}

/// Completion script of a shell, in its own folder.
fn script(shell: &str, name: &str) -> TempDir {
    let output = hyperexport(&["completions", shell]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(name), &output.stdout).expect("written");
    folder
}

fn assert_accepted(output: &Output) {
    assert!(output.status.success(), "{output:?}");
    assert_eq!(stderr(output), "");
}

/// Readable text of a page: mandoc prints bold letters as a letter, a backspace and the letter.
fn without_overstrikes(page: &str) -> String {
    page.chars().fold(String::new(), |mut text, c| {
        if c == '\u{8}' {
            text.pop();
        } else {
            text.push(c);
        }
        text
    })
}

/// Asserts that exactly the two matching flags are offered.
fn assert_completed(output: &Output) {
    let text = stdout(output);
    let flags: Vec<_> =
        text.lines().filter_map(|line| line.split(['\t', ':']).next()).map(str::trim).collect();
    assert_eq!(flags, ["--libvirt-pool", "--libvirt-pool-path"], "{}", stderr(output));
}

#[test]
fn every_manual_page_renders_without_a_warning() {
    if !has("mandoc") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("man");
    let to = ["man", "--output", output.to_str().expect("UTF-8")];
    let written = hyperexport(&to);
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    let mut pages = 0;
    for entry in std::fs::read_dir(&output).expect("a folder") {
        let page = entry.expect("an entry").path();
        let mandoc = ["-T", "utf8", "-W", "warning"];
        let rendered = shell("mandoc").args(mandoc).arg(&page).output().expect("mandoc runs");
        assert!(rendered.status.success(), "{}: {rendered:?}", page.display());
        let text = without_overstrikes(&stdout(&rendered));
        assert!(text.contains("DESCRIPTION"), "{}: {text}", page.display());
        pages += 1;
    }
    assert!(pages > 10, "{pages} pages");
    let again = hyperexport(&to);
    assert_eq!(again.status.code(), Some(1), "a page was overwritten");
    assert!(stderr(&again).contains("File exists"), "{}", stderr(&again));
}

#[test]
fn the_main_page_is_printed() {
    let output = hyperexport(&["man"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let page = stdout(&output);
    for part in [".TH hyperexport 1", ".SH EXAMPLE", r"hyperexport\-convert(1)"] {
        assert!(page.contains(part), "no {part} in {page}");
    }
}

#[test]
fn bash_completes_a_flag() {
    if !has("bash") {
        return;
    }
    let folder = script("bash", "hyperexport");
    let script = folder.path().join("hyperexport");
    assert_accepted(&shell("bash").arg("-n").arg(&script).output().expect("bash runs"));
    let asks = "source \"$1\"; COMP_TYPE=9 COMP_CWORD=2
        COMP_WORDS=(hyperexport define --libvirt-po)
        _clap_complete_hyperexport hyperexport --libvirt-po define
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let bash = ["--norc", "-c", asks, "bash"];
    assert_completed(&shell("bash").args(bash).arg(&script).output().expect("bash runs"));
}

/// zsh loads the script from its function path upon the first completion.
#[test]
fn zsh_completes_a_flag_at_the_first_call() {
    if !has("zsh") {
        return;
    }
    let folder = script("zsh", "_hyperexport");
    let script = folder.path().join("_hyperexport");
    assert_accepted(&shell("zsh").arg("-n").arg(&script).output().expect("zsh runs"));
    // zsh passes the name of an array of candidates to its own function.
    let asks = "compdef() { : }
        _describe() { for it; do [[ ${(Pt)it} == array* ]] && print -rl -- \"${(@P)it}\"; done }
        fpath=($1 $fpath); autoload -Uz _hyperexport
        words=(hyperexport define --libvirt-po) CURRENT=3
        _hyperexport";
    let zsh = ["-f", "-c", asks, "zsh"];
    assert_completed(&shell("zsh").args(zsh).arg(folder.path()).output().expect("zsh runs"));
}

#[test]
fn fish_completes_a_flag() {
    if !has("fish") {
        return;
    }
    let folder = script("fish", "hyperexport.fish");
    let script = folder.path().join("hyperexport.fish");
    let home = folder.path().to_str().expect("UTF-8").to_owned();
    let fish = || {
        let mut command = shell("fish");
        command.env("HOME", &home).arg("--no-config");
        command
    };
    assert_accepted(&fish().arg("-n").arg(&script).output().expect("fish runs"));
    let asks = format!(
        "source {}; complete -C 'hyperexport define --libvirt-po'",
        script.to_str().expect("UTF-8")
    );
    assert_completed(&fish().args(["-c", &asks]).output().expect("fish runs"));
}

/// The user is typing: an unreachable libvirt may cost at most two seconds and prints nothing.
#[test]
fn a_completion_that_finds_nothing_is_silent() {
    let uri = "qemu+unix:///system?socket=/nonexistent/socket";
    let output = shell(env!("CARGO_BIN_EXE_hyperexport"))
        .args(["--", "hyperexport", "define", "--libvirt-uri", uri, "--libvirt-pool", ""])
        .envs([("HYPEREXPORT_COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", "5")])
        .output()
        .expect("hyperexport runs");
    assert_accepted(&output);
    assert_eq!(stdout(&output), "");
}

#[test]
fn an_installation_has_pages_and_completions_and_is_repeated_at_will() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/install.sh");
    let stale = folder.path().join("share/man/man1/hyperexport-gone.1.gz");
    std::fs::create_dir_all(stale.parent().expect("a folder")).expect("made");
    std::fs::write(&stale, "a page of a verb that is gone").expect("written");
    for _ in 0..2 {
        let mut install = shell("bash");
        let output = install.arg(&script).arg(env!("CARGO_BIN_EXE_hyperexport")).arg(folder.path());
        assert_accepted(&output.output().expect("bash runs"));
    }
    assert!(!stale.exists());
    for file in [
        "bin/hyperexport",
        "share/man/man1/hyperexport.1.gz",
        "share/man/man1/hyperexport-convert.1.gz",
        "share/bash-completion/completions/hyperexport",
        "share/zsh/site-functions/_hyperexport",
        "share/fish/vendor_completions.d/hyperexport.fish",
    ] {
        let length = folder.path().join(file).metadata().map(|file| file.len());
        assert!(length.is_ok_and(|length| length > 0), "{file}");
    }
}
