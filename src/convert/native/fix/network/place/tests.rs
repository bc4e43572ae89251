//! Cards by their places, as VMware numbers them.

use super::*;
use crate::model::SourceNic;

/// A card with the last byte of its MAC address, and its slot.
pub(in super::super) fn card(last: u8, slot: Option<u32>) -> Card {
    let mac = format!("00:50:56:aa:bb:{last:02x}").parse().expect("an address");
    Card {
        mac: Some(mac),
        source_mac: None,
        slot,
        position: Some(usize::from(last.saturating_sub(1))),
        driver: Some("vmxnet3"),
        addresses: Vec::new(),
    }
}

/// [`card`] with another driver.
pub(in super::super) fn e1000(last: u8, slot: u32) -> Card {
    Card { driver: Some("e1000"), ..card(last, Some(slot)) }
}

/// Cards in these slots, in the domain's order.
pub(in super::super) fn cards(slots: &[u32]) -> Vec<Card> {
    let numbered = (1..).zip(slots);
    let mut cards: Vec<_> = numbered.map(|(last, slot)| card(last, Some(*slot))).collect();
    let order = bus_order(&cards).unwrap_or_default();
    for (position, index) in order.into_iter().enumerate() {
        cards[index].position = Some(position);
    }
    cards
}

/// The cards without the card of that index, which the domain does not have.
pub(in super::super) fn without(mut cards: Vec<Card>, left_out: usize) -> Vec<Card> {
    let gone = cards[left_out].position.take();
    for card in &mut cards {
        card.position = card.position.map(|at| at - usize::from(Some(at) > gone));
    }
    cards
}

fn hardware(by: By, patterns: &[&str]) -> HardwareSelection {
    HardwareSelection::evidence(by, patterns.iter().map(|pattern| (*pattern).to_owned()).collect())
}

#[test]
fn slots_are_places_and_names() {
    for (slot, address, name) in [
        (32, "0000:02:00.0", "ens32"),
        (33, "0000:02:01.0", "ens33"),
        (37, "0000:02:05.0", "ens37"),
        (160, "0000:03:00.0", "ens160"),
        (192, "0000:0b:00.0", "ens192"),
        (224, "0000:13:00.0", "ens224"),
        (256, "0000:1b:00.0", "ens256"),
        (1184, "0000:04:00.0", "ens161"),
        (1216, "0000:0c:00.0", "ens193"),
        (2208, "0000:05:00.0", "ens162"),
        (3, "0000:00:03.0", "ens3"),
    ] {
        let card = card(1, Some(slot));
        assert_eq!(card.place().expect("known").address(), address, "{slot}");
        assert_eq!(card.names_by_place()[0], name, "{slot}");
        assert_eq!(card.fits(name), Some(true), "{slot}");
    }
}

#[test]
fn names_tell_the_place_of_their_card() {
    for (name, slot) in [
        ("ens192", 192),
        ("ens192f0", 192),
        ("ens161", 1184),
        ("enp11s0", 192),
        ("enp3s0", 160),
        ("enp4s0", 1184),
        ("enp2s1", 33),
        ("eno16777736", 33),
        ("eno33554984", 37),
        ("eno16777984", 160),
        ("eno33557248", 192),
        ("eno50338560", 256),
    ] {
        assert_eq!(card(1, Some(slot)).fits(name), Some(true), "{name}");
        assert_eq!(card(1, Some(225)).fits(name), Some(false), "{name}");
        assert_eq!(card(1, None).fits(name), None, "{name}");
    }
    for name in ["eth0", "lan0", "eno1", "ens", "enp11", "ensure", "enx005056aabb01", "em1"] {
        assert_eq!(card(1, Some(192)).fits(name), None, "{name}");
    }
}

#[test]
fn the_kernel_counts_by_bus_and_not_by_slot_number() {
    assert_eq!(kernel_order(&cards(&[192, 224, 256, 1184])), Some(vec![3, 0, 1, 2]));
    assert_eq!(kernel_order(&[card(1, Some(192)), card(2, None)]), None);
    let mut mixed = cards(&[192, 33]);
    mixed[1].driver = Some("e1000");
    assert_eq!((kernel_order(&mixed), bus_order(&mixed)), (None, Some(vec![1, 0])));
}

#[test]
fn cards_are_counted_as_the_domain_gets_them() {
    let mut vm = crate::model::fixture::vm();
    let nic = |index: usize, slot: u32| SourceNic { slot: Some(slot), ..SourceNic::at(index) };
    vm.nics = vec![nic(0, 224), nic(1, 192), nic(2, 256)];
    let positions = |left_out: &[&str]| {
        let left_out: Vec<_> = left_out.iter().map(|id| (*id).to_owned()).collect();
        let cards = Card::all(&vm, &left_out).into_iter();
        cards.map(|card| card.position).collect::<Vec<_>>()
    };
    assert_eq!(positions(&[]), [Some(1), Some(0), Some(2)]);
    assert_eq!(positions(&["nic-1"]), [Some(0), None, Some(1)]);
}

#[test]
fn a_selection_by_place_or_driver_means_cards() {
    let cards = cards(&[192, 224]);
    for (by, pattern, meant) in [
        (By::Path, "pci-0000:0b:00.0", vec![0]),
        (By::Path, "pci-0000:13:*", vec![1]),
        (By::Address, "0000:13:00.0", vec![1]),
        (By::Address, "0000:00:16.0", vec![0]),
        (By::Address, "0000:99:00.0", vec![]),
        (By::Driver, "vmxnet3", vec![0, 1]),
        (By::Driver, "e1000", vec![]),
        (By::PlaceName, "enp19s0", vec![1]),
        (By::Vendor, "0x15ad", vec![0, 1]),
        (By::Model, "0x07b0", vec![0, 1]),
        (By::Model, "0x100f", vec![]),
        (By::Label, "Ethernet1", vec![1]),
        (By::Path, "pci-0000?0b?00?0", vec![0]),
        (By::KernelName, "ens224", vec![1]),
    ] {
        assert_eq!(hardware(by, &[pattern]).meant(&cards), Meant::Cards(meant), "{pattern}");
    }
    for (by, patterns) in [
        (By::Path, &["pci-*"][..]),
        (By::Driver, &["*"]),
        (By::Driver, &["vmxnet3", "virtio_net"]),
        (By::Driver, &["!vmxnet3"]),
        (By::KernelName, &["eth*"]),
        (By::KernelName, &["eth1"]),
        (By::PlaceName, &["en*"]),
    ] {
        assert_eq!(hardware(by, patterns).meant(&cards), Meant::Holds, "{patterns:?}");
    }
}

#[test]
fn a_single_card_is_meant_whatever_its_slot() {
    let alone = [card(1, None)];
    let path = hardware(By::Path, &["pci-0000:0b:00.0"]);
    assert_eq!(path.meant(&alone), Meant::Cards(vec![0]));
    assert_eq!(hardware(By::Driver, &["e1000"]).meant(&alone), Meant::Cards(vec![0]));
    assert_eq!(hardware(By::Driver, &["r8169"]).meant(&alone), Meant::Cards(Vec::new()));
}

#[test]
fn the_kernels_name_means_another_card_when_the_order_changes() {
    let eth0 = hardware(By::KernelName, &["eth0"]);
    assert_eq!(eth0.meant(&cards(&[224, 192])), Meant::Holds, "the domain has them by slot");
    let swapped = [card(1, Some(224)), card(2, Some(192))];
    assert_eq!(eth0.meant(&swapped), Meant::Cards(vec![1]));
    let first_left_out = without(cards(&[192, 224]), 0);
    assert_eq!(eth0.meant(&first_left_out), Meant::Cards(vec![0]));
}
