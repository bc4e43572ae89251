//! The other tests' guest is a VMware guest that does not boot on virtio. Otherwise "it boots after
//! the conversion" would prove nothing. `tests/libvirt/heavy` shows that the guest boots on its
//! original hardware.

use crate::support::guest::{Boot, boot_image, guest};

#[test]
fn the_bios_guest_does_not_boot_on_virtio() {
    let Some(guest) = guest("bios") else { return };
    let Boot::Stuck(why) = boot_image(&guest.raw, "virtio") else {
        panic!("a guest that is to be fixed needs no fixing");
    };
    assert!(why.contains("/dev/sda1 does not exist"), "{why}");
}
