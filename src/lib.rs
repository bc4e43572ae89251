//! hyperexport exports virtual machines from VMware vSphere, converts their disks for KVM and
//! defines them in libvirt. ARCHITECTURE.md describes how the modules fit together.

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
