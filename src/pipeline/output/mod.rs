//! The output directory: its lock, journal, records, reports, and the files of earlier runs.

pub(super) mod code;
pub(super) mod converted;
pub(super) mod file_sums;
pub(super) mod fit;
pub(super) mod held;
pub(super) mod in_use;
pub(super) mod inherit;
pub(super) mod journal;
pub(super) mod journal_file;
pub(super) mod made;
pub(super) mod ours;
pub(super) mod output_lock;
pub(super) mod previous_run;
pub(super) mod records;
pub(super) mod replace;
pub(super) mod report;
pub(super) mod result_file;
pub(super) mod reuse;
pub(super) mod save;
pub(super) mod staged_files;
pub(super) mod stored;
pub(super) mod summary;
pub(super) mod unfit;

/// Hint if an export cannot be reused.
pub(in crate::pipeline) const BOTH_WAYS: &str = "pass --fresh, which exports again and replaces the old export once the new one is complete; or use another --output";
