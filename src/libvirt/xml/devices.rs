//! `<devices>` (<https://libvirt.org/formatdomain.html#devices>), as far as profiles and plans
//! use them.

use serde::{Deserialize, Serialize};

use super::features::{Empty, YesNo};

/// `<devices>`: a list, because devices of different kinds may stand in any order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Devices {
    /// The devices.
    #[serde(rename = "$value", default)]
    pub list: Vec<Device>,
}

/// One device, named like libvirt's element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    Emulator(String),
    Controller(Controller),
    Disk(Box<Disk>),
    Interface(Box<Interface>),
    Input(Input),
    Graphics(Graphics),
    Video(Video),
    Serial(Character),
    Console(Character),
    Channel(Character),
    Rng(Rng),
    Memballoon(Model),
    Watchdog(Watchdog),
    Panic(Model),
    Tpm(Tpm),
    Sound(Model),
}

/// `<controller>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Controller {
    /// `scsi`, `pci`, `usb`, …
    #[serde(rename = "@type")]
    pub kind: String,
    /// From 0 among those of its type.
    #[serde(rename = "@index", skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// `virtio-scsi`, `pcie-root-port`, …
    #[serde(rename = "@model", skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How QEMU runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<ControllerDriver>,
}

/// `<driver>` of a controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControllerDriver {
    /// The I/O thread that serves it, from 1.
    #[serde(rename = "@iothread")]
    pub iothread: u32,
}

/// `<watchdog>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watchdog {
    /// `i6300esb`.
    #[serde(rename = "@model")]
    pub model: String,
    /// What happens when it bites.
    #[serde(rename = "@action")]
    pub action: String,
}

/// `<tpm>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tpm {
    /// `tpm-crb` or `tpm-tis`.
    #[serde(rename = "@model")]
    pub model: String,
    /// What does its work.
    pub backend: TpmBackend,
}

/// `<backend>` of a TPM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpmBackend {
    /// `emulator`.
    #[serde(rename = "@type")]
    pub kind: String,
    /// `2.0`.
    #[serde(rename = "@version")]
    pub version: String,
}

/// `<disk>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// `file` or `block`.
    #[serde(rename = "@type")]
    pub kind: String,
    /// `disk` or `cdrom`.
    #[serde(rename = "@device")]
    pub device: String,
    /// `virtio-transitional`, where plain virtio would not do.
    #[serde(rename = "@model", skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How QEMU opens it.
    pub driver: DiskDriver,
    /// Where it lies; nowhere for an empty drive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<DiskSource>,
    /// Where the guest sees it.
    pub target: DiskTarget,
    /// Of a CD-ROM drive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readonly: Option<Empty>,
    /// What is written is forgotten when the domain stops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transient: Option<Empty>,
    /// Serial number, at most 20 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Its place on the controller, where libvirt is not to choose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<DriveAddress>,
    /// Place in the boot order; none for an empty drive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<Boot>,
}

/// `<address>` of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriveAddress {
    /// `drive`.
    #[serde(rename = "@type")]
    pub kind: String,
    /// Index of the controller.
    #[serde(rename = "@controller")]
    pub controller: u32,
    /// Bus of the controller.
    #[serde(rename = "@bus")]
    pub bus: u32,
    /// Target on the bus.
    #[serde(rename = "@target")]
    pub target: u32,
    /// Unit of the target.
    #[serde(rename = "@unit")]
    pub unit: u32,
}

/// `<driver>` of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskDriver {
    /// `qemu`.
    #[serde(rename = "@name")]
    pub name: String,
    /// The image format, never probed.
    #[serde(rename = "@type")]
    pub format: String,
    /// Cache mode.
    #[serde(rename = "@cache", skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
    /// Who reads and writes: `threads` or `native`.
    #[serde(rename = "@io", skip_serializing_if = "Option::is_none")]
    pub io: Option<String>,
    /// What becomes of blocks that the guest discards.
    #[serde(rename = "@discard", skip_serializing_if = "Option::is_none")]
    pub discard: Option<String>,
    /// What becomes of blocks of zeros that the guest writes.
    #[serde(rename = "@detect_zeroes", skip_serializing_if = "Option::is_none")]
    pub detect_zeroes: Option<String>,
    /// The I/O thread that serves it, from 1.
    #[serde(rename = "@iothread", skip_serializing_if = "Option::is_none")]
    pub iothread: Option<u32>,
}

/// `<source>` of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskSource {
    /// Absolute path of an image.
    #[serde(rename = "@file", skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Absolute path of a block device.
    #[serde(rename = "@dev", skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
}

/// `<target>` of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskTarget {
    /// `vda`, …
    #[serde(rename = "@dev")]
    pub dev: String,
    /// `virtio`.
    #[serde(rename = "@bus")]
    pub bus: String,
}

/// `<boot order='…'>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// From 1.
    #[serde(rename = "@order")]
    pub order: u32,
}

/// `<interface>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// `network`, `bridge` or `user`.
    #[serde(rename = "@type")]
    pub kind: String,
    /// Its address; libvirt makes one when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// What carries a user network, where it is not QEMU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<InterfaceBackend>,
    /// What it is plugged into; nothing for a user network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<InterfaceSource>,
    /// How the bridge is spoken to, where it is not the kernel's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtualport: Option<VirtualPort>,
    /// The VLAN whose frames the host tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
    /// `virtio`.
    pub model: InterfaceModel,
    /// Whether the cable is plugged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
}

/// `<mac>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mac {
    /// `00:50:56:aa:bb:01`.
    #[serde(rename = "@address")]
    pub address: String,
}

/// `<backend>` of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceBackend {
    /// `passt`.
    #[serde(rename = "@type")]
    pub kind: String,
}

/// `<source>` of an interface: one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceSource {
    /// A libvirt network.
    #[serde(rename = "@network", skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// A bridge of the host.
    #[serde(rename = "@bridge", skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
}

/// `<virtualport>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualPort {
    /// `openvswitch`.
    #[serde(rename = "@type")]
    pub kind: String,
}

/// `<vlan>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vlan {
    /// The only one: the port is an access port.
    pub tag: VlanTag,
}

/// `<tag>` of a VLAN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VlanTag {
    /// 1 to 4094.
    #[serde(rename = "@id")]
    pub id: u16,
}

/// `<model>` of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceModel {
    /// `virtio`.
    #[serde(rename = "@type")]
    pub kind: String,
}

/// `<link>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// `up` or `down`.
    #[serde(rename = "@state")]
    pub state: String,
}

/// `<input>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// `tablet`.
    #[serde(rename = "@type")]
    pub kind: String,
    /// `usb`.
    #[serde(rename = "@bus")]
    pub bus: String,
}

/// `<graphics>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graphics {
    /// `vnc`.
    #[serde(rename = "@type")]
    pub kind: String,
    /// -1 for any.
    #[serde(rename = "@port")]
    pub port: i32,
    /// Whether libvirt chooses the port.
    #[serde(rename = "@autoport")]
    pub autoport: YesNo,
    /// Address to listen on.
    #[serde(rename = "@listen")]
    pub listen: String,
}

/// `<video>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Video {
    /// The graphics card.
    pub model: VideoModel,
}

/// `<model>` of a video device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoModel {
    /// `virtio`, `vga`, …
    #[serde(rename = "@type")]
    pub kind: String,
}

/// `<serial>`, `<console>` and `<channel>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Character {
    /// `pty` or `unix`.
    #[serde(rename = "@type")]
    pub kind: String,
    /// Where the guest sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<CharacterTarget>,
}

/// `<target>` of a character device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CharacterTarget {
    /// `serial` or `virtio`.
    #[serde(rename = "@type")]
    pub kind: String,
    /// Port number.
    #[serde(rename = "@port", skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    /// Name of the channel: `org.qemu.guest_agent.0`.
    #[serde(rename = "@name", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// `<rng>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rng {
    /// `virtio`.
    #[serde(rename = "@model")]
    pub model: String,
    /// Where randomness comes from.
    pub backend: RngBackend,
}

/// `<backend>` of a random number generator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RngBackend {
    /// `random`.
    #[serde(rename = "@model")]
    pub model: String,
    /// A device of the host.
    #[serde(rename = "$text")]
    pub device: String,
}

/// A device that is no more than its model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The model.
    #[serde(rename = "@model")]
    pub model: String,
}
