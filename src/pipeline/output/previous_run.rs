//! Finds the results of an earlier run in the output directory, and decides which of them the
//! current run reuses.
//!
//! | found in the directory | consequence |
//! |---|---|
//! | no file of hyperexport | new export |
//! | export of another VM | rejected |
//! | export, and `--fresh` | new staged export, which replaces the old one when complete |
//! | export of the VM in another state | rejected, with a hint to `--fresh` and another folder |
//! | export of the VM in its current state | reused if every checksum matches; rest is made |
//! | export made with other flags (`--nic`, `--firmware`, `--new-mac`) | rejected likewise |
//! | export whose manifest has no checksums, or whose files are gone | rejected likewise |
//! | export of a snapshot | reused with a warning; rejected for a start or a proof |
//! | lock file of a killed run, and a manifest | as any other export |
//! | lock file of a killed run alone | its leftovers are removed, new export |
//! | copies that the domain of this folder does not need were deleted | domain is kept |
//! | file with a needed name, of unknown origin | rejected |

use std::path::Path;

use super::super::DOMAIN_XML;
use super::super::stage::stage_error::{At, StageError};
use super::fit::{self, fit};
use super::in_use::InUse;
use super::output_lock::OutputDir;
use super::report::{self, PackageReport, RunReport};
use super::result_file::{read_manifest, read_result};
use super::reuse::{Fit, PreviousConversion, PreviousRun, ReusableExport, ReuseRequest};
use super::stored::Stored;
use super::unfit::{refuse_asked_otherwise, refuse_unfit, unrecorded};
use super::{BOTH_WAYS, converted, file_sums, inherit, journal, ours};
use crate::manifest::{self, Manifest};
use crate::model::{ExportedVm, Stage, Warning, WarningCode};
use crate::progress::Control;

impl PreviousRun {
    /// Names of the files in the output directory that must not be removed.
    pub fn kept_names(&self) -> Vec<String> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Export(kept) => [&kept.names[..], &[DOMAIN_XML.to_owned()]].concat(),
            Self::Replaced(names) => [&names[..], &[DOMAIN_XML.to_owned()]].concat(),
        }
    }
}

impl ReusableExport {
    /// Reads every disk and the firmware's variables again and compares their checksums; disks that
    /// a domain uses are skipped. The converted disks are read in parallel, unless the run keeps a
    /// domain that was made of them.
    ///
    /// # Errors
    /// [`StageError`] naming the file that has changed since its export or conversion.
    pub async fn check_sums(
        &self,
        keeps_domain: bool,
        control: Control<'_>,
    ) -> Result<(), StageError> {
        // A failure on one side stops the other.
        let stop = control.cancel.child_token();
        let _guard = stop.clone().drop_guard();
        let control = Control { cancel: &stop, ..control };
        let converted = async {
            match &self.converted {
                PreviousConversion::Kept(kept) if !keeps_domain => {
                    converted::check_content(&kept.disks, Stage::Export, control).await
                }
                _ => Ok(()),
            }
        };
        tokio::try_join!(self.check_exported(control), converted).map(|_| ())
    }

    async fn check_exported(&self, control: Control<'_>) -> Result<(), StageError> {
        let stopped = |error: manifest::Error| file_sums::stopped(Stage::Export, &error);
        if self.gone || self.disks.is_empty() {
            return Ok(());
        }
        let mut described = self.described();
        described.disks.retain(|disk| self.in_use.by(&disk.local_path).is_none());
        manifest::check_files(&described).map_err(stopped)?;
        manifest::verify_sums(&described, control.progress, control.cancel)
            .await
            .map_err(stopped)?;
        for medium in &self.media {
            file_sums::check(&medium.path, medium.sha256, Stage::Export, control).await?;
        }
        let Some(nvram) = &self.nvram else { return Ok(()) };
        file_sums::check(&nvram.path, nvram.sha256, Stage::Export, control).await
    }

    /// The manifest of the export as it was written, or as it would be.
    pub fn described(&self) -> Manifest {
        let written = self.manifest.clone();
        written.unwrap_or_else(|| {
            let output = self.manifest_path.parent().unwrap_or(Path::new("/"));
            manifest::build(
                &self.exported(),
                &crate::pipeline::build_options::build_options(None, output),
            )
        })
    }

    /// The export as the result of the export stage.
    pub fn exported(&self) -> ExportedVm {
        ExportedVm {
            vm: self.taken.vm.clone(),
            method: self.taken.method,
            exported_at: self.taken.exported_at,
            disks: self.disks.clone(),
            media: self.media.iter().filter(|medium| medium.path.is_file()).cloned().collect(),
            nvram: self.nvram.clone().filter(|nvram| nvram.path.is_file()),
            warnings: Vec::new(),
        }
    }
}

/// Inspects an output directory. Changes nothing.
///
/// # Errors
/// [`StageError`] when an earlier export or a file prevents the run.
pub fn look(ask: &ReuseRequest<'_>) -> Result<PreviousRun, StageError> {
    let leftovers = OutputDir::leftovers(ask.output).at(Stage::Preflight)?;
    let mut result = read_result(&ask.output.join(report::FILE_NAME))?;
    if result.is_none() && !leftovers.is_empty() {
        // A run that was killed after it defined a domain has left a record instead of a result. A
        // run that was killed during the definition has left a journal.
        let recorded = ask.records.first().map(|record| record.report.clone());
        result = recorded.or_else(|| journal::report(ask.output));
    }
    OutputFiles { ask, result, leftovers, in_use: InUse::of(ask.records, ask.output)? }.judge()
}

/// Contents of an output directory.
struct OutputFiles<'a> {
    ask: &'a ReuseRequest<'a>,
    /// Result of the last run; `None` if that run was killed before its end.
    result: Option<RunReport>,
    /// Names of the files that a killed run was about to write.
    leftovers: Vec<String>,
    in_use: InUse,
}

impl OutputFiles<'_> {
    fn judge(self) -> Result<PreviousRun, StageError> {
        let (ask, output, result) = (self.ask, self.ask.output, self.result.as_ref());
        if let Some(result) = result {
            self.same_vm(result.vm_id.as_deref(), &result.vm)?;
        }
        let manifest = self.manifest()?;
        let Some(export) = Stored::of(ask, manifest, result) else { return self.without_export() };
        let names = export.names(ask, result);
        self.refuse_others(&names)?;
        if ask.job.fresh {
            return self.replaced(names);
        }
        if let Some(disk) = &export.lacking {
            let text = format!(
                "{} has no SHA-256 checksum or no size of {disk}",
                output.join(manifest::FILE_NAME).display()
            );
            return Err(incomplete(text));
        }
        refuse_asked_otherwise(ask, &export.taken)?;
        let fit = fit(&export.taken, ask.vm, ask.now);
        refuse_unfit(ask, &export.taken, &fit)?;
        let converted = match result {
            Some(result) => converted::of(ask, &export.disks, result, &self.in_use)?,
            None => PreviousConversion::None,
        };
        let missing: Vec<_> = export.missing().collect();
        let gone = !missing.is_empty() && matches!(converted, PreviousConversion::Kept(_));
        let converted_left = || {
            let converted = result.and_then(|result| result.converted.as_ref());
            converted.iter().flat_map(|disks| &disks.0).any(|disk| disk.path.exists())
        };
        if !gone && missing.len() == export.disks.len() && !missing.is_empty() && !converted_left()
        {
            return self.replaced(names);
        }
        let beside = export.media.iter().map(|medium| &medium.path);
        let beside = beside.chain(export.nvram.iter().map(|nvram| &nvram.path));
        let beside = beside.filter(|path| !path.is_file());
        if let Some(path) = missing.into_iter().chain(beside).next().filter(|_| !gone) {
            let at = fit::time(export.taken.exported_at);
            return Err(incomplete(format!("{} is gone from the export of {at}", path.display())));
        }
        let package = export.package(ask, result)?;
        if export.disks.is_empty() && package.is_none() {
            return self.replaced(names);
        }
        let kept = ReusableExport::new(
            export,
            ReuseState { fit, gone, in_use: self.in_use.clone() },
            converted,
            package,
            names,
        );
        Ok(PreviousRun::Export(Box::new(
            ReusableExport { result: self.result, ..kept }.warned(ask),
        )))
    }

    /// The manifest, if a run of hyperexport wrote it. With `--fresh`, it need not be readable.
    fn manifest(&self) -> Result<Option<Manifest>, StageError> {
        if !self.has_manifest() {
            return Ok(None);
        }
        let manifest = match read_manifest(self.ask.output) {
            Err(_) if self.ask.job.fresh => None,
            read => read?,
        };
        if let (Some(manifest), None) = (&manifest, &self.result) {
            let id = manifest.source.as_ref().and_then(|source| source.vm_id.as_deref());
            self.same_vm(id, manifest.vm_name())?;
        }
        Ok(manifest)
    }

    fn has_manifest(&self) -> bool {
        let is_recorded = self.result.as_ref().is_some_and(|result| result.manifest.is_some());
        is_recorded || self.leftovers.iter().any(|name| name == manifest::FILE_NAME)
    }

    fn same_vm(&self, id: Option<&str>, name: &str) -> Result<(), StageError> {
        if id == Some(self.ask.vm.id.as_str()) {
            return Ok(());
        }
        let text = format!("{} contains an export of {name}", self.ask.output.display());
        let stopped = StageError::because(Stage::Preflight, text, "use another --output");
        Err(stopped.coded("other-vm"))
    }

    /// A directory without a reusable export: with only a result, with the leftovers of a killed
    /// run, or with an unreadable manifest.
    fn without_export(self) -> Result<PreviousRun, StageError> {
        let output = self.ask.output;
        let mut names = ours::names(output, self.result.as_ref());
        let unreadable = self.has_manifest() && ours::is_there(output, manifest::FILE_NAME);
        if unreadable {
            let left = self.leftovers.iter().filter(|name| ours::is_there(output, name));
            names.extend(left.cloned().chain([manifest::FILE_NAME.to_owned()]));
        }
        self.refuse_others(&names)?;
        if self.result.is_none() && !unreadable {
            return Ok(PreviousRun::Nothing);
        }
        self.replaced(names)
    }

    /// Refuses to overwrite a file that the run needs and that hyperexport did not write.
    fn refuse_others(&self, names: &[String]) -> Result<(), StageError> {
        let output = self.ask.output;
        let domain = ours::domain_xml(self.result.as_ref(), self.ask.records);
        let ours: Vec<_> = names.iter().chain(&self.leftovers).chain(&domain).cloned().collect();
        ours::refuse_others(output, self.ask.makes, &ours)
    }

    fn replaced(&self, names: Vec<String>) -> Result<PreviousRun, StageError> {
        let output = self.ask.output;
        names.iter().try_for_each(|name| self.in_use.refuse(&output.join(name), output))?;
        Ok(PreviousRun::Replaced(names))
    }
}

fn incomplete(text: String) -> StageError {
    StageError::because(Stage::Preflight, text, BOTH_WAYS).coded("export-incomplete")
}

/// Relation of an export to its VM, and of its files to domains.
struct ReuseState {
    fit: Fit,
    /// Whether the exported disks are gone and the converted ones suffice.
    gone: bool,
    in_use: InUse,
}

impl ReusableExport {
    fn new(
        stored: Stored,
        ReuseState { fit, gone, in_use }: ReuseState,
        converted: PreviousConversion,
        package: Option<PackageReport>,
        names: Vec<String>,
    ) -> Self {
        let Stored { taken, disks, media, nvram, manifest, manifest_path, .. } = stored;
        Self {
            taken,
            disks,
            media,
            nvram,
            package,
            manifest,
            manifest_path,
            fit,
            gone,
            in_use,
            converted,
            result: None,
            warnings: Vec::new(),
            names,
        }
    }

    /// Adds warnings about the reuse.
    fn warned(mut self, ask: &ReuseRequest<'_>) -> Self {
        let name = &ask.vm.name;
        let mut warn = |code: WarningCode, text: String| {
            self.warnings.push(Warning::new(Stage::Preflight, code, text));
        };
        match &self.fit {
            Fit::Snapshot => {
                let text = fit::of_snapshot(&self.taken, name, ask.now);
                warn(WarningCode::SnapshotExportReused, format!("{text}; --fresh exports again"));
            }
            Fit::Unknown => {
                let at = fit::time(self.taken.exported_at);
                let text = format!(
                    "it is unknown whether {name} ran or was changed since its export of {at}; \
                     --fresh exports again"
                );
                warn(WarningCode::ExportStateUnknown, text);
            }
            Fit::Current | Fit::Changed(_) => {}
        }
        if let PreviousConversion::Kept(kept) = &self.converted
            && let Some(cards) = &kept.cards
        {
            let text = format!(
                "the guest may be fixed for other network cards ({cards}), and is not converted again: \
                 check the names of its network cards"
            );
            warn(WarningCode::GuestNetworkCardsDiffer, text);
        }
        if let Some(flags) = unrecorded(ask, &self.taken) {
            let text = format!(
                "an earlier version of hyperexport made the export and did not record which flags \
                 described the VM ({flags}): the export is reused; --fresh exports again"
            );
            warn(WarningCode::ExportFlagsUnknown, text);
        }
        if let PreviousConversion::Kept(kept) = &self.converted
            && kept.record.is_none()
        {
            let text = "an earlier version of hyperexport converted the disks and did not record \
                        with which flags; they are used as they are";
            warn(WarningCode::ConversionUnrecorded, text.to_owned());
        }
        if let (PreviousConversion::Kept(_), Some(earlier)) = (&self.converted, &self.result) {
            self.warnings.extend(inherit::warnings(earlier));
        }
        self
    }
}
