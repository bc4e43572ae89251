//! Descriptors as text, in whatever encoding they were written.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};

/// A longest beginning of a text that says how it is encoded, in bytes.
const BEGINNING: usize = 1024;

/// The text of an XML document: a byte order mark tells its encoding, or else its declaration
/// (XML 1.0, appendix F); without either it is UTF-8. What makes no sense in it is replaced.
pub(super) fn of_xml(bytes: &[u8]) -> Cow<'_, str> {
    decode(bytes, label(bytes, "encoding="))
}

/// The text of a VMX, whose encoding stands in it as `.encoding = "windows-1252"`.
pub(super) fn of_vmx(bytes: &[u8]) -> Cow<'_, str> {
    decode(bytes, label(bytes, ".encoding"))
}

fn decode<'a>(bytes: &'a [u8], told: Option<&'static Encoding>) -> Cow<'a, str> {
    let (text, ..) = told.unwrap_or(UTF_8).decode(bytes);
    text
}

/// The encoding whose name stands in quotes behind `key`, near the beginning. One of more than a
/// byte a character cannot say so itself.
fn label(bytes: &[u8], key: &str) -> Option<&'static Encoding> {
    let beginning = String::from_utf8_lossy(&bytes[..bytes.len().min(BEGINNING)]);
    let (_, behind) = beginning.split_once(key)?;
    let mut quoted = behind.split(['"', '\'']);
    let found = Encoding::for_label(quoted.nth(1)?.trim().as_bytes())?;
    found.is_ascii_compatible().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_in_their_encoding() {
        let utf_16: Vec<u8> =
            "\u{feff}<a>ü</a>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(of_xml(&utf_16), "<a>ü</a>");
        assert_eq!(of_xml("\u{feff}<a>ü</a>".as_bytes()), "<a>ü</a>");
        let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xfc</a>";
        assert_eq!(of_xml(latin), "<?xml version='1.0' encoding='ISO-8859-1'?><a>ü</a>");
        // It says what it cannot be.
        let wrong = "<?xml version='1.0' encoding='UTF-16'?><a>ü</a>";
        assert_eq!(of_xml(wrong.as_bytes()), wrong);
        let vmx = b".encoding = \"windows-1252\"\nscsi0:0.fileName = \"B\xfcro.vmdk\"\n";
        assert!(of_vmx(vmx).contains("Büro.vmdk"));
    }
}
