//! Results of preflight for a run that has passed it.

use std::cell::{OnceCell, RefCell};
use std::path::{Path, PathBuf};

use crate::convert;
use crate::exporter::{ExpectedMedium, Streaming};
use crate::libvirt::Preview;
use crate::model::{DiskId, ExportFile, SourceState, SourceVm, Warning, chain};
use crate::pipeline::job::Job;
use crate::pipeline::output::records::Record;
use crate::pipeline::output::reuse::{KeptDomain, PreviousRun};

/// A run that may start; the source is kept separately.
pub struct ReadyRun {
    /// The VM as it was inspected, completed for the stages.
    pub vm: SourceVm,
    /// State of the VM at its inspection.
    pub state: SourceState,
    /// Absolute path of the output directory.
    pub output: PathBuf,
    /// Files that the export will write to the output directory.
    pub exports: Vec<ExportFile>,
    /// Whether each disk is converted during the download.
    pub streaming: Vec<(DiskId, Streaming)>,
    /// Images in the VM's CD-ROM drives that will be exported.
    pub media: Vec<ExpectedMedium>,
    /// Names of all files that the run will write to the output directory.
    pub makes: Vec<String>,
    /// Names of hyperexport's snapshots that the VM has.
    pub snapshots: Vec<String>,
    /// Results of an earlier run in the output directory.
    pub earlier: PreviousRun,
    /// Domain that exists already and is kept.
    pub domain: Option<KeptDomain>,
    /// Preview of the domain, if the target could be asked and has no domain yet.
    pub preview: Option<Preview>,
    /// Paths of volumes of a domain that is gone: they are removed before the run starts.
    pub going: Vec<String>,
    /// Records of the runs of the output directory that defined a domain, the newest first.
    pub records: Vec<Record>,
    /// Steps that precede all others, for the plan of a dry run.
    pub first: Vec<String>,
    /// Whether VMware Tools are running in the guest, if that is known.
    pub tools: Option<bool>,
    /// Warnings of preflight.
    pub warnings: Vec<Warning>,
}

/// Facts and warnings of a run that may still be rejected.
#[derive(Default)]
pub struct RunDetails {
    /// Name and id of the VM, once it was found.
    pub found: OnceCell<(String, String)>,
    warnings: RefCell<Vec<Warning>>,
}

impl RunDetails {
    /// Adds warnings, which stay if the run is rejected.
    pub fn warn_all(&self, warnings: Vec<Warning>) {
        self.warnings.borrow_mut().extend(warnings);
    }

    /// Removes and returns the warnings, in order.
    pub fn warnings(&self) -> Vec<Warning> {
        self.warnings.take()
    }
}

/// Path of the cloud-init seed, if one is requested.
pub fn seed(job: &Job, vm: &SourceVm, output: &Path) -> Option<PathBuf> {
    job.conversion.as_ref()?.cloud_init.as_ref()?;
    Some(convert::seed_path(&vm.name, output))
}

pub fn with_hint(error: &dyn std::error::Error, hint: Option<String>) -> String {
    let text = chain(error);
    hint.map_or_else(|| text.clone(), |hint| format!("{text} ({hint})"))
}
