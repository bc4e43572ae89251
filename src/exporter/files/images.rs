//! Bare disk images: a VM that only the user can describe.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::expected_sums::Expected;
use super::file_names::format_by_extension;
use super::file_settings::FileChoice;
use super::vm_files::{DescribedVm, DiskBytes, WantedDisk};
use crate::exporter::{Error, uuids};
use crate::image::{self, Kind};
use crate::model::{
    Assumed, Board, Bus, ByteSize, Controller, CpuTopology, DiskFormat, DiskId, ExportMethod,
    Firmware, GuestOs, Origin, OsFamily, PowerState, SourceDisk, SourceNic, SourceVm,
};

/// Default memory size, in MiB.
const MEMORY_MIB: u64 = 2048;

/// The format of an image, by `--format` or else by the file's name. The format is never guessed
/// from the bytes, which the guest controls. If content and name disagree, the user decides
/// ([`check`]).
pub(super) fn format(path: &Path, choice: &FileChoice) -> Option<DiskFormat> {
    let extension = path.extension().map(|text| text.to_string_lossy().into_owned());
    choice.format.or_else(|| format_by_extension(&extension?))
}

/// Rejects an image whose content does not match its name. Blocks.
fn check(path: &Path, file: &File, told: DiskFormat) -> Result<(), Error> {
    let failed = |source| Error::File { action: "reading", path: path.to_owned(), source };
    match image::kind(file, told).map_err(failed)? {
        Some(found) if found != Kind::Disk(told) => {
            Err(Error::OtherFormat { path: path.to_owned(), told, found })
        }
        _ => Ok(()),
    }
}

/// The VM whose disks are these images, the boot disk first. Blocks.
///
/// # Errors
/// [`Error::Unusable`], [`Error::File`].
pub(super) fn describe(paths: &[PathBuf], choice: &FileChoice) -> Result<DescribedVm, Error> {
    let (mut disks, mut wanted) = (Vec::new(), Vec::new());
    for (index, path) in paths.iter().enumerate() {
        let unusable = |reason: &str| Error::Unusable { path: path.clone(), reason: reason.into() };
        let format = format(path, choice);
        let format = format.ok_or_else(|| Error::UnknownFormat { path: path.clone() })?;
        let failed = |source| Error::File { action: "reading", path: path.clone(), source };
        let file = File::open(path).map_err(failed)?;
        if choice.format.is_none() {
            check(path, &file, format)?;
        }
        let content = DiskBytes::of_image(path, format)?;
        let capacity = image::capacity(&file, format).map_err(failed)?;
        let capacity = capacity.filter(|size| *size > 0);
        let capacity = capacity
            .ok_or_else(|| unusable(&format!("it is not an image of a disk in {format}")))?;
        let id = DiskId::from_index(index);
        let label = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        disks.push(disk(label, index, capacity, uuids::of_image(path, format)));
        wanted.push(WantedDisk::disk(id, format, capacity, content));
    }
    let stem = paths.first().and_then(|path| path.file_stem()).unwrap_or_default();
    Ok(machine(stem.to_string_lossy().into_owned(), disks, wanted, choice))
}

/// A disk of a VM without a description, with its capacity in bytes and VMware's UUID.
pub(super) fn disk(label: String, index: usize, capacity: u64, uuid: Option<String>) -> SourceDisk {
    let disk = SourceDisk {
        id: DiskId::from_index(index),
        key: 0,
        label,
        controller: Controller { bus: Bus::Other, model: String::new(), number: 0, slot: None },
        unit: u32::try_from(index).unwrap_or(u32::MAX),
        capacity: ByteSize(capacity),
        boot_order: 0,
        backing: None,
        uuid,
    };
    disk.at(index)
}

/// A VM that only its disks describe.
pub(super) fn machine(
    name: String,
    disks: Vec<SourceDisk>,
    wanted: Vec<WantedDisk>,
    choice: &FileChoice,
) -> DescribedVm {
    let vm = SourceVm {
        provider: "local".to_owned(),
        id: String::new(),
        name,
        instance_uuid: None,
        inventory_path: None,
        datacenter: None,
        power: PowerState::Off,
        arch: None,
        cpu: CpuTopology::new(1, 1),
        memory_mib: MEMORY_MIB,
        firmware: Firmware::Bios,
        secure_boot: false,
        vtpm: false,
        cdroms: 0,
        board: Board::default(),
        origin: Origin::default(),
        // The first image is the boot disk.
        assumed: Assumed { firmware: true, boot_disk: false },
        guest: GuestOs {
            id: String::new(),
            full_name: String::new(),
            family: OsFamily::Unknown,
            network: None,
        },
        disks,
        // Default to one network card: almost every VM needs a network.
        nics: choice.nics.clone().unwrap_or_else(|| vec![SourceNic::at(0)]),
        facts: None,
    };
    DescribedVm {
        vm,
        tells_nics: false,
        disks: wanted,
        method: ExportMethod::Disk,
        store: None,
        prefix: String::new(),
        sums: Expected::None,
        nvram: None,
        warnings: Vec::new(),
        media: Vec::new(),
    }
}
