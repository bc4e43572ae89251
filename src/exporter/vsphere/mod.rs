//! A vCenter or an ESXi host: one session, its inventory, and exports by lease.
//!
//! Needs vSphere 6.5 or newer. One [`VSphere`] is one login; whoever made it calls
//! [`VSphere::close`] on every path, since sessions are limited and live for half an hour. Calls
//! that take a cancellation token give everything back before they return; all others change
//! nothing on the server, so their futures may simply be dropped.

mod after;
mod args;
mod blocker;
mod datastore;
mod device_url;
mod download;
mod export;
mod folder;
mod granted;
mod guest_network;
mod hardware;
mod inspect;
mod inventory;
mod inventory_names;
mod lease;
mod lease_renewal;
mod node;
mod nvram;
mod part_files;
mod power;
mod properties;
mod select;
mod server_sums;
mod session;
mod snapshot;
mod soap;
mod tags;
mod tasks;
mod vm_board;

pub use blocker::ExportBlocker;
pub use granted::Granted;
pub use inspect::{ExpectedMedium, Inspected};
pub use inventory::VmSummary;
pub use session::VSphere;
pub use tags::Tag;

/// A door for `make fuzz`: all that reads a reply.
#[cfg(fuzzing)]
pub(super) fn fuzz(text: &str) {
    let Ok(node) = node::Node::parse(text) else { return };
    let (disks, _) = hardware::disks(&node, Some(&node));
    hardware::nics(&node, hardware::ExtraConfig(Some(&node)));
    guest_network::told(Some(&node), Some(&node));
    lease::Offer::read(&node);
    if let Some(object) = properties::Object::read(&node) {
        blocker::obstacles(&object);
    }
    assert!(disks.iter().all(|disk| disk.boot_order < u32::MAX));
}
