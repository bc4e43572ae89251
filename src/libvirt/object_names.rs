//! Names of the objects that a libvirt host of this machine has, for completions of the command
//! line.

use virt::connect::Connect;

use super::connection::{uri, uri_check};
use super::{Connection, Error, Settings};

/// Kinds of objects of libvirt that have names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// Domains, running or not.
    Domain,
    /// Storage pools, started or not.
    Pool,
    /// Virtual networks, started or not.
    Network,
}

/// The names of all objects of `kind` at `uri`, sorted; none where `uri` leads to another machine
/// or names a program. A completion opens no connection to a host and starts no ssh.
///
/// # Errors
/// As [`Connection::connect`], and what the daemon says.
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

/// An object that vanishes meanwhile has no name any more.
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
