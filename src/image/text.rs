//! Decodes texts that name their own encoding.

use std::borrow::Cow;

use encoding_rs::{BIG5, EUC_KR, Encoding, GB18030, GBK, SHIFT_JIS, UTF_8};

/// Bytes from a text's beginning in which its encoding must be named.
const BEGINNING: usize = 1024;

/// Windows code pages that the Encoding Standard lists under another name. VMware calls them
/// `windows-936` and so on.
const CODE_PAGES: [(&str, &Encoding); 7] = [
    ("932", SHIFT_JIS),
    ("943", SHIFT_JIS),
    ("936", GBK),
    ("949", EUC_KR),
    ("950", BIG5),
    ("54936", GB18030),
    ("65001", UTF_8),
];

/// Decodes a text. The encoding's name follows `key` and `=` near the beginning, in any case; UTF-8
/// is the default, also for an unknown name. A byte order mark has priority. Invalid bytes are
/// replaced.
pub fn decoded<'a>(bytes: &'a [u8], key: &str) -> Cow<'a, str> {
    label(bytes, key).unwrap_or(UTF_8).decode(bytes).0
}

/// Finds the encoding's name. UTF-16 and the like cannot be named this way: the name itself would
/// be unreadable.
fn label(bytes: &[u8], key: &str) -> Option<&'static Encoding> {
    let beginning = String::from_utf8_lossy(&bytes[..bytes.len().min(BEGINNING)]);
    let beginning = beginning.to_ascii_lowercase();
    let (_, behind) = beginning.split_once(key)?;
    let value = behind.trim_start().strip_prefix('=')?.trim_start();
    let value = value.trim_start_matches(['"', '\'']);
    let end = |c: char| matches!(c, '"' | '\'') || c.is_whitespace();
    let name = value.split(end).next()?;
    let found = Encoding::for_label(name.as_bytes()).or_else(|| code_page(name))?;
    found.is_ascii_compatible().then_some(found)
}

fn code_page(name: &str) -> Option<&'static Encoding> {
    let number = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    CODE_PAGES.iter().find(|(known, _)| *known == number).map(|(_, encoding)| *encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_in_the_encoding_that_it_names() {
        for (name, bytes, text) in [
            ("GBK", &b"\xd0\xe9\xc4\xe2\xbb\xfa"[..], "虚拟机"),
            ("windows-936", b"\xd0\xe9\xc4\xe2\xbb\xfa", "虚拟机"),
            ("gb18030", b"\xd0\xe9\xc4\xe2\xbb\xfa", "虚拟机"),
            ("Big5", b"\xb5\xea\xc0\xc0\xbe\xf7", "虛擬機"),
            ("windows-950", b"\xb5\xea\xc0\xc0\xbe\xf7", "虛擬機"),
            ("Shift_JIS", b"\x89\xbc\x91\x7a", "仮想"),
            ("windows-31J", b"\x89\xbc\x91\x7a", "仮想"),
            ("cp932", b"\x89\xbc\x91\x7a", "仮想"),
            ("EUC-KR", b"\xb0\xa1\xbb\xf3", "가상"),
            ("windows-949", b"\xb0\xa1\xbb\xf3", "가상"),
            ("windows-1252", b"B\xfcro", "Büro"),
            ("ISO-8859-1", b"B\xfcro", "Büro"),
            ("windows-1251", b"\xcc\xe0\xf8", "Маш"),
            ("UTF-8", "Büro".as_bytes(), "Büro"),
            ("nonsense", "Büro".as_bytes(), "Büro"),
            // The readable text proves that it is none of these.
            ("UTF-16", "Büro".as_bytes(), "Büro"),
        ] {
            for line in [format!("encoding=\"{name}\""), format!("Encoding = '{name}'")] {
                let whole = [b"# Disk\nversion=1\n", line.as_bytes(), b"\n", bytes].concat();
                assert!(decoded(&whole, "encoding").ends_with(text), "{line}");
            }
        }
    }
}
