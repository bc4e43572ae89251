//! The text of a VMDK that lists its extents ("Virtual Disk Format 5.0", VMware 2011, "The
//! Descriptor File").

use std::borrow::Cow;

use crate::image::decoded;

/// Longest descriptor that is read, in bytes. Those of VMware have one or two KiB.
pub const LONGEST_DESCRIPTOR: usize = 64 * 1024;

/// An extent line such as `RW 4192256 FLAT "disk-f001.vmdk" 0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Length of the extent on the disk, in sectors.
    pub sectors: u64,
    /// `FLAT`, `SPARSE`, `ZERO`, `VMFS`, …
    pub kind: String,
    /// File name as the descriptor spells it; empty for `ZERO`.
    pub file: String,
    /// Offset of the extent in a flat file, in sectors.
    pub offset: u64,
}

/// Decodes a descriptor. Its line `encoding="GBK"` names the encoding. File names may contain any
/// character of that encoding.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    decoded(bytes, "encoding")
}

/// Extents of a descriptor, in the order of the disk. A malformed line yields an unknown kind.
pub fn extents(text: &str) -> Vec<Extent> {
    let lines = text.split(['\n', '\r']).map(str::trim);
    // Split at any white space, as QEMU does: tabs are allowed.
    let is_extent = |line: &&str| {
        let access = line.split_whitespace().next();
        access.is_some_and(|access| ["RW", "RDONLY", "NOACCESS"].contains(&access))
    };
    lines.filter(is_extent).map(extent).collect()
}

fn extent(line: &str) -> Extent {
    let mut words = line.split_whitespace().skip(1);
    let sectors = words.next().and_then(|word| word.parse().ok());
    let kind = words.next().unwrap_or_default();
    let mut quoted = line.split('"').skip(1);
    let file = quoted.next().unwrap_or_default().to_owned();
    let offset = quoted.next().map(str::trim).unwrap_or_default();
    let offset = if offset.is_empty() { Some(0) } else { offset.parse().ok() };
    match sectors.zip(offset) {
        Some((sectors, offset)) => Extent { sectors, kind: kind.to_owned(), file, offset },
        None => Extent { sectors: 0, kind: "of no meaning".to_owned(), file, offset: 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_read_with_their_spaces() {
        let text = "# Disk DescriptorFile\r\nCID=fffffffe\nRW 8 FLAT \"a disk-f001.vmdk\" 16\n\
                    RDONLY 9 ZERO\nRW 7 SPARSE \"s.vmdk\"\nRW many VMFS \"x.vmdk\"\n";
        let found: Vec<_> = extents(text)
            .into_iter()
            .map(|extent| (extent.sectors, extent.kind, extent.file, extent.offset))
            .collect();
        let entry = |sectors, kind: &str, file: &str, offset| {
            (sectors, kind.to_owned(), file.to_owned(), offset)
        };
        assert_eq!(
            found,
            [
                entry(8, "FLAT", "a disk-f001.vmdk", 16),
                entry(9, "ZERO", "", 0),
                entry(7, "SPARSE", "s.vmdk", 0),
                entry(0, "of no meaning", "x.vmdk", 0),
            ]
        );
    }
}
