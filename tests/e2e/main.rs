//! The program itself, from the source to the domain.

#[path = "../support/mod.rs"]
mod support;

mod after;
mod again;
mod beside;
mod boots;
mod cards;
mod comes_back;
mod convert;
mod convert_faults;
mod doctor;
mod faults;
mod guest;
mod hyper2kvm;
mod job;
mod kill;
mod native;
mod network_names;
mod networks;
mod plan;
mod runs;
mod sequence;
mod snapshot;
mod source_after;
mod source_libvirt;
mod stream;
mod systems;
mod windows;
