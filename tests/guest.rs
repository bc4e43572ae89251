//! The guest of the other tests is what they take it for: a VMware guest, which boots on the disks
//! that it knows and not on virtio. Else "it boots after the conversion" would prove nothing.

mod support;

use support::guest::{Boot, Machine, boot_image, guest};

#[test]
fn the_bios_guest_boots_on_ide_and_not_on_virtio() {
    let Some(guest) = guest("bios") else { return };
    let ide = Machine { image: &guest.raw, format: "raw", bus: "ide", firmware: "bios" };
    boot_image(ide).expect_login();
    let Boot::Stuck(why) = boot_image(Machine { bus: "virtio", ..ide }) else {
        panic!("a guest that is to be fixed needs no fixing");
    };
    assert!(why.contains("/dev/sda1 does not exist"), "{why}");
}

#[test]
fn the_uefi_guest_boots_from_its_vmdk() {
    let Some(guest) = guest("uefi") else { return };
    let ide = Machine { image: &guest.vmdk, format: "vmdk", bus: "ide", firmware: "uefi" };
    boot_image(ide).expect_login();
}
