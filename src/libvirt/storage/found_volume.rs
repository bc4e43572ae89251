//! Looks up a volume by its name, and checks whether it is the volume that a run has started to
//! fill.

use std::path::Path;

use virt::connect::Connect;
use virt::error::ErrorNumber;
use virt::storage_vol::StorageVol;
use virt::sys;

use crate::model::Sha256Digest;

use super::super::Error;
use super::content::{self, BEGINNING};
use super::{download, pool};

/// The volume of that name, if pool and volume exist.
///
/// # Errors
/// libvirt's error message.
pub(in crate::libvirt) fn find_volume(
    connect: &Connect,
    pool: &str,
    name: &str,
) -> Result<Option<StorageVol>, String> {
    let found = connect.lookup_storage_pool_by_name(pool).and_then(|handle| {
        // libvirt lists a volume that was added later only after a refresh.
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
        Err(error) => Err(error.message().to_owned()),
    }
}

/// Whether a volume is empty or begins with the bytes that were being sent: then it is the run's
/// volume.
pub(in crate::libvirt) fn begins_as(
    connect: &Connect,
    volume: &StorageVol,
    image: Option<&Path>,
    begins: Option<Sha256Digest>,
) -> bool {
    let same = || -> Result<bool, Error> {
        let info = volume
            .info_flags(sys::VIR_STORAGE_VOL_GET_PHYSICAL)
            .map_err(Error::call("measuring a volume"))?;
        let length = info.allocation.min(BEGINNING);
        let found = download::beginning(connect, volume, length)?;
        Ok(match (image, begins) {
            (Some(image), _) => found == content::beginning(image, length)?,
            (None, Some(begins)) => content::sum_of(&found) == begins,
            (None, None) => false,
        })
    };
    same().unwrap_or_else(|error| {
        tracing::debug!(%error, "comparing a volume with its image");
        false
    })
}
