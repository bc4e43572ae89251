//! Edits done to a text, and what is another then.

use super::claim::{Edit, NOWHERE};

/// The text with all edits done. Of edits that overlap the first one counts.
pub(super) fn edited(text: &str, edits: &[Edit]) -> String {
    let mut edits: Vec<_> = edits.iter().filter(|edit| edit.at != NOWHERE).collect();
    edits.sort_by_key(|edit| (edit.at.start, edit.at.end));
    edits.dedup();
    let (mut done, mut at) = (String::with_capacity(text.len()), 0);
    for edit in edits {
        let Some(before) = text.get(at..edit.at.start) else { continue };
        done.push_str(before);
        done.push_str(&edit.text);
        at = edit.at.end;
    }
    done.push_str(text.get(at..).unwrap_or_default());
    done
}

/// The lines that differ, before and after.
pub(super) fn differences(before: &str, after: &str) -> Vec<(String, String)> {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    if old.len() == new.len() {
        let pairs = old.iter().zip(&new).filter(|(old, new)| old != new);
        return pairs.map(|(old, new)| (old.trim().to_owned(), new.trim().to_owned())).collect();
    }
    let head = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let rest = old.len().min(new.len()) - head;
    let ends = old.iter().rev().zip(new.iter().rev());
    let tail = ends.take_while(|(old, new)| old == new).count().min(rest);
    let join = |lines: &[&str]| lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join("; ");
    vec![(join(&old[head..old.len() - tail]), join(&new[head..new.len() - tail]))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differing_lines_are_told() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(differences("a\n b\nc\n", "a\n x\nc\n"), [pair("b", "x")]);
        assert_eq!(differences("a\nb\nc\n", "a\nc\n"), [pair("b", "")]);
        assert_eq!(differences("a\n", "a\nb\nc\n"), [pair("", "b; c")]);
    }
}
