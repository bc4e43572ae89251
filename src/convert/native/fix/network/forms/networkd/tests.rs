//! Readings of networkd's files.

use super::super::super::place::tests::cards;
use super::*;

fn network(text: &str) -> Says {
    super::network(text, &[])
}

fn link(text: &str) -> Says {
    super::link(text, &[])
}

fn settings(text: &str, cards: &[Card], card: usize) -> Option<Vec<String>> {
    super::settings(text, &[], cards, card)
}

fn names(claim: &NameClaim) -> Vec<&str> {
    claim.names.iter().map(|name| name.value.as_str()).collect()
}

#[test]
fn lists_of_names_are_names() {
    let says = network("[Match]\nName=ens192 ens224\n[Network]\nBond=bond0\n");
    assert_eq!(names(&says.claims[0]), ["ens192", "ens224"]);
    assert_eq!(says.makes, ["bond0"]);
}

#[test]
fn only_the_match_identifies() {
    let text = "[Match]\nMACAddress=00:50:56:aa:bb:01 00-50-56-AA-BB-02\n[Link]\nMACAddress=02:00:00:00:00:77\n\
                MTUBytes=9000\n[Network]\nDHCP=ipv4\n[Address]\nAddress=192.0.2.7/24\n[Address]\nAddress=192.0.2.8/24\n";
    let says = network(text);
    let macs: Vec<_> = says.claims[0].macs.iter().map(|spot| spot.mac.to_string()).collect();
    assert_eq!(macs, ["00:50:56:aa:bb:01", "00:50:56:aa:bb:02"]);
    assert_eq!(says.claims[0].addresses, ["dhcp", "192.0.2.7/24", "192.0.2.8/24"]);
}

#[test]
fn patterns_negations_and_resets_are_no_names() {
    let says = network("[Match]\nName=en* eth0\n[Network]\nDHCP=yes\n");
    assert_eq!((names(&says.claims[0]), says.claims[0].patterns.len()), (vec!["eth0"], 1));
    let says = network("[Match]\nName=!ens192 ens224\n[Network]\nDHCP=no\n");
    assert!(says.claims[0].names.is_empty() && says.claims[0].addresses.is_empty());
    assert_eq!(says.claims[0].patterns, ["!ens192", "!ens224"]);
    let says = network("[Match]\nName=ens192\nName=\nName=ens224\n[Network]\nDHCP=true\n");
    assert_eq!(names(&says.claims[0]), ["ens224"]);
    assert!(network("[Network]\nDHCP=yes\n").claims.is_empty(), "a drop-in without a match");
}

#[test]
fn interfaces_that_are_made_are_told() {
    assert_eq!(netdev("[NetDev]\nName=bond0\nKind=bond\n").makes, ["bond0"]);
    assert_eq!(netdev("[NetDev]\nName=a\nKind=veth\n[Peer]\nName=b\n").makes, ["a", "b"]);
    let says = network("[Match]\nName=storage\nKind=vlan\n[Network]\nAddress=192.0.2.1/24\n");
    assert_eq!(says.makes, ["storage"]);
    let says = network("[Match]\nName=lan0\n[Network]\nVLAN=v10 v20\nMACVLAN=mv\nBridge=br0\n");
    assert_eq!(says.makes, ["v10", "v20", "mv", "br0"]);
}

#[test]
fn a_negated_list_of_types_or_kinds_takes_cards() {
    for line in ["Type=!loopback bridge", "Kind=!bond vlan", "Type=ether wlan", "Type=!wlan"] {
        let says = network(&format!("[Match]\nName=ens192\n{line}\n[Network]\nDHCP=yes\n"));
        assert_eq!((names(&says.claims[0]), says.makes.len()), (vec!["ens192"], 0), "{line}");
    }
    for line in ["Type=loopback", "Kind=bond vlan", "Type=!ether", "Type=wlan", "SSID=home"] {
        let says = network(&format!("[Match]\nName=lan *\n{line}\n[Network]\nDHCP=yes\n"));
        assert_eq!((says.claims.len(), says.makes.as_slice()), (0, &["lan".to_owned()][..]));
    }
}

#[test]
fn drop_ins_change_what_their_file_says() {
    let main = "[Match]\nName=eth0\n[Network]\nDHCP=no\n";
    let says = super::network(main, &["[Match]\nName=\nName=ens192\n"]);
    assert_eq!(names(&says.claims[0]), ["ens192"]);
    assert_eq!(says.claims[0].names[0].at, NOWHERE, "another file is edited");
    let says = super::network(main, &["[Network]\nAddress=192.0.2.7/24\nVLAN=v5\n"]);
    assert_eq!(names(&says.claims[0]), ["eth0"]);
    assert_eq!(
        (says.claims[0].addresses.len(), says.makes.as_slice()),
        (1, &["v5".to_owned()][..])
    );
    let says = super::link("[Match]\nKind=bond\n[Link]\nName=lan0\n", &[]);
    assert_eq!((says.claims.len(), says.makes.len()), (0, 1));
    let says = super::link("[Match]\nPath=pci-0000:0b:00.0\n", &["[Link]\nName=lan0\n"]);
    assert_eq!((names(&says.claims[0]), says.claims[0].hardware.len()), (vec!["lan0"], 1));
}

#[test]
fn a_card_that_is_left_down_is_told() {
    for line in ["ActivationPolicy=manual", "ActivationPolicy=always-down", "Unmanaged=yes"] {
        assert!(network(&format!("[Match]\nName=ens33\n[Link]\n{line}\n")).claims[0].is_idle);
    }
    let up = "[Match]\nName=ens33\n[Link]\nActivationPolicy=up\nUnmanaged=no\n";
    assert!(!network(up).claims[0].is_idle);
}

#[test]
fn properties_of_udev_select_a_card() {
    let says = network("[Match]\nProperty=ID_PATH=pci-0000:0b:00.0\n[Network]\nDHCP=yes\n");
    let path = &says.claims[0].hardware[0];
    assert_eq!((path.by, path.instead.len()), (By::Path, 1));
    let two = network("[Match]\nProperty=ID_PATH=pci-0000:0b:00.0 ID_BUS=pci\n");
    assert!(two.claims[0].hardware[0].instead.is_empty());
}

#[test]
fn selections_by_hardware_have_another_way() {
    let text = "[Match]\nPath=pci-0000:0b:00.0\nDriver=vmxnet3\n[Network]\nDHCP=yes\n";
    let says = network(text);
    let [path, driver] = says.claims[0].hardware.as_slice() else { panic!("{says:?}") };
    assert_eq!((path.by, driver.by), (By::Path, By::Driver));
    assert_eq!(path.instead, [Edit::new(8..30, "MACAddress={mac}\nPath=*pci-*\n")]);
    assert_eq!(driver.without, [Edit::new(30..45, "Path=*pci-*\n")]);
    assert_eq!(driver.words, "Driver=vmxnet3");
}

#[test]
fn settings_without_a_name_are_of_the_cards_that_match() {
    let two = cards(&[192, 224]);
    let text = "[Match]\nMACAddress=00:50:56:aa:bb:01\n[Link]\nWakeOnLan=magic\nNamePolicy=path\n";
    assert_eq!(settings(text, &two, 0), Some(vec!["WakeOnLan=magic".to_owned()]));
    assert_eq!(settings(text, &two, 1), None);
    let all = "[Match]\nOriginalName=*\n[Link]\nMTUBytes=9000\n";
    assert_eq!(settings(all, &two, 1), Some(vec!["MTUBytes=9000".to_owned()]));
    assert_eq!(settings("[Match]\nDriver=e1000\n[Link]\nMTUBytes=9000\n", &two, 1), None);
    assert_eq!(settings("[Match]\nOriginalName=*\n[Link]\nName=x\n", &two, 1), None);
    for line in ["Kind=bridge bond team", "Type=wlan", "Property=ID_X=1"] {
        let text = format!("[Match]\n{line}\n[Link]\nMACAddressPolicy=none\n");
        assert_eq!(settings(&text, &two, 0), None, "{line}");
    }
    let more = super::settings(all, &["[Link]\nWakeOnLan=magic\n"], &two, 0);
    assert_eq!(more.map(|lines| lines.len()), Some(2));
}

#[test]
fn a_link_names_a_card() {
    let says = link(
        "[Match]\nMACAddress=00:50:56:aa:bb:01\n[Link]\nName=lan0\nMACAddress=02:00:00:00:00:77\n",
    );
    assert_eq!((names(&says.claims[0]), says.claims[0].role), (vec!["lan0"], ClaimRole::Renames));
    assert_eq!(says.claims[0].macs.len(), 1);
    let says = link("[Match]\nPath=pci-0000:0b:00.0\n\n[Link]\nName=lan0\n");
    assert_eq!(says.claims[0].hardware[0].by, By::Path);
    assert!(link("[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep kernel\n").claims.is_empty());
}
