//! `<domain>` as it is written (<https://libvirt.org/formatdomain.html>).

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
    /// Unique on the host.
    pub name: String,
    /// Unique everywhere.
    pub uuid: String,
    /// VM Generation ID; libvirt makes one where it is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub genid: Option<String>,
    /// For people; no line end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// For people.
    pub description: String,
    /// For programs.
    pub metadata: Metadata,
    /// Memory.
    pub memory: Memory,
    /// Virtual CPUs.
    pub vcpu: u32,
    /// Number of I/O threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iothreads: Option<u32>,
    /// Texts of SMBIOS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysinfo: Option<Sysinfo>,
    /// Machine and firmware.
    pub os: Os,
    /// What the mainboard can do.
    pub features: Features,
    /// CPU model and topology.
    pub cpu: Cpu,
    /// Clock and timers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// Sleep states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pm: Option<Pm>,
    /// Devices.
    pub devices: Devices,
}

/// `<memory>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Memory {
    /// `MiB`.
    #[serde(rename = "@unit")]
    pub unit: &'static str,
    /// In that unit.
    #[serde(rename = "$text")]
    pub value: u64,
}

/// `<os>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Os {
    /// `efi` lets libvirt select the firmware.
    #[serde(rename = "@firmware", skip_serializing_if = "Option::is_none")]
    pub auto: Option<&'static str>,
    /// Machine.
    #[serde(rename = "type")]
    pub machine: OsType,
    /// What the selected firmware must have and must not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<FirmwareFeatures>,
    /// Where the texts of SMBIOS come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smbios: Option<Smbios>,
    /// File of the firmware's variables; libvirt chooses it where none is named.
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
    /// The features.
    pub feature: Vec<FirmwareFeature>,
}

/// `<feature>` of a firmware.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FirmwareFeature {
    /// Whether it must be there or must not.
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
    /// Of `custom`: the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Sockets, cores, threads.
    pub topology: Topology,
}

/// `<topology>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Topology {
    /// Sockets.
    #[serde(rename = "@sockets")]
    pub sockets: u32,
    /// Cores of a socket.
    #[serde(rename = "@cores")]
    pub cores: u32,
    /// Threads of a core.
    #[serde(rename = "@threads")]
    pub threads: u32,
}
