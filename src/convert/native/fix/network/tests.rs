//! Realistic guests, from their files to the decisions.

mod selections;
mod stray;

use super::place::tests::{card, cards};
use super::*;

const SYSTEMD: Naming = Naming {
    kernel: false,
    links: true,
    renames_again: true,
    rules: true,
    swaps: false,
    by_ifcfg: false,
};
const KERNEL: Naming = Naming { kernel: true, ..SYSTEMD };

fn guest(cards: Vec<Card>, naming: Naming, files: &[(Form, &str, &str)]) -> NetworkContext {
    let found = |(form, path, text): &(Form, &str, &str)| NetworkFile {
        text: Text { form: *form, path: (*path).to_owned(), text: (*text).to_owned() },
        is_editable: true,
    };
    NetworkContext::new(cards, files.iter().map(found).collect(), naming)
}

/// The last byte of each card's MAC address, its name, and what keeps the name.
fn kept(guest: &NetworkContext) -> Vec<(u8, String, Keep)> {
    let rows = guest.rows();
    let keeps = pin::keep(&rows, guest.naming, &guest.survey.taken);
    let rows = rows.into_iter().zip(keeps);
    rows.map(|(row, keep)| {
        let last = row.mac.map_or(0, |mac| mac.0[5]);
        (last, row.name.unwrap_or_default(), keep)
    })
    .collect()
}

fn link(card: u8, name: &str) -> (u8, String, Keep) {
    (card, name.to_owned(), Keep::Link)
}

/// The codes of the warnings, without those of single files.
fn warnings(guest: &NetworkContext) -> Vec<String> {
    let progress = crate::progress::Progress::new(|_| {});
    let mut report = FixReport::new(&progress);
    let rows = guest.rows();
    tell::doubts(guest, &rows, &mut report);
    report.warnings.into_iter().map(|warning| warning.code.to_string()).collect()
}

/// The text of a guest's only file after all edits.
fn after(guest: &NetworkContext) -> String {
    let rows = guest.rows();
    let keeps = pin::keep(&rows, guest.naming, &guest.survey.taken);
    let mended = guest.mend(&rows, &keeps);
    edited(&guest.files[0].text.text, &mended[0].edits)
}

const NETPLAN: &str = "/etc/netplan/01-netcfg.yaml";
const INTERFACES: &str = "/etc/network/interfaces";

#[test]
fn netplan_with_an_id_and_a_name_to_match() {
    let text = "network:\n  version: 2\n  renderer: networkd\n  ethernets:\n    lan:\n      match:\n        name: ens192\n      addresses: [192.168.122.79/24]\n    ens224: {}\n  vlans:\n    storage:\n      id: 30\n      link: ens224\n      addresses: [10.30.0.9/24]\n";
    let files = [(Form::Netplan, NETPLAN, text)];
    let known = guest(cards(&[192, 224]), SYSTEMD, &files);
    assert_eq!(kept(&known), [link(1, "ens192"), link(2, "ens224")]);
    assert!(warnings(&known).is_empty());
    let swapped = guest(cards(&[224, 192]), SYSTEMD, &files);
    assert_eq!(kept(&swapped), [link(1, "ens224"), link(2, "ens192")]);
    // Without slots, both names are known and their order is reported.
    let unknown = guest(vec![card(1, None), card(2, None)], SYSTEMD, &files);
    assert_eq!(kept(&unknown), [link(1, "ens192"), link(2, "ens224")]);
    assert_eq!(warnings(&unknown), ["guest-network-by-order"]);
    // There is one card more than names: no name is assigned by order.
    let more = guest(vec![card(1, None), card(2, None), card(3, None)], SYSTEMD, &files);
    assert!(kept(&more).iter().all(|(_, name, _)| name.is_empty()));
    assert_eq!(
        warnings(&more),
        [&["guest-network-card-without-name"; 3][..], &["guest-network-name-without-card"]]
            .concat()
    );
}

#[test]
fn a_card_that_is_named_only_as_a_parent() {
    let vlan = "[connection]\nid=vlan100\ntype=vlan\ninterface-name=vlan100\n[vlan]\nid=100\nparent=ens192\n[ipv4]\nmethod=manual\naddress1=10.100.0.7/24,10.100.0.1\n";
    let path = "/etc/NetworkManager/system-connections/vlan100.nmconnection";
    for cards in [cards(&[192]), vec![card(1, None)]] {
        let guest = guest(cards, SYSTEMD, &[(Form::Profile, path, vlan)]);
        assert_eq!(kept(&guest), [link(1, "ens192")]);
        assert!(warnings(&guest).is_empty());
    }
}

#[test]
fn several_names_in_one_match_of_networkd() {
    let ports = "[Match]\nName=ens192 ens224\n[Network]\nBond=bond0\n";
    let bond = "[Match]\nName=bond0\n[Network]\nAddress=192.168.122.81/24\n";
    let made = "[NetDev]\nName=bond0\nKind=bond\n";
    let files = [
        (Form::Network, "/etc/systemd/network/20-ports.network", ports),
        (Form::Network, "/etc/systemd/network/30-bond0.network", bond),
        (Form::NetDev, "/etc/systemd/network/10-bond0.netdev", made),
    ];
    let guest = guest(cards(&[192, 224]), SYSTEMD, &files);
    assert_eq!(kept(&guest), [link(1, "ens192"), link(2, "ens224")]);
}

#[test]
fn bonds_vlans_and_bridges_of_ifupdown_need_no_guess() {
    let text = "auto bond0\niface bond0 inet static\n    address 192.168.122.78/24\n    bond-slaves ens192 ens224\nauto vlan100\niface vlan100 inet static\n    address 10.100.0.5/24\n    vlan-raw-device bond0\nauto br0\niface br0 inet static\n    bridge_ports ens256\n    bridge_stp off\n";
    let guest = guest(cards(&[192, 224, 256]), SYSTEMD, &[(Form::Ifupdown, INTERFACES, text)]);
    assert_eq!(kept(&guest), [link(1, "ens192"), link(2, "ens224"), link(3, "ens256")]);
    assert!(warnings(&guest).is_empty());
}

#[test]
fn a_bond_made_by_commands_keeps_its_cards() {
    let bond = "auto bond0\niface bond0 inet static\n  address 192.0.2.7/24\n  up ifenslave bond0 ens192 ens224\n";
    let guest = guest(cards(&[192, 224]), SYSTEMD, &[(Form::Ifupdown, INTERFACES, bond)]);
    assert_eq!(kept(&guest), [link(1, "ens192"), link(2, "ens224")]);
}

#[test]
fn a_bridge_whose_port_nobody_tells_is_a_configuration() {
    let bridge =
        "auto br0\niface br0 inet static\n  address 192.0.2.7/24\n  up /usr/local/sbin/bridge-up\n";
    let told = |text: &str| {
        warnings(&guest(vec![card(1, None)], SYSTEMD, &[(Form::Ifupdown, INTERFACES, text)]))
    };
    assert_eq!(told(bridge), ["guest-network-card-without-name"]);
    assert!(told("auto lo\niface lo inet loopback\n").is_empty());
}

#[test]
fn an_address_that_is_set_does_not_identify() {
    let text = "auto ens192\niface ens192 inet static\n  address 192.0.2.7/24\n  hwaddress ether 02:00:00:00:00:77\n";
    let guest = guest(vec![card(1, None)], SYSTEMD, &[(Form::Ifupdown, INTERFACES, text)]);
    assert_eq!((kept(&guest), after(&guest)), (vec![link(1, "ens192")], text.to_owned()));
}

#[test]
fn names_of_the_admins_own_by_the_place_on_the_bus() {
    let rules = "SUBSYSTEM==\"net\", ACTION==\"add\", KERNELS==\"0000:0b:00.0\", NAME=\"lan0\"\nSUBSYSTEM==\"net\", ACTION==\"add\", KERNELS==\"0000:13:00.0\", NAME=\"dmz0\"\n";
    let text = "iface lan0 inet static\n  address 192.0.2.7/24\niface dmz0 inet static\n  address 192.0.2.8/24\n";
    let files = [
        (Form::Rules, "/etc/udev/rules.d/70-net.rules", rules),
        (Form::Ifupdown, INTERFACES, text),
    ];
    let known = guest(cards(&[224, 192]), SYSTEMD, &files);
    let by_rule = |card: u8, name: &str| (card, name.to_owned(), Keep::Nothing);
    assert_eq!(kept(&known), [by_rule(1, "dmz0"), by_rule(2, "lan0")]);
    let right = "SUBSYSTEM==\"net\", ACTION==\"add\", ATTR{address}==\"00:50:56:aa:bb:02\", DRIVERS==\"?*\", NAME=\"lan0\"\n";
    assert!(after(&known).starts_with(right), "{}", after(&known));
    // Without slots the assignment is unknown, and two names of two kinds have no order.
    let unknown = guest(vec![card(1, None), card(2, None)], SYSTEMD, &files);
    assert!(kept(&unknown).iter().all(|(_, name, _)| name.is_empty()));
    assert_eq!(
        warnings(&unknown).last().map(String::as_str),
        Some("guest-network-name-without-card")
    );
}

#[test]
fn names_of_the_kernel_on_the_cards_that_have_them() {
    let text = "iface eth0 inet static\n  address 192.0.2.7/24\niface eth1 inet static\n  address 192.0.2.8/24\n";
    let files = [(Form::Ifupdown, INTERFACES, text)];
    let in_place = guest(cards(&[192, 224]), KERNEL, &files);
    assert!(kept(&in_place).iter().all(|(.., keep)| *keep == Keep::Nothing));
    // The domain has the cards by their slots, whatever the order of the source's list.
    let listed = guest(cards(&[224, 192]), KERNEL, &files);
    let nothing = |card: u8, name: &str| (card, name.to_owned(), Keep::Nothing);
    assert_eq!(kept(&listed), [nothing(1, "eth1"), nothing(2, "eth0")]);
    assert_eq!(after(&listed), text);
    // The first card of the domain was behind the second one.
    let swapped = guest(vec![card(1, Some(224)), card(2, Some(192))], KERNEL, &files);
    let renamed =
        |card: u8, name: &str, new: &str| (card, name.to_owned(), Keep::Renamed(new.to_owned()));
    assert_eq!(kept(&swapped), [renamed(1, "eth1", "net1"), renamed(2, "eth0", "net0")]);
    assert_eq!(after(&swapped), text.replace("eth", "net"));
    let mut by_tools = vec![card(1, None), card(2, None)];
    by_tools[1].addresses = vec!["192.0.2.7/24".to_owned()];
    let by_tools = guest(by_tools, KERNEL, &files);
    assert_eq!(kept(&by_tools), [renamed(1, "eth1", "net1"), renamed(2, "eth0", "net0")]);
    // Beside a name by place, the kernel gives eth0 to the other card first.
    let mixed = "iface ens192 inet dhcp\niface eth0 inet dhcp\n";
    let mixed = guest(cards(&[192, 224]), SYSTEMD, &[(Form::Ifupdown, INTERFACES, mixed)]);
    assert_eq!(kept(&mixed), [link(1, "ens192"), renamed(2, "eth0", "net0")]);
    assert_eq!(after(&mixed), "iface ens192 inet dhcp\niface net0 inet dhcp\n");
}

#[test]
fn a_profile_with_a_stale_address_follows_its_card() {
    let text = "[connection]\nid=lan\ntype=ethernet\ninterface-name=lan0\n[ethernet]\nmac-address=00:0C:29:00:00:99\n[ipv4]\nmethod=manual\naddress1=192.0.2.7/24\n";
    let path = "/etc/NetworkManager/system-connections/lan.nmconnection";
    let mut two = cards(&[192, 224]);
    two[1].addresses = vec!["192.0.2.7/24".to_owned()];
    let by_tools = guest(two, SYSTEMD, &[(Form::Profile, path, text)]);
    assert_eq!(kept(&by_tools)[1], link(2, "lan0"));
    assert_eq!(after(&by_tools), text.replace("00:0C:29:00:00:99", "00:50:56:AA:BB:02"));
    let doubtful = guest(cards(&[192, 224]), SYSTEMD, &[(Form::Profile, path, text)]);
    assert_eq!(after(&doubtful), text);
    assert!(warnings(&doubtful).contains(&"guest-network-card-without-name".to_owned()));
}

#[test]
fn configurations_as_distributions_write_them() {
    let cloud = "network:\n    ethernets:\n        ens192:\n            dhcp4: true\n            match:\n                macaddress: 00:50:56:aa:bb:01\n            set-name: ens192\n    version: 2\n";
    let rhel_7 = "TYPE=\"Ethernet\"\nPROXY_METHOD=\"none\"\nBOOTPROTO=\"dhcp\"\nNAME=\"ens192\"\nUUID=\"5f1c1a3e-0000-4000-8000-000000000100\"\nDEVICE=\"ens192\"\nONBOOT=\"yes\"\n";
    let rhel_9 = "[connection]\nid=ens192\nuuid=5f1c1a3e-0000-4000-8000-000000000100\ntype=ethernet\nautoconnect-priority=-999\ninterface-name=ens192\n\n[ethernet]\n\n[ipv4]\nmethod=auto\n\n[proxy]\n";
    let sles = "BOOTPROTO='dhcp'\nSTARTMODE='auto'\nZONE=public\n";
    let arch = "[Match]\nName=ens192\n\n[Network]\nDHCP=yes\n";
    let debian = "source /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n\nallow-hotplug ens192\niface ens192 inet dhcp\n";
    for (form, path, text) in [
        (Form::Ifcfg, "/etc/sysconfig/network-scripts/ifcfg-ens192", rhel_7),
        (Form::Profile, "/etc/NetworkManager/system-connections/ens192.nmconnection", rhel_9),
        (Form::Ifcfg, "/etc/sysconfig/network/ifcfg-ens192", sles),
        (Form::Network, "/etc/systemd/network/20-wired.network", arch),
        (Form::Ifupdown, INTERFACES, debian),
    ] {
        let guest = guest(cards(&[192]), SYSTEMD, &[(form, path, text)]);
        assert_eq!(kept(&guest), [link(1, "ens192")], "{path}");
        assert_eq!(
            (guest.rows()[0].addresses.clone(), after(&guest)),
            (vec!["dhcp".to_owned()], text.to_owned())
        );
        assert!(warnings(&guest).is_empty(), "{path}");
    }
    let ubuntu = guest(cards(&[192]), SYSTEMD, &[(Form::Netplan, NETPLAN, cloud)]);
    assert_eq!(
        kept(&ubuntu),
        [(1, "ens192".to_owned(), Keep::Nothing)],
        "netplan renames by itself"
    );
    let rhel_6 = Naming { kernel: true, links: false, swaps: true, ..SYSTEMD };
    let old = guest(
        vec![card(1, Some(224)), card(2, Some(192))],
        rhel_6,
        &[
            (
                Form::Ifcfg,
                "/etc/sysconfig/network-scripts/ifcfg-eth0",
                "DEVICE=eth0\nHWADDR=00:50:56:AA:BB:02\n",
            ),
            (
                Form::Ifcfg,
                "/etc/sysconfig/network-scripts/ifcfg-eth1",
                "DEVICE=eth1\nHWADDR=00:50:56:AA:BB:01\n",
            ),
        ],
    );
    assert_eq!(
        kept(&old),
        [(1, "eth1".to_owned(), Keep::Rule), (2, "eth0".to_owned(), Keep::Rule)]
    );
}

#[test]
fn patterns_select_on_kvm_or_the_name_by_slot_is_kept() {
    let network = |name: &str| format!("[Match]\nName={name}\n[Network]\nDHCP=yes\n");
    let path = "/etc/systemd/network/20-wired.network";
    for (pattern, name) in [("en*", ""), ("*", ""), ("ens*", "ens192"), ("ens1??", "ens192")] {
        let guest = guest(cards(&[192]), SYSTEMD, &[(Form::Network, path, &network(pattern))]);
        let keep = if name.is_empty() { Keep::Nothing } else { Keep::Link };
        assert_eq!(kept(&guest), [(1, name.to_owned(), keep)], "{pattern}");
        assert!(warnings(&guest).is_empty(), "{pattern}");
    }
}

#[test]
fn a_pattern_of_names_by_slot_is_met_without_slots_too() {
    let network = |name: &str| format!("[Match]\nName={name}\n[Network]\nDHCP=yes\n");
    let path = "/etc/systemd/network/20-wired.network";
    let unknown = || vec![card(1, None), card(2, None)];
    for (pattern, names) in [
        ("ens*", ["ens192", "ens224"]),
        ("ens???", ["ens192", "ens224"]),
        ("enp*s0", ["enp192s0", "enp224s0"]),
    ] {
        let text = network(pattern);
        let guest = guest(unknown(), SYSTEMD, &[(Form::Network, path, &text)]);
        assert_eq!(kept(&guest), [link(1, names[0]), link(2, names[1])], "{pattern}");
        assert_eq!(warnings(&guest), ["guest-network-by-order"], "{pattern}");
    }
    let taken = "[NetDev]\nName=ens192\nKind=bridge\n";
    let text = network("ens*");
    let files = [(Form::Network, path, text.as_str()), (Form::NetDev, "/etc/x.netdev", taken)];
    let taken = guest(vec![card(1, None)], SYSTEMD, &files);
    assert_eq!(kept(&taken), [link(1, "ens224")]);
    let wireless = network("wl*");
    let files = [(Form::Network, path, wireless.as_str())];
    let wireless = guest(vec![card(1, None)], SYSTEMD, &files);
    assert_eq!(warnings(&wireless), ["guest-network-card-without-name"]);
}

#[test]
fn a_card_that_is_selected_by_place_alone_has_its_addresses_in_the_table() {
    let text = "[Match]\nPath=pci-0000:13:00.0\n[Network]\nAddress=192.0.2.7/24\n";
    let path = "/etc/systemd/network/20-wired.network";
    let guest = guest(cards(&[224]), SYSTEMD, &[(Form::Network, path, text)]);
    let row = &guest.rows()[0];
    assert_eq!(
        (row.name.as_ref(), row.addresses.as_slice()),
        (None, &["192.0.2.7/24".to_owned()][..])
    );
    assert!(warnings(&guest).is_empty());
}

#[test]
fn a_card_that_nothing_configures_is_told_once_there_is_a_configuration() {
    let text = "iface ens192 inet dhcp\n";
    let two = guest(cards(&[192, 224]), SYSTEMD, &[(Form::Ifupdown, INTERFACES, text)]);
    assert_eq!(kept(&two)[1], (2, String::new(), Keep::Nothing));
    assert_eq!(warnings(&two), ["guest-network-card-without-name"]);
    let lo =
        guest(cards(&[192]), SYSTEMD, &[(Form::Ifupdown, INTERFACES, "iface lo inet loopback\n")]);
    assert!(warnings(&lo).is_empty());
    let any = "[connection]\nid=Wired connection 1\ntype=ethernet\n[ipv4]\nmethod=auto\n";
    let path = "/etc/NetworkManager/system-connections/a.nmconnection";
    assert!(
        warnings(&guest(cards(&[192, 224]), SYSTEMD, &[(Form::Profile, path, any)])).is_empty()
    );
    let by_mac = "[connection]\ntype=ethernet\n[ethernet]\nmac-address=00:50:56:aa:bb:01\n";
    assert!(warnings(&guest(cards(&[192]), SYSTEMD, &[(Form::Profile, path, by_mac)])).is_empty());
}

#[test]
fn a_guest_that_means_harm_costs_no_time() {
    let begin = std::time::Instant::now();
    let many = |piece: &str, least: usize| piece.repeat(least / piece.len());
    let names: String = (0..10_000).map(|n| format!("n{n} ")).collect();
    let macs: String = (0..10_000)
        .map(|n| format!("02:00:00:{:02x}:{:02x}:{:02x} ", n >> 16, n >> 8 & 255, n & 255))
        .collect();
    let stanzas: String = (0..10_000).map(|n| format!("iface n{n} inet dhcp\n")).collect();
    let rules: String =
        (0..5_000).map(|n| format!("KERNELS==\"0:{n}\", NAME=\"n{n}\"\n")).collect();
    for (form, text) in [
        (Form::Network, format!("[Match]\nName={names}\n")),
        (Form::Network, format!("[Match]\nMACAddress={macs}\n")),
        (Form::Network, format!("[Match]\n{}", many("Name=\\\n", 1 << 20))),
        (Form::Ifupdown, stanzas),
        (Form::Ifupdown, many("auto a \\\n", 1 << 20)),
        (Form::Rules, rules),
        (Form::Rules, many("NAME=\"a\" \\\n", 1 << 20)),
        (
            Form::Profile,
            format!("[connection]\ntype=ethernet\n[match]\n{}", many("driver=a\n", 1 << 16)),
        ),
        (Form::Ifcfg, many("A=(\n", 1 << 20)),
        (Form::Netplan, many("network: {ethernets: {a: {}}}\n---\n", 1 << 18)),
        (Form::DhclientLeases, many("lease { interface a;\n", 1 << 20)),
    ] {
        let guest = guest(cards(&[192, 224]), SYSTEMD, &[(form, INTERFACES, &text)]);
        drop((after(&guest), warnings(&guest)));
        let took = begin.elapsed();
        assert!(took < std::time::Duration::from_secs(30), "{form:?} {}: {took:?}", &text[..40]);
    }
}

/// The first card, kept by a `.link` file.
fn pinned(row: &Row) -> Pinned<'_> {
    Pinned { index: 0, row, keep: &Keep::Link }
}

/// A file that cannot be renamed and a folder that cannot be created affect only the cards that
/// need them.
#[tokio::test]
async fn what_the_guest_refuses_costs_no_other_card() {
    use crate::convert::native::played::Played;
    let refused = ["/etc/systemd/network", "/etc/udev/*", "/etc/ifcfg-new"];
    let said = serde_json::json!({ "refused": refused });
    let mut guestfs = Played::new(&[("etc/ifcfg-old", b"")], said).started().await;
    let progress = crate::progress::Progress::new(|_| {});
    let mut report = FixReport::new(&progress);
    let files = [(Form::Ifupdown, INTERFACES, "auto ens192\niface ens192 inet dhcp\n")];
    let known = guest(cards(&[192]), SYSTEMD, &files);
    let rows = known.rows();
    let kept = known.pin(&mut guestfs, pinned(&rows[0]), &mut report).await;
    assert_eq!(kept.expect("goes on"), None);
    let moved = Some(("/etc/ifcfg-old".to_owned(), "/etc/ifcfg-new".to_owned()));
    let mended = Mended { moved, ..Mended::default() };
    let changed = write(&mut guestfs, &known.files[0], &mended, &mut report).await;
    assert_eq!(changed.expect("goes on"), WriteResult::Same);
    assert!(report.changes.is_empty());
    let told: Vec<_> = report.warnings.iter().map(|warning| warning.code.as_str()).collect();
    let refused = "guest-change-refused";
    assert_eq!(told, [refused, refused, refused, "guest-network-not-pinned", refused]);
}

/// A name is kept by another file where the guest rejects changes of the usual file.
#[tokio::test]
async fn a_card_whose_file_takes_no_change_is_pinned_in_another() {
    use crate::convert::native::played::Played;
    let own = "/etc/udev/rules.d/70-hyperexport-net.rules";
    let usual = "/etc/udev/rules.d/70-persistent-net.rules";
    let files = [(Form::Ifupdown, INTERFACES, "auto ens192\niface ens192 inet dhcp\n")];
    let known = guest(cards(&[192]), SYSTEMD, &files);
    let row = &known.rows()[0];
    for (refused, kept_by) in [
        (&["/etc/systemd/network"][..], usual),
        (&["/etc/systemd/network/*", "/etc/udev/rules.d/70-p*"], own),
    ] {
        let said = serde_json::json!({ "refused": refused });
        let mut guestfs = Played::new(&[("etc/hostname", b"")], said).started().await;
        let progress = crate::progress::Progress::new(|_| {});
        let mut report = FixReport::new(&progress);
        let kept = known.pin(&mut guestfs, pinned(row), &mut report).await;
        assert_eq!(kept.expect("goes on").as_deref(), Some(kept_by), "{refused:?}");
        let text = guestfs.read(kept_by).await.expect("read").expect("there");
        assert!(text.contains("00:50:56:aa:bb:01") && text.contains("ens192"), "{text}");
        let told: Vec<_> = report.warnings.iter().map(|warning| &warning.code).collect();
        assert!(told.iter().all(|code| *code == "guest-change-refused"), "{told:?}");
    }
}

#[test]
fn a_rule_that_takes_no_change_keeps_no_name() {
    let path = "/etc/udev/rules.d/70-persistent-net.rules";
    let rule = "SUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"vmxnet3\", \
                ATTR{address}==\"00:50:56:aa:bb:01\", NAME=\"lan0\"\n";
    let known = guest(cards(&[192]), SYSTEMD, &[(Form::Rules, path, rule)]);
    let rows = known.rows();
    let keeps = pin::keep(&rows, known.naming, &known.survey.taken);
    assert!(rows[0].is_ruled && keeps == [Keep::Nothing], "{rows:?}");
    let without =
        |refused: &[&str]| known.without(&refused.iter().copied().collect(), &rows, keeps.clone());
    assert_eq!(without(&[]), [Keep::Nothing]);
    assert_eq!(without(&[path]), [Keep::Link]);
}
