//! Hardware settings of the user, which override the rules of this module.

use std::fmt;
use std::str::FromStr;

use super::profile::Profile;

/// Hardware settings of the user; by default all are chosen automatically.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hardware {
    /// Hardware profile that replaces the embedded ones.
    pub profile: Option<Profile>,
    /// Bus of all disks.
    pub disk_bus: Option<DiskBus>,
    /// Whether the domain gets a TPM.
    pub tpm: TpmChoice,
    /// CPU model of the domain.
    pub cpu: CpuChoice,
    /// Number of I/O threads that serve the disks; 0 for none.
    pub iothreads: u32,
    /// Whether the domain gets a new UUID instead of the UUID of its source.
    pub new_uuid: bool,
}

/// Bus that a disk is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiskBus {
    /// virtio-blk: a PCI device for each disk.
    Virtio,
    /// SCSI with a virtio-scsi controller.
    Scsi,
    /// SATA with an AHCI controller.
    Sata,
    /// Parallel ATA: four devices, on the `pc` chipset only.
    Ide,
}

impl DiskBus {
    /// Name of the bus in libvirt.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Virtio => "virtio",
            Self::Scsi => "scsi",
            Self::Sata => "sata",
            Self::Ide => "ide",
        }
    }

    /// Prefix of device names on the bus.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Virtio => "vd",
            Self::Scsi | Self::Sata => "sd",
            Self::Ide => "hd",
        }
    }
}

impl fmt::Display for DiskBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a domain gets a TPM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TpmChoice {
    /// If the source VM has one or the guest requires one.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// Which CPU model a domain gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CpuChoice {
    /// A model chosen at the source, else the host's CPU under KVM, else all features of the
    /// emulator.
    #[default]
    Auto,
    /// The closest named model to the host's CPU, so that the domain can be migrated.
    HostModel,
    /// The host's CPU without changes.
    HostPassthrough,
    /// All features that the hypervisor supports.
    Maximum,
    /// A model, by its name in libvirt.
    Named(String),
}

/// A text that is no valid CPU choice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not auto, host-model, host-passthrough, maximum or a CPU model such as EPYC or \
     Skylake-Server-v4"
)]
pub struct NoCpuModel(String);

impl FromStr for CpuChoice {
    type Err = NoCpuModel;

    fn from_str(text: &str) -> Result<Self, NoCpuModel> {
        let named = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        Ok(match text {
            "auto" => Self::Auto,
            "host-model" => Self::HostModel,
            "host-passthrough" => Self::HostPassthrough,
            "maximum" => Self::Maximum,
            name if !name.is_empty() && name.chars().all(named) => Self::Named(name.to_owned()),
            other => return Err(NoCpuModel(other.to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_model_is_a_word_of_libvirt_or_a_name() {
        assert_eq!("host-model".parse(), Ok(CpuChoice::HostModel));
        assert_eq!("EPYC-Rome".parse(), Ok(CpuChoice::Named("EPYC-Rome".to_owned())));
        for wrong in ["", "EPYC,+vmx", "a b", "<model>"] {
            assert!(wrong.parse::<CpuChoice>().is_err(), "{wrong}");
        }
    }
}
