//! The guest of the other tests is a VMware guest, which does not boot on virtio. Without that, "it
//! boots after the conversion" would prove nothing. That it boots on the hardware that it knows is
//! shown by `tests/libvirt/heavy`.

use crate::support::guest::{Boot, boot_image, guest};

#[test]
fn the_bios_guest_does_not_boot_on_virtio() {
    let Some(guest) = guest("bios") else { return };
    let Boot::Stuck(why) = boot_image(&guest.raw, "virtio") else {
        panic!("a guest that is to be fixed needs no fixing");
    };
    assert!(why.contains("/dev/sda1 does not exist"), "{why}");
}
