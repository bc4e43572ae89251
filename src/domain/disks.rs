//! Disks of a plan: order, checks, and names of volumes.

use super::Error;
use super::kinds::DiskKind;
use crate::model::{DiskFormat, DiskId};

/// A disk image at its present or future path on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedDisk {
    /// ID of the disk within the VM, such as `disk-0`.
    pub id: DiskId,
    /// Whether the image is a file or a block device on the host.
    pub kind: DiskKind,
    /// Absolute path on the host.
    pub path: String,
    /// Format of the image.
    pub format: DiskFormat,
    /// Place in the boot order; 0 is the boot disk.
    pub boot_order: u32,
    /// Whether the converter has prepared the guest on these disks for virtio.
    pub fixed: bool,
    /// Whether the image is the medium of a CD-ROM drive.
    pub medium: bool,
}

/// Name of the volume for a disk: `<domain>.qcow2` for the boot disk and
/// `<domain>-<disk-id>.qcow2` for the others.
pub fn volume_name(domain: &str, id: &DiskId, format: DiskFormat, boot: bool) -> String {
    if boot { format!("{domain}.{format}") } else { format!("{domain}-{id}.{format}") }
}

/// Name of the volume for the medium of a CD-ROM drive.
pub fn medium_name(domain: &str, id: &DiskId) -> String {
    format!("{domain}-{id}.iso")
}

/// Name of the logical volume for a disk. LVM allows fewer characters: lvm(8), "valid names".
pub fn device_name(domain: &str, id: &DiskId, boot: bool) -> String {
    let name = if boot { domain.to_owned() } else { format!("{domain}-{id}") };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+_.-".contains(c);
    let name: String = name.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    // LVM reserves names that begin with a dash, a dot or `snapshot`.
    format!("vm-{name}")
}

/// Whether the guest is prepared for virtio: this must be true of all disks, since each may contain
/// a part of the guest.
pub(super) fn fixed(disks: &[PlannedDisk]) -> bool {
    !disks.is_empty() && disks.iter().all(|disk| disk.fixed)
}

/// The disks, boot disk first. Fails if one of them cannot be a disk of a domain.
pub(super) fn ordered(disks: &[PlannedDisk]) -> Result<Vec<&PlannedDisk>, Error> {
    if disks.is_empty() {
        return Err(Error::NoDisks);
    }
    for disk in disks {
        if !matches!(disk.format, DiskFormat::Qcow2 | DiskFormat::Raw) {
            return Err(Error::DiskFormat { disk: disk.id.to_string(), format: disk.format });
        }
        if disk.path.chars().any(char::is_control) {
            return Err(Error::DiskPath { disk: disk.id.to_string() });
        }
    }
    let mut ordered: Vec<_> = disks.iter().collect();
    ordered.sort_by_key(|disk| disk.boot_order);
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_disk_a_foreign_format_and_an_odd_path_are_refused() {
        assert_eq!(ordered(&[]), Err(Error::NoDisks));
        let mut disk = PlannedDisk {
            id: DiskId::from_index(0),
            kind: DiskKind::File,
            path: "/p\n".to_owned(),
            format: DiskFormat::Raw,
            boot_order: 0,
            fixed: true,
            medium: false,
        };
        assert!(matches!(ordered(&[disk.clone()]), Err(Error::DiskPath { .. })));
        disk.format = DiskFormat::Vmdk;
        assert!(matches!(ordered(&[disk]), Err(Error::DiskFormat { .. })));
    }

    #[test]
    fn volumes_are_named_after_the_domain() {
        let name = |boot| volume_name("web01", &DiskId::from_index(2), DiskFormat::Qcow2, boot);
        assert_eq!(name(true), "web01.qcow2");
        assert_eq!(name(false), "web01-disk-2.qcow2");
        let device = |domain: &str, boot| device_name(domain, &DiskId::from_index(1), boot);
        assert_eq!(device("web01", true), "vm-web01");
        assert_eq!(device("-söhne & co/x", false), "vm--s_hne___co_x-disk-1");
    }
}
