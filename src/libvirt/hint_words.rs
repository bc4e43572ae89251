//! Quotes words of commands in hints. Hints put a command in single quotes, so a word inside is
//! quoted with double ones.

/// `word`, quoted so that a shell reads it as one word.
pub(super) fn word(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:@%+,=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    let mut quoted = String::from('"');
    for c in word.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn a_word_stays_one_word() {
        for (given, written) in [
            ("vms", "vms"),
            ("größe-1", "größe-1"),
            ("my pool", "\"my pool\""),
            ("a&b<c>'d", "\"a&b<c>'d\""),
            ("a\"$b`c\\", "\"a\\\"\\$b\\`c\\\\\""),
            ("", "\"\""),
        ] {
            assert_eq!(word(given), written);
        }
    }
}
