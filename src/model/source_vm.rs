//! Description of a VM at its source, in terms that do not depend on the source.

use serde::{Deserialize, Serialize};

use super::{Board, ByteSize, DiskId, GuestCard, GuestFacts, MacAddress};

/// A virtual machine as its source describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SourceVm {
    /// Kind of source: `vsphere`, `local`, … (Artifact Manifest v1.0, `source.provider`).
    pub provider: String,
    /// Identifier of the VM at the source: a moref such as `vm-42` for vSphere.
    pub id: String,
    /// Display name, decoded, exactly as the source shows it.
    pub name: String,
    /// `config.instanceUuid`, if the source has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_uuid: Option<String>,
    /// Inventory path such as `/DC0/vm/Prod/web01`, if the source has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory_path: Option<String>,
    /// Name of the vSphere datacenter, if the source has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacenter: Option<String>,
    /// Power state of the VM.
    pub power: PowerState,
    /// Architecture by libvirt's name (`x86_64`, `i686`, `aarch64`), if the source reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// Number and topology of the virtual CPUs.
    pub cpu: CpuTopology,
    /// Memory in MiB, not rounded.
    pub memory_mib: u64,
    /// Firmware that boots the VM.
    pub firmware: Firmware,
    /// Whether the firmware enforces Secure Boot signatures.
    pub secure_boot: bool,
    /// Whether the VM has a virtual TPM.
    #[serde(default)]
    pub vtpm: bool,
    /// Number of CD-ROM drives.
    #[serde(default)]
    pub cdroms: u32,
    /// Identity of the VM and its minor devices.
    #[serde(default, skip_serializing_if = "Board::is_empty")]
    pub board: Board,
    /// Server of the source, and time of the export.
    #[serde(default)]
    pub origin: Origin,
    /// Values of this description that the source does not state.
    #[serde(default, skip_serializing_if = "Assumed::is_nothing")]
    pub assumed: Assumed,
    /// Guest operating system, as the source reports it.
    pub guest: GuestOs,
    /// Disks in the order of controller bus and unit; the boot disk has `boot_order` 0.
    pub disks: Vec<SourceDisk>,
    /// Network interfaces in the order of the source.
    pub nics: Vec<SourceNic>,
    /// Facts about the guest that were read from its disks, after INSPECT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<GuestFacts>,
}

/// Facts of a VM that its source does not state: they are assumed until the disks are inspected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Assumed {
    /// Whether `firmware` of the VM was assumed.
    #[serde(default)]
    pub firmware: bool,
    /// Whether the boot disk was assumed from the order of the disks.
    #[serde(default)]
    pub boot_disk: bool,
}

impl Assumed {
    /// Whether the source stated all of these facts.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Server and time of an export, for people who find the VM later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Origin {
    /// Host name or address of the vCenter or ESXi host, if the VM was exported from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Time at which the export was complete (RFC 3339); absent before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exported_at: Option<String>,
}

/// Power state of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PowerState {
    /// Powered off, without saved memory.
    Off,
    /// Powered on.
    On,
    /// Suspended, with its memory saved.
    Suspended,
    /// Not reported by the source.
    Unknown,
}

impl PowerState {
    /// The name in lists and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Suspended => "suspended",
            Self::Unknown => "unknown",
        }
    }
}

/// Number of virtual CPUs, and their topology as the guest sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CpuTopology {
    /// Number of all virtual CPUs, at least 1.
    pub vcpus: u32,
    /// Virtual CPUs of one socket, at least 1; `vcpus` when the source does not divide them evenly.
    pub cores_per_socket: u32,
    /// Threads of one core; absent if the source reports no threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads_per_core: Option<u32>,
}

impl CpuTopology {
    /// A topology with an integral number of sockets. A `cores_per_socket` that is 0 or does not
    /// divide `vcpus` counts as one core per socket, the source's own default.
    pub fn new(vcpus: u32, cores_per_socket: u32) -> Self {
        let vcpus = vcpus.max(1);
        let whole = cores_per_socket > 0 && vcpus.is_multiple_of(cores_per_socket);
        let cores_per_socket = if whole { cores_per_socket } else { 1 };
        Self { vcpus, cores_per_socket, threads_per_core: None }
    }

    /// The same topology with `threads` threads per core, if they divide the CPUs of a socket
    /// evenly.
    #[must_use]
    pub fn with_threads(self, threads: u32) -> Self {
        let whole = threads > 1 && self.cores_per_socket.is_multiple_of(threads);
        Self { threads_per_core: whole.then_some(threads), ..self }
    }

    /// Threads per core, at least 1.
    pub fn threads(self) -> u32 {
        self.threads_per_core.unwrap_or(1)
    }

    /// Number of sockets, at least 1.
    pub fn sockets(self) -> u32 {
        (self.vcpus / self.cores_per_socket.max(1)).max(1)
    }
}

/// Firmware of a VM. The manifest writes `uefi` for `efi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// PC BIOS.
    Bios,
    /// UEFI.
    Efi,
}

/// Guest operating system as the source reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GuestOs {
    /// The source's identifier: `ubuntu64Guest`; empty when unknown.
    pub id: String,
    /// Name as people read it: `Ubuntu Linux (64-bit)`; empty when unknown.
    pub full_name: String,
    /// Family of the operating system, on which decisions depend.
    pub family: OsFamily,
    /// Network configuration, as the guest's tools reported it while the guest was running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<GuestNetwork>,
}

/// Network configuration as the guest sees it, which a static configuration has to preserve.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GuestNetwork {
    /// Host name of the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Interfaces of the guest that have addresses.
    #[serde(default)]
    pub interfaces: Vec<GuestInterface>,
    /// Gateways of the guest's default routes.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// Name servers of the guest.
    #[serde(default)]
    pub dns: Vec<String>,
    /// Search domains of the guest.
    #[serde(default)]
    pub search: Vec<String>,
}

/// A network interface of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GuestInterface {
    /// MAC address of the network card.
    pub mac: MacAddress,
    /// Addresses with their prefix lengths: `192.0.2.7/24`.
    pub addresses: Vec<String>,
    /// Whether DHCP assigned any of the addresses, if the guest's tools report that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp: Option<bool>,
}

/// Operating system family (Artifact Manifest v1.0, `vm.os_hint`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OsFamily {
    /// Any Linux distribution.
    Linux,
    /// Any version of Windows.
    Windows,
    /// Another operating system, or not known.
    #[default]
    Unknown,
}

/// A disk of a source VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SourceDisk {
    /// Identifier of the disk: `disk-N` in controller order.
    pub id: DiskId,
    /// Device key at the source (vSphere: 2000 and up).
    pub key: i32,
    /// Name of the disk as people read it: `Hard disk 1`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// Controller to which the disk is attached.
    pub controller: Controller,
    /// Unit number on the controller.
    pub unit: u32,
    /// Size of the disk as the guest sees it, in bytes.
    pub capacity: ByteSize,
    /// Position in the boot order: 0 is the boot disk.
    pub boot_order: u32,
    /// The source's name of the backing file, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing: Option<String>,
    /// VMware's UUID of the disk, 32 hexadecimal digits in lower case: a SCSI disk shows it to the
    /// guest as `/dev/disk/by-id/scsi-3<uuid>` (vim25 `backing.uuid`, VMDK descriptor `ddb.uuid`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
}

impl SourceDisk {
    /// Numbers `boot_order`: the disks at the indices `named` first, in that order, then all others
    /// in theirs. An index out of range or repeated is skipped. Returns whether any disk was named.
    pub fn order_boot(disks: &mut [Self], named: &[usize]) -> bool {
        let (mut placed, mut next) = (vec![false; disks.len()], 0);
        for index in named.iter().copied().chain(0..disks.len()) {
            if placed.get(index) == Some(&false) {
                placed[index] = true;
                disks[index].boot_order = next;
                next += 1;
            }
        }
        named.iter().any(|index| *index < disks.len())
    }

    /// Makes the disk with that id the boot disk; the others keep their order. Returns whether the
    /// order has changed.
    pub fn boot_from(disks: &mut [Self], id: &DiskId) -> bool {
        let chosen = disks.iter().find(|disk| disk.id == *id);
        let Some(before) = chosen.map(|disk| disk.boot_order).filter(|order| *order != 0) else {
            return false;
        };
        for disk in disks {
            if disk.id == *id {
                disk.boot_order = 0;
            } else if disk.boot_order < before {
                disk.boot_order = disk.boot_order.saturating_add(1);
            }
        }
        true
    }

    /// The disk with the id, key and boot order of position `index`; the disk at 0 boots.
    #[must_use]
    pub fn at(self, index: usize) -> Self {
        Self {
            id: DiskId::from_index(index),
            key: i32::try_from(index).unwrap_or(i32::MAX),
            boot_order: u32::try_from(index).unwrap_or(u32::MAX),
            ..self
        }
    }
}

/// A disk controller of a source VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Controller {
    /// Kind of the bus.
    pub bus: Bus,
    /// Type of the controller by the source's name: `ParaVirtualSCSIController`.
    pub model: String,
    /// Bus number among the controllers of this kind.
    pub number: u32,
    /// VMware's slot on the PCI bus (`pciSlotNumber`), if the source reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
}

/// Kind of bus of a disk. The order is the one in which a PC's firmware searches for a boot disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// Parallel ATA.
    Ide,
    /// SCSI, LSI Logic, BusLogic or paravirtual.
    Scsi,
    /// AHCI.
    Sata,
    /// NVM Express.
    Nvme,
    /// Another bus, or not known.
    Other,
}

/// A network interface of a source VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SourceNic {
    /// Identifier of the interface: `nic-0`, …
    pub id: String,
    /// MAC address; absent if the source has not assigned one yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// Whether hyperexport made `mac`: the source has none, or `--new-mac` was passed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mac_made: bool,
    /// Address at the source that `--new-mac` replaced. The guest's configuration may contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_mac: Option<MacAddress>,
    /// VMware's PCI slot number of the card, from which a guest derives the name `ensN`
    /// (`ethernetN.pciSlotNumber`, vim25 `slotInfo.pciSlotNumber`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// Model of the card.
    pub model: NicModel,
    /// Name of the network or distributed port group; empty for none. For a card with `asked`, the
    /// network that the user passed.
    pub network: String,
    /// Whether the card is connected when the VM starts.
    pub connected: bool,
    /// Values of `--nic`; absent for a card that the source describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<AskedNic>,
}

impl SourceNic {
    /// A card at `index`, counted from 0, of which nothing is known: connected, without an address
    /// or a network.
    pub fn at(index: usize) -> Self {
        Self {
            id: format!("nic-{index}"),
            mac: None,
            mac_made: false,
            source_mac: None,
            slot: None,
            model: NicModel::Other,
            network: String::new(),
            connected: true,
            asked: None,
        }
    }
}

/// A network card that the user describes because the source does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AskedNic {
    /// Model of the domain's card; absent if hyperexport chooses the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<GuestCard>,
}

/// Model of a network interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum NicModel {
    /// VMware's vmxnet3.
    Vmxnet,
    /// VMware's paravirtual cards before vmxnet3, which QEMU does not emulate.
    Vmxnet2,
    /// virtio-net.
    Virtio,
    /// Realtek 8139.
    Rtl8139,
    /// Intel 82545EM.
    E1000,
    /// Intel 82574L.
    E1000e,
    /// AMD PCnet.
    Pcnet,
    /// Virtual function (SR-IOV) that is passed through.
    Sriov,
    /// Another model, or not known.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disks(count: usize) -> Vec<SourceDisk> {
        let disk = |index| {
            SourceDisk {
                id: DiskId::from_index(0),
                key: 0,
                label: String::new(),
                controller: Controller {
                    bus: Bus::Scsi,
                    model: String::new(),
                    number: 0,
                    slot: None,
                },
                unit: 0,
                capacity: ByteSize(512),
                boot_order: 0,
                backing: None,
                uuid: None,
            }
            .at(index)
        };
        (0..count).map(disk).collect()
    }

    #[test]
    fn threads_are_kept_where_they_divide_a_socket() {
        let threads = |cores, threads| CpuTopology::new(8, cores).with_threads(threads).threads();
        assert_eq!([threads(4, 2), threads(1, 2), threads(4, 3), threads(8, 0)], [2, 1, 1, 1]);
    }

    #[test]
    fn named_disks_boot_first_and_keep_their_ids() {
        for (named, told, order) in [
            (&[][..], false, [0, 1, 2]),
            (&[2][..], true, [1, 2, 0]),
            (&[1, 0][..], true, [1, 0, 2]),
            (&[2, 2, 7, 1][..], true, [2, 1, 0]),
            (&[9][..], false, [0, 1, 2]),
        ] {
            let mut disks = disks(3);
            assert_eq!(SourceDisk::order_boot(&mut disks, named), told, "{named:?}");
            let found: Vec<_> = disks.iter().map(|disk| disk.boot_order).collect();
            assert_eq!(found, order, "{named:?}");
            assert_eq!(disks[2].id.as_str(), "disk-2");
        }
    }

    #[test]
    fn the_disk_that_boots_goes_before_the_others() {
        for (chosen, changed, order) in [
            (0, false, [0, 1, 2]),
            (1, true, [1, 0, 2]),
            (2, true, [1, 2, 0]),
            (9, false, [0, 1, 2]),
        ] {
            let mut disks = disks(3);
            let id = DiskId::from_index(chosen);
            assert_eq!(SourceDisk::boot_from(&mut disks, &id), changed, "{chosen}");
            let found: Vec<_> = disks.iter().map(|disk| disk.boot_order).collect();
            assert_eq!(found, order, "{chosen}");
        }
    }
}
