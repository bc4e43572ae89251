//! netplan(5), read from all files together: settings of one id may be spread over files, and an id
//! names a card only where no file gives the id a `match:`.

use std::collections::{BTreeMap, BTreeSet};

use super::super::claim::{ClaimRole, MAC, MacSpot, NameClaim, Says, Spot, is_pattern};
use super::super::place::{By, HardwareSelection};
use super::yaml::YamlNode;

/// Kinds of interfaces that netplan creates.
const MADE: [&str; 9] = [
    "bonds",
    "bridges",
    "vlans",
    "tunnels",
    "vrfs",
    "dummy-devices",
    "virtual-ethernets",
    "wifis",
    "modems",
];

/// Facts about ids, from all files.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// Ids with a `match:`: such ids are labels and no names.
    labels: BTreeSet<String>,
    /// The last DHCP setting of each id and protocol: of several files the later one counts.
    dhcp: BTreeMap<(String, &'static str), bool>,
    /// The last `match: name:` of each id.
    names: BTreeMap<String, Vec<String>>,
}

/// The keys of DHCP, one per protocol.
const DHCP: [&str; 2] = ["dhcp4", "dhcp6"];

impl Ids {
    /// Adds the ids of a `network:` mapping.
    pub(super) fn add(&mut self, network: &YamlNode) {
        for (id, definition) in definitions(network, "ethernets") {
            for key in DHCP.into_iter().filter(|key| definition.get(key).is_some()) {
                self.dhcp.insert((id.text().to_owned(), key), definition.is_on(key));
            }
            if let Some(names) = definition.get("match").and_then(|own| own.get("name")) {
                self.names.insert(id.text().to_owned(), texts(names));
            }
        }
        let ethernets = definitions(network, "ethernets").iter();
        let labels = ethernets.filter(|(_, definition)| definition.get("match").is_some());
        self.labels.extend(labels.map(|(id, _)| id.text().to_owned()));
    }
}

fn definitions<'a>(network: &'a YamlNode, kind: &str) -> &'a [(YamlNode, YamlNode)] {
    network.get(kind).map_or(&[], YamlNode::pairs)
}

/// Reads a `network:` mapping; `text` is its file.
pub(super) fn network(network: &YamlNode, text: &str, ids: &Ids) -> Says {
    let mut says = Says::default();
    for (id, definition) in definitions(network, "ethernets") {
        says.claims.extend(ethernet(id, definition, text, ids));
        says.mention_all(references(definition, "link", text, ids));
    }
    for kind in MADE {
        for (id, definition) in definitions(network, kind) {
            id.spot(text).into_iter().for_each(|id| says.make(id, true));
            for key in ["interfaces", "link"] {
                says.mention_all(references(definition, key, text, ids));
            }
            if let Some(parameters) = definition.get("parameters") {
                says.mention_all(references(parameters, "primary", text, ids));
            }
        }
    }
    for (_, definition) in definitions(network, "nm-devices") {
        passthrough(definition, text, &mut says);
    }
    says
}

/// A NetworkManager profile that netplan's own keys cannot express: its keys, each with its group
/// (netplan, "NetworkManager YAML settings back end").
fn passthrough(definition: &YamlNode, text: &str, says: &mut Says) {
    let own = definition.get("networkmanager").and_then(|own| own.get("passthrough"));
    let Some(own) = own else { return };
    let is_card = ["ethernet", "802-3-ethernet"].contains(&own.get_text("connection.type"));
    let parents = own.pairs().iter().filter(|(key, _)| key.text().ends_with(".parent"));
    let parents: Vec<_> = parents.filter_map(|(_, name)| name.spot(text)).collect();
    if let Some(name) = own.get("connection.interface-name").and_then(|name| name.spot(text)) {
        match is_card {
            true => says.claims.push(NameClaim::named(name)),
            false => says.make(name, !parents.is_empty()),
        }
    }
    says.mention_all(parents);
}

/// Ids that a definition refers to, without labels and without ids of interfaces that netplan
/// creates.
fn references(definition: &YamlNode, key: &str, text: &str, ids: &Ids) -> Vec<Spot<String>> {
    let words = definition.get(key).map(YamlNode::scalars).unwrap_or_default();
    let words = words.into_iter().filter_map(|word| word.spot(text));
    words.filter(|word| !ids.labels.contains(&word.value)).collect()
}

/// The claims of one definition below `ethernets:`.
fn ethernet(id: &YamlNode, definition: &YamlNode, text: &str, ids: &Ids) -> Vec<NameClaim> {
    let mut claim =
        NameClaim { addresses: addresses(id.text(), definition, ids), ..NameClaim::default() };
    claim.is_idle = ["manual", "off"].contains(&definition.get_text("activation-mode"));
    let set_name = definition.get("set-name").and_then(|name| name.spot(text));
    let matched = definition.get("match");
    if let Some(matched) = matched {
        let is_last =
            |name: &YamlNode| ids.names.get(id.text()).is_none_or(|last| *last == texts(name));
        select(&mut claim, matched, matched.get("name").filter(|name| is_last(name)), text);
    }
    let is_label = ids.labels.contains(id.text());
    let mut claims = Vec::new();
    if let Some(name) = set_name.filter(|name| !name.value.is_empty()) {
        // `match: name:` is the original name, which shows the place.
        if let Some(matched) = matched.filter(|_| !claim.names.is_empty()) {
            let names = claim.names.iter().map(|name| name.value.clone()).collect();
            claim.hardware.push(selection(By::PlaceName, "name", names, matched, text));
        }
        // The name moves with the selection; addresses belong to the same card.
        claims.push(NameClaim {
            role: ClaimRole::Renames,
            names: vec![name.clone()],
            macs: claim.macs.clone(),
            hardware: claim.hardware.clone(),
            ..NameClaim::default()
        });
        let NameClaim { addresses, is_idle, .. } = claim;
        claim = NameClaim { addresses, is_idle, ..NameClaim::named(name) };
    } else if !is_label {
        claim.names.extend(id.spot(text));
    } else if !claim.macs.is_empty() && claim.names.is_empty() {
        claim.likely = Some(id.text().to_owned());
    }
    // A file that adds settings to the label of another file selects nothing by itself.
    if claim.selects() {
        claims.push(claim);
    }
    claims
}

fn texts(node: &YamlNode) -> Vec<String> {
    node.scalars().iter().map(|word| word.text().to_owned()).collect()
}

/// Reads a `match:`, with its `name:` unless a later file has another.
fn select(claim: &mut NameClaim, matched: &YamlNode, name: Option<&YamlNode>, text: &str) {
    for name in name.map(YamlNode::scalars).unwrap_or_default() {
        match name.spot(text) {
            Some(word) if is_pattern(&word.value) => claim.patterns.push(word.value),
            Some(word) => claim.names.push(word),
            None => {}
        }
    }
    if let Some(node) = matched.get("macaddress")
        && let Some(mut spot) = node.spot(text).as_ref().and_then(MacSpot::read)
    {
        // Without quotes, YAML 1.1 reads some addresses as numbers to base 60.
        spot.edit.at = node.at.clone();
        spot.edit.text = format!("\"{MAC}\"");
        claim.macs.push(spot);
    }
    if let Some(drivers) = matched.get("driver") {
        let drivers = drivers.scalars().iter().map(|driver| driver.text().to_owned()).collect();
        claim.hardware.push(selection(By::Driver, "driver", drivers, matched, text));
    }
    // An empty match selects every card.
    claim.any |= matched.pairs().is_empty();
}

/// The selection by a key of `match:`.
fn selection(
    by: By,
    key: &str,
    patterns: Vec<String>,
    matched: &YamlNode,
    text: &str,
) -> HardwareSelection {
    let pair = |with: Option<&str>| matched.replace_pair(key, with, text);
    HardwareSelection {
        by,
        words: format!("{key}: {}", patterns.join(", ")),
        patterns,
        instead: pair(Some(&format!("macaddress: \"{MAC}\""))).into_iter().collect(),
        without: pair(None).into_iter().collect(),
        takes_list: false,
    }
}

fn addresses(id: &str, definition: &YamlNode, ids: &Ids) -> Vec<String> {
    let is_on =
        |key: &&str| definition.is_on(key) && ids.dhcp.get(&(id.to_owned(), *key)) != Some(&false);
    let dhcp = DHCP.iter().any(is_on);
    let mut found: Vec<_> = dhcp.then(|| "dhcp".to_owned()).into_iter().collect();
    for address in definition.get("addresses").map(YamlNode::scalars).unwrap_or_default() {
        // An address with options is the key of a mapping.
        let plain = match address.pairs().first() {
            Some((key, _)) => key.text(),
            None => address.text(),
        };
        found.extend(Some(plain.to_owned()).filter(|plain| !plain.is_empty()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::yaml::documents;
    use super::*;

    /// Reads several files together, one text each.
    fn says(texts: &[&str]) -> Vec<Says> {
        let nodes: Vec<_> = texts.iter().map(|text| documents(text).expect("YAML")).collect();
        let networks: Vec<_> =
            nodes.iter().map(|node| node[0].get("network").expect("a network")).collect();
        let mut ids = Ids::default();
        networks.iter().for_each(|network| ids.add(network));
        networks.iter().zip(texts).map(|(node, text)| network(node, text, &ids)).collect()
    }

    fn names(says: &Says) -> Vec<&str> {
        let names = says.claims.iter().flat_map(|claim| &claim.names);
        names.map(|name| name.value.as_str()).collect()
    }

    #[test]
    fn block_and_flow_style_are_the_same() {
        let block = "network:\n  version: 2\n  ethernets:\n    ens192:\n      dhcp4: true\n    ens224:\n      addresses:\n      - 192.0.2.8/24\n      - \"2001:db8::7/64\":\n          lifetime: 0\n";
        let flow = "network: {version: 2, ethernets: {ens192: {dhcp4: true}, 'ens224': {addresses: [192.0.2.8/24, \"2001:db8::7/64\"]}}}\n";
        let tabs = "network:\n ethernets:\n  \"ens192\": {dhcp4: yes}\n  ens224:\n   addresses: [ 192.0.2.8/24 , 2001:db8::7/64 ]\n";
        for text in [block, flow, tabs] {
            let says = &says(&[text])[0];
            assert_eq!(names(says), ["ens192", "ens224"]);
            assert_eq!(says.claims[0].addresses, ["dhcp"]);
            assert_eq!(says.claims[1].addresses, ["192.0.2.8/24", "2001:db8::7/64"]);
        }
    }

    #[test]
    fn an_id_with_a_match_is_a_label() {
        let text = "network:\n  ethernets:\n    lan:\n      match:\n        name: ens192\n      addresses: [192.168.122.79/24]\n    ens224: {}\n  vlans:\n    storage: {id: 30, link: ens256}\n    other: {id: 31, link: lan}\n";
        let says = &says(&[text])[0];
        assert_eq!(names(says), ["ens192", "ens224", "ens256"]);
        assert_eq!(says.makes, ["storage", "other"]);
        assert_eq!(&text[says.claims[0].names[0].at.clone()], "ens192");
    }

    #[test]
    fn profiles_that_netplan_hands_through_name_cards() {
        let profile = |keys: &str| {
            format!(
                "network:\n  nm-devices:\n    NM-1:\n      renderer: NetworkManager\n      networkmanager:\n        uuid: \"1\"\n        passthrough:\n{keys}"
            )
        };
        let made = profile(
            "          connection.type: macvlan\n          connection.interface-name: mv0\n          macvlan.parent: \"ens192\"\n",
        );
        let made = &says(&[&made])[0];
        assert_eq!((names(made), made.makes.as_slice()), (vec!["ens192"], &["mv0".to_owned()][..]));
        let card = profile(
            "          connection.type: ethernet\n          connection.interface-name: ens224\n",
        );
        assert_eq!(names(&says(&[&card])[0]), ["ens224"]);
    }

    #[test]
    fn settings_of_one_id_may_lie_in_several_files() {
        let base = "network:\n  ethernets:\n    lan:\n      match: {macaddress: 00:50:56:aa:bb:01}\n      set-name: lan0\n";
        let more = "network:\n  ethernets:\n    lan:\n      addresses: [192.0.2.7/24]\n  bridges:\n    br0: {interfaces: [lan, ens224]}\n";
        let says = says(&[base, more]);
        assert_eq!(says[0].claims[0].role, ClaimRole::Renames);
        assert_eq!(names(&says[0]), ["lan0", "lan0"]);
        assert_eq!(names(&says[1]), ["ens224"]);
    }

    #[test]
    fn a_later_file_turns_dhcp_off() {
        let base =
            "network: {ethernets: {ens192: {dhcp4: true, dhcp6: true}, ens224: {dhcp4: true}}}\n";
        let more = "network: {ethernets: {ens192: {dhcp4: false, dhcp6: no}}}\n";
        let says = says(&[base, more]);
        let of = |index: usize| says[0].claims[index].addresses.len();
        assert_eq!((of(0), of(1), says[1].claims[0].addresses.len()), (0, 1, 0));
    }

    #[test]
    fn a_later_match_takes_the_place_of_an_earlier_one() {
        let base = "network: {ethernets: {lan: {match: {name: ens33}, dhcp4: true}}}\n";
        let more = "network: {ethernets: {lan: {match: {name: ens192}}}}\n";
        let says = says(&[base, more]);
        assert!(says[0].claims.is_empty(), "{says:?}");
        assert_eq!(names(&says[1]), ["ens192"]);
    }

    #[test]
    fn a_card_that_netplan_leaves_down_is_told() {
        let text = "network: {ethernets: {ens33: {activation-mode: manual}, ens192: {}}}\n";
        let claims = &says(&[text])[0].claims;
        assert!(claims[0].is_idle && !claims[1].is_idle);
    }

    #[test]
    fn only_the_match_identifies_and_macaddress_sets() {
        let text = "network:\n  ethernets:\n    ens192:\n      macaddress: \"02:00:00:00:00:77\"\n      dhcp4: true\n    id1:\n      match:\n        macaddress: 00:50:56:AA:BB:01\n      dhcp6: true\n";
        let says = &says(&[text])[0];
        assert!(says.claims[0].macs.is_empty());
        let spot = &says.claims[1].macs[0];
        assert_eq!(&text[spot.edit.at.clone()], "00:50:56:AA:BB:01");
        assert_eq!(spot.edit.text, "\"{mac}\"");
        assert_eq!(says.claims[1].likely.as_deref(), Some("id1"));
        assert_eq!(says.claims[1].addresses, ["dhcp"]);
    }

    #[test]
    fn ports_and_parents_are_names() {
        let text = "network:\n  bonds:\n    bond0:\n      interfaces: [ens192, ens224]\n      parameters: {primary: ens192}\n  bridges:\n    lanbr:\n      interfaces:\n        - ens256\n        - v5\n  vlans:\n    v5: {id: 5, link: bond0}\n";
        let says = &says(&[text])[0];
        assert_eq!(names(says), ["ens192", "ens224", "ens192", "ens256", "v5", "bond0"]);
        assert_eq!(says.makes, ["bond0", "lanbr", "v5"]);
    }

    #[test]
    fn a_name_that_is_set_over_another_tells_the_place() {
        let text =
            "network:\n  ethernets:\n    x: {match: {name: ens192}, set-name: lan0, dhcp4: true}\n";
        let says = &says(&[text])[0];
        assert_eq!(names(says), ["lan0", "lan0"]);
        let place = &says.claims[0].hardware[0];
        assert_eq!(
            (place.by, place.patterns.as_slice()),
            (By::PlaceName, &["ens192".to_owned()][..])
        );
        assert_eq!(&text[place.instead[0].at.clone()], "name: ens192");
    }

    #[test]
    fn drivers_and_patterns_select() {
        let text = "network:\n  ethernets:\n    all:\n      match:\n        driver: [vmxnet3, e1000]\n      dhcp4: true\n    rest:\n      match: {name: \"en*\"}\n    every:\n      match: {}\n";
        let says = &says(&[text])[0];
        let driver = &says.claims[0].hardware[0];
        assert_eq!(driver.patterns, ["vmxnet3", "e1000"]);
        assert_eq!(&text[driver.instead[0].at.clone()], "driver: [vmxnet3, e1000]");
        assert_eq!(says.claims[1].patterns, ["en*"]);
        assert!(says.claims[2].any);
    }
}
