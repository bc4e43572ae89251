//! VMware's UUIDs of disks in their notations.

/// The UUID as 32 hexadecimal digits in lower case, from any of VMware's notations: `60 00 C2 9d 3d
/// 4c 50 e1-2e 1a …` (VMDK descriptor), `6000C29d-3d4c-50e1-…` (vim25). `None` for other text, and
/// for the UUID of zeros, which means no UUID.
pub fn disk_uuid(text: &str) -> Option<String> {
    let is_divider = |c: char| c == '-' || c.is_ascii_whitespace();
    let digits: String = text.chars().filter(|c| !is_divider(*c)).collect();
    let is_uuid = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_told = digits.bytes().any(|byte| byte != b'0');
    (is_uuid && is_told).then(|| digits.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::disk_uuid;

    #[test]
    fn all_spellings_give_the_same_digits() {
        for spelling in [
            "60 00 C2 9d 3d 4c 50 e1-2e 1a 64 8c 0e 1e 5b 07",
            "6000C29d-3d4c-50e1-2e1a-648c0e1e5b07",
            "6000c29d3d4c50e12e1a648c0e1e5b07",
            " 60 00 C2 9D 3D 4C 50 E1-2E 1A 64 8C 0E 1E 5B 07\t",
        ] {
            let found = disk_uuid(spelling);
            assert_eq!(found.as_deref(), Some("6000c29d3d4c50e12e1a648c0e1e5b07"), "{spelling}");
        }
        for other in ["", "6000", "6000C29d-3d4c-50e1-2e1a-648c0e1e5b0g", &"0".repeat(32)] {
            assert_eq!(disk_uuid(other), None, "{other}");
        }
    }
}
