//! Where VMware put a card, and which card a configuration means that selects by place or driver.
//!
//! The guest's slot register shows the function of the bridge added to the slot number, not packed:
//! slot 1184 is `ens161`.

use glob::Pattern;

use crate::model::{MacAddress, NicModel, Place, SourceVm};

use super::claim::Edit;

/// A network card of the VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Card {
    pub(super) mac: Option<MacAddress>,
    /// The address at the source, where the card has another one now.
    pub(super) source_mac: Option<MacAddress>,
    pub(super) slot: Option<u32>,
    /// The driver of its model on VMware.
    driver: Option<&'static str>,
    /// Addresses that the guest's tools reported while the guest ran.
    pub(super) addresses: Vec<String>,
}

impl Card {
    /// The cards of a VM, in the order in which the domain gets them.
    pub(super) fn all(vm: &SourceVm) -> Vec<Self> {
        let seen = vm.guest.network.iter().flat_map(|network| &network.interfaces);
        let cards = vm.nics.iter().map(|nic| {
            let own = seen.clone().filter(|one| Some(one.mac) == nic.mac);
            Self {
                mac: nic.mac,
                source_mac: nic.source_mac,
                slot: nic.slot,
                driver: driver(nic.model),
                addresses: own.flat_map(|one| one.addresses.clone()).collect(),
            }
        });
        cards.collect()
    }

    /// The card's place on VMware's PCI bus.
    pub(super) fn place(&self) -> Option<Place> {
        self.slot.and_then(Place::of_slot)
    }

    /// The names that systemd made of the card's place on VMware, the one in use first.
    pub(super) fn names_by_place(&self) -> Vec<String> {
        let by_slot = self.slot.map(|slot| format!("ens{}", shown(slot)));
        let by_bus = self.place().map(|place| format!("enp{}s{}", place.bus, place.device));
        by_slot.into_iter().chain(by_bus).collect()
    }

    /// Whether the name is of this card's place: `None` where the name tells no place or the card's
    /// place is not known.
    pub(super) fn fits(&self, name: &str) -> Option<bool> {
        match Seat::of(name)? {
            Seat::Slot(slot) => self.slot.map(|own| shown(own) == slot),
            Seat::Place(place) => self.place().map(|own| own == place),
        }
    }
}

/// What the guest sees of a slot number: the function added to the slot of the bridge.
fn shown(slot: u32) -> u32 {
    (slot & 0x3ff) + (slot >> 10)
}

/// The Linux driver of a VMware card (drivers/net); none of them serves a virtio card.
fn driver(model: NicModel) -> Option<&'static str> {
    match model {
        NicModel::Vmxnet => Some("vmxnet3"),
        NicModel::E1000 => Some("e1000"),
        NicModel::E1000e => Some("e1000e"),
        NicModel::Pcnet => Some("pcnet32"),
        NicModel::Vmxnet2 => Some("vmxnet"),
        NicModel::Virtio | NicModel::Rtl8139 | NicModel::Sriov | NicModel::Other => None,
    }
}

/// A place that a name tells (systemd.net-naming-scheme(7)).
enum Seat {
    Slot(u32),
    Place(Place),
}

impl Seat {
    fn of(name: &str) -> Option<Self> {
        if let Some(rest) = name.strip_prefix("ens") {
            let (slot, rest) = number(rest)?;
            return is_suffix(rest).then_some(Self::Slot(slot));
        }
        if let Some(rest) = name.strip_prefix("enp") {
            let (bus, rest) = number(rest)?;
            let (device, rest) = number(rest.strip_prefix('s')?)?;
            let function = rest.strip_prefix('f').and_then(number).map_or(0, |(f, _)| f);
            return is_suffix(rest).then_some(Self::Place(Place::new(bus, device, function)));
        }
        // VMware's firmware numbers its cards (_DSM): the card's number in the top byte, then the
        // bus and the device. Guests of the years 2013 to 2015 name cards after it: eno16777984 is
        // the first card, at 03:00.0.
        let (index, rest) = number(name.strip_prefix("eno")?)?;
        let is_vmware = rest.is_empty() && index >> 24 > 0;
        let place = Place::new(index >> 8 & 0xff, index >> 3 & 0x1f, index & 0x7);
        is_vmware.then_some(Self::Place(place))
    }
}

/// The number that `text` begins with, and the rest.
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// Function, device port and port name may follow: `f0`, `d1`, `np0`.
fn is_suffix(text: &str) -> bool {
    text.is_empty() || text.starts_with(['f', 'd', 'n'])
}

/// How a configuration selects a card without a name or a MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// `ID_PATH` of udev: `pci-0000:0b:00.0`.
    Path,
    /// An address on the bus, of the card or its bridge: `0000:0b:00.0`.
    Address,
    Driver,
    /// The name that the kernel gives first: `eth0`.
    KernelName,
    /// The name that udev makes of the place: `ens192`.
    PlaceName,
    /// VMware's vendor id.
    Vendor,
    /// The kind of virtual machine, which selects no card but all of them.
    Host,
}

/// A selection by hardware, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hardware {
    pub(super) by: By,
    /// Shell patterns, one of which must match.
    pub(super) patterns: Vec<String>,
    /// Edits that select by MAC address instead.
    pub(super) instead: Vec<Edit>,
    /// Edits that remove the selection where something else selects the card as well.
    pub(super) without: Vec<Edit>,
    /// Whether a list of MAC addresses may stand there.
    pub(super) takes_list: bool,
    /// The words of the file, for a warning.
    pub(super) words: String,
}

/// Which cards a selection meant on VMware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meant {
    /// It selects the same cards on KVM.
    Holds,
    /// It selected these cards and will select none, or others.
    Cards(Vec<usize>),
}

impl Hardware {
    /// A selection that tells which card is meant, and that no edit of the file can change.
    pub(super) fn evidence(by: By, patterns: Vec<String>) -> Self {
        let words = patterns.join(" ");
        Self { by, patterns, instead: Vec::new(), without: Vec::new(), takes_list: false, words }
    }

    /// Which cards were meant.
    pub(super) fn meant(&self, cards: &[Card]) -> Meant {
        if self.holds(cards) {
            return Meant::Holds;
        }
        let mut meant = self.selected(cards);
        // A single card is meant by whatever was true of VMware's hardware.
        let is_vmware = self.patterns.iter().any(|p| VMWARE_DRIVERS.contains(&p.as_str()));
        if meant.is_empty() && cards.len() == 1 && (self.by != By::Driver || is_vmware) {
            meant.push(0);
        }
        Meant::Cards(meant)
    }

    /// Which cards matched on VMware.
    pub(super) fn selected(&self, cards: &[Card]) -> Vec<usize> {
        (0..cards.len()).filter(|index| self.matches(*index, cards)).collect()
    }

    /// Whether KVM's hardware matches as VMware's did.
    fn holds(&self, cards: &[Card]) -> bool {
        match self.by {
            By::Path => KVM_PLACES.iter().all(|place| self.accepts(&format!("pci-{place}"))),
            By::Address => KVM_PLACES.iter().all(|place| self.accepts(place)),
            By::Driver => self.accepts("virtio_net"),
            By::KernelName => {
                let holds =
                    |index: usize| kernel_order(cards).map_or(index, |order| order[index]) == index;
                let mut named = (0..cards.len()).filter(|index| self.accepts(&eth(*index)));
                self.patterns.iter().any(|p| super::claim::is_pattern(p))
                    || named.next().is_some_and(|first| holds(first) && named.all(holds))
            }
            By::PlaceName => self.accepts("ens3") && self.accepts("enp1s0"),
            By::Vendor | By::Host => false,
        }
    }

    fn matches(&self, index: usize, cards: &[Card]) -> bool {
        let card = &cards[index];
        let bridge = card.slot.and_then(Place::of_bridge);
        let on_path = |place: Place| self.accepts(&place.address());
        match self.by {
            By::Path => {
                card.place().is_some_and(|place| self.accepts(&format!("pci-{}", place.address())))
            }
            By::Address => card.place().is_some_and(on_path) || bridge.is_some_and(on_path),
            By::Driver => card.driver.is_some_and(|driver| self.accepts(driver)),
            By::KernelName => {
                let order = kernel_order(cards);
                let position = order.and_then(|order| order.iter().position(|at| *at == index));
                position.is_some_and(|position| self.accepts(&eth(position)))
                    || self.patterns.iter().any(|name| card.fits(name) == Some(true))
            }
            By::PlaceName => {
                self.patterns.iter().any(|name| card.fits(name) == Some(true))
                    || card.names_by_place().iter().any(|name| self.accepts(name))
            }
            // Intel's and AMD's ids are theirs on KVM too.
            By::Vendor => card.driver == Some("vmxnet3"),
            By::Host => true,
        }
    }

    fn accepts(&self, word: &str) -> bool {
        self.patterns.iter().any(|pattern| accepts(pattern, word))
    }
}

/// Which cards several selections together meant, all of which must match.
pub(super) fn meant_by_all(all: &[Hardware], cards: &[Card]) -> Meant {
    let mut together: Option<Vec<usize>> = None;
    for hardware in all {
        if let Meant::Cards(meant) = hardware.meant(cards) {
            let before = together.take();
            let both = |card: &usize| before.as_ref().is_none_or(|before| before.contains(card));
            together = Some(meant.into_iter().filter(both).collect());
        }
    }
    together.map_or(Meant::Holds, Meant::Cards)
}

/// Whether a shell pattern, negated by a leading `!`, takes the word.
pub(super) fn accepts(pattern: &str, word: &str) -> bool {
    let (pattern, negated) = pattern.strip_prefix('!').map_or((pattern, false), |p| (p, true));
    Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(word)) != negated
}

/// Names as cards on VMware have them, for one of `count` cards whose place is not known: by its
/// number, and in the form of each pattern. No two cards get the same. Other kinds of names than
/// `en…` are of no card of VMware's.
pub(super) fn names_like(patterns: &[String], index: usize, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    for turn in 0..TURNS {
        // The slots of the cards on VMware's bridges.
        let slot = 192 + 32 * (index + turn * count);
        let like = |pattern: &String| pattern.replacen('*', &slot.to_string(), 1).replace('*', "");
        names.push(format!("ens{slot}"));
        names.extend(patterns.iter().map(like).filter(|name| name.starts_with("en")));
    }
    names
}

/// How many numbers a card tries, since some may be taken.
const TURNS: usize = 4;
/// Drivers of the cards that VMware emulates.
const VMWARE_DRIVERS: [&str; 5] = ["vmxnet3", "vmxnet", "e1000", "e1000e", "pcnet32"];
/// Places of cards on KVM's boards, q35 and i440fx.
const KVM_PLACES: [&str; 3] = ["0000:01:00.0", "0000:07:00.0", "0000:00:03.0"];

pub(super) fn eth(index: usize) -> String {
    format!("eth{index}")
}

/// Which card was `eth0`, `eth1`, … when the kernel counted the cards by their places on VMware's
/// bus; `None` where the place of any card is not known.
pub(super) fn kernel_order(cards: &[Card]) -> Option<Vec<usize>> {
    let places: Option<Vec<_>> = cards.iter().map(Card::place).collect();
    let places = places?;
    let mut order: Vec<_> = (0..cards.len()).collect();
    order.sort_by_key(|index| places[*index]);
    Some(order)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A card with the last byte of its MAC address, and its slot.
    pub(in super::super) fn card(last: u8, slot: Option<u32>) -> Card {
        let mac = format!("00:50:56:aa:bb:{last:02x}").parse().expect("an address");
        Card {
            mac: Some(mac),
            source_mac: None,
            slot,
            driver: Some("vmxnet3"),
            addresses: Vec::new(),
        }
    }

    pub(in super::super) fn cards(slots: &[u32]) -> Vec<Card> {
        (1..).zip(slots).map(|(last, slot)| card(last, Some(*slot))).collect()
    }

    fn hardware(by: By, patterns: &[&str]) -> Hardware {
        Hardware::evidence(by, patterns.iter().map(|pattern| (*pattern).to_owned()).collect())
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
        let swapped = cards(&[224, 192]);
        let eth0 = hardware(By::KernelName, &["eth0"]);
        assert_eq!(eth0.meant(&swapped), Meant::Cards(vec![1]));
    }
}
