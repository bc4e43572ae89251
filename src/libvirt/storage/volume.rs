//! Volumes: one for each image, either used in place or created and filled.

use std::io::{self, ErrorKind};
use std::path::Path;

use tokio_util::sync::CancellationToken;
use virt::connect::Connect;
use virt::error::ErrorNumber;
use virt::storage_vol::StorageVol;
use virt::sys;

use crate::budget::{Going, is_stop};
use crate::domain::DiskKind;
use crate::image::content::hash_image;
use crate::model::Sha256Digest;
use crate::panics::caught_here;
use crate::progress::{Progress, Task, Unit};

use super::super::connection::uri;
use super::super::rollback::owners;
use super::super::rollback::undo_step::Undo;
use super::super::rollback::unwind::Unwind;
use super::super::xml::storage::Volume;
use super::super::{Error, xml};
use super::content::VolumeContent;
use super::found_volume::find_volume;
use super::pool::{Access, UsablePool};
use super::wanted::WantedVolume;
use super::{copy, download, pool, upload};

/// Settings and handles for filling a volume.
#[derive(Clone)]
pub(in crate::libvirt) struct Filling {
    /// Whether the image may be copied into the pool's folder.
    pub may_copy: bool,
    /// Undo steps of the run.
    pub unwind: Unwind,
    pub progress: Progress,
    pub cancel: CancellationToken,
}

/// Refuses if the pool has a volume of that name.
pub(in crate::libvirt) fn check_free(
    connect: &Connect,
    place: &UsablePool,
    name: &str,
) -> Result<(), Error> {
    match look_up(connect, place, name)? {
        Some(volume) => Err(taken_by(connect, Some(&volume), name, &place.pool)),
        None => Ok(()),
    }
}

/// The error for a name that is taken, with the user of the existing volume.
fn exists(connect: &Connect, name: &str, pool: &str) -> Error {
    let volume = find_volume(connect, pool, name).ok().flatten();
    taken_by(connect, volume.as_ref(), name, pool)
}

/// As [`exists`], for a volume that was looked up already.
fn taken_by(connect: &Connect, volume: Option<&StorageVol>, name: &str, pool: &str) -> Error {
    let path = volume.and_then(|volume| volume.path().ok());
    let local = connect.uri().is_ok_and(|uri| uri::is_local(&uri));
    let user = path.and_then(|path| owners::user_of(connect, &path, local).ok().flatten());
    let user = user.map(|user| user.clause());
    Error::VolumeExists { name: name.to_owned(), pool: pool.to_owned(), user }
}

fn look_up(connect: &Connect, place: &UsablePool, name: &str) -> Result<Option<StorageVol>, Error> {
    match pool::open(connect, &place.pool)?.lookup_storage_vol_by_name(name) {
        Ok(volume) => Ok(Some(volume)),
        Err(error) if error.code().is(ErrorNumber::NoStorageVolume) => Ok(None),
        Err(error) => Err(Error::call(format!("looking up volume '{name}'"))(error)),
    }
}

/// Source of a new volume.
#[derive(Clone, Copy)]
pub(in crate::libvirt) struct VolumeSource<'a> {
    pub(in crate::libvirt) wanted: &'a WantedVolume,
    pub(in crate::libvirt) content: &'a VolumeContent,
}

/// Creates a volume and fills it.
pub(in crate::libvirt) fn fill(
    connect: &Connect,
    place: &UsablePool,
    source: VolumeSource<'_>,
    filling: &Filling,
) -> Result<(), Error> {
    let VolumeSource { wanted, content } = source;
    check_free(connect, place, &wanted.name)?;
    let data = content.data()?;
    let task = filling.progress.task(format!("import {}", wanted.id), Some(data), Unit::Bytes);
    let may_copy = filling.may_copy && wanted.kind == DiskKind::File;
    let target = if may_copy { copy::open(&place.dir)? } else { None };
    match target {
        Some(part) => {
            let id = part.id()?;
            let remove = |path| Undo::RemoveFile { path, pool: place.pool.clone(), id };
            filling.unwind.announce(&remove(part.path()))?;
            filling.unwind.announce(&remove(place.dir.join(&wanted.name)))?;
            part.belongs(place.access)?;
            let copied = part.fill(&wanted.image, &wanted.name, &task, &filling.cancel);
            let path = copied.map_err(|error| taken(connect, error, wanted, place))?;
            filling.unwind.made(remove(path));
        }
        None => send(connect, place, source, &task, filling)?,
    }
    task.at(data);
    Ok(())
}

/// A file that appeared meanwhile counts as a volume with the same name.
fn taken(connect: &Connect, error: Error, wanted: &WantedVolume, place: &UsablePool) -> Error {
    match error {
        Error::File { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
            exists(connect, &wanted.name, &place.pool)
        }
        other => other,
    }
}

fn send(
    connect: &Connect,
    place: &UsablePool,
    VolumeSource { wanted, content }: VolumeSource<'_>,
    task: &Task,
    filling: &Filling,
) -> Result<(), Error> {
    let (name, pool) = (wanted.name.clone(), place.pool.clone());
    let handle = pool::open(connect, &pool)?;
    let Access { owner, group, mode } = place.access;
    let new = match wanted.kind {
        // Raw whatever the format: the volume's content is the bytes of the image. The file starts
        // empty, so that its final size proves that all bytes arrived.
        DiskKind::File => Volume::raw(&name, 0).owned(owner, group, mode),
        DiskKind::Block => Volume::device(&name, wanted.capacity.0),
    };
    let text = xml::write("volume", &new)
        .map_err(|source| Error::Xml { what: format!("volume '{name}'"), source })?;
    let (image, begins) = match wanted.kind {
        DiskKind::File => (Some(wanted.image.clone()), None),
        DiskKind::Block => (None, Some(content.begins()?)),
    };
    let delete = Undo::DeleteVolume { name: name.clone(), pool: pool.clone(), image, begins };
    filling.unwind.announce(&delete)?;
    let volume = match StorageVol::create_xml(&handle, &text, 0) {
        Ok(volume) => volume,
        Err(error) if error.code().is(ErrorNumber::StorageVolExist) => {
            return Err(exists(connect, &name, &pool));
        }
        Err(error) => return Err(Error::call(format!("creating volume '{name}'"))(error)),
    };
    // Only now: an already existing volume must not be deleted.
    filling.unwind.made(delete);
    upload::send(connect, &volume, content, task, &filling.cancel)
}

/// Path of a volume on the daemon's host, after checking that libvirt sees the same properties as
/// the image has.
pub(in crate::libvirt) fn register(
    connect: &Connect,
    place: &UsablePool,
    name: &str,
    wanted: &WantedVolume,
) -> Result<String, Error> {
    let differs = |problem: String| Error::VolumeDiffers { name: name.to_owned(), problem };
    let call = |verb: &str| Error::call(format!("{verb} volume '{name}'"));
    let volume = look_up(connect, place, name)?
        .ok_or_else(|| differs(format!("libvirt does not see it in {}", place.dir.display())))?;
    let text = volume.xml_desc(0).map_err(call("describing"))?;
    let seen: Volume = xml::read("volume", &text)
        .map_err(|source| Error::Xml { what: format!("volume '{name}'"), source })?;
    let format = seen.format().unwrap_or("raw");
    // libvirt's name for the raw image of a CD.
    let iso = wanted.medium && format == "iso";
    if format != wanted.format.as_str() && !iso {
        return Err(differs(format!("it is {format}, not {}", wanted.format)));
    }
    // Devices are rounded up to extents.
    let whole = match wanted.kind {
        DiskKind::File => seen.capacity.value == wanted.capacity.0,
        DiskKind::Block => seen.capacity.value >= wanted.capacity.0,
    };
    if !whole {
        let (is, should) = (seen.capacity.value, wanted.capacity.0);
        return Err(differs(format!("the guest would see {is} bytes, not {should}")));
    }
    if let Some(backing) = seen.backing_store.filter(|backing| !backing.path.is_empty()) {
        return Err(differs(format!("it depends on {}", backing.path)));
    }
    if wanted.kind == DiskKind::Block {
        return volume.path().map_err(call("finding"));
    }
    let len = file_size(&wanted.image)?;
    let info = volume.info_flags(sys::VIR_STORAGE_VOL_GET_PHYSICAL).map_err(call("measuring"))?;
    if info.allocation != len {
        return Err(differs(format!("{} of {len} bytes arrived", info.allocation)));
    }
    volume.path().map_err(call("finding"))
}

/// Reads a volume back and compares it with its source: its bytes with those of the image, and the
/// guest-visible content with the result of the conversion. Returns the SHA-256 checksum, and the
/// content hash if the format is supported.
///
/// # Errors
/// [`Error::VolumeDiffers`], or an error of libvirt.
pub(in crate::libvirt) fn verify(
    connect: &Connect,
    place: &UsablePool,
    name: &str,
    VolumeSource { wanted, content }: VolumeSource<'_>,
    filling: &Filling,
) -> Result<(Sha256Digest, Option<Sha256Digest>), Error> {
    let differs = |problem: String| Error::VolumeDiffers { name: name.to_owned(), problem };
    let handle = look_up(connect, place, name)?.ok_or_else(|| differs("it is gone".to_owned()))?;
    let size = content.len()?;
    // A device may be larger than its disk; a file is read to its actual end.
    let length = if place.kind == DiskKind::Block { size } else { 0 };
    let task = filling.progress.task(format!("verify {}", wanted.id), Some(size), Unit::Bytes);
    let going = Going::from(&filling.cancel);
    // The source is read while the volume is downloaded.
    let (found, sent) = std::thread::scope(|scope| {
        let sent = scope.spawn(|| caught_here(|| sums(wanted, content, &going)));
        let found = download::sum(connect, &handle, length, &task, &filling.cancel);
        let broken =
            || Error::file("reading", &content.image)(io::Error::other("a thread broke off"));
        (found, sent.join().unwrap_or_else(|_| Err(broken())))
    });
    let (found, (sum, hash)) = (found?, sent?);
    if found != sum {
        return Err(differs("its content is not that of the image".to_owned()));
    }
    // Identical bytes have the same guest-visible content.
    match (wanted.content, hash) {
        (Some(left), Some(hash)) if left != hash => {
            Err(differs(format!("its content hash is {hash}, and the conversion left {left}")))
        }
        _ => Ok((found, hash)),
    }
}

/// SHA-256 checksum of the content that goes into a volume, and the hash of its guest-visible
/// content.
fn sums(
    wanted: &WantedVolume,
    content: &VolumeContent,
    going: &Going,
) -> Result<(Sha256Digest, Option<Sha256Digest>), Error> {
    let failed = |error: io::Error| match is_stop(&error) {
        true => Error::Cancelled,
        false => Error::file("reading", &content.image)(error),
    };
    let sum = download::sum_of(content, going).map_err(failed)?;
    let hash = match hash_image(&content.file, wanted.format, going, &mut |_, _| Ok(())) {
        // A user-supplied image may use features that this program cannot read.
        Err(error) if error.kind() == ErrorKind::InvalidData && wanted.content.is_none() => None,
        hash => hash.map_err(failed)?,
    };
    Ok((sum, hash))
}

fn file_size(image: &Path) -> Result<u64, Error> {
    Ok(image.metadata().map_err(Error::file("opening", image))?.len())
}
