//! Why no domain can be planned: one variant for each broken rule.

use super::hardware::DiskBus;
use super::hints;
use super::host::{Chipset, Closed, DomainType};
use super::kinds::NicKind;
use crate::model::{DiskFormat, Hint};

/// Why no domain can be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The host does not offer the domain type asked for, or none at all.
    #[error("the host offers no {domain_type} guests of architecture {arch}")]
    DomainType {
        /// What was wanted.
        domain_type: DomainType,
        /// Of which architecture.
        arch: String,
        /// What keeps a user's own daemon off KVM.
        closed: Option<Closed>,
    },
    /// A guest whose processors the host's emulator does not have.
    #[error("the guest is for {guest} processors, and the host emulates {host}")]
    Architecture {
        /// The guest's architecture in libvirt's words.
        guest: String,
        /// The emulator's.
        host: String,
    },
    /// The host's emulator lacks the chipset.
    #[error("the host offers no {chipset} machine for {domain_type} guests")]
    Machine {
        /// What was wanted.
        chipset: Chipset,
        /// For which domain type.
        domain_type: DomainType,
    },
    /// More virtual CPUs than the machine takes.
    #[error("{vcpus} virtual CPUs are more than the {max} of machine {machine}")]
    TooManyVcpus {
        /// What the VM has.
        vcpus: u32,
        /// What the machine takes.
        max: u32,
        /// Canonical name of the machine.
        machine: String,
    },
    /// Nothing on the boot disk could be started.
    #[error("{disk} contains {holds}")]
    Unbootable {
        /// The boot disk.
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
        /// Canonical name of the machine.
        machine: String,
    },
    /// A secure-boot guest on a host whose firmware cannot.
    #[error("the host has no EFI firmware with secure boot for {machine} guests")]
    NoSecureBoot {
        /// Canonical name of the machine.
        machine: String,
    },
    /// A TPM on a host without the emulator.
    #[error("the host has no emulator of a TPM 2.0, and {why}")]
    NoTpm {
        /// Why the domain was to have one.
        why: &'static str,
    },
    /// A CPU model that the host does not offer.
    #[error("the host offers no CPU model '{model}' for {domain_type} guests")]
    CpuModel {
        /// What was asked for.
        model: String,
        /// For which domain type.
        domain_type: DomainType,
        /// What there is.
        existing: Vec<String>,
    },
    /// A disk bus that the machine or its emulator lacks.
    #[error("machine {machine} has no {bus} disks")]
    NoBus {
        /// What was asked for.
        bus: DiskBus,
        /// Canonical name of the machine.
        machine: String,
    },
    /// More disks and drives than there are places.
    #[error("{devices} disks and CD-ROM drives are more than the 4 places of IDE")]
    IdeFull {
        /// Disks and drives.
        devices: usize,
    },
    /// A guest that knows IDE only, on a machine without enough of it.
    #[error("the guest supports IDE disks only, and machine {machine} has no place for {disks}")]
    NeedsIde {
        /// How many disks it has.
        disks: usize,
        /// Canonical name of the machine.
        machine: String,
    },
    /// I/O threads for disks that cannot use them.
    #[error("disks on {bus} cannot use I/O threads")]
    NoIothreads {
        /// The bus.
        bus: DiskBus,
    },
    /// Secure boot without EFI.
    #[error("secure boot is on, but the VM boots by BIOS")]
    SecureBootOnBios,
    /// No bridge of that name.
    #[error("bridge '{bridge}' does not exist on the host")]
    NoBridge {
        /// What was asked for.
        bridge: String,
        /// What there is.
        existing: Vec<String>,
    },
    /// No network of that name.
    #[error("network '{network}' does not exist on the host")]
    NoNetwork {
        /// What was asked for.
        network: String,
        /// What there is.
        existing: Vec<String>,
    },
    /// A network that a domain could not start with.
    #[error("network '{network}' is not started")]
    NetworkInactive {
        /// Its name.
        network: String,
    },
    /// A bridge that guests of a user's own daemon may not join.
    #[error("bridge '{bridge}' is closed to guests of your own daemon: {}", .closed.why)]
    BridgeClosed {
        /// The bridge.
        bridge: String,
        /// Why, and what opens it.
        closed: Closed,
    },
    /// A bridge of Open vSwitch, which takes root's rights.
    #[error("guests of a user's own daemon cannot join Open vSwitch bridge '{bridge}'")]
    SwitchOfUser {
        /// The bridge.
        bridge: String,
    },
    /// Nothing on the host carries a user network.
    #[error("the host has no backend for a user network")]
    NoUserNetwork,
    /// Nothing that may be a bridge of Open vSwitch has that name.
    #[error("Open vSwitch bridge '{bridge}' does not exist on the host")]
    NoSwitch {
        /// What was asked for.
        bridge: String,
        /// What there is.
        existing: Vec<String>,
    },
    /// A name that the user gave for a card, and that stands for nothing.
    #[error("'{network}' is neither a network nor a bridge of the host")]
    UnknownNetwork {
        /// The name.
        network: String,
        /// What there is, in the words of `--nic`.
        existing: Vec<String>,
    },
    /// Entries of the map that are for no card.
    #[error("no network card of the VM matches '{}'; {}", .unused.join("', '"), has(.cards))]
    UnusedMapping {
        /// What stands before their `=`.
        unused: Vec<String>,
        /// All cards, for a person.
        cards: Vec<String>,
    },
    /// A model of network cards that the host's QEMU is built without.
    #[error("machine {machine} has no {} network card", .model.as_str())]
    NoCard {
        /// What was asked for.
        model: NicKind,
        /// Canonical name of the machine.
        machine: String,
    },
    /// A VLAN on a bridge that does not tag.
    #[error("bridge '{bridge}' cannot tag the frames of VLAN {vlan}")]
    NoVlans {
        /// The bridge.
        bridge: String,
        /// The VLAN.
        vlan: u16,
    },
    /// Two network interfaces of one address.
    #[error("MAC address {mac} is that of {first} and of {second}")]
    DuplicateMac {
        /// The address.
        mac: String,
        /// One interface.
        first: String,
        /// The other.
        second: String,
    },
    /// A MAC address that no network interface may have.
    #[error("MAC address {mac} of {nic} is a multicast address")]
    MulticastMac {
        /// The address.
        mac: String,
        /// The interface.
        nic: String,
    },
    /// A VM without disks.
    #[error("no disk to boot from")]
    NoDisks,
    /// A disk that is not in a format for KVM.
    #[error("{disk} is {format}, not qcow2 or raw")]
    DiskFormat {
        /// The disk.
        disk: String,
        /// Its format.
        format: DiskFormat,
    },
    /// A path that XML would change.
    #[error("the path of {disk} contains a control character")]
    DiskPath {
        /// The disk.
        disk: String,
    },
    /// A name that libvirt or the host's file systems do not take.
    #[error("'{name}' cannot be the name of a domain: {problem}")]
    Name {
        /// What was asked for.
        name: String,
        /// What is wrong with it.
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
    /// Whether the way out are other flags of the target.
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

    /// The same of network cards.
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
