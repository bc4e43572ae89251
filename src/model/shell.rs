//! Quoting for shells.

/// The word, quoted for a POSIX shell if necessary (POSIX shell, 2.2.2).
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:+=@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_are_quoted_where_a_shell_would_take_them_apart() {
        assert_eq!(quoted("qemu:///system"), "qemu:///system");
        assert_eq!(quoted("it's <b>"), r"'it'\''s <b>'");
        assert_eq!(quoted(""), "''");
    }
}
