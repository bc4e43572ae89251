//! wicked's own configuration and leases: wicked-config(5), `ifconfig/*.xml` and `lease-*.xml`.

use quick_xml::Reader;
use quick_xml::events::Event;

use super::super::claim::{ClaimRole, Edit, MAC, MacSpot, NOWHERE, NameClaim, Says, Spot, mac};

/// Elements of an interface that the system creates.
const MADE: [&str; 11] = [
    "bond",
    "bridge",
    "vlan",
    "macvlan",
    "macvtap",
    "vxlan",
    "dummy",
    "tun",
    "tap",
    "team",
    "ovs-bridge",
];
/// Deepest nesting that is read.
const DEEPEST: usize = 32;

/// A text with the names of the elements around it.
struct Leaf {
    /// Path without name spaces: `interface/bond/slaves/slave/device`.
    path: String,
    /// Number of the `interface` or `lease` within the file, counted from 1.
    number: usize,
    text: Spot<String>,
}

impl Leaf {
    fn is(&self, path: &str) -> bool {
        self.path == path
    }

    fn is_below(&self, part: &str) -> bool {
        self.path.split('/').skip(1).any(|own| own == part)
    }
}

/// All texts of a file.
///
/// # Errors
/// The reason why the file is not valid XML.
fn leaves(text: &str) -> Result<Vec<Leaf>, String> {
    let mut reader = Reader::from_str(text);
    let (mut path, mut found, mut number): (Vec<String>, _, _) = (Vec::new(), Vec::new(), 0);
    loop {
        let before = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Eof => return Ok(found),
            Event::Start(element) => {
                let name = element.local_name().as_ref().to_owned();
                // Interfaces may be wrapped in one element.
                if ["interface", "lease", "policy"].contains(&name.as_str()) {
                    path.clear();
                    number += 1;
                }
                path.push(name);
                if path.len() > DEEPEST {
                    return Err("the nesting is too deep".to_owned());
                }
            }
            Event::Empty(element) => {
                let name = element.local_name().as_ref().to_owned();
                let path = format!("{}/{name}", path.join("/"));
                found.push(Leaf { path, number, text: Spot::new(String::new(), NOWHERE) });
            }
            Event::Text(_) => {
                let after = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
                let raw = text.get(before..after).unwrap_or_default();
                let start = before + (raw.len() - raw.trim_start().len());
                let word = raw.trim().to_owned();
                let at = start..start + word.len();
                if !word.is_empty() {
                    found.push(Leaf { path: path.join("/"), number, text: Spot::new(word, at) });
                }
            }
            Event::End(_) => drop(path.pop()),
            _ => {}
        }
    }
}

/// Reads a file of interfaces.
pub(super) fn configuration(text: &str) -> Says {
    let leaves = match leaves(text) {
        Ok(leaves) => leaves,
        Err(fault) => return Says { fault: Some(fault), ..Says::default() },
    };
    let mut says = Says::default();
    let last = leaves.last().map_or(0, |leaf| leaf.number);
    for number in 1..=last {
        let own: Vec<_> = leaves.iter().filter(|leaf| leaf.number == number).collect();
        interface(&own, &mut says);
    }
    says
}

fn interface(leaves: &[&Leaf], says: &mut Says) {
    let mut claim = NameClaim::default();
    for leaf in leaves {
        let text = &leaf.text;
        if leaf.is("interface/name") {
            claim.names.push(text.clone());
        } else if leaf.path.starts_with("interface/name/") && leaf.path.ends_with("address") {
            claim.macs.extend(MacSpot::read(text));
        } else if leaf.path.ends_with("/address/local") {
            claim.addresses.push(text.value.clone());
        } else if leaf.path.ends_with("dhcp/enabled") && text.value == "true" {
            claim.addresses.push("dhcp".to_owned());
        } else if leaf.path.ends_with("/device") && MADE.iter().any(|made| leaf.is_below(made)) {
            says.mention(text.clone());
        }
    }
    let is_made = leaves.iter().any(|leaf| {
        let kind = leaf.is("interface/link-type") && MADE.contains(&leaf.text.value.as_str());
        kind || MADE.iter().any(|made| leaf.path.split('/').nth(1) == Some(made))
    });
    if is_made {
        let has_device = leaves.iter().any(|leaf| leaf.path.ends_with("/device"));
        claim.names.into_iter().for_each(|name| says.make(name, has_device));
    } else if claim.selects() {
        says.claims.push(claim);
    }
}

/// Reads a lease: the address that an interface had, and its hardware address.
pub(super) fn lease(path: &str, text: &str) -> Says {
    let Ok(leaves) = leaves(text) else { return Says::default() };
    // lease-ens192-dhcp-ipv4.xml
    let file = path.rsplit('/').next().unwrap_or_default();
    let name = file.strip_prefix("lease-").and_then(|rest| rest.rsplitn(3, '-').nth(2));
    let mut claim = NameClaim { role: ClaimRole::Remembers, ..NameClaim::default() };
    claim.names.extend(name.map(|name| Spot::new(name.to_owned(), NOWHERE)));
    for leaf in leaves {
        let value = leaf.text.value.as_str();
        match leaf.path.rsplit('/').next() {
            Some("client-id") => claim.macs.extend(client_id(value)),
            Some("local" | "client-address") => claim.addresses.push(value.to_owned()),
            Some("address") if leaf.path.contains("dhcp") => {
                claim.addresses.push(value.to_owned());
            }
            _ => {}
        }
    }
    Says { claims: vec![claim], ..Says::default() }
}

/// A client identifier of type 1 is the hardware address (RFC 2132, 9.14).
pub(super) fn client_id(text: &str) -> Option<MacSpot> {
    let text = text.trim().trim_matches('"');
    let rest = text.strip_prefix("01:").or_else(|| text.strip_prefix("1:"))?;
    // dhclient writes bytes without a leading zero.
    let parts: Vec<_> = rest.split(':').map(|part| format!("{part:0>2}")).collect();
    let mac = mac(&parts.join(":"))?;
    Some(MacSpot { mac, edit: Edit::new(NOWHERE, MAC) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(says: &Says) -> Vec<&str> {
        let names = says.claims.iter().flat_map(|claim| &claim.names);
        names.map(|name| name.value.as_str()).collect()
    }

    #[test]
    fn interfaces_have_names_addresses_and_ports() {
        let text = "<?xml version=\"1.0\"?>\n<interfaces>\n<interface>\n <name>eth0</name>\n <link><mtu>1500</mtu></link>\n <ethernet><address>02:00:00:00:00:77</address></ethernet>\n <ipv4:static xmlns:ipv4=\"x\"><address><local>192.0.2.7/24</local></address></ipv4:static>\n</interface>\n\
                    <interface><name>bond0</name><bond><slaves><slave><device>eth1</device></slave></slaves></bond><ipv4:dhcp><enabled>true</enabled></ipv4:dhcp></interface>\n\
                    <interface><name>storage</name><vlan><device> eth2 </device><tag>5</tag></vlan></interface>\n\
                    <interface><name namespace=\"ethernet\"><permanent-address>00:50:56:aa:bb:01</permanent-address></name></interface></interfaces>\n";
        let says = configuration(text);
        assert_eq!(names(&says), ["eth0", "eth1", "eth2"]);
        assert_eq!(says.makes, ["bond0", "storage"]);
        assert_eq!(&text[says.claims[2].names[0].at.clone()], "eth2");
        assert_eq!(says.claims[0].addresses, ["192.0.2.7/24"]);
        assert!(says.claims[0].macs.is_empty(), "the address of <ethernet> is set");
        assert_eq!(says.claims[3].macs.len(), 1);
    }

    #[test]
    fn leases_tie_a_name_to_an_address() {
        let text = "<lease><family>ipv4</family><type>dhcp</type><ipv4:dhcp><client-id>01:00:50:56:aa:bb:01</client-id><address>192.0.2.7</address></ipv4:dhcp><addresses><address><local>192.0.2.7/24</local></address></addresses></lease>";
        let says = lease("/var/lib/wicked/lease-lan-0-dhcp-ipv4.xml", text);
        let claim = &says.claims[0];
        assert_eq!((names(&says), claim.role), (vec!["lan-0"], ClaimRole::Remembers));
        assert_eq!(claim.macs[0].mac.to_string(), "00:50:56:aa:bb:01");
        assert_eq!(claim.addresses, ["192.0.2.7", "192.0.2.7/24"]);
    }

    #[test]
    fn client_identifiers_of_ethernet_are_addresses() {
        for text in ["01:00:50:56:aa:bb:01", "1:0:50:56:aa:bb:1", "\"01:00:50:56:aa:bb:01\""] {
            assert_eq!(client_id(text).expect(text).mac.to_string(), "00:50:56:aa:bb:01");
        }
        assert_eq!(client_id("ff:56:aa:bb:01:00:02:00:00:ab:11"), None);
    }

    #[test]
    fn what_is_no_xml_is_told() {
        assert!(configuration("<interface><name>eth0</nam>").fault.is_some());
        assert!(configuration(&"<a>".repeat(100_000)).fault.is_some());
    }
}
