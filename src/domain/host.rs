//! What a host can do, as far as the decisions here need it. `libvirt` fills it from the
//! capabilities and domain capabilities of the daemon.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::kinds::NicKind;

/// How a guest's CPU is run (libvirt's `<domain type='…'>`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DomainType {
    /// By the processor itself.
    Kvm,
    /// By emulation (TCG): slow, but it runs everywhere.
    Qemu,
}

impl DomainType {
    /// libvirt's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Qemu => "qemu",
        }
    }
}

impl fmt::Display for DomainType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no domain type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a domain type: kvm or qemu")]
pub struct UnknownDomainType(String);

impl FromStr for DomainType {
    type Err = UnknownDomainType;

    fn from_str(text: &str) -> Result<Self, UnknownDomainType> {
        match text {
            "kvm" => Ok(Self::Kvm),
            "qemu" => Ok(Self::Qemu),
            other => Err(UnknownDomainType(other.to_owned())),
        }
    }
}

/// The mainboard that QEMU shows to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Chipset {
    /// Intel 440FX: what a BIOS guest knows.
    Pc,
    /// Intel Q35: PCI Express, and the only one with secure boot.
    Q35,
}

impl Chipset {
    /// QEMU's alias of the newest machine with this chipset.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pc => "pc",
            Self::Q35 => "q35",
        }
    }
}

impl fmt::Display for Chipset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one combination of domain type and chipset offers (libvirt's domain capabilities).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// The domain type that was asked about.
    pub domain_type: DomainType,
    /// The chipset that was asked about.
    pub chipset: Chipset,
    /// Canonical machine name: `pc-q35-10.0`.
    pub machine: String,
    /// Absolute path of the emulator on the host.
    pub emulator: String,
    /// Most virtual CPUs.
    pub max_vcpus: u32,
    /// Whether libvirt can select an EFI firmware by itself.
    pub efi: bool,
    /// Whether one of those enforces signatures.
    pub secure_boot: bool,
    /// CPU modes that are supported: `host-passthrough`, `maximum`, `host-model`, `custom`.
    pub cpu_modes: Vec<String>,
    /// CPU models that `custom` may name here.
    pub cpu_models: Vec<String>,
    /// Buses that a disk may hang on: `virtio`, `scsi`, …; empty where libvirt does not say.
    pub disk_buses: Vec<String>,
    /// Models of a TPM 2.0 by the host's emulator: `tpm-crb`, …; empty where it has none.
    pub tpm: Vec<String>,
    /// Models of a panic device: `isa`, `hyperv`; empty where libvirt does not say.
    pub panic: Vec<String>,
    /// Video models: `virtio`, `vga`, …
    pub video: Vec<String>,
    /// Hyper-V enlightenments: `relaxed`, `vapic`, …, and `stimer_direct` and the like where
    /// libvirt's defaults have them on.
    pub hyperv: Vec<String>,
    /// What can carry a user network, the better first.
    pub user_networks: Vec<UserNetwork>,
}

/// What carries a user network: no rights are needed for it, and no bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserNetwork {
    /// QEMU itself (SLIRP).
    Slirp,
    /// The program passt, which is faster.
    Passt,
}

impl Platform {
    /// Whether QEMU is that of an enterprise distribution, which builds it without the devices of
    /// VMware and of old PCs. No capability tells.
    pub fn is_enterprise(&self) -> bool {
        self.machine.contains("rhel")
    }

    /// Whether the emulator has network cards of this model.
    pub fn has_card(&self, model: NicKind) -> bool {
        !(self.is_enterprise() && matches!(model, NicKind::Vmxnet3 | NicKind::Pcnet))
    }
}

/// A bridge that a guest's network interface can be plugged into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostBridge {
    /// Name of the bridge: `virbr0`.
    pub name: String,
    /// The libvirt network that owns it, if one does.
    pub network: Option<String>,
    /// Whether it is there now. A bridge whose network is not started is not.
    pub active: bool,
    /// Whether it and libvirt can tag a guest's frames.
    pub vlans: bool,
    /// What keeps guests of a user's own daemon off it.
    pub closed: Option<Closed>,
}

/// What a user may not use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Why, as a clause.
    pub why: String,
    /// What to type to change that.
    pub remedy: String,
}

/// A daemon of a user's own (`/session`), which has his rights alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnDaemon {
    /// What keeps its guests off KVM.
    pub kvm: Option<Closed>,
    /// Whether its host could be looked at; else nobody knows which bridges are closed.
    pub seen: bool,
}

/// A libvirt network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostNetwork {
    /// Its name.
    pub name: String,
    /// Whether it is started.
    pub active: bool,
}

/// What a host can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCapabilities {
    /// Architecture of the guests that this describes: `x86_64`.
    pub arch: String,
    /// Everything that libvirt lists, in no particular order.
    pub platforms: Vec<Platform>,
    /// Whether KVM really runs guests here. libvirt may list it where it does not: nested,
    /// paravirtual or half configured.
    pub kvm_runs: bool,
    /// All bridges.
    pub bridges: Vec<HostBridge>,
    /// All networks, those without a bridge too.
    pub networks: Vec<HostNetwork>,
    /// Network interfaces that may be bridges of Open vSwitch: from outside they look like others.
    pub switches: Vec<String>,
    /// Present where the daemon is a user's own.
    pub own: Option<OwnDaemon>,
}

impl HostCapabilities {
    /// The platform of a domain type and a chipset, if the host has it.
    pub fn platform(&self, domain_type: DomainType, chipset: Chipset) -> Option<&Platform> {
        self.platforms.iter().find(|p| p.domain_type == domain_type && p.chipset == chipset)
    }

    /// Whether libvirt lists a domain type at all.
    pub fn lists(&self, domain_type: DomainType) -> bool {
        self.platforms.iter().any(|p| p.domain_type == domain_type)
    }
}
