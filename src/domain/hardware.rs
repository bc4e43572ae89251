//! What the user decides about the hardware of a domain, over the heads of the rules here.

use std::fmt;
use std::str::FromStr;

use super::profile::Profile;

/// The user's wishes; by default none, and the rules decide.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hardware {
    /// A hardware profile in the place of the embedded ones.
    pub profile: Option<Profile>,
    /// The bus of all disks.
    pub disk_bus: Option<DiskBus>,
    /// Whether the domain gets a TPM.
    pub tpm: TpmChoice,
    /// The CPU model.
    pub cpu: CpuChoice,
    /// Number of I/O threads that the disks share; 0 for none.
    pub iothreads: u32,
    /// Whether the domain gets an identity of its own, and not that of its source.
    pub new_uuid: bool,
}

/// The bus that a disk hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiskBus {
    /// virtio-blk.
    Virtio,
    /// SCSI, by a virtio-scsi controller.
    Scsi,
    /// SATA, by an AHCI controller.
    Sata,
    /// Parallel ATA: four devices, on a PC mainboard only.
    Ide,
}

impl DiskBus {
    /// libvirt's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Virtio => "virtio",
            Self::Scsi => "scsi",
            Self::Sata => "sata",
            Self::Ide => "ide",
        }
    }

    /// How the names of its disks begin.
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
    /// When the source had one, or the guest does not do without.
    #[default]
    Auto,
    /// In any case.
    On,
    /// In no case.
    Off,
}

/// Which CPU model a domain gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CpuChoice {
    /// The host's own under KVM, all that the emulator can do else.
    #[default]
    Auto,
    /// The host's own CPU, as far as libvirt has names for it: such a domain can move.
    HostModel,
    /// The host's own CPU as it is.
    HostPassthrough,
    /// All that the hypervisor can do.
    Maximum,
    /// A model by libvirt's name.
    Named(String),
}

/// A text that cannot name a CPU model.
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
