//! What a guest's own files say of its interfaces, in whatever form. Each reader takes what it is
//! sure of and passes over the rest.

use crate::model::MacAddress;

use super::Interface;

/// An interface as configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Configured {
    pub(super) name: String,
    pub(super) mac: Option<MacAddress>,
    /// Whether the MAC address was tied to the name by a rule that still holds on KVM.
    pub(super) by_rule: bool,
    /// `dhcp`, or addresses with or without a prefix.
    pub(super) addresses: Vec<String>,
}

impl Configured {
    /// Whether it is to have an address, the length of the prefix left aside.
    pub(super) fn has_address(&self, address: &str) -> bool {
        let bare = |text: &str| text.split('/').next().unwrap_or(text).to_owned();
        self.addresses.iter().any(|own| bare(own) == bare(address))
    }

    pub(super) fn interface(&self, mac: MacAddress, known_by: &'static str) -> Interface {
        let (name, addresses) = (self.name.clone(), self.addresses.clone());
        Interface { mac, after: name.clone(), name, known_by, addresses, kept_by: None }
    }
}

/// One entry a name, with what all files say of it.
pub(super) fn merge(found: Vec<Configured>) -> Vec<Configured> {
    let mut merged: Vec<Configured> = Vec::new();
    for mut one in found {
        if let Some((card, _vlan)) = one.name.split_once('.') {
            one = Configured { name: card.to_owned(), ..Configured::default() };
        }
        if !is_card(&one.name) {
            continue;
        }
        match merged.iter_mut().find(|other| other.name == one.name) {
            None => merged.push(one),
            Some(other) => {
                other.by_rule |= one.by_rule;
                other.mac = other.mac.or(one.mac);
                other.addresses.extend(one.addresses);
            }
        }
    }
    merged.iter_mut().for_each(|one| one.addresses.dedup());
    merged
}

/// Whether a name is of a card: bridges, bonds and VLANs are made of cards and keep their names.
fn is_card(name: &str) -> bool {
    let is_word = name.chars().all(|c| c.is_ascii_alphanumeric());
    // systemd.net-naming-scheme(7), and the kernel's own.
    is_word && (name.starts_with("en") || name.starts_with("eth"))
}

/// What a file says.
pub(super) fn read(path: &str, text: &str) -> Vec<Configured> {
    if path.starts_with("/etc/network/interfaces") {
        interfaces(text)
    } else if path.starts_with("/etc/netplan/") {
        netplan(text)
    } else if path.starts_with("/etc/NetworkManager/") {
        one(sections(
            text,
            ("connection", "interface-name"),
            "mac-address",
            &["address"],
            "method=auto",
        ))
    } else if path.contains("/ifcfg-") {
        ifcfg(path, text)
    } else if path.ends_with(".network") {
        one(sections(text, ("Match", "Name"), "MACAddress", &["Address", "DHCP"], "\0"))
    } else if path.ends_with(".link") {
        let mut found = sections(text, ("Link", "Name"), "MACAddress", &[], "\0");
        found.by_rule = true;
        one(found)
    } else if path.ends_with(".rules") {
        text.lines().filter_map(rule).collect()
    } else {
        Vec::new()
    }
}

fn one(found: Configured) -> Vec<Configured> {
    if found.name.is_empty() { Vec::new() } else { vec![found] }
}

/// interfaces(5) of ifupdown.
fn interfaces(text: &str) -> Vec<Configured> {
    let mut found: Vec<Configured> = Vec::new();
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["iface", name, rest @ ..] => {
                let dhcp = rest.contains(&"dhcp").then(|| "dhcp".to_owned());
                let addresses = dhcp.into_iter().collect();
                let name = (*name).to_owned();
                found.push(Configured { name, addresses, ..Configured::default() });
            }
            ["address", address, ..] => {
                found.extend_last(|one| one.addresses.push((*address).to_owned()));
            }
            // Cards without an address of their own.
            [
                "auto" | "allow-hotplug" | "bridge_ports" | "bridge-ports" | "bond-slaves",
                names @ ..,
            ] => {
                let bare =
                    |name: &&str| Configured { name: (*name).to_owned(), ..Configured::default() };
                // In front: what follows belongs to the interface that is being described.
                names.iter().map(bare).for_each(|one| found.insert(0, one));
            }
            ["hwaddress", rest @ ..] => {
                let mac = rest.last().and_then(|word| word.parse().ok());
                found.extend_last(|one| one.mac = mac);
            }
            _ => {}
        }
    }
    found
}

trait ExtendLast<T> {
    fn extend_last(&mut self, act: impl FnOnce(&mut T));
}

impl<T> ExtendLast<T> for Vec<T> {
    fn extend_last(&mut self, act: impl FnOnce(&mut T)) {
        if let Some(last) = self.last_mut() {
            act(last);
        }
    }
}

/// The children of `ethernets:` in netplan(5), by their indentation.
fn netplan(text: &str) -> Vec<Configured> {
    let mut found: Vec<Configured> = Vec::new();
    let (mut block, mut level) = (None, None);
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let content = line.trim();
        if content.is_empty() {
            continue;
        }
        let depth = line.len() - line.trim_start().len();
        if content == "ethernets:" {
            (block, level) = (Some(depth), None);
            continue;
        }
        let Some(base) = block else { continue };
        if depth <= base {
            block = None;
            continue;
        }
        let level = *level.get_or_insert(depth);
        let (key, value) = content.split_once(':').unwrap_or((content, ""));
        let value = value.trim().trim_matches(['"', '\'']);
        if depth == level {
            let name = key.trim_matches(['"', '\'']).to_owned();
            found.push(Configured { name, ..Configured::default() });
            continue;
        }
        found.extend_last(|one| match key {
            "macaddress" => one.mac = value.parse().ok(),
            // It renames the card by its match, whatever the slot.
            "set-name" => {
                one.name = value.to_owned();
                one.by_rule = true;
            }
            "dhcp4" if ["true", "yes"].contains(&value) => one.addresses.push("dhcp".to_owned()),
            "addresses" => one.addresses.extend(flow_list(value)),
            _ => {
                let item = content.strip_prefix("- ").map(|item| item.trim_matches(['"', '\'']));
                one.addresses.extend(item.filter(|item| item.contains('/')).map(str::to_owned));
            }
        });
    }
    found
}

/// `[192.0.2.7/24, "2001:db8::7/64"]`.
fn flow_list(value: &str) -> Vec<String> {
    let items = value.trim_start_matches('[').trim_end_matches(']').split(',');
    let items = items.map(|item| item.trim().trim_matches(['"', '\'']));
    items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// A file of sections: NetworkManager's keyfiles (nm-settings-keyfile(5)), systemd.network(5) and
/// systemd.link(5).
fn sections(
    text: &str,
    (section, name): (&str, &str),
    mac: &str,
    addresses: &[&str],
    dhcp: &str,
) -> Configured {
    let (mut found, mut current) = (Configured::default(), "");
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(header) = line.strip_prefix('[') {
            current = header.trim_end_matches(']');
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim(), value.trim());
        if key == name && current == section {
            found.name = value.to_owned();
        } else if key == mac {
            found.mac = value.parse().ok();
        } else if line == dhcp && current == "ipv4" || key == "DHCP" && value != "no" {
            found.addresses.push("dhcp".to_owned());
        } else if addresses.contains(&key.trim_end_matches(|c: char| c.is_ascii_digit())) {
            let address = value.split(',').next().unwrap_or(value);
            found.addresses.push(address.to_owned());
        }
    }
    found
}

/// ifcfg files of Red Hat (network-scripts, sysconfig.txt) and SUSE (ifcfg(5)).
fn ifcfg(path: &str, text: &str) -> Vec<Configured> {
    let mut found = Configured::default();
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once('=') else { continue };
        let value = value.trim_matches(['"', '\'']);
        match key {
            "DEVICE" => found.name = value.to_owned(),
            "HWADDR" => found.mac = value.parse().ok(),
            "BOOTPROTO" if value.starts_with("dhcp") => found.addresses.push("dhcp".to_owned()),
            "IPADDR" | "IPADDR0" | "IPV6ADDR" if !value.is_empty() => {
                found.addresses.push(value.to_owned());
            }
            _ => {}
        }
    }
    if found.name.is_empty() {
        let name = path.rsplit("/ifcfg-").next().unwrap_or_default();
        found.name = name.to_owned();
    }
    vec![found]
}

/// A rule of udev that ties a name to a MAC address.
fn rule(line: &str) -> Option<Configured> {
    let value = |key: &str| line.split_once(key)?.1.split('"').nth(1);
    if line.trim_start().starts_with('#') {
        return None;
    }
    let mac = value("ATTR{address}").or_else(|| value("ATTRS{address}"))?.parse().ok()?;
    let name = value("NAME=").filter(|_| line.contains(" NAME="))?.to_owned();
    Some(Configured { name, mac: Some(mac), by_rule: true, addresses: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(String, Option<String>, Vec<String>)> {
        let all = merge(read(path, text)).into_iter();
        all.map(|one| (one.name, one.mac.map(|mac| mac.to_string()), one.addresses)).collect()
    }

    fn card(
        name: &str,
        mac: Option<&str>,
        addresses: &[&str],
    ) -> (String, Option<String>, Vec<String>) {
        let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
        (name.to_owned(), mac.map(str::to_owned), addresses)
    }

    const MAC: &str = "00:50:56:aa:bb:01";

    #[test]
    fn every_form_of_configuration_is_read() {
        let interfaces = "auto lo ens192\niface lo inet loopback\niface ens192 inet static\n  address 192.0.2.7/24\n\
                          iface ens192 inet6 auto\niface br0 inet dhcp\n  bridge_ports ens256\n\
                          iface ens224.5 inet dhcp\n";
        assert_eq!(
            found("/etc/network/interfaces", interfaces),
            [
                card("ens256", None, &[]),
                card("ens192", None, &["192.0.2.7/24"]),
                card("ens224", None, &[])
            ]
        );
        let netplan = "network:\n  version: 2\n  ethernets:\n    ens192:\n      dhcp4: true\n    ens224:\n      \
                       match:\n        macaddress: \"00:50:56:aa:bb:01\"\n      addresses:\n      - 192.0.2.8/24\n  \
                       bridges:\n    br0:\n      dhcp4: true\n";
        assert_eq!(
            found("/etc/netplan/50-cloud-init.yaml", netplan),
            [card("ens192", None, &["dhcp"]), card("ens224", Some(MAC), &["192.0.2.8/24"])]
        );
        let keyfile = "[connection]\nid=Wired\ninterface-name=ens192\n[ethernet]\nmac-address=00:50:56:AA:BB:01\n\
                       [ipv4]\nmethod=manual\naddress1=192.0.2.9/24,192.0.2.1\n";
        assert_eq!(
            found("/etc/NetworkManager/system-connections/Wired.nmconnection", keyfile),
            [card("ens192", Some(MAC), &["192.0.2.9/24"])]
        );
        let ifcfg =
            "TYPE=Ethernet\nBOOTPROTO=none\nDEVICE=\"ens192\"\nIPADDR=192.0.2.10\nPREFIX=24\n";
        assert_eq!(
            found("/etc/sysconfig/network-scripts/ifcfg-ens192", ifcfg),
            [card("ens192", None, &["192.0.2.10"])]
        );
        assert_eq!(
            found("/etc/sysconfig/network/ifcfg-eth0", "BOOTPROTO='dhcp4'\n"),
            [card("eth0", None, &["dhcp"])]
        );
        let networkd = "[Match]\nName=ens192\n[Network]\nDHCP=ipv4\nAddress=192.0.2.11/24\n";
        assert_eq!(
            found("/etc/systemd/network/wired.network", networkd),
            [card("ens192", None, &["dhcp", "192.0.2.11/24"])]
        );
    }

    #[test]
    fn rules_tie_a_name_to_a_card() {
        let rule = "SUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", ATTR{address}==\"00:50:56:aa:bb:01\", \
                    KERNEL==\"eth*\", NAME=\"eth0\"\n";
        let all = read("/etc/udev/rules.d/70-persistent-net.rules", rule);
        assert_eq!(all[0].name, "eth0");
        assert!(all[0].by_rule && all[0].mac.is_some());
    }
}
