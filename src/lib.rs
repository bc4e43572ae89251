//! hyperexport takes a virtual machine out of VMware vSphere, converts its disks for KVM and hands
//! the result to libvirt. ARCHITECTURE.md says how the rooms hang together.

pub mod budget;
pub mod child;
pub mod cli;
pub mod convert;
pub mod digest;
pub mod domain;
pub mod exporter;
pub mod image;
pub mod kvm;
pub mod libvirt;
pub mod manifest;
pub mod model;
pub mod panics;
pub mod pipeline;
pub mod progress;
#[cfg(test)]
mod schemas;
pub mod settings;
pub mod state;
