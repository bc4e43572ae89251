//! Makes text of other systems safe to print. A name, a server's error or a line of a guest's file
//! may contain characters that control a terminal, or that imitate a line of hyperexport.

use std::borrow::Cow;
use std::fmt::Write;

/// Prefix of the second and further lines of a message. No line of hyperexport begins with it.
const CONTINUED: &str = "  | ";

/// Whether a character controls a terminal: C0, DEL, C1, and the separators of lines and
/// paragraphs. Characters that change the writing direction count, too (Unicode Standard Annex #9,
/// 2.1 to 2.6).
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}')
}

/// Text of hyperexport, with its line breaks and tabs. Other control characters become `\u{1b}` and
/// the like.
pub fn text(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

/// A value of another system, in one line. All control characters are escaped.
pub fn value(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// A message that may quote other systems. The second and further lines get a prefix, so that none
/// of them looks like a message of its own.
pub fn message(message: &str) -> Cow<'_, str> {
    let message = message.trim_end_matches(['\r', '\n']);
    if !message.contains(steers) {
        return Cow::Borrowed(message);
    }
    let lines = message.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let lines: Vec<_> = lines.map(text).collect();
    Cow::Owned(lines.join(&format!("\n{CONTINUED}")))
}

/// A name in one line: line breaks become spaces. All other characters stay, since files and hosts
/// may have that name.
pub fn name(name: &str) -> String {
    let breaks = |c| matches!(c, '\n'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    name.chars().map(|c| if breaks(c) { ' ' } else { c }).collect()
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(|c| steers(c) && !stays(c)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if !steers(c) || stays(c) {
            safe.push(c);
        } else {
            // Writing to a string does not fail.
            let _ = write!(safe, "{}", c.escape_unicode());
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_as_its_number() {
        for (given, shown) in [
            ("plain \u{e9} \u{1f980}", "plain \u{e9} \u{1f980}"),
            ("a\u{1b}[2Jb\tc", r"a\u{1b}[2Jb	c"),
            ("bell\u{7} del\u{7f} csi\u{9b}31m", r"bell\u{7} del\u{7f} csi\u{9b}31m"),
            ("cr\rover", r"cr\u{d}over"),
            ("rtl\u{202e}gpj\u{2066}\u{200f}\u{61c}", r"rtl\u{202e}gpj\u{2066}\u{200f}\u{61c}"),
            ("sep\u{2028}\u{2029}", r"sep\u{2028}\u{2029}"),
        ] {
            assert_eq!(text(given), shown);
        }
        assert_eq!(text("two\nlines"), "two\nlines");
        assert_eq!(value("a\nb\tc"), r"a\u{a}b\u{9}c");
    }

    #[test]
    fn a_line_within_a_message_is_not_taken_for_another_message() {
        assert_eq!(message("one"), "one");
        assert_eq!(message("ssh says\r\nerror: fake\n"), "ssh says\n  | error: fake");
        assert_eq!(message("a\u{85}b"), r"a\u{85}b");
    }

    #[test]
    fn a_name_has_one_line() {
        assert_eq!(name("a\nb\r\nc\u{2028}d\u{b}e\u{85}f\u{1b}"), "a b  c d e f\u{1b}");
    }
}
