//! Cards, names and rules that do not match each other: cards that the domain does not have,
//! addresses that no card has, names of software interfaces.

use super::super::place::tests::{card, cards, without};
use super::super::*;
use super::{INTERFACES, KERNEL, SYSTEMD, after, guest, kept, link, warnings};

const RULES: &str = "/etc/udev/rules.d/70-persistent-net.rules";
const ETC: &str = "/etc/x";

fn nothing(card: u8, name: &str) -> (u8, String, Keep) {
    (card, name.to_owned(), Keep::Nothing)
}

#[test]
fn a_card_that_is_left_out_keeps_its_name_from_the_others() {
    let text = "auto eth0 eth1\niface eth0 inet static\n  address 192.0.2.7/24\niface eth1 inet static\n  address 192.0.2.8/24\n";
    let files = [(Form::Ifupdown, INTERFACES, text)];
    let backup = guest(without(cards(&[192, 224]), 0), KERNEL, &files);
    assert_eq!(kept(&backup), [nothing(1, "eth0"), link(2, "eth1")]);
    assert!(warnings(&backup).is_empty());
    let last = guest(without(cards(&[192, 224]), 1), KERNEL, &files);
    assert_eq!(kept(&last), [nothing(1, "eth0"), nothing(2, "eth1")]);
    // Without udev the configuration follows the kernel.
    let alpine = Naming { links: false, renames_again: false, rules: false, ..KERNEL };
    let alpine = guest(without(cards(&[192, 224]), 0), alpine, &files);
    assert_eq!(kept(&alpine)[1], (2, "eth1".to_owned(), Keep::Impossible));
    // In the report it has no name on KVM, and no warning about its configuration.
    let row = &backup.rows()[0];
    assert_eq!(interface(row, &Keep::Nothing, None).after, None);
    let one = guest(
        without(cards(&[192, 224]), 1),
        SYSTEMD,
        &[(Form::Ifupdown, INTERFACES, "auto ens192\niface ens192 inet dhcp\n")],
    );
    assert!(warnings(&one).is_empty());
}

#[test]
fn devices_that_a_program_leaves_alone_are_no_cards() {
    let manager = "[keyfile]\nunmanaged-devices=interface-name:cali*;interface-name:vxlan.calico;interface-name:wireguard.cali;interface-name:dmz9\n";
    let text = "auto ens192\niface ens192 inet dhcp\n";
    let files = [
        (Form::Ifupdown, INTERFACES, text),
        (Form::NetworkManagerConf, "/etc/NetworkManager/conf.d/calico.conf", manager),
        (Form::DhcpcdConf, "/etc/dhcpcd.conf", "denyinterfaces dmz8\n"),
    ];
    let two = guest(cards(&[192, 224]), SYSTEMD, &files);
    assert_eq!(kept(&two), [link(1, "ens192"), nothing(2, "")]);
    assert_eq!(warnings(&two), ["guest-network-card-without-name"]);
    let one = guest(vec![card(1, None)], SYSTEMD, &files);
    assert_eq!(kept(&one), [link(1, "ens192")]);
}

#[test]
fn a_rule_counts_as_kept_only_where_it_will_match() {
    let text = "auto lan0\niface lan0 inet dhcp\n";
    let rules = |rule: &str| format!("SUBSYSTEM==\"net\", {rule}, NAME=\"lan0\"\n");
    for (rule, keep) in [
        ("ATTRS{vendor}==\"0x15ad\", ATTRS{device}==\"0x07b0\"", Keep::Nothing),
        ("ATTR{address}==\"00:50:56:aa:bb:01\"", Keep::Nothing),
        ("ATTR{address}==\"00:50:56:aa:bb:01\", ATTRS{serial}==\"1\"", Keep::Link),
        // It has never matched.
        ("ATTR{address}==\"00:50:56:AA:BB:01\"", Keep::Link),
    ] {
        let rules = rules(rule);
        let files = [(Form::Rules, RULES, rules.as_str()), (Form::Ifupdown, INTERFACES, text)];
        let known = guest(vec![card(1, None)], SYSTEMD, &files);
        assert_eq!(kept(&known), [(1, "lan0".to_owned(), keep)], "{rule}");
    }
    // A rule without effect takes the card from no other name.
    let dead = rules("ATTR{address}==\"00:50:56:AA:BB:01\"");
    let files = [
        (Form::Rules, RULES, dead.as_str()),
        (Form::Ifupdown, INTERFACES, "auto ens192\niface ens192 inet dhcp\n"),
    ];
    assert_eq!(kept(&guest(vec![card(1, None)], SYSTEMD, &files)), [link(1, "ens192")]);
}

#[test]
fn what_renames_without_udev_keeps_a_name_there() {
    let bare = Naming { links: false, renames_again: false, rules: false, kernel: true, ..SYSTEMD };
    let text = "auto lan0\niface lan0 inet dhcp\n";
    let renaming = format!("rename mac/00:50:56:aa:bb:01=lan0\n{text}");
    let table = (Form::Mactab, "/etc/mactab", "lan0 00:50:56:aa:bb:01\n");
    for (files, keep) in [
        (vec![table, (Form::Ifupdown, INTERFACES, text)], Keep::Nothing),
        (vec![(Form::Ifupdown, INTERFACES, renaming.as_str())], Keep::Nothing),
        (vec![(Form::Ifupdown, INTERFACES, text)], Keep::Impossible),
    ] {
        let guest = guest(vec![card(1, None)], bare, &files);
        assert_eq!(kept(&guest), [(1, "lan0".to_owned(), keep)], "{files:?}");
    }
}

/// FIX makes cloud-init leave the network unchanged, so nothing applies its `set-name` any more.
#[test]
fn a_name_that_cloud_init_sets_is_kept_by_a_link() {
    let text = "network:\n  version: 2\n  ethernets:\n    id0: {match: {macaddress: '00:50:56:aa:bb:01'}, set-name: lan0, dhcp4: true}\n";
    let path = "/etc/cloud/cloud.cfg.d/50-network.cfg";
    let guest = guest(vec![card(1, None)], SYSTEMD, &[(Form::CloudInit, path, text)]);
    assert_eq!(kept(&guest), [link(1, "lan0")]);
}

#[test]
fn a_place_or_a_label_in_a_rule_tells_the_card() {
    let text = "auto lan0 dmz0\niface lan0 inet dhcp\niface dmz0 inet dhcp\n";
    for (lan, dmz) in [
        ("ENV{ID_PATH_TAG}==\"pci-0000_0b_00_0\"", "ENV{ID_PATH_TAG}==\"pci-0000_13_00_0\""),
        ("DEVPATH==\"*:0b:00.0/*\"", "DEVPATH==\"*:13:00.0/*\""),
        ("ENV{ID_NET_NAME_MAC}==\"enx005056aabb01\"", "ENV{ID_NET_NAME_MAC}==\"enx005056aabb02\""),
        ("ENV{ID_NET_LABEL_ONBOARD}==\"Ethernet0\"", "ATTRS{label}==\"Ethernet1\""),
    ] {
        let rules = format!(
            "SUBSYSTEM==\"net\", {lan}, NAME=\"lan0\"\nSUBSYSTEM==\"net\", {dmz}, NAME=\"dmz0\"\n"
        );
        let files = [(Form::Rules, RULES, rules.as_str()), (Form::Ifupdown, INTERFACES, text)];
        let known = guest(cards(&[192, 224]), SYSTEMD, &files);
        assert_eq!(kept(&known), [nothing(1, "lan0"), nothing(2, "dmz0")], "{lan}");
    }
}

#[test]
fn a_rule_with_a_stale_address_is_mended_or_told() {
    let rule = |name: &str, mac: &str| {
        format!("SUBSYSTEM==\"net\", ATTR{{address}}==\"{mac}\", NAME=\"{name}\"\n")
    };
    let old = Naming { kernel: true, links: false, swaps: true, ..SYSTEMD };
    let one = rule("eth0", "00:0c:29:00:00:99");
    let alone = guest(vec![card(1, None)], old, &[(Form::Rules, RULES, &one)]);
    assert_eq!(kept(&alone), [nothing(1, "eth0")]);
    assert_eq!(after(&alone), one.replace("00:0c:29:00:00:99", "00:50:56:aa:bb:01"));
    assert!(warnings(&alone).is_empty());
    let two = one + &rule("eth1", "00:0c:29:00:00:98");
    let doubtful = guest(vec![card(1, None)], old, &[(Form::Rules, RULES, &two)]);
    assert_eq!(after(&doubtful), two);
    assert_eq!(warnings(&doubtful), ["guest-network-stale-mac"]);
}

/// A template's rule has never matched on the clone: a pattern matched the card under systemd's
/// name.
#[test]
fn a_stale_rule_takes_no_card_from_a_pattern() {
    let network = |pattern: &str| format!("[Match]\nName={pattern}\n[Network]\nDHCP=yes\n");
    for more in ["", ", DRIVERS==\"?*\""] {
        let rule = format!(
            "SUBSYSTEM==\"net\", ATTR{{address}}==\"00:50:56:00:00:99\"{more}, NAME=\"eth0\"\n"
        );
        for (pattern, name) in [("en*", ""), ("eth*", "eth0")] {
            let text = network(pattern);
            let files = [
                (Form::Rules, RULES, rule.as_str()),
                (Form::Network, "/etc/systemd/network/20-wired.network", text.as_str()),
            ];
            let clone = guest(cards(&[192]), SYSTEMD, &files);
            assert_eq!(kept(&clone), [nothing(1, name)], "{pattern} {rule}");
            let is_mended = after(&clone) != rule;
            assert_eq!(is_mended, pattern == "eth*", "{pattern} {rule}");
        }
    }
}

/// A card of a source without MAC addresses got one when the VM was read.
#[test]
fn a_made_address_reaches_what_keeps_the_name() {
    let mut made = card(1, Some(192));
    made.mac = "52:54:00:12:34:56".parse().ok();
    let profile = "[connection]\ntype=ethernet\ninterface-name=ens192\n[ethernet]\nmac-address=00:50:56:00:00:99\n";
    for (naming, words) in [
        (SYSTEMD, "MACAddress=52:54:00:12:34:56\n"),
        (Naming { links: false, ..SYSTEMD }, "ATTR{address}==\"52:54:00:12:34:56\""),
    ] {
        let guest = guest(vec![made.clone()], naming, &[(Form::Profile, ETC, profile)]);
        let row = &guest.rows()[0];
        let mac = row.mac.expect("made");
        let (_, text) = match pin::keep(&guest.rows(), naming, &guest.survey.taken)[0] {
            Keep::Link => pin::link(mac, "ens192", &guest.settings(0)),
            _ => (String::new(), pin::rule(mac, "ens192")),
        };
        assert!(text.contains(words), "{text}");
        assert!(after(&guest).contains("mac-address=52:54:00:12:34:56"), "{}", after(&guest));
    }
}

/// Names of older and other schemes are treated as any names.
#[test]
fn names_of_other_schemes_are_kept() {
    for name in ["em1", "p1p1", "lan0"] {
        for cards in [cards(&[192]), vec![card(1, None)]] {
            for (form, text) in [
                (Form::Ifupdown, format!("auto {name}\niface {name} inet dhcp\n")),
                (Form::Profile, format!("[connection]\ntype=ethernet\ninterface-name={name}\n")),
                (Form::Network, format!("[Match]\nName={name}\n[Network]\nDHCP=yes\n")),
                (Form::Netplan, format!("network: {{ethernets: {{{name}: {{dhcp4: true}}}}}}\n")),
            ] {
                let guest = guest(cards.clone(), SYSTEMD, &[(form, ETC, &text)]);
                assert_eq!(kept(&guest), [link(1, name)], "{text}");
                assert!(warnings(&guest).is_empty(), "{text}");
            }
        }
    }
}

#[test]
fn a_card_that_is_only_below_macvlans_is_kept_in_every_form() {
    let ifcfg = "DEVICE=mv0\nTYPE=macvlan\nMACVLAN_DEVICE=ens192\n";
    let suse = "BOOTPROTO='dhcp'\nMACVLAN_DEVICE='ens192'\n";
    let ifupdown = "auto mv0\niface mv0 inet dhcp\n  macvlan-raw-device ens192\n";
    let nm = "[connection]\ntype=macvlan\ninterface-name=mv0\n[macvlan]\nparent=ens192\n";
    let networkd = "[Match]\nName=ens192\n[Network]\nMACVLAN=mv0\n";
    for (form, path, text) in [
        (Form::Ifcfg, "/etc/sysconfig/network-scripts/ifcfg-mv0", ifcfg),
        (Form::Ifcfg, "/etc/sysconfig/network/ifcfg-mv0", suse),
        (Form::Ifupdown, INTERFACES, ifupdown),
        (Form::Profile, ETC, nm),
        (Form::Network, ETC, networkd),
    ] {
        for cards in [cards(&[192]), vec![card(1, None)]] {
            let guest = guest(cards, SYSTEMD, &[(form, path, text)]);
            assert_eq!(kept(&guest), [link(1, "ens192")], "{text}");
            assert!(warnings(&guest).is_empty(), "{text}");
        }
    }
}

/// Bond over two cards, a VLAN on the bond, and a bridge over a third card.
#[test]
fn bonds_vlans_and_bridges_keep_their_cards_in_every_form() {
    let netplan = "network: {bonds: {bond0: {interfaces: [ens192, ens224]}}, vlans: {v100: {id: 100, link: bond0}}, bridges: {br0: {interfaces: [ens256]}}}\n";
    let nmstate = "interfaces:\n- {name: bond0, type: bond, link-aggregation: {mode: active-backup, port: [ens192, ens224]}}\n- {name: v100, type: vlan, vlan: {base-iface: bond0, id: 100}}\n- {name: br0, type: linux-bridge, bridge: {port: [{name: ens256}]}}\n";
    let port = |name: &str, of: &str| format!("[Match]\nName={name}\n[Network]\n{of}\n");
    let (bond, bridge) = (port("ens192 ens224", "Bond=bond0"), port("ens256", "Bridge=br0"));
    let vlan = port("bond0", "VLAN=v100");
    let right = [link(1, "ens192"), link(2, "ens224"), link(3, "ens256")];
    for files in [
        vec![(Form::Netplan, ETC, netplan)],
        vec![(Form::Nmstate, ETC, nmstate)],
        vec![
            (Form::Network, "/etc/systemd/network/1.network", bond.as_str()),
            (Form::Network, "/etc/systemd/network/2.network", bridge.as_str()),
            (Form::Network, "/etc/systemd/network/3.network", vlan.as_str()),
        ],
    ] {
        let guest = guest(cards(&[192, 224, 256]), SYSTEMD, &files);
        assert_eq!(kept(&guest), right, "{files:?}");
        assert!(warnings(&guest).is_empty(), "{files:?}");
    }
}
