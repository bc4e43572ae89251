//! The logs that stay in the output directory. Each run begins with a line of its own, which
//! distinguishes the log from a file of the user.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::state;

/// Text around the time in that line.
const BEGIN: &str = "--- ";
const END: &str = " ---";
/// Longest such line, in bytes.
const LONGEST: u64 = 80;

/// Opens the log to append, so that a second run does not overwrite the first one's log. A symbolic
/// link in its place is not followed.
pub(in crate::convert) fn open_log(path: &Path) -> io::Result<File> {
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(path)?;
    writeln!(log, "{BEGIN}{}{END}", jiff::Timestamp::now())?;
    Ok(log)
}

/// Whether a file is a log that a run of hyperexport began.
pub fn is_log(path: &Path) -> bool {
    let mut line = String::new();
    let Ok(Some(file)) = state::open_own(path) else { return false };
    let read = BufReader::new(file.take(LONGEST)).read_line(&mut line);
    let time = line.trim_end().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    read.is_ok() && time.is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_known_by_its_first_line() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("convert.log");
        assert!(!is_log(&path));
        drop(open_log(&path).expect("opened"));
        assert!(is_log(&path));
        for own in ["", "notes\n--- 2026-11-26T05:12:30Z ---\n", "--- old ---\n", "\u{0}\u{ff}"] {
            std::fs::write(&path, own).expect("written");
            assert!(!is_log(&path), "{own:?}");
        }
    }
}
