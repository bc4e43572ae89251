//! The hash of the content of a disk whose format shows it only once the image is complete.

use std::fs::File;
use std::io;

use crate::budget::{Going, is_stop};
use crate::image::content::hash_image;
use crate::model::{DiskFormat, Sha256Digest};

/// The hash of an image that was checked already; `None` where its format has something that the
/// readers of `image` do not know, which is no reason to lose an export. Blocks.
///
/// # Errors
/// When the work may not go on, which [`is_stop`] tells.
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
