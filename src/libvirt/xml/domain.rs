//! Writes `<domain>` (<https://libvirt.org/formatdomain.html>).

use serde::Serialize;

use super::devices::Devices;
use super::features::{Clock, Features, Pm, YesNo};
use super::metadata::Metadata;
use super::sysinfo::{Smbios, Sysinfo};

/// `<domain>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Domain {
    /// `kvm` or `qemu`.
    #[serde(rename = "@type")]
    pub kind: String,
    /// Name of the domain, unique on its host.
    pub name: String,
    /// UUID of the domain.
    pub uuid: String,
    /// VM Generation ID; libvirt generates one if it is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub genid: Option<String>,
    /// Title for people, on one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Description for people.
    pub description: String,
    /// Metadata for programs.
    pub metadata: Metadata,
    /// Memory size.
    pub memory: Memory,
    /// Number of virtual CPUs.
    pub vcpu: u32,
    /// Number of I/O threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iothreads: Option<u32>,
    /// SMBIOS strings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysinfo: Option<Sysinfo>,
    /// Machine type and firmware.
    pub os: Os,
    /// Hypervisor features.
    pub features: Features,
    /// CPU model and topology.
    pub cpu: Cpu,
    /// Clock and timers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// Support for ACPI sleep states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pm: Option<Pm>,
    /// Devices of the domain.
    pub devices: Devices,
}

/// `<memory>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Memory {
    /// `MiB`.
    #[serde(rename = "@unit")]
    pub unit: &'static str,
    /// Amount in that unit.
    #[serde(rename = "$text")]
    pub value: u64,
}

/// `<os>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Os {
    /// `efi` makes libvirt select the firmware.
    #[serde(rename = "@firmware", skip_serializing_if = "Option::is_none")]
    pub auto: Option<&'static str>,
    /// Architecture and machine type.
    #[serde(rename = "type")]
    pub machine: OsType,
    /// Features that the selected firmware must or must not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<FirmwareFeatures>,
    /// Source of the SMBIOS strings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smbios: Option<Smbios>,
    /// Path of the file of UEFI variables; libvirt chooses one if it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nvram: Option<String>,
}

/// `<type>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OsType {
    /// `x86_64`.
    #[serde(rename = "@arch")]
    pub arch: String,
    /// `pc-q35-10.0`.
    #[serde(rename = "@machine")]
    pub machine: String,
    /// `hvm`.
    #[serde(rename = "$text")]
    pub kind: &'static str,
}

/// `<firmware>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FirmwareFeatures {
    /// Features that are required or forbidden.
    pub feature: Vec<FirmwareFeature>,
}

/// `<feature>` of a firmware.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FirmwareFeature {
    /// Whether the feature is required (`yes`) or forbidden (`no`).
    #[serde(rename = "@enabled")]
    pub enabled: YesNo,
    /// `secure-boot` or `enrolled-keys`.
    #[serde(rename = "@name")]
    pub name: &'static str,
}

/// `<cpu>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cpu {
    /// `host-passthrough`, `host-model`, `maximum` or `custom`.
    #[serde(rename = "@mode", skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
    /// For mode `custom`: name of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Number of sockets, cores and threads.
    pub topology: Topology,
}

/// `<topology>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Topology {
    /// Number of sockets.
    #[serde(rename = "@sockets")]
    pub sockets: u32,
    /// Cores per socket.
    #[serde(rename = "@cores")]
    pub cores: u32,
    /// Threads per core.
    #[serde(rename = "@threads")]
    pub threads: u32,
}
