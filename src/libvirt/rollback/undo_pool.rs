//! Rolls back storage pools, unless others have added volumes or a guest runs from the pool. Other
//! runs and other programs may use a pool as soon as it exists.

use std::path::Path;

use virt::connect::Connect;
use virt::error::ErrorNumber;
use virt::storage_pool::StoragePool;
use virt::sys;

use super::super::storage::pool;
use super::super::storage::pool_use::PoolUse;
use super::super::xml::sources;
use super::step_result::{StepResult, gone, said};

/// Stops a pool that the run has started, unless others use it by now.
pub(in crate::libvirt) fn stop(
    connect: &Connect,
    name: &str,
    held: &[String],
) -> Result<StepResult, String> {
    let pool = match connect.lookup_storage_pool_by_name(name) {
        Ok(pool) => pool,
        Err(error) => return gone(error, ErrorNumber::NoStoragePool),
    };
    if !pool.is_active().map_err(said)? {
        return Ok(StepResult::Gone);
    }
    // A volume that existed before may belong to a guest that was started in the meantime.
    let place = pool::describe(&pool, name).map_err(|error| error.to_string())?;
    match running_from(connect, &place.dir)? {
        Some(domain) => Ok(StepResult::Shared(format!("domain '{domain}' runs from it"))),
        None => stop_idle(&pool, held),
    }
}

/// Stops a pool if it contains only the volumes in `held` and no other run is about to use it.
pub(in crate::libvirt) fn stop_idle(
    pool: &StoragePool,
    held: &[String],
) -> Result<StepResult, String> {
    match PoolUse::alone(pool) {
        Some(_alone) => stop_unfilled(pool, held),
        None => Ok(used()),
    }
}

fn used() -> StepResult {
    StepResult::Shared("another run uses it".to_owned())
}

fn stop_unfilled(pool: &StoragePool, held: &[String]) -> Result<StepResult, String> {
    match new_volumes(pool, held)? {
        0 => pool.destroy().map(|()| StepResult::Done).map_err(said),
        count => Ok(holds(count)),
    }
}

fn holds(count: usize) -> StepResult {
    StepResult::Shared(format!("it contains {count} volumes"))
}

/// Stops and undefines a pool that the run has created, unless others use it by now.
pub(in crate::libvirt) fn remove(
    connect: &Connect,
    uuid: &str,
    held: &[String],
    folder: bool,
) -> Result<StepResult, String> {
    let pool = match connect.lookup_storage_pool_by_uuid_string(uuid) {
        Ok(pool) => pool,
        Err(error) => return gone(error, ErrorNumber::NoStoragePool),
    };
    let Some(_alone) = PoolUse::alone(&pool) else { return Ok(used()) };
    // Guests that run from images which were in the folder before do not need the pool.
    if pool.is_active().map_err(said)?
        && let shared @ StepResult::Shared(_) = stop_unfilled(&pool, held)?
    {
        return Ok(shared);
    }
    // libvirt removes only an empty folder; a folder with files may be in use.
    if folder && let Err(error) = pool.delete(0) {
        tracing::debug!(%error, "keeping the pool's folder");
    }
    pool.undefine().map(|()| StepResult::Done).map_err(said)
}

/// Removes the folder that the run created for an existing pool, if the pool is inactive and the
/// folder is empty.
pub(in crate::libvirt) fn remove_folder(
    connect: &Connect,
    name: &str,
) -> Result<StepResult, String> {
    let pool = match connect.lookup_storage_pool_by_name(name) {
        Ok(pool) => pool,
        Err(error) => return gone(error, ErrorNumber::NoStoragePool),
    };
    if pool.is_active().map_err(said)? {
        return Ok(StepResult::Shared("the pool is started".to_owned()));
    }
    match pool.delete(0) {
        Ok(()) => Ok(StepResult::Done),
        Err(error) => {
            tracing::debug!(%error, "keeping the pool's folder");
            Ok(StepResult::Gone)
        }
    }
}

/// Number of volumes that were added to a pool since the run began; `None` if the pool does not
/// exist or is inactive.
pub(in crate::libvirt) fn strangers(
    connect: &Connect,
    uuid: &str,
    held: &[String],
) -> Result<usize, String> {
    match connect.lookup_storage_pool_by_uuid_string(uuid) {
        Ok(pool) if pool.is_active().map_err(said)? => new_volumes(&pool, held),
        Ok(_) => Ok(0),
        Err(error) => gone(error, ErrorNumber::NoStoragePool).map(|_| 0),
    }
}

/// Names of the volumes of an active pool.
pub(in crate::libvirt) fn volumes(pool: &StoragePool) -> Result<Vec<String>, virt::error::Error> {
    let volumes = pool.list_all_volumes(0)?;
    // A volume that was deleted since the listing has no name.
    Ok(volumes.iter().filter_map(|volume| volume.name().ok()).collect())
}

fn new_volumes(pool: &StoragePool, held: &[String]) -> Result<usize, String> {
    // While a volume is being created or filled, a pool cannot be refreshed, but libvirt lists that
    // volume anyway.
    if let Err(error) = pool.refresh(0) {
        tracing::debug!(%error, "refresh");
    }
    let volumes = volumes(pool).map_err(said)?;
    Ok(volumes.iter().filter(|name| !held.contains(name)).count())
}

/// Name of a running domain with a disk in the folder.
fn running_from(connect: &Connect, dir: &Path) -> Result<Option<String>, String> {
    let active = sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE;
    let domains = connect.list_all_domains(active).map_err(said)?;
    let uses = |xml: &str| sources::files(xml).iter().any(|file| Path::new(file).starts_with(dir));
    // A domain that stopped since the listing uses no files.
    let user = domains.iter().find(|domain| domain.xml_desc(0).is_ok_and(|xml| uses(&xml)));
    Ok(user.map(|domain| domain.name().unwrap_or_default()))
}
