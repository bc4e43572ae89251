//! Types of devices, named as in libvirt.

use crate::model::GuestCard;

/// Model of a network interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NicKind {
    /// virtio-net.
    Virtio,
    /// Intel 82574L.
    E1000e,
    /// Intel 82540EM.
    E1000,
    /// Realtek 8139.
    Rtl8139,
    /// VMware's vmxnet3.
    Vmxnet3,
    /// AMD PCnet.
    Pcnet,
}

impl NicKind {
    /// Name of the model in libvirt.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Virtio => "virtio",
            Self::E1000e => "e1000e",
            Self::E1000 => "e1000",
            Self::Rtl8139 => "rtl8139",
            Self::Vmxnet3 => "vmxnet3",
            Self::Pcnet => "pcnet",
        }
    }
}

impl From<GuestCard> for NicKind {
    fn from(card: GuestCard) -> Self {
        match card {
            GuestCard::Virtio => Self::Virtio,
            GuestCard::Vmxnet3 => Self::Vmxnet3,
            GuestCard::E1000e => Self::E1000e,
            GuestCard::E1000 => Self::E1000,
            GuestCard::Pcnet => Self::Pcnet,
            GuestCard::Rtl8139 => Self::Rtl8139,
        }
    }
}

/// Type of a disk on its host (libvirt's `<disk type='…'>`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiskKind {
    /// A file in a file system.
    #[default]
    File,
    /// A block device, such as a logical volume.
    Block,
}
