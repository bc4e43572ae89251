//! VALIDATE: the images are complete, have the right size, and contain what a firmware boots from.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::convert::Error;
use crate::convert::tools::qemu_img::{Image, Tools};
use crate::model::{ByteSize, DiskFormat};
use crate::panics::contained;

use super::beginning::Beginning;
use super::fat;
use super::partitions::{BiosLoader, Partitions, SECTOR};

/// Length of a disk's beginning that is read, in KiB: boot sector, GPT header and its table.
const HEAD: u32 = 32;
/// Largest EFI system partition that is read, in bytes.
const LARGEST_ESP: u64 = 4 << 30;
/// Path that firmware for x86-64 starts without boot variables (UEFI 2.10, 3.5.1.1).
const FALLBACK: &str = "EFI/BOOT/BOOTX64.EFI";

/// Reads the beginning of an image and its EFI system partitions; `scratch` is a temporary file.
pub(super) async fn beginning(
    tools: &Tools,
    image: Image<'_>,
    scratch: &Path,
) -> Result<Beginning, Error> {
    tools.head(image, scratch, HEAD).await?;
    let bytes = take(scratch)?;
    let partitions = Partitions::read(&bytes);
    let loader = partitions.bios_loader(&bytes);
    let mut start = Beginning {
        partition_table: partitions.table,
        boot_sector: loader != BiosLoader::Missing,
        is_nameless: loader == BiosLoader::Nameless,
        ..Beginning::default()
    };
    for esp in partitions.efi() {
        start.efi_partition = true;
        // A partition table may name places beyond the disk.
        let (offset, size) = (esp.first.checked_mul(SECTOR as u64), esp.sectors * SECTOR as u64);
        let Some(offset) = offset.filter(|_| (1..=LARGEST_ESP).contains(&size)) else { continue };
        // Firmware does not read a partition that extends beyond the end of its disk.
        if tools.part(image, scratch, offset, size).await.is_ok() {
            start.efi_loader |= holds_loader(scratch).await;
        }
        remove(scratch)?;
    }
    Ok(start)
}

fn take(scratch: &Path) -> Result<Vec<u8>, Error> {
    let bytes = fs::read(scratch).map_err(Error::io(format!("reading {}", scratch.display())))?;
    remove(scratch)?;
    Ok(bytes)
}

fn remove(scratch: &Path) -> Result<(), Error> {
    match fs::remove_file(scratch) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("removing {}", scratch.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Whether a file system is FAT and contains the fallback loader, a PE program. Firmware would not
/// read a file system on which the FAT reader fails. `partition` is a copy, and may change.
async fn holds_loader(partition: &Path) -> bool {
    let path = partition.to_owned();
    let look = move || {
        fat::admit(&path)?;
        contained(|| {
            let file = fat::Bounded::new(File::open(path)?);
            let files = fatfs::FileSystem::new(file, fatfs::FsOptions::new())?;
            let mut magic = [0; 2];
            files.root_dir().open_file(FALLBACK)?.read_exact(&mut magic)?;
            Ok(&magic == b"MZ")
        })
    };
    match tokio::task::spawn_blocking(look).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::debug!(%error, "no loader on the EFI system partition");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "reading the EFI system partition");
            false
        }
    }
}

/// Checks a result: its structure, and the size that the guest sees.
///
/// # Errors
/// [`Error::QemuImg`], [`Error::Untrusted`].
pub(super) async fn check(
    tools: &Tools,
    disk: &crate::model::DiskId,
    image: &Path,
    capacity: ByteSize,
) -> Result<(), Error> {
    let info = tools.info(image, DiskFormat::Qcow2).await?;
    let wrong = |why: String| Error::Untrusted { disk: disk.clone(), why };
    if info.backing_filename.is_some() {
        return Err(wrong("its image needs another file".to_owned()));
    }
    if info.virtual_size != capacity.0 {
        let found = info.virtual_size;
        return Err(wrong(format!("its image is {found} bytes for the guest, not {}", capacity.0)));
    }
    tools.check(image).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::native::partitions::tests::gpt_disk;
    use crate::convert::native::partitions::{BIOS_BOOT, ESP};
    use crate::model::Firmware;

    /// A file of that size, formatted with these options, with a loader at the fallback path.
    fn esp(path: &Path, mib: u64, options: fatfs::FormatVolumeOptions) {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
        let file = file.expect("made");
        file.set_len(mib << 20).expect("sized");
        fatfs::format_volume(&file, options).expect("formatted");
        let files = fatfs::FileSystem::new(&file, fatfs::FsOptions::new()).expect("FAT");
        let efi = files.root_dir().create_dir("efi").expect("made");
        let boot = efi.create_dir("Boot").expect("made");
        let mut loader = boot.create_file("bootx64.efi").expect("made");
        std::io::Write::write_all(&mut loader, b"MZ program").expect("written");
    }

    #[tokio::test]
    async fn the_loader_is_looked_for_on_a_real_file_system() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("esp");
        esp(&path, 8, fatfs::FormatVolumeOptions::new());
        assert!(holds_loader(&path).await, "in any case");
        let file = File::options().read(true).write(true).open(&path).expect("opened");
        fatfs::format_volume(&file, fatfs::FormatVolumeOptions::new()).expect("formatted");
        assert!(!holds_loader(&path).await, "empty");
        fs::write(&path, [0xff; 4096]).expect("written");
        assert!(!holds_loader(&path).await, "no file system");
    }

    #[tokio::test]
    async fn a_folder_without_end_is_left() {
        use std::os::unix::fs::FileExt;

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("esp");
        let options = fatfs::FormatVolumeOptions::new();
        esp(&path, 40, options.fat_type(fatfs::FatType::Fat32).bytes_per_cluster(512));
        let file = File::options().read(true).write(true).open(&path).expect("opened");
        let mut boot = [0; 512];
        file.read_exact_at(&mut boot, 0).expect("read");
        let number = |at: usize| u64::from(boot[at]) | u64::from(boot[at + 1]) << 8;
        let (begin, tables, length) = (number(14), u64::from(boot[16]), number(36));
        // The root, in cluster 2, continues in itself, and has no last entry.
        for table in 0..tables {
            let place = (begin + table * length) * 512 + 8;
            file.write_all_at(&2_u32.to_le_bytes(), place).expect("written");
        }
        let mut entry = [0; 32];
        entry[..12].copy_from_slice(b"NOTHING TXT ");
        file.write_all_at(&entry.repeat(16), (begin + tables * length) * 512).expect("written");
        assert!(!holds_loader(&path).await);
    }

    #[tokio::test]
    async fn a_small_fat32_is_one_that_firmware_reads() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("esp");
        let options = fatfs::FormatVolumeOptions::new();
        let options = options.fat_type(fatfs::FatType::Fat32).bytes_per_cluster(512);
        esp(&path, 40, options);
        // `mkfs.fat -F 32` makes such a file system with fewer clusters than FAT32 has.
        let file = File::options().write(true).open(&path).expect("opened");
        file.set_len(20 << 20).expect("cut");
        let sectors = (20_u32 << 20) / 512;
        std::os::unix::fs::FileExt::write_all_at(&file, &sectors.to_le_bytes(), 32)
            .expect("written");
        assert!(holds_loader(&path).await);
    }

    #[tokio::test]
    async fn a_disk_for_both_firmwares_starts_by_both() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("disk");
        esp(&path, 1, fatfs::FormatVolumeOptions::new());
        let system = fs::read(&path).expect("read");
        let mut disk = gpt_disk(&[BIOS_BOOT, ESP], b"\xeb\x63 GRUB ");
        disk.resize(2048 * SECTOR, 0);
        disk.extend(system);
        fs::write(&path, &disk).expect("written");
        let cancel = tokio_util::sync::CancellationToken::new();
        let tools = Tools::new("/usr/bin:/bin".into(), std::time::Duration::from_secs(60), cancel);
        let image = Image { path: &path, format: DiskFormat::Raw };
        let scratch = folder.path().join("scratch");
        let start = beginning(&tools, image, &scratch).await.expect("read");
        assert_eq!(start.firmware(), [Firmware::Bios, Firmware::Efi], "{start:?}");
        assert!(start.likelihood(None) == 4 && start.lacks().is_none());
    }
}
