//! What the disks themselves say of a guest: read by INSPECT, and again after FIX.

use serde::{Deserialize, Serialize};

use super::{DiskId, Firmware, OsFamily};

/// The operating system on the disks of a VM, and what it can start from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GuestFacts {
    /// Whether the disks were searched for an operating system at all.
    #[serde(default)]
    pub inspected: bool,
    /// Its family.
    pub family: OsFamily,
    /// libguestfs' word for the distribution (guestfs(3), `guestfs_inspect_get_distro`): `debian`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub distribution: String,
    /// For people: `Debian GNU/Linux 12`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub product: String,
    /// Major and minor version; 0 where there is none.
    #[serde(default)]
    pub version: (u32, u32),
    /// Architecture in libvirt's words: `x86_64`, `i686`, `aarch64`; empty when it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// Its host name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// The disk that holds the boot loader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_disk: Option<DiskId>,
    /// Firmware that finds something to start on that disk; empty when nothing was found there.
    #[serde(default)]
    pub firmware: Vec<Firmware>,
    /// What that disk lacks where no firmware finds anything to start on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks: Option<Lack>,
    /// The drivers that the guest has when it starts; `None` when nobody could read them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drivers: Option<GuestDrivers>,
    /// Whether qemu-guest-agent is installed; `None` when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<bool>,
}

/// What a disk lacks from which nothing starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Lack {
    /// A boot sector, and a partition table, too.
    PartitionTable,
    /// A boot sector, and an EFI system partition, too. It has partitions.
    EfiPartition,
}

/// Hardware that a guest has drivers for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GuestDrivers {
    /// Controllers that it finds its root file system on.
    pub buses: Vec<GuestBus>,
    /// Network cards that it can use once it runs.
    pub cards: Vec<GuestCard>,
    /// Of Windows: whether it starts from controllers of virtio 1.0, the only ones on PCI Express.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub virtio_1: bool,
}

impl GuestDrivers {
    /// Whether the guest starts from a disk on this controller.
    pub fn boots_from(&self, bus: GuestBus) -> bool {
        self.buses.contains(&bus)
    }

    /// Whether the guest starts from a disk of virtio.
    pub fn starts_from_virtio(&self) -> bool {
        self.boots_from(GuestBus::VirtioBlk) || self.boots_from(GuestBus::VirtioScsi)
    }

    /// Whether the guest has a driver for this network card.
    pub fn has_card(&self, card: GuestCard) -> bool {
        self.cards.contains(&card)
    }
}

/// A disk controller as a guest's driver knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum GuestBus {
    /// virtio-blk.
    VirtioBlk,
    /// virtio-scsi.
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

/// A network card as a guest's driver knows it.
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
    /// The name in results, in manifests and behind `model=`.
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
