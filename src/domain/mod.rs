//! Plans the target domain: pure decisions based on the source VM, the capabilities of the host and
//! the user's options. Each file contains one group of rules; [`plan`] applies them all. The module
//! `libvirt::xml` converts the decisions to XML.

mod boot_bus;
mod cpu;
mod disks;
mod error;
mod family;
mod firmware;
mod guest;
mod hardware;
pub mod hints;
mod host;
mod identity;
mod kinds;
mod machine;
mod name;
mod network;
mod network_map;
mod nic_model;
mod plan;
mod ports;
mod profile;
mod resolve;
mod sound;
mod spec;
mod storage;
mod text;
mod tpm;
mod virtio;

#[cfg(test)]
mod fixture;

pub use disks::{PlannedDisk, device_name, medium_name, volume_name};
pub use error::Error;
pub use family::Family;
pub use guest::windows_ids;
pub use hardware::{CpuChoice, DiskBus, Hardware, NoCpuModel, TpmChoice};
pub use host::{
    Chipset, Closed, DomainType, HostBridge, HostCapabilities, HostNetwork, OwnDaemon, Platform,
    UnknownDomainType, UserNetwork,
};
pub use identity::{GenId, Identity};
pub use kinds::{DiskKind, NicKind};
pub use name::{check_name, domain_name};
pub use network::check_connections;
pub use network_map::{Attachment, BadMapping, MappedSource, NetworkMap, NetworkMapping};
pub use plan::{PlanOptions, plan};
pub use profile::Profile;
pub use resolve::resolve;
pub use spec::{
    CdromSpec, CpuMode, Decisions, DiskSpec, DomainSpec, FirmwareSpec, NicSource, NicSpec,
    Provenance, ScsiModel, SoundModel, TpmModel,
};
