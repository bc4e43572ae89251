//! Files of sections and keys: systemd.syntax(7) and NetworkManager's keyfiles
//! (nm-settings-keyfile(5)). Not parsed by an INI library, which makes maps: sections and keys
//! repeat, order counts, and every value needs its place in the file.

use std::ops::Range;

use super::super::claim::{Edit, Spot, words};

/// One `key=value` of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyfileEntry<'a> {
    /// The section, counted from 1: sections of one name are different sections.
    pub(super) number: usize,
    pub(super) section: &'a str,
    pub(super) key: &'a str,
    /// The raw value, with all its continuation lines.
    pub(super) value: &'a str,
    /// Offset of the value in the text.
    pub(super) at: usize,
    /// All lines of the entry, including the end of the last line.
    pub(super) lines: Range<usize>,
}

impl KeyfileEntry<'_> {
    /// The value as one word.
    pub(super) fn word(&self) -> Spot<String> {
        let whole = words(self.value, self.at, |_| false).into_iter().next();
        let empty = || Spot::new(String::new(), self.at..self.at);
        whole.map_or_else(empty, |spot| {
            let trimmed = spot.value.trim_end().len();
            Spot::new(spot.value[..trimmed].to_owned(), spot.at.start..spot.at.start + trimmed)
        })
    }

    /// The words of a systemd list: separated by spaces, continued on further lines.
    pub(super) fn words(&self) -> Vec<Spot<String>> {
        // A comment within a continued value is not part of the value.
        let mut found = Vec::new();
        let mut at = self.at;
        for line in self.value.split_inclusive('\n') {
            if at == self.at || !line.trim_start().starts_with(['#', ';']) {
                found.extend(words(line, at, |c| c.is_whitespace() || c == '\\'));
            }
            at += line.len();
        }
        found
    }

    /// The words of a NetworkManager list: separated by `;` or `,`.
    pub(super) fn list(&self) -> Vec<Spot<String>> {
        words(self.value, self.at, |c| matches!(c, ';' | ',') || c.is_whitespace())
    }

    /// An edit that replaces the entry with another line; an empty line removes the entry.
    pub(super) fn replaced_by(&self, line: &str) -> Edit {
        Edit::new(
            self.lines.clone(),
            if line.is_empty() { String::new() } else { format!("{line}\n") },
        )
    }
}

/// All entries of a text.
pub(super) fn entries(text: &str) -> Vec<KeyfileEntry<'_>> {
    let mut entries = Vec::new();
    let (mut section, mut number) = ("", 0);
    let mut rest = 0;
    while rest < text.len() {
        let start = rest;
        rest = end_of_line(text, start);
        let line = text[start..rest].trim_start_matches('\u{feff}').trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            section = header.split(']').next().unwrap_or(header);
            number += 1;
            continue;
        }
        // A backslash at its end continues a line, and comments in between are skipped.
        let mut last = start;
        while text[last..rest].trim_end().ends_with('\\') && rest < text.len() {
            while text[rest..].trim_start_matches([' ', '\t']).starts_with(['#', ';']) {
                rest = end_of_line(text, rest);
            }
            last = rest;
            rest = end_of_line(text, rest);
        }
        let Some(equals) = text[start..rest].find('=') else { continue };
        let key = text[start..start + equals].trim();
        let after = &text[start + equals + 1..rest];
        let at = start + equals + 1 + (after.len() - after.trim_start().len());
        let value = text[at.min(rest)..rest].trim_end();
        entries.push(KeyfileEntry { number, section, key, value, at, lines: start..rest });
    }
    entries
}

fn end_of_line(text: &str, from: usize) -> usize {
    text[from..].find('\n').map_or(text.len(), |at| from + at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(text: &str) -> Vec<(usize, &str, &str, &str)> {
        entries(text).iter().map(|e| (e.number, e.section, e.key, e.value)).collect()
    }

    #[test]
    fn sections_and_keys_may_repeat() {
        let text = "# note\n[Match]\nName = ens192\n; note\n[Address]\nAddress=192.0.2.7/24\n\
                    [Address]\r\nAddress=192.0.2.8/24\r\nAddress=192.0.2.9/24";
        assert_eq!(
            flat(text),
            [
                (1, "Match", "Name", "ens192"),
                (2, "Address", "Address", "192.0.2.7/24"),
                (3, "Address", "Address", "192.0.2.8/24"),
                (3, "Address", "Address", "192.0.2.9/24"),
            ]
        );
    }

    #[test]
    fn lines_continue_and_words_keep_their_places() {
        let text = "[Match]\nName=ens192 \\\n# the other port\n  ens224\n[Network]\nBond=bond0\n";
        let entries = entries(text);
        let words = entries[0].words();
        let found: Vec<_> = words.iter().map(|word| &text[word.at.clone()]).collect();
        assert_eq!(found, ["ens192", "ens224"]);
        assert_eq!((entries[1].key, entries[1].value), ("Bond", "bond0"));
        assert_eq!(&text[entries[0].lines.clone()], &text[8..text.find("[Net").expect("there")]);
    }

    #[test]
    fn values_are_words_or_lists() {
        let text =
            "[match]\ninterface-name=ens192;ens224;\n[connection]\nid=Wired connection 1\nempty=\n";
        let entries = entries(text);
        let list = entries[0].list();
        assert_eq!(list.len(), 2);
        assert_eq!(&text[list[1].at.clone()], "ens224");
        assert_eq!(entries[1].word().value, "Wired connection 1");
        assert_eq!(entries[2].word().value, "");
    }

    #[test]
    fn a_mark_of_the_encoding_is_no_part_of_the_text() {
        assert_eq!(flat("\u{feff}[Match]\nName=a\n"), [(1, "Match", "Name", "a")]);
    }

    #[test]
    fn odd_texts_do_no_harm() {
        for text in [
            "",
            "=",
            "[",
            "[]\n=\n",
            "a\\",
            "a=\\\n",
            "a=\\\n#",
            "[x\ny=z",
            "\u{feff}[Match]\nName=é\n",
        ] {
            for entry in entries(text) {
                entry.word();
                entry.words();
                entry.list();
                assert!(text.get(entry.lines.clone()).is_some(), "{text:?}");
            }
        }
    }
}
