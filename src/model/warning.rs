//! Warnings: problems that do not stop the run.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::WarningCode;

/// Stages of a run, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Checks of everything that can be rejected before anything changes.
    Preflight,
    /// Download of the disks from the source.
    Export,
    /// Packing of the disks as an OVF package.
    Package,
    /// Writing of `manifest.json`.
    Manifest,
    /// Fixing and conversion of the disks for KVM.
    Pipeline,
    /// Upload of the volumes and definition of the domain in libvirt.
    Libvirt,
    /// Start of the guest on the target host.
    Start,
    /// Changes to the source VM after a successful migration.
    Source,
}

impl Stage {
    /// The stage's name in `result.json` and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Export => "export",
            Self::Package => "package",
            Self::Manifest => "manifest",
            Self::Pipeline => "pipeline",
            Self::Libvirt => "libvirt",
            Self::Start => "start",
            Self::Source => "source",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A warning with a code that scripts can match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Warning {
    /// Stage that raised the warning.
    pub stage: Stage,
    /// Kind of the warning.
    pub code: WarningCode,
    /// Text for people, with the affected object and, if there is one, the remedy.
    pub message: String,
}

impl Warning {
    /// A warning of `stage` with `code`; `message` names the affected object.
    pub fn new(stage: Stage, code: WarningCode, message: impl Into<String>) -> Self {
        Self { stage, code, message: message.into() }
    }
}
