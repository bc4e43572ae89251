//! What an earlier run has left that this one may go on with.

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

/// What there is to build on.
#[derive(Debug)]
pub enum PreviousRun {
    /// Nothing.
    Nothing,
    /// A complete export.
    Export(Box<ReusableExport>),
    /// A complete export that makes way for a new one: names of its files in the output directory.
    Replaced(Vec<String>),
}

/// A complete export of an earlier run.
#[derive(Debug)]
pub struct ReusableExport {
    /// What was exported, and in which state of its VM.
    pub taken: RecordedExport,
    /// Its disks.
    pub disks: Vec<ExportedDisk>,
    /// What lies in its CD-ROM drives.
    pub media: Vec<ExportedMedium>,
    /// The variables of its firmware.
    pub nvram: Option<ExportedNvram>,
    /// Its package.
    pub package: Option<PackageReport>,
    /// Its manifest, if one was written.
    pub manifest: Option<Manifest>,
    /// Where that is, or is to be.
    pub manifest_path: PathBuf,
    /// What it is to the VM as it is now.
    pub fit: Fit,
    /// The exported disks were removed since; the converted ones serve.
    pub gone: bool,
    /// Disks that a domain uses where they are: they change while its guest runs.
    pub in_use: InUse,
    /// What there is of a conversion.
    pub converted: PreviousConversion,
    /// The result of the run that left it.
    pub result: Option<RunReport>,
    /// What is less than well about it.
    pub warnings: Vec<Warning>,
    /// Names of all its files in the output directory.
    pub(super) names: Vec<String>,
}

/// What is asked of an output directory.
pub struct ReuseRequest<'a> {
    /// What the run is asked to do.
    pub job: &'a Job,
    /// The VM as it is now.
    pub vm: &'a SourceVm,
    /// In which state it is.
    pub now: &'a SourceState,
    /// The output directory.
    pub output: &'a Path,
    /// Names of the files that the run would make there.
    pub makes: &'a [String],
    /// The files that an export of the VM makes: disks of files may be used where they are.
    pub exports: &'a [ExportFile],
    /// The runs of this folder that defined a domain.
    pub records: &'a [Record],
    /// The run of this folder that defined the domain which is asked for, if that is there.
    pub domain: Option<&'a Record>,
}

/// What there is of a conversion.
#[derive(Debug)]
pub enum PreviousConversion {
    /// Nothing, or nothing is asked for.
    None,
    /// The one that is asked for.
    Kept(Box<KeptConversion>),
    /// Another one, which makes way.
    Again(Again),
}

/// A conversion that serves as it is.
#[derive(Debug)]
pub struct KeptConversion {
    /// Its disks.
    pub disks: ConvertedDisks,
    /// What was asked of it; `None` where an earlier version made it.
    pub record: Option<Conversion>,
    /// Which network cards FIX counted otherwise than the domain gets them, or may have, for
    /// people.
    pub cards: Option<String>,
}

/// A conversion that is done again.
#[derive(Debug)]
pub struct Again {
    /// Names of the results in the output directory that make way.
    pub replaces: Vec<String>,
    /// Why the old one does not serve, for people.
    pub why: Vec<String>,
    /// The results are the export, which was converted while it arrived.
    pub from_results: bool,
}

/// What an export is to its VM as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pipeline) enum Fit {
    /// The disks are those of the VM: it was off when they were read, and nothing happened since.
    Current,
    /// Nothing speaks against it, and nothing shows it: the source tells no revision, or an earlier
    /// version that recorded none took the export.
    Unknown,
    /// The disks are those of a snapshot: the VM ran on, whatever it does now.
    Snapshot,
    /// The VM has changed since; each difference for people.
    Changed(Vec<String>),
}

/// A domain that is there.
#[derive(Debug)]
pub struct KeptDomain {
    /// The name of the run that defined it.
    pub run: String,
    /// The domain as it was defined.
    pub domain: DefinedDomain,
    /// Whether it runs now.
    pub active: bool,
}
