//! How the hardware of the domain is to be, where the rules are not to decide.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Error;
use super::switch::Switch;
use crate::domain::{CpuChoice, DiskBus, Hardware, TpmChoice};
use crate::libvirt;

/// Flags about the hardware of the domain.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Target (libvirt)")]
pub struct HardwareArgs {
    /// Take the hardware that does not depend on the VM from this domain XML;
    /// without the flag, from a profile of the guest's family
    #[arg(long, value_name = "FILE")]
    pub libvirt_profile: Option<PathBuf>,
    /// Disk bus (auto: virtio for a guest that has the drivers, else the controller
    /// of the source, or one that the guest supports)
    #[arg(long, value_name = "BUS", default_value = "auto")]
    pub disk_bus: DiskBusArg,
    /// Give the domain a TPM 2.0 (auto: when the VM had one, or the guest is
    /// Windows 11 or Server 2022 and later)
    #[arg(long, value_name = "CHOICE", default_value = "auto")]
    pub libvirt_tpm: TpmArg,
    /// CPU model: auto, host-model, host-passthrough, maximum or a name
    #[arg(long, value_name = "MODEL", default_value = "auto")]
    pub libvirt_cpu_mode: CpuChoice,
    /// Give the domain a UUID of its own, and neither the serial number nor the
    /// generation ID of the VM: for a copy that runs beside it
    #[arg(long, value_name = "BOOL", default_value_t)]
    pub new_uuid: Switch,
    /// Number of I/O threads for the virtio disks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub libvirt_iothreads: Option<u32>,
}

/// Choice of the disk bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DiskBusArg {
    /// What the guest can boot from.
    Auto,
    /// virtio-blk.
    Virtio,
    /// SCSI by virtio-scsi.
    Scsi,
    /// SATA.
    Sata,
    /// IDE.
    Ide,
}

/// Choice of the TPM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TpmArg {
    /// When the source had one or the guest needs one.
    Auto,
    /// Yes.
    On,
    /// No.
    Off,
}

impl HardwareArgs {
    /// The wishes of the user.
    ///
    /// # Errors
    /// [`Error::Libvirt`] when the profile cannot be used.
    pub fn resolve(&self) -> Result<Hardware, Error> {
        let own = self.libvirt_profile.as_deref().map(libvirt::user_profile).transpose()?;
        Ok(Hardware {
            profile: own,
            disk_bus: match self.disk_bus {
                DiskBusArg::Auto => None,
                DiskBusArg::Virtio => Some(DiskBus::Virtio),
                DiskBusArg::Scsi => Some(DiskBus::Scsi),
                DiskBusArg::Sata => Some(DiskBus::Sata),
                DiskBusArg::Ide => Some(DiskBus::Ide),
            },
            tpm: match self.libvirt_tpm {
                TpmArg::Auto => TpmChoice::Auto,
                TpmArg::On => TpmChoice::On,
                TpmArg::Off => TpmChoice::Off,
            },
            cpu: self.libvirt_cpu_mode.clone(),
            iothreads: self.libvirt_iothreads.unwrap_or(0),
            new_uuid: self.new_uuid,
        })
    }
}
