//! Capabilities of a host, as far as planning needs them. The module `libvirt` fills them from the
//! capabilities and domain capabilities of the daemon.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::kinds::NicKind;

/// How a guest's CPU is virtualized (libvirt's `<domain type='…'>`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DomainType {
    /// Hardware virtualization.
    Kvm,
    /// Emulation (TCG): slow, but available on every host.
    Qemu,
}

impl DomainType {
    /// Name of the domain type in libvirt.
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

/// A text that is no valid domain type.
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

/// Chipset that QEMU emulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Chipset {
    /// Intel 440FX, with PCI and IDE.
    Pc,
    /// Intel Q35: PCI Express, and the only chipset with secure boot.
    Q35,
}

impl Chipset {
    /// QEMU's alias of the newest machine type with this chipset.
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

/// Capabilities of one combination of domain type and chipset (libvirt's domain capabilities).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// Domain type of the query.
    pub domain_type: DomainType,
    /// Chipset of the query.
    pub chipset: Chipset,
    /// Canonical machine name: `pc-q35-10.0`.
    pub machine: String,
    /// Absolute path of the emulator on the host.
    pub emulator: String,
    /// Maximum number of virtual CPUs.
    pub max_vcpus: u32,
    /// Whether libvirt can select an EFI firmware automatically.
    pub efi: bool,
    /// Whether an available EFI firmware enforces signatures.
    pub secure_boot: bool,
    /// Supported CPU modes: `host-passthrough`, `maximum`, `host-model`, `custom`.
    pub cpu_modes: Vec<String>,
    /// CPU models that `custom` may name on this host.
    pub cpu_models: Vec<String>,
    /// Supported disk buses: `virtio`, `scsi`, …; empty if libvirt does not list them.
    pub disk_buses: Vec<String>,
    /// Models of the emulated TPM 2.0: `tpm-crb`, …; empty if the host has no emulator.
    pub tpm: Vec<String>,
    /// Panic device models: `isa`, `hyperv`; empty if libvirt does not list them.
    pub panic: Vec<String>,
    /// Video models: `virtio`, `vga`, …
    pub video: Vec<String>,
    /// Hyper-V enlightenments: `relaxed`, `vapic`, …; also options such as `stimer_direct` that
    /// libvirt enables by default.
    pub hyperv: Vec<String>,
    /// Supported backends of a user network, the preferred first.
    pub user_networks: Vec<UserNetwork>,
}

/// Backend of a user network, which needs neither privileges nor a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserNetwork {
    /// QEMU's own backend (SLIRP).
    Slirp,
    /// The program passt, which is faster than SLIRP.
    Passt,
}

impl Platform {
    /// Whether QEMU is built by an enterprise distribution, without the devices of VMware and of
    /// old PCs. No capability shows that.
    pub fn is_enterprise(&self) -> bool {
        self.machine.contains("rhel")
    }

    /// Whether the emulator supports network cards of this model.
    pub fn has_card(&self, model: NicKind) -> bool {
        !(self.is_enterprise() && matches!(model, NicKind::Vmxnet3 | NicKind::Pcnet))
    }
}

/// A bridge that a guest's network interface can join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostBridge {
    /// Name of the bridge: `virbr0`.
    pub name: String,
    /// libvirt network that owns the bridge, if any.
    pub network: Option<String>,
    /// Whether the bridge exists now. A bridge of an inactive network does not.
    pub active: bool,
    /// Whether the bridge and libvirt can tag a guest's frames with a VLAN.
    pub vlans: bool,
    /// Why guests of a user's session daemon may not join the bridge.
    pub closed: Option<Closed>,
}

/// Why a user may not use something, and how to change that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Reason, as a clause.
    pub why: String,
    /// Command that changes that.
    pub remedy: String,
}

/// A user's session daemon (`/session`), which has only the rights of that user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnDaemon {
    /// Why its guests cannot use KVM.
    pub kvm: Option<Closed>,
    /// Whether the host could be inspected; otherwise it is unknown which bridges are closed.
    pub seen: bool,
}

/// A libvirt network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostNetwork {
    /// Name of the network.
    pub name: String,
    /// Whether the network is started.
    pub active: bool,
}

/// Capabilities of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCapabilities {
    /// Architecture of the supported guests: `x86_64`.
    pub arch: String,
    /// All platforms that libvirt lists, in no particular order.
    pub platforms: Vec<Platform>,
    /// Whether KVM really runs guests. libvirt may list KVM even if it does not: nested,
    /// paravirtual or misconfigured.
    pub kvm_runs: bool,
    /// All bridges of the host.
    pub bridges: Vec<HostBridge>,
    /// All libvirt networks, including those without a bridge.
    pub networks: Vec<HostNetwork>,
    /// Network interfaces that may be Open vSwitch bridges: they are not distinguishable from other
    /// interfaces.
    pub switches: Vec<String>,
    /// Restrictions of a user's session daemon; `None` for a system daemon.
    pub own: Option<OwnDaemon>,
}

impl HostCapabilities {
    /// The platform for a domain type and a chipset, if the host offers it.
    pub fn platform(&self, domain_type: DomainType, chipset: Chipset) -> Option<&Platform> {
        self.platforms.iter().find(|p| p.domain_type == domain_type && p.chipset == chipset)
    }

    /// Whether libvirt lists a domain type on any chipset.
    pub fn lists(&self, domain_type: DomainType) -> bool {
        self.platforms.iter().any(|p| p.domain_type == domain_type)
    }
}
