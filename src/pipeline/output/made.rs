//! What a run has made, recorded so that a later run knows whether it still serves: the export and
//! the state of its source, the conversion and what was asked of it, the domain and whether it was
//! undone.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::super::stage::asked::Flags;
use crate::model::{ExportMethod, ExportState, PoweredOff, SourceState, SourceStep, SourceVm};

/// An export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecordedExport {
    /// When it was complete.
    pub exported_at: jiff::Timestamp,
    /// How the disks left the source.
    pub method: ExportMethod,
    /// How the disks were compressed while they arrived, if they were converted then: `zstd 3`,
    /// `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
    /// In which state of the VM they were read; `None` where an earlier version took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ExportState>,
    /// The VM.
    pub vm: SourceVm,
}

/// The source VM at the end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SourceNow {
    /// Its state, as it was last seen.
    #[serde(flatten)]
    pub state: SourceState,
    /// How the VM was switched off for its export, by this run or the one that took the export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub powered_off: Option<PoweredOff>,
    /// What became of a VM that this run, or a killed one before, has switched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned: Option<Returned>,
    /// What was done to the VM by `--source-after` and nobody has undone, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<SourceStep>,
    /// The revision that these steps left the VM at, if it was until then as it was exported: that
    /// they changed it does not make the export an old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_at: Option<String>,
}

impl SourceNow {
    /// Whether the VM was switched off and, for all that is known, nobody has powered it on.
    pub fn is_left_off(&self) -> bool {
        self.powered_off.is_some() && self.returned != Some(Returned::On)
    }

    /// A source that nothing was done to but that it was switched off, perhaps.
    pub fn of(state: SourceState, powered_off: Option<PoweredOff>) -> Self {
        Self { state, powered_off, returned: None, after: Vec::new(), left_at: None }
    }
}

/// What became of a VM that was switched off for its export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Returned {
    /// It is on again.
    On,
    /// It stays off: the run came to its good end, or the user said so.
    StaysOff,
    /// It stays off, since its domain runs or may run.
    DomainMayRun,
    /// It could not be powered on, or is still shutting down.
    Failed,
}

/// A conversion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Conversion {
    /// When it was complete.
    pub made_at: jiff::Timestamp,
    /// What was asked of it.
    pub flags: Flags,
    /// Whether FIX left the guest as it was exported: it was not asked for, or it failed.
    pub guest_untouched: bool,
    /// Why FIX failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix_failure: Option<String>,
    /// Ids of the network cards that the domain was not to get, which FIX counted without; `None`
    /// where an earlier version did not record them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<Vec<String>>,
    /// The converted images, as they were left.
    pub images: Vec<Stamp>,
}

/// What tells that a file has been written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stamp {
    /// Absolute path.
    pub path: PathBuf,
    /// Length, in bytes.
    pub bytes: u64,
    /// When it was last written to, in nanoseconds since 1970.
    pub modified: u64,
}

impl Stamp {
    /// That of a file as it is; `None` where it cannot be had.
    pub fn of(path: &Path) -> Option<Self> {
        let found = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let since = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        let modified = u64::try_from(since.as_nanos()).ok()?;
        Some(Self { path: path.to_owned(), bytes: found.len(), modified })
    }

    /// Whether the file is still as it was.
    pub fn holds(&self) -> bool {
        Self::of(&self.path).is_some_and(|now| now == *self)
    }
}

/// What became of a run by `hyperexport undo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Undone {
    /// When that was.
    pub at: jiff::Timestamp,
    /// What is left of it, each with the reason; nothing when all is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// How many of these stay only since others use them by now, such as a pool.
    #[serde(default)]
    pub shared: usize,
}
