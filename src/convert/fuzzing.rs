//! Doors for `make fuzz`: what reads bytes of a guest, alone.

use super::native::fix::fuzzing as fix;

/// An initramfs.
pub fn initramfs(bytes: &[u8]) {
    fix::initramfs(bytes);
}

/// The beginning of a disk.
pub fn partitions(bytes: &[u8]) {
    fix::partitions(bytes);
}

/// A text of the guest's.
pub fn text(bytes: &[u8]) {
    fix::text(&String::from_utf8_lossy(bytes));
}
