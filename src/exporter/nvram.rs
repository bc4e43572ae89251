//! The file of an EFI guest's variables in the output directory.

use std::fmt::Display;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use sha2::Digest;

use super::transfer::{PartFile, sync_directory};
use super::{Error, NVRAM};
use crate::model::{ByteSize, ExportedNvram, Sha256Digest, Stage, Warning, WarningCode};

/// Maximum size of the file, in bytes. ESXi writes files of some 270 KiB.
pub const LARGEST: usize = 8 << 20;

/// Warning about a guest whose variables could not be exported, with the reason `why`.
pub fn missed(why: impl Display) -> Warning {
    let message = format!(
        "the UEFI variables (nvram) of the VM were not exported: {why}; its boot entries are made \
         anew in any case, keys enrolled by hand are not"
    );
    Warning::new(Stage::Export, WarningCode::NvramNotExported, message)
}

/// Name of the variable with shim's machine owner keys (shim, `MokVars.txt`), in UCS-2 with its
/// terminator.
const OWNER_KEYS: &[u8] = b"M\0o\0k\0L\0i\0s\0t\0\0\0";

/// Warning about variables that the guest may need and that the domain's firmware will lack.
pub(super) fn lost(variables: &[u8]) -> Option<Warning> {
    variables.windows(OWNER_KEYS.len()).any(|part| part == OWNER_KEYS).then_some(())?;
    let message =
        "keys for secure boot were enrolled in the UEFI variables of the VM (MokList), and \
        the domain's firmware starts without them: with secure boot the guest refuses modules and \
        kernels that are signed with such a key, until `mokutil --import` enrols it anew"
            .to_owned();
    Some(Warning::new(Stage::Export, WarningCode::NvramKeysLost, message))
}

/// Reads the variables from the file `from`. Blocks.
pub(super) fn read(from: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::File { action: "reading", path: from.to_owned(), source };
    let mut content = Vec::new();
    let file = File::open(from).map_err(failed)?;
    file.take(LARGEST as u64 + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() > LARGEST {
        let reason = format!("it is larger than {}", ByteSize(LARGEST as u64)).into();
        return Err(Error::Unusable { path: from.to_owned(), reason });
    }
    Ok(content)
}

/// Writes the variables into `directory`, without overwriting a file. The file gets its final name
/// only when complete. Blocks.
///
/// # Errors
/// [`Error::Exists`], [`Error::Busy`], [`Error::File`].
pub fn write(directory: &Path, content: &[u8]) -> Result<ExportedNvram, Error> {
    let failed = |source| Error::File { action: "writing", path: directory.to_owned(), source };
    let part = PartFile::create(std::path::absolute(directory).map_err(failed)?.join(NVRAM))?;
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

#[cfg(test)]
mod tests {
    use super::lost;

    #[test]
    fn keys_that_a_person_enrolled_are_told() {
        let name = |name: &str| -> Vec<u8> {
            let name = format!("{name}\0");
            name.encode_utf16().flat_map(u16::to_le_bytes).collect()
        };
        let with =
            |variable: &str| [b"VMW".as_slice(), &name("Boot0001"), &name(variable)].concat();
        assert_eq!(lost(&with("MokList")).expect("told").code, "nvram-keys-lost");
        assert_eq!(lost(&with("MokListRT")), None, "made anew at each start");
        assert_eq!(lost(b""), None);
    }
}
