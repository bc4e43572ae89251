//! Imports a VM: creates pool, volumes, plan and domain in this order, or undoes everything.
//!
//! ```text
//! preflight ─▶ pool ─▶ volume … volume ─▶ plan ─▶ define ─▶ snapshot ─▶ proof ─▶ DefinedDomain
//!                └────────┴──── undo steps ──────────┴─────────┴──────────┴──▶ on any failure,
//!                                                                              in reverse
//! ```

pub(super) mod addresses;
pub(super) mod draft;
pub(super) mod preflight;
pub(super) mod preview;
pub(super) mod request;
pub(super) mod warnings;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::{DomainSpec, PlannedDisk};
use crate::panics::{self, caught};
use crate::progress::Progress;

use super::guest::define::Definition;
use super::guest::snapshot;
use super::guest::watch::{GuestSigns, Sign, Wait};
use super::guest::{define, start, test_define};
use super::results::RegisteredVolume;
use super::rollback::undo_step::Undo;
use super::rollback::unwind::{Journal, Unwind};
use super::rollback::used;
use super::storage::content::VolumeContent;
use super::storage::pool::UsablePool;
use super::storage::volume::{self, Filling, VolumeSource};
use super::storage::wanted::WantedVolume;
use super::storage::{pool, pool_ready, space};
use super::{Connection, DefinedDomain, Draft, Error};
use request::ImportRequest;

impl Connection {
    /// Creates volumes from the disks and defines a domain for the VM. On any failure, and if
    /// `cancel` is cancelled, everything is undone.
    ///
    /// # Errors
    /// The first failure; [`Error::NotUndone`] around it if not everything could be undone.
    pub async fn import(
        &self,
        request: &ImportRequest<'_>,
        journal: &Journal,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<DefinedDomain, Error> {
        // Again: resources that were free when the export began may be in use now.
        let warnings = self.preflight(request).await?;
        let filling = Filling {
            may_copy: self.may_copy(),
            unwind: Unwind::new(journal),
            progress: progress.clone(),
            cancel: cancel.clone(),
        };
        match caught(self.try_import(request, &filling)).await {
            Ok(defined) => Ok(DefinedDomain { warnings, ..defined }),
            Err(error) => Err(self.unwind(filling.unwind, error).await),
        }
    }

    async fn try_import(
        &self,
        request: &ImportRequest<'_>,
        filling: &Filling,
    ) -> Result<DefinedDomain, Error> {
        let (choice, unwind) = (request.pool.clone(), filling.unwind.clone());
        let local = self.is_local();
        let (place, _in_use) =
            self.call(move |connect| pool_ready::ensure(connect, &choice, local, &unwind)).await?;
        if filling.unwind.steps().iter().any(|step| matches!(step, Undo::RemovePool { .. })) {
            let dir = place.dir.display();
            filling.progress.note(format!("made the storage pool '{}' over {dir}", place.pool));
        }
        let wanted = request.volumes(place.kind);
        let volumes = self.volumes(&place, &wanted, filling).await?;
        panics::point("libvirt");
        if filling.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let planned: Vec<PlannedDisk> = wanted
            .iter()
            .zip(&volumes)
            .map(|(wanted, volume)| wanted.planned(volume.path.clone()))
            .collect();
        let predecessor = self.predecessor(request).await?;
        let nvram = predecessor.as_ref().and_then(|old| old.nvram_beside(request));
        let spec = request.plan(&planned)?.with_nvram(nvram);
        let drafted = request.exactly.map(Draft::identity);
        if let Some((draft, identity)) = request.exactly.zip(drafted.as_ref())
            && draft.xml != identity.xml(&spec)?
        {
            return Err(Error::PlanChanged { differences: vec!["the domain's XML".to_owned()] });
        }
        let boot_test = match request.after.boot_test {
            Some(timeout) => Some(self.boot_test(&spec, timeout, filling).await?),
            None => None,
        };
        let name = spec.name.clone();
        let (pool, disks) = (place.pool.clone(), volumes.clone());
        let definition = Definition { spec, drafted, autostart: request.autostart, pool, disks };
        let unwind = filling.unwind.clone();
        let (uuid, xml) = self
            .call(move |connect| {
                if let Some(old) = predecessor {
                    old.set_aside(connect, &unwind)?;
                }
                define::define(connect, &definition, &unwind)
            })
            .await?;
        let mut defined = DefinedDomain {
            uri: self.uri().to_owned(),
            name,
            uuid,
            xml,
            autostart: request.autostart,
            pool: place.pool.clone(),
            volumes,
            snapshot: None,
            boot_test,
            boot_proof: None,
            started: None,
            undo: Vec::new(),
            seal: None,
            warnings: Vec::new(),
        };
        self.after(request, &place, &mut defined, filling).await?;
        defined.undo = filling.unwind.steps();
        defined.undo.retain(|step| !step.is_over());
        let (pool, volumes) = (place.pool.clone(), snapshot::written(request, &place, &defined));
        let disks = self.call(move |connect| Ok(used::disks_now(connect, volumes))).await?;
        let (name, uuid) = (defined.name.clone(), defined.uuid.clone());
        defined.undo.push(Undo::Defined { name, uuid, pool, disks });
        Ok(defined)
    }

    /// Checks whether the guest boots, before the domain is defined.
    async fn boot_test(
        &self,
        spec: &DomainSpec,
        timeout: Duration,
        filling: &Filling,
    ) -> Result<GuestSigns, Error> {
        filling.progress.note(format!("starting {} once, on overlays of its disks", spec.name));
        let wait = Wait { sign: Sign::Up, timeout };
        let (spec, filling) = (spec.clone(), filling.clone());
        let test = move |connect: &virt::connect::Connect| {
            test_define::boot_test(connect, spec, &wait, &filling.unwind, &filling.cancel)
        };
        self.call(test).await
    }

    /// The steps after the definition.
    async fn after(
        &self,
        request: &ImportRequest<'_>,
        place: &UsablePool,
        defined: &mut DefinedDomain,
        filling: &Filling,
    ) -> Result<(), Error> {
        if let Some(name) = &request.after.snapshot {
            let (uuid, volumes) = (&defined.uuid, &defined.volumes);
            let wanted = snapshot::PlannedSnapshot::new(request, name, uuid, place, volumes);
            let (unwind, uuid) = (filling.unwind.clone(), defined.uuid.clone());
            let (snapshot, xml) = self
                .call(move |connect| {
                    let snapshot = snapshot::take(connect, &wanted, &unwind)?;
                    Ok((snapshot, define::describe(connect, &uuid)?))
                })
                .await?;
            (defined.snapshot, defined.xml) = (Some(snapshot), xml);
        }
        if let Some(timeout) = request.after.boot_proof {
            filling.progress.note(format!("starting {} once, its links down", defined.name));
            let wait = Wait { sign: Sign::Up, timeout };
            let (uuid, filling) = (defined.uuid.clone(), filling.clone());
            let proof = move |connect: &virt::connect::Connect| {
                start::prove(connect, &uuid, &wait, &filling.unwind, &filling.cancel)
            };
            defined.boot_proof = Some(self.call(proof).await?);
        }
        if filling.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Transfers all images into the pool, one after the other: they share the disk of the pool.
    async fn volumes(
        &self,
        place: &UsablePool,
        wanted: &[WantedVolume],
        filling: &Filling,
    ) -> Result<Vec<RegisteredVolume>, Error> {
        let local = self.is_local();
        let in_place = |volume: &WantedVolume| local && place.holds(&volume.image);
        let missing: Vec<_> = wanted.iter().filter(|volume| !in_place(volume)).cloned().collect();
        let (target, to_fill) = (place.clone(), missing.clone());
        self.call(move |connect| {
            let measured: Vec<_> =
                to_fill.iter().map(WantedVolume::measured).collect::<Result<_, _>>()?;
            let available = space::of_pool(connect, &target)?;
            space::check(&target.pool, available, measured.iter())
        })
        .await?;
        for volume in missing {
            if filling.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let (target, filling) = (place.clone(), filling.clone());
            let content = VolumeContent::of(&volume, &filling.cancel).await?;
            self.call(move |connect| {
                let source = VolumeSource { wanted: &volume, content: &content };
                volume::fill(connect, &target, source, &filling)
            })
            .await?;
        }
        let named: Vec<NamedVolume> =
            wanted.iter().map(|volume| NamedVolume::new(volume, in_place(volume))).collect();
        let target = place.clone();
        let mut volumes = self
            .call(move |connect| {
                let handle = pool::open(connect, &target.pool)?;
                pool::refresh(&handle, &target.pool)?;
                register_all(connect, &target, named)
            })
            .await?;
        for (volume, wanted) in volumes.iter_mut().zip(wanted).filter(|_| self.verifies()) {
            let content = VolumeContent::of(wanted, &filling.cancel).await?;
            let (target, wanted, filling) = (place.clone(), wanted.clone(), filling.clone());
            let name = volume.name.clone();
            let read = move |connect: &virt::connect::Connect| {
                let source = VolumeSource { wanted: &wanted, content: &content };
                volume::verify(connect, &target, &name, source, &filling)
            };
            let (sha256, hash) = self.call(read).await?;
            (volume.sha256, volume.content) = (Some(sha256), hash);
        }
        Ok(volumes)
    }
}

/// A planned volume and its name in the pool.
struct NamedVolume {
    wanted: WantedVolume,
    name: String,
    created: bool,
}

impl NamedVolume {
    fn new(wanted: &WantedVolume, in_place: bool) -> Self {
        let own = wanted.image.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = own.filter(|_| in_place).unwrap_or_else(|| wanted.name.clone());
        Self { wanted: wanted.clone(), name, created: !in_place }
    }
}

fn register_all(
    connect: &virt::connect::Connect,
    place: &UsablePool,
    volumes: Vec<NamedVolume>,
) -> Result<Vec<RegisteredVolume>, Error> {
    let register = |volume: NamedVolume| {
        Ok(RegisteredVolume {
            path: volume::register(connect, place, &volume.name, &volume.wanted)?,
            disk: volume.wanted.id,
            name: volume.name,
            capacity: volume.wanted.capacity,
            created: volume.created,
            sha256: None,
            content: None,
        })
    };
    volumes.into_iter().map(register).collect()
}
