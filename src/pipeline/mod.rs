//! The order of a migration: the only room that knows which stage follows which.
//!
//! ```text
//!   preflight ──▶ export ──▶ manifest ──▶ conversion ──▶ libvirt
//!       │            │           │             │             │
//!    refused      failed      failed      partial: the export stands, the error
//!  (exit code 4)       (exit code 1)      is in the report (exit code 0, or 3 if strict)
//! ```
//!
//! Until `preflight` is through nothing has changed anywhere. A failed export leaves no disk
//! behind; a failed conversion leaves no result; a failed libvirt stage leaves no volume and no
//! domain.

mod addresses;
mod again;
mod asked;
mod code;
mod converted;
mod doctor;
mod dry_run;
mod export;
mod fence;
mod file_sums;
mod fit;
mod from_manifest;
mod guest;
mod harden;
mod held;
mod import;
mod in_use;
mod inherit;
mod job;
mod journal;
mod journal_file;
mod kept_domain;
mod libvirt_source;
mod made;
mod ours;
mod output_lock;
mod package;
mod plan_file;
mod preflight;
mod previous_run;
mod privileges;
mod records;
mod recovery;
mod replace;
mod report;
mod run;
mod show;
mod snapshots;
mod source;
mod source_after;
mod source_power;
mod stage_runner;
mod staged_files;
mod start;
mod stored;
mod stream;
mod summary;
mod target;
mod target_check;
mod undo;
mod undo_check;
mod undo_source;
mod unfit;
mod verify;
mod windows;

pub use asked::Flags;
pub use doctor::{Diagnosis, examine};
pub use from_manifest::{convert, define};
pub use harden::harden;
pub use job::{ComesBack, ImportSettings, Job, Start};
pub use libvirt_source::LibvirtSourceSettings;
pub use made::{Conversion, RecordedExport, Returned, SourceNow, Stamp, Undone};
pub use plan_file::{PlanFile, PlanRequest, apply, check_uri_of_plan, draft};
pub use report::{Failure, RunOutcome, RunReport, StageReport, StageStatus};
pub use run::run;
pub use show::show;
pub use source::{Error as SourceError, Source, SourceSettings};
pub use undo::{
    Error as UndoError, RecordedRun, TakenBackRuns, UndoOptions, UndoScope, WhichRuns, runs, undo,
};
pub use undo_source::AtSource;
pub use verify::{Error as VerifyError, Verified, VerifiedDisk, verify};
pub use windows::{WindowsFound, drivers as windows_drivers};

/// File name of the domain's XML, as libvirt returned it, in the output directory.
const DOMAIN_XML: &str = "domain.xml";
