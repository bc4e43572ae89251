//! Readings of /etc/network/interfaces.

use super::*;

/// Reads one file.
fn read(text: &str) -> Says {
    super::read(&[text]).remove(0)
}

fn names(says: &Says) -> Vec<&str> {
    let names = says.claims.iter().flat_map(|claim| &claim.names);
    let mut names: Vec<_> = names.map(|name| name.value.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn stanzas_have_names_and_addresses() {
    let text = "# iface no inet dhcp\nauto lo ens192\niface lo inet loopback\niface ens192 inet static\n  address 192.0.2.7/24\n  hwaddress ether 02:00:00:00:00:77\niface ens192 inet6 auto\nallow-hotplug ens224\niface ens224 \\\n  inet dhcp\n";
    let says = read(text);
    assert_eq!(names(&says), ["ens192", "ens224", "lo"]);
    assert_eq!(says.makes, ["lo"]);
    assert!(says.claims.iter().all(|claim| claim.macs.is_empty()), "hwaddress sets");
    let addresses: Vec<_> = says.claims.iter().flat_map(|claim| &claim.addresses).collect();
    assert_eq!(addresses, ["192.0.2.7/24", "dhcp"]);
}

#[test]
fn bonds_bridges_and_vlans_are_made_of_cards() {
    let text = "auto bond0\niface bond0 inet static\n  bond-slaves ens192 ens224\n  bond_primary ens192\niface lan inet manual\n  bridge_ports ens256 tap0\niface storage inet static\n  vlan_raw_device lan\niface nobr inet manual\n  bridge-ports none\niface allbr inet dhcp\n  bridge_ports regex ens.* noregex\niface ens161 inet manual\n  bond-master bond0\n";
    let says = read(text);
    assert_eq!(names(&says), ["bond0", "ens161", "ens192", "ens224", "ens256", "lan", "tap0"]);
    assert_eq!(says.makes, ["bond0", "lan", "storage", "nobr", "allbr", "bond0"]);
    assert_eq!(
        names(&read("iface ens192.5 inet dhcp\n  vlan-raw-device ens192\n")),
        ["ens192", "ens192.5"]
    );
    let old = "iface bond0 inet dhcp\n  slaves eth0 eth1\n";
    assert_eq!(names(&read(old)), ["eth0", "eth1"]);
}

#[test]
fn a_port_with_the_options_of_its_bond_is_a_card() {
    let text = "auto ens192\niface ens192 inet manual\n  bond-master bond0\n  bond-mode active-backup\niface ens224 inet manual\n  bond_mode active-backup\n  bond_master bond0\niface bond0 inet dhcp\n  bond-mode active-backup\n  bond-slaves none\niface ens256.7 inet manual\n  bond-master bond1\n  vlan-raw-device ens256\n";
    let says = read(text);
    assert_eq!(says.makes, ["bond0", "bond0", "bond0", "bond1", "ens256.7"]);
    assert_eq!(names(&says), ["ens192", "ens224", "ens256", "ens256.7"]);
}

#[test]
fn patterns_and_logical_names_are_no_cards() {
    let text = "auto /eth*=dhcp mac/00:50:56:AA:BB:01=lan ens192=home\niface dhcp inet dhcp\niface lan inet dhcp\niface base inet static\n  mtu 9000\niface ens224 inet static inherits base\n  address 192.0.2.9/24\nmapping ens256\n  script /bin/x\n  map work ens256-work\n";
    let says = read(text);
    assert_eq!(says.makes, ["dhcp", "lan", "home", "base", "ens256-work"]);
    let claims: Vec<_> = says.claims.iter().take(3).collect();
    assert_eq!(claims[0].patterns, ["eth*"]);
    assert_eq!(&text[claims[1].macs[0].edit.at.clone()], "00:50:56:AA:BB:01");
    assert_eq!(claims[2].names[0].value, "ens192");
    assert!(names(&says).contains(&"ens224") && names(&says).contains(&"ens256"));
}

#[test]
fn renames_and_sources_are_followed() {
    let text = "rename mac/00:50:56:aa:bb:01=lan0 foo=bar\nauto lan0\nsource interfaces.d/*.cfg\nsource-directory /etc/net.d\n";
    let says = read(text);
    assert_eq!(names(&says), ["bar", "lan0"]);
    assert_eq!(says.claims[0].macs.len(), 1);
    assert_eq!(says.sources, ["/etc/network/interfaces.d/*.cfg", "/etc/net.d/*"]);
}

#[test]
fn commands_make_interfaces() {
    let text = "iface storage inet static\n  pre-up ip link add link ens192 name storage type vlan id 5\n  up ip link add dum type dummy\n  up ip -6 route add default dev ens192\n";
    let says = read(text);
    assert_eq!(says.makes, ["storage", "dum"]);
    assert_eq!(names(&says), ["ens192", "storage"]);
    for (command, made) in [
        ("ip tuntap add dev vpn mode tap", vec!["vpn"]),
        ("/sbin/ip tuntap add vpn mode tun", vec!["vpn"]),
        ("tunctl -u root -t vpn", vec!["vpn"]),
        ("/usr/sbin/brctl addbr lan", vec!["lan"]),
        ("vconfig add ens192 5", vec!["ens192.5", "vlan5"]),
        ("openvpn --mktun --dev vpn", vec!["vpn"]),
        ("ip link set ens192 up && ip addr add 192.0.2.7/24 dev ens192", vec![]),
        ("ip link set ens192 up; ip route add 192.0.2.0/24 dev ens192", vec![]),
        ("ip link set ens192 up; ip link add dum type dummy || true", vec!["dum"]),
        ("brctl addbr lan; brctl addif lan ens192", vec!["lan"]),
    ] {
        let text = format!("iface x inet manual\n  pre-up {command}\n");
        assert_eq!(read(&text).makes, made, "{command}");
    }
}

#[test]
fn commands_put_cards_below_interfaces() {
    for (command, made, cards) in [
        ("ifenslave bond0 ens192 ens224", "bond0", vec!["ens192", "ens224"]),
        ("/sbin/ifenslave -f bond0 ens192", "bond0", vec!["ens192"]),
        ("brctl addbr br0 && brctl addif br0 ens192", "br0", vec!["ens192"]),
        ("brctl addif $IFACE ens192", "x", vec!["ens192"]),
        ("ip link set ens192 master br0", "br0", vec!["ens192"]),
        ("ip link set dev ens192 up master br0; true", "br0", vec!["ens192"]),
        (
            "ovs-vsctl --may-exist add-port br0 ens192 -- set port ens192 tag=5",
            "br0",
            vec!["ens192"],
        ),
        ("ovs-vsctl add-bond br0 bond0 ens192 ens224", "br0", vec!["bond0", "ens192", "ens224"]),
        ("echo +ens192 > /sys/class/net/bond0/bonding/slaves", "bond0", vec!["ens192"]),
        ("echo +ens192 >/sys/class/net/bond0/bonding/slaves", "bond0", vec!["ens192"]),
        ("teamdctl team0 port add ens192", "", vec!["ens192"]),
    ] {
        let says = read(&format!("iface x inet static\n  up {command}\n"));
        assert_eq!(says.makes.concat(), made, "{command}");
        let found: Vec<_> = names(&says).into_iter().filter(|name| *name != "x").collect();
        assert_eq!(found, cards, "{command}");
    }
}

#[test]
fn a_port_of_open_vswitch_is_a_card() {
    let stanza = |name: &str, kind: &str| {
        read(&format!(
            "allow-vmbr0 {name}\niface {name} inet manual\n  ovs_type {kind}\n  ovs_bridge vmbr0\n"
        ))
    };
    let port = stanza("ens192", "OVSPort");
    assert_eq!((names(&port), port.makes.as_slice()), (vec!["ens192"], &["vmbr0".to_owned()][..]));
    for kind in ["OVSBridge", "OVSIntPort", "OVSBond", "OVSPatchPort", "OVSTunnel"] {
        assert!(stanza("lan", kind).makes.contains(&"lan".to_owned()), "{kind}");
    }
}

#[test]
fn executors_of_ifupdown_ng_make_interfaces() {
    for name in ["dummy", "veth", "vxlan", "tunnel", "vrf"] {
        assert_eq!(read(&format!("auto svc0\niface svc0\n  use {name}\n")).makes, ["svc0"]);
    }
    assert!(read("auto lan0\niface lan0\n  use dhcp\n").makes.is_empty());
}

#[test]
fn a_card_that_is_started_is_no_template() {
    for text in [
        "auto ens192\niface ens192 inet static\n  address 192.0.2.7/24\niface ens192:1 inherits ens192\n",
        "allow-hotplug ens192\niface ens192 inet dhcp\nauto ens224\niface ens224 inherits ens192\n",
        "auto ens192\nmapping ens192\n  map default ens192\n",
        "auto ens192=ens192\niface ens192 inet dhcp\n",
    ] {
        let says = read(text);
        assert!(says.makes.is_empty() && names(&says).contains(&"ens192"), "{text}");
    }
    // Another file may start the interface.
    let files = ["auto ens192\n", "iface ens192 inet dhcp\niface ens224 inherits ens192\n"];
    assert!(super::read(&files).iter().all(|says| says.makes.is_empty()));
}

#[test]
fn a_stanza_that_nothing_starts_stays_down() {
    let files = [
        "auto ens192 ens256=work\n",
        "iface ens192 inet dhcp\niface ens33 inet dhcp\niface ens192:1 inet static\n",
    ];
    let says = super::read(&files);
    let idle: Vec<_> = says[1].claims.iter().map(|claim| claim.is_idle).collect();
    assert_eq!(idle, [false, true, false]);
    assert!(says[0].claims.iter().all(|claim| !claim.is_idle));
}
