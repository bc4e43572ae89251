//! What was made, as something that can be taken back: at once when an import fails, by the next
//! run when a run was killed, by `hyperexport undo` when a person asks for it.
//!
//! A step names what was made by something that is ours alone: a UUID made for it, the identity of
//! a file that was created and not overwritten. Volumes have no such mark, so that one that libvirt
//! made is taken back later only if it is a disk of our domain, or still a beginning of the image
//! that was being sent. Whatever is in doubt stays and is named.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use virt::connect::Connect;
use virt::error::ErrorNumber;
use virt::storage_vol::StorageVol;
use virt::sys;

use crate::model::Sha256Digest;

use super::content::{self, BEGINNING};
use super::undo_step::{FileId, Undo};
use super::xml::sources;
use super::{Error, Target, define, download, identity, pool, replace, snapshot, start, undo_pool};

/// What became of steps that were to be taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TakenBack {
    /// What is gone now.
    pub done: Vec<String>,
    /// Which domains have their old names again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub renamed: Vec<String>,
    /// What was gone already.
    pub gone: Vec<String>,
    /// What stays, each with the reason.
    pub left: Vec<String>,
    /// What would go, where nothing is changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub would_go: Vec<String>,
    /// Which domains would get their old names again, where nothing is changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub would_rename: Vec<String>,
    /// How many of those that stay do so since others use them by now.
    #[serde(skip)]
    pub shared: usize,
}

impl TakenBack {
    /// Adds what became of further steps.
    pub fn add(&mut self, more: Self) {
        self.done.extend(more.done);
        self.renamed.extend(more.renamed);
        self.gone.extend(more.gone);
        self.left.extend(more.left);
        self.would_go.extend(more.would_go);
        self.would_rename.extend(more.would_rename);
        self.shared += more.shared;
    }

    /// Whether nothing is left but what others use by now.
    pub fn is_complete(&self) -> bool {
        self.left.len() == self.shared
    }
}

/// How one step ended.
pub(super) enum End {
    Done,
    Gone,
    Left(String),
    /// As [`Self::Left`], of something that others use by now, which is no failure.
    Shared(String),
}

impl Target {
    /// Takes back what an earlier run made, in reverse, whatever becomes of each step. What has
    /// changed hands since stays.
    ///
    /// # Errors
    /// [`Error::Running`] when a domain of it runs; [`Error::Call`]. Nothing was changed then.
    pub async fn take_back(&self, steps: &[Undo]) -> Result<TakenBack, Error> {
        let steps = steps.to_vec();
        self.call(move |connect| take_back(connect, &steps)).await
    }
}

/// As [`Target::take_back`]. Blocks.
pub(super) fn take_back(connect: &Connect, steps: &[Undo]) -> Result<TakenBack, Error> {
    let owners = Owners::look(connect, steps)?;
    let mut taken = TakenBack::default();
    for step in steps.iter().rev() {
        match (owners.undo(connect, step), step) {
            // It only tells of the domain that another step undefines.
            (_, Undo::Defined { .. }) => {}
            (Ok(End::Done), Undo::BringBack { name, aside, .. }) => {
                taken.renamed.push(format!("'{aside}' is '{name}' again"));
            }
            (Ok(End::Done), _) => taken.done.push(step.to_string()),
            (Ok(End::Gone), _) => taken.gone.push(step.to_string()),
            (Ok(End::Left(reason)), _) => taken.left.push(format!("{step} ({reason})")),
            (Ok(End::Shared(reason)), _) => {
                taken.left.push(format!("{step} ({reason})"));
                taken.shared += 1;
            }
            (Err(error), _) => taken.left.push(format!("{step} ({error})")),
        }
    }
    Ok(taken)
}

/// Does all steps in reverse for the run that made them; returns what is left.
pub(super) fn undo_all(connect: &Connect, steps: Vec<Undo>) -> Vec<String> {
    let mut left = Vec::new();
    for step in steps.into_iter().rev() {
        tracing::debug!(%step, "take back");
        match undo(connect, &step) {
            Ok(End::Left(problem) | End::Shared(problem)) | Err(problem) => {
                left.push(format!("{step} ({problem})"));
            }
            Ok(End::Done | End::Gone) => {}
        }
    }
    left
}

/// Which files our domains use, and which all the others.
pub(super) struct Owners {
    ours: HashSet<String>,
    others: HashSet<String>,
    /// One of ours that runs.
    running: Option<String>,
}

impl Owners {
    /// # Errors
    /// [`Error::Running`] when one of ours runs; [`Error::Call`].
    pub(super) fn look(connect: &Connect, steps: &[Undo]) -> Result<Self, Error> {
        let mut owners = Self::of(connect, steps)?;
        match owners.running.take() {
            Some(name) => Err(Error::Running { name }),
            None => Ok(owners),
        }
    }

    /// The same whether one of ours runs or not.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub(super) fn of(connect: &Connect, steps: &[Undo]) -> Result<Self, Error> {
        let made = |uuid: &str, xml: &str| {
            steps.iter().any(|step| match step {
                Undo::Undefine { uuid: ours, mark, .. } => {
                    ours == uuid && identity::has_mark(xml, mark.as_deref())
                }
                _ => false,
            })
        };
        let (mut ours, mut others, mut running) = (HashSet::new(), HashSet::new(), None);
        let domains = connect.list_all_domains(0).map_err(Error::call("list domains"))?;
        for domain in domains {
            // One that vanishes while it is looked at uses nothing any more.
            let (Ok(uuid), Ok(xml)) = (domain.uuid_string(), domain.xml_desc(0)) else { continue };
            let is_ours = made(&uuid, &xml);
            if is_ours && domain.is_active().unwrap_or(false) {
                running = Some(domain.name().unwrap_or_else(|_| uuid.clone()));
            }
            let files = if is_ours { &mut ours } else { &mut others };
            files.extend(sources::files(&xml));
        }
        Ok(Self { ours, others, running })
    }

    /// Whether a domain that is not ours uses the file.
    pub(super) fn others_use(&self, path: &str) -> bool {
        self.others.contains(path)
    }

    fn undo(&self, connect: &Connect, step: &Undo) -> Result<End, String> {
        match step {
            Undo::DeleteVolume { name, pool, image, begins } => {
                let Some(volume) = find_volume(connect, pool, name)? else { return Ok(End::Gone) };
                let path = volume.path().map_err(said)?;
                let reason = if self.others_use(&path) {
                    Some("another domain uses it")
                } else if self.ours.contains(&path)
                    || begins_as(connect, &volume, image.as_deref(), *begins)
                {
                    None
                } else {
                    Some("it may be another by now")
                };
                match reason {
                    Some(reason) => Ok(End::Left(format!(
                        "{reason}: 'virsh vol-delete --pool {pool} {name}' removes it"
                    ))),
                    None => undo(connect, step),
                }
            }
            Undo::RemoveFile { path, .. } if self.others_use(&path.to_string_lossy()) => {
                Ok(End::Left("another domain uses it".to_owned()))
            }
            // A pool that was there before is of use to others as it is.
            Undo::StopPool { .. } | Undo::RemoveFolder { .. } => Ok(End::Gone),
            _ => undo(connect, step),
        }
    }
}

/// Whether a volume is empty or begins with what was being sent: then it is that.
fn begins_as(
    connect: &Connect,
    volume: &StorageVol,
    image: Option<&Path>,
    begins: Option<Sha256Digest>,
) -> bool {
    let same = || -> Result<bool, Error> {
        let info = volume
            .info_flags(sys::VIR_STORAGE_VOL_GET_PHYSICAL)
            .map_err(Error::call("measure a volume"))?;
        let length = info.allocation.min(BEGINNING);
        let found = download::beginning(connect, volume, length)?;
        Ok(match (image, begins) {
            (Some(image), _) => found == content::beginning(image, length)?,
            (None, Some(begins)) => content::sum_of(&found) == begins,
            (None, None) => false,
        })
    };
    same().unwrap_or_else(|error| {
        tracing::debug!(%error, "compare a volume with its image");
        false
    })
}

pub(super) fn undo(connect: &Connect, step: &Undo) -> Result<End, String> {
    match step {
        Undo::Undefine { uuid, mark, .. } => {
            match identity::find(connect, uuid, mark.as_deref()).map_err(said)? {
                None => Ok(End::Gone),
                Some(_) => define::undefine(connect, uuid).map(|()| End::Done).map_err(said),
            }
        }
        Undo::Defined { .. } => Ok(End::Gone),
        Undo::BringBack { name, aside, uuid, autostart } => {
            let back = replace::bring_back(connect, uuid, (name, aside), *autostart);
            back.map(|back| if back { End::Done } else { End::Gone }).map_err(said)
        }
        Undo::Stop { uuid, .. } => {
            start::switch_off(connect, uuid).map(|()| End::Gone).map_err(said)
        }
        Undo::DropSnapshot { name, uuid, external } => {
            let forgotten = snapshot::forget(connect, uuid, name, *external).map_err(said)?;
            Ok(if forgotten { End::Done } else { End::Gone })
        }
        Undo::DeleteVolume { name, pool, .. } => match find_volume(connect, pool, name)? {
            Some(volume) => volume.delete(0).map(|()| End::Done).map_err(said),
            None => Ok(End::Gone),
        },
        Undo::RemoveFile { path, pool, id } => remove_file(connect, path, pool, *id),
        Undo::StopPool { name, held } => undo_pool::stop(connect, name, held),
        Undo::RemoveFolder { pool } => undo_pool::remove_folder(connect, pool),
        Undo::RemovePool { uuid, folder, held, .. } => {
            undo_pool::remove(connect, uuid, held, *folder)
        }
    }
}

pub(super) fn find_volume(
    connect: &Connect,
    pool: &str,
    name: &str,
) -> Result<Option<StorageVol>, String> {
    let found = connect.lookup_storage_pool_by_name(pool).and_then(|handle| {
        // A volume that appeared since the pool was read is not known without.
        if let Err(error) = pool::refresh(&handle, pool) {
            tracing::debug!(%error, "refresh");
        }
        handle.lookup_storage_vol_by_name(name)
    });
    match found {
        Ok(volume) => Ok(Some(volume)),
        Err(error)
            if error
                .code()
                .is_any(vec![ErrorNumber::NoStorageVolume, ErrorNumber::NoStoragePool]) =>
        {
            Ok(None)
        }
        Err(error) => Err(said(error)),
    }
}

fn remove_file(connect: &Connect, path: &Path, pool: &str, id: FileId) -> Result<End, String> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(End::Gone),
        Err(error) => return Err(error.to_string()),
        Ok(found) if FileId::from(&found) != id => {
            return Ok(End::Left("it is another file by now".to_owned()));
        }
        Ok(_) => fs::remove_file(path).map_err(|error| error.to_string())?,
    }
    match connect.lookup_storage_pool_by_name(pool) {
        Ok(handle) => pool::refresh(&handle, pool).map_err(|error| error.to_string())?,
        Err(error) => return gone(error, ErrorNumber::NoStoragePool).map(|_| End::Done),
    }
    Ok(End::Done)
}

pub(super) fn said(error: virt::error::Error) -> String {
    error.message().to_owned()
}

/// What is gone already needs not be taken back.
pub(super) fn gone(error: virt::error::Error, number: ErrorNumber) -> Result<End, String> {
    if error.code().is(number) { Ok(End::Gone) } else { Err(said(error)) }
}
