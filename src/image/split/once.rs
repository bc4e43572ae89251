//! Checks that a descriptor uses each byte of the extents' files only once.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::image::beside;
use crate::image::vmdk::Extent;

/// Rejects a descriptor that names the same bytes twice: 60 KiB of text would turn one small file
/// into a disk of gigabytes. Separate parts of one flat file may be several extents. The files are
/// in `folder`. The inner result names the fault.
pub(in crate::image) fn each_once(
    extents: &[Extent],
    folder: &Path,
) -> io::Result<Result<(), String>> {
    let mut named: HashMap<(u64, u64), Vec<(u64, u64)>> = HashMap::new();
    for extent in extents.iter().filter(|extent| extent.kind != "ZERO") {
        // Opening reports a missing extent later.
        let Some(path) = beside(folder, &extent.file)? else { continue };
        // A file may have several names.
        let file = path.metadata()?;
        let range = match extent.kind.as_str() {
            "FLAT" | "VMFS" => (extent.offset, extent.offset.saturating_add(extent.sectors)),
            _ => (0, u64::MAX),
        };
        named.entry((file.dev(), file.ino())).or_default().push(range);
    }
    for ranges in named.values_mut() {
        ranges.sort_unstable();
        if ranges.windows(2).any(|pair| pair[1].0 < pair[0].1) {
            return Ok(Err("its descriptor names the same part of a file twice".to_owned()));
        }
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(extents: &[(&str, &str, u64)]) -> Option<String> {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("a"), "x").expect("written");
        std::fs::write(dir.path().join("b"), "x").expect("written");
        std::fs::hard_link(dir.path().join("a"), dir.path().join("A2")).expect("a link");
        let extents: Vec<_> = extents
            .iter()
            .map(|(kind, file, offset)| Extent {
                sectors: 8,
                kind: (*kind).to_owned(),
                file: (*file).to_owned(),
                offset: *offset,
            })
            .collect();
        each_once(&extents, dir.path()).expect("readable").err()
    }

    #[test]
    fn parts_of_one_file_may_follow_each_other_and_not_overlap() {
        assert_eq!(judged(&[("FLAT", "a", 8), ("FLAT", "b", 0), ("FLAT", "a", 0)]), None);
        assert_eq!(judged(&[("ZERO", "", 0), ("ZERO", "", 0)]), None);
        for twice in [
            [("FLAT", "a", 0), ("FLAT", "a", 7)],
            [("FLAT", "a", 0), ("VMFS", "A", 0)],
            [("FLAT", "a", 0), ("FLAT", "A2", 0)],
            [("SPARSE", "a", 0), ("SPARSE", "a", 0)],
            [("FLAT", "a", 64), ("VMFSSPARSE", "./a", 0)],
        ] {
            assert!(judged(&twice).is_some(), "{twice:?}");
        }
    }
}
