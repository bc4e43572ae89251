//! The domain that an import has defined.

use serde::{Deserialize, Serialize};

use crate::model::Warning;

use super::guest::watch::GuestSigns;
use super::results::{RegisteredVolume, Snapshot};
use super::rollback::undo_step::Undo;

/// A domain that libvirt now has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DefinedDomain {
    /// Which libvirt has it.
    #[serde(default)]
    pub uri: String,
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uuid: String,
    /// Its XML, as libvirt returned it.
    pub xml: String,
    /// Whether it starts with its host.
    pub autostart: bool,
    /// The storage pool of its disks.
    pub pool: String,
    /// Its disks, in the order of the request.
    pub volumes: Vec<RegisteredVolume>,
    /// The snapshot that was taken of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
    /// What its guest showed when it was started on overlays of its disks, before the definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_test: Option<GuestSigns>,
    /// What its guest showed when it was started once with its links down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_proof: Option<GuestSigns>,
    /// What its guest showed when it was started for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<GuestSigns>,
    /// The steps that undo the import.
    #[serde(default)]
    pub undo: Vec<Undo>,
    /// What proves that a run of this user has written the way back, where its caller has sealed
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,
    /// What works less well than it might, by the disks as they are. The report of the run has it.
    #[serde(skip)]
    pub warnings: Vec<Warning>,
}

impl DefinedDomain {
    /// What its metadata has, where its UUID is that of its source: another domain may have that by
    /// now.
    pub(super) fn mark(&self) -> Option<&str> {
        self.undo.iter().find_map(|step| match step {
            Undo::Undefine { uuid, mark, .. } if *uuid == self.uuid => mark.as_deref(),
            _ => None,
        })
    }
}
