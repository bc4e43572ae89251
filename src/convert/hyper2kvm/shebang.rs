//! Parses the first lines of a script: the program that the kernel runs in its place.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The programs that the kernel starts to run the file at `path`. They are the interpreter of its
/// `#!` line, the program that env(1) finds in the folders of `search`, and the one of pip's own
/// form. Empty for a binary.
///
/// # Errors
/// When the file cannot be read.
pub(in crate::convert) fn interpreters(path: &Path, search: &OsStr) -> io::Result<Vec<PathBuf>> {
    let script = first_lines(path)?;
    let Some(words) = words(&script) else { return Ok(Vec::new()) };
    let mut programs: Vec<PathBuf> = words.first().map(PathBuf::from).into_iter().collect();
    if programs.iter().any(|program| program.ends_with("env")) {
        let name = words.iter().skip(1).find(|word| !word.starts_with('-') && !word.contains('='));
        let found = name.and_then(|name| {
            if name.contains('/') {
                return Some(PathBuf::from(name));
            }
            // Child processes get no relative entries (`child`).
            let folders = std::env::split_paths(search).filter(|folder| folder.is_absolute());
            folders.map(|folder| folder.join(name)).find(|path| path.is_file())
        });
        programs.extend(found);
    }
    programs.extend(by_exec(&script).map(PathBuf::from));
    Ok(programs)
}

/// The Python of the script at `path`: its program and first arguments. None for a file that is no
/// Python script.
///
/// # Errors
/// When the file cannot be read.
pub(in crate::convert) fn python(path: &Path) -> io::Result<Option<Vec<String>>> {
    let script = first_lines(path)?;
    Ok(python_of(&script))
}

/// The first bytes of a program, enough for two lines.
fn first_lines(path: &Path) -> io::Result<String> {
    let mut start = Vec::new();
    File::open(path)?.take(4096).read_to_end(&mut start)?;
    Ok(String::from_utf8_lossy(&start).into_owned())
}

/// The words of the `#!` line.
fn words(script: &str) -> Option<Vec<String>> {
    let first = script.lines().next()?.strip_prefix("#!")?.trim();
    Some(first.split_whitespace().map(str::to_owned).collect())
}

/// pip writes this form where a path is too long or has spaces: `'''exec' "/the path/python" "$0"`.
fn by_exec(script: &str) -> Option<&str> {
    let exec = script.lines().nth(1)?.strip_prefix("'''exec' ")?;
    match exec.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => exec.split(' ').next(),
    }
}

fn python_of(script: &str) -> Option<Vec<String>> {
    let words = words(script)?;
    if let Some(path) = by_exec(script) {
        return Some(vec![path.to_owned()]);
    }
    words.iter().any(|word| word.contains("python")).then_some(words)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_python_of_a_script_is_found() {
        let python = |script| python_of(script).map(|words| words.join(" "));
        assert_eq!(python("#!/v/bin/python3\nimport re").as_deref(), Some("/v/bin/python3"));
        assert_eq!(python("#!/usr/bin/env python3\n").as_deref(), Some("/usr/bin/env python3"));
        assert_eq!(
            python("#!/bin/sh\n'''exec' \"/a b/python3\" \"$0\" \"$@\"\n' '''\n").as_deref(),
            Some("/a b/python3")
        );
        assert_eq!(python("#!/bin/sh\necho hello\n"), None);
        assert_eq!(python("\u{7f}ELF"), None);
    }

    #[test]
    fn all_that_a_script_starts_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let script = dir.path().join("script");
        symlink("/bin/sh", dir.path().join("python3")).expect("a link");
        let search = std::env::join_paths([Path::new("."), dir.path()]).expect("a PATH");
        let of = |text: &str| {
            fs::write(&script, text).expect("written");
            let found = interpreters(&script, &search).expect("readable");
            found.iter().map(|path| path.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        let in_path = dir.path().join("python3").to_string_lossy().into_owned();
        assert_eq!(of("#!/usr/bin/env python3\n"), ["/usr/bin/env", &in_path]);
        assert_eq!(of("#! /usr/bin/env -S A=1 ./python -I\n"), ["/usr/bin/env", "./python"]);
        assert_eq!(of("#!python3\n"), ["python3"]);
        assert_eq!(of("#!/bin/sh\n'''exec' /x/python \"$0\"\n"), ["/bin/sh", "/x/python"]);
        assert!(of("\u{7f}ELF").is_empty());
    }
}
