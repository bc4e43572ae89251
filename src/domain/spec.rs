//! The result of planning: every decision about a domain, apart from how XML spells it.

use std::ops::Deref;

use super::hardware::DiskBus;
use super::host::{DomainType, UserNetwork};
use super::identity::Identity;
use super::kinds::{DiskKind, NicKind};
use super::profile::Profile;
use crate::model::{DiskFormat, DiskId, MacAddress};

/// A domain that keeps all rules. Only [`plan`](super::plan()) makes one, and nobody changes it.
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

    /// The same domain with the variables of its firmware in that file.
    #[must_use]
    pub fn with_nvram(mut self, file: Option<String>) -> Self {
        self.0.nvram = file;
        self
    }

    /// The same domain for a test: under another name, without a network, and with disks that are
    /// afterwards what they were.
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

/// What has been decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Decisions {
    /// Name of the domain, unique on its host.
    pub name: String,
    /// What its guest knows the VM by.
    pub identity: Identity,
    /// Display name of the source VM on one line; empty when nothing printable is left.
    pub title: String,
    /// Where the VM came from, on one line.
    pub description: String,
    /// Id of the guest in libosinfo's database, where the guest is known.
    pub osinfo: Option<String>,
    /// Where the VM came from, for programs.
    pub provenance: Provenance,
    /// How its CPU is run.
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
    /// Sockets.
    pub sockets: u32,
    /// Cores of a socket.
    pub cores: u32,
    /// Threads of a core.
    pub threads: u32,
    /// CPU model.
    pub cpu: CpuMode,
    /// Number of I/O threads, which take turns at the disks; 0 for none.
    pub iothreads: u32,
    /// How it boots.
    pub firmware: FirmwareSpec,
    /// File for the variables of the firmware, where libvirt is not to choose it.
    pub nvram: Option<String>,
    /// The devices and features that do not depend on the VM.
    pub profile: Profile,
    /// Video model to use where the profile has a video device; `None` where the host has none.
    pub video: Option<String>,
    /// Those of the profile's Hyper-V enlightenments that the host grants.
    pub hyperv: Vec<String>,
    /// Whether the guest may have the Hyper-V clock.
    pub hyperv_clock: bool,
    /// Model of the panic device to use where the profile has one.
    pub panic: Option<String>,
    /// The TPM 2.0, if it has one.
    pub tpm: Option<TpmModel>,
    /// The sound card, if it has one.
    pub sound: Option<SoundModel>,
    /// Whether the guest is known to start from its disks as they are planned.
    pub fixed: bool,
    /// Whether virtio devices speak the version before 1.0 too.
    pub transitional: bool,
    /// Model of the SCSI controllers.
    pub scsi_model: ScsiModel,
    /// Number of SCSI controllers.
    pub scsi_controllers: u32,
    /// Number of PCI Express root ports, one for a device; 0 on a mainboard without.
    pub root_ports: u32,
    /// Disks, boot disk first.
    pub disks: Vec<DiskSpec>,
    /// CD-ROM drives.
    pub cdroms: Vec<CdromSpec>,
    /// Network interfaces in the order of the source.
    pub nics: Vec<NicSpec>,
}

/// CPU model of a domain (libvirt's `<cpu mode='…'>`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CpuMode {
    /// The host's own CPU.
    HostPassthrough,
    /// The host's own CPU, as far as libvirt has names for it.
    HostModel,
    /// A model of this name.
    Custom(String),
    /// All that the emulator can do.
    Maximum,
    /// The hypervisor's default.
    Default,
}

impl CpuMode {
    /// libvirt's word for it.
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

/// Where a VM came from, each on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// `vsphere`, …
    pub provider: String,
    /// Host name or address of the vCenter or ESXi host.
    pub server: Option<String>,
    /// The source's own id: a moref for vSphere.
    pub id: String,
    /// Inventory path.
    pub path: Option<String>,
    /// `config.instanceUuid`.
    pub instance_uuid: Option<String>,
    /// When it was exported (RFC 3339).
    pub exported_at: Option<String>,
}

/// Model of a SCSI controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScsiModel {
    /// virtio-scsi.
    Virtio,
    /// VMware's paravirtual one.
    VmPvscsi,
    /// LSI's SAS 1068.
    LsiSas1068,
    /// LSI's MegaRAID SAS 1078.
    LsiSas1078,
    /// LSI's 53C895A.
    LsiLogic,
}

impl ScsiModel {
    /// libvirt's word for it.
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
    /// On USB.
    Usb,
}

impl SoundModel {
    /// libvirt's word for it.
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

/// How a TPM is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TpmModel {
    /// Command response buffer, of present mainboards.
    Crb,
    /// FIFO, of old ones.
    Tis,
}

impl TpmModel {
    /// libvirt's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crb => "tpm-crb",
            Self::Tis => "tpm-tis",
        }
    }
}

/// How a domain boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirmwareSpec {
    /// PC BIOS.
    Bios,
    /// UEFI, selected by libvirt.
    Efi {
        /// Whether it enforces signatures, with the vendor's keys enrolled.
        secure_boot: bool,
    },
}

/// A disk of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSpec {
    /// Which disk of the VM.
    pub id: DiskId,
    /// What it hangs on.
    pub bus: DiskBus,
    /// Name on the bus: `vda`.
    pub target: String,
    /// The I/O thread that serves it, from 1.
    pub iothread: Option<u32>,
    /// Its target on the SCSI controller, where libvirt's choice would not do.
    pub scsi_target: Option<u32>,
    /// What it is on its host.
    pub kind: DiskKind,
    /// Absolute path of the image on the host.
    pub path: String,
    /// Its format: qcow2 or raw.
    pub format: DiskFormat,
    /// Place in the boot order, from 1.
    pub boot: u32,
    /// Serial number that the guest sees.
    pub serial: Option<String>,
    /// Whether what the guest writes is forgotten when it stops.
    pub transient: bool,
}

/// A CD-ROM drive of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CdromSpec {
    /// What lies in it, if anything does: what it is on the host, and its absolute path.
    pub medium: Option<(DiskKind, String)>,
    /// Place in the boot order, behind all disks, of a medium that the source had.
    pub boot: Option<u32>,
    /// What it hangs on.
    pub bus: DiskBus,
    /// Name on the bus: `hda`.
    pub target: String,
}

/// A network interface of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicSpec {
    /// Its address; libvirt makes one when there is none.
    pub mac: Option<MacAddress>,
    /// Its model.
    pub model: NicKind,
    /// What it is plugged into.
    pub source: NicSource,
    /// The VLAN whose frames the host tags.
    pub vlan: Option<u16>,
    /// Whether the cable is plugged in.
    pub link_up: bool,
}

/// What a network interface is plugged into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NicSource {
    /// A libvirt network, by its name.
    Network(String),
    /// A bridge of the host.
    Bridge(String),
    /// A bridge of Open vSwitch.
    Ovs(String),
    /// A network of the guest's own, by which it reaches others and nobody reaches it.
    User(UserNetwork),
}
