//! Reads `<domain>` of a source VM (<https://libvirt.org/formatdomain.html>). Unknown elements are
//! ignored.

use serde::Deserialize;

use super::sysinfo::{Smbios, Sysinfo};

/// `<domain>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SourceDomain {
    pub name: String,
    pub uuid: String,
    pub genid: Option<String>,
    /// SMBIOS strings, and entries that QEMU passes to the firmware (`fwcfg`).
    pub sysinfo: Vec<Sysinfo>,
    pub memory: Amount,
    pub vcpu: Number,
    pub os: Os,
    pub cpu: Cpu,
    pub metadata: Metadata,
    pub devices: SourceDevices,
}

/// A number with a unit.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Amount {
    #[serde(rename = "@unit")]
    pub unit: Option<String>,
    #[serde(rename = "$text")]
    pub value: u64,
}

/// A number whose attributes do not matter.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Number {
    #[serde(rename = "$text")]
    pub value: u32,
}

/// `<os>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Os {
    #[serde(rename = "@firmware")]
    pub firmware: String,
    #[serde(rename = "type")]
    pub kind: OsType,
    #[serde(rename = "firmware")]
    pub features: FirmwareFeatures,
    pub loader: Loader,
    pub smbios: Smbios,
}

/// `<type>` of `<os>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct OsType {
    #[serde(rename = "@arch")]
    pub arch: String,
}

/// `<loader>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Loader {
    #[serde(rename = "@type")]
    pub kind: String,
    #[serde(rename = "@secure")]
    pub secure: String,
    /// Path of the firmware image.
    #[serde(rename = "$text")]
    pub path: String,
}

/// `<firmware>`: features that libvirt selects a firmware by.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct FirmwareFeatures {
    pub feature: Vec<FirmwareFeature>,
}

/// `<feature>` of `<firmware>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct FirmwareFeature {
    /// `secure-boot`, `enrolled-keys`.
    #[serde(rename = "@name")]
    pub name: String,
    /// `yes`, `no`.
    #[serde(rename = "@enabled")]
    pub enabled: String,
}

/// `<cpu>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Cpu {
    #[serde(rename = "@mode")]
    pub mode: String,
    pub model: CpuModel,
    pub topology: Topology,
}

/// `<model>` of a CPU.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct CpuModel {
    #[serde(rename = "$text")]
    pub name: String,
}

/// `<topology>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Topology {
    #[serde(rename = "@dies")]
    pub dies: u32,
    #[serde(rename = "@clusters")]
    pub clusters: u32,
    #[serde(rename = "@cores")]
    pub cores: u32,
    #[serde(rename = "@threads")]
    pub threads: u32,
}

/// `<metadata>`, as far as libosinfo writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    pub libosinfo: LibOsInfo,
}

/// `<libosinfo:libosinfo>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct LibOsInfo {
    pub os: OsId,
}

/// `<libosinfo:os>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct OsId {
    #[serde(rename = "@id")]
    pub id: String,
}

/// `<devices>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SourceDevices {
    pub disk: Vec<DomainDisk>,
    pub controller: Vec<DiskController>,
    pub interface: Vec<Interface>,
    pub tpm: Vec<serde::de::IgnoredAny>,
    pub sound: Vec<Sound>,
    pub hostdev: Vec<HostDevice>,
}

/// `<sound>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Sound {
    #[serde(rename = "@model")]
    pub model: String,
}

/// `<hostdev>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct HostDevice {
    #[serde(rename = "@type")]
    pub kind: String,
}

/// `<controller>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct DiskController {
    #[serde(rename = "@type")]
    pub kind: String,
    #[serde(rename = "@index")]
    pub index: u32,
    #[serde(rename = "@model")]
    pub model: String,
}

/// `<disk>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct DomainDisk {
    #[serde(rename = "@device")]
    pub device: String,
    pub driver: DomainDriver,
    pub source: DeviceSource,
    pub target: DeviceTarget,
    pub address: DriveAddress,
    pub boot: Option<Boot>,
}

/// `<address>` of a disk.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct DriveAddress {
    /// Index of the controller of the bus, in an address of type `drive`.
    #[serde(rename = "@controller")]
    pub controller: u32,
}

/// `<driver>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct DomainDriver {
    #[serde(rename = "@type")]
    pub kind: Option<String>,
}

/// `<source>` of a disk or an interface.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct DeviceSource {
    #[serde(rename = "@file")]
    pub file: Option<String>,
    #[serde(rename = "@dev")]
    pub dev: Option<String>,
    #[serde(rename = "@name")]
    pub name: Option<String>,
    #[serde(rename = "@pool")]
    pub pool: Option<String>,
    #[serde(rename = "@volume")]
    pub volume: Option<String>,
    #[serde(rename = "@network")]
    pub network: Option<String>,
    #[serde(rename = "@bridge")]
    pub bridge: Option<String>,
}

/// `<target>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct DeviceTarget {
    #[serde(rename = "@dev")]
    pub dev: String,
    #[serde(rename = "@bus")]
    pub bus: String,
}

/// `<boot>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Boot {
    #[serde(rename = "@order")]
    pub order: u32,
}

/// `<interface>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Interface {
    pub mac: Mac,
    pub source: DeviceSource,
    pub model: Model,
    pub link: Link,
    pub vlan: Option<Vlan>,
}

/// `<vlan>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Vlan {
    /// Several tags for a trunk.
    pub tag: Vec<VlanTag>,
}

/// `<tag>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct VlanTag {
    #[serde(rename = "@id")]
    pub id: u16,
}

/// `<mac>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Mac {
    #[serde(rename = "@address")]
    pub address: String,
}

/// `<model>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Model {
    #[serde(rename = "@type")]
    pub kind: String,
}

/// `<link>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Link {
    #[serde(rename = "@state")]
    pub state: String,
}
