//! The guest of the other tests is what they take it for: a VMware guest, which boots on the disks
//! that it knows and not on virtio. Else "it boots after the conversion" would prove nothing.

use crate::support::guest::{Boot, boot_image, guest};

#[test]
fn the_bios_guest_boots_on_ide_and_not_on_virtio() {
    let Some(guest) = guest("bios") else { return };
    boot_image(&guest.raw, "ide").expect_login();
    let Boot::Stuck(why) = boot_image(&guest.raw, "virtio") else {
        panic!("a guest that is to be fixed needs no fixing");
    };
    assert!(why.contains("/dev/sda1 does not exist"), "{why}");
}
