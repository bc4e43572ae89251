//! Tests that start guests or the appliance of libguestfs, each of which takes a core.

mod after;
mod boots;
mod convert;
mod convert_faults;
mod guest;
mod hyper2kvm;
mod native;
mod network_names;
mod sequence;
mod systems;
mod windows;
