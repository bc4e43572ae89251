//! Tests of exports from vSphere, against the simulator.

#[path = "../support/mod.rs"]
mod support;

mod datastore;
mod faults;
mod inventory;
mod many;
mod nvram;
mod packages;
mod transfer;
