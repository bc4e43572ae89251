//! A run that passed preflight, and what preflight reported.

use std::cell::{OnceCell, RefCell};
use std::path::{Path, PathBuf};

use crate::convert;
use crate::exporter::{ExpectedMedium, Streaming};
use crate::libvirt::Preview;
use crate::model::{DiskId, ExportFile, SourceState, SourceVm, Warning, chain};
use crate::pipeline::job::Job;
use crate::pipeline::output::records::Record;
use crate::pipeline::output::reuse::{KeptDomain, PreviousRun};

/// A run that may begin, but for its source.
pub struct ReadyRun {
    /// The VM as it is now.
    pub vm: SourceVm,
    /// In which state it is.
    pub state: SourceState,
    /// Absolute path of the output directory.
    pub output: PathBuf,
    /// The files that the export will make there.
    pub exports: Vec<ExportFile>,
    /// Whether its disks are converted while they leave the source.
    pub streaming: Vec<(DiskId, Streaming)>,
    /// What lies in the VM's CD-ROM drives, where it is exported.
    pub media: Vec<ExpectedMedium>,
    /// Names of all files that the run will make there.
    pub makes: Vec<String>,
    /// Names of the snapshots of our kind that the VM has.
    pub snapshots: Vec<String>,
    /// What there is to build on.
    pub earlier: PreviousRun,
    /// The domain that is there already.
    pub domain: Option<KeptDomain>,
    /// What the target would make, where it could be asked and nothing is there.
    pub preview: Option<Preview>,
    /// Paths of volumes that a domain left which is gone: they are removed before the run begins.
    pub going: Vec<String>,
    /// The runs of the output directory that defined a domain, the newest first.
    pub records: Vec<Record>,
    /// What a run would do before anything else, for the plan of a dry run.
    pub first: Vec<String>,
    /// Whether VMware Tools run in the guest, where that is known.
    pub tools: Option<bool>,
    /// What is less than well.
    pub warnings: Vec<Warning>,
}

/// What is known of a run although it may be refused.
#[derive(Default)]
pub struct RunDetails {
    /// Name and id of the VM.
    pub found: OnceCell<(String, String)>,
    warnings: RefCell<Vec<Warning>>,
}

impl RunDetails {
    /// Adds warnings.
    pub fn warn_all(&self, warnings: Vec<Warning>) {
        self.warnings.borrow_mut().extend(warnings);
    }

    /// The warnings, in their order.
    pub fn warnings(&self) -> Vec<Warning> {
        self.warnings.take()
    }
}

/// Where the seed of cloud-init goes, if there is to be one.
pub fn seed(job: &Job, vm: &SourceVm, output: &Path) -> Option<PathBuf> {
    job.conversion.as_ref()?.cloud_init.as_ref()?;
    Some(convert::seed_path(&vm.name, output))
}

pub fn with_hint(error: &dyn std::error::Error, hint: Option<String>) -> String {
    let text = chain(error);
    hint.map_or_else(|| text.clone(), |hint| format!("{text} ({hint})"))
}
