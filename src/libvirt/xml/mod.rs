//! libvirt's XML as types: they mirror the schema and decide nothing. Text is only ever made by
//! the serializer, so that no value can break out of its place.

pub(super) mod capabilities;
pub(super) mod devices;
pub(super) mod domain;
pub(super) mod features;
pub(super) mod from_spec;
pub(super) mod interfaces;
pub(super) mod metadata;
pub(super) mod probe;
pub(super) mod profile;
pub(super) mod snapshot;
pub(super) mod source_domain;
pub(super) mod sources;
pub(super) mod storage;
pub(super) mod sysinfo;
pub(super) mod user_profile;

use quick_xml::Reader;
use quick_xml::events::Event;
use quick_xml::se::Serializer;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why XML could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum XmlError {
    /// The serializer refused it.
    #[error("serializing <{root}>")]
    Write {
        /// Name of the root element.
        root: &'static str,
        /// What it said.
        source: quick_xml::SeError,
    },
    /// A value holds a character that XML 1.0 has no place for (section 2.2, `Char`). The
    /// serializer would let it pass, and libvirt would not.
    #[error("character U+{code:04X} cannot be written in XML")]
    Character {
        /// The character.
        code: u32,
    },
    /// The text is not what it should be.
    #[error("reading <{root}>")]
    Read {
        /// Name of the root element.
        root: &'static str,
        /// What is wrong.
        source: quick_xml::DeError,
    },
    /// It breaks where something was to be changed.
    #[error("changing an element")]
    Edit(#[source] quick_xml::Error),
    /// Another root element than expected.
    #[error("the root is not <{root}>")]
    Root {
        /// Name of the root element that was expected.
        root: &'static str,
    },
}

/// Writes a document.
pub(super) fn write<T: Serialize>(root: &'static str, value: &T) -> Result<String, XmlError> {
    let mut text = String::new();
    let mut serializer = Serializer::with_root(&mut text, Some(root))
        .map_err(|source| XmlError::Write { root, source })?;
    serializer.indent(' ', 2);
    value.serialize(serializer).map_err(|source| XmlError::Write { root, source })?;
    match text.chars().find(|&c| !is_xml(c)) {
        Some(c) => Err(XmlError::Character { code: c.into() }),
        None => Ok(text),
    }
}

fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// Reads a document. The deserializer takes any root element for the right one, hence the check.
pub(super) fn read<T: DeserializeOwned>(root: &'static str, text: &str) -> Result<T, XmlError> {
    let mut reader = Reader::from_str(text);
    loop {
        match reader.read_event() {
            Ok(Event::Start(element) | Event::Empty(element))
                if element.name().as_ref() == root =>
            {
                break;
            }
            Ok(Event::Start(_) | Event::Empty(_) | Event::Eof) => {
                return Err(XmlError::Root { root });
            }
            Ok(_) => {}
            Err(error) => return Err(XmlError::Read { root, source: error.into() }),
        }
    }
    quick_xml::de::from_str(text).map_err(|source| XmlError::Read { root, source })
}

#[cfg(test)]
mod tests {
    use super::storage::Volume;
    use super::*;

    #[test]
    fn values_cannot_break_out_and_control_characters_are_refused() {
        let text = write("volume", &Volume::raw("</name>\"&'\u{1f980}", 1)).expect("writes");
        assert!(text.contains("&lt;/name&gt;"), "{text}");
        let back: Volume = read("volume", &text).expect("reads");
        assert_eq!(back.name, "</name>\"&'\u{1f980}");
        let error = write("volume", &Volume::raw("a\u{1}", 1)).expect_err("refused");
        assert_eq!(error.to_string(), "character U+0001 cannot be written in XML");
    }

    #[test]
    fn another_root_is_refused() {
        for text in ["<pool><name>x</name></pool>", "", "no xml"] {
            assert!(read::<Volume>("volume", text).is_err(), "{text}");
        }
    }
}
