//! systemd-networkd and the `.link` files of udev: systemd.network(5), systemd.netdev(5),
//! systemd.link(5).

use super::super::claim::{
    ClaimRole, Edit, MAC, MacSpot, NOWHERE, NameClaim, Says, Spot, is_pattern, sort_names,
};
use super::super::pin::ANY_PATH;
use super::super::place::{By, Card, HardwareSelection, Meant};
use super::keyfile::{KeyfileEntry, entries};
use super::udev::property;

/// Keys of `[Network]` that name interfaces which another file creates.
const MAKES: [&str; 10] =
    ["Bridge", "Bond", "VLAN", "MACVLAN", "MACVTAP", "IPVLAN", "IPVTAP", "VXLAN", "Tunnel", "VRF"];
/// An entry of a file, or of a drop-in of the file.
struct NetworkdLine<'a> {
    entry: KeyfileEntry<'a>,
    /// Whether the entry is in the file itself: only the file is edited, no drop-in.
    is_own: bool,
}

impl NetworkdLine<'_> {
    /// A word of the line, with its place in the file.
    fn placed(&self, word: Spot<String>) -> Spot<String> {
        if self.is_own { word } else { Spot::new(word.value, NOWHERE) }
    }
}

/// All entries of a file and of its drop-ins, in their order.
fn lines<'a>(text: &'a str, drop_ins: &[&'a str]) -> Vec<NetworkdLine<'a>> {
    let own = entries(text).into_iter().map(|entry| NetworkdLine { entry, is_own: true });
    let others = drop_ins.iter().flat_map(|text| entries(text));
    own.chain(others.map(|entry| NetworkdLine { entry, is_own: false })).collect()
}

/// Reads a `.network` file with its drop-ins.
pub(super) fn network(text: &str, drop_ins: &[&str]) -> Says {
    let lines = lines(text, drop_ins);
    let mut says = Says::default();
    let mut claim = matched(&lines);
    for line in &lines {
        let entry = &line.entry;
        match (entry.section, entry.key) {
            ("Network", key) if MAKES.contains(&key) => {
                entry.words().into_iter().for_each(|word| says.make(line.placed(word), true));
            }
            ("Network" | "Address", "Address") => claim.addresses.push(entry.word().value),
            ("Network", "DHCP") if !is_no(entry.value) => claim.addresses.push("dhcp".to_owned()),
            ("Link", "ActivationPolicy") => {
                claim.is_idle |= ["manual", "down", "always-down"].contains(&entry.value);
            }
            ("Link", "Unmanaged") => claim.is_idle |= !is_no(entry.value),
            _ => {}
        }
    }
    if !is_of_cards(&lines) {
        says.makes.extend(claim.names.into_iter().map(|name| name.value));
    } else if claim.selects() {
        says.claims.push(claim);
    }
    says
}

fn is_no(value: &str) -> bool {
    ["no", "false", "0", "off", "n", "f"].contains(&value.to_ascii_lowercase().as_str())
}

/// Whether the `[Match]` sections can match an Ethernet card. A leading `!` negates the complete
/// list.
fn is_of_cards(lines: &[NetworkdLine<'_>]) -> bool {
    let mut matches = lines.iter().map(|line| &line.entry).filter(|entry| entry.section == "Match");
    matches.all(|entry| {
        let words = entry.words();
        let has = |word: &str| words.iter().any(|own| own.value.trim_start_matches('!') == word);
        match entry.key {
            "Type" if !words.is_empty() => has("ether") != entry.value.starts_with('!'),
            "Driver" => !hardware(By::Driver, entry, patterns(entry)).is_of_software(),
            // Cards have no kind.
            "Kind" => words.is_empty() || entry.value.starts_with('!'),
            "SSID" | "BSSID" | "WLANInterfaceType" => words.is_empty(),
            _ => true,
        }
    })
}

/// Reads a `.netdev` file, which creates interfaces.
pub(super) fn netdev(text: &str) -> Says {
    let names = entries(text).into_iter();
    let names = names.filter(|e| ["NetDev", "Peer"].contains(&e.section) && e.key == "Name");
    let mut says = Says::default();
    names.for_each(|entry| says.make(entry.word(), true));
    says
}

/// Reads a `.link` file with its drop-ins.
pub(super) fn link(text: &str, drop_ins: &[&str]) -> Says {
    let lines = lines(text, drop_ins);
    let mut claim = NameClaim { role: ClaimRole::Renames, ..matched(&lines) };
    let is_name =
        |line: &&NetworkdLine<'_>| (line.entry.section, line.entry.key) == ("Link", "Name");
    let name = lines.iter().rev().find(is_name).map(|line| line.placed(line.entry.word()));
    // `[Match] Name=` is no key of a .link file.
    claim.names = name.into_iter().filter(|name| !name.value.is_empty()).collect();
    claim.patterns.clear();
    let mut says = Says::default();
    if !is_of_cards(&lines) {
        says.makes.extend(claim.names.into_iter().map(|name| name.value));
    } else if !claim.names.is_empty() || !claim.hardware.is_empty() {
        says.claims.push(claim);
    }
    says
}

/// The settings of `[Link]` that a `.link` file and its drop-ins give a card without naming it;
/// `None` where the file is not of that card.
pub(in super::super) fn settings(
    text: &str,
    drop_ins: &[&str],
    cards: &[Card],
    card: usize,
) -> Option<Vec<String>> {
    let lines = lines(text, drop_ins);
    let claim = matched(&lines);
    let is_own = |spot: &MacSpot| Some(spot.mac) == cards[card].mac;
    let by_mac = claim.macs.is_empty() || claim.macs.iter().any(is_own);
    let by_hardware = claim.hardware.iter().all(|hardware| match hardware.meant(cards) {
        Meant::Holds => true,
        Meant::Cards(meant) => meant.contains(&card),
    });
    // An unknown property rather belongs to another device.
    let by_property = !lines.iter().any(|line| is_unknown_property(&line.entry));
    let is_of_it = by_mac && by_hardware && by_property && is_of_cards(&lines);
    let link = lines.iter().map(|line| &line.entry).filter(|entry| entry.section == "Link");
    let names = link.clone().any(|entry| entry.key == "Name");
    let settings = link.filter(|entry| entry.key != "NamePolicy");
    let settings = settings.map(|entry| format!("{}={}", entry.key, entry.value));
    (is_of_it && !names).then(|| settings.collect())
}

/// Reads the `[Match]` sections. An empty value cancels the values before it.
fn matched(lines: &[NetworkdLine<'_>]) -> NameClaim {
    let mut claim = NameClaim::default();
    for NetworkdLine { entry, is_own } in lines.iter().filter(|line| line.entry.section == "Match")
    {
        if entry.words().is_empty() {
            take_back(&mut claim, entry.key);
            continue;
        }
        let mut more = NameClaim::default();
        select(&mut more, entry);
        if !is_own {
            more.forget_places();
        }
        claim.names.append(&mut more.names);
        claim.patterns.append(&mut more.patterns);
        claim.macs.append(&mut more.macs);
        claim.hardware.append(&mut more.hardware);
        claim.any |= more.any;
    }
    claim
}

/// Empties the list of a key.
fn take_back(claim: &mut NameClaim, key: &str) {
    let by = match key {
        "Name" => {
            claim.names.clear();
            claim.patterns.clear();
            return;
        }
        "MACAddress" | "PermanentMACAddress" => return claim.macs.clear(),
        "Path" => By::Path,
        "Driver" => By::Driver,
        "OriginalName" => By::KernelName,
        "Virtualization" => By::Host,
        _ => return,
    };
    claim.hardware.retain(|hardware| hardware.by != by);
}

/// Reads one entry of `[Match]`.
fn select(claim: &mut NameClaim, entry: &KeyfileEntry<'_>) {
    let words = entry.words();
    match entry.key {
        // A leading `!` negates the complete list.
        "Name" if entry.value.starts_with('!') => claim.patterns.extend(patterns(entry)),
        "Name" => sort_names(claim, words),
        "MACAddress" | "PermanentMACAddress" => {
            claim.macs.extend(words.iter().filter_map(MacSpot::read));
        }
        "Path" => claim.hardware.push(hardware(By::Path, entry, patterns(entry))),
        "Driver" => claim.hardware.push(hardware(By::Driver, entry, patterns(entry))),
        "OriginalName" => {
            let plain = words.into_iter().filter(|word| !is_pattern(&word.value));
            if plain.count() > 0 {
                claim.hardware.push(hardware(By::KernelName, entry, patterns(entry)));
            }
        }
        "Property" => claim.hardware.extend(properties(entry)),
        "Virtualization" if entry.value == "vmware" => claim.hardware.push(virtualization(entry)),
        "Type" if words.iter().any(|word| word.value == "ether") => claim.any = true,
        _ => {}
    }
}

/// The patterns of an entry, each with the `!` of its list.
fn patterns(entry: &KeyfileEntry<'_>) -> Vec<String> {
    let is_negated = entry.value.starts_with('!');
    let pattern = |word: Spot<String>| match is_negated && !word.value.starts_with('!') {
        true => format!("!{}", word.value),
        false => word.value,
    };
    entry.words().into_iter().map(pattern).collect()
}

/// `Property=ID_PATH=pci-0000:0b:00.0`: udev's properties of a card.
fn properties(entry: &KeyfileEntry<'_>) -> Vec<HardwareSelection> {
    let words = entry.words();
    let known = words.iter().filter_map(|word| {
        let (key, value) = word.value.split_once('=')?;
        property(key, value)
    });
    let alone = |(by, patterns)| match words.len() {
        1 => hardware(by, entry, patterns),
        // An edit would also remove the other properties.
        _ => HardwareSelection::evidence(by, patterns),
    };
    known.map(alone).collect()
}

fn is_unknown_property(entry: &KeyfileEntry<'_>) -> bool {
    let is_known = |word: &Spot<String>| {
        let (key, value) = word.value.split_once('=').unwrap_or_default();
        property(key, value).is_some()
    };
    (entry.section, entry.key) == ("Match", "Property") && !entry.words().iter().all(is_known)
}

fn hardware(by: By, entry: &KeyfileEntry<'_>, patterns: Vec<String>) -> HardwareSelection {
    HardwareSelection {
        by,
        patterns,
        // A VLAN has the address of its card and no place.
        instead: vec![entry.replaced_by(&format!("MACAddress={MAC}\nPath={ANY_PATH}"))],
        without: vec![entry.replaced_by(&format!("Path={ANY_PATH}"))],
        takes_list: true,
        words: format!("{}={}", entry.key, entry.value),
    }
}

/// `Virtualization=vmware` selects the host and not the card: any virtual machine matches.
fn virtualization(entry: &KeyfileEntry<'_>) -> HardwareSelection {
    let at = entry.word().at;
    let any = vec![Edit::new(at, "vm")];
    HardwareSelection {
        by: By::Host,
        patterns: vec!["vmware".to_owned()],
        instead: any.clone(),
        without: any,
        takes_list: true,
        words: format!("{}={}", entry.key, entry.value),
    }
}

#[cfg(test)]
mod tests;
