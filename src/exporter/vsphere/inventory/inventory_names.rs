//! vSphere's escaping of entity names.

/// Decodes a name to the form that the vSphere client shows: `%2f`, `%5c` and `%25` stand for `/`,
/// `\` and `%` (vim25 reference, `ManagedEntity.name`). No other characters are escaped.
pub(in crate::exporter::vsphere) fn decode_name(name: &str) -> String {
    let mut decoded = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3).map(str::to_ascii_lowercase);
        let character = match code.as_deref() {
            Some("2f") => Some('/'),
            Some("5c") => Some('\\'),
            Some("25") => Some('%'),
            _ => None,
        };
        decoded.push(character.unwrap_or('%'));
        rest = &rest[at + if character.is_some() { 3 } else { 1 }..];
    }
    decoded.push_str(rest);
    decoded
}

/// Encodes a name to the form that the server expects.
pub(in crate::exporter::vsphere) fn encode_name(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2f").replace('\\', "%5c")
}

#[cfg(test)]
mod tests {
    use super::{decode_name, encode_name};

    #[test]
    fn what_is_encoded_is_decoded_to_the_same() {
        for name in ["centos/7", "100% /\\", "%2f", "ü"] {
            assert_eq!(decode_name(&encode_name(name)), name);
        }
    }

    #[test]
    fn only_three_characters_are_escaped() {
        for (raw, shown) in [
            ("centos%2f7", "centos/7"),
            ("100%25 %2F%5c", "100% /\\"),
            ("%252f", "%2f"),
            ("50% ü%2", "50% ü%2"),
            ("%41%ü", "%41%ü"),
        ] {
            assert_eq!(decode_name(raw), shown);
        }
    }
}
