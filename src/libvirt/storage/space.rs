//! Checks whether a pool has enough free space. This check is vital: libvirtd 11.3 crashes when the
//! file system fills up during an upload.

use std::path::Path;

use virt::connect::Connect;

use crate::model::ByteSize;

use super::super::Error;
use super::pool;
use super::pool::UsablePool;
use super::wanted::WantedVolume;

/// Space left free for the file system's own needs: 1 % of the images plus these bytes.
const MARGIN: u64 = 16 * 1024 * 1024;

/// Checks that all volumes to create fit into the pool.
pub(in crate::libvirt) fn check<'a>(
    pool: &str,
    available: ByteSize,
    volumes: impl Iterator<Item = &'a WantedVolume>,
) -> Result<(), Error> {
    let ByteSize(bytes) = volumes.map(|volume| volume.needs()).sum();
    let needed = ByteSize(bytes.saturating_add(bytes / 100 + MARGIN));
    if bytes > 0 && needed > available {
        return Err(Error::NoSpace { pool: pool.to_owned(), needed, available });
    }
    Ok(())
}

/// Free bytes of an active pool, as libvirt reports them now.
pub(in crate::libvirt) fn of_pool(
    connect: &Connect,
    place: &UsablePool,
) -> Result<ByteSize, Error> {
    let handle = pool::open(connect, &place.pool)?;
    pool::refresh(&handle, &place.pool)?;
    let info = handle
        .info()
        .map_err(Error::call(format!("asking for the space of storage pool '{}'", place.pool)))?;
    Ok(ByteSize(info.available))
}

/// Free bytes at a local folder that exists or will exist; `None` if they cannot be determined.
pub(in crate::libvirt) fn of_folder(dir: &Path) -> Option<ByteSize> {
    let existing = dir.ancestors().find(|ancestor| ancestor.exists())?;
    let stat = nix::sys::statvfs::statvfs(existing).ok()?;
    Some(ByteSize(stat.blocks_available().saturating_mul(stat.fragment_size())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DiskKind;
    use crate::model::{DiskFormat, DiskId};

    fn volume(allocated: u64) -> WantedVolume {
        WantedVolume {
            id: DiskId::from_index(0),
            name: "x.qcow2".to_owned(),
            image: "/x".into(),
            image_format: DiskFormat::Qcow2,
            kind: DiskKind::File,
            format: DiskFormat::Qcow2,
            capacity: ByteSize(1 << 40),
            allocated: ByteSize(allocated),
            boot_order: 0,
            fixed: true,
            medium: false,
            content: None,
        }
    }

    #[test]
    fn the_sum_and_a_margin_must_fit() {
        let available = ByteSize(1 << 30);
        let half = volume(1 << 29);
        check("p", available, [&half].into_iter()).expect("fits");
        let error = check("p", available, [&half, &half].into_iter()).expect_err("no margin");
        assert_eq!(error.to_string(), "storage pool 'p' has 1.0 GiB free, 1.0 GiB are needed");
        check("p", ByteSize(0), std::iter::empty()).expect("nothing to store fits anywhere");
        let device = WantedVolume { kind: DiskKind::Block, ..volume(1) };
        check("p", available, [&device].into_iter()).expect_err("it takes what its guest sees");
    }

    #[test]
    fn a_folder_that_is_still_to_be_made_has_the_space_of_its_parent() {
        let dir = tempfile::tempdir().expect("a folder");
        let free = of_folder(&dir.path().join("a/b")).expect("known");
        assert!(free > ByteSize(0));
    }
}
