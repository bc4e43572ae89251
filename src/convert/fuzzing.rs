//! Entry points for `make fuzz`: the parsers of guest data, each on its own.

use super::native::fix::fuzzing as fix;

/// Parses an initramfs.
pub fn initramfs(bytes: &[u8]) {
    fix::initramfs(bytes);
}

/// Parses the partition table at the beginning of a disk.
pub fn partitions(bytes: &[u8]) {
    fix::partitions(bytes);
}

/// Parses a text file of a guest.
pub fn text(bytes: &[u8]) {
    fix::text(&String::from_utf8_lossy(bytes));
}
