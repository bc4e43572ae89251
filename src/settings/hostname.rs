//! Names of hosts.

use std::net::IpAddr;

/// Longest name, and longest part between two dots (RFC 1035, 2.3.4).
const LONGEST: usize = 253;
const LONGEST_PART: usize = 63;

/// Reads the name that a guest shall have: parts of letters, digits and dashes between dots, none
/// of which begins or ends with a dash (RFC 1123, 2.1).
///
/// # Errors
/// What is wrong with it.
pub fn hostname(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let wrong = if text.is_empty() || text.split('.').any(str::is_empty) {
        "a part of it is empty"
    } else if !text.chars().all(|c| is_plain(c) || c == '.') {
        "it may have letters, digits, dashes and dots"
    } else if text.split('.').any(|part| part.starts_with('-') || part.ends_with('-')) {
        "no part of it may begin or end with a dash"
    } else if text.len() > LONGEST || text.split('.').any(|part| part.len() > LONGEST_PART) {
        "it may have 253 characters, and 63 between two dots"
    } else if text.parse::<IpAddr>().is_ok() {
        "it is an address"
    } else {
        return Ok(text.to_owned());
    };
    Err(wrong.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_rfc_1123() {
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        for good in
            ["web01", "3com.example.com", "WEB-01", "x", "1234", "xn--bcher-kva.de", &longest]
        {
            assert_eq!(hostname(good).as_deref(), Ok(good));
        }
        let long = ["a".repeat(64), format!("{longest}c")];
        let bad =
            ["", "-web", "web-", "a.-b", "a..b", ".a", "a.", "a_b", "a b", "a\nb", "b\u{fc}ro"];
        let more = ["--root", "10.0.0.5", "a/b", "a;b", "\u{1b}[2J"];
        for bad in bad.iter().chain(&more).copied().chain(long.iter().map(String::as_str)) {
            assert!(hostname(bad).is_err(), "{bad}");
        }
    }
}
