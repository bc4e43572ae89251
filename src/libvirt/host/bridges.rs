//! The networks and bridges that guests can be connected to: libvirt's networks, their bridges, and
//! the host's other bridges.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use virt::connect::Connect;
use virt::error::ErrorNumber;
use virt::network::Network;
use virt::sys;

use crate::domain::{HostBridge, HostNetwork};

use super::super::{Error, xml};

/// First version of libvirt that supports VLANs for guests on a Linux bridge (release notes of
/// 11.0.0).
const TAGS_SINCE: u32 = 11_000_000;

const SYSFS: &str = "/sys/class/net";

/// Everything on the host that guests can be connected to.
pub(in crate::libvirt) struct Connectors {
    /// All bridges, those of libvirt networks first.
    pub bridges: Vec<HostBridge>,
    pub networks: Vec<HostNetwork>,
    /// Network interfaces that may be Open vSwitch bridges.
    pub switches: Vec<String>,
}

pub(in crate::libvirt) fn list(connect: &Connect, local: bool) -> Result<Connectors, Error> {
    let version = connect.lib_version().map_err(Error::call("asking for libvirt's version"))?;
    // Bridges of a remote host cannot be inspected, so VLAN filtering is assumed.
    let vlans = |name: &str| version >= TAGS_SINCE && (!local || filters_vlans(name));
    let (names, switches) = if local {
        of_this_machine()
    } else {
        let all = of_a_remote_host(connect);
        (all.clone(), all)
    };
    let (mut bridges, mut networks) = (Vec::new(), Vec::new());
    for network in all_networks(connect)? {
        let name = network.name().map_err(Error::call("reading the name of a network"))?;
        // A network that is being removed has no state.
        let Ok(active) = network.is_active() else { continue };
        // A network may have no bridge: for example a pool of virtual functions.
        if let Ok(bridge) = network.bridge_name() {
            let (vlans, network) = (vlans(&bridge), Some(name.clone()));
            bridges.push(HostBridge { name: bridge, network, active, vlans, closed: None });
        }
        networks.push(HostNetwork { name, active });
    }
    for name in names {
        if bridges.iter().all(|known: &HostBridge| known.name != name) {
            let vlans = vlans(&name);
            bridges.push(HostBridge { name, network: None, active: true, vlans, closed: None });
        }
    }
    Ok(Connectors { bridges, networks, switches })
}

fn all_networks(connect: &Connect) -> Result<Vec<Network>, Error> {
    match connect.list_all_networks(0) {
        Ok(networks) => Ok(networks),
        // A daemon without the network driver still has the host's own bridges.
        Err(error) if error.code().is(ErrorNumber::NoSupport) => Ok(Vec::new()),
        Err(error) => Err(Error::call("listing networks")(error)),
    }
}

/// Bridges of this machine, and its virtual interfaces that are not bridges, from sysfs: Debian and
/// Ubuntu lack libvirt's interface driver.
fn of_this_machine() -> (Vec<String>, Vec<String>) {
    let Ok(interfaces) = fs::read_dir(SYSFS) else { return (Vec::new(), Vec::new()) };
    let mut names: Vec<_> = interfaces
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    names.sort();
    let (bridges, others): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| Path::new(SYSFS).join(name).join("bridge").is_dir());
    let is_virtual = |name: &String| {
        let device = fs::canonicalize(Path::new(SYSFS).join(name));
        name != "lo" && device.is_ok_and(|path| path.starts_with("/sys/devices/virtual"))
    };
    (bridges, others.into_iter().filter(is_virtual).collect())
}

/// Whether the kernel filters VLANs on a bridge of this machine; a kernel built without the feature
/// has no such file.
fn filters_vlans(bridge: &str) -> bool {
    let file = Path::new(SYSFS).join(bridge).join("bridge/vlan_filtering");
    fs::read_to_string(file).is_ok_and(|text| text.trim() == "1")
}

#[derive(Deserialize)]
struct NodeDevice {
    capability: Capability,
}

#[derive(Deserialize)]
struct Capability {
    interface: String,
}

/// All network interfaces that the daemon lists. It does not report which of them are bridges.
fn of_a_remote_host(connect: &Connect) -> Vec<String> {
    let devices = match connect.list_all_node_devices(sys::VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET) {
        Ok(devices) => devices,
        Err(error) => {
            tracing::debug!(%error, "the daemon does not list network interfaces");
            return Vec::new();
        }
    };
    let interface = |text: String| xml::read::<NodeDevice>("device", &text).ok();
    let mut names: Vec<_> = devices
        .iter()
        .filter_map(|device| Some(interface(device.xml_desc(0).ok()?)?.capability.interface))
        .collect();
    names.sort();
    names
}
