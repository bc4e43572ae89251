//! A disk during its conversion.

use std::path::PathBuf;

use crate::convert::proof::ConvertedImage;
use crate::manifest::Disk;
use crate::model::ByteSize;

pub(in crate::convert) struct WorkImage<'a> {
    pub(in crate::convert) disk: &'a Disk,
    pub(in crate::convert) capacity: ByteSize,
    pub(in crate::convert) image: PathBuf,
}

impl WorkImage<'_> {
    /// The image, for its proof.
    pub(in crate::convert) fn converted(&self) -> ConvertedImage<'_> {
        ConvertedImage { id: &self.disk.id, image: &self.image, capacity: self.capacity }
    }
}
