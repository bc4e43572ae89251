//! Revision of a source: a text that differs when the source has changed. Earlier versions wrote
//! fewer values into it. Values that are missing from an old text are not compared.

/// Prefix of the revision of files. An earlier version wrote no prefix.
const FILES: &str = "files ";
/// Prefix of the revision of a libvirt domain. An earlier version wrote facts about the disks
/// before the times.
const VOLUMES: &str = "volumes ";

/// The revision of files, from the state of each: the descriptor first, then the other files.
pub fn of_files(states: &[String]) -> String {
    format!("{FILES}{}", states.join(" "))
}

/// The revision of volumes, from the times of their last changes.
pub fn of_volumes(times: &[&str]) -> String {
    format!("{VOLUMES}{}", times.join(" "))
}

/// Whether two revisions describe the same state; `None` if that is not known.
pub fn is_same(then: &str, now: &str) -> Option<bool> {
    if then.is_empty() || now.is_empty() {
        return None;
    }
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    match (now.strip_prefix(FILES), now.strip_prefix(VOLUMES)) {
        (Some(now), _) if !then.starts_with(FILES) => same_files(&words(then), &words(now)),
        (_, Some(now)) if !then.starts_with(VOLUMES) => Some(times(then)? == words(now)),
        _ => Some(then == now),
    }
}

/// An earlier version recorded a folder instead of its descriptor, and no checksum file.
fn same_files(then: &[String], now: &[String]) -> Option<bool> {
    let (first, disks) = then.split_first()?;
    if disks.iter().any(|disk| !now.contains(disk)) {
        return Some(false);
    }
    match (now.contains(first), disks.is_empty()) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}

/// The times that an earlier version wrote as a list at the end: `… ["1764183256.7", "…"]`.
fn times(then: &str) -> Option<Vec<String>> {
    serde_json::from_str(&then[then.rfind('[')?..]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(states: &[&str]) -> String {
        of_files(&states.iter().map(|state| (*state).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_an_earlier_version_did_not_write_is_not_compared() {
        let now = files(&["7@1.0", "9@2.0", "512@3.0"]);
        for (then, same) in [
            (now.as_str(), Some(true)),
            // The descriptor and its disks, without the checksums.
            ("7@1.0 512@3.0 ", Some(true)),
            // The folder instead of the descriptor.
            ("4096@5.0 512@3.0 ", None),
            ("7@1.0 512@4.0 ", Some(false)),
            ("4096@5.0 512@4.0 ", Some(false)),
            ("files 7@1.0 512@3.0", Some(false)),
            ("", None),
        ] {
            assert_eq!(is_same(then, &now), same, "{then}");
        }
        let archive = files(&["512@3.0"]);
        assert_eq!(is_same("512@3.0 ", &archive), Some(true));
        assert_eq!(is_same("512@4.0 ", &archive), Some(false));
    }

    #[test]
    fn a_domain_is_known_by_the_times_of_its_volumes_alone() {
        let now = of_volumes(&["1764183256.7", "1764183256.8"]);
        assert_eq!(now, "volumes 1764183256.7 1764183256.8");
        let disks = "[SourceDisk { id: DiskId(\"disk-0\"), key: 0 }]";
        let of = |times: &str| is_same(&format!("{disks} {times}"), &now);
        assert_eq!(of("[\"1764183256.7\", \"1764183256.8\"]"), Some(true));
        assert_eq!(of("[\"1764183256.7\", \"1764183256.9\"]"), Some(false));
        assert_eq!(of(""), None);
        assert_eq!(is_same("2026-11-26T05:12:00Z", "2026-11-26T05:12:00Z"), Some(true));
        assert_eq!(is_same("2026-11-26T05:12:00Z", "2026-11-26T05:13:00Z"), Some(false));
    }
}
