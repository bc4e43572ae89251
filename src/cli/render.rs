//! What is printed: results on standard output, messages on standard error.

use std::io::{self, Write};

use comfy_table::Table;
use serde::Serialize;

use crate::model::shown;

/// Writes a message to standard error. That standard error is closed is nothing that could be told,
/// least of all in the log, which goes the same way.
pub fn eprint_line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", shown::message(text));
}

/// Writes a line to standard output.
///
/// # Errors
/// What the system says, so that a full disk behind a redirection is noticed.
pub fn print_line(text: &str) -> io::Result<()> {
    print(&shown::message(text))
}

/// Writes a table to standard output, whose cells are made by [`cell`].
///
/// # Errors
/// As [`print_line`].
pub fn print_table(table: &Table) -> io::Result<()> {
    print(&shown::text(&table.trim_fmt()))
}

/// Writes a value to standard output as JSON.
///
/// # Errors
/// As [`print_line`].
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    print(&json(&serde_json::to_string_pretty(value)?))
}

/// A value of others as the cell of a table, which has one line.
pub fn cell(value: &str) -> String {
    shown::value(value).into_owned()
}

/// JSON that means the same and steers no terminal. serde escapes C0 alone; what else steers stands
/// within strings, and each such character has a single unit of UTF-16.
fn json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c != '\n' && shown::steers(c) => {
                safe.push_str(&format!("\\u{:04x}", u32::from(c)))
            }
            c => safe.push(c),
        }
    }
    safe
}

/// A reader that has seen enough, as `head` has, is no error.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        end => end,
    }
}

/// The log of `-v` on standard error: an event is a message, and one that cannot be written is
/// lost.
pub struct Log;

impl Write for Log {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        eprint_line(&String::from_utf8_lossy(event));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_means_the_same_and_steers_no_terminal() {
        let value = serde_json::json!({"name": "a\u{1b}[2J\u{9b}\u{7f}\u{202e}\u{2028}\n\u{e9}"});
        let text = json(&serde_json::to_string_pretty(&value).expect("JSON"));
        assert!(!text.contains(|c| c != '\n' && shown::steers(c)), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), value);
    }
}
