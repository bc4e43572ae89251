//! libvirt's XML as types, which mirror the schema and decide nothing. Only the serializer writes
//! XML, so that no value can be misread as markup.

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

/// Why XML could not be written or parsed.
#[derive(Debug, thiserror::Error)]
pub enum XmlError {
    /// The value could not be serialized.
    #[error("serializing <{root}>")]
    Write {
        /// Name of the root element.
        root: &'static str,
        /// Error of the serializer.
        source: quick_xml::SeError,
    },
    /// A value contains a character that XML 1.0 forbids (section 2.2, `Char`). The serializer
    /// would accept it, and libvirt would reject it.
    #[error("character U+{code:04X} cannot be written in XML")]
    Character {
        /// Code point of the character.
        code: u32,
    },
    /// The text could not be parsed.
    #[error("reading <{root}>")]
    Read {
        /// Name of the root element.
        root: &'static str,
        /// Error of the parser.
        source: quick_xml::DeError,
    },
    /// The XML to edit is malformed.
    #[error("changing an element")]
    Edit(#[source] quick_xml::Error),
    /// The document has another root element than expected.
    #[error("the root is not <{root}>")]
    Root {
        /// Name of the expected root element.
        root: &'static str,
    },
}

/// Serializes a document.
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

/// Parses a document. The deserializer accepts any root element, hence the check.
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
