//! Edits of a text: some bytes are replaced, and comments, order and spaces stay.

use std::ops::Range;

/// The place of a word that is in the name of its file, not in its text.
pub(super) const NOWHERE: Range<usize> = usize::MAX..usize::MAX;

/// A replacement of some bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) at: Range<usize>,
    pub(super) text: String,
}

impl Edit {
    pub(super) fn new(at: Range<usize>, text: impl Into<String>) -> Self {
        Self { at, text: text.into() }
    }
}

/// The text with all edits applied. Of edits that overlap, the first one counts.
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
