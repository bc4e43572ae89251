//! Changes of names and addresses in the guest's own files.

use super::super::super::edits::edited;
use super::super::assign::assign;
use super::super::forms::read;
use super::super::place::tests::{card, cards};
use super::*;

const OLD: &str = "00:50:56:00:00:99";
const NEW: &str = "00:50:56:aa:bb:01";

/// The text after the edits, and the decisions.
fn run(form: Form, text: &str, cards: &[Card], renames: &[(&str, &str)]) -> (String, Mended) {
    let path = match form {
        Form::Ifcfg => "/etc/sysconfig/network-scripts/ifcfg-x",
        _ => "/etc/x",
    };
    let file = Text { form, path: path.to_owned(), text: text.to_owned() };
    let says = read(&[&file]);
    let survey = Survey::of(&says, cards);
    let assigned = assign(&survey, cards, false);
    let renames = renames.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let known = KnownGuest {
        cards,
        survey: &survey,
        assigned: &assigned,
        by_name: &assigned.by_name(&survey),
        renames: &renames,
        hwaddr: &BTreeMap::new(),
    };
    let mended = mend(&file, &says[0], &known);
    (edited(text, &mended.edits), mended)
}

#[test]
fn a_stale_address_becomes_the_cards() {
    for (form, text) in [
        (
            Form::Profile,
            format!(
                "[connection]\ntype=ethernet\ninterface-name=ens192\n[ethernet]\nmac-address={OLD}\n"
            ),
        ),
        (Form::Profile, format!("[connection]\ntype=ethernet\n[ethernet]\nmac-address={OLD}\n")),
        (Form::Ifcfg, format!("DEVICE=ens192\nHWADDR=\"{OLD}\"\n")),
        (
            Form::Netplan,
            format!(
                "network: {{ethernets: {{ens192: {{match: {{macaddress: \"{OLD}\"}}, set-name: ens192}}}}}}\n"
            ),
        ),
        (
            Form::Netplan,
            format!(
                "network:\n  ethernets:\n    lan:\n      match:\n        macaddress: '{OLD}'\n"
            ),
        ),
        (Form::Network, format!("[Match]\nMACAddress={OLD}\n[Network]\nDHCP=yes\n")),
        (Form::Link, format!("[Match]\nMACAddress={OLD}\n[Link]\nName=lan0\n")),
        (Form::CommandLine, format!("linux /vmlinuz ifname=lan0:{OLD} ip=lan0:dhcp quiet\n")),
    ] {
        let (after, mended) = run(form, &text, &cards(&[192]), &[]);
        let quotes = if text.contains('\'') { text.replace('\'', "\"") } else { text.clone() };
        assert_eq!(after, quotes.replace(OLD, NEW), "{text}");
        assert!(!mended.stale.is_empty() && mended.unknown.is_empty(), "{mended:?}");
    }
}

#[test]
fn a_rule_alone_may_be_for_a_card_that_is_gone() {
    let text = format!("[Match]\nMACAddress={OLD}\n[Link]\nName=lan0\n");
    let (after, mended) = run(Form::Link, &text, &cards(&[192, 224]), &[]);
    assert_eq!((after, mended), (text, Mended::default()));
}

#[test]
fn addresses_that_are_set_stay() {
    for (form, text) in [
        (
            Form::Profile,
            format!(
                "[connection]\ntype=ethernet\ninterface-name=ens192\n[ethernet]\ncloned-mac-address={OLD}\n"
            ),
        ),
        (Form::Ifcfg, format!("DEVICE=ens192\nMACADDR={OLD}\n")),
        (Form::Netplan, format!("network: {{ethernets: {{ens192: {{macaddress: \"{OLD}\"}}}}}}\n")),
        (Form::Network, format!("[Match]\nName=ens192\n[Link]\nMACAddress={OLD}\n")),
        (Form::Ifupdown, format!("iface ens192 inet dhcp\n  hwaddress ether {OLD}\n")),
    ] {
        let (after, mended) = run(form, &text, &cards(&[192]), &[]);
        assert_eq!((after, mended), (text.clone(), Mended::default()), "{text}");
    }
}

#[test]
fn a_stale_address_that_nobody_knows_the_card_of_stays_and_is_told() {
    let text = format!("[connection]\ntype=ethernet\n[ethernet]\nmac-address={OLD}\n");
    let (after, mended) = run(Form::Profile, &text, &cards(&[192, 224]), &[]);
    assert_eq!((after, mended.unknown.len(), mended.stale.len()), (text, 1, 0));
}

#[test]
fn each_of_several_addresses_becomes_that_of_the_card_that_had_it() {
    let two = "[Match]\nMACAddress=00:50:56:00:00:01 00:50:56:00:00:02\n[Network]\nBond=b\n";
    let mut cards = cards(&[192, 224]);
    cards[0].source_mac = "00:50:56:00:00:01".parse().ok();
    let (after, mended) = run(Form::Network, two, &cards, &[]);
    assert_eq!(after, two.replacen("00:50:56:00:00:01", NEW, 1));
    assert_eq!((mended.stale.len(), mended.unknown.len()), (1, 1), "the other is told");
    cards[1].source_mac = "00:50:56:00:00:02".parse().ok();
    let (after, mended) = run(Form::Network, two, &cards, &[]);
    assert_eq!(after, two.replace("56:00:00:0", "56:aa:bb:0"));
    assert_eq!((mended.stale.len(), mended.unknown.len()), (2, 0));
    // One of them still belongs to a card.
    let mixed = two.replace("00:50:56:00:00:01", NEW);
    let (after, mended) = run(Form::Network, &mixed, &cards, &[]);
    assert_eq!(after, two.replace("56:00:00:0", "56:aa:bb:0"));
    assert_eq!((mended.stale.len(), mended.unknown.len()), (1, 0));
}

#[test]
fn selections_by_hardware_become_selections_by_address() {
    let two = cards(&[192, 224]);
    for (form, text, right) in [
        (
            Form::Network,
            "[Match]\nPath=pci-0000:13:00.0\n[Network]\nDHCP=yes\n",
            "[Match]\nMACAddress=00:50:56:aa:bb:02\nPath=*pci-*\n[Network]\nDHCP=yes\n",
        ),
        (
            Form::Network,
            "[Match]\nDriver=vmxnet3\n[Network]\nDHCP=yes\n",
            "[Match]\nMACAddress=00:50:56:aa:bb:01 00:50:56:aa:bb:02\nPath=*pci-*\n[Network]\nDHCP=yes\n",
        ),
        (
            Form::Network,
            "[Match]\nName=ens192\nDriver=vmxnet3\nVirtualization=vmware\n[Network]\nDHCP=yes\n",
            "[Match]\nName=ens192\nPath=*pci-*\nVirtualization=vm\n[Network]\nDHCP=yes\n",
        ),
        (
            Form::Netplan,
            "network:\n  ethernets:\n    lan:\n      match:\n        driver: vmxnet3\n        name: ens224\n",
            "network:\n  ethernets:\n    lan:\n      match:\n        name: ens224\n",
        ),
        (
            Form::Netplan,
            "network: {ethernets: {lan: {match: {name: ens224}, set-name: lan0}}}\n",
            "network: {ethernets: {lan: {match: {macaddress: \"00:50:56:aa:bb:02\"}, set-name: lan0}}}\n",
        ),
        (
            Form::Profile,
            "[connection]\ntype=ethernet\n[match]\npath=pci-0000:0b:00.0;\n[ipv4]\nmethod=auto\n",
            "[connection]\ntype=ethernet\n[match]\n[ipv4]\nmethod=auto\n\n[ethernet]\nmac-address=00:50:56:aa:bb:01\n",
        ),
        (
            Form::Rules,
            "SUBSYSTEM==\"net\",KERNELS==\"0000:0b:00.0\",NAME=\"lan0\"\n",
            "SUBSYSTEM==\"net\",ATTR{address}==\"00:50:56:aa:bb:01\", DRIVERS==\"?*\",NAME=\"lan0\"\n",
        ),
        (
            Form::Rules,
            "ATTRS{vendor}==\"0x15ad\", ATTRS{device}==\"0x07b0\", ENV{ID_PATH_TAG}==\"pci-0000_13_00_0\", NAME=\"lan0\"\n",
            "ATTR{address}==\"00:50:56:aa:bb:02\", DRIVERS==\"?*\", DRIVERS==\"?*\", DRIVERS==\"?*\", NAME=\"lan0\"\n",
        ),
        (
            Form::Rules,
            "DRIVERS==\"vmxnet3\", KERNELS==\"0000:13:00.0\", NAME=\"lan0\"\n",
            "ATTR{address}==\"00:50:56:aa:bb:02\", DRIVERS==\"?*\", DRIVERS==\"?*\", NAME=\"lan0\"\n",
        ),
        (
            Form::Network,
            "[Match]\nDriver=vmxnet3\nPath=pci-0000:13:00.0\n[Network]\nDHCP=yes\n",
            "[Match]\nMACAddress=00:50:56:aa:bb:02\nPath=*pci-*\nPath=*pci-*\n[Network]\nDHCP=yes\n",
        ),
        (
            Form::Link,
            "[Match]\nPath=pci-0000:0b:00.0\nDriver=vmxnet3\n[Link]\nName=lan0\n",
            "[Match]\nMACAddress=00:50:56:aa:bb:01\nPath=*pci-*\nPath=*pci-*\n[Link]\nName=lan0\n",
        ),
    ] {
        let (after, mended) = run(form, text, &two, &[]);
        assert_eq!((after.as_str(), mended.lost.len()), (right, 0), "{text}");
    }
}

#[test]
fn selections_that_cannot_be_helped_are_told() {
    let unknown = [card(1, None), card(2, None)];
    for (form, text, words) in [
        (Form::Network, "[Match]\nPath=pci-0000:0b:00.0\n", "Path=pci-0000:0b:00.0"),
        (
            Form::Netplan,
            "network: {ethernets: {a: {match: {driver: vmxnet3}}}}\n",
            "driver: vmxnet3",
        ),
        (Form::Rules, "KERNELS==\"0000:0b:00.0\", NAME=\"lan0\"\n", "KERNELS==\"0000:0b:00.0\""),
    ] {
        let (after, mended) = run(form, text, &unknown, &[]);
        assert_eq!((after.as_str(), mended.lost.as_slice()), (text, &[words.to_owned()][..]));
    }
    let holds = "network: {ethernets: {a: {match: {driver: virtio_net}}}}\n";
    assert_eq!(run(Form::Netplan, holds, &unknown, &[]).1, Mended::default());
}

#[test]
fn names_change_wherever_they_stand() {
    let two = cards(&[192, 224]);
    for (form, text, right) in [
        (
            Form::Ifupdown,
            "auto eth0 eth0.5\niface eth0 inet dhcp\niface br0 inet dhcp\n  bridge_ports eth0 eth1\n",
            "auto net0 net0.5\niface net0 inet dhcp\niface br0 inet dhcp\n  bridge_ports net0 eth1\n",
        ),
        (
            Form::Netplan,
            "network: {ethernets: {\"eth0\": {}}, vlans: {v: {link: eth0, id: 5}}}\n",
            "network: {ethernets: {\"net0\": {}}, vlans: {v: {link: net0, id: 5}}}\n",
        ),
        (
            Form::Network,
            "[Match]\nName=eth1 eth0\n[Network]\nBond=b\n",
            "[Match]\nName=eth1 net0\n[Network]\nBond=b\n",
        ),
        (Form::Ifcfg, "DEVICE='eth0'\nNAME=eth0\n", "DEVICE='net0'\nNAME=eth0\n"),
        (
            Form::Rules,
            "ATTR{address}==\"00:50:56:aa:bb:01\", NAME=\"eth0\"\n",
            "ATTR{address}==\"00:50:56:aa:bb:01\", NAME=\"net0\"\n",
        ),
    ] {
        assert_eq!(run(form, text, &two, &[("eth0", "net0")]).0, right);
    }
    // Both at once.
    let both = "iface eth0 inet dhcp\niface eth1 inet dhcp\n";
    let swapped = run(Form::Ifupdown, both, &two, &[("eth0", "eth1"), ("eth1", "eth0")]).0;
    assert_eq!(swapped, "iface eth1 inet dhcp\niface eth0 inet dhcp\n");
}
