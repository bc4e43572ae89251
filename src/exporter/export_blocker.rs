//! Reasons why a VM cannot be exported.

use std::fmt;

use crate::model::{DOMAIN_ARCH, SourceVm, emulates};

/// Reason why a VM cannot be exported in its current state. Displayed as a clause: `it is powered
/// on`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportBlocker {
    /// The VM's configuration cannot be read: the VM is orphaned or inaccessible, or the login
    /// lacks the privilege.
    NoConfiguration {
        /// Whether the login lacks the privilege.
        denied: bool,
    },
    /// The VM's host is not connected.
    Disconnected {
        /// Value of `runtime.connectionState`.
        state: String,
    },
    /// The VM or one of its disks is encrypted, or the VM has a virtual TPM, which implies
    /// encryption.
    Encrypted {
        /// Whether a virtual TPM is the reason.
        vtpm: bool,
    },
    /// A disk is a raw device mapping.
    RawDevice {
        /// Label of the disk.
        disk: String,
    },
    /// A disk is independent: snapshots and exports omit it.
    Independent {
        /// Label of the disk.
        disk: String,
    },
    /// The VM has no disk.
    NoDisk,
    /// The VM is suspended: its disks are only consistent together with its memory.
    Suspended,
    /// The VM is running.
    PoweredOn,
    /// vSphere has disabled the export method for this VM.
    Disabled {
        /// Whether the VM is a template.
        template: bool,
    },
    /// The VM can be exported, but this host cannot run it: the guest's CPU architecture differs.
    Architecture {
        /// The guest's architecture by its libvirt name.
        guest: String,
    },
}

impl fmt::Display for ExportBlocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConfiguration { denied: true } => {
                f.write_str("this user may not read its configuration")
            }
            Self::NoConfiguration { denied: false } => {
                f.write_str("its configuration cannot be read")
            }
            Self::Disconnected { state } => write!(f, "its host is {state}"),
            Self::Encrypted { vtpm: true } => f.write_str("it has a virtual TPM"),
            Self::Encrypted { vtpm: false } => f.write_str("it is encrypted"),
            Self::RawDevice { disk } => write!(f, "'{disk}' is a raw device of the storage"),
            Self::Independent { disk } => write!(f, "'{disk}' is an independent disk"),
            Self::NoDisk => f.write_str("it has no disk"),
            Self::Suspended => f.write_str("it is suspended"),
            Self::PoweredOn => f.write_str("it is powered on"),
            Self::Disabled { template: true } => f.write_str("it is a template"),
            Self::Disabled { template: false } => f.write_str("vSphere has disabled its export"),
            Self::Architecture { guest } => {
                write!(f, "it is for {guest} processors, and domains are for {DOMAIN_ARCH}")
            }
        }
    }
}

impl ExportBlocker {
    /// Remedy for this blocker, as an instruction to the user.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoConfiguration { denied: true } => "give the user System.Read on the VM",
            Self::NoConfiguration { denied: false } => {
                "register the VM again, or reconnect its datastore"
            }
            Self::Disconnected { .. } => "reconnect the VM's host in vCenter",
            Self::Encrypted { vtpm: true } => {
                "remove the TPM from the VM, after suspending BitLocker or the like in the guest"
            }
            Self::Encrypted { vtpm: false } => "decrypt the VM by its storage policy",
            Self::RawDevice { .. } => {
                "clone the VM, which turns the raw device into a virtual disk, or remove the disk"
            }
            Self::Independent { .. } => "make the disk dependent in the VM's settings",
            Self::NoDisk => "attach the disks, or name another VM",
            Self::Suspended => "resume the VM and shut its guest down",
            Self::PoweredOn => "shut the guest down first, or add --power-off or --snapshot",
            Self::Disabled { template: true } => "clone the template to a VM and export that",
            Self::Disabled { template: false } => {
                "check the VM's running tasks and alarms in the vSphere client"
            }
            Self::Architecture { .. } => {
                "export and convert the disks alone, without --libvirt, and define the domain by hand \
                 on a host of that architecture"
            }
        }
        .to_owned()
    }
}

impl ExportBlocker {
    /// Whether the blocker prevents the export; otherwise it only prevents the definition of a
    /// domain.
    pub fn stops_export(&self) -> bool {
        !matches!(self, Self::Architecture { .. })
    }

    /// The blocker that prevents the definition of a domain from `vm`.
    pub(super) fn of_domain(vm: &SourceVm) -> Option<Self> {
        let guest = vm.arch.clone().filter(|arch| !emulates(DOMAIN_ARCH, arch))?;
        Some(Self::Architecture { guest })
    }
}
