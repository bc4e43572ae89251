//! What the target VM shall be: pure decisions from the facts of the source VM, the abilities of
//! the host and the user's options. One rule family a file; [`plan`] calls them all. How a
//! decision is spelled in XML is the business of `libvirt::xml`.

mod cpu;
mod disks;
mod error;
mod firmware;
mod host;
mod machine;
mod name;
mod network;
mod plan;
mod profile;
mod spec;
mod text;

#[cfg(test)]
mod fixture;

pub use disks::{PlannedDisk, volume_name};
pub use error::Error;
pub use host::{Chipset, DomainType, HostBridge, HostCapabilities, Platform, UnknownDomainType};
pub use name::{check_name, domain_name};
pub use plan::{PlanOptions, plan};
pub use profile::{Family, Profile};
pub use spec::{CpuMode, Decisions, DiskSpec, DomainSpec, FirmwareSpec, NicSource, NicSpec};
