//! Names of the objects of a local libvirt host, for shell completion.

use virt::connect::Connect;

use super::connection::{uri, uri_check};
use super::{Connection, Error, Settings};

/// Type of a named libvirt object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// Domains, running or not.
    Domain,
    /// Storage pools, started or not.
    Pool,
    /// Virtual networks, started or not.
    Network,
}

/// Names of all objects of `kind` at `uri`, sorted. Returns none if `uri` is remote or names a
/// program: a completion opens no connection to a host and starts no ssh.
///
/// # Errors
/// As [`Connection::connect`], and errors that the daemon reports.
pub async fn object_names(uri: &str, kind: ObjectKind) -> Result<Vec<String>, Error> {
    uri_check::check_from_file(uri)?;
    if !uri::is_local(uri) {
        return Ok(Vec::new());
    }
    let target =
        Connection::connect(&Settings { uri: uri.to_owned(), ..Settings::default() }).await?;
    let mut names = target.call(move |connect| names(connect, kind)).await?;
    names.sort();
    Ok(names)
}

/// An object that was removed in the meantime has no name.
fn names(connect: &Connect, kind: ObjectKind) -> Result<Vec<String>, Error> {
    Ok(match kind {
        ObjectKind::Domain => {
            let all = connect.list_all_domains(0).map_err(Error::call("listing domains"))?;
            all.iter().filter_map(|domain| domain.name().ok()).collect()
        }
        ObjectKind::Pool => {
            let all = connect.list_all_storage_pools(0).map_err(Error::call("listing pools"))?;
            all.iter().filter_map(|pool| pool.name().ok()).collect()
        }
        ObjectKind::Network => {
            let all = connect.list_all_networks(0).map_err(Error::call("listing networks"))?;
            all.iter().filter_map(|network| network.name().ok()).collect()
        }
    })
}
