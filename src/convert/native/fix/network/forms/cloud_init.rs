//! The network configuration of cloud-init, version 1 and 2 (docs.cloud-init.io, "Network
//! configuration sources"): in `cloud.cfg`, in a seed, and in the copy stored for the instance.

use super::super::claim::{MAC, MacSpot, NameClaim, Says};
use super::netplan::{self, Ids};
use super::yaml::{YamlNode, documents};

/// Values of `type` that are no network card.
const MADE: [&str; 5] = ["bond", "bridge", "vlan", "loopback", "infiniband"];

/// Reads a file.
pub(super) fn read(text: &str) -> Says {
    let documents = match documents(text) {
        Ok(documents) => documents,
        Err(fault) => return Says { fault: Some(fault), ..Says::default() },
    };
    let mut says = Says::default();
    for document in &documents {
        // The configuration in a seed may be below `network:` or at the top.
        let network = document.get("network").unwrap_or(document);
        let found = match network.get_text("version") {
            "2" => {
                let mut ids = Ids::default();
                ids.add(network);
                netplan::network(network, text, &ids)
            }
            "1" => version_1(network, text),
            _ => continue,
        };
        says.append(found);
    }
    says
}

/// Whether a file makes cloud-init leave the network unchanged.
pub(super) fn is_off(text: &str) -> bool {
    let documents = documents(text).unwrap_or_default();
    let networks = documents.iter().filter_map(|document| document.get("network"));
    networks.into_iter().any(|network| network.get_text("config") == "disabled")
}

fn version_1(network: &YamlNode, text: &str) -> Says {
    let mut says = Says::default();
    for device in network.get("config").map_or(&[][..], YamlNode::list) {
        let kind = device.get_text("type");
        if MADE.contains(&kind) {
            let name = device.get("name").and_then(|name| name.spot(text));
            // The name of a bond contains no card.
            let is_placed = kind != "vlan" || device.get("vlan_link").is_some();
            name.into_iter().for_each(|name| says.make(name, is_placed));
        } else if kind == "physical" {
            says.claims.extend(physical(device, text));
        }
        for key in ["bond_interfaces", "bridge_interfaces", "vlan_link"] {
            let words = device.get(key).map(YamlNode::scalars).unwrap_or_default();
            says.mention_all(words.into_iter().filter_map(|word| word.spot(text)).collect());
        }
    }
    says
}

fn physical(device: &YamlNode, text: &str) -> Option<NameClaim> {
    let mut claim = NameClaim::named(device.get("name")?.spot(text)?);
    if let Some(node) = device.get("mac_address")
        && let Some(mut spot) = node.spot(text).as_ref().and_then(MacSpot::read)
    {
        spot.edit.at = node.at.clone();
        spot.edit.text = format!("\"{MAC}\"");
        claim.macs.push(spot);
    }
    for subnet in device.get("subnets").map_or(&[][..], YamlNode::list) {
        match subnet.get_text("type") {
            "static" | "static6" => claim.addresses.push(subnet.get_text("address").to_owned()),
            dhcp if dhcp.starts_with("dhcp") => claim.addresses.push("dhcp".to_owned()),
            _ => {}
        }
    }
    Some(claim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(says: &Says) -> Vec<&str> {
        let names = says.claims.iter().flat_map(|claim| &claim.names);
        names.map(|name| name.value.as_str()).collect()
    }

    #[test]
    fn version_1_ties_names_to_addresses() {
        let text = "network:\n  version: 1\n  config:\n  - type: physical\n    name: eth0\n    mac_address: '00:50:56:aa:bb:01'\n    subnets:\n    - {type: static, address: 192.0.2.7/24}\n    - type: dhcp6\n  - type: bond\n    name: bond0\n    bond_interfaces: [ens224, ens256]\n  - {type: vlan, name: v5, vlan_link: ens161, vlan_id: 5}\n  - {type: nameserver, address: 192.0.2.1}\n";
        let says = read(text);
        assert_eq!(names(&says), ["eth0", "ens224", "ens256", "ens161"]);
        assert_eq!(says.makes, ["bond0", "v5"]);
        assert_eq!(says.claims[0].macs.len(), 1);
        assert_eq!(says.claims[0].addresses, ["192.0.2.7/24", "dhcp"]);
    }

    #[test]
    fn version_2_is_netplan_with_or_without_network() {
        let seed = "version: 2\nethernets:\n  id0:\n    match: {macaddress: '00:50:56:aa:bb:01'}\n    set-name: lan0\n";
        assert_eq!(names(&read(seed)), ["lan0", "lan0"]);
        let json =
            "{\"network\": {\"version\": 2, \"ethernets\": {\"ens192\": {\"dhcp4\": true}}}}";
        assert_eq!(names(&read(json)), ["ens192"]);
    }

    #[test]
    fn a_network_that_is_left_alone_is_told() {
        assert!(is_off("network: {config: disabled}\n"));
        for text in ["network: {version: 1, config: []}\n", "users: [default]\n", "network: ["] {
            assert!(!is_off(text), "{text}");
        }
    }

    #[test]
    fn a_disabled_or_absent_network_says_nothing() {
        for text in ["network: {config: disabled}\n", "#cloud-config\nusers: [default]\n", ""] {
            assert_eq!(read(text), Says::default());
        }
        assert!(read("network: [").fault.is_some());
    }
}
