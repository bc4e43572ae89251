//! What keeps a VM from being exported, in words.

use std::fmt;

use crate::model::{DOMAIN_ARCH, SourceVm, emulates};

/// A reason why a VM cannot be exported as it is. Displayed as a clause: `it is powered on`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportBlocker {
    /// Its configuration cannot be read: orphaned or inaccessible, or no right to read it.
    NoConfiguration {
        /// Whether a right is lacking.
        denied: bool,
    },
    /// Its host is not connected.
    Disconnected {
        /// `runtime.connectionState`.
        state: String,
    },
    /// It or one of its disks is encrypted, or it has a virtual TPM, which encrypts it.
    Encrypted {
        /// Whether a virtual TPM is the reason.
        vtpm: bool,
    },
    /// A disk is a raw device of the storage.
    RawDevice {
        /// The disk's label.
        disk: String,
    },
    /// A disk is left out of snapshots and exports.
    Independent {
        /// The disk's label.
        disk: String,
    },
    /// It has no disk at all.
    NoDisk,
    /// Suspended: memory and disks belong together.
    Suspended,
    /// It runs.
    PoweredOn,
    /// vSphere itself has disabled the call.
    Disabled {
        /// Whether it is a template.
        template: bool,
    },
    /// No domain can be made of it here, although it can be exported: its processors are others.
    Architecture {
        /// The guest's, in libvirt's words.
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
    /// What to do about it.
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
    /// Whether it keeps the VM from being exported; else only from becoming a domain.
    pub fn stops_export(&self) -> bool {
        !matches!(self, Self::Architecture { .. })
    }

    /// What keeps `vm` from becoming a domain.
    pub(super) fn of_domain(vm: &SourceVm) -> Option<Self> {
        let guest = vm.arch.clone().filter(|arch| !emulates(DOMAIN_ARCH, arch))?;
        Some(Self::Architecture { guest })
    }
}
