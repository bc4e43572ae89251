//! Where VMware put a card, and which card a configuration selects by place or driver.
//!
//! The guest's slot register shows the function of the bridge added to the slot number, not packed:
//! slot 1184 is `ens161`.

use glob::Pattern;

use crate::model::{MacAddress, NicModel, PciAddress, SourceVm, plug_order};

use super::claim::Edit;

/// A network card of the VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Card {
    pub(super) mac: Option<MacAddress>,
    /// The address at the source, where the card has a new one.
    pub(super) source_mac: Option<MacAddress>,
    pub(super) slot: Option<u32>,
    /// Position at which the kernel finds the card on KVM, counted from 0; `None` for a card that
    /// the domain does not have.
    pub(super) position: Option<usize>,
    /// The driver of its model on VMware.
    driver: Option<&'static str>,
    /// Addresses that VMware Tools reported while the guest ran.
    pub(super) addresses: Vec<String>,
}

impl Card {
    /// The cards of a VM, in the order of its source. The guest knows the cards of `left_out`
    /// (ids), but the domain does not have them.
    pub(super) fn all(vm: &SourceVm, left_out: &[String]) -> Vec<Self> {
        let seen = vm.guest.network.iter().flat_map(|network| &network.interfaces);
        let mut plugged = plug_order(&vm.nics);
        plugged.retain(|index| !left_out.contains(&vm.nics[*index].id));
        let cards = vm.nics.iter().enumerate().map(|(index, nic)| {
            let own = seen.clone().filter(|one| Some(one.mac) == nic.mac);
            Self {
                mac: nic.mac,
                source_mac: nic.source_mac,
                slot: nic.slot,
                position: plugged.iter().position(|at| *at == index),
                driver: driver(nic.model),
                addresses: own.flat_map(|one| one.addresses.clone()).collect(),
            }
        });
        cards.collect()
    }

    /// The card's place on VMware's PCI bus.
    pub(super) fn place(&self) -> Option<PciAddress> {
        self.slot.and_then(PciAddress::of_slot)
    }

    /// The names that systemd derives from the card's place on VMware, the one in use first.
    pub(super) fn names_by_place(&self) -> Vec<String> {
        let by_slot = self.slot.map(|slot| format!("ens{}", shown(slot)));
        let by_bus = self.place().map(|place| format!("enp{}s{}", place.bus, place.device));
        by_slot.into_iter().chain(by_bus).collect()
    }

    /// Whether the name matches this card's place: `None` where the name contains no place or the
    /// card's place is not known.
    pub(super) fn fits(&self, name: &str) -> Option<bool> {
        match Seat::of(name)? {
            Seat::Slot(slot) => self.slot.map(|own| shown(own) == slot),
            Seat::Place(place) => self.place().map(|own| own == place),
        }
    }
}

/// The number that the guest sees for a slot: the function added to the slot of the bridge.
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

/// The device ids of a VMware model, its own and those of the subsystem (pci.ids).
fn ids(driver: Option<&str>) -> &'static [&'static str] {
    match driver {
        Some("vmxnet3") => &["0x07b0"],
        Some("e1000") => &["0x100f", "0x0750"],
        Some("e1000e") => &["0x10d3", "0x07d0"],
        Some("pcnet32") => &["0x2000"],
        Some("vmxnet") => &["0x0720"],
        _ => &[],
    }
}

/// A place that a name contains (systemd.net-naming-scheme(7)).
enum Seat {
    Slot(u32),
    Place(PciAddress),
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
            return is_suffix(rest).then_some(Self::Place(PciAddress::new(bus, device, function)));
        }
        // VMware's firmware numbers its cards (_DSM): the card's number in the top byte, then the
        // bus and the device. Guests of the years 2013 to 2015 name cards after it: eno16777984 is
        // the first card, at 03:00.0.
        let (index, rest) = number(name.strip_prefix("eno")?)?;
        let is_vmware = rest.is_empty() && index >> 24 > 0;
        let place = PciAddress::new(index >> 8 & 0xff, index >> 3 & 0x1f, index & 0x7);
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
    /// The name that udev derives from the place: `ens192`.
    PlaceName,
    Vendor,
    /// The device id of the card's model.
    Model,
    /// The label that VMware's firmware gives: `Ethernet0`.
    Label,
    /// The kind of virtual machine, which selects no single card but all of them.
    Host,
}

/// A selection by hardware, and its replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HardwareSelection {
    pub(super) by: By,
    /// Shell patterns, one of which must match.
    pub(super) patterns: Vec<String>,
    /// Edits that select by MAC address instead.
    pub(super) instead: Vec<Edit>,
    /// Edits that remove the selection where something else selects the card as well.
    pub(super) without: Vec<Edit>,
    /// Whether the file accepts a list of MAC addresses there.
    pub(super) takes_list: bool,
    /// The file's own words, for a warning.
    pub(super) words: String,
}

/// The cards that a selection meant on VMware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meant {
    /// The selection matches the same cards on KVM.
    Holds,
    /// The selection matched these cards, and matches none or others on KVM.
    Cards(Vec<usize>),
}

impl HardwareSelection {
    /// A selection that identifies a card, and that no edit of the file can change.
    pub(super) fn evidence(by: By, patterns: Vec<String>) -> Self {
        let words = patterns.join(" ");
        Self { by, patterns, instead: Vec::new(), without: Vec::new(), takes_list: false, words }
    }

    /// Finds the cards that the selection meant.
    pub(super) fn meant(&self, cards: &[Card]) -> Meant {
        if self.holds(cards) {
            return Meant::Holds;
        }
        let mut meant = self.selected(cards);
        // A single card is meant by any condition that was true on VMware's hardware.
        let is_vmware = self.patterns.iter().any(|p| VMWARE_DRIVERS.contains(&p.as_str()));
        if meant.is_empty() && cards.len() == 1 && (self.by != By::Driver || is_vmware) {
            meant.push(0);
        }
        Meant::Cards(meant)
    }

    /// Whether the selection matches software interfaces and no card: `Driver=bonding`.
    pub(super) fn is_of_software(&self) -> bool {
        let takes = |drivers: &[&str]| drivers.iter().any(|driver| self.accepts(driver));
        let is_plain = self.patterns.iter().all(|pattern| !pattern.starts_with('!'));
        let takes_cards = || takes(&VMWARE_DRIVERS) || takes(&OTHER_CARD_DRIVERS);
        self.by == By::Driver && is_plain && takes(&VIRTUAL_DRIVERS) && !takes_cards()
    }

    /// Whether any card matches, as with `DRIVERS=="?*"` in udev's own rules.
    pub(super) fn is_of_any(&self) -> bool {
        let takes_all =
            |pattern: &String| pattern.contains('*') && pattern.trim_matches(['*', '?']).is_empty();
        self.patterns.iter().any(takes_all)
    }

    /// The cards that matched on VMware.
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
                let order = kernel_order(cards);
                let holds = |number: usize| {
                    let index = order.as_ref().map_or(number, |order| order[number]);
                    cards[index].position == Some(number)
                };
                let mut named = (0..cards.len()).filter(|index| self.accepts(&eth(*index)));
                self.patterns.iter().any(|p| super::claim::is_pattern(p))
                    || named.next().is_some_and(|first| holds(first) && named.all(holds))
            }
            By::PlaceName => self.accepts("ens3") && self.accepts("enp1s0"),
            By::Model => VIRTIO_IDS.iter().all(|id| self.accepts(id)),
            By::Vendor | By::Label | By::Host => false,
        }
    }

    fn matches(&self, index: usize, cards: &[Card]) -> bool {
        let card = &cards[index];
        let bridge = card.slot.and_then(PciAddress::of_bridge);
        let on_path = |place: PciAddress| self.accepts(&place.address());
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
            // Intel's and AMD's ids are the same on KVM.
            By::Vendor => card.driver == Some("vmxnet3"),
            By::Model => ids(card.driver).iter().any(|id| self.accepts(id)),
            By::Label => self.accepts(&format!("Ethernet{index}")),
            By::Host => true,
        }
    }

    fn accepts(&self, word: &str) -> bool {
        self.patterns.iter().any(|pattern| accepts(pattern, word))
    }
}

/// The cards that several selections together meant, all of which must match.
pub(super) fn meant_by_all(all: &[HardwareSelection], cards: &[Card]) -> Meant {
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

/// Whether a shell pattern, negated by a leading `!`, matches the word.
pub(super) fn accepts(pattern: &str, word: &str) -> bool {
    let (pattern, negated) = pattern.strip_prefix('!').map_or((pattern, false), |p| (p, true));
    Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(word)) != negated
}

/// Names as cards have on VMware, for one of `count` cards whose place is not known: by its number,
/// and in the form of each pattern. No two cards get the same name. VMware's cards have no names
/// outside `en…`.
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

/// How many numbers are tried for a card, since some may be taken.
const TURNS: usize = 4;
/// Drivers of the cards that VMware emulates.
const VMWARE_DRIVERS: [&str; 5] = ["vmxnet3", "vmxnet", "e1000", "e1000e", "pcnet32"];
/// Drivers of cards that a VM may have on other hypervisors.
const OTHER_CARD_DRIVERS: [&str; 3] = ["virtio_net", "igb", "8139cp"];
/// Drivers of software interfaces, as the kernel names them (ethtool(8), `--driver`). A systemd
/// list splits `802.1Q VLAN Support` at its spaces.
const VIRTUAL_DRIVERS: [&str; 38] = [
    "802.1Q",
    "802.1Q VLAN Support",
    "8021q",
    "bareudp",
    "batman_adv",
    "bonding",
    "bridge",
    "dummy",
    "geneve",
    "gre",
    "gretap",
    "hsr",
    "ifb",
    "ip6_gre",
    "ip6_tunnel",
    "ip6gre",
    "ip6tnl",
    "ip_gre",
    "ipip",
    "ip_tunnel",
    "ipvlan",
    "ipvtap",
    "macsec",
    "macvlan",
    "macvtap",
    "netkit",
    "nlmon",
    "openvswitch",
    "ppp_generic",
    "sit",
    "tap",
    "team",
    "tun",
    "veth",
    "vlan",
    "vrf",
    "vxlan",
    "wireguard",
];
/// Device ids of virtio cards, from before virtio 1.0 and since.
const VIRTIO_IDS: [&str; 2] = ["0x1000", "0x1041"];
/// Places of cards on KVM's machine types, q35 and i440fx.
const KVM_PLACES: [&str; 3] = ["0000:01:00.0", "0000:07:00.0", "0000:00:03.0"];

pub(super) fn eth(index: usize) -> String {
    format!("eth{index}")
}

/// Which card was `eth0`, `eth1`, … when the kernel counted the cards by their places on VMware's
/// bus. `None` where a card's place is not known, or where cards have several drivers: the kernel
/// counts as drivers find their cards.
pub(super) fn kernel_order(cards: &[Card]) -> Option<Vec<usize>> {
    let has_one_driver = cards.windows(2).all(|pair| pair[0].driver == pair[1].driver);
    bus_order(cards).filter(|_| has_one_driver)
}

/// The cards by their places on VMware's bus; `None` where a card's place is not known.
pub(super) fn bus_order(cards: &[Card]) -> Option<Vec<usize>> {
    let places: Option<Vec<_>> = cards.iter().map(Card::place).collect();
    let places = places?;
    let mut order: Vec<_> = (0..cards.len()).collect();
    order.sort_by_key(|index| places[*index]);
    Some(order)
}

#[cfg(test)]
pub(super) mod tests;
