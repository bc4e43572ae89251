//! Results of an earlier run that the current run can reuse.

use std::path::{Path, PathBuf};

use super::in_use::InUse;
use super::made::{Conversion, RecordedExport};
use super::records::Record;
use super::report::{PackageReport, RunReport};
use crate::libvirt::DefinedDomain;
use crate::manifest::Manifest;
use crate::model::{
    ConvertedDisks, ExportFile, ExportedDisk, ExportedMedium, ExportedNvram, SourceState, SourceVm,
    Warning,
};
use crate::pipeline::job::Job;

/// Results of an earlier run in the output directory.
#[derive(Debug)]
pub enum PreviousRun {
    /// No result.
    Nothing,
    /// A complete export.
    Export(Box<ReusableExport>),
    /// A complete export that a new one replaces: names of its files in the output directory.
    Replaced(Vec<String>),
}

/// A complete export of an earlier run.
#[derive(Debug)]
pub struct ReusableExport {
    /// Record of the export, with the VM and its state.
    pub taken: RecordedExport,
    /// Disks of the export.
    pub disks: Vec<ExportedDisk>,
    /// Images of CD-ROM drives.
    pub media: Vec<ExportedMedium>,
    /// Variables (NVRAM) of the VM's EFI firmware.
    pub nvram: Option<ExportedNvram>,
    /// OVF or OVA package of the export.
    pub package: Option<PackageReport>,
    /// Manifest of the export, if one was written.
    pub manifest: Option<Manifest>,
    /// Path of the manifest, whether it was written or not.
    pub manifest_path: PathBuf,
    /// Relation of the export to the current state of its VM.
    pub fit: Fit,
    /// Whether the exported disks were removed since and the converted ones suffice.
    pub gone: bool,
    /// Disks that a domain uses in place: they change while its guest is running.
    pub in_use: InUse,
    /// Conversion of the disks.
    pub converted: PreviousConversion,
    /// Result of the run that made the export.
    pub result: Option<RunReport>,
    /// Warnings about reusing the export.
    pub warnings: Vec<Warning>,
    /// Names of all files of the export in the output directory.
    pub(super) names: Vec<String>,
}

/// Input of the decision what to reuse in an output directory.
pub struct ReuseRequest<'a> {
    /// Settings of the current run.
    pub job: &'a Job,
    /// Current description of the VM.
    pub vm: &'a SourceVm,
    /// Current state of the VM.
    pub now: &'a SourceState,
    /// Path of the output directory.
    pub output: &'a Path,
    /// Names of the files that the run would write there.
    pub makes: &'a [String],
    /// Files that an export of the VM writes: disks in files may be used in place.
    pub exports: &'a [ExportFile],
    /// Runs of this directory that defined a domain.
    pub records: &'a [Record],
    /// Run of this directory that defined the requested domain, if the domain still exists.
    pub domain: Option<&'a Record>,
}

/// Conversion of an earlier run in the output directory.
#[derive(Debug)]
pub enum PreviousConversion {
    /// No conversion, or none is requested.
    None,
    /// A conversion that matches the request.
    Kept(Box<KeptConversion>),
    /// A conversion that does not match and will be replaced.
    Again(Again),
}

/// A conversion that is reused unchanged.
#[derive(Debug)]
pub struct KeptConversion {
    /// Converted disks.
    pub disks: ConvertedDisks,
    /// Record of the conversion; `None` if an earlier version made it.
    pub record: Option<Conversion>,
    /// Network cards that FIX counted differently than the domain gets them, or may have, as text
    /// for people.
    pub cards: Option<String>,
}

/// A conversion that is repeated.
#[derive(Debug)]
pub struct Again {
    /// Names of the results in the output directory that are replaced.
    pub replaces: Vec<String>,
    /// Reasons why the old conversion does not match, as text for people.
    pub why: Vec<String>,
    /// Whether the results are the export, which was converted during the download.
    pub from_results: bool,
}

/// Relation of an export to the current state of its VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pipeline) enum Fit {
    /// The export is current: the VM was off when its disks were read, and has not changed since.
    Current,
    /// Nothing contradicts the export, and nothing confirms it: the source has no revision, or an
    /// earlier version made the export without recording one.
    Unknown,
    /// The disks are those of a snapshot: the VM continued to run.
    Snapshot,
    /// The VM has changed since; each difference as text for people.
    Changed(Vec<String>),
}

/// A domain that exists already.
#[derive(Debug)]
pub struct KeptDomain {
    /// Name of the run that defined the domain.
    pub run: String,
    /// The domain as it was defined.
    pub domain: DefinedDomain,
    /// Whether the domain is running.
    pub active: bool,
}
