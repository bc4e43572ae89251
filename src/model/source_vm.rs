//! What a VM is at its source, in terms that do not depend on the source.

use serde::{Deserialize, Serialize};

use super::{Board, ByteSize, DiskId, GuestCard, GuestFacts, MacAddress};

/// A virtual machine as its source describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SourceVm {
    /// `vsphere`, `local`, … (Artifact Manifest v1.0, `source.provider`).
    pub provider: String,
    /// The source's own id: a moref such as `vm-42` for vSphere.
    pub id: String,
    /// Display name, decoded, exactly as the source shows it.
    pub name: String,
    /// `config.instanceUuid`, where the source has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_uuid: Option<String>,
    /// Inventory path such as `/DC0/vm/Prod/web01`, where the source has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory_path: Option<String>,
    /// Name of the datacenter, where the source has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacenter: Option<String>,
    /// Whether it runs.
    pub power: PowerState,
    /// Architecture in libvirt's words (`x86_64`, `i686`, `aarch64`), where the source tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// Virtual CPUs.
    pub cpu: CpuTopology,
    /// Memory in MiB, exact.
    pub memory_mib: u64,
    /// How it boots.
    pub firmware: Firmware,
    /// Whether the firmware enforces signatures.
    pub secure_boot: bool,
    /// Whether it has a virtual TPM.
    #[serde(default)]
    pub vtpm: bool,
    /// Number of CD-ROM drives.
    #[serde(default)]
    pub cdroms: u32,
    /// Its identity and its lesser devices.
    #[serde(default, skip_serializing_if = "Board::is_empty")]
    pub board: Board,
    /// Where and when it was taken.
    #[serde(default)]
    pub origin: Origin,
    /// What of this the source left open.
    #[serde(default, skip_serializing_if = "Assumed::is_nothing")]
    pub assumed: Assumed,
    /// The guest operating system.
    pub guest: GuestOs,
    /// Disks in the order of controller bus and unit; the boot disk has `boot_order` 0.
    pub disks: Vec<SourceDisk>,
    /// Network interfaces in the order of the source.
    pub nics: Vec<SourceNic>,
    /// What its disks say of the guest, once they were looked into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<GuestFacts>,
}

/// Facts of a VM that its source does not state: they are assumed, and the disks decide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Assumed {
    /// `firmware` of the VM was assumed.
    #[serde(default)]
    pub firmware: bool,
    /// Which disk boots was assumed from the order of the disks.
    #[serde(default)]
    pub boot_disk: bool,
}

impl Assumed {
    /// Whether the source told all of it.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Where and when a VM was exported, for a person who finds it later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Origin {
    /// Host name or address of the vCenter or ESXi host, if it came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// When its export was complete (RFC 3339); none before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exported_at: Option<String>,
}

/// Whether a VM runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PowerState {
    /// Not running, nothing in memory.
    Off,
    /// Running.
    On,
    /// Stopped with its memory kept.
    Suspended,
    /// The source does not say.
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

/// Virtual CPUs and how the guest sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CpuTopology {
    /// All virtual CPUs, at least 1.
    pub vcpus: u32,
    /// Virtual CPUs of one socket, at least 1; `vcpus` when the source does not divide them evenly.
    pub cores_per_socket: u32,
    /// How many of those are threads of one core; none where nobody says that they are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads_per_core: Option<u32>,
}

impl CpuTopology {
    /// A topology whose sockets come out whole: a `cores_per_socket` that is 0 or does not divide
    /// `vcpus` counts as one core a socket, the source's own default.
    pub fn new(vcpus: u32, cores_per_socket: u32) -> Self {
        let vcpus = vcpus.max(1);
        let whole = cores_per_socket > 0 && vcpus.is_multiple_of(cores_per_socket);
        let cores_per_socket = if whole { cores_per_socket } else { 1 };
        Self { vcpus, cores_per_socket, threads_per_core: None }
    }

    /// The same with cores of so many threads, if the CPUs of a socket can be divided so.
    #[must_use]
    pub fn with_threads(self, threads: u32) -> Self {
        let whole = threads > 1 && self.cores_per_socket.is_multiple_of(threads);
        Self { threads_per_core: whole.then_some(threads), ..self }
    }

    /// Threads of one core.
    pub fn threads(self) -> u32 {
        self.threads_per_core.unwrap_or(1)
    }

    /// Number of sockets.
    pub fn sockets(self) -> u32 {
        (self.vcpus / self.cores_per_socket.max(1)).max(1)
    }
}

/// Firmware of a VM. The manifest writes `uefi` where this has `efi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// PC BIOS.
    Bios,
    /// UEFI.
    Efi,
}

/// The guest operating system as the source knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GuestOs {
    /// The source's id: `ubuntu64Guest`; empty when unknown.
    pub id: String,
    /// For people: `Ubuntu Linux (64-bit)`; empty when unknown.
    pub full_name: String,
    /// The family that decisions go by.
    pub family: OsFamily,
    /// How the guest is connected, as its tools told while it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<GuestNetwork>,
}

/// The network as a guest sees it: what a static configuration has to keep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GuestNetwork {
    /// Its own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Its interfaces that carry addresses.
    #[serde(default)]
    pub interfaces: Vec<GuestInterface>,
    /// Gateways of its default routes.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// Its name servers.
    #[serde(default)]
    pub dns: Vec<String>,
    /// Domains that it searches names in.
    #[serde(default)]
    pub search: Vec<String>,
}

/// An interface of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GuestInterface {
    /// Which network card.
    pub mac: MacAddress,
    /// Addresses with the length of their prefix: `192.0.2.7/24`.
    pub addresses: Vec<String>,
    /// Whether any of them came by DHCP, where the tools say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp: Option<bool>,
}

/// Operating system family (Artifact Manifest v1.0, `vm.os_hint`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OsFamily {
    /// Any Linux.
    Linux,
    /// Any Windows.
    Windows,
    /// Something else, or nothing is known.
    #[default]
    Unknown,
}

/// A disk of a source VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SourceDisk {
    /// Our name for it, `disk-N` in controller order.
    pub id: DiskId,
    /// The source's device key (vSphere: 2000 and up).
    pub key: i32,
    /// For people: `Hard disk 1`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// What it hangs on.
    pub controller: Controller,
    /// Unit number on the controller.
    pub unit: u32,
    /// Size that the guest sees.
    pub capacity: ByteSize,
    /// 0 is the boot disk, the others follow.
    pub boot_order: u32,
    /// The source's name of the backing file, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing: Option<String>,
    /// VMware's UUID of the disk, 32 hexadecimal digits in lower case: a SCSI disk shows it to the
    /// guest as `/dev/disk/by-id/scsi-3<uuid>` (vim25 `backing.uuid`, VMDK descriptor `ddb.uuid`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
}

impl SourceDisk {
    /// Numbers `boot_order`: the disks at the indices `named` first, in that order, then all others
    /// in theirs. An index that names no disk, or one twice, is passed over. Returns whether any
    /// disk was named.
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

    /// Makes the disk of that id the one that boots; the others keep their order. Returns whether
    /// that changed anything.
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

    /// The disk at a place in the order of its VM's, the first of which boots.
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

/// A disk controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Controller {
    /// The kind of bus.
    pub bus: Bus,
    /// The source's own type name: `ParaVirtualSCSIController`.
    pub model: String,
    /// Bus number among controllers of its kind.
    pub number: u32,
    /// VMware's slot on the PCI bus (`pciSlotNumber`), where the source tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
}

/// The kind of bus that a disk hangs on. The order is that of a PC's firmware looking for a disk.
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
    /// Something else.
    Other,
}

/// A network interface of a source VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SourceNic {
    /// Our name for it: `nic-0`, …
    pub id: String,
    /// Its MAC address, unless the source has not made one yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// Whether hyperexport made `mac`, because the source has none or `--new-mac` asks for another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mac_made: bool,
    /// The address at the source that `--new-mac` replaced. The guest's configuration may name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_mac: Option<MacAddress>,
    /// VMware's PCI slot number of the card, which a guest's `ensN` is named after
    /// (`ethernetN.pciSlotNumber`, vim25 `slotInfo.pciSlotNumber`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// Its model.
    pub model: NicModel,
    /// Name of the network or distributed port group; empty when it has none. What the user typed
    /// for a card with `asked`.
    pub network: String,
    /// Whether it is connected when the VM starts.
    pub connected: bool,
    /// What the user asked for with `--nic`; `None` for a card that the source describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<AskedNic>,
}

impl SourceNic {
    /// The card at `index`, counted from 0, of which nothing is known: connected, without an
    /// address or a network.
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

/// A network card that the user describes, because the source does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AskedNic {
    /// Model of the domain's card; the rules choose when there is none.
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
    /// VMware's paravirtual cards before vmxnet3, which QEMU does not have.
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
    /// Passed-through virtual function.
    Sriov,
    /// Something else.
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
