//! Records of a run's results, from which a later run learns whether they can be reused: the export
//! and its source's state, the conversion and its flags, the domain and its undo.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::super::stage::asked::Flags;
use crate::model::{ExportMethod, ExportState, PoweredOff, SourceState, SourceStep, SourceVm};

/// Record of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecordedExport {
    /// Time at which the export was complete.
    pub exported_at: jiff::Timestamp,
    /// Method by which the disks were downloaded.
    pub method: ExportMethod,
    /// Compression of disks that were converted during the download: `zstd 3`, `none`. Absent if
    /// they were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
    /// State of the VM in which its disks were read; absent if an earlier version made the export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ExportState>,
    /// The VM, as its source described it.
    pub vm: SourceVm,
}

/// State of the source VM at the end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SourceNow {
    /// Last known state of the VM.
    #[serde(flatten)]
    pub state: SourceState,
    /// How the VM was powered off for its export, by this run or by the run that made the export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub powered_off: Option<PoweredOff>,
    /// What happened to a VM that this run, or a killed run before, has powered off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned: Option<Returned>,
    /// Changes to the VM by `--source-after` that were not undone, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<SourceStep>,
    /// Revision of the VM after these changes, if the VM was unchanged since the export until then:
    /// such a change does not make the export outdated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_at: Option<String>,
}

impl SourceNow {
    /// Whether the VM was powered off and, as far as known, not powered on again.
    pub fn is_left_off(&self) -> bool {
        self.powered_off.is_some() && self.returned != Some(Returned::On)
    }

    /// A source without changes, which may have been powered off.
    pub fn of(state: SourceState, powered_off: Option<PoweredOff>) -> Self {
        Self { state, powered_off, returned: None, after: Vec::new(), left_at: None }
    }
}

/// What happened to a VM that was powered off for its export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Returned {
    /// The VM is powered on again.
    On,
    /// The VM stays off: the run has succeeded, or the user asked for it.
    StaysOff,
    /// The VM stays off, since its domain is running or may be.
    DomainMayRun,
    /// The VM could not be powered on, or is still shutting down.
    Failed,
}

/// Record of a conversion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Conversion {
    /// Time at which the conversion was complete.
    pub made_at: jiff::Timestamp,
    /// Flags of the conversion.
    pub flags: Flags,
    /// Whether FIX left the guest as it was exported: FIX was not requested, or it failed.
    pub guest_untouched: bool,
    /// Why FIX failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix_failure: Option<String>,
    /// Ids of the network cards that the domain does not get and that FIX left out; absent if an
    /// earlier version did not record them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<Vec<String>>,
    /// Length and modification time of each converted image at the end of the conversion.
    pub images: Vec<Stamp>,
}

/// State of a file, from which later writes are detected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stamp {
    /// Absolute path of the file.
    pub path: PathBuf,
    /// Length of the file, in bytes.
    pub bytes: u64,
    /// Modification time, in nanoseconds since 1970.
    pub modified: u64,
}

impl Stamp {
    /// The stamp of a file now; `None` if it cannot be determined.
    pub fn of(path: &Path) -> Option<Self> {
        let found = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let since = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        let modified = u64::try_from(since.as_nanos()).ok()?;
        Some(Self { path: path.to_owned(), bytes: found.len(), modified })
    }

    /// Whether the file is unchanged.
    pub fn holds(&self) -> bool {
        Self::of(&self.path).is_some_and(|now| now == *self)
    }
}

/// Result of `hyperexport undo` for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Undone {
    /// Time of the undo.
    pub at: jiff::Timestamp,
    /// Objects that were not removed, each with the reason; empty if all were removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// How many of these objects stay only because others use them, such as a pool.
    #[serde(default)]
    pub shared: usize,
}
