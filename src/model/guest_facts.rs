//! Facts about a guest, read from its disks by INSPECT and again after FIX.

use serde::{Deserialize, Serialize};

use super::{DiskId, Firmware, OsFamily};

/// Operating system on the disks of a VM, and hardware that it can start from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GuestFacts {
    /// Whether the disks were searched for an operating system.
    #[serde(default)]
    pub inspected: bool,
    /// Family of the operating system.
    pub family: OsFamily,
    /// Distribution by libguestfs' name (guestfs(3), `guestfs_inspect_get_distro`): `debian`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub distribution: String,
    /// Name of the operating system as people read it: `Debian GNU/Linux 12`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub product: String,
    /// Major and minor version; 0 for a number that is not known.
    #[serde(default)]
    pub version: (u32, u32),
    /// Architecture by libvirt's name: `x86_64`, `i686`, `aarch64`; empty when it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// Host name of the guest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Disk with the boot loader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_disk: Option<DiskId>,
    /// Firmware that can start the boot disk; empty when no boot loader was found.
    #[serde(default)]
    pub firmware: Vec<Firmware>,
    /// What the boot disk lacks, if no firmware can start it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks: Option<Lack>,
    /// Drivers that the guest has at its start; absent when they could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drivers: Option<GuestDrivers>,
    /// Whether qemu-guest-agent is installed; absent when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<bool>,
}

/// Reason why no firmware can start a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Lack {
    /// No boot sector and no partition table.
    PartitionTable,
    /// Partitions, but no boot sector and no EFI system partition.
    EfiPartition,
}

/// Hardware that a guest has drivers for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GuestDrivers {
    /// Controllers on which the guest finds its root file system.
    pub buses: Vec<GuestBus>,
    /// Network cards for which the guest has a driver once it is running.
    pub cards: Vec<GuestCard>,
    /// Whether Windows starts from virtio 1.0 controllers, the only ones on PCI Express.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub virtio_1: bool,
}

impl GuestDrivers {
    /// Whether the guest starts from a disk on this controller.
    pub fn boots_from(&self, bus: GuestBus) -> bool {
        self.buses.contains(&bus)
    }

    /// Whether the guest starts from a virtio disk, of either kind.
    pub fn starts_from_virtio(&self) -> bool {
        self.boots_from(GuestBus::VirtioBlk) || self.boots_from(GuestBus::VirtioScsi)
    }

    /// Whether the guest has a driver for this network card.
    pub fn has_card(&self, card: GuestCard) -> bool {
        self.cards.contains(&card)
    }
}

/// A disk controller for which guests have a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum GuestBus {
    /// virtio-blk (`vda`).
    VirtioBlk,
    /// virtio-scsi (`sda`).
    VirtioScsi,
    /// VMware's paravirtual SCSI controller.
    Pvscsi,
    /// LSI Logic SAS 1068.
    LsiSas,
    /// AHCI.
    Sata,
    /// Parallel ATA (Intel PIIX).
    Ide,
    /// NVM Express.
    Nvme,
}

/// A network card for which guests have a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum GuestCard {
    /// virtio-net.
    Virtio,
    /// VMware's vmxnet3.
    Vmxnet3,
    /// Intel 82574L.
    E1000e,
    /// Intel 82540EM.
    E1000,
    /// AMD PCnet.
    Pcnet,
    /// Realtek 8139.
    Rtl8139,
}

impl GuestCard {
    /// The card's name in results, in manifests and in `model=` of a flag.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Virtio => "virtio",
            Self::Vmxnet3 => "vmxnet3",
            Self::E1000e => "e1000e",
            Self::E1000 => "e1000",
            Self::Pcnet => "pcnet",
            Self::Rtl8139 => "rtl8139",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::GuestCard::{self, E1000, E1000e, Pcnet, Rtl8139, Virtio, Vmxnet3};

    #[test]
    fn a_card_has_one_name() {
        for card in [Virtio, Vmxnet3, E1000e, E1000, Pcnet, Rtl8139] {
            let read: GuestCard = serde_json::from_value(card.as_str().into()).expect("a name");
            assert_eq!(read, card);
        }
    }
}
