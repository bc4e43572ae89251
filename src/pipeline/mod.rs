//! The order of a migration: only this module knows which stage follows which.
//!
//! ```text
//!   preflight ──▶ export ──▶ manifest ──▶ conversion ──▶ libvirt
//!       │            │           │             │             │
//!    refused      failed      failed      partial: the export stands, the error
//!  (exit code 4)       (exit code 1)      is in the report (exit code 0, or 3 if strict)
//! ```
//!
//! Nothing changes anywhere before `preflight` has passed. A failed export leaves no disk; a failed
//! conversion leaves no result; a failed libvirt stage leaves no volume and no domain.

mod build_options;
mod doctor;
mod dry_run;
mod from_manifest;
mod harden;
mod job;
mod object_names;
mod output;
mod plan_file;
mod run;
mod show;
mod stage;
mod undo;
mod verify;

pub use crate::exporter::libvirt_source::LibvirtSourceSettings;
pub use crate::exporter::source::{Error as SourceError, Source, SourceSettings};
pub use doctor::{Diagnosis, examine};
pub use from_manifest::{convert, define};
pub use harden::harden;
pub use job::{ComesBack, ImportSettings, Job, Start};
pub use object_names::{ObjectKind, object_names};
pub use output::made::{Conversion, RecordedExport, Returned, SourceNow, Stamp, Undone};
pub use output::report::{Failure, FailureReport, RunOutcome, RunReport, StageReport, StageStatus};
pub use plan_file::{PlanFile, PlanRequest, apply, check_uri_of_plan, draft};
pub use run::run;
pub use show::show;
pub use stage::asked::Flags;
pub use stage::windows::{WindowsFound, drivers as windows_drivers};
pub use undo::taken_back::{
    Error as UndoError, RecordedRun, TakenBackRuns, UndoOptions, WhichRuns,
};
pub use undo::undo_source::AtSource;
pub use undo::{UndoScope, runs, undo};
pub use verify::{Error as VerifyError, Verified, VerifiedDisk, verify};

/// File name of the manifest in the output directory.
pub const MANIFEST: &str = crate::manifest::FILE_NAME;
/// File name of the domain's XML, as libvirt returned it, in the output directory.
const DOMAIN_XML: &str = "domain.xml";
