//! Clients of DHCP: the interfaces that their configurations name (dhclient.conf(5),
//! dhcpcd.conf(5)), and their stored leases, which show which card had which address.

use super::super::claim::{
    ClaimRole, Edit, MAC, MacSpot, NOWHERE, NameClaim, Says, Spot, is_pattern, mac, sort_names,
    words,
};
use super::keyfile::entries;
use super::wicked::client_id;

/// Reads dhclient.conf: `interface "ens192" { … }`.
pub(super) fn dhclient_conf(text: &str) -> Says {
    let mut says = Says::default();
    for line in DhcpLines::of(text) {
        let words = words(line.text, line.at, |c| c.is_whitespace() || "{};".contains(c));
        let mut pairs = words.iter().zip(words.iter().skip(1));
        if let Some((_, name)) = pairs.find(|(word, _)| word.value == "interface") {
            says.mention(name.clone());
        }
    }
    says
}

/// Reads dhcpcd.conf.
pub(super) fn dhcpcd_conf(text: &str) -> Says {
    let mut says = Says::default();
    let mut current: Option<NameClaim> = None;
    for line in DhcpLines::of(text) {
        let words = words(line.text, line.at, |c| c.is_whitespace() || c == ',');
        let Some((key, rest)) = words.split_first() else { continue };
        let value = rest.first().map_or("", |word| word.value.as_str());
        match key.value.as_str() {
            "interface" => {
                says.claims.extend(current.take());
                current = rest.first().cloned().map(NameClaim::named);
            }
            "profile" | "ssid" => says.claims.extend(current.take()),
            "denyinterfaces" | "allowinterfaces" => {
                let mut claim = NameClaim::default();
                sort_names(&mut claim, rest.to_vec());
                // A denied interface is configured by another program, or is no card.
                let is_denied = key.value.starts_with('d');
                let role = if is_denied { ClaimRole::Mentions } else { ClaimRole::Configures };
                let names = claim.names.into_iter();
                says.claims.extend(names.map(|name| NameClaim { role, ..NameClaim::named(name) }));
                let patterns = NameClaim { patterns: claim.patterns, ..NameClaim::default() };
                says.claims.extend(Some(patterns).filter(|claim| !is_denied && claim.selects()));
            }
            "static" | "inform" => {
                let address = value.split_once('=').filter(|(key, _)| key.starts_with("ip"));
                if let (Some(claim), Some((_, address))) = (&mut current, address) {
                    claim.addresses.push(address.to_owned());
                }
            }
            _ => {}
        }
    }
    says.claims.extend(current);
    says
}

/// Leases of dhclient: dhclient.leases(5).
pub(super) fn dhclient_leases(text: &str) -> Says {
    let mut says = Says::default();
    let mut claim = NameClaim::default();
    for line in DhcpLines::of(text) {
        let words = words(line.text, line.at, |c| c.is_whitespace() || "{};,".contains(c));
        let words: Vec<_> = words.iter().map(|word| word.value.as_str()).collect();
        match words.as_slice() {
            ["lease" | "lease6", ..] => says.claims.push(std::mem::take(&mut claim)),
            ["interface", name, ..] => claim = remembered(name),
            ["fixed-address" | "iaaddr", address, ..] => {
                claim.addresses.push((*address).to_owned())
            }
            ["option", "dhcp-client-identifier", id, ..] => claim.macs.extend(client_id(id)),
            _ => {}
        }
    }
    says.claims.push(claim);
    says.claims.retain(NameClaim::selects);
    says
}

/// Leases of NetworkManager's own client: `internal-UUID-ens192.lease`, and of the dhclient that it
/// ran: `dhclient-UUID-ens192.lease`.
pub(super) fn network_manager_lease(path: &str, text: &str) -> Says {
    let file = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".lease");
    if file.starts_with("dhclient") {
        return dhclient_leases(text);
    }
    // A UUID has 36 characters.
    let name = file.split_once('-').and_then(|(_, rest)| rest.get(37..)).unwrap_or_default();
    let mut claim = remembered(name);
    for entry in entries(text) {
        match entry.key {
            "ADDRESS" => claim.addresses.push(entry.value.to_owned()),
            "CLIENTID" => claim.macs.extend(client_id(&colons(entry.value))),
            _ => {}
        }
    }
    Says { claims: Some(claim).into_iter().filter(NameClaim::selects).collect(), ..Says::default() }
}

/// systemd writes the identifier as hexadecimal digits alone.
fn colons(text: &str) -> String {
    if text.contains(':') || !text.is_ascii() {
        return text.to_owned();
    }
    let pairs = text.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned());
    pairs.collect::<Vec<_>>().join(":")
}

/// A lease of dhcpcd is the packet of the server as it came: RFC 2131, 2.
pub(super) fn dhcpcd_lease(path: &str, packet: &[u8]) -> Says {
    let file = path.rsplit('/').next().unwrap_or_default();
    let name = file.trim_end_matches(".lease").trim_start_matches("dhcpcd-");
    // `ens192-SSID.lease` is of a wireless card.
    let mut claim = remembered(name);
    let field = |at: usize| packet.get(at..at + 4).map(<[u8]>::to_vec);
    let is_reply = packet.first() == Some(&2) && packet.get(1..3) == Some(&[1, 6]);
    if !is_reply {
        return Says::default();
    }
    let address = field(16).map(|a| format!("{}.{}.{}.{}", a[0], a[1], a[2], a[3]));
    claim.addresses.extend(address);
    if let Some(Ok(mac)) = packet.get(28..34).map(<[u8; 6]>::try_from) {
        let edit = Edit::new(NOWHERE, MAC);
        claim.macs.push(MacSpot { mac: crate::model::MacAddress(mac), edit });
    }
    Says { claims: Some(claim).into_iter().filter(NameClaim::selects).collect(), ..Says::default() }
}

fn remembered(name: &str) -> NameClaim {
    let name = Some(name).filter(|name| !name.is_empty() && !is_pattern(name));
    NameClaim {
        role: ClaimRole::Remembers,
        names: name.map(|name| Spot::new(name.to_owned(), NOWHERE)).into_iter().collect(),
        ..NameClaim::default()
    }
}

/// Reads the tables of nameif(8) and ifrename(8): `/etc/mactab`, `/etc/iftab`.
pub(super) fn mactab(text: &str) -> Says {
    let mut says = Says::default();
    for line in DhcpLines::of(text) {
        let words = words(line.text, line.at, char::is_whitespace);
        let Some(name) = words.first().cloned() else { continue };
        let mac = words.iter().skip(1).filter(|word| mac(&word.value).is_some());
        let macs: Vec<_> = mac.filter_map(MacSpot::read).collect();
        let claim = NameClaim { role: ClaimRole::Renames, macs, ..NameClaim::named(name) };
        says.claims.extend(Some(claim).filter(|claim| !claim.macs.is_empty()));
    }
    says
}

/// Lines without comments.
struct DhcpLines<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> DhcpLines<'a> {
    fn of(text: &'a str) -> impl Iterator<Item = DhcpLines<'a>> {
        let mut at = 0;
        text.split_inclusive('\n').map(move |line| {
            let start = at;
            at += line.len();
            DhcpLines { text: line.split('#').next().unwrap_or(line), at: start }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(says: &Says) -> Vec<(&str, Vec<&str>, Option<String>)> {
        let flat = says.claims.iter().map(|claim| {
            let name = claim.names.first().map_or("", |name| name.value.as_str());
            let addresses = claim.addresses.iter().map(String::as_str).collect();
            (name, addresses, claim.macs.first().map(|spot| spot.mac.to_string()))
        });
        flat.collect()
    }

    const MAC: &str = "00:50:56:aa:bb:01";

    #[test]
    fn clients_name_interfaces() {
        let text = "timeout 60;\ninterface \"ens192\" { # first\n  send host-name \"x\";\n}\n\
                    alias {\n  interface \"ens224\"; fixed-address 192.0.2.9;\n}\n";
        let says = dhclient_conf(text);
        assert_eq!(flat(&says), [("ens192", vec![], None), ("ens224", vec![], None)]);
        assert_eq!(&text[says.claims[0].names[0].at.clone()], "ens192");
        let text = "hostname\ndenyinterfaces ens256 veth*\nallowinterfaces en*\ninterface ens192\nstatic ip_address=192.0.2.7/24\nstatic routers=192.0.2.1\ninterface ens224\ninform ip=1\n";
        let says = dhcpcd_conf(text);
        assert_eq!(
            flat(&says),
            [
                ("ens256", vec![], None),
                ("", vec![], None),
                ("ens192", vec!["192.0.2.7/24"], None),
                ("ens224", vec!["1"], None),
            ]
        );
        assert_eq!(says.claims[1].patterns, ["en*"]);
    }

    #[test]
    fn leases_tell_which_card_had_which_address() {
        let dhclient = "lease {\n  interface \"ens192\";\n  fixed-address 192.0.2.7;\n  option subnet-mask 255.255.255.0;\n  option dhcp-client-identifier 1:0:50:56:aa:bb:1;\n  renew 1 2024/01/01 00:00:00;\n}\nlease {\n  interface \"ens224\";\n  fixed-address 192.0.2.8;\n}\n";
        let found = dhclient_leases(dhclient);
        let right = [
            ("ens192", vec!["192.0.2.7"], Some(MAC.to_owned())),
            ("ens224", vec!["192.0.2.8"], None),
        ];
        assert_eq!(flat(&found), right);
        let path =
            "/var/lib/NetworkManager/internal-5f1c1a3e-0000-4000-8000-000000000100-ens192.lease";
        let lease = "# This is private data. Do not parse.\nADDRESS=192.0.2.7\nNETMASK=255.255.255.0\nCLIENTID=01005056aabb01\n";
        assert_eq!(flat(&network_manager_lease(path, lease)), right[..1]);
        let path =
            "/var/lib/NetworkManager/dhclient-5f1c1a3e-0000-4000-8000-000000000100-ens192.lease";
        assert_eq!(flat(&network_manager_lease(path, dhclient)), right);
        let mut packet = vec![0; 240];
        packet[..3].copy_from_slice(&[2, 1, 6]);
        packet[16..20].copy_from_slice(&[192, 0, 2, 7]);
        packet[28..34].copy_from_slice(&[0, 0x50, 0x56, 0xaa, 0xbb, 1]);
        assert_eq!(flat(&dhcpcd_lease("/var/lib/dhcpcd/ens192.lease", &packet)), right[..1]);
        assert!(
            dhcpcd_lease("/var/lib/dhcpcd/ens192.lease", &packet[..30]).claims[0].macs.is_empty()
        );
        assert!(dhcpcd_lease("/var/lib/dhcpcd/ens192.lease", b"lease").claims.is_empty());
    }

    #[test]
    fn old_tables_tie_names_to_addresses() {
        let text = "# note\nlan0 00:50:56:aa:bb:01\neth* 00:50:56:aa:bb:02\nlan1 mac 00:50:56:AA:BB:03\nlan2 driver e1000\n";
        let found = mactab(text);
        let names: Vec<_> = flat(&found).iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, ["lan0", "eth*", "lan1"]);
    }
}
