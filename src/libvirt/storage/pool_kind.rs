//! Which types of storage pools take disks, and what stands in the way of the others: what their backend
//! in libvirt can do (`src/storage/storage_backend_*.c`), and what is known to work.

use crate::domain::DiskKind;

/// Types of pools whose volumes are files in a folder.
const OF_FILES: [&str; 3] = ["dir", "fs", "netfs"];
/// Types of pools whose volumes are block devices that can be named and made as wanted: LVM and ZFS.
const OF_DEVICES: [&str; 2] = ["logical", "zfs"];

/// Why a pool takes no disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::libvirt) struct Unfit {
    /// As a clause.
    pub why: &'static str,
    /// Another way to the same storage.
    pub instead: &'static str,
}

/// What the volumes of a pool of this type are.
pub(in crate::libvirt) fn holds(kind: &str) -> Result<DiskKind, Unfit> {
    if OF_FILES.contains(&kind) {
        return Ok(DiskKind::File);
    }
    if OF_DEVICES.contains(&kind) {
        return Ok(DiskKind::Block);
    }
    Err(unfit(kind))
}

/// What stands in the way of the types that take no disks.
pub(in crate::libvirt) fn unfit(kind: &str) -> Unfit {
    let (why, instead) = match kind {
        "rbd" => (
            "libvirt makes images in it, and cannot write to them",
            "leave --libvirt out, write the disks with 'qemu-img convert -O raw DISK rbd:POOL/IMAGE' \
             and define the domain by hand",
        ),
        "gluster" => (
            "libvirt cannot make volumes in it",
            "make a pool of type netfs with the format glusterfs: it mounts the same volume",
        ),
        "iscsi" | "iscsi-direct" | "scsi" | "mpath" => (
            "its volumes are LUNs that are there already, and libvirt can make none",
            "make a volume group on a LUN and a pool of type logical over it, or a file system and a \
             pool of type fs",
        ),
        "disk" => (
            "its volumes are partitions, which get their names from the disk",
            "make a volume group on a partition and a pool of type logical over it, or a file system \
             and a pool of type fs",
        ),
        "vstorage" => (
            "nobody has tried it",
            "make a pool of type dir over the folder where the storage is mounted",
        ),
        _ => ("its type is not known", "make a pool of type dir"),
    };
    Unfit { why, instead }
}

/// What to look at where libvirt cannot start a pool of this type.
pub(in crate::libvirt) fn source(kind: &str) -> &'static str {
    match kind {
        "dir" => "its folder must be there: 'virsh pool-build' makes it",
        "fs" => "its device must be there and hold a file system",
        "netfs" => "its server must answer and export the folder",
        "logical" => "its volume group must be there: 'vgs' lists them",
        "zfs" => "its pool must be imported: 'zpool list' lists them",
        _ => "its source must be there",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_named_devices_take_disks_and_nothing_else_does() {
        for kind in ["dir", "fs", "netfs"] {
            assert_eq!(holds(kind), Ok(DiskKind::File));
        }
        for kind in ["logical", "zfs"] {
            assert_eq!(holds(kind), Ok(DiskKind::Block));
        }
        for (kind, why, instead) in [
            ("rbd", "cannot write", "qemu-img convert"),
            ("gluster", "cannot make volumes", "netfs"),
            ("iscsi", "can make none", "logical"),
            ("iscsi-direct", "can make none", "logical"),
            ("scsi", "can make none", "logical"),
            ("mpath", "can make none", "logical"),
            ("disk", "names from the disk", "logical"),
            ("vstorage", "nobody has tried", "dir"),
            ("sheepdog", "not known", "dir"),
        ] {
            let unfit = holds(kind).expect_err(kind);
            assert!(unfit.why.contains(why) && unfit.instead.contains(instead), "{unfit:?}");
        }
    }
}
