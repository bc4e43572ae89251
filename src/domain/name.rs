//! Names of domains.

use super::Error;

/// Longest name made from a display name, in bytes; volumes and log files add to it.
const LONGEST_MADE: usize = 64;
/// Longest name accepted from a user, in bytes: with a disk id of 64 and an extension it still is a
/// file name, which may have 255.
const LONGEST_GIVEN: usize = 180;

/// The domain name for a VM of that display name: lower case, every run of characters other than
/// `a-z` and `0-9` one `-`, none at the ends, at most 64 bytes, `vm` when nothing is left.
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

/// Checks a name that a user chose.
///
/// # Errors
/// [`Error::Name`] when libvirt would refuse it, or a file of that name would be hidden or lie
/// elsewhere.
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
