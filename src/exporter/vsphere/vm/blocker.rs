//! What keeps a VM from being exported, seen before anything starts.

use std::fmt;

use super::super::soap::node::Node;
use super::super::soap::properties::Object;
use super::hardware;
use crate::model::{DOMAIN_ARCH, PowerState, SourceVm, emulates};

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
    pub(in crate::exporter::vsphere) fn of_domain(vm: &SourceVm) -> Option<Self> {
        let guest = vm.arch.clone().filter(|arch| !emulates(DOMAIN_ARCH, arch))?;
        Some(Self::Architecture { guest })
    }
}

/// The properties that [`obstacles`] looks at.
pub(in crate::exporter::vsphere) const PROPERTIES: [&str; 6] = [
    "runtime.powerState",
    "runtime.connectionState",
    "config.template",
    "config.keyId",
    "config.hardware",
    "disabledMethod",
];

/// Everything that is in the way of an export of `vm`, the gravest first, its power state last.
pub(in crate::exporter::vsphere) fn obstacles(vm: &Object) -> Vec<ExportBlocker> {
    let Some(hardware) = vm.get("config.hardware") else {
        let denied = vm.why_missing("config.hardware").is_some_and(|f| f.is("NoPermission"));
        return vec![ExportBlocker::NoConfiguration { denied }];
    };
    let mut found = Vec::new();
    let state = vm.text("runtime.connectionState");
    if !matches!(state, "" | "connected") {
        found.push(ExportBlocker::Disconnected { state: state.to_owned() });
    }
    let vtpm = hardware.all("device").any(|device| device.is("VirtualTPM"));
    let disks: Vec<&Node> = hardware.all("device").filter(|d| d.is("VirtualDisk")).collect();
    let with_key = |disk: &&Node| disk.at(&["backing", "keyId"]).is_some();
    if vtpm || vm.get("config.keyId").is_some() || disks.iter().any(with_key) {
        found.push(ExportBlocker::Encrypted { vtpm });
    }
    found.extend(disks.iter().filter_map(|disk| disk_blocker(disk)));
    if disks.is_empty() {
        found.push(ExportBlocker::NoDisk);
    }
    match hardware::power_state(vm.text("runtime.powerState")) {
        PowerState::On => found.push(ExportBlocker::PoweredOn),
        PowerState::Suspended => found.push(ExportBlocker::Suspended),
        // A VM that runs has its export disabled anyway, so this counts only for one that does not.
        PowerState::Off | PowerState::Unknown => {
            let disabled = vm.get("disabledMethod").is_some_and(|list| {
                list.children.iter().any(|method| method.text.trim() == "ExportVm")
            });
            if disabled {
                let template = vm.get("config.template").is_some_and(Node::is_true);
                found.push(ExportBlocker::Disabled { template });
            }
        }
    }
    found
}

fn disk_blocker(disk: &Node) -> Option<ExportBlocker> {
    let backing = disk.child("backing")?;
    let label = || {
        let label = disk.at(&["deviceInfo", "label"]).map_or("", |node| node.text.as_str());
        if label.is_empty() { format!("disk {}", disk.text_of("key")) } else { label.to_owned() }
    };
    let kind = backing.xsi_type.as_deref().unwrap_or_default();
    if kind.contains("RawDisk") {
        Some(ExportBlocker::RawDevice { disk: label() })
    } else if backing.text_of("diskMode").starts_with("independent") {
        Some(ExportBlocker::Independent { disk: label() })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The obstacles of a VM with these properties, given as name and inner XML.
    fn of(properties: &[(&str, &str)]) -> Vec<ExportBlocker> {
        let sets: String = properties
            .iter()
            .map(|(name, val)| format!("<propSet><name>{name}</name><val>{val}</val></propSet>"))
            .collect();
        let xml = format!(
            "<objects xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
             <obj type=\"VirtualMachine\">vm-1</obj>{sets}</objects>"
        );
        obstacles(&Object::read(&Node::parse(&xml).expect("well-formed")).expect("an object"))
    }

    const DISK: (&str, &str) = ("config.hardware", "<device xsi:type=\"VirtualDisk\"/>");
    const NO_EXPORT: (&str, &str) =
        ("disabledMethod", "<string>Destroy_Task</string><string>ExportVm</string>");

    #[test]
    fn a_disabled_export_counts_unless_the_vm_merely_runs() {
        let off = ("runtime.powerState", "poweredOff");
        let on = ("runtime.powerState", "poweredOn");
        assert_eq!(of(&[DISK, off]), []);
        assert_eq!(of(&[DISK, off, NO_EXPORT]), [ExportBlocker::Disabled { template: false }]);
        assert_eq!(of(&[DISK, on, NO_EXPORT]), [ExportBlocker::PoweredOn]);
        let template = ("config.template", "true");
        assert_eq!(of(&[DISK, off, template]), []);
        assert_eq!(
            of(&[DISK, off, template, NO_EXPORT]),
            [ExportBlocker::Disabled { template: true }]
        );
    }

    #[test]
    fn an_encrypted_disk_is_enough() {
        let disk = (
            "config.hardware",
            "<device xsi:type=\"VirtualDisk\"><backing><keyId><keyId>k</keyId></keyId></backing>\
             </device>",
        );
        assert_eq!(of(&[disk]), [ExportBlocker::Encrypted { vtpm: false }]);
    }
}
