//! A vCenter or an ESXi host: one session, its inventory, and exports by lease.
//!
//! Requires vSphere 6.5 or newer. One [`VSphere`] is one login; its owner calls [`VSphere::close`]
//! on every path, since sessions are limited and live for half an hour. Calls with a cancellation
//! token release all server resources before they return. All other calls change nothing on the
//! server, so their futures may be dropped.

mod datastore;
mod inventory;
mod lease;
mod soap;
pub(super) mod vm;

pub use inventory::granted::Granted;
pub use soap::session::VSphere;

/// Entry point for `make fuzz`: all parsers of replies.
#[cfg(fuzzing)]
pub(super) fn fuzz(text: &str) {
    let Ok(node) = soap::node::Node::parse(text) else { return };
    let extra = vm::hardware::ExtraConfig(Some(&node));
    let (disks, _) = vm::hardware::disks(&node, Some(&node), extra);
    vm::hardware::nics(&node, extra);
    vm::guest_network::told(Some(&node), Some(&node));
    lease::Offer::read(&node);
    if let Some(object) = soap::properties::Object::read(&node) {
        vm::blocker::obstacles(&object);
    }
    assert!(disks.iter().all(|disk| disk.boot_order < u32::MAX));
}
