//! Content hash of a disk whose format allows hashing only once the image is complete.

use std::fs::File;
use std::io;

use crate::budget::{Going, is_stop};
use crate::image::content::hash_image;
use crate::model::{DiskFormat, Sha256Digest};

/// Content hash of an image that was verified already. `None` where the image uses a feature that
/// the readers of `image` do not know, which must not fail an export. Blocks.
///
/// # Errors
/// When the work must stop, which [`is_stop`] detects.
pub(super) fn content_of(
    file: &File,
    format: DiskFormat,
    going: &Going,
) -> io::Result<Option<Sha256Digest>> {
    match hash_image(file, format, going, &mut |_, _| Ok(())) {
        Err(error) if !is_stop(&error) => {
            tracing::warn!(%error, "hashing the content of a disk");
            Ok(None)
        }
        hashed => hashed,
    }
}
