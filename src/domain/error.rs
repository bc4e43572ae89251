//! Errors of planning a domain: one variant for each violated rule.

use super::hardware::DiskBus;
use super::hints;
use super::host::{Chipset, Closed, DomainType};
use super::kinds::NicKind;
use crate::model::{DiskFormat, Hint};

/// Why a domain cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The host does not offer the requested domain type, or offers none at all.
    #[error("the host offers no {domain_type} guests of architecture {arch}")]
    DomainType {
        /// Domain type that was requested or chosen.
        domain_type: DomainType,
        /// Architecture of the guest: `x86_64`.
        arch: String,
        /// Why a user's session daemon cannot use KVM.
        closed: Option<Closed>,
    },
    /// The host's emulator does not support the guest's architecture.
    #[error("the guest is for {guest} processors, and the host emulates {host}")]
    Architecture {
        /// Architecture of the guest, in libvirt's terms.
        guest: String,
        /// Architecture of the emulator.
        host: String,
    },
    /// The host's emulator lacks the chipset.
    #[error("the host offers no {chipset} machine for {domain_type} guests")]
    Machine {
        /// Chipset that the domain needs.
        chipset: Chipset,
        /// Domain type of the domain.
        domain_type: DomainType,
    },
    /// More virtual CPUs than the machine type supports.
    #[error("{vcpus} virtual CPUs are more than the {max} of machine {machine}")]
    TooManyVcpus {
        /// Number of virtual CPUs of the VM.
        vcpus: u32,
        /// Maximum of the machine type.
        max: u32,
        /// Canonical name of the machine type: `pc-q35-10.0`.
        machine: String,
    },
    /// The boot disk contains nothing to boot.
    #[error("{disk} contains {holds}")]
    Unbootable {
        /// ID of the boot disk.
        disk: String,
        /// What is missing: `no boot loader and no operating system`.
        holds: &'static str,
    },
    /// The VM has no memory.
    #[error("the VM has 0 MiB of memory")]
    NoMemory,
    /// An EFI guest on a host without EFI firmware.
    #[error("the host has no EFI firmware for {machine} guests")]
    NoEfi {
        /// Canonical name of the machine type: `pc-q35-10.0`.
        machine: String,
    },
    /// A secure-boot guest on a host whose firmware does not support secure boot.
    #[error("the host has no EFI firmware with secure boot for {machine} guests")]
    NoSecureBoot {
        /// Canonical name of the machine type: `pc-q35-10.0`.
        machine: String,
    },
    /// A TPM on a host without swtpm, the TPM emulator.
    #[error("the host has no emulator of a TPM 2.0, and {why}")]
    NoTpm {
        /// Why the domain needs a TPM, as a clause.
        why: &'static str,
    },
    /// A CPU model that the host does not offer.
    #[error("the host offers no CPU model '{model}' for {domain_type} guests")]
    CpuModel {
        /// CPU model or mode that the user requested.
        model: String,
        /// Domain type of the domain.
        domain_type: DomainType,
        /// CPU modes and models that the host offers.
        existing: Vec<String>,
    },
    /// A disk bus that the machine type or its emulator lacks.
    #[error("machine {machine} has no {bus} disks")]
    NoBus {
        /// Bus that was requested or chosen.
        bus: DiskBus,
        /// Canonical name of the machine type: `pc-q35-10.0`.
        machine: String,
    },
    /// More disks and drives than the IDE controller can attach.
    #[error("{devices} disks and CD-ROM drives are more than the 4 places of IDE")]
    IdeFull {
        /// Number of disks and CD-ROM drives.
        devices: usize,
    },
    /// A guest that supports only IDE, on a machine type with too few IDE ports.
    #[error("the guest supports IDE disks only, and machine {machine} has no place for {disks}")]
    NeedsIde {
        /// Number of disks of the VM.
        disks: usize,
        /// Canonical name of the machine type: `pc-q35-10.0`.
        machine: String,
    },
    /// I/O threads for disks whose bus does not support them.
    #[error("disks on {bus} cannot use I/O threads")]
    NoIothreads {
        /// Bus of the disks.
        bus: DiskBus,
    },
    /// Secure boot without EFI.
    #[error("secure boot is on, but the VM boots by BIOS")]
    SecureBootOnBios,
    /// The host has no bridge of that name.
    #[error("bridge '{bridge}' does not exist on the host")]
    NoBridge {
        /// Name of the bridge that the user requested.
        bridge: String,
        /// Names of the bridges of the host.
        existing: Vec<String>,
    },
    /// The host has no libvirt network of that name.
    #[error("network '{network}' does not exist on the host")]
    NoNetwork {
        /// Name of the network that the user requested.
        network: String,
        /// Names of the libvirt networks of the host.
        existing: Vec<String>,
    },
    /// An inactive network, with which a domain cannot start.
    #[error("network '{network}' is not started")]
    NetworkInactive {
        /// Name of the network.
        network: String,
    },
    /// A bridge that guests of a user's session daemon may not join.
    #[error("bridge '{bridge}' is closed to guests of your own daemon: {}", .closed.why)]
    BridgeClosed {
        /// Name of the bridge.
        bridge: String,
        /// Reason and remedy.
        closed: Closed,
    },
    /// An Open vSwitch bridge with a session daemon: joining it needs root's rights.
    #[error("guests of a user's own daemon cannot join Open vSwitch bridge '{bridge}'")]
    SwitchOfUser {
        /// Name of the bridge.
        bridge: String,
    },
    /// The host supports no backend for a user network.
    #[error("the host has no backend for a user network")]
    NoUserNetwork,
    /// The host has no network interface of that name that could be an Open vSwitch bridge.
    #[error("Open vSwitch bridge '{bridge}' does not exist on the host")]
    NoSwitch {
        /// Name of the bridge that the user requested.
        bridge: String,
        /// Names of interfaces that may be Open vSwitch bridges.
        existing: Vec<String>,
    },
    /// A network that the user named for a card does not exist.
    #[error("'{network}' is neither a network nor a bridge of the host")]
    UnknownNetwork {
        /// Name that the user gave.
        network: String,
        /// Possible values of `--nic`.
        existing: Vec<String>,
    },
    /// Entries of the network map that match no card.
    #[error("no network card of the VM matches '{}'; {}", .unused.join("', '"), has(.cards))]
    UnusedMapping {
        /// Sources of these entries: the text before `=`.
        unused: Vec<String>,
        /// Descriptions of all cards of the VM.
        cards: Vec<String>,
    },
    /// A network card model that the host's QEMU does not include.
    #[error("machine {machine} has no {} network card", .model.as_str())]
    NoCard {
        /// Model that the user requested.
        model: NicKind,
        /// Canonical name of the machine type: `pc-q35-10.0`.
        machine: String,
    },
    /// A VLAN on a bridge that does not support VLANs.
    #[error("bridge '{bridge}' cannot tag the frames of VLAN {vlan}")]
    NoVlans {
        /// Name of the bridge.
        bridge: String,
        /// VLAN ID.
        vlan: u16,
    },
    /// Two network interfaces with the same MAC address.
    #[error("MAC address {mac} is that of {first} and of {second}")]
    DuplicateMac {
        /// MAC address.
        mac: String,
        /// ID of one interface.
        first: String,
        /// ID of the other interface.
        second: String,
    },
    /// A multicast MAC address, which no network interface may have.
    #[error("MAC address {mac} of {nic} is a multicast address")]
    MulticastMac {
        /// MAC address.
        mac: String,
        /// ID of the interface.
        nic: String,
    },
    /// A VM has no disks.
    #[error("no disk to boot from")]
    NoDisks,
    /// A disk is in a format that KVM does not support.
    #[error("{disk} is {format}, not qcow2 or raw")]
    DiskFormat {
        /// ID of the disk.
        disk: String,
        /// Format of the disk.
        format: DiskFormat,
    },
    /// A path with characters that XML cannot represent.
    #[error("the path of {disk} contains a control character")]
    DiskPath {
        /// ID of the disk.
        disk: String,
    },
    /// A name that libvirt or the host's file systems do not accept.
    #[error("'{name}' cannot be the name of a domain: {problem}")]
    Name {
        /// Name that was requested.
        name: String,
        /// What is wrong with the name.
        problem: &'static str,
    },
}

fn has(cards: &[String]) -> String {
    match cards {
        [] => "it has no network card".to_owned(),
        cards => format!("its cards: {}", cards.join(", ")),
    }
}

impl Error {
    /// Whether other flags of the target can solve the problem.
    pub fn is_by_other_flags(&self) -> bool {
        match self {
            Self::DomainType { domain_type, .. } => *domain_type == DomainType::Kvm,
            Self::NoBridge { existing, .. } => !existing.is_empty(),
            Self::Unbootable { .. }
            | Self::NoTpm { .. }
            | Self::CpuModel { .. }
            | Self::NoBus { .. }
            | Self::IdeFull { .. }
            | Self::NeedsIde { .. }
            | Self::NoIothreads { .. }
            | Self::NoNetwork { .. }
            | Self::UnknownNetwork { .. }
            | Self::UnusedMapping { .. }
            | Self::NoCard { .. }
            | Self::NoVlans { .. }
            | Self::DuplicateMac { .. }
            | Self::Name { .. } => true,
            _ => false,
        }
    }

    /// Hints for errors of network cards.
    fn hint_of_networks(&self) -> Option<String> {
        let hint = match self {
            Self::NoBridge { existing, .. } if existing.is_empty() => {
                "start libvirt's own bridge with 'virsh net-start default', or go without a bridge: \
                 --network-map '*=user'"
                    .to_owned()
            }
            Self::BridgeClosed { closed, .. } => {
                format!("{}; or go without a bridge: --network-map '*=user'", closed.remedy)
            }
            Self::SwitchOfUser { .. } => {
                "use --libvirt-uri qemu:///system, or go without a bridge: --network-map '*=user'"
                    .to_owned()
            }
            Self::NoUserNetwork => "install passt on the host".to_owned(),
            Self::NoBridge { existing, .. } => {
                format!(
                    "use --libvirt-bridge or --network-map with one of: {}",
                    existing.join(", ")
                )
            }
            Self::NoNetwork { existing, .. } if existing.is_empty() => {
                "map to a bridge instead, or to a user network: --network-map '*=user'; the host has \
                 no libvirt network"
                    .to_owned()
            }
            Self::NoNetwork { existing, .. } => {
                format!("map to one of: {}", existing.join(", "))
            }
            Self::UnknownNetwork { network, existing } => format!(
                "use --nic with one of: {}; or map the name: --network-map '{network}=bridge:NAME'",
                existing.join(", ")
            ),
            Self::UnusedMapping { .. } => {
                "correct the SOURCE of --network-map, or leave the entry out".to_owned()
            }
            Self::NoCard { .. } => {
                "use another model, or leave it to the rules: --nic without model=".to_owned()
            }
            Self::NetworkInactive { network } => {
                format!("start the network on the host: virsh net-start '{network}'")
            }
            Self::NoSwitch { existing, .. } => format!(
                "run 'ovs-vsctl list-br' on the host, which lists its bridges; candidates among its \
                 network interfaces: {}",
                if existing.is_empty() { "none".to_owned() } else { existing.join(", ") }
            ),
            Self::NoVlans { bridge, .. } => format!(
                "use libvirt 11.0 or newer and run 'ip link set {bridge} type bridge vlan_filtering \
                 1'; or map to a bridge over an interface of that VLAN, or to an Open vSwitch bridge"
            ),
            Self::DuplicateMac { .. } => "set another address for one of them in vSphere, or leave \
                it out: --network-map 'NETWORK=none'"
                .to_owned(),
            _ => return None,
        };
        Some(hint)
    }
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::DomainType { domain_type: DomainType::Kvm, closed, .. } => {
                let remedy = closed.as_ref().map_or(hints::KVM, |closed| &closed.remedy);
                format!("{remedy}, or emulate with --libvirt-domain-type qemu")
            }
            Self::DomainType { .. } | Self::Machine { .. } => hints::QEMU.to_owned(),
            Self::Architecture { .. } => "leave --libvirt out to export and convert the disks \
                alone, and define the domain by hand on a host of that architecture"
                .to_owned(),
            Self::NoEfi { .. } | Self::NoSecureBoot { .. } => hints::EFI.to_owned(),
            Self::Unbootable { .. } => {
                "define the domain all the same with --allow-unbootable, or name the disk that boots first"
                    .to_owned()
            }
            Self::NoTpm { .. } => {
                format!("{}, or go without: --libvirt-tpm off", hints::TPM)
            }
            Self::CpuModel { existing, .. } => {
                format!("use --libvirt-cpu-mode with one of: {}", existing.join(", "))
            }
            Self::NoBus { .. } | Self::IdeFull { .. } => {
                "use --disk-bus sata, or leave it to the rules with --disk-bus auto".to_owned()
            }
            Self::NeedsIde { .. } => "pass --disk-bus sata, virtio or scsi if such a driver was \
                added to the guest"
                .to_owned(),
            Self::NoIothreads { .. } => "leave --libvirt-iothreads out, or, if the guest has the \
                driver, use --disk-bus virtio or scsi"
                .to_owned(),
            Self::Name { .. } => "pass another name with --libvirt-name".to_owned(),
            _ => return self.hint_of_networks(),
        };
        Some(hint)
    }
}
