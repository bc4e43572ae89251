//! ifcfg files of Red Hat (initscripts' sysconfig.txt, nm-settings-ifcfg-rh(5)) and of SUSE
//! (ifcfg(5), ifcfg-bonding(5), ifcfg-bridge(5), ifcfg-vlan(5), ifcfg-macvlan(5)).

use super::super::claim::{
    Edit, MacSpot, NOWHERE, NameClaim, Says, Spot, UPPER_MAC, mac, sort_names,
};
use super::super::place::{By, HardwareSelection};
use super::shell::{Assignment, assignments};

/// Values of `TYPE` that are no network card. Ports of Open vSwitch may be cards.
const MADE: [&str; 22] = [
    "bond",
    "bridge",
    "vlan",
    "team",
    "tun",
    "tap",
    "tunnel",
    "gre",
    "gretap",
    "ipip",
    "sit",
    "ipsec",
    "dummy",
    "macvlan",
    "ovsbridge",
    "ovsbond",
    "ovsintport",
    "ovspatchport",
    "ovstunnel",
    "xdsl",
    "modem",
    "wireless",
];
/// Endings of files that no system reads (ifup's own list).
const LEFT_OVER: [&str; 9] =
    ["~", ".bak", ".old", ".orig", ".rpmnew", ".rpmorig", ".rpmsave", ".rpmtmp", ".swp"];
/// Prefixes of Red Hat's files without `DEVICE` that are named after their card.
const LOOKS_LIKE_A_CARD: [&str; 3] = ["eth", "en", "em"];
/// Keys that name the card below an interface.
const PARENTS: [&str; 4] = ["PHYSDEV", "ETHERDEVICE", "MACVLAN_DEVICE", "TUNNEL_DEVICE"];
/// Names of files that belong to no interface.
const TEMPLATES: [&str; 2] = ["lo", "template"];

/// Whether systems read a file of that name.
pub(super) fn is_read(path: &str) -> bool {
    let name = path.rsplit("/ifcfg-").next().unwrap_or_default();
    !LEFT_OVER.iter().any(|end| name.ends_with(end)) && !TEMPLATES.contains(&name)
}

/// Reads a file.
pub(super) fn read(path: &str, text: &str) -> Says {
    let all = assignments(text);
    let get = |key: &str| all.iter().rev().find(|own| own.key == key);
    let file = path.rsplit("/ifcfg-").next().unwrap_or_default();
    let is_suse = path.starts_with("/etc/sysconfig/network/");
    let mut says = Says::default();
    let mut claim = NameClaim::default();
    match get("DEVICE").filter(|device| !device.value.value.is_empty()) {
        // SUSE uses the name of the file.
        Some(device) if !is_suse => claim.names.push(device.value.clone()),
        _ => by_file_name(file, is_suse, &mut claim),
    }
    for own in &all {
        assigned(own, is_suse, &mut claim, &mut says);
    }
    claim.is_idle = ["ONBOOT", "STARTMODE"].iter().filter_map(|key| get(key)).any(|own| {
        ["no", "off", "manual"].contains(&own.value.value.to_ascii_lowercase().as_str())
    });
    if !is_suse && get("DEVICE").is_none_or(|device| device.value.value.is_empty()) {
        // NetworkManager applies a profile without DEVICE to the card with the address, or to any
        // card.
        if !claim.macs.is_empty() {
            claim.names.clear();
        }
        claim.any = !claim.selects();
    }
    if is_made(&all) {
        let is_placed = PARENTS.iter().any(|key| get(key).is_some());
        claim.names.into_iter().for_each(|name| says.make(name, is_placed));
    } else if claim.selects() {
        says.claims.insert(0, claim);
    }
    says
}

/// Whether the system creates the interface of the file.
fn is_made(all: &[Assignment<'_>]) -> bool {
    all.iter().any(|own| match own.key {
        "TYPE" | "DEVICETYPE" | "INTERFACETYPE" => {
            MADE.contains(&own.value.value.to_ascii_lowercase().as_str())
        }
        "VLAN" | "BRIDGE" | "OVS_BRIDGE" | "BONDING_MASTER" | "DUMMY" if own.is_yes() => true,
        "PHYSDEV" | "ETHERDEVICE" | "MACVLAN_DEVICE" | "TUNNEL" | "BRIDGE_PORTS"
        | "BOND_IFACES" | "PPPMODE" => !own.value.value.is_empty(),
        _ => false,
    })
}

/// `ifcfg-eth0`, and SUSE's old `ifcfg-eth-id-00:50:56:aa:bb:01` and
/// `ifcfg-eth-bus-pci-0000:02:00.0`.
fn by_file_name(file: &str, is_suse: bool, claim: &mut NameClaim) {
    if let Some(mac) = file.split_once("-id-").and_then(|(_, id)| mac(id)) {
        // The name of the file is no place in its text: nothing can be edited there.
        claim.macs.push(MacSpot { mac, edit: Edit::new(NOWHERE, "") });
    } else if let Some((_, place)) = file.split_once("-bus-pci-") {
        claim.hardware.push(HardwareSelection::evidence(By::Address, vec![place.to_owned()]));
    } else if is_suse || LOOKS_LIKE_A_CARD.iter().any(|start| file.starts_with(start)) {
        // `ifcfg-eth0-range0` adds addresses to eth0.
        let name = file.split("-range").next().unwrap_or(file);
        claim.names.push(Spot::new(name.to_owned(), NOWHERE));
    }
}

fn assigned(own: &Assignment<'_>, is_suse: bool, claim: &mut NameClaim, says: &mut Says) {
    let text = own.value.value.as_str();
    let stem = own.key.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
    match (own.key, stem) {
        ("HWADDR", _) => claim.macs.extend(MacSpot::read(&own.value)),
        ("BOOTPROTO", _) if text.starts_with("dhcp") || text == "bootp" => {
            claim.addresses.push("dhcp".to_owned());
        }
        (_, "IPADDR" | "IPV6ADDR") if !text.is_empty() => claim.addresses.push(text.to_owned()),
        // Parents and ports.
        ("PHYSDEV" | "ETHERDEVICE" | "MACVLAN_DEVICE" | "TUNNEL_DEVICE", _)
        | (_, "BONDING_SLAVE" | "TEAM_PORT_DEVICE" | "OVS_BRIDGE_PORT_DEVICE")
        | ("BRIDGE_PORTS" | "BOND_IFACES", _) => says.mention_all(own.words()),
        ("BONDING_OPTS" | "BONDING_MODULE_OPTS", _) => {
            says.mention_all(own.words().into_iter().filter_map(primary).collect());
        }
        // The interface that this one is a port of.
        ("MASTER" | "BRIDGE" | "TEAM_MASTER" | "OVS_BRIDGE", _) if !is_suse && !own.is_yes() => {
            says.makes.push(text.to_owned());
        }
        ("MATCH_INTERFACE_NAME", _) => sort_names(claim, own.words()),
        ("MATCH_PATH", _) => claim.hardware.push(hardware(By::Path, own)),
        ("MATCH_DRIVER", _) => claim.hardware.push(hardware(By::Driver, own)),
        _ => {}
    }
}

/// `primary=ens192` of a bond's options.
fn primary(word: Spot<String>) -> Option<Spot<String>> {
    let name = word.value.strip_prefix("primary=")?;
    Some(Spot::new(name.to_owned(), word.at.end - name.len()..word.at.end))
}

/// `HWADDR=` in a line before the assignment, which becomes empty.
fn hardware(by: By, own: &Assignment<'_>) -> HardwareSelection {
    let empty = Edit::new(own.value.at.clone(), "");
    HardwareSelection {
        by,
        patterns: own.words().into_iter().map(|word| word.value).collect(),
        instead: vec![
            Edit::new(own.line..own.line, format!("HWADDR={UPPER_MAC}\n")),
            empty.clone(),
        ],
        without: vec![empty],
        takes_list: false,
        words: format!("{}={}", own.key, own.value.value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED_HAT: &str = "/etc/sysconfig/network-scripts/ifcfg-";
    const SUSE: &str = "/etc/sysconfig/network/ifcfg-";

    fn names(says: &Says) -> Vec<&str> {
        let names = says.claims.iter().flat_map(|claim| &claim.names);
        names.map(|name| name.value.as_str()).collect()
    }

    fn red_hat(file: &str, text: &str) -> Says {
        read(&format!("{RED_HAT}{file}"), text)
    }

    fn suse(file: &str, text: &str) -> Says {
        read(&format!("{SUSE}{file}"), text)
    }

    #[test]
    fn red_hats_device_is_the_name() {
        let text = "TYPE=Ethernet\nBOOTPROTO=none\nNAME=\"Wired\"\nDEVICE=\"ens192\"\nHWADDR=00:50:56:AA:BB:01\n\
                    MACADDR=02:00:00:00:00:77\nIPADDR0=192.0.2.10\nIPADDR=192.0.2.11\nPREFIX=24\n";
        let says = red_hat("Wired", text);
        assert_eq!(names(&says), ["ens192"]);
        assert_eq!(says.claims[0].macs.len(), 1, "MACADDR sets");
        assert_eq!(says.claims[0].addresses, ["192.0.2.10", "192.0.2.11"]);
        assert_eq!(names(&red_hat("eth0", "ONBOOT=yes\nBOOTPROTO=dhcp\n")), ["eth0"]);
        assert_eq!(names(&red_hat("eth0-range0", "IPADDR_START=192.0.2.7\n")), ["eth0"]);
        let by_mac = red_hat("Wired", "TYPE=Ethernet\nHWADDR=00:50:56:AA:BB:01\n");
        assert_eq!((names(&by_mac).len(), by_mac.claims[0].macs.len()), (0, 1));
        assert!(red_hat("Wired", "TYPE=Ethernet\nBOOTPROTO=dhcp\n").claims[0].any);
    }

    #[test]
    fn red_hats_vlans_bonds_and_bridges_are_made_of_cards() {
        for (file, text, cards, made) in [
            ("vlan5", "DEVICE=vlan5\nVLAN=yes\nPHYSDEV=ens192\n", vec!["ens192"], vec!["vlan5"]),
            (
                "ens192.5",
                "DEVICE=ens192.5\nVLAN=yes\nTYPE=Vlan\n",
                vec!["ens192.5"],
                vec!["ens192.5"],
            ),
            (
                "bond0",
                "DEVICE=bond0\nTYPE=Bond\nBONDING_MASTER=yes\nBONDING_OPTS=\"mode=1 primary=ens224\"\n",
                vec!["ens224"],
                vec!["bond0"],
            ),
            ("p", "DEVICE=ens192\nMASTER=lanbond\nSLAVE=yes\n", vec!["ens192"], vec!["lanbond"]),
            ("p", "DEVICE=ens192\nBRIDGE=lanbr\n", vec!["ens192"], vec!["lanbr"]),
            ("t", "DEVICE=svc0\nTYPE=OVSTunnel\nOVS_BRIDGE=ovs\n", vec![], vec!["ovs", "svc0"]),
            ("t", "DEVICE=team0\nDEVICETYPE=Team\n", vec![], vec!["team0"]),
            ("o", "DEVICE=ens192\nTYPE=OVSPort\nOVS_BRIDGE=ovs\n", vec!["ens192"], vec!["ovs"]),
            (
                "o",
                "DEVICE=ovs\nTYPE=OVSBond\nBOND_IFACES=\"ens192 ens224\"\n",
                vec!["ens192", "ens224"],
                vec!["ovs"],
            ),
        ] {
            let says = red_hat(file, text);
            assert_eq!(
                (names(&says), says.makes.iter().map(String::as_str).collect()),
                (cards, made),
                "{text}"
            );
        }
    }

    #[test]
    fn suse_goes_by_the_name_of_the_file() {
        let says =
            suse("eth0", "BOOTPROTO='dhcp4'\nSTARTMODE='auto'\nLLADDR='02:00:00:00:00:77'\n");
        assert_eq!((names(&says), says.claims[0].macs.len()), (vec!["eth0"], 0));
        assert_eq!(says.claims[0].names[0].at, NOWHERE);
        for (file, text, cards, made) in [
            ("vlan5", "ETHERDEVICE='eth0'\nVLAN='yes'\n", vec!["eth0"], vec!["vlan5"]),
            ("eth0.5", "ETHERDEVICE=eth0\n", vec!["eth0.5", "eth0"], vec!["eth0.5"]),
            (
                "bond0",
                "BONDING_MASTER='yes'\nBONDING_SLAVE0='eth0'\nBONDING_SLAVE_1='eth1'\n",
                vec!["eth0", "eth1"],
                vec!["bond0"],
            ),
            ("br0", "BRIDGE='yes'\nBRIDGE_PORTS='eth0 tap0'\n", vec!["eth0", "tap0"], vec!["br0"]),
            ("mv", "MACVLAN_DEVICE='eth0'\n", vec!["eth0"], vec!["mv"]),
            ("team0", "DEVICETYPE=Team\nTEAM_PORT_DEVICE_0='eth0'\n", vec!["eth0"], vec!["team0"]),
        ] {
            let says = suse(file, text);
            let mut found = names(&says);
            found.sort_unstable();
            let mut cards = cards;
            cards.sort_unstable();
            assert_eq!(
                (found, says.makes.iter().map(String::as_str).collect()),
                (cards, made),
                "{text}"
            );
        }
        let by_mac = suse("eth-id-00:50:56:aa:bb:01", "BOOTPROTO='dhcp'\n");
        assert_eq!((names(&by_mac).len(), by_mac.claims[0].macs.len()), (0, 1));
        let by_bus = suse("eth-bus-pci-0000:02:00.0", "BOOTPROTO='dhcp'\n");
        assert_eq!(by_bus.claims[0].hardware[0].patterns, ["0000:02:00.0"]);
    }

    #[test]
    fn an_interface_that_stays_down_is_told() {
        for (text, is_idle) in [
            ("DEVICE=ens33\nONBOOT=no\n", true),
            ("DEVICE=ens33\nONBOOT=\"yes\"\n", false),
            ("DEVICE=ens33\n", false),
        ] {
            let says = read("/etc/sysconfig/network-scripts/ifcfg-ens33", text);
            assert_eq!(says.claims[0].is_idle, is_idle, "{text}");
        }
        assert!(suse("eth0", "STARTMODE='off'\n").claims[0].is_idle);
    }

    #[test]
    fn files_that_no_system_reads_are_left_out() {
        for name in ["eth0.bak", "eth0~", "ens192.rpmsave", "lo", "eth0.orig"] {
            assert!(!is_read(&format!("{RED_HAT}{name}")), "{name}");
        }
        assert!(is_read(&format!("{SUSE}eth0.5")));
    }

    #[test]
    fn matches_of_network_manager_are_read() {
        let text =
            "TYPE=Ethernet\nDEVICE=\nMATCH_DRIVER=\"vmxnet3\"\nMATCH_INTERFACE_NAME=ens192\n";
        let says = red_hat("x", text);
        let driver = &says.claims[0].hardware[0];
        assert_eq!(driver.instead[0], Edit::new(22..22, "HWADDR={MAC}\n"));
        assert_eq!(&text[driver.instead[1].at.clone()], "vmxnet3");
    }
}
