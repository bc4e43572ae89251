//! Network interfaces.

use crate::model::SourceNic;

use super::Error;
use super::host::HostBridge;
use super::nic_model::Cards;
use super::spec::{NicSource, NicSpec};

/// All interfaces of the VM, plugged into `bridge`. The bridge must exist even for a VM without
/// interfaces: a wrong name is a mistake that is better said now.
pub(super) fn plug(
    nics: &[SourceNic],
    bridge: &str,
    bridges: &[HostBridge],
    cards: Cards<'_>,
) -> Result<Vec<NicSpec>, Error> {
    let source = source(bridge, bridges)?;
    nics.iter()
        .map(|nic| {
            if let Some(mac) = nic.mac.filter(|mac| mac.0[0] & 1 == 1) {
                let (mac, nic) = (mac.to_string(), nic.id.clone());
                return Err(Error::MulticastMac { mac, nic });
            }
            Ok(NicSpec {
                mac: nic.mac,
                model: cards.model(nic.model),
                source: source.clone(),
                link_up: nic.connected,
            })
        })
        .collect()
}

/// The libvirt network that owns the bridge (libvirt then keeps firewall, DHCP and start order in
/// hand), else the bridge itself.
fn source(bridge: &str, bridges: &[HostBridge]) -> Result<NicSource, Error> {
    let found = bridges.iter().find(|known| known.name == bridge).ok_or_else(|| {
        let existing = bridges.iter().map(|known| known.name.clone()).collect();
        Error::NoBridge { bridge: bridge.to_owned(), existing }
    })?;
    Ok(match &found.network {
        Some(network) => NicSource::Network(network.clone()),
        None => NicSource::Bridge(found.name.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture::{host, nic, vm};
    use crate::domain::{Chipset, Family};
    use crate::model::GuestOs;

    fn cards(guest: &GuestOs) -> Cards<'_> {
        Cards { family: Family::Linux, guest, fixed: true, chipset: Chipset::Pc }
    }

    #[test]
    fn a_network_that_owns_the_bridge_is_preferred() {
        let (bridges, guest) = (host().bridges, vm().guest);
        let plugged = |bridge| {
            plug(&[nic(0)], bridge, &bridges, cards(&guest)).expect("exists")[0].source.clone()
        };
        assert_eq!(plugged("virbr0"), NicSource::Network("default".to_owned()));
        assert_eq!(plugged("br0"), NicSource::Bridge("br0".to_owned()));
    }

    #[test]
    fn address_and_link_state_are_kept() {
        let mut unplugged = nic(1);
        unplugged.connected = false;
        let plugged =
            plug(&[nic(0), unplugged], "br0", &host().bridges, cards(&vm().guest)).expect("valid");
        assert_eq!(plugged[0].mac, nic(0).mac);
        assert_eq!([plugged[0].link_up, plugged[1].link_up], [true, false]);
    }

    #[test]
    fn an_unknown_bridge_is_refused_with_those_that_exist() {
        let error = plug(&[], "br9", &host().bridges, cards(&vm().guest)).expect_err("unknown");
        assert_eq!(error.hint().as_deref(), Some("use --libvirt-bridge with one of: virbr0, br0"));
    }

    #[test]
    fn a_multicast_address_is_refused() {
        let mut nic = nic(0);
        nic.mac = Some("01:00:5e:00:00:01".parse().expect("a MAC address"));
        assert!(matches!(
            plug(&[nic], "br0", &host().bridges, cards(&vm().guest)),
            Err(Error::MulticastMac { .. })
        ));
    }
}
