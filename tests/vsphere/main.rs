//! Everything that is taken from vSphere, against the simulator.

#[path = "../support/mod.rs"]
mod support;

mod datastore;
mod faults;
mod inventory;
mod nvram;
mod packages;
mod transfer;
