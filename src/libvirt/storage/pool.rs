//! Looks up and describes storage pools.

use std::path::{Path, PathBuf};
use std::time::Duration;

use virt::connect::Connect;
use virt::error::ErrorNumber;
use virt::storage_pool::StoragePool;

use crate::domain::DiskKind;

use super::super::xml::storage::{Permissions, Pool};
use super::super::{Error, xml};
use super::pool_kind;
use super::wanted::PoolChoice;

/// Pause between two attempts to refresh a pool, which is impossible while a volume is being
/// created or filled.
const BUSY_PAUSE: Duration = Duration::from_millis(250);
/// Number of attempts to refresh a pool: five minutes in total.
const BUSY_TRIES: u32 = 1200;

/// Type of a pool over a folder, which exists whether the pool is active or not.
pub(in crate::libvirt) const OF_FOLDER: &str = "dir";

/// A pool that can store disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::libvirt) struct UsablePool {
    /// Name of the pool.
    pub pool: String,
    /// Type of the pool: `dir`, `netfs`, …
    pub of: String,
    /// Whether the volumes are files or block devices.
    pub kind: DiskKind,
    /// Folder on the daemon's host; for devices the folder of their names.
    pub dir: PathBuf,
    /// Owner, group and mode of new volumes.
    pub access: Access,
    /// Whether the pool is started.
    pub active: bool,
}

/// Owner, group and mode of a pool's volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::libvirt) struct Access {
    pub owner: u32,
    pub group: u32,
    pub mode: u32,
}

impl Default for Access {
    /// libvirt's defaults for volumes (`VIR_STORAGE_DEFAULT_VOL_PERM_MODE`).
    fn default() -> Self {
        Self { owner: 0, group: 0, mode: 0o600 }
    }
}

impl Access {
    /// Permissions like the pool's, but without access for others: an image contains private data
    /// of its guest.
    fn like(pool: &Permissions) -> Self {
        let mode = pool.mode.as_ref().and_then(|mode| u32::from_str_radix(mode, 8).ok());
        Self {
            owner: pool.owner.unwrap_or(0),
            group: pool.group.unwrap_or(0),
            mode: mode.map_or(0o600, |mode| mode & 0o660 | 0o600),
        }
    }
}

impl UsablePool {
    /// Whether `image`, a local file, is a volume of this pool by its location.
    pub fn holds(&self, image: &Path) -> bool {
        self.kind == DiskKind::File && image.parent().is_some_and(|parent| self.is_at(parent))
    }

    /// Whether the folder is missing on this machine.
    pub fn lacks_folder(&self) -> bool {
        self.kind == DiskKind::File && !self.dir.exists()
    }

    /// Refuses an inactive pool whose folder is missing on this machine, unless the folder may be
    /// created.
    pub fn has_folder(&self, local: bool, may_build: bool) -> Result<(), Error> {
        let refused = !self.active && local && !may_build && self.lacks_folder();
        let (name, path) = (self.pool.clone(), self.dir.clone());
        if refused { Err(Error::PoolFolder { name, path }) } else { Ok(()) }
    }

    fn is_at(&self, dir: &Path) -> bool {
        real(dir) == real(&self.dir)
    }
}

/// Path of a folder without links, if the folder exists.
fn real(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

/// Looks up the pool: `None` if it does not exist and may be created.
pub(in crate::libvirt) fn find(
    connect: &Connect,
    choice: &PoolChoice,
) -> Result<Option<UsablePool>, Error> {
    if let Some(pool) = look_up(connect, &choice.name)? {
        return as_chosen(&pool, choice).map(Some);
    }
    let pools = all(connect)?;
    if pools.iter().any(|(name, _)| *name == choice.name) {
        // Another run has created the pool since the lookup.
        return as_chosen(&open(connect, &choice.name)?, choice).map(Some);
    }
    let Some(path) = &choice.path else {
        let existing = pools.into_iter().map(|(name, _)| name).collect();
        return Err(Error::NoPool { name: choice.name.clone(), existing });
    };
    let wanted = real(path);
    match pools.into_iter().find(|(_, dir)| dir.as_deref().is_some_and(|dir| real(dir) == wanted)) {
        Some((name, _)) => Err(Error::PathTaken { path: path.clone(), name }),
        None => Ok(None),
    }
}

/// Describes a pool, which must have the path that was asked for.
fn as_chosen(pool: &StoragePool, choice: &PoolChoice) -> Result<UsablePool, Error> {
    let place = describe(pool, &choice.name)?;
    match &choice.path {
        Some(path) if !place.is_at(path) => {
            Err(Error::PoolElsewhere { name: place.pool, path: place.dir })
        }
        _ => Ok(place),
    }
}

/// The pool of that name, which must exist.
pub(in crate::libvirt) fn open(connect: &Connect, name: &str) -> Result<StoragePool, Error> {
    connect
        .lookup_storage_pool_by_name(name)
        .map_err(Error::call(format!("looking up storage pool '{name}'")))
}

/// The pool of that name, if it exists.
pub(super) fn look_up(connect: &Connect, name: &str) -> Result<Option<StoragePool>, Error> {
    match connect.lookup_storage_pool_by_name(name) {
        Ok(pool) => Ok(Some(pool)),
        Err(error) if error.code().is(ErrorNumber::NoStoragePool) => Ok(None),
        Err(error) => Err(Error::call(format!("looking up storage pool '{name}'"))(error)),
    }
}

/// Makes libvirt read the folder again.
pub(in crate::libvirt) fn refresh(pool: &StoragePool, name: &str) -> Result<(), Error> {
    let mut tries = 0;
    loop {
        match pool.refresh(0) {
            Err(error) if is_busy(&error) && tries < BUSY_TRIES => {
                tries += 1;
                std::thread::sleep(BUSY_PAUSE);
            }
            end => return end.map_err(Error::call(format!("refreshing storage pool '{name}'"))),
        }
    }
}

/// Whether the pool is busy. libvirt has no error code for that (`storagePoolRefresh` in
/// `storage_driver.c`).
fn is_busy(error: &virt::error::Error) -> bool {
    error.message().contains("asynchronous jobs running")
}

/// Type, path and permissions of a pool.
pub(in crate::libvirt) fn describe(pool: &StoragePool, name: &str) -> Result<UsablePool, Error> {
    let active =
        pool.is_active().map_err(Error::call(format!("inspecting storage pool '{name}'")))?;
    let description = read(pool, name)?;
    place(description, active)
}

fn place(description: Pool, active: bool) -> Result<UsablePool, Error> {
    let Pool { kind: of, name, target, .. } = description;
    let kind = match pool_kind::holds(&of) {
        Ok(kind) => kind,
        Err(pool_kind::Unfit { why, .. }) => return Err(Error::PoolKind { name, kind: of, why }),
    };
    let permissions = target.as_ref().and_then(|target| target.permissions.as_ref());
    let access = permissions.map(Access::like).unwrap_or_default();
    let dir = PathBuf::from(target.map(|target| target.path).unwrap_or_default());
    Ok(UsablePool { pool: name, of, kind, dir, access, active })
}

fn read(pool: &StoragePool, name: &str) -> Result<Pool, Error> {
    let text =
        pool.xml_desc(0).map_err(Error::call(format!("describing storage pool '{name}'")))?;
    xml::read("pool", &text)
        .map_err(|source| Error::Xml { what: format!("storage pool '{name}'"), source })
}

/// Names of the active pools.
pub(in crate::libvirt) fn active(connect: &Connect) -> Result<Vec<String>, Error> {
    let started = virt::sys::VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE;
    let pools =
        connect.list_all_storage_pools(started).map_err(Error::call("listing storage pools"))?;
    // A pool that was removed since the listing has no name.
    Ok(pools.iter().filter_map(|pool| pool.name().ok()).collect())
}

/// Names and folders of all pools.
pub(in crate::libvirt) fn all(connect: &Connect) -> Result<Vec<(String, Option<PathBuf>)>, Error> {
    let pools = connect.list_all_storage_pools(0).map_err(Error::call("listing storage pools"))?;
    let mut found = Vec::new();
    for pool in pools {
        let name = pool.name().map_err(Error::call("reading the name of a storage pool"))?;
        match read(&pool, &name) {
            Ok(pool) => found.push((name, pool.target.map(|target| PathBuf::from(target.path)))),
            // The pool was removed since the listing.
            Err(error) => tracing::debug!(name, %error, "passed over"),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt::xml::storage::PoolTarget;
    use crate::model::Hint;

    fn pool(kind: &str, dir: &str) -> Pool {
        Pool {
            kind: kind.to_owned(),
            name: "p".to_owned(),
            uuid: None,
            target: Some(PoolTarget { path: dir.to_owned(), permissions: None }),
        }
    }

    #[test]
    fn only_pools_of_files_and_of_named_devices_are_used() {
        let files = place(pool("netfs", "/srv"), true).expect("files");
        assert_eq!((files.kind, files.dir.as_path()), (DiskKind::File, Path::new("/srv")));
        let devices = place(pool("logical", "/dev/vg"), true).expect("devices");
        assert_eq!(devices.kind, DiskKind::Block);
        assert!(!devices.holds(Path::new("/dev/vg/image.qcow2")));
        let error = place(pool("mpath", "/dev/mapper"), true).expect_err("neither");
        let said = error.to_string();
        assert!(
            said.starts_with("storage pool 'p' of type mpath is not supported for disks: its"),
            "{said}"
        );
        assert!(error.hint().expect("a hint").contains("dir, fs, netfs, logical or zfs"));
    }

    #[test]
    fn volumes_are_as_their_pool_but_never_for_everybody() {
        for (mode, expected) in [("0711", 0o600), ("0770", 0o660), ("0755", 0o640), ("x", 0o600)] {
            let owned = Permissions { mode: Some(mode.to_owned()), owner: Some(7), group: Some(8) };
            assert_eq!(Access::like(&owned), Access { owner: 7, group: 8, mode: expected });
        }
    }

    #[test]
    fn an_image_belongs_to_the_pool_whose_folder_it_lies_in() {
        let dir = tempfile::tempdir().expect("a folder");
        let real = dir.path().join("real");
        std::fs::create_dir_all(real.join("sub")).expect("made");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&real, &link).expect("linked");
        let place = place(pool("dir", link.to_str().expect("UTF-8")), true).expect("files");
        assert!(place.holds(&real.join("a.qcow2")) && place.holds(&link.join("a.qcow2")));
        assert!(!place.holds(&real.join("sub/a.qcow2")), "libvirt does not look into folders");
        assert!(!place.holds(&dir.path().join("a.qcow2")));
    }
}
