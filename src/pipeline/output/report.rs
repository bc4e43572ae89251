//! What a run did, as `result.json` and `--json` tell it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::stage::asked::Flags;
use super::code::code_of;
use super::made::{Conversion, RecordedExport, SourceNow, Undone};
use crate::libvirt::{self, DefinedDomain};
use crate::manifest;
use crate::model::{
    ByteSize, ConvertedDisks, ExportedDisk, ExportedMedium, ExportedNvram, GuestFacts, Hint, Proof,
    Sha256Digest, Stage, Warning, chain,
};

/// File name of a run's report in its output directory.
pub const FILE_NAME: &str = "result.json";

/// The whole result of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunReport {
    /// Version of hyperexport that wrote it.
    pub hyperexport_version: String,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Whether everything that was asked for was there already, so that nothing was done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub already_done: bool,
    /// Display name of the VM, or what was asked for if it was not found.
    pub vm: String,
    /// The source's id of the VM (vSphere: its moref); `null` until the VM was found.
    #[serde(default)]
    pub vm_id: Option<String>,
    /// Absolute path of the output directory.
    pub output: PathBuf,
    /// When it began.
    pub started_at: jiff::Timestamp,
    /// When it ended.
    pub finished_at: jiff::Timestamp,
    /// Name of the record in `runs/` of the run that defined the domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The stages that ran or were to run, in their order.
    pub stages: Vec<StageReport>,
    /// What was exported, and in which state of its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<RecordedExport>,
    /// The source VM as this run left it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceNow>,
    /// The exported disks.
    #[serde(default)]
    pub disks: Vec<ExportedDisk>,
    /// What lies in its CD-ROM drives, as far as it was exported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<ExportedMedium>,
    /// The variables of the source's EFI firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvram: Option<ExportedNvram>,
    /// The OVF or OVA, if one was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageReport>,
    /// The manifest, if it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<PathBuf>,
    /// The converted disks, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converted: Option<ConvertedDisks>,
    /// What the disks say of the guest, once they were looked into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<GuestFacts>,
    /// Which converter made them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converter: Option<String>,
    /// What was asked of the converter, and what came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversion: Option<Conversion>,
    /// What was changed in the guest, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guest_changes: Vec<String>,
    /// What shows that the converted disks hold what was exported, but for what FIX changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// The domain, if it was defined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<DefinedDomain>,
    /// What was asked of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Flags>,
    /// What `undo` has made of it since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone: Option<Undone>,
    /// What went less than well.
    pub warnings: Vec<Warning>,
    /// What failed; a failed later stage stands here although the run goes on.
    pub errors: Vec<Failure>,
    /// What a dry run would have done, line by line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<String>,
}

/// An OVF package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageReport {
    /// Absolute path of its descriptor or archive.
    pub path: PathBuf,
    /// Size of that file.
    pub size: ByteSize,
    /// SHA-256 checksums of the files that it added to the disks, by their names in the folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sums: BTreeMap<String, Sha256Digest>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Everything asked for was done.
    Done,
    /// Everything asked for was there already, so that nothing was done.
    AlreadyDone,
    /// A stage failed, and what others made stands: the export, converted disks, a domain.
    Partial,
    /// The run failed; nothing that looks finished is left.
    Failed,
    /// The run was refused before anything changed.
    Refused,
    /// The user interrupted it.
    Interrupted,
}

/// What `--json` prints of a command that failed and is no run, in the words of a run's report.
#[derive(Debug, Clone, Serialize)]
pub struct FailureReport {
    /// Version of hyperexport.
    pub hyperexport_version: &'static str,
    /// How the command ended.
    pub outcome: RunOutcome,
    /// The VM that was asked for, if one was.
    pub vm: Option<String>,
    /// The source's id of the VM; always `null`, since it was not found or not asked for.
    pub vm_id: Option<String>,
    /// What went less than well.
    pub warnings: Vec<Warning>,
    /// What failed.
    pub errors: Vec<Failure>,
}

impl FailureReport {
    /// The report of one failure.
    pub fn new(outcome: RunOutcome, vm: Option<&str>, failure: Failure) -> Self {
        Self {
            hyperexport_version: env!("CARGO_PKG_VERSION"),
            outcome,
            vm: vm.map(str::to_owned),
            vm_id: None,
            warnings: Vec::new(),
            errors: vec![failure],
        }
    }
}

/// One stage of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StageReport {
    /// Which.
    pub stage: Stage,
    /// How it ended.
    pub status: StageStatus,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageStatus {
    /// Well.
    Done,
    /// Its result of an earlier run was found whole and kept.
    Kept,
    /// Not well.
    Failed,
    /// It was not reached, or its input was missing.
    Skipped,
}

/// A failure with its causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Where.
    pub stage: Stage,
    /// What kind of failure it is: stable and short, in kebab case.
    #[serde(default)]
    pub code: String,
    /// The error and its causes, `: ` between them.
    pub message: String,
    /// What to type next, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the way out are other flags of the target, which `apply` does not have.
    #[serde(skip)]
    pub by_other_flags: bool,
}

impl Failure {
    /// The whole chain of `error` in one line, with its own hint.
    pub fn of(stage: Stage, error: &(impl Hint + 'static)) -> Self {
        Self::new(stage, error, error.hint())
    }

    /// The whole chain of `error` in one line, with another hint than its own.
    pub fn new(
        stage: Stage,
        error: &(dyn std::error::Error + 'static),
        hint: Option<String>,
    ) -> Self {
        let by_other_flags = is_by_other_flags(error);
        Self { stage, code: code_of(error), message: chain(error), hint, by_other_flags }
    }
}

/// What the error of the target says about itself, whatever carries it along.
fn is_by_other_flags(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<libvirt::Error>() {
            return error.is_by_other_flags();
        }
        next = error.source();
    }
    false
}

impl RunReport {
    /// The report of a run that has done nothing yet.
    pub fn begin(vm: &str, output: &Path) -> Self {
        let now = jiff::Timestamp::now();
        Self {
            hyperexport_version: env!("CARGO_PKG_VERSION").to_owned(),
            outcome: RunOutcome::Failed,
            already_done: false,
            vm: vm.to_owned(),
            vm_id: None,
            output: output.to_owned(),
            started_at: now,
            finished_at: now,
            run: None,
            stages: Vec::new(),
            export: None,
            source: None,
            disks: Vec::new(),
            media: Vec::new(),
            nvram: None,
            package: None,
            manifest: None,
            converted: None,
            guest: None,
            converter: None,
            conversion: None,
            guest_changes: Vec::new(),
            proof: None,
            domain: None,
            target: None,
            undone: None,
            warnings: Vec::new(),
            errors: Vec::new(),
            plan: Vec::new(),
        }
    }

    /// Replaces the path of every file that a run made in its output directory.
    pub fn each_path(&mut self, place: impl Fn(&Path) -> PathBuf) {
        let disks = self.disks.iter_mut().map(|disk| &mut disk.path);
        let converted = self.converted.iter_mut().flat_map(|disks| &mut disks.0);
        let stamps = self.conversion.iter_mut().flat_map(|record| &mut record.images);
        let paths = disks
            .chain(converted.map(|disk| &mut disk.path))
            .chain(stamps.map(|stamp| &mut stamp.path))
            .chain(self.media.iter_mut().map(|medium| &mut medium.path))
            .chain(self.nvram.iter_mut().map(|nvram| &mut nvram.path))
            .chain(self.package.iter_mut().map(|package| &mut package.path))
            .chain(&mut self.manifest);
        for path in paths {
            *path = place(path);
        }
    }

    /// The report of a run whose output directory is `folder` now: it may have been moved since. What
    /// libvirt was told of files stays as it is.
    #[must_use]
    pub fn moved_to(mut self, folder: &Path) -> Self {
        let moved = manifest::Moved::new(Some(&self.output), folder);
        if moved.is_known() {
            self.each_path(|path| moved.now(path));
            folder.clone_into(&mut self.output);
        }
        self
    }

    /// Notes how a stage ended.
    pub fn stage(&mut self, stage: Stage, status: StageStatus, took: Duration) {
        // Milliseconds are enough for a person and stable for a diff.
        let seconds = (took.as_secs_f64() * 1000.0).round() / 1000.0;
        self.stages.push(StageReport { stage, status, seconds });
    }

    /// Ends the report.
    pub fn finish(mut self, outcome: RunOutcome) -> Self {
        self.outcome = outcome;
        self.finished_at = jiff::Timestamp::now();
        self
    }
}
