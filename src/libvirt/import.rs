//! Taking a VM in: pool, volumes, plan, domain, in this order; or nothing.
//!
//! ```text
//! preflight ─▶ pool ─▶ volume … volume ─▶ plan ─▶ define (autostart) ─▶ DefinedDomain
//!                └────────┴──── undo steps ──────────┴──▶ on any failure, in reverse
//! ```

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::domain::PlannedDisk;
use crate::model::{ByteSize, DiskId};
use crate::progress::Progress;

use super::define::Definition;
use super::pool::Place;
use super::request::{ImportRequest, WantedVolume};
use super::unwind::Unwind;
use super::volume::{self, Filling};
use super::{Error, Target, define, domain_xml, pool, space};

/// A domain that libvirt now has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinedDomain {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uuid: String,
    /// Its XML, as libvirt returned it.
    pub xml: String,
    /// Whether it starts with its host.
    pub autostart: bool,
    /// The storage pool of its disks.
    pub pool: String,
    /// Its disks, in the order of the request.
    pub volumes: Vec<RegisteredVolume>,
}

/// A disk of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredVolume {
    /// Which disk of the VM.
    pub disk: DiskId,
    /// Name of the volume in its pool.
    pub name: String,
    /// Absolute path on the daemon's machine.
    pub path: String,
    /// Size that the guest sees.
    pub capacity: ByteSize,
    /// Whether it was made for this; else the image lay in the pool already.
    pub created: bool,
}

impl Target {
    /// Makes volumes of the disks and a domain of the VM. On any failure, and when `cancel` is
    /// cancelled, everything that was made is taken back.
    ///
    /// # Errors
    /// What failed first; [`Error::NotUndone`] around it when not all could be taken back.
    pub async fn import(
        &self,
        request: &ImportRequest<'_>,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<DefinedDomain, Error> {
        // Again: what was free when the export began may be taken now.
        self.preflight(request).await?;
        let filling = Filling {
            may_copy: self.may_copy(),
            unwind: Unwind::default(),
            progress: progress.clone(),
            cancel: cancel.clone(),
        };
        match self.try_import(request, &filling).await {
            Ok(defined) => Ok(defined),
            Err(error) => Err(self.unwind(filling.unwind, error).await),
        }
    }

    async fn try_import(
        &self,
        request: &ImportRequest<'_>,
        filling: &Filling,
    ) -> Result<DefinedDomain, Error> {
        let (choice, unwind) = (request.pool.clone(), filling.unwind.clone());
        let place = self.call(move |connect| pool::ensure(connect, &choice, &unwind)).await?;
        let wanted = request.volumes();
        let volumes = self.volumes(&place, &wanted, filling).await?;
        if filling.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let planned: Vec<PlannedDisk> = wanted
            .iter()
            .zip(&volumes)
            .map(|(wanted, volume)| wanted.planned(volume.path.clone()))
            .collect();
        let spec = request.plan(&planned)?;
        let uuid = define::fresh_uuid()?;
        let definition = Definition {
            name: spec.name.clone(),
            xml: domain_xml(&spec, &uuid)?,
            uuid: uuid.clone(),
            autostart: request.autostart,
        };
        let unwind = filling.unwind.clone();
        let xml = self.call(move |connect| define::define(connect, &definition, &unwind)).await?;
        Ok(DefinedDomain {
            name: spec.name.clone(),
            uuid,
            xml,
            autostart: request.autostart,
            pool: place.pool,
            volumes,
        })
    }

    /// Brings all images into the pool, one after the other: they share the disk they go to.
    async fn volumes(
        &self,
        place: &Place,
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
            self.call(move |connect| volume::fill(connect, &target, &volume, &filling)).await?;
        }
        let named = wanted.iter().map(|volume| Named::new(volume, in_place(volume))).collect();
        let target = place.clone();
        self.call(move |connect| {
            let handle = pool::open(connect, &target.pool)?;
            pool::refresh(&handle, &target.pool)?;
            register_all(connect, &target, named)
        })
        .await
    }
}

/// A volume and the name that it has in the pool.
struct Named {
    wanted: WantedVolume,
    name: String,
    created: bool,
}

impl Named {
    fn new(wanted: &WantedVolume, in_place: bool) -> Self {
        let own = wanted.image.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = own.filter(|_| in_place).unwrap_or_else(|| wanted.name.clone());
        Self { wanted: wanted.clone(), name, created: !in_place }
    }
}

fn register_all(
    connect: &virt::connect::Connect,
    place: &Place,
    volumes: Vec<Named>,
) -> Result<Vec<RegisteredVolume>, Error> {
    let register = |volume: Named| {
        Ok(RegisteredVolume {
            path: volume::register(connect, place, &volume.name, &volume.wanted)?,
            disk: volume.wanted.id,
            name: volume.name,
            capacity: volume.wanted.capacity,
            created: volume.created,
        })
    };
    volumes.into_iter().map(register).collect()
}
