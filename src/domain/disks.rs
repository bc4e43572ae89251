//! Disks: names of volumes, names on the bus, boot order.

use crate::model::{DiskFormat, DiskId};

use super::Error;
use super::spec::DiskSpec;

/// Longest serial number of a virtio disk, in bytes (`VIRTIO_BLK_ID_BYTES`).
const LONGEST_SERIAL: usize = 20;

/// A disk image that lies, or will lie, where the host can open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedDisk {
    /// Which disk of the VM.
    pub id: DiskId,
    /// Absolute path on the host.
    pub path: String,
    /// Its format.
    pub format: DiskFormat,
    /// 0 is the boot disk, the others follow.
    pub boot_order: u32,
}

/// Name of the volume for a disk: `<domain>.qcow2` for the boot disk and
/// `<domain>-<disk-id>.qcow2` for the others.
pub fn volume_name(domain: &str, id: &DiskId, format: DiskFormat, boot: bool) -> String {
    if boot { format!("{domain}.{format}") } else { format!("{domain}-{id}.{format}") }
}

/// The disks of the domain, boot disk first.
pub(super) fn arrange(disks: &[PlannedDisk]) -> Result<Vec<DiskSpec>, Error> {
    if disks.is_empty() {
        return Err(Error::NoDisks);
    }
    let mut ordered: Vec<_> = disks.iter().collect();
    ordered.sort_by_key(|disk| disk.boot_order);
    ordered.into_iter().zip(0..).map(|(disk, index)| spec(disk, index)).collect()
}

fn spec(disk: &PlannedDisk, index: u32) -> Result<DiskSpec, Error> {
    if !matches!(disk.format, DiskFormat::Qcow2 | DiskFormat::Raw) {
        return Err(Error::DiskFormat { disk: disk.id.to_string(), format: disk.format });
    }
    if disk.path.chars().any(char::is_control) {
        return Err(Error::DiskPath { disk: disk.id.to_string() });
    }
    let serial = disk.id.as_str();
    Ok(DiskSpec {
        id: disk.id.clone(),
        target: target(index),
        path: disk.path.clone(),
        format: disk.format,
        // By position, so that it stays unique whatever the source says: libvirt insists on it.
        boot: index + 1,
        // A longer one would be cut by QEMU, and two disks could end with the same.
        serial: (serial.len() <= LONGEST_SERIAL).then(|| serial.to_owned()),
    })
}

/// Name of the disk at `index`, counted as Linux counts: `vda` … `vdz`, `vdaa` …
fn target(mut index: u32) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'a' + (index % 26) as u8));
        if index < 26 {
            break;
        }
        index = index / 26 - 1;
    }
    letters.push('d');
    letters.push('v');
    letters.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_count_like_linux() {
        for (index, name) in
            [(0, "vda"), (25, "vdz"), (26, "vdaa"), (27, "vdab"), (701, "vdzz"), (702, "vdaaa")]
        {
            assert_eq!(target(index), name);
        }
    }

    #[test]
    fn the_boot_disk_comes_first_and_orders_stay_unique() {
        let disk = |index: usize, boot_order| PlannedDisk {
            id: DiskId::from_index(index),
            path: format!("/p/{index}"),
            format: DiskFormat::Qcow2,
            boot_order,
        };
        let specs = arrange(&[disk(0, 3), disk(1, 0), disk(2, 3)]).expect("valid");
        let seen: Vec<_> =
            specs.iter().map(|d| (d.id.as_str(), d.target.as_str(), d.boot)).collect();
        assert_eq!(seen, [("disk-1", "vda", 1), ("disk-0", "vdb", 2), ("disk-2", "vdc", 3)]);
    }

    #[test]
    fn no_disk_a_foreign_format_an_odd_path_and_a_long_serial() {
        assert_eq!(arrange(&[]), Err(Error::NoDisks));
        let mut disk = PlannedDisk {
            id: "a-name-of-more-than-twenty-bytes".parse().expect("valid"),
            path: "/p".to_owned(),
            format: DiskFormat::Raw,
            boot_order: 0,
        };
        assert_eq!(arrange(std::slice::from_ref(&disk)).expect("valid")[0].serial, None);
        disk.path = "/p\n".to_owned();
        assert!(matches!(arrange(&[disk.clone()]), Err(Error::DiskPath { .. })));
        disk.format = DiskFormat::Vmdk;
        assert!(matches!(arrange(&[disk]), Err(Error::DiskFormat { .. })));
    }

    #[test]
    fn volumes_are_named_after_the_domain() {
        let name = |boot| volume_name("web01", &DiskId::from_index(2), DiskFormat::Qcow2, boot);
        assert_eq!(name(true), "web01.qcow2");
        assert_eq!(name(false), "web01-disk-2.qcow2");
    }
}
