//! VMs in files: OVA and OVF packages, VMX directories, bare disk images.
//!
//! All content of the files is foreign. Names in it are looked up, never created. An image that
//! names other files of this machine is rejected before any tool opens it. All lengths are bounded.
//! Unpacked images are used in place, and only their checksums are computed. Packed images are
//! extracted from their archive in one pass.

mod below;
mod bound;
mod boxed;
mod check;
mod descriptor_text;
mod expected_sums;
mod extract;
mod file_names;
mod file_settings;
mod images;
mod locate;
mod ovf;
mod ovf_package;
mod sink;
mod store;
mod streaming;
mod sums;
mod tar;
mod vm_files;
mod vmdk_check;
mod vmx;

pub use file_settings::{FileChoice, FileSettings};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::blocking::blocking;
use super::{Error, ExportRequest, FinishedDisk, Inspected, VmSummary, fill_disk_uuids, nvram};
use crate::model::{
    ByteSize, ExportedDisk, ExportedNvram, ExportedVm, SourceDisk, SourceVm, Stage, Warning,
    WarningCode, chain,
};
use crate::progress::Progress;
use check::Checking;
use extract::{Extracted, Extraction};
use locate::VmLocation;
use ovf_package::OvfPackage;
use vm_files::{DescribedVm, Nvram};

/// A source in files.
#[derive(Debug, Clone)]
pub struct Files {
    settings: Arc<FileSettings>,
    found: Arc<FoundSource>,
    /// Warning that the VM was found below the path that the user passed.
    told: Option<Warning>,
    /// Fingerprint that differs when the files have changed.
    revision: String,
}

#[derive(Debug)]
enum FoundSource {
    Package(Box<OvfPackage>),
    Other(Box<DescribedVm>),
}

impl FoundSource {
    /// The selected VM, with the location of its disks. Blocks.
    fn describe(&self, settings: &FileSettings) -> Result<DescribedVm, Error> {
        match self {
            Self::Package(package) => package.describe(&settings.choice),
            Self::Other(described) => match &settings.choice.vm {
                Some(name) if *name != described.vm.name => Err(Error::WhichVm {
                    path: settings.path(),
                    names: vec![format!("'{}'", described.vm.name)],
                }),
                _ => Ok((**described).clone()),
            },
        }
    }
}

impl Files {
    /// Detects the kind of VM at the paths, and reads its description.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the paths contain no VM that can be exported, [`Error::WrongSum`],
    /// [`Error::File`].
    pub async fn open(settings: FileSettings) -> Result<Self, Error> {
        let settings = Arc::new(locate::absolute(settings)?);
        blocking(&settings.path(), move || {
            let (place, told) = locate::locate(&settings)?;
            let ignore = settings.choice.ignore_checksums;
            let found = match &place {
                VmLocation::Archive(store) => match OvfPackage::of_archive(store.clone(), ignore) {
                    Err(Error::Packed { name, .. }) => {
                        let described = boxed::describe(store, name, &settings.choice)?;
                        FoundSource::Other(Box::new(described))
                    }
                    package => FoundSource::Package(Box::new(package?)),
                },
                VmLocation::Ovf(path) => {
                    let given = settings.paths.first().map(PathBuf::as_path);
                    let given = given.filter(|given| given.is_dir());
                    FoundSource::Package(Box::new(OvfPackage::of_folder(path, given, ignore)?))
                }
                VmLocation::Vmx(path) => FoundSource::Other(Box::new(vmx::describe(path)?)),
                VmLocation::Images(paths) => {
                    FoundSource::Other(Box::new(images::describe(paths, &settings.choice)?))
                }
            };
            let described = match &found {
                FoundSource::Package(package) => package.describe(&settings.choice).ok(),
                FoundSource::Other(described) => Some((**described).clone()),
            };
            let mut paths = place.files();
            paths.extend(described.iter().flat_map(DescribedVm::files));
            paths.dedup();
            let revision = locate::revision(&paths)?;
            Ok(Self { settings, found: Arc::new(found), told, revision })
        })
        .await
    }

    /// All VMs in the files; a package may contain several.
    pub fn list(&self) -> Vec<VmSummary> {
        match &*self.found {
            FoundSource::Package(package) => {
                package.systems().map(|vm| VmSummary::of(&self.identified(vm.clone()))).collect()
            }
            FoundSource::Other(described) => vec![VmSummary::of(&self.vm(described))],
        }
    }

    /// All facts about the VM.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the VM is ambiguous, or a disk cannot be read.
    pub async fn inspect(&self) -> Result<Inspected, Error> {
        let described = self.described().await?;
        let own = described.vm.nics.len();
        if own > 0 && described.tells_nics && self.settings.choice.nics.is_some() {
            return Err(Error::HasNics { vm: described.vm.name, count: own });
        }
        let vm = self.vm(&described);
        if vm.memory_mib == 0 {
            let path = self.settings.path();
            let reason = "it has no memory size: pass --memory".into();
            return Err(Error::Unusable { path, reason });
        }
        Ok(Inspected {
            streaming: described.streaming(),
            media: described.expected_media(),
            least: ByteSize(described.least()),
            ..Inspected::new(vm, described.makes(), self.revision.clone())
        })
    }

    /// Verifies all files of the package that have a checksum. Returns their number; `None` if
    /// there are no checksums, or they are ignored.
    ///
    /// # Errors
    /// [`Error::WrongSum`] for the first file that differs; [`Error::Unusable`], [`Error::File`],
    /// [`Error::Cancelled`].
    pub async fn check_sums(
        &self,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<Option<usize>, Error> {
        let described = self.described_until(cancel).await?;
        let (progress, cancel) = (progress.clone(), cancel.clone());
        blocking(&self.settings.path(), move || {
            Checking { described: &described, progress: &progress, cancel: &cancel }.check()
        })
        .await
    }

    /// Extracts all disks of `vm` into the request's directory. Unpacked images are used in place:
    /// only their checksums are computed.
    ///
    /// # Errors
    /// [`Error::Exists`] before any file is written; [`Error::Unusable`] for damaged or invalid
    /// files; [`Error::WrongSum`]; [`Error::Cancelled`]. All files of this run are removed then.
    pub async fn export(
        &self,
        vm: &SourceVm,
        request: &ExportRequest<'_>,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<ExportedVm, Error> {
        let described = self.described_until(cancel).await?;
        let (directory, progress, cancel) =
            (request.directory.clone(), progress.clone(), cancel.clone());
        let (limit, whole) = (request.limit.clone(), request.whole.clone());
        let (tell, mut tellings) = mpsc::unbounded_channel();
        let rewrite = self.settings.rewrite;
        let vm = vm.clone();
        let told = self.told.clone();
        let path = self.settings.path();
        let work = blocking(&path, move || {
            let failed =
                |source| Error::File { action: "opening", path: directory.clone(), source };
            let directory = std::path::absolute(&directory).map_err(failed)?;
            let taking = Extraction {
                described: &described,
                directory: &directory,
                progress: &progress,
                cancel: &cancel,
                limit: &limit,
                rewrite,
                whole: &whole,
                tell: &tell,
            };
            extracted(&taking, vm, told)
        });
        // The callback belongs to the caller and cannot be sent to the thread that does the work.
        let noting = async {
            while let Some(disk) = tellings.recv().await {
                FinishedDisk::report(&disk, request.note).await;
            }
        };
        tokio::join!(work, noting).0
    }

    async fn described_until(&self, cancel: &CancellationToken) -> Result<DescribedVm, Error> {
        cancel.run_until_cancelled(self.described()).await.unwrap_or(Err(Error::Cancelled))
    }

    async fn described(&self) -> Result<DescribedVm, Error> {
        let (found, settings) = (Arc::clone(&self.found), Arc::clone(&self.settings));
        blocking(&self.settings.path(), move || {
            let mut described = found.describe(&settings)?;
            described.decide_streaming(settings.rewrite)?;
            Ok(described)
        })
        .await
    }

    /// The VM with the user's overrides.
    fn vm(&self, described: &DescribedVm) -> SourceVm {
        let choice = &self.settings.choice;
        let mut vm = self.identified(described.vm.clone());
        if let Some(name) = &choice.name {
            vm.name.clone_from(name);
        }
        if let Some(cpu) = choice.cpu {
            vm.cpu = crate::model::CpuTopology::new(cpu, vm.cpu.cores_per_socket);
        }
        vm.memory_mib = choice.memory_mib.unwrap_or(vm.memory_mib);
        if let Some(nics) = choice.nics.as_ref().filter(|_| vm.nics.is_empty()) {
            vm.nics.clone_from(nics);
        }
        if let Some(firmware) = choice.firmware {
            vm.firmware = firmware;
            vm.assumed.firmware = false;
        }
        vm
    }

    /// Sets a unique id: the path of the VM, with the VM's id in the package.
    fn identified(&self, mut vm: SourceVm) -> SourceVm {
        let path = self.settings.path();
        let within = if vm.id.is_empty() { String::new() } else { format!("#{}", vm.id) };
        vm.id = format!("{}{within}", path.display());
        vm
    }
}

/// Extracts the disks of `vm`, and returns the VM with the facts from its images. Blocks.
fn extracted(
    extraction: &Extraction<'_>,
    mut vm: SourceVm,
    told: Option<Warning>,
) -> Result<ExportedVm, Error> {
    let described = extraction.described;
    let Extracted { disks, uuids, media, nvram: variables, warnings } = extraction.take()?;
    let mut warnings = [Vec::from_iter(told), described.warnings.clone(), warnings].concat();
    warnings.extend(capacities(&vm, &disks));
    for (id, uuid) in uuids {
        let disk = vm.disks.iter_mut().find(|disk| disk.id == id && disk.uuid.is_none());
        disk.into_iter().for_each(|disk| disk.uuid = Some(uuid.clone()));
    }
    fill_disk_uuids(&mut vm, &disks);
    let nvram = match written_nvram(described, variables, extraction.directory) {
        Ok(written) => written.map(|(nvram, lost)| {
            warnings.extend(lost);
            nvram
        }),
        Err(error) => {
            warnings.push(nvram::missed(chain(&error)));
            None
        }
    };
    Ok(ExportedVm {
        vm,
        method: described.method,
        exported_at: jiff::Timestamp::now(),
        disks,
        media,
        nvram,
        warnings,
    })
}

/// Warnings about disks whose image size differs from the description.
fn capacities(vm: &SourceVm, disks: &[ExportedDisk]) -> Vec<Warning> {
    let differs = |(disk, described): (&ExportedDisk, &SourceDisk)| {
        let differs = described.capacity.0 != 0 && described.capacity != disk.capacity;
        differs.then(|| {
            let text = format!(
                "{} has {} bytes by its image and {} by its description: the size of the image is \
                 used",
                disk.id, disk.capacity.0, described.capacity.0
            );
            Warning::new(Stage::Export, WarningCode::CapacityDiffers, text)
        })
    };
    disks.iter().zip(&vm.disks).filter_map(differs).collect()
}

/// Writes the firmware's variables to `directory`, from the package or from a separate file. Warns
/// of variables that the domain will not get.
fn written_nvram(
    described: &DescribedVm,
    packed: Option<Vec<u8>>,
    directory: &Path,
) -> Result<Option<(ExportedNvram, Option<Warning>)>, Error> {
    let content = match (&described.nvram, packed) {
        (_, Some(content)) => content,
        (Some(Nvram::Beside(path)), None) => nvram::read(path)?,
        (_, None) => return Ok(None),
    };
    Ok(Some((nvram::write(directory, &content)?, nvram::lost(&content))))
}

/// Entry points for `make fuzz`.
#[cfg(fuzzing)]
pub(super) mod fuzzing {
    use std::io::Read;
    use std::path::Path;

    use super::ovf_package::OvfPackage;
    use super::store::Store;
    use super::tar::Tar;
    use crate::budget::{Going, Watched};

    /// Reads all members of an archive.
    pub(in crate::exporter) fn archive(bytes: &[u8]) {
        let mut tar = Tar::new(Watched::new(bytes, &Going::default()));
        while let Ok(Some(_)) = tar.next() {
            if tar.read_to_end(&mut Vec::new()).is_err() {
                return;
            }
        }
    }

    /// Reads a package, and locates the disks of each of its VMs.
    pub(in crate::exporter) fn package(path: &Path) {
        let Ok(Some(store)) = Store::archive(path) else { return };
        for ignore in [true, false] {
            let Ok(package) = OvfPackage::of_archive(store.clone(), ignore) else { continue };
            for vm in package.systems().map(|vm| vm.id.clone()).take(4) {
                package.describe(&FileChoice { vm: Some(vm), ..FileChoice::default() }).ok();
            }
        }
    }

    pub(in crate::exporter) fn ovf(text: &str) {
        super::ovf::read(text).ok();
        super::sums::Sums::read(text).ok();
    }

    pub(in crate::exporter) fn vmx(text: &str) {
        super::vmx::fuzz(text);
    }
}
