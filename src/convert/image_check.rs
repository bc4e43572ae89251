//! Checks an image before qemu-img opens it.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::budget::{Going, is_stop};
use crate::image;
use crate::model::{ByteSize, DiskFormat};

use super::Error;

/// Runs the blocking [`image::inspect`] until the run is cancelled. Also returns the capacity of a
/// VMDK of several files, which qemu-img does not open.
pub(super) async fn look(
    path: &Path,
    format: DiskFormat,
    cancel: &CancellationToken,
) -> Result<Result<Option<ByteSize>, String>, Error> {
    let (image, going) = (path.to_owned(), Going::from(cancel));
    let look = move || {
        if let Err(why) = image::inspect(&image, format, &going)? {
            return Ok(Err(why.to_string()));
        }
        let is_split = format == DiskFormat::Vmdk && !image::is_single_vmdk(&image)?;
        let joined = is_split.then(|| image::Split::open(&image)).transpose()?;
        Ok(Ok(joined.map(|split| ByteSize(split.capacity()))))
    };
    let looked = tokio::task::spawn_blocking(look).await;
    let read = format!("reading {}", path.display());
    looked
        .map_err(|join| Error::io(&read)(join.into()))?
        .map_err(|error| if is_stop(&error) { Error::Cancelled } else { Error::io(&read)(error) })
}
