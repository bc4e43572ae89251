//! Detects MAC addresses that other domains of the host use on the same networks.

use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::ErrorNumber;
use virt::sys;

use crate::domain::{DomainSpec, HostCapabilities, NicSource};
use crate::model::{MacAddress, Stage, Warning, WarningCode};

use super::super::xml::source_domain::{Interface, SourceDomain};
use super::super::{Error, xml};

/// Network segment of a card: two cards on one segment see each other's frames.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    /// Name of the bridge, or else of the network.
    name: String,
    vlan: Option<u16>,
}

/// A card of another domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::libvirt) struct OtherCard {
    domain: String,
    mac: MacAddress,
    /// Network or bridge, as the domain names it.
    source: NicSource,
    vlan: Option<u16>,
}

/// Cards of all domains of the host, except the domains named in `but`.
pub(in crate::libvirt) fn of_others(
    connect: &Connect,
    but: &[String],
) -> Result<Vec<OtherCard>, Error> {
    let all = connect.list_all_domains(0).map_err(Error::call("listing the domains"))?;
    let mut cards = Vec::new();
    for domain in &all {
        // A domain that is being removed has no cards.
        let Some((name, text)) = read(domain)? else { continue };
        if but.contains(&name) {
            continue;
        }
        match xml::read::<SourceDomain>("domain", &text) {
            Ok(found) => {
                let interfaces = found.devices.interface.iter();
                cards.extend(interfaces.filter_map(|interface| card(&name, interface)));
            }
            Err(error) => tracing::debug!(%error, name, "a domain that cannot be read"),
        }
    }
    Ok(cards)
}

/// Name and inactive XML of a domain; `None` if the domain no longer exists.
fn read(domain: &Domain) -> Result<Option<(String, String)>, Error> {
    let name = domain.name();
    match name.and_then(|name| Ok((name, domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?))) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code().is(ErrorNumber::NoDomain) => Ok(None),
        Err(error) => Err(Error::call("reading a domain")(error)),
    }
}

fn card(domain: &str, interface: &Interface) -> Option<OtherCard> {
    let source = &interface.source;
    let source = match (&source.network, &source.bridge) {
        (Some(network), _) => NicSource::Network(network.clone()),
        (None, Some(bridge)) => NicSource::Bridge(bridge.clone()),
        (None, None) => return None,
    };
    let vlan = interface.vlan.as_ref().and_then(|vlan| vlan.tag.first()).map(|tag| tag.id);
    let mac = interface.mac.address.parse().ok()?;
    Some(OtherCard { domain: domain.to_owned(), mac, source, vlan })
}

/// Warns about each planned card whose address another domain has on the same segment.
pub(in crate::libvirt) fn in_use(
    spec: &DomainSpec,
    others: &[OtherCard],
    host: &HostCapabilities,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for nic in &spec.nics {
        let Some(mac) = nic.mac else { continue };
        let Some(here) = segment(&nic.source, nic.vlan, host) else { continue };
        let same = |other: &&OtherCard| {
            other.mac == mac && segment(&other.source, other.vlan, host).as_ref() == Some(&here)
        };
        for other in others.iter().filter(same) {
            let text = format!(
                "domain '{}' has the MAC address {mac} on {}, too: run one of the two at a time, or \
                 give the new domain other addresses with --new-mac",
                other.domain,
                place(&nic.source)
            );
            warnings.push(Warning::new(Stage::Libvirt, WarningCode::MacInUse, text));
        }
    }
    warnings
}

/// The segment that a card is on. A network and the bridge that it owns are the same segment. A
/// user network is private to its guest.
fn segment(source: &NicSource, vlan: Option<u16>, host: &HostCapabilities) -> Option<Segment> {
    let name = match source {
        NicSource::User(_) => return None,
        NicSource::Bridge(name) | NicSource::Ovs(name) => name.clone(),
        NicSource::Network(name) => {
            let owned = host.bridges.iter().find(|bridge| bridge.network.as_ref() == Some(name));
            owned.map_or_else(|| format!("network {name}"), |bridge| bridge.name.clone())
        }
    };
    Some(Segment { name, vlan })
}

fn place(source: &NicSource) -> String {
    match source {
        NicSource::Network(name) => format!("network '{name}'"),
        NicSource::Bridge(name) => format!("bridge '{name}'"),
        NicSource::Ovs(name) => format!("Open vSwitch bridge '{name}'"),
        NicSource::User(_) => "a user network".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{HostBridge, HostNetwork};

    fn host() -> HostCapabilities {
        let bridge = |name: &str, network: Option<&str>| HostBridge {
            name: name.to_owned(),
            network: network.map(str::to_owned),
            active: true,
            vlans: false,
            closed: None,
        };
        HostCapabilities {
            arch: "x86_64".to_owned(),
            platforms: Vec::new(),
            kvm_runs: false,
            bridges: vec![bridge("virbr0", Some("default")), bridge("br0", None)],
            networks: vec![HostNetwork { name: "default".to_owned(), active: true }],
            switches: Vec::new(),
            own: None,
        }
    }

    #[test]
    fn a_network_and_its_bridge_are_one_segment_and_vlans_are_not() {
        let host = host();
        let network = |name: &str| NicSource::Network(name.to_owned());
        let bridge = |name: &str| NicSource::Bridge(name.to_owned());
        let same = |a: (NicSource, Option<u16>), b: (NicSource, Option<u16>)| {
            segment(&a.0, a.1, &host) == segment(&b.0, b.1, &host)
        };
        assert!(same((network("default"), None), (bridge("virbr0"), None)));
        assert!(same((network("sriov"), None), (network("sriov"), None)));
        assert!(same((bridge("ovs0"), Some(7)), (NicSource::Ovs("ovs0".to_owned()), Some(7))));
        assert!(!same((network("default"), None), (bridge("br0"), None)));
        assert!(!same((bridge("br0"), None), (bridge("br0"), Some(7))));
    }

    #[test]
    fn cards_of_other_domains_are_read() {
        let text = "<domain><devices>\
            <interface type='network'><mac address='52:54:00:00:00:01'/>\
              <source network='default' bridge='virbr0'/></interface>\
            <interface type='bridge'><mac address='52:54:00:00:00:02'/><source bridge='br0'/>\
              <vlan trunk='yes'><tag id='42'/><tag id='47'/></vlan></interface>\
            <interface type='user'><mac address='52:54:00:00:00:03'/></interface>\
            </devices></domain>";
        let found: SourceDomain = xml::read("domain", text).expect("reads");
        let cards: Vec<_> =
            found.devices.interface.iter().filter_map(|one| card("web01", one)).collect();
        assert_eq!(cards.len(), 2, "a user's network is nobody else's");
        assert_eq!(cards[0].source, NicSource::Network("default".to_owned()));
        assert_eq!((cards[1].vlan, cards[1].domain.as_str()), (Some(42), "web01"));
    }
}
