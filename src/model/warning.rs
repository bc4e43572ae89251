//! What went less than well without stopping the run.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::WarningCode;

/// The stages of a run, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Everything that can be refused before anything changes.
    Preflight,
    /// Disks leave the source.
    Export,
    /// The disks are made an OVF package.
    Package,
    /// `manifest.json` is written.
    Manifest,
    /// Disks are fixed and converted for KVM.
    Pipeline,
    /// Volumes and domain appear in libvirt.
    Libvirt,
    /// The guest is started there.
    Start,
    /// The source VM gets what was asked for a migration that succeeded.
    Source,
}

impl Stage {
    /// The name in `result.json` and in messages.
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
    /// Where it arose.
    pub stage: Stage,
    /// What it is about.
    pub code: WarningCode,
    /// For a person, with the object and, where there is one, the remedy.
    pub message: String,
}

impl Warning {
    /// A warning of `stage` with `code`.
    pub fn new(stage: Stage, code: WarningCode, message: impl Into<String>) -> Self {
        Self { stage, code, message: message.into() }
    }
}
