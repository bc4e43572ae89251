//! An entry point for `make fuzz`: parses and changes texts of a guest.

use std::io::Cursor;

use crate::budget::Going;
use crate::convert::native::devices::GuestDevices;
use crate::convert::native::partitions::Partitions;

use super::{archive, arrays, boot, differences, entries, options, tables, units};

/// Parses an initramfs.
pub(in crate::convert) fn initramfs(bytes: &[u8]) {
    archive::contents(Cursor::new(bytes.to_vec()), &Going::default()).ok();
}

/// Parses the partition table at the beginning of a disk.
pub(in crate::convert) fn partitions(bytes: &[u8]) {
    let partitions = Partitions::read(bytes);
    partitions.bios_loader(bytes);
    assert!(partitions.efi().all(|esp| esp.sectors.checked_mul(512).is_some()));
}

/// Parses a text as each table and as each configuration of boot loaders, arrays, units and the
/// network.
pub(in crate::convert) fn text(text: &str) {
    let mut devices = GuestDevices::default();
    devices.know_system("/dev/sda1".to_owned(), text);
    devices.know_mapped(text);
    for table in tables::TABLES {
        let (after, _) = tables::stabilize(text, table, &devices);
        differences::differences(text, &after);
    }
    tables::copy_is_unstable(text, &devices);
    arrays::mend(text, &devices);
    units::stabilize(text, &devices);
    units::mount(text);
    units::named(text).count();
    options::stabilize(text, &devices);
    boot::environment(text, &devices);
    boot::kept(text, &devices);
    boot::command_lines(text, &devices);
    boot::lasts(text, &devices);
    boot::defaults(text, &devices);
    for path in ["/boot/grub/grub.cfg", "/boot/grub/menu.lst", "/boot/loader/entries/a.conf"] {
        entries::read(path, text);
    }
    super::network::fuzz_forms::text(text);
}
