//! Forms of few distributions: netctl of Arch, the folders of ALT, Gentoo's netifrc, nmstate's
//! files, and services that are started for an interface.

use super::super::claim::{Claim, MacSpot, NOWHERE, Says, Spot, sort_names};
use super::shell::assignments;
use super::yaml::{Node, documents};

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
                let mut claim = Claim::default();
                sort_names(&mut claim, [name]);
                let address = get("Address").map(|own| own.words()).unwrap_or_default();
                claim.addresses.extend(address.into_iter().map(|word| word.value));
                let dhcp = get("IP").filter(|own| own.value.value == "dhcp");
                claim.addresses.extend(dhcp.map(|_| "dhcp".to_owned()));
                says.claims.push(claim);
            }
            (_, Some(name)) => says.make(name),
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
        says.claims.push(Claim { addresses, ..Claim::named(name) });
    } else {
        says.make(name);
    }
    says.mention_all(get("HOST").map(|own| own.words()).unwrap_or_default());
    says
}

/// netifrc of Gentoo: `config_ens192="192.0.2.7/24"`, `bridge_br0="ens192"`.
pub(super) fn netifrc(text: &str) -> Says {
    let mut says = Says::default();
    for own in assignments(text) {
        let start = own.line;
        if let Some(name) = own.key.strip_prefix("config_") {
            let at = start + "config_".len()..start + own.key.len();
            let words = own.words().into_iter().map(|word| word.value);
            let addresses = words.filter(|word| word == "dhcp" || word.contains('.')).collect();
            says.claims.push(Claim { addresses, ..Claim::named(Spot::new(name.to_owned(), at)) });
        }
        for made in ["bridge_", "slaves_", "vlans_"] {
            if let Some(name) = own.key.strip_prefix(made) {
                if made == "vlans_" {
                    says.mention(Spot::new(name.to_owned(), NOWHERE));
                } else {
                    says.makes.push(name.to_owned());
                    says.mention_all(own.words());
                }
            }
        }
    }
    says
}

/// nmstate's desired state: `/etc/nmstate/*.yml`.
pub(super) fn nmstate(text: &str) -> Says {
    let documents = match documents(text) {
        Ok(documents) => documents,
        Err(fault) => return Says { fault: Some(fault), ..Says::default() },
    };
    let mut says = Says::default();
    let interfaces = documents.iter().filter_map(|document| document.get("interfaces"));
    for interface in interfaces.flat_map(Node::list) {
        let Some(name) = interface.get("name").and_then(|name| name.spot(text)) else { continue };
        let kind = interface.get_text("type");
        let identifies = interface.get_text("identifier") == "mac-address";
        if !["ethernet", "", "unknown"].contains(&kind) {
            says.make(name);
        } else if identifies {
            let mac = interface.get("mac-address").and_then(|mac| mac.spot(text));
            let macs = mac.as_ref().and_then(MacSpot::read).into_iter().collect();
            says.claims.push(Claim { macs, ..Claim::default() });
        } else {
            says.claims.push(Claim::named(name));
        }
        let below = [
            interface.get("vlan").and_then(|vlan| vlan.get("base-iface")),
            interface.get("mac-vlan").and_then(|vlan| vlan.get("base-iface")),
            interface.get("vxlan").and_then(|vlan| vlan.get("base-iface")),
            interface.get("link-aggregation").and_then(|bond| bond.get("port")),
        ];
        let words = below.into_iter().flatten().flat_map(Node::scalars);
        says.mention_all(words.filter_map(|word| word.spot(text)).collect());
        let ports = interface.get("bridge").and_then(|bridge| bridge.get("port"));
        let ports = ports.map_or(&[][..], Node::list).iter().filter_map(|port| port.get("name"));
        says.mention_all(ports.filter_map(|name| name.spot(text)).collect());
    }
    says
}

/// A service that is started for an interface: `dhcpcd@ens192.service`.
pub(super) fn service(path: &str) -> Says {
    let file = path.rsplit('/').next().unwrap_or_default();
    let instance = file.split_once('@').and_then(|(_, rest)| rest.strip_suffix(".service"));
    // systemd-escape(1) writes a dash as \x2d.
    let name = instance.unwrap_or_default().replace("\\x2d", "-");
    let mut says = Says::default();
    says.mention(Spot::new(name, NOWHERE));
    says
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
