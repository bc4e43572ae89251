//! Everything that is made in libvirt, on a real daemon.

#[path = "../support/mod.rs"]
mod support;

mod after;
mod devices;
mod domains;
mod faults;
mod fields;
mod golden;
mod hardware;
mod networks;
mod remote;
mod storage;
mod transports;
