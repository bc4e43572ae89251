//! Checks whether an image still matches its proof.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc::O_NONBLOCK;
use tokio_util::sync::CancellationToken;

use crate::budget::{Going, is_stop};
use crate::image::content::{BLOCK, Blocks, hash_image};
use crate::model::{ConvertedDisk, DiskFormat, DiskProof, Proof, Sha256Digest};
use crate::progress::Task;

use super::Conversion;
use super::tools::qemu_img::Tools;

/// How an image differs from its proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageDifference {
    /// The content of a block that FIX changed differs from the content that FIX wrote.
    Fixed(u64),
    /// Content outside the blocks that FIX changed differs from the export. The field is the hash
    /// of the content with the exported blocks in place of the changed ones.
    Exported(Sha256Digest),
    /// The image uses a feature of its format that hyperexport does not read.
    Unread,
}

/// Opens an image for a comparison; `None` where this user has no permission to read the image.
///
/// # Errors
/// The system's error, and an error for anything that is not a regular file.
pub fn open_image(path: &Path) -> io::Result<Option<File>> {
    // Opening a pipe that has no writer would block.
    match OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
        Ok(_) => Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file")),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(error),
    }
}

/// Records the content hashes of the results, so that a later run can check whether they have
/// changed. A hash comes from the proof, or else from reading the result. A hash that cannot be
/// computed is no reason to lose the conversion.
pub(super) async fn record(conversion: &mut Conversion, tools: &Tools) {
    let proof = conversion.proof.as_ref();
    for disk in conversion.disks.iter_mut().flat_map(|disks| &mut disks.0) {
        disk.content = proof.and_then(|proof| result_of(proof, disk));
        if disk.content.is_some() {
            continue;
        }
        let (path, format, tools) = (disk.path.clone(), disk.format, tools.clone());
        let work = move || {
            let mut each = |_, _: &Sha256Digest| tools.is_in_time();
            hash_image(&File::open(path)?, format, &tools.going(), &mut each)
        };
        let hashed = tokio::task::spawn_blocking(work).await;
        disk.content = hashed.unwrap_or_else(|join| Err(join.into())).unwrap_or_else(|error| {
            tracing::warn!(%error, "hash the content of a converted disk");
            None
        });
    }
}

/// The content hash of a result, computed from its proof.
pub fn result_of(proof: &Proof, disk: &ConvertedDisk) -> Option<Sha256Digest> {
    let of_disk = |proof: &&DiskProof| proof.id == disk.id && !disk.medium;
    proof.disks.iter().find(of_disk).map(|proof| proof.result)
}

/// How a result differs from the record of its conversion, as a clause. `None` where it does not
/// differ, or where nothing was recorded. Blocks the calling thread.
///
/// # Errors
/// When the result cannot be read, or the run is cancelled ([`ErrorKind::Interrupted`]).
pub fn changed(
    disk: &ConvertedDisk,
    task: &Task,
    cancel: &CancellationToken,
) -> io::Result<Option<String>> {
    let Some(recorded) = disk.content else { return Ok(None) };
    let file = open_image(&disk.path)?.ok_or(ErrorKind::PermissionDenied)?;
    let mut each = |number: u64, _: &Sha256Digest| {
        task.at(((number + 1) * BLOCK).min(disk.capacity.0));
        Ok(())
    };
    match hash_image(&file, disk.format, &Going::from(cancel), &mut each) {
        Ok(Some(found)) if found == recorded => Ok(None),
        Ok(Some(found)) => Ok(Some(format!("its content hash is {found}, not {recorded}"))),
        Ok(None) => Ok(Some("it has features that the conversion does not write".to_owned())),
        Err(error) if is_stop(&error) => Err(ErrorKind::Interrupted.into()),
        Err(error) if error.kind() == ErrorKind::InvalidData => Ok(Some(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Compares an image with its proof. With the exported blocks in place of those that FIX changed,
/// the image must be identical to the exported disk. Blocks the calling thread.
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
