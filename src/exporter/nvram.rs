//! The file of an EFI guest's variables in the folder of an export.

use std::fmt::Display;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use sha2::Digest;

use super::transfer::{Part, sync_directory};
use super::{Error, NVRAM};
use crate::model::{ByteSize, ExportedNvram, Sha256Digest, Stage, Warning};

/// The largest that is taken along, in bytes. ESXi makes files of some 270 KiB.
pub const LARGEST: usize = 8 << 20;

/// What is said of a guest whose variables could not be had, because of `why`.
pub fn missed(why: impl Display) -> Warning {
    let message = format!(
        "the UEFI variables (nvram) of the VM were not exported: {why}; its boot entries are made \
         anew in any case, keys enrolled by hand are not"
    );
    Warning::new(Stage::Export, "nvram-not-exported", message)
}

/// Copies the variables that lie at `from` into `directory`. Blocks.
pub(super) fn copy(from: &Path, directory: &Path) -> Result<ExportedNvram, Error> {
    let failed = |source| Error::File { action: "read", path: from.to_owned(), source };
    let mut content = Vec::new();
    let file = File::open(from).map_err(failed)?;
    file.take(LARGEST as u64 + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() > LARGEST {
        let reason = format!("it is larger than {}", ByteSize(LARGEST as u64));
        return Err(Error::Unusable { path: from.to_owned(), reason });
    }
    write(directory, &content)
}

/// Writes the variables into `directory`: under their name only when they are whole, and never over
/// another file. Blocks.
///
/// # Errors
/// [`Error::Exists`], [`Error::Busy`], [`Error::File`].
pub fn write(directory: &Path, content: &[u8]) -> Result<ExportedNvram, Error> {
    let failed = |source| Error::File { action: "write", path: directory.to_owned(), source };
    let part = Part::create(std::path::absolute(directory).map_err(failed)?.join(NVRAM))?;
    let written = part
        .restart()
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .map_err(failed)
        .and_then(|()| part.commit())
        .and_then(|()| sync_directory(directory));
    if let Err(error) = written {
        part.discard()?;
        return Err(error);
    }
    let sha256 = Sha256Digest(sha2::Sha256::digest(content).into());
    let file_size = ByteSize(content.len() as u64);
    Ok(ExportedNvram { path: part.target().to_owned(), file_size, sha256 })
}
