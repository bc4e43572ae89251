//! Names of domains.

use super::Error;

/// Maximum length of a name derived from a display name, in bytes; names of volumes and log files
/// are longer.
const LONGEST_MADE: usize = 64;
/// Maximum length of a name given by the user, in bytes. With a disk ID of 64 bytes and an
/// extension it still fits into a file name of 255 bytes.
const LONGEST_GIVEN: usize = 180;

/// The domain name for a VM of that display name: lower case, with each run of characters other
/// than `a-z` and `0-9` replaced by one `-`. It has no `-` at either end and at most 64 bytes, and
/// is `vm` if nothing is left.
///
/// `Ubuntu-Server` gives `ubuntu-server`.
pub fn domain_name(display_name: &str) -> String {
    let mut name = String::with_capacity(display_name.len());
    for c in display_name.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.truncate(LONGEST_MADE);
    let name = name.trim_end_matches('-');
    if name.is_empty() { "vm".to_owned() } else { name.to_owned() }
}

/// Checks a name that the user gave.
///
/// # Errors
/// [`Error::Name`] if libvirt would reject the name, or a file of that name would be hidden or
/// outside its folder.
pub fn check_name(name: &str) -> Result<(), Error> {
    let problem = if name.trim().is_empty() {
        "it is empty"
    } else if name.trim() != name {
        "it begins or ends with a space"
    } else if name.contains('/') {
        "it contains a '/'"
    } else if name.chars().any(char::is_control) {
        "it contains a control character"
    } else if name.starts_with(['.', '-']) {
        "it begins with a dot or a dash"
    } else if name.len() > LONGEST_GIVEN {
        "it is longer than 180 bytes"
    } else {
        return Ok(());
    };
    Err(Error::Name { name: name.to_owned(), problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_become_plain() {
        for (from, to) in [
            ("Ubuntu-Server", "ubuntu-server"),
            ("web01", "web01"),
            ("  Web / Front_End (prod) ", "web-front-end-prod"),
            ("a--b..c", "a-b-c"),
            ("\u{1f980}", "vm"),
            ("", "vm"),
            ("Größe 7", "gr-e-7"),
            ("../../etc", "etc"),
        ] {
            assert_eq!(domain_name(from), to, "{from}");
        }
        let long = domain_name(&"ab ".repeat(100));
        assert!(long.len() <= 64 && !long.ends_with('-'), "{long}");
    }

    #[test]
    fn names_made_here_are_accepted_here() {
        for name in ["Ubuntu-Server", "\u{1f980}", "-x", "..", ""] {
            assert_eq!(check_name(&domain_name(name)), Ok(()));
        }
    }

    #[test]
    fn given_names_are_checked_not_changed() {
        assert_eq!(check_name("<b>&\"' \u{1f980}"), Ok(()));
        for wrong in ["", " ", " x", "a/b", "a\nb", ".hidden", "-rf", &"x".repeat(181)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
