//! Makes file names from names that other systems have given.

/// Longest file name that is made, in bytes. The rest of Linux' limit of 255 is for suffixes such
/// as `-disk-12.qcow2.part`.
const LONGEST: usize = 180;

/// A file name that resembles `name` and cannot leave its folder.
///
/// `/`, `\`, NUL and control characters become `_`, as does a leading dot or dash. A long name is
/// cut at a character; an empty name becomes `vm`. Spaces, quotes, accents and emoji are kept: file
/// systems accept them.
pub fn file_name(name: &str) -> String {
    let mut safe = String::with_capacity(name.len());
    for c in name.trim().chars() {
        let c = if c == '/' || c == '\\' || c.is_control() { '_' } else { c };
        if safe.len() + c.len_utf8() > LONGEST {
            break;
        }
        safe.push(c);
    }
    if safe.is_empty() {
        return "vm".to_owned();
    }
    if safe.starts_with(['.', '-']) {
        safe.replace_range(..1, "_");
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn ordinary_names_stay() {
        assert_eq!(file_name("Ubuntu-Server 24.04 \u{1f980}"), "Ubuntu-Server 24.04 \u{1f980}");
    }

    #[test]
    fn hostile_names_stay_in_their_folder() {
        assert_eq!(file_name("../../etc/passwd"), "_._.._etc_passwd");
        assert_eq!(file_name(".."), "_.");
        assert_eq!(file_name("-rf"), "_rf");
        assert_eq!(file_name("a\0b\nc"), "a_b_c");
        assert_eq!(file_name("  "), "vm");
        assert!(file_name(&"ü".repeat(400)).len() <= 180);
    }
}
