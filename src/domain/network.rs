//! Rules for network interfaces.

use super::Error;
use super::host::{HostCapabilities, Platform};
use super::kinds::NicKind;
use super::network_map::{Attachment, NetworkMap};
use super::nic_model::Cards;
use super::plan::PlanOptions;
use super::spec::{NicSource, NicSpec};
use crate::model::{SourceNic, plug_order};

/// All interfaces of the domain, connected as the map specifies or else to the bridge, in the order
/// in which the source's kernel found them. If the map leaves anything to the bridge, the bridge
/// must exist even for a VM without interfaces: a wrong name is better reported now.
pub(super) fn plug(
    nics: &[SourceNic],
    options: &PlanOptions,
    host: &HostCapabilities,
    platform: &Platform,
    cards: Cards<'_>,
) -> Result<Vec<NicSpec>, Error> {
    let map = &options.network_map;
    map.check(nics)?;
    if nics.is_empty() && !map.is_complete() {
        bridge(&options.bridge, None, host)?;
    }
    let mut plugged: Vec<(&SourceNic, NicSpec)> = Vec::new();
    for index in plug_order(nics) {
        let nic = &nics[index];
        let (source, vlan) = match map.target(nic) {
            None if is_typed(nic) => by_name(&nic.network, host)?,
            None => bridge(&options.bridge, None, host)?,
            Some(Attachment::Bridge { name, vlan }) => bridge(&name, vlan, host)?,
            Some(Attachment::Ovs { name, vlan }) => (switch(&name, host)?, vlan),
            Some(Attachment::Network(name)) => (network(&name, host)?, None),
            Some(Attachment::User) => (user(platform)?, None),
            Some(Attachment::Nothing) => continue,
        };
        check_mac(nic, &plugged)?;
        let model = match nic.asked.as_ref().and_then(|asked| asked.card) {
            Some(card) => asked_model(card.into(), platform)?,
            None => cards.model(nic.model),
        };
        plugged.push((nic, NicSpec { mac: nic.mac, model, source, vlan, link_up: nic.connected }));
    }
    Ok(plugged.into_iter().map(|(_, spec)| spec).collect())
}

/// Connections that the map and the bridge specify, whatever the VM is. Each has the result of the
/// check whether the host offers it.
pub fn check_connections(
    map: &NetworkMap,
    bridge_name: &str,
    host: &HostCapabilities,
) -> Vec<(Attachment, Result<(), Error>)> {
    let last = Attachment::Bridge { name: bridge_name.to_owned(), vlan: None };
    let last = (!map.is_complete()).then_some(last);
    let check = |attachment: Attachment| {
        let checked = match &attachment {
            Attachment::Bridge { name, vlan } => bridge(name, *vlan, host).map(drop),
            Attachment::Ovs { name, .. } => switch(name, host).map(drop),
            Attachment::Network(name) => network(name, host).map(drop),
            Attachment::User => host.platforms.first().map_or(Ok(()), |one| user(one).map(drop)),
            Attachment::Nothing => Ok(()),
        };
        (attachment, checked)
    };
    map.targets().cloned().chain(last).map(check).collect()
}

/// Whether the user specified a network for the card.
fn is_typed(nic: &SourceNic) -> bool {
    nic.asked.is_some() && !nic.network.is_empty()
}

/// Resolves a bare name that no map entry matches: a network of the host, else a bridge.
fn by_name(name: &str, host: &HostCapabilities) -> Result<(NicSource, Option<u16>), Error> {
    if host.networks.iter().any(|known| known.name == name) {
        return Ok((network(name, host)?, None));
    }
    if host.bridges.iter().any(|known| known.name == name) {
        return bridge(name, None, host);
    }
    let networks = host.networks.iter().map(|known| format!("network:{}", known.name));
    let free = host.bridges.iter().filter(|known| known.network.is_none());
    let bridges = free.map(|known| format!("bridge:{}", known.name));
    let existing = networks.chain(bridges).collect();
    Err(Error::UnknownNetwork { network: name.to_owned(), existing })
}

/// The model that the user requested, if the emulator supports it.
fn asked_model(model: NicKind, platform: &Platform) -> Result<NicKind, Error> {
    if platform.has_card(model) {
        return Ok(model);
    }
    Err(Error::NoCard { model, machine: platform.machine.clone() })
}

fn check_mac(nic: &SourceNic, earlier: &[(&SourceNic, NicSpec)]) -> Result<(), Error> {
    let Some(mac) = nic.mac else { return Ok(()) };
    if mac.0[0] & 1 == 1 {
        return Err(Error::MulticastMac { mac: mac.to_string(), nic: nic.id.clone() });
    }
    match earlier.iter().find(|(_, spec)| spec.mac == Some(mac)) {
        Some((first, _)) => Err(Error::DuplicateMac {
            mac: mac.to_string(),
            first: first.id.clone(),
            second: nic.id.clone(),
        }),
        None => Ok(()),
    }
}

/// The libvirt network that owns the bridge, else the bridge itself. libvirt then manages firewall,
/// DHCP and start order. Only a bridge itself supports a VLAN tag.
fn bridge(
    name: &str,
    vlan: Option<u16>,
    host: &HostCapabilities,
) -> Result<(NicSource, Option<u16>), Error> {
    let found = host.bridges.iter().find(|known| known.name == name).ok_or_else(|| {
        let existing = host.bridges.iter().map(|known| known.name.clone()).collect();
        Error::NoBridge { bridge: name.to_owned(), existing }
    })?;
    if let Some(closed) = found.closed.clone() {
        return Err(Error::BridgeClosed { bridge: name.to_owned(), closed });
    }
    match (&found.network, vlan) {
        (Some(network), _) if !found.active => {
            Err(Error::NetworkInactive { network: network.clone() })
        }
        (_, Some(vlan)) if !found.vlans => Err(Error::NoVlans { bridge: name.to_owned(), vlan }),
        (Some(network), None) => Ok((NicSource::Network(network.clone()), None)),
        _ => Ok((NicSource::Bridge(name.to_owned()), vlan)),
    }
}

fn network(name: &str, host: &HostCapabilities) -> Result<NicSource, Error> {
    match host.networks.iter().find(|known| known.name == name) {
        Some(known) if known.active => Ok(NicSource::Network(name.to_owned())),
        Some(_) => Err(Error::NetworkInactive { network: name.to_owned() }),
        None => Err(Error::NoNetwork {
            network: name.to_owned(),
            existing: host.networks.iter().map(|known| known.name.clone()).collect(),
        }),
    }
}

fn user(platform: &Platform) -> Result<NicSource, Error> {
    let first = platform.user_networks.first();
    first.map(|network| NicSource::User(*network)).ok_or(Error::NoUserNetwork)
}

fn switch(name: &str, host: &HostCapabilities) -> Result<NicSource, Error> {
    if host.own.is_some() {
        return Err(Error::SwitchOfUser { bridge: name.to_owned() });
    }
    if host.switches.iter().any(|known| known == name) {
        return Ok(NicSource::Ovs(name.to_owned()));
    }
    Err(Error::NoSwitch { bridge: name.to_owned(), existing: host.switches.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture::{host, nic, options, platform, vm};
    use crate::domain::{Chipset, Closed, DomainType, Family, NetworkMap, OwnDaemon, UserNetwork};
    use crate::model::Hint;
    use crate::model::{AskedNic, GuestCard};

    /// The interfaces for `nics` on the fixture's host, by default on `bridge`.
    fn plugged(nics: &[SourceNic], bridge: &str, map: &[&str]) -> Result<Vec<NicSpec>, Error> {
        let entries = map.iter().map(|entry| entry.parse().expect("valid")).collect();
        let network_map = NetworkMap::new(entries).expect("valid");
        let options = PlanOptions { bridge: bridge.to_owned(), network_map, ..options() };
        let guest = vm().guest;
        let on = host();
        let platform = platform(&on, DomainType::Kvm, Chipset::Pc);
        let cards =
            Cards { family: Family::Linux, guest: &guest, fixed: true, drivers: None, platform };
        plug(nics, &options, &on, platform, cards)
    }

    /// One interface for each of these networks.
    fn in_networks(names: &[&str]) -> Vec<SourceNic> {
        let numbered = (0..).zip(names);
        numbered.map(|(i, name)| SourceNic { network: (*name).to_owned(), ..nic(i) }).collect()
    }

    #[test]
    fn a_network_that_owns_the_bridge_is_preferred() {
        let source = |bridge| plugged(&[nic(0)], bridge, &[]).expect("exists")[0].source.clone();
        assert_eq!(source("virbr0"), NicSource::Network("default".to_owned()));
        assert_eq!(source("br0"), NicSource::Bridge("br0".to_owned()));
    }

    #[test]
    fn address_and_link_state_are_kept() {
        let mut unplugged = nic(1);
        unplugged.connected = false;
        let plugged = plugged(&[nic(0), unplugged], "br0", &[]).expect("valid");
        assert_eq!(plugged[0].mac, nic(0).mac);
        assert_eq!([plugged[0].link_up, plugged[1].link_up], [true, false]);
    }

    #[test]
    fn every_network_becomes_what_the_map_says() {
        let nics = in_networks(&["A", "B", "C", "D", "E"]);
        let map = ["A=bridge:br0,vlan=20", "B=network:default", "C=ovs:ovsbr0,vlan=7", "D=none"];
        let plugged = plugged(&nics, "virbr0", &map).expect("valid");
        let found: Vec<_> =
            plugged.iter().map(|nic| (nic.mac, nic.source.clone(), nic.vlan)).collect();
        let expected = [
            (nics[0].mac, NicSource::Bridge("br0".to_owned()), Some(20)),
            (nics[1].mac, NicSource::Network("default".to_owned()), None),
            (nics[2].mac, NicSource::Ovs("ovsbr0".to_owned()), Some(7)),
            (nics[4].mac, NicSource::Network("default".to_owned()), None),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn interfaces_stand_in_the_order_of_their_slots() {
        let slotted = |slots: [Option<u32>; 3]| {
            let nics = in_networks(&["A", "B", "C"]).into_iter().zip(slots);
            let nics: Vec<_> = nics.map(|(nic, slot)| SourceNic { slot, ..nic }).collect();
            let map = ["B=none", "mac:00:50:56:00:00:00=bridge:br0"];
            let plugged = plugged(&nics, "virbr0", &map).expect("valid");
            plugged.into_iter().map(|nic| (nic.mac.map_or(0, |mac| mac.0[5]), nic.source)).collect()
        };
        let first = (0, NicSource::Bridge("br0".to_owned()));
        let last = (2, NicSource::Network("default".to_owned()));
        let by_slot: Vec<_> = slotted([Some(224), Some(256), Some(192)]);
        assert_eq!(by_slot, [last.clone(), first.clone()]);
        let as_listed: Vec<_> = slotted([Some(224), None, Some(192)]);
        assert_eq!(as_listed, [first, last]);
    }

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        let refused = |map: &str, said: &str, hint: &str| {
            let error = plugged(&in_networks(&["A"]), "virbr0", &[map]).expect_err(map);
            assert_eq!(error.to_string(), said);
            let told = error.hint().expect("a hint");
            assert!(told.contains(hint), "{told}");
        };
        let gone = |what: &str| format!("{what} does not exist on the host");
        refused("A=bridge:br9", &gone("bridge 'br9'"), "virbr0, br0");
        refused("A=network:br0", &gone("network 'br0'"), "default, lab");
        refused("A=ovs:br0", &gone("Open vSwitch bridge 'br0'"), "ovsbr0");
        refused("A=network:lab", "network 'lab' is not started", "virsh net-start 'lab'");
        refused(
            "A=bridge:virbr0,vlan=5",
            "bridge 'virbr0' cannot tag the frames of VLAN 5",
            "ip link set virbr0 type bridge vlan_filtering 1",
        );
    }

    #[test]
    fn the_default_bridge_must_exist_unless_nothing_is_left_to_it() {
        let error = plugged(&[], "br9", &[]).expect_err("unknown");
        assert_eq!(
            error.hint().as_deref(),
            Some("use --libvirt-bridge or --network-map with one of: virbr0, br0")
        );
        assert!(plugged(&[], "br9", &["*=none"]).expect("not needed").is_empty());
        assert!(plugged(&in_networks(&["A"]), "br9", &["A=bridge:br0"]).is_ok());
        assert!(plugged(&in_networks(&["A", "B"]), "br9", &["A=bridge:br0"]).is_err());
    }

    #[test]
    fn a_user_network_needs_no_bridge() {
        let source =
            |map: &str| plugged(&[nic(0)], "br9", &[map]).map(|nics| nics[0].source.clone());
        assert_eq!(source("*=user"), Ok(NicSource::User(UserNetwork::Slirp)));
        let typed = plugged(&[asked("user", None)], "br9", &[]).expect("planned");
        assert_eq!(typed[0].source, NicSource::User(UserNetwork::Slirp));
        let mut none = platform(&host(), DomainType::Kvm, Chipset::Pc).clone();
        none.user_networks.clear();
        assert_eq!(user(&none), Err(Error::NoUserNetwork));
        none.user_networks = vec![UserNetwork::Passt, UserNetwork::Slirp];
        assert_eq!(user(&none), Ok(NicSource::User(UserNetwork::Passt)));
    }

    #[test]
    fn what_is_closed_to_a_user_s_guests_is_refused_with_what_opens_it() {
        let mut on = host();
        let closed = Closed { why: "no rule".to_owned(), remedy: "add a rule".to_owned() };
        on.bridges[1].closed = Some(closed);
        on.own = Some(OwnDaemon { kvm: None, seen: true });
        let error = bridge("br0", None, &on).expect_err("closed");
        assert!(error.to_string().ends_with("your own daemon: no rule"), "{error}");
        let hint = error.hint().expect("a hint");
        assert!(hint.starts_with("add a rule") && hint.contains("'*=user'"), "{hint}");
        assert!(matches!(switch("ovsbr0", &on), Err(Error::SwitchOfUser { .. })));
    }

    #[test]
    fn a_multicast_address_is_refused() {
        let mut nic = nic(0);
        nic.mac = Some("01:00:5e:00:00:01".parse().expect("a MAC address"));
        assert!(matches!(plugged(&[nic], "br0", &[]), Err(Error::MulticastMac { .. })));
    }

    #[test]
    fn two_interfaces_of_one_address_are_refused_unless_one_is_left_out() {
        let mut nics = in_networks(&["A", "B"]);
        nics[1].mac = nics[0].mac;
        assert!(matches!(plugged(&nics, "br0", &[]), Err(Error::DuplicateMac { .. })));
        assert_eq!(plugged(&nics, "br0", &["A=none"]).expect("one is left").len(), 1);
    }

    /// A card as the user specifies it.
    fn asked(network: &str, card: Option<GuestCard>) -> SourceNic {
        SourceNic { network: network.to_owned(), asked: Some(AskedNic { card }), ..nic(7) }
    }

    #[test]
    fn a_card_that_the_user_describes_is_where_he_says() {
        let source = |network: &str, map: &[&str]| {
            let found = plugged(&[asked(network, None)], "virbr0", map)?;
            Ok::<_, Error>((found[0].source.clone(), found[0].vlan))
        };
        let bridge = |name: &str| NicSource::Bridge(name.to_owned());
        let network = |name: &str| NicSource::Network(name.to_owned());
        assert_eq!(source("bridge:br0,vlan=5", &[]), Ok((bridge("br0"), Some(5))));
        assert_eq!(source("network:default", &["*=bridge:br0"]), Ok((network("default"), None)));
        assert_eq!(source("default", &[]), Ok((network("default"), None)));
        assert_eq!(source("br0", &[]), Ok((bridge("br0"), None)));
        assert_eq!(source("LAN", &["LAN=bridge:br0"]), Ok((bridge("br0"), None)));
        assert_eq!(source("LAN", &["*=bridge:br0"]), Ok((bridge("br0"), None)));
        assert_eq!(source("", &[]), Ok((network("default"), None)), "the default bridge");
        let error = source("LAN", &[]).expect_err("nowhere");
        assert_eq!(error.to_string(), "'LAN' is neither a network nor a bridge of the host");
        let hint = error.hint().expect("a hint");
        assert!(hint.contains("network:default, network:lab, bridge:br0"), "{hint}");
        assert!(hint.contains("--network-map 'LAN=bridge:NAME'"), "{hint}");
    }

    #[test]
    fn the_model_that_is_asked_for_is_planned_where_the_emulator_has_it() {
        for (card, model) in [
            (GuestCard::Virtio, NicKind::Virtio),
            (GuestCard::Vmxnet3, NicKind::Vmxnet3),
            (GuestCard::E1000e, NicKind::E1000e),
            (GuestCard::E1000, NicKind::E1000),
            (GuestCard::Pcnet, NicKind::Pcnet),
            (GuestCard::Rtl8139, NicKind::Rtl8139),
        ] {
            let plugged = plugged(&[asked("default", Some(card))], "virbr0", &[]).expect("planned");
            assert_eq!(plugged[0].model, model);
        }
        let host = host();
        let mut rhel = platform(&host, DomainType::Kvm, Chipset::Q35).clone();
        rhel.machine = "pc-q35-rhel9.8.0".to_owned();
        assert_eq!(asked_model(NicKind::E1000e, &rhel), Ok(NicKind::E1000e));
        let error = asked_model(NicKind::Vmxnet3, &rhel).expect_err("not built");
        assert!(error.to_string().contains("no vmxnet3 network card"), "{error}");
    }

    #[test]
    fn an_entry_that_no_card_matches_is_refused() {
        let refused = plugged(&in_networks(&["A"]), "virbr0", &["B=none"]);
        assert!(matches!(refused, Err(Error::UnusedMapping { .. })));
        assert!(matches!(plugged(&[], "virbr0", &["B=none"]), Err(Error::UnusedMapping { .. })));
    }
}
