//! Devices at the units of a VMX's controllers: disks, CD-ROM drives, or devices of the source's
//! host.

use super::Vmx;
use crate::model::NotKept;

/// Device at a unit of a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControllerUnit {
    Disk,
    /// With or without a medium.
    Cdrom,
    /// A passed-through device of the host: a tape drive, a scanner.
    Host,
}

/// Prefixes of paths of a host's CD-ROM drive, for lines without a `deviceType`, in lower case.
const DRIVES: [&str; 5] = ["/vmfs/devices/cdrom/", "/dev/cdrom", "/dev/sr", "/dev/scd", "/dev/dvd"];
/// Maximum number of passed-through PCI devices of a VM (vSphere 8, "Configuration Maximums").
const MOST_PCI: usize = 32;

impl Vmx {
    /// Type of the device with that key prefix. VMware writes `disk`, `scsi-hardDisk`,
    /// `ata-hardDisk`, `rawDisk` and `plainDisk` for disks, or nothing; `cdrom-image`, `cdrom-raw`
    /// and `atapi-cdrom` for drives; `scsi-passthru` for any device on a bus of the host.
    pub(super) fn unit(&self, prefix: &str) -> ControllerUnit {
        let get = |key| self.get(&format!("{prefix}.{key}")).unwrap_or_default();
        let kind = get("devicetype").to_ascii_lowercase();
        let file = get("filename").to_ascii_lowercase();
        let is_drive = DRIVES.iter().any(|drive| file.starts_with(drive))
            || file.ends_with(".iso")
            || ["auto detect", "emptybackingstring"].contains(&file.as_str());
        if kind.contains("cdrom") || is_drive {
            ControllerUnit::Cdrom
        } else if ["passthru", "passthrough", "generic"].iter().any(|word| kind.contains(word)) {
            ControllerUnit::Host
        } else {
            ControllerUnit::Disk
        }
    }

    /// Number of CD-ROM drives.
    pub(super) fn cdroms(&self) -> u32 {
        let drives = self.units().filter(|(prefix, ..)| self.unit(prefix) == ControllerUnit::Cdrom);
        u32::try_from(drives.count()).unwrap_or(u32::MAX)
    }

    /// Devices of the source's host, which the target host does not have.
    pub(super) fn passed_through(&self) -> Vec<NotKept> {
        let on_controllers = self.units().filter_map(|(prefix, ..)| {
            let file = self.get(&format!("{prefix}.filename")).unwrap_or_default();
            let kind = self.get(&format!("{prefix}.devicetype")).unwrap_or_default();
            match self.unit(&prefix) {
                ControllerUnit::Host => Some(format!(
                    "{prefix} ({file}) is a device of the source's host: the VM has it no more"
                )),
                ControllerUnit::Cdrom if kind.to_ascii_lowercase().contains("passthru") => Some(format!(
                    "{prefix} ({file}) is a drive of the source's host: the VM keeps an empty one"
                )),
                _ => None,
            }
        });
        let on_pci = (0..MOST_PCI).filter(|n| self.is(&format!("pcipassthru{n}.present")));
        let on_pci = on_pci.map(|n| {
            format!("pciPassthru{n} is a device of the source's host: the VM has it no more")
        });
        let told = on_controllers.chain(on_pci);
        told.map(NotKept::host_device).collect()
    }
}

/// Whether the file of a disk is a device of the source's host.
pub(super) fn is_of_host(file: &str) -> bool {
    file.starts_with("/dev/") || file.starts_with("/vmfs/devices/") || file.starts_with(r"\\.\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_a_disk_a_drive_or_a_device_of_the_host() {
        for (kind, file, unit) in [
            ("", "disk.vmdk", ControllerUnit::Disk),
            ("disk", "disk.vmdk", ControllerUnit::Disk),
            ("scsi-hardDisk", "disk.vmdk", ControllerUnit::Disk),
            ("rawDisk", "disk.vmdk", ControllerUnit::Disk),
            ("cdrom-image", "x.iso", ControllerUnit::Cdrom),
            ("cdrom-raw", "auto detect", ControllerUnit::Cdrom),
            ("CDROM-RAW", "/dev/sr0", ControllerUnit::Cdrom),
            ("atapi-cdrom", "emptyBackingString", ControllerUnit::Cdrom),
            ("scsi-passthru", "/vmfs/devices/cdrom/mpx.vmhba32:C0:T0:L0", ControllerUnit::Cdrom),
            ("scsi-passthru", "/vmfs/devices/genscsi/mpx.vmhba1:C0:T4:L0", ControllerUnit::Host),
            ("SCSI-passthru", "/dev/sg1", ControllerUnit::Host),
            ("scsi-generic", "/dev/sg1", ControllerUnit::Host),
            ("", "tools.ISO", ControllerUnit::Cdrom),
            ("", "auto detect", ControllerUnit::Cdrom),
            ("disk", "/vmfs/devices/cdrom/mpx.vmhba32:C0:T0:L0", ControllerUnit::Cdrom),
        ] {
            let vmx = Vmx::read(&format!(
                "scsi0:1.present = \"TRUE\"\nscsi0:1.deviceType = \"{kind}\"\n\
                 scsi0:1.fileName = \"{file}\"\n"
            ));
            assert_eq!(vmx.unit("scsi0:1"), unit, "{kind} {file}");
            assert_eq!(
                vmx.disks().len(),
                usize::from(unit == ControllerUnit::Disk),
                "{kind} {file}"
            );
            assert_eq!(vmx.cdroms(), u32::from(unit == ControllerUnit::Cdrom), "{kind} {file}");
            let told = vmx.passed_through().len();
            assert_eq!(
                told,
                usize::from(
                    kind.to_lowercase().contains("passthru") || unit == ControllerUnit::Host
                )
            );
        }
        assert!(is_of_host("/dev/sdb") && is_of_host(r"\\.\PhysicalDrive1"));
        assert!(!is_of_host("disk.vmdk"));
        let vmx = Vmx::read("pciPassthru0.present = \"TRUE\"\npciPassthru1.present = \"FALSE\"\n");
        assert_eq!(vmx.passed_through().len(), 1);
    }
}
