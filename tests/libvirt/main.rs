//! Tests of imports into libvirt, on a real daemon.

#[path = "../support/mod.rs"]
mod support;

mod completions;
mod devices;
mod domains;
mod faults;
mod fields;
mod golden;
mod hardware;
mod heavy;
mod networks;
mod storage;
mod transports;
