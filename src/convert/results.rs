//! The result files: their names, and how they are published. A result is renamed to its final name
//! only when complete and synced, and never replaces another file.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempPath;
use tokio_util::sync::CancellationToken;

use crate::budget::Going;
use crate::image;
use crate::manifest::Manifest;
use crate::model::{ByteSize, ConvertedDisk, ConvertedDisks, DiskFormat, DiskId, file_name};

use super::image_check::look;
use super::needs::Needs;
use super::seed::{seed_disk, seed_path};
use super::tools::qemu_img::Tools;
use super::{Error, Settings};

/// Bytes of a block as stat(2) counts them, whatever the file system's block size.
const BLOCK: u64 = 512;

/// The paths of the results: `DIR/<vm-name>.qcow2` of the boot disk, which comes first in the
/// disks, and `DIR/<vm-name>-<disk-id>.qcow2` of the others.
pub fn result_paths(needs: &Needs, dir: &Path) -> Vec<PathBuf> {
    let name = file_name(&needs.vm_name);
    let paths = needs.disks.iter().enumerate().map(|(i, disk)| {
        dir.join(if i == 0 { format!("{name}.qcow2") } else { format!("{name}-{disk}.qcow2") })
    });
    paths.collect()
}

/// The paths of the results. No result may exist, nor the seed where one is to be made.
///
/// # Errors
/// [`Error::ResultExists`] when one of them exists.
pub(super) fn free_paths(needs: &Needs, dir: &Path, seed: bool) -> Result<Vec<PathBuf>, Error> {
    let paths = result_paths(needs, dir);
    let seed = seed.then(|| seed_path(&needs.vm_name, dir));
    match paths.iter().chain(&seed).find(|path| fs::symlink_metadata(path).is_ok()) {
        Some(path) => Err(Error::ResultExists { path: path.clone() }),
        None => Ok(paths),
    }
}

/// The results of an earlier conversion, for a definition alone. Each is inspected before qemu-img
/// opens it.
///
/// # Errors
/// [`Error::NoResult`] naming the first that is missing; [`Error::Untrusted`] when one refers to
/// other files.
pub async fn existing(
    manifest: &Manifest,
    dir: &Path,
    settings: &Settings,
    cancel: &CancellationToken,
) -> Result<ConvertedDisks, Error> {
    let tools = Tools::new(settings.path.clone(), settings.timeout, cancel.clone());
    let needs = Needs::from(manifest);
    let mut disks = Vec::new();
    for (boot_order, (id, path)) in (0..).zip(needs.disks.iter().zip(result_paths(&needs, dir))) {
        let read = || Error::io(format!("reading {}", path.display()));
        let file = match fs::metadata(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoResult { disk: id.clone(), path });
            }
            Err(error) => return Err(read()(error)),
        };
        look(&path, DiskFormat::Qcow2, cancel)
            .await?
            .map_err(|why| Error::Untrusted { disk: id.clone(), why })?;
        let info = tools.info(&path, DiskFormat::Qcow2).await?;
        disks.push(ConvertedDisk {
            id: id.clone(),
            path,
            format: DiskFormat::Qcow2,
            capacity: ByteSize(info.virtual_size),
            allocated: ByteSize(file.blocks() * BLOCK),
            boot_order,
            fixed: false,
            medium: false,
            content: None,
        });
    }
    let mut disks = ConvertedDisks(disks);
    let seed = seed_path(manifest.vm_name(), dir);
    if let Ok(file) = fs::metadata(&seed) {
        let seed = seed_disk(seed, ByteSize(file.len()), &disks);
        disks.0.extend(seed);
    }
    Ok(disks)
}

/// The results of a record, each with the path that a conversion gives it: in `dir`, under the name
/// of its VM and disk. A path from the record itself would depend on the record's author.
pub fn placed(disks: &ConvertedDisks, vm_name: &str, dir: &Path) -> ConvertedDisks {
    let name = file_name(vm_name);
    let here = dir.canonicalize().ok();
    let is_here = |path: &Path| {
        let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
        folder.is_some() && folder == here
    };
    let mut taken: Vec<PathBuf> = Vec::new();
    let placed = |disk: &ConvertedDisk| {
        let names = match disk.medium {
            true => vec![seed_path(vm_name, dir)],
            // Only the first disk has the name of the VM.
            false => {
                vec![
                    dir.join(format!("{name}.qcow2")),
                    dir.join(format!("{name}-{}.qcow2", disk.id)),
                ]
            }
        };
        let is_it = |path: &&PathBuf| path.file_name() == disk.path.file_name();
        let fitting = names.iter().find(is_it).filter(|path| !taken.contains(path));
        let path = match (fitting, names.last()) {
            (Some(path), _) if is_here(&disk.path) => {
                taken.push(path.clone());
                disk.path.clone()
            }
            (Some(path), _) | (None, Some(path)) => {
                taken.push(path.clone());
                path.clone()
            }
            (None, None) => disk.path.clone(),
        };
        let format = if disk.medium { DiskFormat::Raw } else { DiskFormat::Qcow2 };
        ConvertedDisk { path, format, ..disk.clone() }
    };
    ConvertedDisks(disks.0.iter().map(placed).collect())
}

/// Why an existing result is not the disk of a record, if it is not: it refers to other files, or
/// its guest would see another size. Blocks for a short read.
///
/// # Errors
/// When the result cannot be read.
pub fn fault(disk: &ConvertedDisk) -> io::Result<Option<String>> {
    if !fs::symlink_metadata(&disk.path)?.is_file() {
        return Ok(Some("it is not a regular file".to_owned()));
    }
    if let Err(why) = image::inspect(&disk.path, disk.format, &Going::default())? {
        return Ok(Some(why.to_string()));
    }
    let capacity = image::capacity(&File::open(&disk.path)?, disk.format)?;
    Ok((capacity != Some(disk.capacity.0)).then(|| match capacity {
        Some(found) => format!("it has {}, not {}", ByteSize(found), disk.capacity),
        None => format!("it is not an image in {}", disk.format),
    }))
}

/// A finished image in the work folder.
#[derive(Debug)]
pub(super) struct FinishedImage {
    pub(super) id: DiskId,
    pub(super) image: PathBuf,
    pub(super) capacity: ByteSize,
    pub(super) fixed: bool,
}

/// Runs the blocking [`publish`], unless the run was cancelled.
pub(super) async fn publish_all(
    finished: Vec<FinishedImage>,
    paths: &[PathBuf],
    tools: &Tools,
) -> Result<ConvertedDisks, Error> {
    if tools.cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let paths = paths.to_vec();
    let moved = tokio::task::spawn_blocking(move || publish(&finished, &paths)).await;
    moved.map_err(|join| Error::io("moving the results")(join.into()))?
}

/// Moves finished images, boot disk first, to their results. When one cannot be moved, the others
/// are removed again.
fn publish(finished: &[FinishedImage], paths: &[PathBuf]) -> Result<ConvertedDisks, Error> {
    let mut disks = Vec::new();
    for (order, (disk, path)) in (0..).zip(finished.iter().zip(paths)) {
        match named(disk, path, order) {
            Ok(disk) => disks.push(disk),
            Err(error) => {
                for ConvertedDisk { path, .. } in &disks {
                    fs::remove_file(path).map_err(Error::io(format!(
                        "removing {} after: {error}",
                        path.display()
                    )))?;
                }
                return Err(error);
            }
        }
    }
    if let Some(dir) = paths.first().and_then(|path| path.parent()) {
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(Error::io(format!("syncing {}", dir.display())))?;
    }
    Ok(ConvertedDisks(disks))
}

/// Moves one finished image to its name.
fn named(disk: &FinishedImage, path: &Path, boot_order: u32) -> Result<ConvertedDisk, Error> {
    let (_, allocated) = move_in(&disk.image, path)?;
    Ok(ConvertedDisk {
        id: disk.id.clone(),
        path: path.to_owned(),
        format: DiskFormat::Qcow2,
        capacity: disk.capacity,
        allocated,
        boot_order,
        fixed: disk.fixed,
        medium: false,
        content: None,
    })
}

/// Syncs one file and renames it; returns its length and the space that it occupies. Only its owner
/// may read it: it contains a machine's files, including password hashes and keys.
pub(super) fn move_in(image: &Path, path: &Path) -> Result<(ByteSize, ByteSize), Error> {
    let failed = || Error::io(format!("writing {}", path.display()));
    let file = File::open(image).map_err(failed())?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(failed())?;
    file.sync_all().map_err(failed())?;
    let found = file.metadata().map_err(failed())?;
    let image = TempPath::try_from_path(image).map_err(failed())?;
    image.persist_noclobber(path).map_err(|error| {
        if error.error.kind() == std::io::ErrorKind::AlreadyExists {
            Error::ResultExists { path: path.to_owned() }
        } else {
            failed()(error.error)
        }
    })?;
    Ok((ByteSize(found.len()), ByteSize(found.blocks() * BLOCK)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(dir: &Path, index: usize) -> FinishedImage {
        let image = dir.join(format!("work-{index}"));
        fs::write(&image, format!("image {index}")).expect("written");
        FinishedImage { id: DiskId::from_index(index), image, capacity: ByteSize(512), fixed: true }
    }

    #[test]
    fn results_are_named_after_the_vm() {
        let needs = Needs {
            vm_name: "Web/01".to_owned(),
            disks: vec![DiskId::from_index(0), DiskId::from_index(1)],
            data: ByteSize(0),
            unconverted: ByteSize(0),
            family: crate::model::OsFamily::Linux,
        };
        let paths = free_paths(&needs, Path::new("/no/such"), true).expect("free");
        assert_eq!(
            paths,
            [Path::new("/no/such/Web_01.qcow2"), Path::new("/no/such/Web_01-disk-1.qcow2")]
        );
    }

    #[test]
    fn a_record_does_not_choose_which_files_are_results() {
        let dir = tempfile::tempdir().expect("a folder");
        let real = dir.path().canonicalize().expect("there");
        let disk = |index: usize, path: &str, medium| ConvertedDisk {
            id: DiskId::from_index(index),
            path: path.into(),
            format: DiskFormat::Raw,
            capacity: ByteSize(512),
            allocated: ByteSize(0),
            boot_order: 0,
            fixed: true,
            medium,
            content: None,
        };
        let places = |disks: Vec<ConvertedDisk>| {
            let placed = placed(&ConvertedDisks(disks), "web", &real).0;
            assert!(placed.iter().all(|disk| (disk.format == DiskFormat::Raw) == disk.medium));
            placed.into_iter().map(|disk| disk.path).collect::<Vec<_>>()
        };
        let own = real.join("web.qcow2").to_string_lossy().into_owned();
        let of = |name: &str| real.join(name);
        assert_eq!(places(vec![disk(0, &own, false)]), [of("web.qcow2")]);
        let planted = vec![
            disk(0, "/etc/shadow", false),
            disk(1, "/other/web.qcow2", false),
            disk(2, "web.qcow2", false),
            disk(3, "/x/web-seed.iso", true),
        ];
        let names = ["web-disk-0.qcow2", "web.qcow2", "web-disk-2.qcow2", "web-seed.iso"];
        assert_eq!(places(planted), names.map(of));
    }

    #[test]
    fn a_result_of_another_size_or_kind_is_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("web.qcow2");
        let disk = ConvertedDisk {
            id: DiskId::from_index(0),
            path: path.clone(),
            format: DiskFormat::Qcow2,
            capacity: ByteSize(512),
            allocated: ByteSize(0),
            boot_order: 0,
            fixed: true,
            medium: false,
            content: None,
        };
        fs::write(&path, [7; 4096]).expect("written");
        assert!(fault(&disk).expect("read").is_some());
        let seed = ConvertedDisk { format: DiskFormat::Raw, ..disk.clone() };
        let said = fault(&seed).expect("read").expect("of another size");
        assert!(said.contains("not 512 B"), "{said}");
        let seed = ConvertedDisk { capacity: ByteSize(4096), ..seed };
        assert_eq!(fault(&seed).expect("read"), None);
        std::os::unix::fs::symlink(&path, dir.path().join("link")).expect("linked");
        let link = ConvertedDisk { path: dir.path().join("link"), ..seed };
        assert!(fault(&link).expect("read").is_some());
    }

    #[test]
    fn a_result_in_the_way_undoes_the_others_and_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let disks = [finished(dir.path(), 0), finished(dir.path(), 1)];
        let paths = [dir.path().join("a.qcow2"), dir.path().join("b.qcow2")];
        fs::write(&paths[1], "the user's").expect("written");
        let error = publish(&disks, &paths).expect_err("in the way");
        assert!(matches!(error, Error::ResultExists { .. }), "{error}");
        assert!(!paths[0].exists());
        assert_eq!(fs::read_to_string(&paths[1]).expect("there"), "the user's");
    }

    #[test]
    fn results_are_private_and_in_boot_order() {
        let dir = tempfile::tempdir().expect("a folder");
        let disks = [finished(dir.path(), 3), finished(dir.path(), 0)];
        let paths = [dir.path().join("a.qcow2"), dir.path().join("b.qcow2")];
        let ConvertedDisks(done) = publish(&disks, &paths).expect("published");
        assert_eq!((done[0].boot_order, done[0].id.as_str()), (0, "disk-3"));
        assert_eq!((done[1].boot_order, done[1].id.as_str()), (1, "disk-0"));
        assert_eq!(fs::metadata(&paths[0]).expect("there").mode() & 0o777, 0o600);
        assert!(done[0].allocated.0 >= 512 && done[0].fixed);
    }
}
