//! A short summary of an import for a plan, whose images may not exist yet.

use std::path::PathBuf;

use crate::domain::{DiskKind, NicSource, NicSpec};
use crate::model::{DiskId, MacAddress};

use super::super::rollback::undo_step::Undo;
use super::super::storage::pool;
use super::super::{Connection, Error};
use super::request::ImportRequest;

/// Summary of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Storage pool of the disks.
    pub pool: PreviewedPool,
    /// For each disk, the path of its volume on the daemon's host and whether the volume is
    /// created. An image that is in the pool already is used in place.
    pub volumes: Vec<(DiskId, PathBuf, bool)>,
    /// The network interfaces: MAC address, and connection as text.
    pub interfaces: Vec<(Option<MacAddress>, String)>,
}

/// The storage pool of a preview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewedPool {
    /// Name of the pool.
    pub name: String,
    /// Folder of the pool on the daemon's host.
    pub path: PathBuf,
    /// Whether the import creates the pool.
    pub made: bool,
    /// Whether the pool exists and is inactive.
    pub stopped: bool,
    /// Whether the pool exists and the import creates its folder.
    pub built: bool,
}

impl Connection {
    /// Summarizes what [`Self::import`] would create for `request`. Changes nothing.
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

/// Describes the connection of an interface.
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
