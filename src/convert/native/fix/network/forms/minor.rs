//! Forms of few distributions: netctl of Arch, ALT's folders, Gentoo's netifrc, nmstate's files,
//! Slackware's rc.inet1.conf, and services that are started for an interface.

use std::collections::BTreeMap;

use super::super::claim::{MacSpot, NOWHERE, NameClaim, Says, Spot, sort_names, words};
use super::shell::{Assignment, assignments};
use super::yaml::{YamlNode, documents};

/// Parts of an nmstate interface, with the key that names the interface below (nmstate,
/// `rust/src/lib/ifaces`).
const BELOW: [(&str, &str); 13] = [
    ("vlan", "base-iface"),
    ("mac-vlan", "base-iface"),
    ("mac-vtap", "base-iface"),
    ("ipvlan", "base-iface"),
    ("vxlan", "base-iface"),
    ("macsec", "base-iface"),
    ("ipip", "base-iface"),
    ("infiniband", "base-iface"),
    ("link-aggregation", "port"),
    ("link-aggregation", "slaves"),
    ("vrf", "port"),
    ("hsr", "port1"),
    ("hsr", "port2"),
];
/// Most VLANs that are read: one card can have no more (IEEE 802.1Q).
const MOST_VLANS: usize = 4_094;

/// netctl.profile(5).
pub(super) fn netctl(text: &str) -> Says {
    let all = assignments(text);
    let get = |key: &str| all.iter().find(|own| own.key == key);
    let kind = get("Connection").map_or("", |own| own.value.value.as_str());
    let mut says = Says::default();
    if let Some(interface) = get("Interface") {
        let name = interface.words().into_iter().next();
        match (kind, name) {
            ("ethernet" | "", Some(name)) => {
                let mut claim = NameClaim::default();
                sort_names(&mut claim, [name]);
                let address = get("Address").map(|own| own.words()).unwrap_or_default();
                claim.addresses.extend(address.into_iter().map(|word| word.value));
                let dhcp = get("IP").filter(|own| own.value.value == "dhcp");
                claim.addresses.extend(dhcp.map(|_| "dhcp".to_owned()));
                says.claims.push(claim);
            }
            (_, Some(name)) => says.make(name, get("BindsToInterfaces").is_some()),
            _ => {}
        }
    }
    if let Some(below) = get("BindsToInterfaces") {
        says.mention_all(below.words());
    }
    says
}

/// ALT's etcnet: `/etc/net/ifaces/NAME/options`.
pub(super) fn etcnet(path: &str, text: &str) -> Says {
    let name = path.rsplit('/').nth(1).unwrap_or_default();
    let name = Spot::new(name.to_owned(), NOWHERE);
    let all = assignments(text);
    let get = |key: &str| all.iter().find(|own| own.key == key);
    let kind = get("TYPE").map_or("eth", |own| own.value.value.as_str());
    let mut says = Says::default();
    if kind == "eth" {
        let dhcp = get("BOOTPROTO").filter(|own| own.value.value.starts_with("dhcp"));
        let addresses = dhcp.map(|_| "dhcp".to_owned()).into_iter().collect();
        says.claims.push(NameClaim { addresses, ..NameClaim::named(name) });
    } else {
        says.make(name, get("HOST").is_some());
    }
    says.mention_all(get("HOST").map(|own| own.words()).unwrap_or_default());
    says
}

/// netifrc of Gentoo: `config_ens192="192.0.2.7/24"`, `bridge_br0="ens192"`.
pub(super) fn netifrc(text: &str) -> Says {
    let mut says = Says::default();
    let all = assignments(text);
    let vlans = all.iter().flat_map(netifrc_vlans).take(MOST_VLANS);
    let vlans: BTreeMap<_, _> =
        vlans.map(|(card, vlan)| (format!("{card}_{vlan}"), (card, vlan))).collect();
    for own in &all {
        let start = own.line;
        let spot = |from: &str, name: &str| {
            let at = start + from.len();
            Spot::new(name.to_owned(), at..at + name.len())
        };
        if let Some(name) = own.key.strip_prefix("config_") {
            let words = own.words().into_iter().map(|word| word.value);
            let addresses = words.filter(|word| word == "dhcp" || word.contains('.')).collect();
            let mut word = spot("config_", name);
            // The alias of a VLAN replaces the name that contains the card.
            if let Some((card, vlan)) = vlans.get(name) {
                let at = word.at.start..word.at.start + card.len();
                word = Spot::new(format!("{card}.{vlan}"), at);
            }
            says.claims.push(NameClaim { addresses, ..NameClaim::named(word) });
        }
        if let Some(card) = own.key.strip_prefix("vlans_") {
            says.mention(spot("vlans_", card));
        }
        for made in ["bridge_", "slaves_"] {
            if let Some(name) = own.key.strip_prefix(made) {
                says.makes.push(name.to_owned());
                says.mention_all(own.words());
            }
        }
    }
    says
}

/// The VLANs of `vlans_ens192="100 200"`, with their card. `config_ens192_100` belongs to the
/// first, since a variable has no dot in its name.
fn netifrc_vlans<'a>(own: &Assignment<'a>) -> Vec<(&'a str, String)> {
    let card = own.key.strip_prefix("vlans_");
    let numbers = own.words().into_iter().map(|word| word.value);
    card.map(|card| numbers.map(|number| (card, number)).collect()).unwrap_or_default()
}

/// rc.inet1.conf of Slackware: `IFNAME[0]="eth0"`, `IPADDR[0]="192.0.2.7/24"`, `USE_DHCP[0]="yes"`.
/// Without `IFNAME` the interface of number 0 is `eth0`.
pub(super) fn slackware(text: &str) -> Says {
    let mut cards: BTreeMap<String, NameClaim> = BTreeMap::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let begin = at;
        at += line.len();
        let Some((key, value)) = line.split_once('=') else { continue };
        let Some((key, number)) = key.split_once('[') else { continue };
        let number = number.trim_end_matches(']');
        let words = words(value, begin + (line.len() - value.len()), char::is_whitespace);
        let Some(word) = words.into_iter().next().filter(|word| !word.value.starts_with('#'))
        else {
            continue;
        };
        let own = || NameClaim::named(Spot::new(format!("eth{number}"), NOWHERE));
        match key {
            "IFNAME" => cards.entry(number.to_owned()).or_insert_with(own).names = vec![word],
            "IPADDR" | "IPADDRS" => {
                cards.entry(number.to_owned()).or_insert_with(own).addresses.push(word.value);
            }
            "USE_DHCP" if word.value == "yes" => {
                cards
                    .entry(number.to_owned())
                    .or_insert_with(own)
                    .addresses
                    .push("dhcp".to_owned());
            }
            _ => {}
        }
    }
    Says { claims: cards.into_values().collect(), ..Says::default() }
}

/// nmstate's desired state: `/etc/nmstate/*.yml`.
pub(super) fn nmstate(text: &str) -> Says {
    let documents = match documents(text) {
        Ok(documents) => documents,
        Err(fault) => return Says { fault: Some(fault), ..Says::default() },
    };
    let mut says = Says::default();
    let interfaces = documents.iter().filter_map(|document| document.get("interfaces"));
    for interface in interfaces.flat_map(YamlNode::list) {
        let Some(name) = interface.get("name").and_then(|name| name.spot(text)) else { continue };
        let kind = interface.get_text("type");
        let identifies = interface.get_text("identifier") == "mac-address";
        if !["ethernet", "", "unknown"].contains(&kind) {
            let vlan = interface.get("vlan");
            says.make(name, vlan.is_none_or(|vlan| vlan.get("base-iface").is_some()));
        } else if identifies {
            let mac = interface.get("mac-address").and_then(|mac| mac.spot(text));
            let macs = mac.as_ref().and_then(MacSpot::read).into_iter().collect();
            says.claims.push(NameClaim { macs, ..NameClaim::default() });
        } else {
            says.claims.push(NameClaim::named(name));
        }
        let below = BELOW.iter().filter_map(|(part, key)| interface.get(part)?.get(key));
        let words = below.flat_map(YamlNode::scalars);
        says.mention_all(words.filter_map(|word| word.spot(text)).collect());
        let ports = interface.get("bridge").and_then(|bridge| bridge.get("port"));
        let ports =
            ports.map_or(&[][..], YamlNode::list).iter().filter_map(|port| port.get("name"));
        says.mention_all(ports.filter_map(|name| name.spot(text)).collect());
    }
    says
}

/// A service that is started for an interface: `dhcpcd@ens192.service`.
pub(super) fn service(path: &str) -> Says {
    let file = path.rsplit('/').next().unwrap_or_default();
    let instance = file.split_once('@').and_then(|(_, rest)| rest.strip_suffix(".service"));
    // systemd-escape(1) writes a dash as \x2d. Gentoo links `net.ens192`.
    let name = instance.or_else(|| file.strip_prefix("net.")).unwrap_or_default();
    let name = name.replace("\\x2d", "-");
    // A link in a runlevel starts the service.
    let is_idle = path.starts_with("/etc/init.d/");
    let claim = NameClaim { is_idle, ..NameClaim::named(Spot::new(name, NOWHERE)) };
    Says { claims: vec![claim], ..Says::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(says: &Says) -> Vec<&str> {
        let names = says.claims.iter().flat_map(|claim| &claim.names);
        names.map(|name| name.value.as_str()).collect()
    }

    #[test]
    fn netctl_has_cards_and_what_is_made_of_them() {
        let says = netctl(
            "Interface=ens192\nConnection=ethernet\nIP=static\nAddress=('192.0.2.7/24' '192.0.2.8/24')\n",
        );
        assert_eq!((names(&says), says.claims[0].addresses.len()), (vec!["ens192"], 2));
        let says = netctl(
            "Interface=br0\nConnection=bridge\nBindsToInterfaces=(ens192 ens224)\nIP=dhcp\n",
        );
        assert_eq!(
            (names(&says), says.makes.as_slice()),
            (vec!["ens192", "ens224"], &["br0".to_owned()][..])
        );
    }

    #[test]
    fn folders_variables_and_services_name_cards() {
        assert_eq!(
            names(&etcnet("/etc/net/ifaces/eth0/options", "TYPE=eth\nBOOTPROTO=dhcp\n")),
            ["eth0"]
        );
        let bridge = etcnet("/etc/net/ifaces/lan/options", "TYPE=bri\nHOST='eth0 eth1'\n");
        assert_eq!((names(&bridge), bridge.makes.len()), (vec!["eth0", "eth1"], 1));
        let text = "config_ens192=\"192.0.2.7/24 brd +\"\nslaves_bond0=\"ens224 ens256\"\n";
        let says = netifrc(text);
        assert_eq!(names(&says), ["ens192", "ens224", "ens256"]);
        assert_eq!(&text[says.claims[0].names[0].at.clone()], "ens192");
        let path = "/etc/systemd/system/multi-user.target.wants/dhcpcd@ens192.service";
        assert_eq!(names(&service(path)), ["ens192"]);
        let link = service("/etc/init.d/net.ens192");
        assert_eq!((names(&link), link.claims[0].is_idle), (vec!["ens192"], true));
        let started = service("/etc/runlevels/default/net.ens192");
        assert_eq!((names(&started), started.claims[0].is_idle), (vec!["ens192"], false));
    }

    #[test]
    fn vlans_of_gentoo_are_on_their_card() {
        let text = "vlans_ens192=\"100 200\"\nconfig_ens192=\"null\"\nconfig_ens192_100=\"192.0.2.7/24\"\nconfig_net_a=\"dhcp\"\n";
        let says = netifrc(text);
        assert_eq!(names(&says), ["ens192", "ens192", "ens192.100", "net_a"]);
        assert_eq!(&text[says.claims[2].names[0].at.clone()], "ens192");
        assert_eq!(&text[says.claims[0].names[0].at.clone()], "ens192");
        assert_eq!(says.claims[2].addresses, ["192.0.2.7/24"]);
    }

    /// One-by-one comparisons would take minutes.
    #[test]
    fn many_vlans_of_gentoo_are_read_in_one_pass() {
        let vlans = format!("vlans_a=\"{}\"\n", "1 ".repeat(100_000));
        let says = netifrc(&(vlans + &"config_b=x\n".repeat(20_000)));
        assert_eq!(says.claims.iter().filter(|claim| claim.names[0].value == "b").count(), 20_000);
    }

    #[test]
    fn slackware_names_its_cards_by_number() {
        let text = "IFNAME[0]=\"eth0\"\nIPADDR[0]=\"192.0.2.7/24\"\nUSE_DHCP[0]=\"\"\nIPADDR[1]=\"\"\n#IPADDR[2]=\"192.0.2.9\"\nUSE_DHCP[3]=\"yes\"\n";
        let says = slackware(text);
        assert_eq!(names(&says), ["eth0", "eth3"]);
        assert_eq!(says.claims[0].addresses, ["192.0.2.7/24"]);
        assert_eq!(&text[says.claims[0].names[0].at.clone()], "eth0");
        assert_eq!(says.claims[1].addresses, ["dhcp"]);
    }

    #[test]
    fn every_kind_of_nmstate_names_what_it_is_on() {
        for kind in [
            "type: mac-vtap\n  mac-vtap: {base-iface: ens192, mode: vepa}",
            "type: ipvlan\n  ipvlan: {base-iface: ens192, mode: l2}",
            "type: macsec\n  macsec: {base-iface: ens192, port: 0}",
            "type: vrf\n  vrf: {port: [ens192], route-table-id: 100}",
            "type: hsr\n  hsr: {port1: ens192, port2: ens192}",
            "type: bond\n  link-aggregation: {mode: active-backup, slaves: [ens192]}",
        ] {
            let says = nmstate(&format!("interfaces:\n- name: up0\n  {kind}\n"));
            assert!(names(&says).iter().all(|name| *name == "ens192"), "{kind}");
            assert!(!names(&says).is_empty() && says.makes == ["up0"], "{kind}");
        }
    }

    #[test]
    fn nmstate_names_ports_and_parents() {
        let text = "interfaces:\n- name: ens192\n  type: ethernet\n- name: v5\n  type: vlan\n  vlan: {base-iface: ens224, id: 5}\n- name: bond0\n  type: bond\n  link-aggregation: {mode: active-backup, port: [ens161, ens193]}\n- name: lan\n  type: linux-bridge\n  bridge: {port: [{name: ens256}]}\n- name: first\n  type: ethernet\n  identifier: mac-address\n  mac-address: 00:50:56:aa:bb:01\n";
        let says = nmstate(text);
        assert_eq!(names(&says), ["ens192", "ens224", "ens161", "ens193", "ens256"]);
        assert_eq!(says.makes, ["v5", "bond0", "lan"]);
        assert_eq!(says.claims.last().map(|claim| claim.macs.len()), Some(1));
    }
}
