//! Prepares storage pools for use: starts or creates them, and stops them again after a mere check.

use std::path::Path;

use virt::connect::Connect;
use virt::storage_pool::StoragePool;

use crate::domain::DiskKind;

use super::super::own_names::fresh_uuid;
use super::super::rollback::step_result::StepResult;
use super::super::rollback::undo_pool;
use super::super::rollback::undo_step::Undo;
use super::super::rollback::unwind::Unwind;
use super::super::xml::storage::{Pool, PoolTarget};
use super::super::{Cause, Error, xml};
use super::pool::{OF_FOLDER, UsablePool, describe, find, look_up, open, refresh};
use super::pool_use::PoolUse;
use super::wanted::PoolChoice;

/// Looks up the pool and starts or creates it if necessary; `local` is whether the daemon runs on
/// this machine. While the returned value lives, no other run stops the pool.
pub(in crate::libvirt) fn ensure(
    connect: &Connect,
    choice: &PoolChoice,
    local: bool,
    unwind: &Unwind,
) -> Result<(UsablePool, PoolUse), Error> {
    let made = match find(connect, choice)? {
        Some(_) => None,
        None => make(connect, choice, local, unwind)?,
    };
    let in_use = match made {
        Some(in_use) => in_use,
        None => use_existing(connect, choice, local, unwind)?,
    };
    let pool = open(connect, &choice.name)?;
    refresh(&pool, &choice.name)?;
    Ok((describe(&pool, &choice.name)?, in_use))
}

/// Locks an existing pool for shared use, and starts it if necessary.
fn use_existing(
    connect: &Connect,
    choice: &PoolChoice,
    local: bool,
    unwind: &Unwind,
) -> Result<PoolUse, Error> {
    let in_use = PoolUse::begin(&open(connect, &choice.name)?);
    // The pool may have been stopped before it was locked.
    let Some(place) = find(connect, choice)? else {
        return Err(Error::NoPool { name: choice.name.clone(), existing: Vec::new() });
    };
    if !place.active {
        start(connect, &place, choice.path.is_some(), local, unwind)?;
    }
    Ok(in_use)
}

/// Starts an existing pool, and creates its folder if that is missing and may be created.
fn start(
    connect: &Connect,
    place: &UsablePool,
    may_build: bool,
    local: bool,
    unwind: &Unwind,
) -> Result<(), Error> {
    let name = &place.pool;
    let step = |verb: &str| Error::call(format!("{verb} storage pool '{name}'"));
    let undo = |held| Undo::StopPool { name: name.clone(), held };
    let pool = open(connect, name)?;
    place.has_folder(local, may_build)?;
    unwind.push(undo(Vec::new()))?;
    let missing = local && place.lacks_folder();
    let started = if missing { None } else { Some(start_or_started(&pool)) };
    match started {
        Some(Ok(())) => {}
        // Whether a folder exists on a remote host, only its libvirt knows.
        Some(Err(error)) if local || !may_build || place.kind != DiskKind::File => {
            return Err(not_started(place)(error));
        }
        Some(Err(_)) | None => {
            unwind.push(Undo::RemoveFolder { pool: name.clone() })?;
            pool.build(0).map_err(step("building"))?;
            unwind.push(undo(Vec::new()))?;
            start_or_started(&pool).map_err(not_started(place))?;
        }
    }
    note_held(&pool, name, unwind, undo)
}

/// Starts a pool. A pool that another run has started meanwhile is fine: that run stops it only
/// while nobody uses it.
fn start_or_started(pool: &StoragePool) -> Result<(), virt::error::Error> {
    match pool.create(0) {
        Err(_) if is_active(pool) => Ok(()),
        end => end,
    }
}

fn is_active(pool: &StoragePool) -> bool {
    pool.is_active().unwrap_or(false)
}

fn not_started(place: &UsablePool) -> impl FnOnce(virt::error::Error) -> Error {
    let (name, kind) = (place.pool.clone(), place.of.clone());
    move |error| Error::PoolNotStarted { name, kind, source: Cause::from(error) }
}

/// Starts an inactive pool and stops it again: only a start proves that the pool works and shows
/// its content. `look` inspects the started pool. A pool that others have started to use stays
/// active.
///
/// # Errors
/// [`Error::PoolNotStarted`], [`Error::Call`], and those of `look`.
pub(in crate::libvirt) fn try_start(
    connect: &Connect,
    choice: &PoolChoice,
    local: bool,
    look: impl FnOnce(&UsablePool) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(place) = find(connect, choice)?.filter(|place| !place.active) else { return Ok(()) };
    let may_build = choice.path.is_some() && place.kind == DiskKind::File;
    if may_build && (!local || place.lacks_folder()) {
        // The import creates the folder when it starts the pool.
        return Ok(());
    }
    let pool = open(connect, &place.pool)?;
    if let Err(error) = pool.create(0) {
        return if is_active(&pool) { Ok(()) } else { Err(not_started(&place)(error)) };
    }
    let held = held(&pool, &place.pool)?;
    let seen = look(&UsablePool { active: true, ..place.clone() });
    match undo_pool::stop_idle(&pool, &held) {
        Ok(StepResult::Shared(reason)) => tracing::debug!(reason, "the pool stays started"),
        Err(problem) => tracing::warn!(problem, "storage pool '{}' stays started", place.pool),
        Ok(_) => {}
    }
    seen
}

fn held(pool: &StoragePool, name: &str) -> Result<Vec<String>, Error> {
    let call = Error::call(format!("listing the volumes of storage pool '{name}'"));
    undo_pool::volumes(pool).map_err(call)
}

/// Records the volumes of a just started pool in the last step: they do not belong to the run.
fn note_held(
    pool: &StoragePool,
    name: &str,
    unwind: &Unwind,
    step: impl FnOnce(Vec<String>) -> Undo,
) -> Result<(), Error> {
    let held = held(pool, name)?;
    if held.is_empty() { Ok(()) } else { unwind.correct(step(held)) }
}

/// Creates and starts a pool of type `dir`, and its folder if that is missing, and enables its
/// autostart. `None` if another run has created the pool in the meantime.
fn make(
    connect: &Connect,
    choice: &PoolChoice,
    local: bool,
    unwind: &Unwind,
) -> Result<Option<PoolUse>, Error> {
    let PoolChoice { name, path: Some(path) } = choice else {
        return Err(Error::NoPool { name: choice.name.clone(), existing: Vec::new() });
    };
    let uuid = fresh_uuid()?;
    let text = definition(name, path, &uuid)?;
    let step = |verb: &str| Error::call(format!("{verb} storage pool '{name}'"));
    let undo = |folder, held| {
        let (name, uuid) = (name.to_owned(), uuid.clone());
        Undo::RemovePool { name, uuid, folder, held }
    };
    let mut new_folder = local && !path.exists();
    unwind.push(undo(new_folder, Vec::new()))?;
    let pool = match connect.define_storage_pool_xml(&text, 0) {
        Err(error) => {
            // An undo of this run compares UUIDs, so it does not touch the pool of the other run.
            let other = look_up(connect, name)?;
            return if other.is_some() { Ok(None) } else { Err(step("defining")(error)) };
        }
        Ok(pool) => pool,
    };
    let in_use = PoolUse::begin(&pool);
    // Whether a folder exists on a remote host, only its libvirt knows: a pool without its folder
    // does not start.
    if new_folder || start_or_started(&pool).is_err() {
        if !new_folder {
            new_folder = true;
            unwind.correct(undo(true, Vec::new()))?;
        }
        pool.build(0).map_err(step("building"))?;
        start_or_started(&pool).map_err(step("starting"))?;
    }
    pool.set_autostart(true).map_err(step("setting autostart of"))?;
    note_held(&pool, name, unwind, |held| undo(new_folder, held))?;
    Ok(Some(in_use))
}

/// XML of a pool over a folder.
fn definition(name: &str, path: &Path, uuid: &str) -> Result<String, Error> {
    let definition = Pool {
        kind: OF_FOLDER.to_owned(),
        name: name.to_owned(),
        uuid: Some(uuid.to_owned()),
        target: Some(PoolTarget { path: path.to_string_lossy().into_owned(), permissions: None }),
    };
    xml::write("pool", &definition)
        .map_err(|source| Error::Xml { what: format!("storage pool '{name}'"), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt::storage::pool::Access;
    use crate::model::Hint;

    #[test]
    fn a_hint_never_proposes_to_format_a_device_and_quotes_names() {
        let hint = |kind: &str| {
            let place = UsablePool {
                pool: "my pool".to_owned(),
                of: kind.to_owned(),
                kind: DiskKind::File,
                dir: "/srv".into(),
                access: Access::default(),
                active: false,
            };
            let failed = Connect::open(Some("no-such-driver:///")).map_err(not_started(&place));
            failed.err().and_then(|error| error.hint()).expect("a hint")
        };
        assert!(hint("dir").contains("virsh pool-build"), "{}", hint("dir"));
        for (kind, part) in
            [("logical", "vgs"), ("zfs", "zpool"), ("netfs", "server"), ("fs", "device")]
        {
            let said = hint(kind);
            assert!(said.contains(part) && !said.contains("pool-build"), "{said}");
            assert!(said.contains("'virsh pool-start \"my pool\"'"), "{said}");
        }
    }
}
