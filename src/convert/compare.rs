//! Whether an image still is what its proof says.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc::O_NONBLOCK;
use tokio_util::sync::CancellationToken;

use crate::budget::{Going, is_stop};
use crate::image::content::{Blocks, hash_image};
use crate::model::{DiskFormat, DiskProof, Sha256Digest};

/// How an image differs from its proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageDifference {
    /// A block that FIX changed has another content than FIX left.
    Fixed(u64),
    /// Something outside the blocks that FIX changed is not as it was exported.
    Exported(Sha256Digest),
    /// The format has something that is not read here.
    Unread,
}

/// Opens an image to be compared; `None` where this user may not read it.
///
/// # Errors
/// What the system said, and for what is no regular file.
pub fn open_image(path: &Path) -> io::Result<Option<File>> {
    // Opening a pipe that has no writer would block.
    match OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
        Ok(_) => Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file")),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(error),
    }
}

/// Compares an image with its proof: with the blocks of the export in the place of those that FIX
/// changed, the image must be the exported disk. Blocks.
///
/// # Errors
/// When the image cannot be read, or the run is cancelled ([`ErrorKind::Interrupted`]).
pub fn compare(
    file: &File,
    format: DiskFormat,
    proof: &DiskProof,
    cancel: &CancellationToken,
) -> io::Result<Result<(), ImageDifference>> {
    let (mut exported, mut wrong) = (Blocks::default(), None);
    let mut changed = proof.changed.iter().peekable();
    let mut each = |number, hash: &Sha256Digest| {
        match changed.next_if(|block| block.block == number) {
            Some(block) => {
                if block.after != *hash {
                    wrong.get_or_insert(number);
                }
                exported.add(&block.before);
            }
            None => exported.add(hash),
        }
        Ok(())
    };
    let found = hash_image(file, format, &Going::from(cancel), &mut each);
    let found = found.map_err(|error| match is_stop(&error) {
        true => ErrorKind::Interrupted.into(),
        false => error,
    })?;
    let (is_listed, exported) = (changed.next().is_none(), exported.finish());
    Ok(match (found, wrong) {
        (None, _) => Err(ImageDifference::Unread),
        (_, Some(block)) => Err(ImageDifference::Fixed(block)),
        _ if exported == proof.exported && is_listed => Ok(()),
        _ => Err(ImageDifference::Exported(exported)),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::image::content::BLOCK;
    use crate::model::{ChangedBlock, DiskId};

    fn blocks(file: &File) -> (Sha256Digest, Vec<Sha256Digest>) {
        let mut blocks = Vec::new();
        let mut each = |_, hash: &Sha256Digest| {
            blocks.push(*hash);
            Ok(())
        };
        let hash = hash_image(file, DiskFormat::Raw, &Going::default(), &mut each)
            .expect("read")
            .expect("a hash");
        (hash, blocks)
    }

    #[test]
    fn what_fix_changed_is_taken_out_and_nothing_else() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(3 * BLOCK).expect("sized");
        file.write_all_at(b"exported", 10).expect("written");
        let (exported, before) = blocks(&file);
        file.write_all_at(b"fixed", 2 * BLOCK).expect("written");
        let (result, after) = blocks(&file);
        let changed = vec![ChangedBlock { block: 2, before: before[2], after: after[2] }];
        let proof = DiskProof { id: DiskId::from_index(0), exported, result, changed };
        let cancel = CancellationToken::new();
        let compared = |proof| compare(&file, DiskFormat::Raw, proof, &cancel).expect("read");
        assert_eq!(compared(&proof), Ok(()));
        let unlisted = DiskProof { changed: Vec::new(), ..proof.clone() };
        assert!(matches!(compared(&unlisted), Err(ImageDifference::Exported(_))));
        file.write_all_at(b"x", BLOCK).expect("written");
        assert!(matches!(compared(&proof), Err(ImageDifference::Exported(_))));
        file.write_all_at(b"x", 2 * BLOCK).expect("written");
        assert_eq!(compared(&proof), Err(ImageDifference::Fixed(2)));
    }
}
