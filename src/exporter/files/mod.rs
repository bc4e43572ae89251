//! VMs that lie in files: OVA and OVF packages, VMX folders, bare disk images.
//!
//! Whatever comes from a file is foreign: names in it are looked up, never created; an image that
//! names other files of this machine is refused before any tool opens it; nothing is longer than
//! it may be. Images that are whole as they are stay where they are, and only their sums are made;
//! packed ones are taken out of their archive in one pass.

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

/// A source that lies in files.
#[derive(Debug, Clone)]
pub struct Files {
    settings: Arc<FileSettings>,
    found: Arc<FoundSource>,
    /// That it lies deeper than the user said.
    told: Option<Warning>,
    /// Differs when the files have changed.
    revision: String,
}

#[derive(Debug)]
enum FoundSource {
    Package(Box<OvfPackage>),
    Other(Box<DescribedVm>),
}

impl FoundSource {
    /// The VM that is meant, and where its disks are. Blocks.
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
    /// Looks at what lies there, and reads what describes it.
    ///
    /// # Errors
    /// [`Error::Unusable`] when no VM can be taken from there, [`Error::WrongSum`],
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

    /// The VMs that lie there.
    pub fn list(&self) -> Vec<VmSummary> {
        match &*self.found {
            FoundSource::Package(package) => {
                package.systems().map(|vm| VmSummary::of(&self.identified(vm.clone()))).collect()
            }
            FoundSource::Other(described) => vec![VmSummary::of(&self.vm(described))],
        }
    }

    /// Everything about the VM.
    ///
    /// # Errors
    /// [`Error::Unusable`] when it cannot be told which one is meant, or a disk of it cannot be
    /// had.
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

    /// Reads all files that the package has sums of, and compares both. Returns how many there
    /// were; nothing where there are no sums, or they are passed over.
    ///
    /// # Errors
    /// [`Error::WrongSum`] for the first one that differs; [`Error::Unusable`], [`Error::File`],
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

    /// Takes all disks of `vm` into the request's folder, but for those that are whole where they
    /// are: of these the sums are made.
    ///
    /// # Errors
    /// [`Error::Exists`] before anything begins; [`Error::Unusable`] for what is damaged or odd;
    /// [`Error::WrongSum`]; [`Error::Cancelled`]. No file of this run stays then.
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
        // The note belongs to the caller, and the work to a thread that it may not go to.
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

    /// The VM as the user wants it.
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

    /// With an id that tells it from every other: where it lies.
    fn identified(&self, mut vm: SourceVm) -> SourceVm {
        let path = self.settings.path();
        let within = if vm.id.is_empty() { String::new() } else { format!("#{}", vm.id) };
        vm.id = format!("{}{within}", path.display());
        vm
    }
}

/// Takes the disks of `vm` out, and returns the VM as its images show it. Blocks.
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

/// Disks whose images have another size than their description says.
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

/// Writes the firmware's variables to `directory`, from the package or from the file beside it;
/// what they hold that no domain gets is a warning.
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

/// Doors for `make fuzz`.
#[cfg(fuzzing)]
pub(super) mod fuzzing {
    use std::io::Read;
    use std::path::Path;

    use super::ovf_package::OvfPackage;
    use super::store::Store;
    use super::tar::Tar;
    use crate::budget::{Going, Watched};

    /// Walks an archive and reads all of it.
    pub(in crate::exporter) fn archive(bytes: &[u8]) {
        let mut tar = Tar::new(Watched::new(bytes, &Going::default()));
        while let Ok(Some(_)) = tar.next() {
            if tar.read_to_end(&mut Vec::new()).is_err() {
                return;
            }
        }
    }

    /// Looks into a package, and for the disks of each of its VMs.
    pub(in crate::exporter) fn package(path: &Path) {
        let Ok(Some(store)) = Store::archive(path) else { return };
        for ignore in [true, false] {
            let Ok(package) = OvfPackage::of_archive(store.clone(), ignore) else { continue };
            for vm in package.systems().map(|vm| vm.id.clone()).take(4) {
                package.describe(&FileChoice { vm: Some(vm), ..FileChoice::default() }).ok();
            }
        }
    }

    /// Reads a descriptor.
    pub(in crate::exporter) fn ovf(text: &str) {
        super::ovf::read(text).ok();
        super::sums::Sums::read(text).ok();
    }

    /// Reads a VMX.
    pub(in crate::exporter) fn vmx(text: &str) {
        super::vmx::fuzz(text);
    }
}
