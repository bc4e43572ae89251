//! Decodes descriptors of any encoding to text.

use std::borrow::Cow;

use encoding_rs::UTF_8;

use crate::image::decoded;

/// The text of an XML document. A byte order mark gives the encoding, or else the XML declaration
/// (XML 1.0, appendix F); without either it is UTF-8. Invalid sequences are replaced.
pub(super) fn of_xml(bytes: &[u8]) -> Cow<'_, str> {
    decoded(bytes, "encoding")
}

/// The text of a VMX, which states its own encoding: `.encoding = "windows-1252"`.
pub(super) fn of_vmx(bytes: &[u8]) -> Cow<'_, str> {
    decoded(bytes, ".encoding")
}

/// The text of a checksum file. PowerShell writes UTF-16, with a byte order mark.
pub(super) fn of_sums(bytes: &[u8]) -> Cow<'_, str> {
    UTF_8.decode(bytes).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_in_their_encoding() {
        let utf_16: Vec<u8> =
            "\u{feff}<a>ü</a>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(of_xml(&utf_16), "<a>ü</a>");
        assert_eq!(of_sums(&utf_16), "<a>ü</a>");
        assert_eq!(of_xml("\u{feff}<a>ü</a>".as_bytes()), "<a>ü</a>");
        let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xfc</a>";
        assert_eq!(of_xml(latin), "<?xml version='1.0' encoding='ISO-8859-1'?><a>ü</a>");
        // The declared encoding is wrong.
        let wrong = "<?xml version='1.0' encoding='UTF-16'?><a>ü</a>";
        assert_eq!(of_xml(wrong.as_bytes()), wrong);
        let vmx = b".encoding = \"windows-1252\"\nscsi0:0.fileName = \"B\xfcro.vmdk\"\n";
        assert!(of_vmx(vmx).contains("Büro.vmdk"));
    }
}
