//! Networks of domains on the real daemon: the network map is applied, and an impossible mapping is
//! rejected before any change.

use crate::support::import::{Setup, chain};
use crate::support::libvirtd;
use hyperexport::domain::{NetworkMap, NetworkMapping, UserNetwork};
use hyperexport::model::{Hint, MacAddress, Warning};
use virt::network::Network;

fn map(entries: &[&str]) -> NetworkMap {
    let entries = entries.iter().map(|entry| entry.parse::<NetworkMapping>().expect("valid"));
    NetworkMap::new(entries.collect()).expect("valid")
}

/// Four interfaces in networks of these names.
fn in_networks(setup: &mut Setup, names: [&str; 4]) {
    let first = setup.vm.nics[0].clone();
    let nics = (1..).zip(names).map(|(index, name)| {
        let mut nic = first.clone();
        nic.id = format!("nic-{index}");
        nic.mac = Some(MacAddress([0x00, 0x50, 0x56, 0xaa, 0xdd, index]));
        nic.network = name.to_owned();
        nic.connected = index != 2;
        nic
    });
    setup.vm.nics = nics.collect();
}

/// A network without addresses, removed on drop.
struct Isolated(Network);

impl Isolated {
    fn new(name: &str) -> Self {
        let xml = format!("<network><name>{name}</name></network>");
        Self(libvirtd::connect().define_network_xml(&xml).expect("a network"))
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        if self.0.is_active().unwrap_or(false) {
            self.0.destroy().expect("stopped");
        }
        self.0.undefine().expect("gone");
    }
}

#[tokio::test]
async fn every_interface_is_where_the_map_says() {
    let Some(mut setup) = Setup::new().await else { return };
    in_networks(&mut setup, ["VM Network", "Lab, \u{1f980}=1", "Storage", "Old"]);
    setup.options.network_map =
        map(&["Lab, \u{1f980}=1=network:default", "Storage=ovs:hxtovs0,vlan=20", "Old=none"]);
    // Open vSwitch itself is not needed for a definition: libvirt uses it only at the start.
    setup.host.switches.push("hxtovs0".to_owned());
    let warnings = setup.target.preflight(&setup.request()).await.expect("all is there");
    let told = |code: &str| {
        let found = warnings.iter().find(|warning| warning.code == code);
        found.unwrap_or_else(|| panic!("no {code} in {warnings:?}")).message.clone()
    };
    assert!(told("nic-left-out").contains("nic-4 (00:50:56:aa:dd:04) in network 'Old'"));

    let defined = setup.import().await.expect("defined");
    let connect = libvirtd::connect();
    let domain = connect.lookup_domain_by_name(&defined.name).expect("it is there");
    let xml = domain.xml_desc(0).expect("XML");
    let mut interfaces: Vec<_> = xml.split("<interface ").skip(1).collect();
    assert_eq!(interfaces.len(), 3, "{xml}");
    let last = interfaces[2].split("</interface>").next().expect("an end");
    interfaces[2] = last;
    for (interface, parts) in interfaces.iter().zip([
        &["00:50:56:aa:dd:01", "<source network='default'"][..],
        &["00:50:56:aa:dd:02", "<source network='default'", "<link state='down'/>"],
        &[
            "00:50:56:aa:dd:03",
            "bridge='hxtovs0'",
            "<virtualport type='openvswitch'>",
            "<tag id='20'/>",
        ],
    ]) {
        for part in parts {
            assert!(interface.contains(part), "no {part} in {interface}");
        }
    }
    assert!(!interfaces[0].contains("<link") && !interfaces[2].contains("<link"), "{xml}");
}

#[tokio::test]
async fn a_card_is_mapped_by_its_address_and_an_entry_for_no_card_is_refused() {
    let Some(mut setup) = Setup::new().await else { return };
    in_networks(&mut setup, ["VM Network", "VM Network", "Lab", "Old"]);
    let entries =
        ["VM Network=none", "mac:00-50-56-AA-DD-02=network:default", "Lab=none", "Old=none"];
    setup.options.network_map = map(&entries);
    let defined = setup.import().await.expect("defined");
    let mac = "<mac address='00:50:56:aa:dd:02'/>";
    assert_eq!(defined.xml.matches("<interface ").count(), 1, "{}", defined.xml);
    assert!(defined.xml.contains(mac), "{}", defined.xml);

    for (entry, named) in
        [("X=none", "'X'"), ("mac:00:50:56:aa:dd:09=none", "'mac:00:50:56:aa:dd:09'")]
    {
        setup.options.name = Some(setup.names.name("refused"));
        setup.options.network_map = map(&[entry, "*=none"]);
        let error = setup.target.preflight(&setup.request()).await.expect_err(entry);
        let said = chain(&error);
        assert!(said.contains(&format!("no network card of the VM matches {named}")), "{said}");
        assert!(said.contains("nic-1 (00:50:56:aa:dd:01) in 'VM Network'"), "{said}");
    }
    setup.vm.nics.clear();
    let error = setup.target.preflight(&setup.request()).await.expect_err("no card at all");
    assert!(chain(&error).contains("it has no network card"), "{}", chain(&error));
    setup.options.network_map = map(&["*=network:default"]);
    let warnings = setup.target.preflight(&setup.request()).await.expect("taken");
    assert!(warnings.iter().any(|warning| warning.code == "network-map-unused"), "{warnings:?}");
}

#[tokio::test]
async fn an_address_of_another_domain_on_the_same_network_is_warned_of() {
    let Some(mut setup) = Setup::new().await else { return };
    in_networks(&mut setup, ["Lab", "Lab", "Lab", "Old"]);
    setup.options.network_map = map(&["Lab=network:default", "Old=none"]);
    let codes = |warnings: Vec<Warning>| -> Vec<String> {
        let used = warnings.into_iter().filter(|warning| warning.code == "mac-in-use");
        used.map(|warning| warning.message).collect()
    };
    let first = setup.import().await.expect("defined").name;

    setup.options.name = Some(setup.names.name("second"));
    let used = codes(setup.target.preflight(&setup.request()).await.expect("only a warning"));
    assert_eq!(used.len(), 3, "{used:?}");
    assert!(used[0].contains(&format!("domain '{first}'")) && used[0].contains("'default'"));

    // The network's bridge is the same segment, another bridge is not.
    setup.options.network_map = map(&["mac:00:50:56:aa:dd:01=bridge:virbr0", "*=none"]);
    let used = codes(setup.target.preflight(&setup.request()).await.expect("only a warning"));
    assert_eq!(used.len(), 1, "{used:?}");
    setup.host.switches.push("hxtovs0".to_owned());
    setup.options.network_map = map(&["*=ovs:hxtovs0"]);
    let used = codes(setup.target.preflight(&setup.request()).await.expect("taken"));
    assert!(used.is_empty(), "{used:?}");

    // The domain that is replaced does not count.
    setup.options.network_map = map(&["Lab=network:default", "Old=none"]);
    (setup.options.name, setup.replace) = (Some(first.clone()), Some(first.clone()));
    let used = codes(setup.target.preflight(&setup.request()).await.expect("replaced"));
    // Another test may have a domain with these addresses at this moment.
    let named = format!("domain '{first}'");
    assert!(!used.iter().any(|message| message.contains(&named)), "{used:?}");
}

#[tokio::test]
async fn a_user_network_needs_nothing_of_the_host() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.options.network_map = map(&["*=user"]);
    setup.options.bridge = "hxtnone".to_owned();
    let defined = setup.import().await.expect("defined");
    assert_eq!(defined.xml.matches("<interface type='user'>").count(), 2, "{}", defined.xml);
    // With passt, which need not be installed for a definition.
    for platform in &mut setup.host.platforms {
        platform.user_networks = vec![UserNetwork::Passt];
    }
    setup.options.name = Some(setup.names.name("passt"));
    setup.target.test_define(&setup.request()).await.unwrap_or_else(|e| panic!("{}", chain(&e)));
    let defined = setup.import().await.expect("defined");
    libvirtd::validate(&defined.xml);
    assert_eq!(defined.xml.matches("<backend type='passt'/>").count(), 2, "{}", defined.xml);
}

#[tokio::test]
async fn what_cannot_work_is_refused_with_the_way_out() {
    let Some(mut setup) = Setup::new().await else { return };
    let stopped = setup.names.name("net");
    let network = Isolated::new(&stopped);
    setup.host = setup.target.capabilities().await.expect("the daemon knows");
    for (entry, said, hint) in [
        ("*=network:hxt-none".to_owned(), "'hxt-none' does not exist", "default"),
        ("*=bridge:hxtnone".to_owned(), "'hxtnone' does not exist", "virbr0"),
        ("*=ovs:virbr0".to_owned(), "'virbr0' does not exist", "ovs-vsctl list-br"),
        (format!("*=network:{stopped}"), "is not started", "virsh net-start 'hxt-"),
    ] {
        setup.options.network_map = map(&[&entry]);
        let error = setup.target.preflight(&setup.request()).await.expect_err(&entry);
        assert!(chain(&error).contains(said), "{entry}: {}", chain(&error));
        assert!(error.hint().expect("a hint").contains(hint), "{entry}: {:?}", error.hint());
    }
    setup.assert_nothing_left();
    network.0.create().expect("started");
    setup.host = setup.target.capabilities().await.expect("the daemon knows");
    setup.target.preflight(&setup.request()).await.expect("it is started now");
}

#[tokio::test]
async fn a_vlan_is_for_bridges_that_tag() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.options.network_map = map(&["*=bridge:virbr0,vlan=20"]);
    let file = "/sys/class/net/virbr0/bridge/vlan_filtering";
    let tags = std::fs::read_to_string(file).is_ok_and(|text| text.trim() == "1");
    let said = setup.target.preflight(&setup.request()).await.map_err(|error| error.hint());
    match said {
        Ok(_) => assert!(tags, "virbr0 does not tag"),
        Err(hint) => assert!(!tags && hint.expect("a hint").contains("vlan_filtering 1")),
    }
    // If the host supports VLANs, libvirt accepts the mapping.
    setup.host.bridges.iter_mut().for_each(|bridge| bridge.vlans = true);
    let defined = setup.import().await.expect("defined");
    let domain = libvirtd::connect().lookup_domain_by_name(&defined.name).expect("it is there");
    let xml = domain.xml_desc(0).expect("XML");
    assert!(xml.contains("<source bridge='virbr0'/>") && xml.contains("<tag id='20'/>"), "{xml}");
}
