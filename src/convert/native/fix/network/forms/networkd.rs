//! systemd-networkd and the `.link` files of udev: systemd.network(5), systemd.netdev(5),
//! systemd.link(5).

use super::super::claim::{Claim, Edit, MAC, MacSpot, Role, Says, Spot, is_pattern, sort_names};
use super::super::pin::ANY_PATH;
use super::super::place::{By, Card, Hardware, Meant};
use super::keyfile::{Entry, entries};

/// Keys of `[Network]` that name interfaces which another file makes.
const MAKES: [&str; 10] =
    ["Bridge", "Bond", "VLAN", "MACVLAN", "MACVTAP", "IPVLAN", "IPVTAP", "VXLAN", "Tunnel", "VRF"];
/// Values of `Type=` and `Kind=` in `[Match]` that no card has.
const NOT_A_CARD: [&str; 14] = [
    "bond",
    "bridge",
    "vlan",
    "macvlan",
    "macvtap",
    "ipvlan",
    "vxlan",
    "vrf",
    "dummy",
    "tun",
    "tap",
    "veth",
    "wireguard",
    "loopback",
];

/// What a `.network` file or a drop-in of one says.
pub(super) fn network(text: &str) -> Says {
    let entries = entries(text);
    let mut says = Says::default();
    let mut claim = matched(&entries);
    for entry in &entries {
        match (entry.section, entry.key) {
            ("Network", key) if MAKES.contains(&key) => {
                entry.words().into_iter().for_each(|word| says.make(word));
            }
            ("Network" | "Address", "Address") => claim.addresses.push(entry.word().value),
            ("Network", "DHCP") if !is_no(entry.value) => claim.addresses.push("dhcp".to_owned()),
            ("Match", "Type" | "Kind") if entry.words().iter().any(no_card) => {
                says.makes.extend(claim.names.iter().map(|name| name.value.clone()));
            }
            _ => {}
        }
    }
    if claim.selects() {
        says.claims.push(claim);
    }
    says
}

fn no_card(word: &Spot<String>) -> bool {
    NOT_A_CARD.contains(&word.value.as_str())
}

fn is_no(value: &str) -> bool {
    ["no", "false", "0", "off", "n", "f"].contains(&value.to_ascii_lowercase().as_str())
}

/// What a `.netdev` file says: it makes interfaces.
pub(super) fn netdev(text: &str) -> Says {
    let names = entries(text).into_iter();
    let names = names.filter(|e| ["NetDev", "Peer"].contains(&e.section) && e.key == "Name");
    let mut says = Says::default();
    names.for_each(|entry| says.make(entry.word()));
    says
}

/// What a `.link` file says.
pub(super) fn link(text: &str) -> Says {
    let entries = entries(text);
    let mut claim = Claim { role: Role::Renames, ..matched(&entries) };
    let name = entries.iter().rev().find(|e| (e.section, e.key) == ("Link", "Name"));
    // `[Match] Name=` is no key of a .link file.
    claim.names = name.map(Entry::word).into_iter().filter(|name| !name.value.is_empty()).collect();
    claim.patterns.clear();
    let tells = !claim.names.is_empty() || !claim.hardware.is_empty();
    Says { claims: if tells { vec![claim] } else { Vec::new() }, ..Says::default() }
}

/// The settings of `[Link]` that a `.link` file without a name gives a card; `None` where the file is
/// not of that card.
pub(in super::super) fn settings(text: &str, cards: &[Card], card: usize) -> Option<Vec<String>> {
    let entries = entries(text);
    let claim = matched(&entries);
    let is_own = |spot: &MacSpot| Some(spot.mac) == cards[card].mac;
    let by_mac = claim.macs.is_empty() || claim.macs.iter().any(is_own);
    let by_hardware = claim.hardware.iter().all(|hardware| match hardware.meant(cards) {
        Meant::Holds => true,
        Meant::Cards(meant) => meant.contains(&card),
    });
    let link = entries.iter().filter(|entry| entry.section == "Link");
    let names = link.clone().any(|entry| entry.key == "Name");
    let lines = link.filter(|entry| entry.key != "NamePolicy");
    let lines = lines.map(|entry| format!("{}={}", entry.key, entry.value));
    (by_mac && by_hardware && !names).then(|| lines.collect())
}

/// The sections `[Match]`. An empty value takes back what stood before it.
fn matched(entries: &[Entry<'_>]) -> Claim {
    let mut claim = Claim::default();
    for entry in entries.iter().filter(|entry| entry.section == "Match") {
        let words = entry.words();
        match entry.key {
            "Name" if words.is_empty() => {
                claim.names.clear();
                claim.patterns.clear();
            }
            // A `!` in front negates the whole list.
            "Name" if entry.value.starts_with('!') => claim.patterns.push(entry.value.to_owned()),
            "Name" => sort_names(&mut claim, words),
            "MACAddress" | "PermanentMACAddress" if words.is_empty() => claim.macs.clear(),
            "MACAddress" | "PermanentMACAddress" => {
                claim.macs.extend(words.iter().filter_map(MacSpot::read));
            }
            "Path" => claim.hardware.push(hardware(By::Path, entry)),
            "Driver" => claim.hardware.push(hardware(By::Driver, entry)),
            "OriginalName" => {
                let plain = words.into_iter().filter(|word| !is_pattern(&word.value));
                if plain.count() > 0 {
                    claim.hardware.push(hardware(By::KernelName, entry));
                }
            }
            "Virtualization" if entry.value == "vmware" => {
                claim.hardware.push(virtualization(entry));
            }
            "Type" if entry.words().iter().any(|word| word.value == "ether") => claim.any = true,
            _ => {}
        }
    }
    claim
}

fn hardware(by: By, entry: &Entry<'_>) -> Hardware {
    let is_negated = entry.value.starts_with('!');
    let pattern = |word: Spot<String>| match is_negated && !word.value.starts_with('!') {
        true => format!("!{}", word.value),
        false => word.value,
    };
    Hardware {
        by,
        patterns: entry.words().into_iter().map(pattern).collect(),
        // A VLAN has the address of its card and no place.
        instead: vec![entry.replaced_by(&format!("MACAddress={MAC}\nPath={ANY_PATH}"))],
        without: vec![entry.replaced_by(&format!("Path={ANY_PATH}"))],
        takes_list: true,
        words: format!("{}={}", entry.key, entry.value),
    }
}

/// `Virtualization=vmware` selects the host and not the card: any virtual machine will do.
fn virtualization(entry: &Entry<'_>) -> Hardware {
    let at = entry.word().at;
    let any = vec![Edit::new(at, "vm")];
    Hardware {
        by: By::Host,
        patterns: vec!["vmware".to_owned()],
        instead: any.clone(),
        without: any,
        takes_list: true,
        words: format!("{}={}", entry.key, entry.value),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::place::tests::cards;
    use super::*;

    fn names(claim: &Claim) -> Vec<&str> {
        claim.names.iter().map(|name| name.value.as_str()).collect()
    }

    #[test]
    fn lists_of_names_are_names() {
        let says = network("[Match]\nName=ens192 ens224\n[Network]\nBond=bond0\n");
        assert_eq!(names(&says.claims[0]), ["ens192", "ens224"]);
        assert_eq!(says.makes, ["bond0"]);
    }

    #[test]
    fn only_the_match_identifies() {
        let text = "[Match]\nMACAddress=00:50:56:aa:bb:01 00-50-56-AA-BB-02\n[Link]\nMACAddress=02:00:00:00:00:77\n\
                    MTUBytes=9000\n[Network]\nDHCP=ipv4\n[Address]\nAddress=192.0.2.7/24\n[Address]\nAddress=192.0.2.8/24\n";
        let says = network(text);
        let macs: Vec<_> = says.claims[0].macs.iter().map(|spot| spot.mac.to_string()).collect();
        assert_eq!(macs, ["00:50:56:aa:bb:01", "00:50:56:aa:bb:02"]);
        assert_eq!(says.claims[0].addresses, ["dhcp", "192.0.2.7/24", "192.0.2.8/24"]);
    }

    #[test]
    fn patterns_negations_and_resets_are_no_names() {
        let says = network("[Match]\nName=en* eth0\n[Network]\nDHCP=yes\n");
        assert_eq!((names(&says.claims[0]), says.claims[0].patterns.len()), (vec!["eth0"], 1));
        let says = network("[Match]\nName=!ens192 ens224\n[Network]\nDHCP=no\n");
        assert!(says.claims[0].names.is_empty() && says.claims[0].addresses.is_empty());
        let says = network("[Match]\nName=ens192\nName=\nName=ens224\n[Network]\nDHCP=true\n");
        assert_eq!(names(&says.claims[0]), ["ens224"]);
        assert!(network("[Network]\nDHCP=yes\n").claims.is_empty(), "a drop-in without a match");
    }

    #[test]
    fn interfaces_that_are_made_are_told() {
        assert_eq!(netdev("[NetDev]\nName=bond0\nKind=bond\n").makes, ["bond0"]);
        assert_eq!(netdev("[NetDev]\nName=a\nKind=veth\n[Peer]\nName=b\n").makes, ["a", "b"]);
        let says = network("[Match]\nName=storage\nKind=vlan\n[Network]\nAddress=192.0.2.1/24\n");
        assert_eq!(says.makes, ["storage"]);
        let says = network("[Match]\nName=lan0\n[Network]\nVLAN=v10 v20\nMACVLAN=mv\nBridge=br0\n");
        assert_eq!(says.makes, ["v10", "v20", "mv", "br0"]);
    }

    #[test]
    fn selections_by_hardware_have_another_way() {
        let text = "[Match]\nPath=pci-0000:0b:00.0\nDriver=vmxnet3\n[Network]\nDHCP=yes\n";
        let says = network(text);
        let [path, driver] = says.claims[0].hardware.as_slice() else { panic!("{says:?}") };
        assert_eq!((path.by, driver.by), (By::Path, By::Driver));
        assert_eq!(path.instead, [Edit::new(8..30, "MACAddress={mac}\nPath=*pci-*\n")]);
        assert_eq!(driver.without, [Edit::new(30..45, "Path=*pci-*\n")]);
        assert_eq!(driver.words, "Driver=vmxnet3");
    }

    #[test]
    fn settings_without_a_name_are_of_the_cards_that_match() {
        let two = cards(&[192, 224]);
        let text =
            "[Match]\nMACAddress=00:50:56:aa:bb:01\n[Link]\nWakeOnLan=magic\nNamePolicy=path\n";
        assert_eq!(settings(text, &two, 0), Some(vec!["WakeOnLan=magic".to_owned()]));
        assert_eq!(settings(text, &two, 1), None);
        let all = "[Match]\nOriginalName=*\n[Link]\nMTUBytes=9000\n";
        assert_eq!(settings(all, &two, 1), Some(vec!["MTUBytes=9000".to_owned()]));
        assert_eq!(settings("[Match]\nDriver=e1000\n[Link]\nMTUBytes=9000\n", &two, 1), None);
        assert_eq!(settings("[Match]\nOriginalName=*\n[Link]\nName=x\n", &two, 1), None);
    }

    #[test]
    fn a_link_names_a_card() {
        let says = link(
            "[Match]\nMACAddress=00:50:56:aa:bb:01\n[Link]\nName=lan0\nMACAddress=02:00:00:00:00:77\n",
        );
        assert_eq!((names(&says.claims[0]), says.claims[0].role), (vec!["lan0"], Role::Renames));
        assert_eq!(says.claims[0].macs.len(), 1);
        let says = link("[Match]\nPath=pci-0000:0b:00.0\n\n[Link]\nName=lan0\n");
        assert_eq!(says.claims[0].hardware[0].by, By::Path);
        assert!(
            link("[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep kernel\n").claims.is_empty()
        );
    }
}
