//! The selected VM of a package, with the location of its disks.

use super::OvfPackage;
use super::members::Members;
use super::packaged_vm::{OvfDisk, OvfMedium, PackagedVm};
use crate::exporter::files::file_settings::FileChoice;
use crate::exporter::files::store::Store;
use crate::exporter::files::vm_files::{DescribedVm, DiskBytes, Nvram, WantedDisk};
use crate::exporter::{Error, nvram};
use crate::model::{DiskFormat, DiskId, Stage, Warning, WarningCode, chain};

/// Maximum number of exported CD-ROM images: an AHCI controller has six ports.
const MOST_MEDIA: usize = 4;

impl OvfPackage {
    /// The selected VM, with the location of its disks. Blocks.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the VM is ambiguous, or a disk cannot be read.
    pub(in crate::exporter::files) fn describe(
        &self,
        choice: &FileChoice,
    ) -> Result<DescribedVm, Error> {
        let system = self.choose(choice.vm.as_deref())?;
        if system.odd_cpu && choice.cpu.is_none() {
            let reason = "its number of CPUs makes no sense: say it by --cpu";
            return Err(self.store.unusable(reason));
        }
        if system.disks.is_empty() {
            let unused = match self.unused.as_slice() {
                [] => String::new(),
                names => format!("; nothing in its hardware uses {}", names.join(", ")),
            };
            return Err(self.store.unusable(format!("its VM has no disk{unused}")));
        }
        if let Some(missing) = &self.missing {
            return Err(self.store.unusable(missing.clone()));
        }
        let members = Members::of(&self.store, &self.prefix)?;
        let disks = system.vm.disks.iter().zip(&system.disks);
        let disks: Result<Vec<_>, Error> = disks
            .map(|(disk, file)| self.wanted(&members, disk.id.clone(), file, choice.format))
            .collect();
        let disks = disks?;
        let mut warnings = [self.warnings(), system.warnings.clone()].concat();
        let nvram = self.variables(&members, system, &mut warnings);
        let media = self.media(&members, system, &mut warnings);
        let mut vm = system.vm.clone();
        for (disk, wanted) in vm.disks.iter_mut().zip(&disks) {
            disk.uuid = wanted.uuid();
        }
        Ok(DescribedVm {
            vm,
            tells_nics: true,
            disks,
            media,
            warnings,
            method: self.method,
            store: Some(self.store.clone()),
            prefix: self.prefix.clone(),
            sums: self.sums.clone(),
            nvram: nvram.map(Nvram::Member),
        })
    }

    fn wanted(
        &self,
        members: &Members<'_>,
        id: DiskId,
        file: &OvfDisk,
        told: Option<DiskFormat>,
    ) -> Result<WantedDisk, Error> {
        let names = self.names(members, file)?;
        let format = match &file.href {
            None => DiskFormat::Qcow2,
            Some(_) if file.of_ovirt && told.is_none() => of_ovirt(members, &names)?,
            Some(href) => {
                let unknown = || Error::UnknownFormat { path: self.store.path().join(href) };
                told.or(file.format).ok_or_else(unknown)?
            }
        };
        let content = self.content(names, file.gzip, format)?;
        let wanted = WantedDisk::disk(id, format, file.capacity, content);
        Ok(WantedDisk { stored: file.size, least: least(members, &wanted), ..wanted })
    }

    /// The files of a disk.
    fn names(&self, members: &Members<'_>, file: &OvfDisk) -> Result<Vec<String>, Error> {
        match (&file.href, file.chunks) {
            (Some(href), None) => members.find_or_chunks(href),
            _ => file.hrefs().map(|href| members.find(&href)).collect(),
        }
    }

    fn content(
        &self,
        names: Vec<String>,
        gzip: bool,
        format: DiskFormat,
    ) -> Result<DiskBytes, Error> {
        Ok(match (&self.store, names.as_slice()) {
            (_, []) => DiskBytes::Empty,
            (Store::Folder(folder), [only]) if !gzip => {
                DiskBytes::of_image(&folder.join(only), format)?
            }
            _ => DiskBytes::Packed { members: names, gzip },
        })
    }

    /// The file of the UEFI variables, if it exists. The VM starts without it.
    fn variables(
        &self,
        members: &Members<'_>,
        system: &PackagedVm,
        warnings: &mut Vec<Warning>,
    ) -> Option<String> {
        let found = members.find(system.nvram.as_ref()?);
        found.inspect_err(|error| warnings.push(nvram::missed(chain(error)))).ok()
    }

    /// Images of the VM's CD-ROM drives that the package contains. The VM starts without them,
    /// unless it boots from one.
    fn media(
        &self,
        members: &Members<'_>,
        system: &PackagedVm,
        warnings: &mut Vec<Warning>,
    ) -> Vec<WantedDisk> {
        let mut media: Vec<WantedDisk> = Vec::new();
        for medium in &system.media {
            if media.len() == MOST_MEDIA {
                let why = format!("a domain gets {MOST_MEDIA} of them at most");
                warnings.push(not_taken(&medium.href, why));
                continue;
            }
            match self.medium(members, medium, media.len()) {
                // If two drives refer to one image, it is exported once.
                Ok(found) if media.iter().any(|known| known.content == found.content) => {}
                Ok(found) => media.push(found),
                Err(why) => warnings.push(not_taken(&medium.href, chain(&why))),
            }
        }
        media
    }

    fn medium(
        &self,
        members: &Members<'_>,
        medium: &OvfMedium,
        index: usize,
    ) -> Result<WantedDisk, Error> {
        let id = DiskId::of_medium(index);
        let names = vec![members.find(&medium.href)?];
        let content = self.content(names, medium.gzip, DiskFormat::Raw)?;
        let wanted = WantedDisk::medium(id, content);
        Ok(WantedDisk { least: least(members, &wanted), ..wanted })
    }

    /// Warnings about the package.
    fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if !self.unused.is_empty() {
            let text = format!(
                "the package contains {}, which the hardware of no VM in it uses: not exported",
                self.unused.join(", ")
            );
            warnings.push(Warning::new(Stage::Export, WarningCode::DiskNotUsed, text));
        }
        if self.unchecked {
            let text = "the package was not compared with its checksums (--ignore-checksums): whether \
                        its disks are damaged is not known";
            warnings.push(Warning::new(Stage::Export, WarningCode::ChecksumsIgnored, text));
        }
        let unused = self.unused_media.iter();
        let why = "no CD-ROM drive of a VM in the package names it";
        warnings.extend(unused.map(|href| not_taken(href, why)));
        warnings
    }

    /// The VM of that id or name; without either, the only VM.
    fn choose(&self, vm: Option<&str>) -> Result<&PackagedVm, Error> {
        let all = || self.systems.iter();
        let by_id = all().find(|one| vm == Some(one.vm.id.as_str()));
        let mut meant = all().filter(|one| vm.is_none_or(|name| one.vm.name == name));
        match (by_id, meant.next(), meant.next()) {
            (Some(one), ..) | (None, Some(one), None) => Ok(one),
            _ => Err(Error::WhichVm {
                path: self.store.path().to_owned(),
                names: all().map(|one| self.call(one)).collect(),
            }),
        }
    }

    /// Name of a VM in a list, with its id if another VM has the same name.
    fn call(&self, system: &PackagedVm) -> String {
        let name = &system.vm.name;
        let same = self.systems().filter(|vm| vm.name == *name).count();
        match same {
            0 | 1 => format!("'{name}'"),
            _ => format!("'{name}' (id '{}')", system.vm.id),
        }
    }
}

/// The format of an image that oVirt packed. oVirt's descriptor states the format of the volume.
/// Its archives always contain qcow2, while a directory of its storage contains the volumes
/// themselves.
fn of_ovirt(members: &Members<'_>, names: &[String]) -> Result<DiskFormat, Error> {
    let starts = members.starts(names)?;
    Ok(match names.first().and_then(|name| starts.get(name)) {
        Some(b"QFI\xfb") => DiskFormat::Qcow2,
        Some(b"KDMV") => DiskFormat::Vmdk,
        Some(_) => DiskFormat::Raw,
        None => DiskFormat::Qcow2,
    })
}

/// Minimum number of bytes that the export of an unconverted disk writes, as far as the store lists
/// them.
fn least(members: &Members<'_>, wanted: &WantedDisk) -> u64 {
    match wanted.is_compressed() {
        true => 0,
        false => {
            let sizes = wanted.members().filter_map(|name| members.size(name));
            sizes.fold(0, u64::saturating_add)
        }
    }
}

/// Warning about a CD-ROM image that is not exported, with the reason `why`.
pub(in crate::exporter::files) fn not_taken(href: &str, why: impl std::fmt::Display) -> Warning {
    let text = format!(
        "the CD-ROM image '{href}' of the package was not exported: {why}; if the guest starts or \
         installs from it, attach it with `virsh change-media` after the import"
    );
    Warning::new(Stage::Export, WarningCode::IsoNotTaken, text)
}
