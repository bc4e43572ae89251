//! Files of `KEY=value` that a shell reads: ifcfg of Red Hat and SUSE, netctl, ALT's options.

use super::super::claim::{Spot, words};

/// Longest value in quotes, in bytes.
const LONGEST: usize = 4096;

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment<'a> {
    pub(super) key: &'a str,
    /// Offset of the line.
    pub(super) line: usize,
    /// The value without quotes and without a comment after it.
    pub(super) value: Spot<String>,
}

impl Assignment<'_> {
    /// The words of the value, with their places.
    pub(super) fn words(&self) -> Vec<Spot<String>> {
        words(&self.value.value, self.value.at.start, |c| c.is_whitespace() || "(),'\"".contains(c))
    }

    /// Whether the value is `yes` in any case or quotes.
    pub(super) fn is_yes(&self) -> bool {
        self.value.value.eq_ignore_ascii_case("yes")
    }
}

/// All assignments of a text. An array of bash may span lines.
pub(super) fn assignments(text: &str) -> Vec<Assignment<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let line_end = text[at..].find('\n').map_or(text.len(), |end| at + end);
        let line = &text[at..line_end];
        let begin = at;
        at = line_end + 1;
        let Some((key, rest)) = line.split_once('=') else { continue };
        let key = key.trim();
        let key = key.strip_prefix("export ").unwrap_or(key).trim();
        if key.starts_with('#') || !key.chars().all(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let start = begin + (line.len() - rest.len());
        let (value, end) = value(text, start, line_end);
        at = at.max(end);
        found.push(Assignment { key, line: begin, value });
    }
    found
}

/// The value that begins at `start`, and where the assignment ends.
fn value(text: &str, start: usize, line_end: usize) -> (Spot<String>, usize) {
    let rest = &text[start..];
    let mut end = rest.len().min(LONGEST);
    while !rest.is_char_boundary(end) {
        end -= 1;
    }
    let rest = &rest[..end];
    for (open, close) in [('"', '"'), ('\'', '\''), ('(', ')')] {
        // A quote that is never closed is a part of its line.
        if let Some(end) = rest.strip_prefix(open).and_then(|inner| inner.find(close)) {
            let at = start + 1..start + 1 + end;
            return (Spot::new(text[at.clone()].to_owned(), at.clone()), at.end + 1);
        }
    }
    let line = &text[start..line_end];
    let end = line.find(char::is_whitespace).unwrap_or(line.len());
    (Spot::new(line[..end].to_owned(), start..start + end), line_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lose_quotes_and_comments() {
        let text = "# DEVICE=no\nDEVICE=\"ens192\"\nexport BOOTPROTO='dhcp' # note\nIPADDR=192.0.2.7 # note\r\n\
                    EMPTY=\nPORTS=(ens1\n  ens2)\nA B=c\nBAD=\"open\nLAST=x";
        let all = assignments(text);
        let flat: Vec<_> = all.iter().map(|a| (a.key, a.value.value.as_str())).collect();
        assert_eq!(
            flat,
            [
                ("DEVICE", "ens192"),
                ("BOOTPROTO", "dhcp"),
                ("IPADDR", "192.0.2.7"),
                ("EMPTY", ""),
                ("PORTS", "ens1\n  ens2"),
                ("BAD", "\"open"),
                ("LAST", "x"),
            ]
        );
        let words = all[4].words();
        assert_eq!(&text[words[1].at.clone()], "ens2");
        assert_eq!(&text[all[0].value.at.clone()], "ens192");
    }
}
