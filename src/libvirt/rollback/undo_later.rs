//! State of a finished run: what `undo` would undo, and volumes whose domain no longer exists.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;
use virt::connect::Connect;
use virt::storage_vol::StorageVol;
use virt::sys;

use crate::budget::{Going, is_stop};
use crate::model::DiskId;
use crate::progress::{Progress, Unit};

use super::super::guest::{define, identity, snapshot};
use super::super::storage::content::VolumeContent;
use super::super::storage::download;
use super::super::storage::found_volume::find_volume;
use super::super::xml::sources;
use super::super::{Connection, DefinedDomain, Error, RegisteredVolume};
use super::owners::Owners;
use super::step_result::said;
use super::undo::{UndoReport, in_order, undo};
use super::undo_pool;
use super::undo_step::{Evidence, FileId, Undo};

impl Connection {
    /// Reports what [`Self::take_back`] would do with these steps. Changes nothing.
    ///
    /// # Errors
    /// As [`Self::take_back`].
    pub async fn would_take_back(&self, steps: &[Undo]) -> Result<UndoReport, Error> {
        self.would_take_back_by(steps, Evidence::Seal).await
    }

    /// Reports what [`Self::take_back_by`] would do with these steps. Changes nothing.
    ///
    /// # Errors
    /// As [`Self::take_back`].
    pub async fn would_take_back_by(
        &self,
        steps: &[Undo],
        evidence: Evidence,
    ) -> Result<UndoReport, Error> {
        let (steps, local) = (steps.to_vec(), self.is_local());
        self.call(move |connect| would_take_back(connect, &steps, evidence, local)).await
    }

    /// Removes volumes of a domain that no longer exists, if each is identical to its image: they
    /// are about to be created again. A volume that differs may contain data of its guest, and
    /// stays. A dry run removes nothing and reports the paths of the volumes that would be removed.
    ///
    /// # Errors
    /// [`Error::Call`], [`Error::File`], [`Error::Cancelled`].
    pub async fn remove_unchanged_volumes(
        &self,
        domain: &DefinedDomain,
        images: &[(DiskId, PathBuf)],
        dry_run: bool,
        cancel: &CancellationToken,
    ) -> Result<UndoReport, Error> {
        let (domain, images, cancel) = (domain.clone(), images.to_vec(), cancel.clone());
        let local = self.is_local();
        self.call(move |connect| {
            let owners = Owners::look(connect, &domain.undo, Evidence::Seal, local)?;
            let mut taken = UndoReport::default();
            for volume in domain.volumes.iter().filter(|volume| volume.created) {
                let image = images.iter().find(|(id, _)| *id == volume.disk);
                let Some((_, image)) = image else { continue };
                let Some(step) = domain.undo.iter().find(|step| makes(step, volume)) else {
                    continue;
                };
                let handle = find_volume(connect, &domain.pool, &volume.name);
                let Ok(Some(handle)) = handle else { continue };
                if owners.user_of(&volume.path).is_some()
                    || !is_still(connect, &handle, image, &cancel)?
                {
                    continue;
                }
                if dry_run {
                    taken.would_go.push(volume.path.clone());
                    continue;
                }
                match undo(connect, step) {
                    Ok(_) => taken.done.push(step.to_string()),
                    Err(problem) => taken.left.push(format!("{step} ({problem})")),
                }
            }
            Ok(taken)
        })
        .await
    }
}

impl Connection {
    /// Paths of the volumes of a domain that no longer exist. Skips volumes that the domain no
    /// longer uses, and volumes of a pool that cannot be queried.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn missing_volumes(&self, domain: &DefinedDomain) -> Result<Vec<String>, Error> {
        let (domain, local) = (domain.clone(), self.is_local());
        self.call(move |connect| {
            let used = sources::files(&define::describe(connect, &domain.uuid)?);
            let is_used = |volume: &&RegisteredVolume| {
                // Above a snapshot the domain's XML may name only the overlay.
                domain.snapshot.is_some() || used.contains(&volume.path)
            };
            let there = |volume: &RegisteredVolume| {
                match find_volume(connect, &domain.pool, &volume.name) {
                    Ok(Some(_)) | Err(_) => true,
                    // Another pool of that name may have replaced the volume's pool.
                    Ok(None) => {
                        local && Path::new(&volume.path).exists()
                            || connect.lookup_storage_vol_by_path(&volume.path).is_ok()
                    }
                }
            };
            let volumes = domain.volumes.iter().filter(is_used);
            let missing = volumes.filter(|volume| !there(volume));
            Ok(missing.map(|volume| volume.path.clone()).collect())
        })
        .await
    }
}

/// As [`Connection::would_take_back`]. Blocks.
pub(in crate::libvirt) fn would_take_back(
    connect: &Connect,
    steps: &[Undo],
    evidence: Evidence,
    local: bool,
) -> Result<UndoReport, Error> {
    let owners = Owners::look(connect, steps, evidence, local)?;
    let mut would = UndoReport::default();
    let mut going = Vec::new();
    for step in in_order(steps) {
        let reason = owners.reason(connect, step);
        if let Ok(Some(reason)) = reason {
            would.left.push(format!("{} ({reason})", owners.label(step)));
            continue;
        }
        let there = is_there(connect, step);
        // Steps for volumes precede the step for their pool.
        if reason.is_ok() && there == Ok(true) && step.is_of_volume() {
            going.push(step);
        }
        match (there, step) {
            (_, Undo::Defined { .. }) => {}
            (Ok(true), Undo::RemovePool { name, uuid, held, .. }) => {
                match stays(connect, &going, name, uuid, held) {
                    0 => would.would_go.push(step.to_string()),
                    count => would.left.push(format!("{step} (it contains {count} volumes)")),
                }
            }
            (Ok(true), Undo::BringBack { name, aside, .. }) => {
                would.would_rename.push(format!("'{aside}' becomes '{name}' again"));
            }
            (Ok(true), _) => would.would_go.push(owners.label(step)),
            (Ok(false), _) => would.gone.push(step.to_string()),
            (Err(problem), _) => would.left.push(format!("{step} ({problem})")),
        }
    }
    Ok(would)
}

/// Whether the step removes this volume.
fn makes(step: &Undo, volume: &RegisteredVolume) -> bool {
    match step {
        // A device contains the disk itself, not the bytes of an image.
        Undo::DeleteVolume { name, image, .. } => image.is_some() && *name == volume.name,
        Undo::RemoveFile { path, .. } => *path == Path::new(&volume.path),
        _ => false,
    }
}

fn is_still(
    connect: &Connect,
    volume: &StorageVol,
    image: &Path,
    cancel: &CancellationToken,
) -> Result<bool, Error> {
    let file = std::fs::File::open(image).map_err(Error::file("opening", image))?;
    let content = VolumeContent { file: file.into(), image: image.to_owned() };
    let info = volume.info_flags(sys::VIR_STORAGE_VOL_GET_PHYSICAL);
    let info = info.map_err(Error::call("measuring a volume"))?;
    let length = content.len()?;
    if info.allocation != length {
        return Ok(false);
    }
    let task = Progress::none().task("compare", Some(length), Unit::Bytes);
    let found = download::sum(connect, volume, 0, &task, cancel)?;
    let sent = download::sum_of(&content, &Going::from(cancel)).map_err(|error| {
        if is_stop(&error) { Error::Cancelled } else { Error::file("reading", image)(error) }
    })?;
    Ok(found == sent)
}

/// Number of volumes that would remain in a pool of the run after all steps, not counting those
/// that were there before.
fn stays(connect: &Connect, going: &[&Undo], name: &str, uuid: &str, held: &[String]) -> usize {
    let is_of = |step: &&Undo| match step {
        Undo::DeleteVolume { pool, .. } | Undo::RemoveFile { pool, .. } => pool == name,
        _ => false,
    };
    let there = undo_pool::strangers(connect, uuid, held).unwrap_or(0);
    there.saturating_sub(going.iter().copied().filter(is_of).count())
}

/// Whether the object of the step exists.
fn is_there(connect: &Connect, step: &Undo) -> Result<bool, String> {
    Ok(match step {
        Undo::Undefine { uuid, mark, .. } => {
            identity::find(connect, uuid, mark.as_deref()).map_err(said)?.is_some()
        }
        Undo::BringBack { uuid, aside, .. } => match connect.lookup_domain_by_uuid_string(uuid) {
            Ok(domain) => domain.name().map_err(said)? == *aside,
            Err(_) => false,
        },
        Undo::DropSnapshot { name, uuid, .. } => snapshot::exists(connect, uuid, name),
        Undo::DeleteVolume { name, pool, .. } => find_volume(connect, pool, name)?.is_some(),
        Undo::RemoveFile { path, id, .. } => {
            path.symlink_metadata().is_ok_and(|found| FileId::from(&found) == *id)
        }
        Undo::RemovePool { uuid, .. } => connect.lookup_storage_pool_by_uuid_string(uuid).is_ok(),
        // These steps ended with the run that recorded them.
        Undo::Defined { .. }
        | Undo::Stop { .. }
        | Undo::StopPool { .. }
        | Undo::RemoveFolder { .. } => false,
    })
}
