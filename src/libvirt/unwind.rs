//! What has to be taken back when an import fails: typed steps, done in reverse.
//!
//! A step names what was made by something that is ours alone (a fresh UUID, a file that was
//! created and not overwritten), so that nothing of anybody else is ever taken.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use virt::connect::Connect;
use virt::error::ErrorNumber;

use super::{Error, Target, define, pool};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Undo {
    /// Take a domain out of libvirt.
    Undefine {
        /// For messages.
        name: String,
        /// Its identity, made for it.
        uuid: String,
    },
    /// Delete a volume that libvirt made.
    DeleteVolume {
        /// The volume.
        name: String,
        /// Its pool.
        pool: String,
    },
    /// Remove a file that was copied into a pool's folder.
    RemoveFile {
        /// The file.
        path: PathBuf,
        /// The pool.
        pool: String,
    },
    /// Stop a pool that was not started.
    StopPool {
        /// The pool.
        name: String,
    },
    /// Stop and forget a pool.
    RemovePool {
        /// For messages.
        name: String,
        /// Its identity, made for it.
        uuid: String,
        /// Whether its folder was made too.
        folder: bool,
    },
}

impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefine { name, .. } => write!(f, "domain '{name}'"),
            Self::DeleteVolume { name, pool } => write!(f, "volume '{name}' in pool '{pool}'"),
            Self::RemoveFile { path, .. } => write!(f, "{}", path.display()),
            Self::StopPool { name } => write!(f, "storage pool '{name}' started"),
            Self::RemovePool { name, .. } => write!(f, "storage pool '{name}'"),
        }
    }
}

/// The steps so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Unwind(Arc<Mutex<Vec<Undo>>>);

impl Unwind {
    /// Adds a step.
    pub fn push(&self, step: Undo) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }

    fn take(&self) -> Vec<Undo> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Target {
    /// Takes everything back and returns `error`, with what could not be taken back.
    pub(super) async fn unwind(&self, unwind: Unwind, error: Error) -> Error {
        let undone = self.call(move |connect| Ok(undo_all(connect, unwind.take()))).await;
        let left = undone.unwrap_or_else(|error| vec![error.to_string()]);
        if left.is_empty() { error } else { Error::NotUndone { left, source: Box::new(error) } }
    }
}

/// Does all steps in reverse, whatever becomes of each; returns what is left.
fn undo_all(connect: &Connect, steps: Vec<Undo>) -> Vec<String> {
    let mut left = Vec::new();
    for step in steps.into_iter().rev() {
        tracing::debug!(%step, "take back");
        if let Err(problem) = undo(connect, &step) {
            left.push(format!("{step} ({problem})"));
        }
    }
    left
}

fn undo(connect: &Connect, step: &Undo) -> Result<(), String> {
    let said = |error: virt::error::Error| error.message().to_owned();
    match step {
        Undo::Undefine { uuid, .. } => define::undefine(connect, uuid).map_err(said),
        Undo::DeleteVolume { name, pool } => {
            let volume = connect
                .lookup_storage_pool_by_name(pool)
                .and_then(|pool| pool.lookup_storage_vol_by_name(name));
            ignore(volume.and_then(|volume| volume.delete(0)), ErrorNumber::NoStorageVolume)
        }
        Undo::RemoveFile { path, pool } => {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error.to_string());
                }
                _ => {}
            }
            match connect.lookup_storage_pool_by_name(pool) {
                Ok(handle) => pool::refresh(&handle, pool).map_err(|error| error.to_string()),
                Err(error) => ignore(Err(error), ErrorNumber::NoStoragePool),
            }
        }
        Undo::StopPool { name } => match connect.lookup_storage_pool_by_name(name) {
            Ok(pool) if pool.is_active().map_err(said)? => pool.destroy().map_err(said),
            Ok(_) => Ok(()),
            Err(error) => ignore(Err(error), ErrorNumber::NoStoragePool),
        },
        Undo::RemovePool { uuid, folder, .. } => remove_pool(connect, uuid, *folder),
    }
}

fn remove_pool(connect: &Connect, uuid: &str, folder: bool) -> Result<(), String> {
    let said = |error: virt::error::Error| error.message().to_owned();
    let pool = match connect.lookup_storage_pool_by_uuid_string(uuid) {
        Ok(pool) => pool,
        Err(error) => return ignore(Err(error), ErrorNumber::NoStoragePool),
    };
    if pool.is_active().map_err(said)? {
        pool.destroy().map_err(said)?;
    }
    // libvirt removes an empty folder only; one that is not empty is somebody's.
    if folder && let Err(error) = pool.delete(0) {
        tracing::debug!(%error, "keep the pool's folder");
    }
    pool.undefine().map_err(said)
}

/// What is gone already needs not be taken back.
fn ignore(result: Result<(), virt::error::Error>, gone: ErrorNumber) -> Result<(), String> {
    match result {
        Err(error) if error.code().is(gone) => Ok(()),
        other => other.map_err(|error| error.message().to_owned()),
    }
}
