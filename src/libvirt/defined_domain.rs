//! The domain that an import has defined.

use serde::{Deserialize, Serialize};

use crate::model::Warning;

use super::guest::watch::GuestSigns;
use super::results::{RegisteredVolume, Snapshot};
use super::rollback::undo_step::Undo;

/// A domain that an import has defined in libvirt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DefinedDomain {
    /// Connection URI of the libvirt daemon.
    #[serde(default)]
    pub uri: String,
    /// Name of the domain.
    pub name: String,
    /// UUID of the domain.
    pub uuid: String,
    /// XML of the domain, as libvirt returned it.
    pub xml: String,
    /// Whether the domain starts when its host boots.
    pub autostart: bool,
    /// Name of the storage pool of the domain's disks.
    pub pool: String,
    /// Disks of the domain, in the order of the request.
    pub volumes: Vec<RegisteredVolume>,
    /// Snapshot that was taken of the domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
    /// Signs that the guest showed in the boot test: started on overlays of its disks, before the
    /// definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_test: Option<GuestSigns>,
    /// Signs that the guest showed in the boot proof: started once with its links down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_proof: Option<GuestSigns>,
    /// Signs that the guest showed when the domain was finally started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<GuestSigns>,
    /// Steps that undo the import.
    #[serde(default)]
    pub undo: Vec<Undo>,
    /// Seal that proves that a run of this user has recorded the undo steps, if the caller has
    /// sealed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,
    /// Warnings about limitations of the domain with its final disks. The report of the run lists
    /// them.
    #[serde(skip)]
    pub warnings: Vec<Warning>,
}

impl DefinedDomain {
    /// Mark in the metadata of the domain, if the UUID is that of the source VM: by now another
    /// domain may have that UUID.
    pub(super) fn mark(&self) -> Option<&str> {
        self.undo.iter().find_map(|step| match step {
            Undo::Undefine { uuid, mark, .. } if *uuid == self.uuid => mark.as_deref(),
            _ => None,
        })
    }
}
