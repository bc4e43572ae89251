//! Devices and identity of a VM, besides processors, memory, disks and network cards.

use serde::{Deserialize, Serialize};

use super::WarningCode;

/// Identity of a VM, which licences and inventories depend on, and its minor devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Board {
    /// UUID of the system in SMBIOS, written as the guest shows it (`dmidecode -s system-uuid`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// SMBIOS strings that identify the system: its serial number, and all other strings that a
    /// libvirt source has set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub smbios: Vec<SmbiosText>,
    /// VM Generation ID, in libvirt's notation. Windows domain controllers depend on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub genid: Option<String>,
    /// Model of the sound card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound: Option<SoundCard>,
    /// CPU model that was chosen for the VM, by libvirt's name; `host-model` is the model of the
    /// host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_model: Option<String>,
    /// Devices and settings of the source VM that the domain does not get.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_kept: Vec<NotKept>,
}

impl Board {
    /// Whether no identity and no device is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An SMBIOS string, by libvirt's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SmbiosText {
    /// SMBIOS table: `bios`, `system`, `baseBoard`, `chassis` or `oemStrings`.
    pub table: String,
    /// Name of the entry, such as `serial`; empty in `oemStrings`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Value of the entry, as the guest reads it.
    pub value: String,
}

/// Model of a sound card.
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
    /// USB audio.
    Usb,
}

/// A device or setting of a source VM that the domain does not get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NotKept {
    /// Code of the warning that reports it.
    pub code: WarningCode,
    /// Complete sentence of the warning.
    pub text: String,
}

impl NotKept {
    /// A floppy drive: the machine types of current distributions no longer have one.
    pub fn floppy(label: &str) -> Self {
        Self {
            code: WarningCode::FloppyNotKept,
            text: format!("{label} is a floppy drive: the domain has none"),
        }
    }

    /// A medium that was inserted in a CD-ROM drive.
    pub fn medium(drive: &str, medium: &str) -> Self {
        Self {
            code: WarningCode::CdromMediumNotKept,
            text: format!(
                "{drive} contains {medium}: the drive of the domain is empty; `virsh \
                 change-media` inserts a copy"
            ),
        }
    }

    /// A device of the source's host that was passed through to the VM.
    pub fn host_device(text: String) -> Self {
        Self { code: WarningCode::HostDeviceNotKept, text }
    }
}
