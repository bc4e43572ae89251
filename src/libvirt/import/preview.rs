//! What an import would make, in short, while its images may not be there yet: for a plan.

use std::path::PathBuf;

use crate::domain::{DiskKind, NicSource, NicSpec};
use crate::model::{DiskId, MacAddress};

use super::super::rollback::undo_step::Undo;
use super::super::storage::pool;
use super::super::{Connection, Error};
use super::request::ImportRequest;

/// What an import would make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The storage pool.
    pub pool: PreviewedPool,
    /// Where the volume of each disk will be on the machine of the daemon, and whether it is made;
    /// an image that lies in the pool is used where it is.
    pub volumes: Vec<(DiskId, PathBuf, bool)>,
    /// The network interfaces: the address, and what each is connected to, for people.
    pub interfaces: Vec<(Option<MacAddress>, String)>,
}

/// The storage pool of a preview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewedPool {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// Whether it is made.
    pub made: bool,
    /// Whether it is there and not started.
    pub stopped: bool,
    /// Whether it is there, and its folder is made.
    pub built: bool,
}

impl Connection {
    /// What [`Self::import`] would make of `request`. Changes nothing.
    ///
    /// # Errors
    /// As [`Self::preflight`].
    pub async fn preview(&self, request: &ImportRequest<'_>) -> Result<Preview, Error> {
        let choice = request.pool.clone();
        let place = self.call(move |connect| pool::find(connect, &choice)).await?;
        let goes = |step: &Undo| matches!(step, Undo::RemovePool { name, .. } if *name == request.pool.name);
        let made_again = request.undone.iter().any(goes) && request.pool.path.is_some();
        let place = place.filter(|_| !made_again);
        let kind = place.as_ref().map_or(DiskKind::File, |place| place.kind);
        let pool = PreviewedPool {
            name: request.pool.name.clone(),
            path: match &place {
                Some(place) => place.dir.clone(),
                None => request.pool.path.clone().unwrap_or_default(),
            },
            made: place.is_none(),
            stopped: place.as_ref().is_some_and(|place| !place.active),
            built: place
                .as_ref()
                .is_some_and(|place| !place.active && self.is_local() && place.lacks_folder()),
        };
        let wanted = request.volumes(kind);
        let here = |image: &PathBuf| {
            self.is_local() && place.as_ref().is_some_and(|place| place.holds(image))
        };
        let volumes: Vec<_> = wanted
            .iter()
            .map(|volume| match here(&volume.image) {
                true => (volume.id.clone(), volume.image.clone(), false),
                false => (volume.id.clone(), pool.path.join(&volume.name), true),
            })
            .collect();
        let planned: Vec<_> = wanted
            .iter()
            .zip(&volumes)
            .map(|(volume, (_, path, _))| volume.planned(path.to_string_lossy().into_owned()))
            .collect();
        let spec = request.plan(&planned)?;
        let interfaces = spec.nics.iter().map(|nic| (nic.mac, connected(nic))).collect();
        Ok(Preview { pool, volumes, interfaces })
    }
}

/// What an interface is connected to.
fn connected(nic: &NicSpec) -> String {
    let to = match &nic.source {
        NicSource::Network(name) => format!("network '{name}'"),
        NicSource::Bridge(name) => format!("bridge {name}"),
        NicSource::Ovs(name) => format!("Open vSwitch bridge {name}"),
        NicSource::User(_) => "a user network".to_owned(),
    };
    let vlan = nic.vlan.map(|vlan| format!(", VLAN {vlan}")).unwrap_or_default();
    let link = if nic.link_up { "" } else { ", its link down" };
    format!("{to}{vlan}{link}")
}
