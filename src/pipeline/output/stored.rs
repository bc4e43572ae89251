//! An export as the files of an output directory describe it: its manifest, and the result of its
//! run.

use std::path::{Path, PathBuf};

use super::super::job::{Job, real};
use super::super::stage::asked::Flags;
use super::super::stage::stage_error::StageError;
use super::made::RecordedExport;
use super::report::{self, PackageReport, RunReport};
use super::result_file::{LOCAL, read_result};
use super::reuse::ReuseRequest;
use super::{BOTH_WAYS, ours};
use crate::exporter::PackageFormat;
use crate::manifest::{self, Manifest};
use crate::model::{
    ConvertedDisks, DiskId, ExportMethod, ExportedDisk, ExportedMedium, ExportedNvram, PowerState,
    SourceVm, Stage,
};

/// An export in an output directory.
pub(in crate::pipeline) struct Stored {
    pub taken: RecordedExport,
    pub disks: Vec<ExportedDisk>,
    pub media: Vec<ExportedMedium>,
    pub nvram: Option<ExportedNvram>,
    pub manifest: Option<Manifest>,
    pub manifest_path: PathBuf,
    /// First disk without a checksum or size in the manifest: the export cannot be verified.
    pub lacking: Option<DiskId>,
    /// Files of all disks and media that the export has written.
    made: Vec<PathBuf>,
}

impl Stored {
    /// Reads the export from its manifest and its result; `None` if neither describes one.
    pub fn of(
        ask: &ReuseRequest<'_>,
        manifest: Option<Manifest>,
        result: Option<&RunReport>,
    ) -> Option<Self> {
        let recorded = result.and_then(|result| result.export.clone());
        let manifest_path = ask.output.join(manifest::FILE_NAME);
        if let Some(manifest) = manifest {
            let described = described(&manifest, ask.vm);
            // The record has the VM as its source described it.
            let same = |taken: &RecordedExport| taken.exported_at == described.exported_at;
            let taken = recorded.filter(same).unwrap_or(described);
            let exported = |disk| exported_disk(&manifest, disk);
            let disks: Vec<_> = manifest.disks.iter().filter_map(exported).collect();
            let lacking = manifest.disks.iter().find(|disk| exported(disk).is_none());
            let lacking = lacking.map(|disk| disk.id.clone());
            let all = manifest.disks.iter().map(|disk| {
                let received = manifest.received(&disk.id).is_some();
                (&disk.local_path, received)
            });
            let media = manifest.media().to_vec();
            let made = made(all.chain(media.iter().map(|medium| (&medium.path, false))), ask);
            let nvram = manifest.nvram().cloned();
            let manifest = Some(manifest);
            return Some(Self {
                taken,
                disks,
                media,
                nvram,
                manifest,
                manifest_path,
                lacking,
                made,
            });
        }
        let result = result?;
        if result.disks.is_empty() && result.package.is_none() {
            return None;
        }
        let taken = recorded.unwrap_or_else(|| RecordedExport {
            exported_at: result.finished_at,
            method: method_of(ask.vm),
            compression: None,
            state: None,
            vm: SourceVm { power: PowerState::Off, ..ask.vm.clone() },
        });
        let (disks, media) = (result.disks.clone(), result.media.clone());
        let nvram = result.nvram.clone();
        let all = disks.iter().map(|disk| (&disk.path, disk.received.is_some()));
        let made = made(all.chain(media.iter().map(|medium| (&medium.path, false))), ask);
        let (manifest, lacking) = (None, None);
        Some(Self { taken, disks, media, nvram, manifest, manifest_path, lacking, made })
    }

    /// Disks whose files are gone.
    pub fn missing(&self) -> impl Iterator<Item = &PathBuf> {
        self.disks.iter().map(|disk| &disk.path).filter(|path| !path.is_file())
    }

    /// Names of all files of hyperexport in the output directory, of any stage. The records of
    /// domains are not part of an export.
    pub fn names(&self, ask: &ReuseRequest<'_>, result: Option<&RunReport>) -> Vec<String> {
        let output = real(ask.output);
        // A manifest that a run wrote belongs to hyperexport even if it is unreadable by now.
        let written = result.is_some_and(|result| result.manifest.is_some());
        let of_manifest = self.manifest.is_some() || written;
        let converted = result.filter(|result| ours::has_converted(result));
        let converted = converted.and_then(|result| result.converted.as_ref());
        let package = result.and_then(|result| result.package.as_ref());
        let is_ovf =
            |package: &&PackageReport| package.path.extension().is_some_and(|e| e == "ovf");
        let sums = package.filter(is_ovf).map(|package| package.path.with_extension("mf"));
        let paths = self
            .made
            .iter()
            .chain(converted.iter().flat_map(|disks| &disks.0).map(|disk| &disk.path))
            .chain(self.nvram.iter().map(|nvram| &nvram.path))
            .chain(package.map(|package| &package.path))
            .chain(&sums)
            .filter(|path| path.parent().is_some_and(|folder| real(folder) == output));
        let mut names: Vec<_> = paths
            .filter_map(|path| path.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .chain(ours::names(ask.output, result))
            .chain(of_manifest.then(|| manifest::FILE_NAME.to_owned()))
            .filter(|name| ours::is_there(ask.output, name))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The existing package, if it matches the requested format or the requested one can still be
    /// written.
    pub fn package(
        &self,
        ask: &ReuseRequest<'_>,
        result: Option<&RunReport>,
    ) -> Result<Option<PackageReport>, StageError> {
        let there = |package: &&PackageReport| package.path.is_file();
        let package = result.and_then(|result| result.package.as_ref()).filter(there).cloned();
        let is_ova = |package: &PackageReport| package.path.extension().is_some_and(|e| e == "ova");
        let packed = package.as_ref().filter(|package| is_ova(package));
        match (packed, ask.job.format) {
            (Some(package), PackageFormat::Disks | PackageFormat::Ovf) => {
                let path = package.path.display();
                let hint = format!("pass that file: --source {path}; or {BOTH_WAYS}");
                let text = format!("the disks of the export are packed in {path}");
                Err(StageError::because(Stage::Preflight, text, hint).coded("export-packed"))
            }
            (None, PackageFormat::Ova) if self.manifest.is_some() => {
                let text = format!(
                    "--format ova packs the disks and removes them, and {} names them",
                    self.manifest_path.display()
                );
                Err(StageError::because(Stage::Preflight, text, BOTH_WAYS).coded("export-named"))
            }
            _ => Ok(package),
        }
    }
}

/// Files of disks that the export has written. `disks` yields each disk's file, and whether it was
/// converted during the download. Disks in files may be used in place: such a file belongs to the
/// user, wherever it is.
fn made<'a>(
    disks: impl Iterator<Item = (&'a PathBuf, bool)>,
    ask: &ReuseRequest<'_>,
) -> Vec<PathBuf> {
    let is_made = |(path, received): &(&PathBuf, bool)| {
        // With other flags, the same disk may have a file of another format.
        let is_listed =
            ask.exports.iter().any(|made| path.file_stem() == Path::new(&made.name).file_stem());
        ask.vm.provider != LOCAL || *received || is_listed
    };
    disks.filter(is_made).map(|(path, _)| path.clone()).collect()
}

/// Record of an export, reconstructed from its manifest.
pub(in crate::pipeline) fn described(manifest: &Manifest, vm: &SourceVm) -> RecordedExport {
    let source = manifest.source.as_ref();
    let text = |pick: fn(&manifest::ManifestSource) -> Option<&String>| source.and_then(pick);
    let exported_at = text(|source| source.export_timestamp.as_ref());
    let method = text(|source| source.export_method.as_ref());
    let method = method.and_then(|text| serde_json::from_value(text.as_str().into()).ok());
    RecordedExport {
        exported_at: exported_at.and_then(|text| text.parse().ok()).unwrap_or_default(),
        method: method.unwrap_or_else(|| method_of(vm)),
        compression: None,
        state: manifest.state().cloned(),
        vm: manifest.source_vm(),
    }
}

/// Method of an export that has no record.
fn method_of(vm: &SourceVm) -> ExportMethod {
    if vm.provider == "vsphere" { ExportMethod::NfcLease } else { ExportMethod::Disk }
}

/// The complete conversion that an earlier run reported for the VM of `manifest`, if its files
/// exist.
pub fn converted(output: &Path, manifest: &Manifest) -> Option<ConvertedDisks> {
    let result = read_result(&output.join(report::FILE_NAME)).ok().flatten()?;
    let id = manifest.source.as_ref().and_then(|source| source.vm_id.as_ref());
    let converted = result.converted.filter(|_| result.vm_id.as_ref() == id)?;
    converted.0.iter().all(|disk| disk.path.is_file()).then_some(converted)
}

/// The VM as it was exported into `output`, if its network cards keep the addresses of that export.
pub(in crate::pipeline) fn exported_vm(
    job: &Job,
    vm: &SourceVm,
    output: &Path,
) -> Option<SourceVm> {
    let taken = read_result(&output.join(report::FILE_NAME)).ok().flatten()?.export?;
    let then = taken.state.as_ref().and_then(|state| state.asked.as_ref());
    let asked = Flags::of_export(job, &vm.name);
    let asked = asked.0.get(Flags::NEW_MAC);
    let same = then.and_then(|then| then.get(Flags::NEW_MAC)) == asked;
    (same && !job.fresh && taken.vm.id == vm.id).then_some(taken.vm)
}

/// The exported disks of a manifest; `None` if a size or checksum is missing.
pub fn exported_disks(manifest: &Manifest) -> Option<Vec<ExportedDisk>> {
    manifest.disks.iter().map(|disk| exported_disk(manifest, disk)).collect()
}

fn exported_disk(manifest: &Manifest, disk: &manifest::Disk) -> Option<ExportedDisk> {
    Some(ExportedDisk {
        id: disk.id.clone(),
        path: disk.local_path.clone(),
        format: disk.source_format,
        file_size: crate::model::ByteSize(disk.bytes),
        capacity: manifest.capacity(disk)?,
        sha256: disk.checksum?,
        content: manifest.content(&disk.id),
        received: manifest.received(&disk.id).cloned(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::result_file::RECORDS;
    use super::*;
    use crate::model::{ByteSize, DiskFormat, Sha256Digest};

    #[test]
    fn results_and_records_name_files_where_their_folder_is() {
        let dir = tempfile::tempdir().expect("a folder");
        // Also for an output directory that has the name of the records' folder.
        for name in ["moved", RECORDS] {
            let output = dir.path().join(name);
            fs::create_dir_all(output.join(RECORDS)).expect("made");
            let mut report = RunReport::begin("web01", Path::new("/no/such/export"));
            let disk = |path: &str| ExportedDisk {
                id: DiskId::from_index(0),
                path: path.into(),
                format: DiskFormat::Raw,
                file_size: ByteSize(1),
                capacity: ByteSize(1),
                sha256: Sha256Digest([0; 32]),
                content: None,
                received: None,
            };
            report.disks = vec![disk("/no/such/export/disk-0.raw"), disk("/srv/own.raw")];
            let text = serde_json::to_vec(&report).expect("JSON");
            for file in [report::FILE_NAME, "runs/20261126T000000Z.json"] {
                let path = output.join(file);
                fs::write(&path, &text).expect("written");
                let read = read_result(&path).unwrap_or_else(|_| panic!("readable")).expect("one");
                assert_eq!(read.output, output, "{file}");
                assert_eq!(read.disks[0].path, output.join("disk-0.raw"), "{file}");
                assert_eq!(read.disks[1].path, Path::new("/srv/own.raw"), "{file}");
            }
        }
    }
}
