//! Guests whose configuration selects cards without naming one.

use super::super::place::tests::{card, cards};
use super::super::*;
use super::{INTERFACES, KERNEL, SYSTEMD, after, guest, kept, link, warnings};

const NETWORK: &str = "/etc/systemd/network/20-wired.network";
const PROFILE: &str = "/etc/NetworkManager/system-connections/wired.nmconnection";

fn nothing(card: u8) -> (u8, String, Keep) {
    (card, String::new(), Keep::Nothing)
}

#[test]
fn what_else_a_pattern_demands_does_not_make_it_take_any_name() {
    let netplan = "network: {ethernets: {a: {match: {name: 'ens*', driver: '*'}, dhcp4: true}}}\n";
    for (form, text) in [
        (Form::Network, "[Match]\nName=ens*\nType=ether\n[Network]\nDHCP=yes\n"),
        (Form::Network, "[Match]\nName=ens*\nPath=pci-*\n[Network]\nDHCP=yes\n"),
        (Form::Network, "[Match]\nName=ens*\nDriver=*\n[Network]\nDHCP=yes\n"),
        (Form::Netplan, netplan),
    ] {
        let slotted = guest(cards(&[192]), SYSTEMD, &[(form, NETWORK, text)]);
        assert_eq!(kept(&slotted), [link(1, "ens192")], "{text}");
        let unknown = guest(vec![card(1, None)], SYSTEMD, &[(form, NETWORK, text)]);
        assert_eq!(kept(&unknown), [link(1, "ens192")], "{text}");
    }
    let any = "[Match]\nType=ether\n[Network]\nDHCP=yes\n";
    assert_eq!(
        kept(&guest(cards(&[192]), SYSTEMD, &[(Form::Network, NETWORK, any)])),
        [nothing(1)]
    );
}

#[test]
fn a_configured_name_without_a_card_is_told_beside_one_that_takes_any_card() {
    let one = "[Match]\nName=ens224\n[Network]\nAddress=192.0.2.7/24\n";
    let any = "[Match]\nName=en*\n[Network]\nDHCP=yes\n";
    let files = [
        (Form::Network, "/etc/systemd/network/10-static.network", one),
        (Form::Network, NETWORK, any),
    ];
    let unknown = guest(vec![card(1, None), card(2, None)], SYSTEMD, &files);
    assert_eq!(warnings(&unknown), ["guest-network-name-without-card"]);
    assert!(warnings(&guest(cards(&[192, 224]), SYSTEMD, &files)).is_empty());
    let named = "[connection]\ntype=ethernet\ninterface-name=lan0\n[ipv4]\nmethod=auto\n";
    let any = "[connection]\ntype=ethernet\n[ipv4]\nmethod=auto\n";
    let files = [(Form::Profile, "/a", named), (Form::Profile, PROFILE, any)];
    let slotted = guest(cards(&[192, 224]), SYSTEMD, &files);
    assert_eq!(warnings(&slotted), ["guest-network-name-without-card"]);
    // The configuration of a removed card stays down.
    let idle = named.replace("type=", "autoconnect=false\ntype=");
    let files = [(Form::Profile, "/a", idle.as_str()), (Form::Profile, PROFILE, any)];
    assert!(warnings(&guest(cards(&[192, 224]), SYSTEMD, &files)).is_empty());
}

#[test]
fn the_first_file_of_networkd_that_takes_a_card_is_its_only_one() {
    let by_name = "[Match]\nName=ens192\n[Network]\nAddress=192.0.2.7/24\n";
    let by_mac = "[Match]\nMACAddress=00:50:56:aa:bb:01\n[Network]\nAddress=192.0.2.7/24\n";
    let all = "[Match]\nDriver=vmxnet3\n[Network]\nDHCP=yes\n";
    let later = "[Match]\nDriver=vmx*\n[Network]\nAddress=192.0.2.99/24\n";
    let file = |name: &str| format!("/etc/systemd/network/{name}.network");
    for one in [by_name, by_mac] {
        for (name, first) in
            [("10-static", vec!["192.0.2.7/24"]), ("95-x", vec!["192.0.2.7/24", "dhcp"])]
        {
            let files = [
                (Form::Network, &*file("90-any"), all),
                (Form::Network, &*file(name), one),
                (Form::Network, &*file("99-last"), later),
            ];
            let guest = guest(cards(&[192, 224]), SYSTEMD, &files);
            let rows = guest.rows();
            assert_eq!(rows[0].addresses, first, "{one}{name}");
            assert_eq!(rows[1].addresses, ["dhcp"], "{one}{name}");
        }
    }
}

#[test]
fn a_vlan_on_the_address_of_a_card_is_of_that_card() {
    let vlan =
        "[connection]\ntype=vlan\ninterface-name=dmz\n[vlan]\nid=5\nparent=00:50:56:AA:BB:01\n";
    let files = [(Form::Profile, PROFILE, vlan)];
    assert!(warnings(&guest(cards(&[192]), SYSTEMD, &files)).is_empty());
}

#[test]
fn drivers_of_software_select_no_card() {
    let link = "/usr/lib/systemd/network/98-net-bonding.link";
    for driver in [
        "bonding",
        "bridge bonding",
        "team",
        "veth*",
        "802.1Q*",
        "wireguard",
        "\"802.1Q VLAN Support\"",
    ] {
        let text = format!("[Match]\nDriver={driver}\n[Link]\nNamePolicy=keep\n");
        for (form, path) in [(Form::Link, link), (Form::Network, NETWORK)] {
            let guest = guest(cards(&[192]), SYSTEMD, &[(form, path, &text)]);
            let rows = guest.rows();
            let keeps = pin::keep(&rows, guest.naming, &guest.survey.taken);
            let mended = guest.mend(&rows, &keeps);
            assert!(mended[0].lost.is_empty() && mended[0].edits.is_empty(), "{text}{mended:?}");
        }
    }
    let netplan = "network: {ethernets: {a: {match: {driver: bonding}, dhcp4: true}}}\n";
    let guest = guest(cards(&[192]), SYSTEMD, &[(Form::Netplan, "/etc/netplan/a.yaml", netplan)]);
    let rows = guest.rows();
    let mended = guest.mend(&rows, &pin::keep(&rows, guest.naming, &guest.survey.taken));
    assert!(mended[0].lost.is_empty(), "{mended:?}");
}

#[test]
fn a_negation_selects_nothing_by_itself() {
    let text =
        "[connection]\ntype=ethernet\n[match]\ninterface-name=ens*;!ens224;\n[ipv4]\nmethod=auto\n";
    let files = [(Form::Profile, PROFILE, text)];
    // The other card keeps the name that excludes it.
    let two = guest(cards(&[192, 224]), SYSTEMD, &files);
    assert_eq!(kept(&two)[0], link(1, "ens192"));
    assert_eq!(kept(&guest(vec![card(1, None)], SYSTEMD, &files)), [link(1, "ens192")]);
    let others = "[Match]\nName=!ens224\n[Network]\nDHCP=yes\n";
    let two = guest(cards(&[192, 224]), SYSTEMD, &[(Form::Network, NETWORK, others)]);
    assert_eq!(kept(&two), [nothing(1), link(2, "ens224")]);
}

#[test]
fn marks_of_network_managers_matches_are_no_names() {
    let profile = |names: &str| {
        format!(
            "[connection]\ntype=ethernet\n[match]\ninterface-name={names}\n[ipv4]\nmethod=auto\n"
        )
    };
    for (names, count) in [("|ens192;|ens224;", 2), ("&ens192;", 1), ("&ens*;", 1), ("|ens1*", 1)] {
        let text = profile(names);
        let guest = guest(cards(&[192, 224][..count]), SYSTEMD, &[(Form::Profile, PROFILE, &text)]);
        let right = [link(1, "ens192"), link(2, "ens224")];
        assert_eq!(kept(&guest), right[..count], "{names}");
    }
}

#[test]
fn a_pattern_beside_a_driver_needs_a_name_once_the_driver_is_an_address() {
    let netplan =
        "network: {ethernets: {a: {match: {driver: vmxnet3, name: 'ens*'}, dhcp4: true}}}\n";
    for (form, text) in [
        (Form::Network, "[Match]\nName=ens*\nDriver=vmxnet3\n[Network]\nDHCP=yes\n"),
        (Form::Network, "[Match]\nName=ens*\nVirtualization=vmware\n[Network]\nDHCP=yes\n"),
        (Form::Network, "[Match]\nName=ens*\nMACAddress=00:50:56:aa:bb:01\n[Network]\nDHCP=yes\n"),
        (Form::Netplan, netplan),
    ] {
        let guest = guest(vec![card(1, None)], SYSTEMD, &[(form, NETWORK, text)]);
        assert_eq!(kept(&guest), [link(1, "ens192")], "{text}");
        let after = after(&guest);
        assert!(!after.contains("vmxnet3") && !after.contains("vmware"), "{after}");
    }
}

#[test]
fn the_kernels_names_fit_patterns_of_their_own() {
    let text = "auto /eth*\niface eth0 inet dhcp\n";
    let guest = guest(cards(&[192]), KERNEL, &[(Form::Ifupdown, INTERFACES, text)]);
    assert_eq!(kept(&guest), [(1, "eth0".to_owned(), Keep::Nothing)]);
}
