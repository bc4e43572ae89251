//! Tests that start guests or the appliance of libguestfs: one at a time, since each takes all cores.

mod after;
mod boots;
mod convert;
mod convert_faults;
mod guest;
mod hyper2kvm;
mod sequence;
