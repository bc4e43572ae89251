//! Prepares text of the source for XML and for one line.

/// `text` on one line: control characters, line ends and characters that XML 1.0 forbids (section
/// 2.2, `Char`) become spaces, and runs of spaces become one space.
pub(super) fn one_line(text: &str) -> String {
    let clean: String =
        text.chars().map(|c| if c.is_control() || is_noncharacter(c) { ' ' } else { c }).collect();
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fffe}' | '\u{ffff}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn only_what_xml_and_a_line_cannot_hold_goes() {
        assert_eq!(one_line("a\n\tb\u{1}\0c \u{fffe} d"), "a b c d");
        assert_eq!(one_line("<b>&\"' \u{1f980}"), "<b>&\"' \u{1f980}");
    }
}
