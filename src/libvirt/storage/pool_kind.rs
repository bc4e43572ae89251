//! Types of storage pools that can store disks, and why the others cannot. The list reflects
//! libvirt's backends (`src/storage/storage_backend_*.c`) and tests.

use crate::domain::DiskKind;

/// Types of pools whose volumes are files in a folder.
const OF_FILES: [&str; 3] = ["dir", "fs", "netfs"];
/// Types of pools whose volumes are block devices with arbitrary names and sizes: LVM and ZFS.
const OF_DEVICES: [&str; 2] = ["logical", "zfs"];

/// Why a pool cannot store disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::libvirt) struct Unfit {
    /// Reason, as a clause.
    pub why: &'static str,
    /// Another way to use the same storage.
    pub instead: &'static str,
}

/// Kind of the volumes in a pool of this type.
pub(in crate::libvirt) fn holds(kind: &str) -> Result<DiskKind, Unfit> {
    if OF_FILES.contains(&kind) {
        return Ok(DiskKind::File);
    }
    if OF_DEVICES.contains(&kind) {
        return Ok(DiskKind::Block);
    }
    Err(unfit(kind))
}

/// Reason and alternative for a type that cannot store disks.
pub(in crate::libvirt) fn unfit(kind: &str) -> Unfit {
    let (why, instead) = match kind {
        "rbd" => (
            "libvirt can create images in it, but cannot write to them",
            "leave --libvirt out, write the disks with 'qemu-img convert -O raw DISK rbd:POOL/IMAGE' \
             and define the domain by hand",
        ),
        "gluster" => (
            "libvirt cannot create volumes in it",
            "define a pool of type netfs with the format glusterfs, which mounts the same volume",
        ),
        "iscsi" | "iscsi-direct" | "scsi" | "mpath" => (
            "its volumes are existing LUNs, and libvirt can create none",
            "create a volume group on a LUN and a pool of type logical over it, or a file system \
             and a pool of type fs",
        ),
        "disk" => (
            "its volumes are partitions, which get their names from the disk",
            "create a volume group on a partition and a pool of type logical over it, or a file \
             system and a pool of type fs",
        ),
        "vstorage" => (
            "it was never tested",
            "define a pool of type dir over the folder where the storage is mounted",
        ),
        _ => ("its type is not known", "define a pool of type dir"),
    };
    Unfit { why, instead }
}

/// What to check if libvirt cannot start a pool of this type.
pub(in crate::libvirt) fn source(kind: &str) -> &'static str {
    match kind {
        "dir" => "check its folder ('virsh pool-build' creates the folder)",
        "fs" => "check that its device exists and has a file system",
        "netfs" => "check that its server answers and exports the folder",
        "logical" => "check that its volume group exists ('vgs' lists all)",
        "zfs" => "check that its pool is imported ('zpool list' lists all)",
        _ => "check that its source exists",
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
            ("gluster", "cannot create volumes", "netfs"),
            ("iscsi", "can create none", "logical"),
            ("iscsi-direct", "can create none", "logical"),
            ("scsi", "can create none", "logical"),
            ("mpath", "can create none", "logical"),
            ("disk", "names from the disk", "logical"),
            ("vstorage", "never tested", "dir"),
            ("sheepdog", "not known", "dir"),
        ] {
            let unfit = holds(kind).expect_err(kind);
            assert!(unfit.why.contains(why) && unfit.instead.contains(instead), "{unfit:?}");
        }
    }
}
