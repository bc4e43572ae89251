//! NetworkManager's profiles: nm-settings-keyfile(5), nm-settings(5), and the devices that its own
//! configuration names (NetworkManager.conf(5)).

use super::super::claim::{
    ClaimRole, Edit, MAC, MacSpot, NameClaim, Says, Spot, is_pattern, sort_names, words,
};
use super::super::place::{By, HardwareSelection};
use super::super::virtual_names::{base, is_valid};
use super::keyfile::{KeyfileEntry, entries};

/// Values of `type` whose interface is a card: the kernel's, InfiniBand's and the old words. PPPoE
/// is included, which is on a card where no parent is named.
const CARDS: [&str; 4] = ["ethernet", "802-3-ethernet", "infiniband", PPPOE];
const PPPOE: &str = "pppoe";
/// Values of `type` whose parent may be given by a MAC address.
const ON_A_CARD: [&str; 4] = ["vlan", "macvlan", "ipvlan", "macsec"];
/// A port of Open vSwitch: no interface of the kernel, and often named like its card.
const PORT: &str = "ovs-port";
/// The section with the MAC address, and its old name.
const ETHERNET: [&str; 2] = ["ethernet", "802-3-ethernet"];

/// Reads a profile.
pub(super) fn profile(text: &str) -> Says {
    let entries = entries(text);
    let value = |section: &str, key: &str| {
        entries.iter().rev().find(|e| e.section == section && e.key == key)
    };
    let mut says = Says::default();
    let kind = value("connection", "type").map_or("ethernet", |entry| entry.value);
    let is_parent = |e: &&KeyfileEntry<'_>| e.section != "connection" && e.key == "parent";
    let is_named = |e: &KeyfileEntry<'_>| !e.value.is_empty() && mac_spot(e).is_none();
    let has_parent = entries.iter().filter(is_parent).any(is_named);
    let has_parents_mac = entries.iter().filter(is_parent).any(|entry| mac_spot(entry).is_some());
    let is_card = CARDS.contains(&kind) && !(kind == PPPOE && has_parent);
    let mut claim = NameClaim::default();
    if let Some(name) = value("connection", "interface-name").map(KeyfileEntry::word)
        && !name.value.is_empty()
    {
        if is_card {
            claim.names.push(name);
        } else if kind != PORT {
            let is_vlan = kind == "vlan";
            let has_mac = ETHERNET.iter().any(|own| value(own, "mac-address").is_some());
            says.make(name, !is_vlan || has_parent || has_parents_mac || has_mac);
        }
    }
    let by_mac = mac_line(&entries, text);
    let in_port = ["slave-type", "port-type"]
        .iter()
        .any(|key| value("connection", key).is_some_and(|entry| entry.value == PORT));
    for entry in entries.iter().filter(|entry| !in_port || !is_controller(entry)) {
        read(entry, &by_mac, &mut claim, &mut says);
    }
    claim.is_idle = value("connection", "autoconnect").is_some_and(|entry| entry.value == "false");
    // An address that cannot be read still means some card.
    let has_mac = ETHERNET.iter().any(|own| value(own, "mac-address").is_some());
    claim.any = is_card && !has_mac && !claim.selects();
    if is_card {
        says.claims.push(claim);
    } else if (has_parents_mac || ON_A_CARD.contains(&kind))
        && !has_parent
        && !claim.macs.is_empty()
    {
        // The parent card counts, without the addresses.
        let NameClaim { macs, is_idle, .. } = claim;
        says.claims.push(NameClaim { macs, is_idle, ..NameClaim::default() });
    }
    says
}

/// A MAC address, which old versions write as a list of bytes: `0;80;86;170;187;1;`.
fn mac_spot(entry: &KeyfileEntry<'_>) -> Option<MacSpot> {
    let word = entry.word();
    MacSpot::read(&word).or_else(|| {
        let bytes = word.value.split(';').filter(|byte| !byte.is_empty()).map(str::parse);
        let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().ok()?;
        let mac = crate::model::MacAddress(bytes.try_into().ok()?);
        Some(MacSpot { mac, edit: Edit::new(word.at, MAC) })
    })
}

/// Whether an entry names the bond, the bridge or the port that contains the profile's interface.
fn is_controller(entry: &KeyfileEntry<'_>) -> bool {
    entry.section == "connection" && ["master", "controller"].contains(&entry.key)
}

fn read(entry: &KeyfileEntry<'_>, by_mac: &Edit, claim: &mut NameClaim, says: &mut Says) {
    match (entry.section, entry.key) {
        _ if is_controller(entry) => {
            says.makes.extend(Some(entry.word()).filter(is_name).map(|word| word.value));
        }
        // Parents of VLAN, MACVLAN, VXLAN, tunnels, PPPoE, MACsec: a name, a profile's UUID, or the
        // address of a card.
        (section, "parent") if section != "connection" => match mac_spot(entry) {
            Some(spot) => claim.macs.push(spot),
            None => says.mention_all(vec![entry.word()].into_iter().filter(is_name).collect()),
        },
        (section, "mac-address") if ETHERNET.contains(&section) => {
            claim.macs.extend(mac_spot(entry));
        }
        ("match", "interface-name") => {
            sort_names(claim, entry.list().into_iter().map(without_mark));
        }
        ("match", "path") => claim.hardware.push(hardware(By::Path, entry, by_mac)),
        ("match", "driver") => claim.hardware.push(hardware(By::Driver, entry, by_mac)),
        ("bond" | "team", "primary" | "active_slave" | "active-slave") => {
            says.mention_all(entry.list());
        }
        ("bond", "options") => says.mention_all(option(entry, "primary")),
        ("ipv4", "method") if entry.value == "auto" => claim.addresses.push("dhcp".to_owned()),
        ("ipv6", "method") if entry.value == "dhcp" => claim.addresses.push("dhcp".to_owned()),
        ("ipv4" | "ipv6", key) if is_address(key) => {
            let first = entry.list().into_iter().next();
            claim.addresses.extend(first.map(|address| address.value));
        }
        _ => {}
    }
}

/// Whether a key is `address1`, `addresses1`, `address` or `addresses`, and not `address-data` or
/// similar.
fn is_address(key: &str) -> bool {
    let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
    stem == "address" || stem == "addresses"
}

/// Whether a word may be a name of an interface: a UUID of a profile is too long for one.
fn is_name(word: &Spot<String>) -> bool {
    is_valid(&word.value)
}

/// The value of an option in a list such as `mode=active-backup,primary=ens192`.
fn option(entry: &KeyfileEntry<'_>, name: &str) -> Vec<Spot<String>> {
    let value = |word: Spot<String>| {
        let (key, value) = word.value.split_once('=')?;
        (key == name).then(|| Spot::new(value.to_owned(), word.at.end - value.len()..word.at.end))
    };
    entry.list().into_iter().filter_map(value).collect()
}

/// The edit that adds `mac-address=` to `[ethernet]`; adds the section if it is missing.
fn mac_line(entries: &[KeyfileEntry<'_>], text: &str) -> Edit {
    let line = format!("mac-address={MAC}\n");
    let section = entries.iter().find(|entry| ETHERNET.contains(&entry.section));
    let header = || ETHERNET.iter().find_map(|name| find_header(text, name));
    match section.map(|entry| entry.lines.start).or_else(header) {
        Some(at) => Edit::new(at..at, line),
        None => {
            let gap = if text.ends_with('\n') { "" } else { "\n" };
            Edit::new(text.len()..text.len(), format!("{gap}\n[ethernet]\n{line}"))
        }
    }
}

/// A line of `[match]` is replaced by a line of `[ethernet]`.
fn hardware(by: By, entry: &KeyfileEntry<'_>, by_mac: &Edit) -> HardwareSelection {
    let remove = entry.replaced_by("");
    let patterns = entry.list().into_iter().map(|word| pattern(&word.value));
    HardwareSelection {
        by,
        patterns: patterns.collect(),
        instead: vec![remove.clone(), by_mac.clone()],
        without: vec![remove],
        takes_list: false,
        words: format!("{}={}", entry.key, entry.value),
    }
}

/// Elements of `[match]` may begin with `|` (one of) or `&` (all of), nm-settings(5).
fn pattern(word: &str) -> String {
    word.trim_start_matches(['|', '&']).to_owned()
}

/// Removes that mark from a name and adjusts its place.
fn without_mark(word: Spot<String>) -> Spot<String> {
    let bare = pattern(&word.value);
    let start = word.at.end - bare.len();
    Spot::new(bare, start..word.at.end)
}

/// Offset of the line after the header of an empty section.
fn find_header(text: &str, name: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        if line.trim() == format!("[{name}]") && line.ends_with('\n') {
            return Some(at);
        }
    }
    None
}

/// Reads NetworkManager's own configuration: lists of devices such as
/// `interface-name:ens192;mac:00:50:56:aa:bb:01`. These lists configure no interface, and most name
/// software interfaces.
pub(super) fn configuration(text: &str) -> Says {
    let mut says = Says::default();
    for entry in entries(text) {
        if !["unmanaged-devices", "match-device", "managed-devices", "no-auto-default"]
            .contains(&entry.key)
        {
            continue;
        }
        for word in words(entry.value, entry.at, |c| matches!(c, ';' | ',') || c.is_whitespace()) {
            let plain = word.value.strip_prefix("interface-name:");
            let plain = plain.map(|name| name.trim_start_matches('=')).filter(|n| !is_pattern(n));
            // `wireguard.cali` is a name and no VLAN.
            if let Some(name) = plain.filter(|name| base(name) == *name) {
                let name = Spot::new(name.to_owned(), word.at.end - name.len()..word.at.end);
                says.claims.push(NameClaim { role: ClaimRole::Mentions, ..NameClaim::named(name) });
            }
        }
    }
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
    fn a_profile_of_a_card_has_name_address_and_mac() {
        let text = "[connection]\nid=Wired\ntype=ethernet\ninterface-name=ens192\n[ethernet]\nmac-address=00:50:56:AA:BB:01\n\
                    cloned-mac-address=02:00:00:00:00:77\nmac-address-blacklist=\n[ipv4]\nmethod=manual\n\
                    address1=192.0.2.9/24,192.0.2.1\naddress2=192.0.2.10/24\n[ipv6]\nmethod=auto\n";
        let says = profile(text);
        assert_eq!(names(&says), ["ens192"]);
        let claim = &says.claims[0];
        assert_eq!(claim.macs.len(), 1);
        assert_eq!(&text[claim.macs[0].edit.at.clone()], "00:50:56:AA:BB:01");
        assert_eq!(claim.addresses, ["192.0.2.9/24", "192.0.2.10/24"]);
    }

    #[test]
    fn parents_are_names_of_cards() {
        for section in ["vlan", "macvlan", "ip-tunnel", "vxlan", "macsec", "ipvlan"] {
            let text = format!(
                "[connection]\nid=v\ntype={section}\ninterface-name=v100\n[{section}]\nparent=ens192\n[ipv4]\naddress1=10.0.0.7/24\n"
            );
            let says = profile(&text);
            assert_eq!(
                (names(&says), says.makes.as_slice()),
                (vec!["ens192"], &["v100".to_owned()][..])
            );
        }
        for kind in ["vlan", "macvlan", "vxlan"] {
            let mac = "00:50:56:AA:BB:01";
            let text = format!(
                "[connection]\ntype={kind}\ninterface-name=dmz.5\n[{kind}]\nparent={mac}\n[ipv4]\naddress1=10.0.0.7/24\n"
            );
            let says = profile(&text);
            assert_eq!(says.placed, ["dmz.5"]);
            let card = says.claims.iter().find(|claim| !claim.macs.is_empty()).expect("a card");
            assert_eq!((&text[card.macs[0].edit.at.clone()], card.addresses.len()), (mac, 0));
        }
        let by_uuid =
            "[connection]\ntype=vlan\n[vlan]\nparent=5f1c1a3e-0000-4000-8000-000000000100\n";
        assert!(names(&profile(by_uuid)).is_empty());
    }

    #[test]
    fn ports_name_their_card_and_their_controller() {
        for (key, kind) in [("master", "slave-type"), ("controller", "port-type")] {
            let text = format!(
                "[connection]\nid=p\ntype=ethernet\ninterface-name=ens224\n{key}=lanbridge\n{kind}=bridge\n"
            );
            let says = profile(&text);
            assert_eq!(
                (names(&says), says.makes.as_slice()),
                (vec!["ens224"], &["lanbridge".to_owned()][..])
            );
        }
        let bond = "[connection]\ntype=bond\ninterface-name=bond0\n[bond]\nmode=active-backup\nprimary=ens192\n";
        assert_eq!(names(&profile(bond)), ["ens192"]);
        let old = "[connection]\ntype=bond\ninterface-name=bond0\n[bond]\noptions=mode=1,primary=ens192\n";
        let says = profile(old);
        assert_eq!(&old[says.claims[0].names[0].at.clone()], "ens192");
    }

    #[test]
    fn a_port_of_open_vswitch_may_be_called_like_its_card() {
        let profile = |kind: &str, rest: &str| {
            profile(&format!("[connection]\ntype={kind}\ninterface-name=ens192\n{rest}"))
        };
        let port = profile("ovs-port", "master=lan\nslave-type=ovs-bridge\n");
        assert_eq!((names(&port), port.makes.as_slice()), (Vec::new(), &["lan".to_owned()][..]));
        for (key, kind) in [("master", "slave-type"), ("controller", "port-type")] {
            let card = profile("ethernet", &format!("{key}=ens192\n{kind}=ovs-port\n"));
            assert_eq!((names(&card), card.makes.len()), (vec!["ens192"], 0));
        }
        for kind in ["ovs-bridge", "ovs-interface"] {
            assert_eq!(profile(kind, "").makes, ["ens192"], "{kind}");
        }
    }

    #[test]
    fn a_profile_without_a_name_takes_any_card_or_one_by_its_mac() {
        let any = profile(
            "[connection]\nid=Wired connection 1\ntype=802-3-ethernet\n[ipv4]\nmethod=auto\n",
        );
        assert!(any.claims[0].any);
        let by_mac = profile(
            "[connection]\ntype=ethernet\n[802-3-ethernet]\nmac-address=00:50:56:aa:bb:01\n",
        );
        assert!(!by_mac.claims[0].any && by_mac.claims[0].macs.len() == 1);
        assert!(profile("[connection]\ntype=bridge\ninterface-name=br0\n").claims.is_empty());
    }

    #[test]
    fn matches_are_names_patterns_and_hardware() {
        let text = "[connection]\ntype=ethernet\n[match]\ninterface-name=ens192;ens2*;\npath=pci-0000:0b:00.0;\n[ipv4]\nmethod=auto\n";
        let says = profile(text);
        assert_eq!((names(&says), says.claims[0].patterns.len()), (vec!["ens192"], 1));
        let path = &says.claims[0].hardware[0];
        assert_eq!(
            (path.by, path.patterns.as_slice()),
            (By::Path, &["pci-0000:0b:00.0".to_owned()][..])
        );
        assert_eq!(
            path.instead[1],
            Edit::new(text.len()..text.len(), "\n[ethernet]\nmac-address={mac}\n")
        );
        let text = "[connection]\ntype=ethernet\n[ethernet]\n\n[match]\ndriver=vmxnet3\n";
        let driver = &profile(text).claims[0].hardware[0];
        assert_eq!((driver.by, driver.instead[1].at.start), (By::Driver, 38));
    }

    #[test]
    fn the_own_configuration_names_devices() {
        let text = "[keyfile]\nunmanaged-devices=interface-name:ens224;mac:00:50:56:aa:bb:01;interface-name:veth*\n";
        let says = configuration(text);
        assert_eq!((names(&says), says.claims[0].role), (vec!["ens224"], ClaimRole::Mentions));
        let calico = "[keyfile]\nunmanaged-devices=interface-name:cali*;interface-name:tunl*;interface-name:vxlan.calico;interface-name:wireguard.cali\n";
        assert!(configuration(calico).claims.is_empty());
    }

    #[test]
    fn marks_of_a_match_are_no_part_of_a_name() {
        let text = "[connection]\ntype=ethernet\n[match]\ninterface-name=|ens192;&ens2*;&!ens224;!ens256;\n";
        let claim = &profile(text).claims[0];
        assert_eq!(&text[claim.names[0].at.clone()], "ens192");
        assert_eq!(claim.patterns, ["ens2*", "!ens224", "!ens256"]);
    }

    #[test]
    fn a_vlan_by_the_address_of_its_card_means_the_card() {
        for kind in ["vlan", "macvlan"] {
            let text = format!(
                "[connection]\ntype={kind}\ninterface-name=v.5\n[{kind}]\nid=5\n[ethernet]\nmac-address=00:50:56:AA:BB:01\n[ipv4]\naddress1=192.0.2.7/24\n"
            );
            let says = profile(&text);
            let claim = says.claims.last().expect("one");
            assert_eq!((claim.macs.len(), claim.addresses.len(), claim.names.len()), (1, 0, 0));
        }
        let bridge = "[connection]\ntype=bridge\ninterface-name=br0\n[ethernet]\nmac-address=00:50:56:AA:BB:01\n";
        assert!(profile(bridge).claims.is_empty());
    }

    #[test]
    fn addresses_of_old_keyfiles_are_lists_of_bytes() {
        let text =
            "[connection]\ntype=802-3-ethernet\n[802-3-ethernet]\nmac-address=0;80;86;170;187;1;\n";
        let claim = &profile(text).claims[0];
        assert_eq!(claim.macs[0].mac.to_string(), "00:50:56:aa:bb:01");
        assert_eq!(&text[claim.macs[0].edit.at.clone()], "0;80;86;170;187;1;");
        let unreadable = "[connection]\ntype=ethernet\n[ethernet]\nmac-address=permanent\n";
        assert!(!profile(unreadable).claims[0].any);
    }

    #[test]
    fn the_interface_of_pppoe_is_a_card_where_no_parent_is_named() {
        let text = "[connection]\ntype=pppoe\ninterface-name=dsl\n[pppoe]\nparent=ens192\n";
        let says = profile(text);
        assert_eq!(
            (names(&says), says.makes.as_slice()),
            (vec!["ens192"], &["dsl".to_owned()][..])
        );
        let old = profile("[connection]\ntype=pppoe\ninterface-name=ens192\n[pppoe]\nusername=x\n");
        assert_eq!((names(&old), old.makes.len()), (vec!["ens192"], 0));
    }
}
