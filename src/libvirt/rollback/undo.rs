//! Undoes changes: at once if an import fails, in the next run if a run was killed, or on request
//! by `hyperexport undo`.
//!
//! A step identifies its object by something unique: a UUID made for the object, or the identity of
//! a file that was created and not overwritten. Volumes have no such mark. A volume that libvirt
//! created is removed later only if it is a disk of our domain, or a partial copy of the uploaded
//! image. An object in doubt stays and is reported.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use virt::connect::Connect;
use virt::error::ErrorNumber;

use super::super::guest::{define, identity, replace, snapshot, start};
use super::super::storage::found_volume::find_volume;
use super::super::storage::pool;
use super::super::{Connection, Error};
use super::owners::Owners;
use super::step_result::{StepResult, gone, said};
use super::undo_pool;
use super::undo_step::{Evidence, FileId, Undo};
use super::unwind::Unwind;

/// Report of undoing steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UndoReport {
    /// Objects that were removed.
    #[serde(rename = "undone")]
    pub done: Vec<String>,
    /// Domains whose old names were restored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub renamed: Vec<String>,
    /// Objects that did not exist any more.
    #[serde(rename = "already_absent")]
    pub gone: Vec<String>,
    /// Objects that were left behind, each with the reason.
    #[serde(rename = "kept")]
    pub left: Vec<String>,
    /// Objects that a dry run would remove.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub would_go: Vec<String>,
    /// Domains whose old names a dry run would restore.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub would_rename: Vec<String>,
    /// Number of objects that were left behind because others use them.
    #[serde(skip)]
    pub shared: usize,
}

impl UndoReport {
    /// Adds the report of further steps.
    pub fn add(&mut self, more: Self) {
        self.done.extend(more.done);
        self.renamed.extend(more.renamed);
        self.gone.extend(more.gone);
        self.left.extend(more.left);
        self.would_go.extend(more.would_go);
        self.would_rename.extend(more.would_rename);
        self.shared += more.shared;
    }

    /// Whether nothing is left except objects that others use.
    pub fn is_complete(&self) -> bool {
        self.left.len() == self.shared
    }
}

impl Connection {
    /// Undoes the changes of an earlier run in reverse order. A failed step does not stop the
    /// others. An object that others use by now stays.
    ///
    /// # Errors
    /// [`Error::Running`] if a domain of the run is running, [`Error::NotUndefinable`] if libvirt
    /// would refuse to undefine it; [`Error::Call`]. Nothing was changed then.
    pub async fn take_back(&self, steps: &[Undo]) -> Result<UndoReport, Error> {
        self.take_back_by(steps, Evidence::Seal).await
    }

    /// As [`Self::take_back`], but objects that `evidence` does not prove to be ours stay.
    ///
    /// # Errors
    /// As [`Self::take_back`].
    pub async fn take_back_by(
        &self,
        steps: &[Undo],
        evidence: Evidence,
    ) -> Result<UndoReport, Error> {
        let (steps, local) = (steps.to_vec(), self.is_local());
        self.call(move |connect| take_back(connect, &steps, evidence, local)).await
    }
}

/// As [`Connection::take_back`]. Blocks.
pub(in crate::libvirt) fn take_back(
    connect: &Connect,
    steps: &[Undo],
    evidence: Evidence,
    local: bool,
) -> Result<UndoReport, Error> {
    let owners = Owners::look(connect, steps, evidence, local)?;
    let mut taken = UndoReport::default();
    let act = |step: &Undo| undo_later(connect, &owners, step);
    each(steps, act, |step, end| match (end, step) {
        // The step only describes the domain that another step undefines.
        (_, Undo::Defined { .. }) => {}
        (Ok(StepResult::Done), Undo::BringBack { name, aside, .. }) => {
            taken.renamed.push(format!("'{aside}' is '{name}' again"));
        }
        (Ok(StepResult::Done), _) => taken.done.push(owners.label(step)),
        (Ok(StepResult::Gone), _) => taken.gone.push(owners.label(step)),
        (Ok(StepResult::Left(reason)) | Err(reason), _) => {
            taken.left.push(format!("{} ({reason})", owners.label(step)));
        }
        (Ok(StepResult::Shared(reason)), _) => {
            taken.left.push(format!("{} ({reason})", owners.label(step)));
            taken.shared += 1;
        }
    });
    Ok(taken)
}

/// Undoes all steps of the current run; returns what was left behind.
pub(in crate::libvirt) fn undo_all(connect: &Connect, steps: &[Undo]) -> Vec<String> {
    let mut left = Vec::new();
    let act = |step: &Undo| {
        tracing::debug!(%step, "undoing");
        undo(connect, step)
    };
    each(steps, act, |step, end| match end {
        Ok(StepResult::Left(problem) | StepResult::Shared(problem)) | Err(problem) => {
            left.push(format!("{step} ({problem})"));
        }
        Ok(StepResult::Done | StepResult::Gone) => {}
    });
    left
}

impl Connection {
    /// Undoes everything and returns `error`, with a list of what could not be undone.
    pub(in crate::libvirt) async fn unwind(&self, unwind: Unwind, error: Error) -> Error {
        let target = self.revived(matches!(error, Error::ConnectionLost { .. })).await;
        let undone = target.call(move |connect| Ok(undo_all(connect, &unwind.steps()))).await;
        let left = undone.unwrap_or_else(|error| vec![error.to_string()]);
        if left.is_empty() { error } else { Error::NotUndone { left, source: Box::new(error) } }
    }
}

/// The steps in the order of their undoing.
pub(in crate::libvirt) fn in_order(steps: &[Undo]) -> Vec<&Undo> {
    let mut steps: Vec<_> = steps.iter().rev().collect();
    steps.sort_by_key(|step| step.place());
    steps
}

/// Undoes all steps even if some fail. If a domain stays, its volumes stay too.
fn each(
    steps: &[Undo],
    act: impl Fn(&Undo) -> Result<StepResult, String>,
    mut told: impl FnMut(&Undo, Result<StepResult, String>),
) {
    let mut stays = false;
    for step in in_order(steps) {
        let end = if stays && step.is_of_volume() {
            Ok(StepResult::Left("its domain stays".to_owned()))
        } else {
            act(step)
        };
        let is_left = matches!(end, Err(_) | Ok(StepResult::Left(_) | StepResult::Shared(_)));
        stays |= is_left && matches!(step, Undo::Undefine { .. });
        told(step, end);
    }
}

/// Undoes one step of a finished run. An object that others use by now stays.
fn undo_later(connect: &Connect, owners: &Owners, step: &Undo) -> Result<StepResult, String> {
    match step {
        // An existing pool that the run started may serve others, so it stays started.
        Undo::StopPool { .. } | Undo::RemoveFolder { .. } => Ok(StepResult::Gone),
        _ => match owners.reason(connect, step)? {
            Some(reason) => Ok(StepResult::Left(reason)),
            None => undo(connect, step),
        },
    }
}

pub(in crate::libvirt) fn undo(connect: &Connect, step: &Undo) -> Result<StepResult, String> {
    match step {
        Undo::Undefine { uuid, mark, .. } => {
            match identity::find(connect, uuid, mark.as_deref()).map_err(said)? {
                None => Ok(StepResult::Gone),
                Some(domain) => {
                    define::undefine_found(&domain).map(|()| StepResult::Done).map_err(said)
                }
            }
        }
        Undo::Defined { .. } => Ok(StepResult::Gone),
        Undo::BringBack { name, aside, uuid, autostart } => {
            let back = replace::restore_name(connect, uuid, name, aside, *autostart);
            back.map(|back| if back { StepResult::Done } else { StepResult::Gone }).map_err(said)
        }
        Undo::Stop { uuid, .. } => {
            start::switch_off(connect, uuid).map(|()| StepResult::Gone).map_err(said)
        }
        Undo::DropSnapshot { name, uuid, external } => {
            let forgotten = snapshot::forget(connect, uuid, name, *external).map_err(said)?;
            Ok(if forgotten { StepResult::Done } else { StepResult::Gone })
        }
        Undo::DeleteVolume { name, pool, .. } => match find_volume(connect, pool, name)? {
            Some(volume) => volume.delete(0).map(|()| StepResult::Done).map_err(said),
            None => Ok(StepResult::Gone),
        },
        Undo::RemoveFile { path, pool, id } => remove_file(connect, path, pool, *id),
        Undo::StopPool { name, held } => undo_pool::stop(connect, name, held),
        Undo::RemoveFolder { pool } => undo_pool::remove_folder(connect, pool),
        Undo::RemovePool { uuid, folder, held, .. } => {
            undo_pool::remove(connect, uuid, held, *folder)
        }
    }
}

fn remove_file(
    connect: &Connect,
    path: &Path,
    pool: &str,
    id: FileId,
) -> Result<StepResult, String> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(StepResult::Gone),
        Err(error) => return Err(error.to_string()),
        Ok(found) if FileId::from(&found) != id => {
            return Ok(StepResult::Left("it is another file by now".to_owned()));
        }
        Ok(_) => fs::remove_file(path).map_err(|error| error.to_string())?,
    }
    match connect.lookup_storage_pool_by_name(pool) {
        Ok(handle) => pool::refresh(&handle, pool).map_err(|error| error.to_string())?,
        Err(error) => return gone(error, ErrorNumber::NoStoragePool).map(|_| StepResult::Done),
    }
    Ok(StepResult::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> Vec<Undo> {
        let volume = |name: &str, image: Option<&str>| Undo::DeleteVolume {
            name: name.to_owned(),
            pool: "p".to_owned(),
            image: image.map(Into::into),
            begins: None,
        };
        let uuid = "u".to_owned();
        vec![
            Undo::RemovePool {
                name: "p".to_owned(),
                uuid: uuid.clone(),
                folder: true,
                held: Vec::new(),
            },
            volume("disk", Some("/image")),
            Undo::BringBack {
                name: "web".to_owned(),
                aside: "old".to_owned(),
                uuid: "v".to_owned(),
                autostart: false,
            },
            Undo::Undefine { name: "web".to_owned(), uuid: uuid.clone(), mark: None },
            Undo::DropSnapshot { name: "s".to_owned(), uuid, external: true },
            volume("overlay", None),
        ]
    }

    #[test]
    fn no_volume_goes_before_its_domain() {
        let steps = steps();
        let order: Vec<_> = in_order(&steps).iter().map(ToString::to_string).collect();
        assert_eq!(
            order,
            [
                "snapshot 's'",
                "domain 'web'",
                "domain 'old', which was 'web'",
                "volume 'overlay' in pool 'p'",
                "volume 'disk' in pool 'p'",
                "storage pool 'p'",
            ]
        );
    }

    #[test]
    fn volumes_stay_where_their_domain_stays() {
        let mut left = Vec::new();
        let act = |step: &Undo| match step {
            Undo::Undefine { .. } => Err("libvirt says no".to_owned()),
            Undo::DeleteVolume { .. } => panic!("{step} is removed"),
            _ => Ok(StepResult::Done),
        };
        each(&steps(), act, |step, end| {
            if let Ok(StepResult::Left(reason)) = end {
                left.push(format!("{step}: {reason}"));
            }
        });
        assert_eq!(
            left,
            [
                "volume 'overlay' in pool 'p': its domain stays",
                "volume 'disk' in pool 'p': its domain stays",
            ]
        );
    }
}
