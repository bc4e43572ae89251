//! One VM of vSphere: its configuration, power state, snapshots and firmware variables.

pub(in crate::exporter) mod after;
pub(in crate::exporter) mod blocker;
pub(in crate::exporter) mod guest_network;
pub(in crate::exporter) mod hardware;
pub(in crate::exporter) mod inspect;
pub(in crate::exporter) mod nvram;
pub(in crate::exporter) mod power;
pub(in crate::exporter) mod snapshot;
pub(in crate::exporter) mod vm_board;
