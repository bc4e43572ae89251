//! A snapshot of a domain in its imported state, to return to if problems appear later.
//!
//! An internal snapshot is stored in the qcow2 images. libvirt cannot take one of a domain with raw
//! images, nor, before 10.10, of one with EFI. Such a domain gets an external snapshot: the images
//! stay unchanged, and the domain writes to new overlay files.

use virt::connect::Connect;
use virt::error::ErrorNumber;
use virt::sys;

use crate::model::{DiskFormat, Firmware, file_name};

use super::super::import::request::ImportRequest;
use super::super::results::{RegisteredVolume, Snapshot, SnapshotKind};
use super::super::rollback::undo_step::Undo;
use super::super::rollback::unwind::Unwind;
use super::super::storage::pool::UsablePool;
use super::super::storage::wanted::WantedVolume;
use super::super::storage::{pool, volume};
use super::super::xml::snapshot::{DomainSnapshot, SnapshotDisk, SnapshotDriver, SnapshotSource};
use super::super::{DefinedDomain, Error, xml};

/// A snapshot to be taken of a domain that is shut off.
pub(in crate::libvirt) struct PlannedSnapshot {
    pub name: String,
    pub uuid: String,
    pub place: UsablePool,
    /// Paths of all disks, each with the name of the volume that an external snapshot creates.
    disks: Vec<(String, String)>,
    kind: SnapshotKind,
}

impl PlannedSnapshot {
    pub fn new(
        request: &ImportRequest<'_>,
        name: &str,
        uuid: &str,
        place: &UsablePool,
        volumes: &[RegisteredVolume],
    ) -> Self {
        let asked = request.volumes(place.kind);
        // The medium in a CD-ROM drive does not change.
        let disks = |wanted: &&WantedVolume| !wanted.medium;
        let inside = request.vm.firmware != Firmware::Efi
            && asked.iter().filter(disks).all(|volume| volume.format == DiskFormat::Qcow2);
        let overlay = |volume: &RegisteredVolume| {
            let stem = volume.name.rsplit_once('.').map_or(&*volume.name, |(stem, _)| stem);
            (volume.path.clone(), format!("{stem}.{}", file_name(name)))
        };
        Self {
            name: name.to_owned(),
            uuid: uuid.to_owned(),
            place: place.clone(),
            disks: volumes
                .iter()
                .zip(&asked)
                .filter(|(_, wanted)| !wanted.medium)
                .map(|(volume, _)| overlay(volume))
                .collect(),
            kind: if inside { SnapshotKind::Internal } else { SnapshotKind::External },
        }
    }

    /// Undo steps for the files of an external snapshot.
    fn overlays(&self) -> impl Iterator<Item = Undo> {
        self.disks.iter().map(|(_, overlay)| {
            let (name, pool) = (overlay.clone(), self.place.pool.clone());
            Undo::DeleteVolume { name, pool, image: None, begins: None }
        })
    }

    fn xml(&self) -> Result<String, Error> {
        let disk = |(path, overlay): &(String, String)| SnapshotDisk {
            name: path.clone(),
            snapshot: "external",
            driver: SnapshotDriver { kind: "qcow2" },
            source: SnapshotSource {
                file: self.place.dir.join(overlay).to_string_lossy().into_owned(),
            },
        };
        let snapshot = DomainSnapshot {
            name: self.name.clone(),
            description: "As it was when hyperexport defined it",
            disks: match self.kind {
                SnapshotKind::Internal => None,
                SnapshotKind::External => {
                    Some(self.disks.iter().map(disk).collect::<Vec<_>>().into())
                }
            },
        };
        xml::write("domainsnapshot", &snapshot)
            .map_err(|source| Error::Xml { what: format!("snapshot '{}'", self.name), source })
    }
}

/// Creates a snapshot.
pub(in crate::libvirt) fn take(
    connect: &Connect,
    wanted: &PlannedSnapshot,
    unwind: &Unwind,
) -> Result<Snapshot, Error> {
    let PlannedSnapshot { name, uuid, place, kind, .. } = wanted;
    let call = || Error::call(format!("taking snapshot '{name}'"));
    let domain = connect.lookup_domain_by_uuid_string(uuid).map_err(call())?;
    let external = *kind == SnapshotKind::External;
    if external {
        for (_, overlay) in &wanted.disks {
            volume::check_free(connect, place, overlay)?;
        }
        wanted.overlays().try_for_each(|step| unwind.announce(&step))?;
    }
    unwind.push(Undo::DropSnapshot { name: name.clone(), uuid: uuid.clone(), external })?;
    let atomic = sys::VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | sys::VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC;
    let flags = if external { atomic } else { 0 };
    domain.create_snapshot_xml(&wanted.xml()?, flags).map_err(call())?;
    if external {
        wanted.overlays().for_each(|step| unwind.made(step));
        pool::refresh(&pool::open(connect, &place.pool)?, &place.pool)?;
    }
    Ok(Snapshot { name: name.clone(), kind: *kind })
}

/// The files that a domain writes to or has written to: its disks, and the overlays of our external
/// snapshot above them.
pub(in crate::libvirt) fn written(
    request: &ImportRequest<'_>,
    place: &UsablePool,
    defined: &DefinedDomain,
) -> Vec<RegisteredVolume> {
    let volumes = &defined.volumes;
    let external = |snapshot: &&Snapshot| snapshot.kind == SnapshotKind::External;
    let Some(snapshot) = defined.snapshot.as_ref().filter(external) else {
        return volumes.clone();
    };
    let wanted = PlannedSnapshot::new(request, &snapshot.name, &defined.uuid, place, volumes);
    let overlay = |volume: &RegisteredVolume| {
        let (_, name) = wanted.disks.iter().find(|(path, _)| *path == volume.path)?;
        let path = place.dir.join(name).to_string_lossy().into_owned();
        Some(RegisteredVolume { name: name.clone(), path, ..volume.clone() })
    };
    volumes.iter().cloned().chain(volumes.iter().filter_map(overlay)).collect()
}

/// Whether the domain has a snapshot of that name.
pub(in crate::libvirt) fn exists(connect: &Connect, uuid: &str, name: &str) -> bool {
    let domain = connect.lookup_domain_by_uuid_string(uuid);
    domain
        .is_ok_and(|domain| virt::domain::Domain::lookup_snapshot_by_name(&domain, name, 0).is_ok())
}

/// Deletes a snapshot; returns whether it existed. For an external snapshot only the metadata is
/// deleted, and its files stay.
pub(in crate::libvirt) fn forget(
    connect: &Connect,
    uuid: &str,
    name: &str,
    external: bool,
) -> Result<bool, virt::error::Error> {
    use ErrorNumber::{NoDomain, NoDomainSnapshot};
    let found = connect
        .lookup_domain_by_uuid_string(uuid)
        .and_then(|domain| virt::domain::Domain::lookup_snapshot_by_name(&domain, name, 0));
    let metadata = sys::VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY;
    match found {
        Ok(snapshot) => snapshot.delete(if external { metadata } else { 0 }).map(|()| true),
        Err(error) if error.code().is_any(vec![NoDomain, NoDomainSnapshot]) => Ok(false),
        Err(error) => Err(error),
    }
}
