//! The result of planning: every decision about a domain, apart from how XML spells it.

use std::ops::Deref;

use crate::model::{DiskFormat, DiskId, MacAddress};

use super::host::DomainType;
use super::profile::Profile;

/// A domain that keeps all rules. Only [`plan`](super::plan()) makes one, and nobody changes it.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainSpec(Decisions);

impl DomainSpec {
    pub(super) fn new(decisions: Decisions) -> Self {
        Self(decisions)
    }
}

impl Deref for DomainSpec {
    type Target = Decisions;

    fn deref(&self) -> &Decisions {
        &self.0
    }
}

/// What has been decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Decisions {
    /// Name of the domain, unique on its host.
    pub name: String,
    /// Display name of the source VM on one line; empty when nothing printable is left.
    pub title: String,
    /// Where the VM came from, on one line.
    pub description: String,
    /// How its CPU is run.
    pub domain_type: DomainType,
    /// Architecture: `x86_64`.
    pub arch: String,
    /// Canonical machine name: `pc-q35-10.0`.
    pub machine: String,
    /// Absolute path of the emulator on the host.
    pub emulator: String,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Virtual CPUs: `sockets` times `cores`, one thread each.
    pub vcpus: u32,
    /// Sockets.
    pub sockets: u32,
    /// Cores of a socket.
    pub cores: u32,
    /// CPU model.
    pub cpu: CpuMode,
    /// How it boots.
    pub firmware: FirmwareSpec,
    /// The devices and features that do not depend on the VM.
    pub profile: Profile,
    /// Video model to use where the profile has a video device; `None` where the host has none.
    pub video: Option<String>,
    /// Those of the profile's Hyper-V enlightenments that the host grants.
    pub hyperv: Vec<String>,
    /// Whether the guest may have the Hyper-V clock.
    pub hyperv_clock: bool,
    /// Disks, boot disk first.
    pub disks: Vec<DiskSpec>,
    /// Network interfaces in the order of the source.
    pub nics: Vec<NicSpec>,
}

/// CPU model of a domain (libvirt's `<cpu mode='…'>`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuMode {
    /// The host's own CPU.
    HostPassthrough,
    /// All that the emulator can do.
    Maximum,
    /// The hypervisor's default.
    Default,
}

/// How a domain boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirmwareSpec {
    /// PC BIOS.
    Bios,
    /// UEFI, selected by libvirt.
    Efi {
        /// Whether it enforces signatures, with the vendor's keys enrolled.
        secure_boot: bool,
    },
}

/// A disk of a domain. The bus is always virtio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSpec {
    /// Which disk of the VM.
    pub id: DiskId,
    /// Name on the bus: `vda`.
    pub target: String,
    /// Absolute path of the image on the host.
    pub path: String,
    /// Its format: qcow2 or raw.
    pub format: DiskFormat,
    /// Place in the boot order, from 1.
    pub boot: u32,
    /// Serial number that the guest sees.
    pub serial: Option<String>,
}

/// A network interface of a domain. The model is always virtio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicSpec {
    /// Its address; libvirt makes one when there is none.
    pub mac: Option<MacAddress>,
    /// What it is plugged into.
    pub source: NicSource,
    /// Whether the cable is plugged in.
    pub link_up: bool,
}

/// What a network interface is plugged into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NicSource {
    /// A libvirt network, by its name.
    Network(String),
    /// A bridge of the host.
    Bridge(String),
}
