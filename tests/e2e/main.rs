//! The program from the source to the domain.

#[path = "../support/mod.rs"]
mod support;

mod again;
mod beside;
mod cards;
mod comes_back;
mod doctor;
mod faults;
mod heavy;
mod job;
mod kill;
mod networks;
mod plan;
mod runs;
mod snapshot;
mod source_after;
mod source_libvirt;
mod stream;
