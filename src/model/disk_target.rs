//! Device names of disks.

/// Device name of the disk at `index`, counted from 0, after `prefix`, as Linux numbers disks:
/// `vda` … `vdz`, `vdaa` …
pub fn disk_target(prefix: &str, mut index: usize) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'a' + (index % 26) as u8));
        if index < 26 {
            break;
        }
        index = index / 26 - 1;
    }
    prefix.chars().chain(letters.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::disk_target;

    #[test]
    fn targets_count_like_linux() {
        for (index, name) in
            [(0, "vda"), (25, "vdz"), (26, "vdaa"), (27, "vdab"), (701, "vdzz"), (702, "vdaaa")]
        {
            assert_eq!(disk_target("vd", index), name);
        }
        assert_eq!(disk_target("hd", 3), "hdd");
    }
}
