//! `<devices>` (<https://libvirt.org/formatdomain.html#devices>), as far as profiles and plans
//! use them.

use serde::{Deserialize, Serialize};

use super::features::{Empty, YesNo};

/// `<devices>`: a list, because devices of different types may be in any order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Devices {
    /// Devices in the order of the document.
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
    /// Index among controllers of the same type, from 0.
    #[serde(rename = "@index", skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// `virtio-scsi`, `pcie-root-port`, …
    #[serde(rename = "@model", skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Options of QEMU's implementation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<ControllerDriver>,
}

/// `<driver>` of a controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControllerDriver {
    /// I/O thread that serves the controller, from 1.
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
    /// Action when the watchdog expires: `reset`, …
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
    /// Backend that implements the TPM.
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
    /// `virtio-transitional` if the guest needs a virtio version before 1.0.
    #[serde(rename = "@model", skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How QEMU opens the image.
    pub driver: DiskDriver,
    /// Image or device of the disk; `None` for an empty drive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<DiskSource>,
    /// Device name and bus in the guest.
    pub target: DiskTarget,
    /// Present for a CD-ROM drive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readonly: Option<Empty>,
    /// Present if writes are discarded when the domain stops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transient: Option<Empty>,
    /// Serial number, at most 20 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Address on the controller, if libvirt must not choose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<DriveAddress>,
    /// Place in the boot order; `None` for an empty drive.
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
    /// Image format, so that QEMU never probes it.
    #[serde(rename = "@type")]
    pub format: String,
    /// Cache mode: `writeback`, `none`, …
    #[serde(rename = "@cache", skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
    /// I/O backend: `threads` or `native`.
    #[serde(rename = "@io", skip_serializing_if = "Option::is_none")]
    pub io: Option<String>,
    /// Handling of blocks that the guest discards: `unmap`, …
    #[serde(rename = "@discard", skip_serializing_if = "Option::is_none")]
    pub discard: Option<String>,
    /// Handling of zeros that the guest writes: `unmap`, …
    #[serde(rename = "@detect_zeroes", skip_serializing_if = "Option::is_none")]
    pub detect_zeroes: Option<String>,
    /// I/O thread that serves the disk, from 1.
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
    /// Place in the boot order, from 1.
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
    /// MAC address; libvirt generates one if it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Backend of a user network, unless it is QEMU itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<InterfaceBackend>,
    /// Network or bridge of the interface; `None` for a user network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<InterfaceSource>,
    /// Type of the virtual port, for a bridge that is not the kernel's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtualport: Option<VirtualPort>,
    /// VLAN that the host tags frames with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
    /// `virtio`.
    pub model: InterfaceModel,
    /// State of the link.
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
    /// Name of a libvirt network.
    #[serde(rename = "@network", skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Name of a bridge of the host.
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
    /// The only tag: the port is an access port.
    pub tag: VlanTag,
}

/// `<tag>` of a VLAN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VlanTag {
    /// VLAN ID, 1 to 4094.
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
    /// TCP port; -1 for any free port.
    #[serde(rename = "@port")]
    pub port: i32,
    /// Whether libvirt chooses the port.
    #[serde(rename = "@autoport")]
    pub autoport: YesNo,
    /// IP address to listen on.
    #[serde(rename = "@listen")]
    pub listen: String,
}

/// `<video>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Video {
    /// Model of the graphics card.
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
    /// Type and port in the guest.
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
    /// Number of the port, from 0.
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
    /// Source of the random numbers.
    pub backend: RngBackend,
}

/// `<backend>` of a random number generator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RngBackend {
    /// `random`.
    #[serde(rename = "@model")]
    pub model: String,
    /// Path of a random device of the host.
    #[serde(rename = "$text")]
    pub device: String,
}

/// A device with only a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// libvirt's name of the model.
    #[serde(rename = "@model")]
    pub model: String,
}
