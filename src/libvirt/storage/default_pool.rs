//! The storage pool `default`, which virt-install and virt-manager create if it is missing. So does
//! this program, unless the user names a pool.

use std::path::{Path, PathBuf};

use super::super::connection::uri;
use super::super::{Connection, Error};
use super::pool;
use super::wanted::{DefaultPool, PoolChoice};

/// Name that all libvirt tools give to the first storage pool.
const NAME: &str = "default";
/// Folder of the system daemon's images (`virt-install`, `StoragePool.build_default_pool`).
const SYSTEM: &str = "/var/lib/libvirt/images";
/// Folder of a session daemon's images, below the user's data folder.
const SESSION: &str = "libvirt/images";

impl Connection {
    /// Storage pool for the disks if the user names none. This is `default` if it exists, else
    /// another pool over the same folder, since libvirt allows only one. If neither exists,
    /// `default` is created over that folder. On a remote host the user's home folder is unknown,
    /// so `default` must exist.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn default_pool(&self, wanted: &DefaultPool) -> Result<PoolChoice, Error> {
        let folder = folder(self.uri(), wanted.data_home.as_deref());
        let local = self.is_local();
        self.call(move |connect| {
            let choice = |name: &str, path| PoolChoice { name: name.to_owned(), path };
            let pools = pool::all(connect)?;
            if let Some((_, dir)) = pools.iter().find(|(name, _)| name == NAME) {
                // Passes the folder too, so that it is created if it is missing.
                return Ok(choice(NAME, dir.clone().filter(|dir| dir.is_absolute())));
            }
            let Some(folder) = folder else { return Ok(choice(NAME, None)) };
            let over_it = |dir: &Option<PathBuf>| {
                dir.as_deref().is_some_and(|dir| dir == folder || local && same(dir, &folder))
            };
            match pools.iter().find(|(_, dir)| over_it(dir)) {
                Some((name, _)) => Ok(choice(name, None)),
                None => Ok(choice(NAME, Some(folder))),
            }
        })
        .await
    }
}

/// Folder of the default pool on the daemon's host.
fn folder(uri: &str, data_home: Option<&Path>) -> Option<PathBuf> {
    if !uri::is_session(uri) {
        return Some(PathBuf::from(SYSTEM));
    }
    data_home.filter(|_| uri::is_local(uri)).map(|data| data.join(SESSION))
}

fn same(a: &Path, b: &Path) -> bool {
    a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_that_of_the_daemon() {
        let home = Path::new("/home/me/.local/share");
        let of = |uri: &str| folder(uri, Some(home));
        let system = Some(PathBuf::from("/var/lib/libvirt/images"));
        assert_eq!(of("qemu:///system"), system);
        assert_eq!(of("qemu+ssh://root@kvm2/system?keyfile=/k"), system);
        let session = Some(PathBuf::from("/home/me/.local/share/libvirt/images"));
        assert_eq!(of("qemu:///session"), session);
        assert_eq!(of("qemu+ssh://me@kvm2/session"), None, "nobody knows the home folder there");
        assert_eq!(folder("qemu:///session", None), None);
    }
}
