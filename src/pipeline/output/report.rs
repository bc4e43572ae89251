//! The report of a run, as `result.json` and `--json` print it.

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

/// The result of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunReport {
    /// Version of hyperexport that wrote the result.
    pub hyperexport_version: String,
    /// How the run ended.
    pub outcome: RunOutcome,
    /// Whether an earlier run had done everything, so that this run changed nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub already_done: bool,
    /// Display name of the VM, or the name on the command line if no VM was found.
    pub vm: String,
    /// The source's id of the VM (vSphere: its moref); `null` until the VM was found.
    #[serde(default)]
    pub vm_id: Option<String>,
    /// Absolute path of the output directory.
    pub output: PathBuf,
    /// Time at which the run began (RFC 3339).
    pub started_at: jiff::Timestamp,
    /// Time at which the run ended (RFC 3339).
    pub finished_at: jiff::Timestamp,
    /// Name of the record in `runs/` of the run that defined the domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The stages of the run, in their order.
    pub stages: Vec<StageReport>,
    /// The export: time and method, and the VM as its source described it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<RecordedExport>,
    /// State of the source VM at the end of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceNow>,
    /// The exported disks: path, size and checksum of each.
    #[serde(default)]
    pub disks: Vec<ExportedDisk>,
    /// The exported ISO images of the CD-ROM drives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<ExportedMedium>,
    /// The exported UEFI variables of the VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvram: Option<ExportedNvram>,
    /// The OVF or OVA package that was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageReport>,
    /// Absolute path of the manifest that was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<PathBuf>,
    /// The converted disks, the boot disk first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converted: Option<ConvertedDisks>,
    /// The operating system that was detected on the disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<GuestFacts>,
    /// Name and version of the converter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converter: Option<String>,
    /// The flags of the conversion, and the state of the converted images at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversion: Option<Conversion>,
    /// Changes of the conversion in the guest, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guest_changes: Vec<String>,
    /// Proof that the converted disks equal the exported disks, except for changes by FIX
    /// (docs/proof.md).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// The domain that was defined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<DefinedDomain>,
    /// The flags of the domain, each with its values; flags with their defaults are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Flags>,
    /// Result of `hyperexport undo` for the domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone: Option<Undone>,
    /// The warnings of the run.
    pub warnings: Vec<Warning>,
    /// The errors of the run, including those of later stages whose failure does not end the run.
    pub errors: Vec<Failure>,
    /// Steps of a dry run, one per line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<String>,
}

/// An OVF or OVA package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PackageReport {
    /// Absolute path of the descriptor (OVF) or the archive (OVA).
    pub path: PathBuf,
    /// Size of that file, in bytes.
    pub size: ByteSize,
    /// SHA-256 checksums of the files that the package added to the output directory, by their
    /// names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sums: BTreeMap<String, Sha256Digest>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// All stages are done.
    Done,
    /// An earlier run had done everything; nothing was changed.
    AlreadyDone,
    /// A stage failed, and the results of other stages remain: the export, converted disks, a
    /// domain.
    Partial,
    /// The run failed; no file that looks finished is left.
    Failed,
    /// The run was rejected before anything changed.
    Refused,
    /// The user interrupted the run.
    Interrupted,
}

/// Failure of a command that is not a run, in the format of a run's result.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FailureReport {
    /// Version of hyperexport that printed the failure.
    pub hyperexport_version: &'static str,
    /// How the command ended.
    pub outcome: RunOutcome,
    /// The VM on the command line; null if it names none.
    pub vm: Option<String>,
    /// Always null: the VM was not found.
    pub vm_id: Option<String>,
    /// Always empty.
    pub warnings: Vec<Warning>,
    /// The failure, as the only entry.
    pub errors: Vec<Failure>,
}

impl FailureReport {
    /// Report of one failure; `vm` is the name on the command line.
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StageReport {
    /// Name of the stage.
    pub stage: Stage,
    /// How the stage ended.
    pub status: StageStatus,
    /// Duration of the stage, in seconds.
    pub seconds: f64,
}

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum StageStatus {
    /// The stage is done.
    Done,
    /// The stage reuses the verified result of an earlier run.
    Kept,
    /// The stage failed: `errors` has the reason.
    Failed,
    /// The stage was not reached, or its input is missing.
    Skipped,
}

/// A failure with its causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Failure {
    /// The stage that failed.
    pub stage: Stage,
    /// The kind of failure, in kebab case. Scripts can match it: codes are not renamed.
    #[serde(default)]
    pub code: String,
    /// The error and its causes as text for people, with `: ` between them.
    pub message: String,
    /// What to run or do next, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the hint names target flags, which `apply` does not have.
    #[serde(skip)]
    pub by_other_flags: bool,
}

impl Failure {
    /// `error` and its causes in one line, with the error's own hint.
    pub fn of(stage: Stage, error: &(impl Hint + 'static)) -> Self {
        Self::new(stage, error, error.hint())
    }

    /// `error` and its causes in one line, with another hint.
    pub fn new(
        stage: Stage,
        error: &(dyn std::error::Error + 'static),
        hint: Option<String>,
    ) -> Self {
        let by_other_flags = is_by_other_flags(error);
        Self { stage, code: code_of(error), message: chain(error), hint, by_other_flags }
    }
}

/// Whether a libvirt error in the chain says that other target flags would help.
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
    /// Report of a run that has not done anything yet. Its outcome is `failed` until
    /// [`Self::finish`].
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

    /// Replaces the path of every file that a run has written to its output directory.
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

    /// The report of a run whose output directory is now `folder`: the directory may have been
    /// moved since. Paths that libvirt knows stay unchanged.
    #[must_use]
    pub fn moved_to(mut self, folder: &Path) -> Self {
        let moved = manifest::Moved::new(Some(&self.output), folder);
        if moved.is_known() {
            self.each_path(|path| moved.now(path));
            folder.clone_into(&mut self.output);
        }
        self
    }

    /// Records how a stage ended.
    pub fn stage(&mut self, stage: Stage, status: StageStatus, took: Duration) {
        // Milliseconds are enough for people and stable for a diff.
        let seconds = (took.as_secs_f64() * 1000.0).round() / 1000.0;
        self.stages.push(StageReport { stage, status, seconds });
    }

    /// Sets the outcome and the end time of the run.
    pub fn finish(mut self, outcome: RunOutcome) -> Self {
        self.outcome = outcome;
        self.finished_at = jiff::Timestamp::now();
        self
    }
}
