//! What a VM shows to its guest besides processors, memory, disks and network cards.

use serde::{Deserialize, Serialize};

use super::WarningCode;

/// The identity of a VM, as licences and inventories know it, and its lesser devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Board {
    /// UUID of the system in SMBIOS, written as the guest shows it (`dmidecode -s system-uuid`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Texts of SMBIOS that identify the system: its serial number, and whatever else a libvirt
    /// source has set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub smbios: Vec<SmbiosText>,
    /// VM Generation ID, written as libvirt does. Domain controllers of Windows go by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub genid: Option<String>,
    /// Its sound card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound: Option<SoundCard>,
    /// The CPU model that was chosen for it, by libvirt's name; `host-model` stands for the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_model: Option<String>,
    /// What it has that no domain gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_kept: Vec<NotKept>,
}

impl Board {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A text of SMBIOS, by libvirt's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SmbiosText {
    /// `bios`, `system`, `baseBoard`, `chassis` or `oemStrings`.
    pub table: String,
    /// `serial`; empty in `oemStrings`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The text.
    pub value: String,
}

/// Kind of a sound card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SoundCard {
    /// Intel HD Audio.
    Hda,
    /// Intel 82801AA.
    Ac97,
    /// Ensoniq AudioPCI; VMware has the ES1371.
    Ensoniq,
    /// Creative Sound Blaster 16.
    Sb16,
    /// On USB.
    Usb,
}

/// Something of a VM that is not carried over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NotKept {
    /// Code of the warning.
    pub code: WarningCode,
    /// The whole sentence.
    pub text: String,
}

impl NotKept {
    /// A floppy drive: no machine type of KVM's distributions has one any more.
    pub fn floppy(label: &str) -> Self {
        Self {
            code: WarningCode::FloppyNotKept,
            text: format!("{label} is a floppy drive: the domain has none"),
        }
    }

    /// What lies in a CD-ROM drive.
    pub fn medium(drive: &str, medium: &str) -> Self {
        Self {
            code: WarningCode::CdromMediumNotKept,
            text: format!(
                "{drive} contains {medium}: the drive of the domain is empty; `virsh \
                 change-media` inserts a copy"
            ),
        }
    }

    /// A device of the source's host.
    pub fn host_device(text: String) -> Self {
        Self { code: WarningCode::HostDeviceNotKept, text }
    }
}
