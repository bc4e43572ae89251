//! The result of planning: every decision about a domain, independent of XML.

use std::ops::Deref;

use super::hardware::DiskBus;
use super::host::{DomainType, UserNetwork};
use super::identity::Identity;
use super::kinds::{DiskKind, NicKind};
use super::profile::Profile;
use crate::model::{DiskFormat, DiskId, MacAddress};

/// A valid domain plan. Only [`plan`](super::plan()) creates one, and it is immutable.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainSpec(Decisions);

impl DomainSpec {
    pub(super) fn new(decisions: Decisions) -> Self {
        Self(decisions)
    }

    /// Whether the boot disk is on virtio-blk or virtio-scsi.
    pub fn starts_from_virtio(&self) -> bool {
        self.0.disks.first().is_some_and(|boot| match boot.bus {
            DiskBus::Scsi => self.0.scsi_model == ScsiModel::Virtio,
            bus => bus == DiskBus::Virtio,
        })
    }

    /// The same domain with its UEFI variables in that file.
    #[must_use]
    pub fn with_nvram(mut self, file: Option<String>) -> Self {
        self.0.nvram = file;
        self
    }

    /// The same domain for a boot test: with another name, without a network, and with disks whose
    /// changes are discarded.
    #[must_use]
    pub fn for_boot_test(mut self, name: String) -> Self {
        self.0.name = name;
        self.0.nics.clear();
        self.0.disks.iter_mut().for_each(|disk| disk.transient = true);
        self
    }

    /// The same domain under another name.
    #[must_use]
    pub fn renamed(mut self, name: String) -> Self {
        self.0.name = name;
        self
    }
}

impl Deref for DomainSpec {
    type Target = Decisions;

    fn deref(&self) -> &Decisions {
        &self.0
    }
}

/// Decisions about a domain.
#[derive(Debug, Clone, PartialEq)]
pub struct Decisions {
    /// Name of the domain, unique on its host.
    pub name: String,
    /// Identity that the guest sees.
    pub identity: Identity,
    /// Display name of the source VM on one line; empty if it has no printable characters.
    pub title: String,
    /// Origin of the VM, on one line.
    pub description: String,
    /// ID of the guest in libosinfo's database, if the guest is known.
    pub osinfo: Option<String>,
    /// Origin of the VM, for programs.
    pub provenance: Provenance,
    /// How the CPU is virtualized.
    pub domain_type: DomainType,
    /// Architecture: `x86_64`.
    pub arch: String,
    /// Canonical machine name: `pc-q35-10.0`.
    pub machine: String,
    /// Absolute path of the emulator on the host.
    pub emulator: String,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Virtual CPUs: `sockets` times `cores` times `threads`.
    pub vcpus: u32,
    /// Number of sockets.
    pub sockets: u32,
    /// Cores per socket.
    pub cores: u32,
    /// Threads per core.
    pub threads: u32,
    /// CPU mode and model.
    pub cpu: CpuMode,
    /// Number of I/O threads, to which the disks are assigned in turn; 0 for none.
    pub iothreads: u32,
    /// Firmware type.
    pub firmware: FirmwareSpec,
    /// Path of the file of UEFI variables, if libvirt must not choose it.
    pub nvram: Option<String>,
    /// Hardware profile: devices and features that do not depend on the VM.
    pub profile: Profile,
    /// Video model, used if the profile has a video device; `None` if the host offers none.
    pub video: Option<String>,
    /// Hyper-V enlightenments of the profile that the host supports.
    pub hyperv: Vec<String>,
    /// Whether the guest may have the Hyper-V clock.
    pub hyperv_clock: bool,
    /// Model of the panic device, used if the profile has one.
    pub panic: Option<String>,
    /// TPM 2.0 of the domain, if any.
    pub tpm: Option<TpmModel>,
    /// Sound card of the domain, if any.
    pub sound: Option<SoundModel>,
    /// Whether the guest is known to boot from its planned disks.
    pub fixed: bool,
    /// Whether virtio devices also support the version before 1.0.
    pub transitional: bool,
    /// Model of the SCSI controllers.
    pub scsi_model: ScsiModel,
    /// Number of SCSI controllers.
    pub scsi_controllers: u32,
    /// Number of PCI Express root ports, one for each device; 0 for a chipset without PCI Express.
    pub root_ports: u32,
    /// Disks, boot disk first.
    pub disks: Vec<DiskSpec>,
    /// CD-ROM drives, those with a medium first.
    pub cdroms: Vec<CdromSpec>,
    /// Network interfaces in the order of the source.
    pub nics: Vec<NicSpec>,
}

/// CPU model of a domain (libvirt's `<cpu mode='…'>`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CpuMode {
    /// The host's CPU without changes.
    HostPassthrough,
    /// The closest named model to the host's CPU.
    HostModel,
    /// The model of this name.
    Custom(String),
    /// All features that the emulator supports.
    Maximum,
    /// The hypervisor's default.
    Default,
}

impl CpuMode {
    /// Name of the value in libvirt.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::HostPassthrough => "host-passthrough",
            Self::HostModel => "host-model",
            Self::Custom(_) => "custom",
            Self::Maximum => "maximum",
            Self::Default => "default",
        }
    }
}

/// Origin of a VM; each field is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// `vsphere`, …
    pub provider: String,
    /// Host name or address of the vCenter or ESXi host.
    pub server: Option<String>,
    /// ID of the VM in its source: a moref for vSphere.
    pub id: String,
    /// Inventory path of the VM.
    pub path: Option<String>,
    /// `config.instanceUuid` of the VM.
    pub instance_uuid: Option<String>,
    /// When the VM was exported (RFC 3339).
    pub exported_at: Option<String>,
}

/// Model of a SCSI controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScsiModel {
    /// virtio-scsi.
    Virtio,
    /// VMware's paravirtual SCSI controller.
    VmPvscsi,
    /// LSI's SAS 1068.
    LsiSas1068,
    /// LSI's MegaRAID SAS 1078.
    LsiSas1078,
    /// LSI's 53C895A.
    LsiLogic,
}

impl ScsiModel {
    /// Name of the value in libvirt.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Virtio => "virtio-scsi",
            Self::VmPvscsi => "vmpvscsi",
            Self::LsiSas1068 => "lsisas1068",
            Self::LsiSas1078 => "lsisas1078",
            Self::LsiLogic => "lsilogic",
        }
    }
}

/// Model of a sound card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoundModel {
    /// Intel HD Audio of a PC mainboard.
    Ich6,
    /// Intel HD Audio of Q35.
    Ich9,
    /// Intel 82801AA.
    Ac97,
    /// Ensoniq AudioPCI.
    Es1370,
    /// Creative Sound Blaster 16.
    Sb16,
    /// USB audio device.
    Usb,
}

impl SoundModel {
    /// Name of the value in libvirt.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ich6 => "ich6",
            Self::Ich9 => "ich9",
            Self::Ac97 => "ac97",
            Self::Es1370 => "es1370",
            Self::Sb16 => "sb16",
            Self::Usb => "usb",
        }
    }
}

/// Interface of a TPM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TpmModel {
    /// Command response buffer, of modern mainboards.
    Crb,
    /// FIFO, of older mainboards.
    Tis,
}

impl TpmModel {
    /// Name of the value in libvirt.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crb => "tpm-crb",
            Self::Tis => "tpm-tis",
        }
    }
}

/// Firmware of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirmwareSpec {
    /// PC BIOS.
    Bios,
    /// UEFI, selected by libvirt.
    Efi {
        /// Whether the firmware enforces signatures, with the vendor's keys enrolled.
        secure_boot: bool,
    },
}

/// A disk of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSpec {
    /// ID of the disk within the VM, such as `disk-0`.
    pub id: DiskId,
    /// Bus that the device is attached to.
    pub bus: DiskBus,
    /// Device name on the bus: `vda`.
    pub target: String,
    /// I/O thread that serves the disk, from 1.
    pub iothread: Option<u32>,
    /// Target on the SCSI controller, if libvirt must not choose it.
    pub scsi_target: Option<u32>,
    /// Whether the image is a file or a block device on the host.
    pub kind: DiskKind,
    /// Absolute path of the image on the host.
    pub path: String,
    /// Format of the image: qcow2 or raw.
    pub format: DiskFormat,
    /// Place in the boot order, from 1.
    pub boot: u32,
    /// Serial number that the guest sees.
    pub serial: Option<String>,
    /// Whether the guest's writes are discarded when the domain stops.
    pub transient: bool,
}

/// A CD-ROM drive of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CdromSpec {
    /// Medium in the drive, if any: its type and absolute path on the host.
    pub medium: Option<(DiskKind, String)>,
    /// Place in the boot order, after all disks, if the source had a medium.
    pub boot: Option<u32>,
    /// Bus that the device is attached to.
    pub bus: DiskBus,
    /// Device name on the bus: `hda`.
    pub target: String,
}

/// A network interface of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicSpec {
    /// MAC address; libvirt generates one if it is missing.
    pub mac: Option<MacAddress>,
    /// Model of the network card.
    pub model: NicKind,
    /// Connection of the interface.
    pub source: NicSource,
    /// VLAN ID that the host tags frames with, 1 to 4094.
    pub vlan: Option<u16>,
    /// Whether the link is up.
    pub link_up: bool,
}

/// Connection of a network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NicSource {
    /// A libvirt network, by its name.
    Network(String),
    /// A bridge of the host, by its name.
    Bridge(String),
    /// An Open vSwitch bridge, by its name.
    Ovs(String),
    /// A private user network: the guest can reach others, and nobody can reach the guest.
    User(UserNetwork),
}
