//! Changes to a source VM after a successful migration, and their records, which allow an undo.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A change that the user has asked for (`--source-after`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceAfter {
    /// Network cards are no longer connected at the VM's start.
    DisconnectNics,
    /// The suffix is appended to the VM's name.
    Rename(String),
    /// The VM is moved to the inventory folder at this path.
    Folder(String),
    /// The VM gets a tag.
    Tag {
        /// Category of the tag.
        category: String,
        /// Name of the tag within its category.
        name: String,
    },
    /// A line about the migration is added to the VM's notes.
    Note,
}

impl FromStr for SourceAfter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, value) = text.split_once(':').map_or((text, None), |(w, v)| (w, Some(v)));
        let given = |what: &str| {
            let value = value.filter(|value| !value.trim().is_empty());
            value.map(str::to_owned).ok_or_else(|| format!("write it as {word}:{what}"))
        };
        match (word, value) {
            ("disconnect-nics", None) => Ok(Self::DisconnectNics),
            ("note", None) => Ok(Self::Note),
            ("rename", _) => given("SUFFIX").map(Self::Rename),
            ("folder", _) => given("PATH").map(Self::Folder),
            ("tag", _) => {
                let wrong = || "write it as tag:CATEGORY/NAME".to_owned();
                let value = given("CATEGORY/NAME")?;
                let (category, name) = value.split_once('/').ok_or_else(wrong)?;
                if category.is_empty() || name.is_empty() {
                    return Err(wrong());
                }
                Ok(Self::Tag { category: category.to_owned(), name: name.to_owned() })
            }
            _ => Err("write it as leave, disconnect-nics, rename:SUFFIX, folder:PATH, \
                      tag:CATEGORY/NAME or note"
                .to_owned()),
        }
    }
}

/// The notation of the command line, which `from_str` parses.
impl fmt::Display for SourceAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DisconnectNics => f.write_str("disconnect-nics"),
            Self::Rename(suffix) => write!(f, "rename:{suffix}"),
            Self::Folder(path) => write!(f, "folder:{path}"),
            Self::Tag { category, name } => write!(f, "tag:{category}/{name}"),
            Self::Note => f.write_str("note"),
        }
    }
}

/// A change to a source VM, done or about to be done, with the values that its undo needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum SourceStep {
    /// Network cards are no longer connected at the VM's start.
    DisconnectNics {
        /// Cards that were connected before: device keys (vSphere) or MAC addresses (libvirt).
        cards: Vec<String>,
    },
    /// The VM was renamed.
    Rename {
        /// Name before the change.
        from: String,
        /// Name after the change.
        to: String,
    },
    /// The VM was moved to another folder.
    Move {
        /// Path of the new folder, as the user passed it.
        path: String,
        /// Identifier of the old folder.
        from: String,
        /// Identifier of the new folder.
        to: String,
    },
    /// The VM got a tag.
    Tag {
        /// Category and name of the tag, with `/` between them.
        name: String,
        /// Identifier of the tag.
        tag: String,
    },
    /// A line was added to the VM's notes.
    Note {
        /// Notes before the change.
        before: String,
        /// Notes after the change.
        after: String,
    },
}

impl SourceStep {
    /// Adds `line` to the notes `before`. `None` if the notes already contain the line, perhaps
    /// with another date, which follows the last ` on `.
    pub fn note(before: &str, line: &str) -> Option<Self> {
        let known = line.rsplit_once(" on ").map_or(line, |(text, _)| text);
        let after = match before.trim_end() {
            "" => line.to_owned(),
            text => format!("{text}\n{line}"),
        };
        (!before.contains(known)).then(|| Self::Note { before: before.to_owned(), after })
    }
}

/// Describes the change as the end of a sentence about the VM.
impl fmt::Display for SourceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DisconnectNics { cards } => {
                write!(f, "{} network card(s) disconnected at its start", cards.len())
            }
            Self::Rename { from, to } => write!(f, "renamed from '{from}' to '{to}'"),
            Self::Move { path, .. } => write!(f, "moved to the folder {path}"),
            Self::Tag { name, .. } => write!(f, "tagged {name}"),
            Self::Note { .. } => f.write_str("noted in its annotation"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_written_once() {
        let line = "Migrated to domain 'a' at x on 2026-11-26";
        let Some(SourceStep::Note { after, .. }) = SourceStep::note("mine\n", line) else {
            panic!("there is none yet")
        };
        assert_eq!(after, format!("mine\n{line}"));
        assert_eq!(SourceStep::note(&after, "Migrated to domain 'a' at x on 2026-11-27"), None);
        assert!(SourceStep::note(&after, "Migrated to domain 'b' at x on 2026-11-26").is_some());
    }

    #[test]
    fn what_is_typed_is_what_is_shown() {
        for text in
            ["disconnect-nics", "note", "rename:-migrated", "folder:/DC/vm/Old", "tag:State/done"]
        {
            assert_eq!(
                text.parse::<SourceAfter>().map(|after| after.to_string()).as_deref(),
                Ok(text)
            );
        }
        for text in ["", "rename", "rename:", "tag:x", "tag:/x", "note:x", "delete", "folder: "] {
            assert!(text.parse::<SourceAfter>().is_err(), "{text}");
        }
    }
}
