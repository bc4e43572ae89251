//! Edits done to a text.

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
