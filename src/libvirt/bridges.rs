//! The bridges of the host: those of libvirt's networks, and the others.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use virt::connect::Connect;
use virt::error::ErrorNumber;
use virt::sys;

use crate::domain::HostBridge;

use super::{Error, xml};

/// All bridges: the networks' first.
pub(super) fn list(connect: &Connect, local: bool) -> Result<Vec<HostBridge>, Error> {
    let mut bridges = of_networks(connect)?;
    for name in if local { of_this_machine() } else { of_a_remote_host(connect) } {
        if bridges.iter().all(|known| known.name != name) {
            bridges.push(HostBridge { name, network: None, active: true });
        }
    }
    Ok(bridges)
}

fn of_networks(connect: &Connect) -> Result<Vec<HostBridge>, Error> {
    let networks = match connect.list_all_networks(0) {
        Ok(networks) => networks,
        // A daemon without the network driver: it has the host's own bridges still.
        Err(error) if error.code().is(ErrorNumber::NoSupport) => return Ok(Vec::new()),
        Err(error) => return Err(Error::call("list networks")(error)),
    };
    let mut bridges = Vec::new();
    for network in networks {
        let name = network.name().map_err(Error::call("read the name of a network"))?;
        // A network may have none: a pool of virtual functions, for example.
        let Ok(bridge) = network.bridge_name() else { continue };
        // Nor does one that somebody removes just now have a state.
        let Ok(active) = network.is_active() else { continue };
        bridges.push(HostBridge { name: bridge, network: Some(name), active });
    }
    Ok(bridges)
}

/// By sysfs: libvirt's interface driver is missing on Debian and Ubuntu.
fn of_this_machine() -> Vec<String> {
    let Ok(interfaces) = fs::read_dir("/sys/class/net") else { return Vec::new() };
    let mut names: Vec<_> = interfaces
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| Path::new("/sys/class/net").join(name).join("bridge").is_dir())
        .collect();
    names.sort();
    names
}

#[derive(Deserialize)]
struct NodeDevice {
    capability: Capability,
}

#[derive(Deserialize)]
struct Capability {
    interface: String,
}

/// All network interfaces that the daemon knows: it does not tell which of them are bridges.
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
