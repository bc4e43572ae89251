//! Facts about VMs that all kinds of source provide.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::export_blocker::ExportBlocker;
use crate::exporter::{Error, Streaming};
use crate::model::{ByteSize, DiskId, ExportFile, PowerState, SourceState, SourceVm};

/// A VM in the output of `hyperexport list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct VmSummary {
    /// Display name, with vSphere's escapes decoded.
    pub name: String,
    /// Inventory path such as `/DC0/vm/Prod/web01`; absent when the login may not see a parent
    /// folder.
    pub path: Option<String>,
    /// Managed object id, such as `vm-42`.
    pub moref: String,
    /// Power state.
    pub power: PowerState,
    /// Number of virtual CPUs. Absent, like the next four fields, when the VM's configuration
    /// cannot be read.
    pub cpu: Option<u32>,
    /// Memory in MiB.
    pub memory_mib: Option<u64>,
    /// Display name of the guest operating system, such as `Ubuntu Linux (64-bit)`.
    pub guest: Option<String>,
    /// Number of disks.
    pub disks: Option<usize>,
    /// Total capacity of the disks in bytes, as the guest sees it.
    pub size: Option<u64>,
    /// Custom attributes of the VM in vSphere, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Tags of the VM in vCenter, if they were requested.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

impl VmSummary {
    /// The summary of a VM whose facts are all known.
    pub fn of(vm: &SourceVm) -> Self {
        Self {
            name: vm.name.clone(),
            path: vm.inventory_path.clone(),
            moref: vm.id.clone(),
            power: vm.power,
            cpu: Some(vm.cpu.vcpus),
            memory_mib: Some(vm.memory_mib),
            guest: Some(vm.guest.full_name.clone()),
            disks: Some(vm.disks.len()),
            size: Some(vm.disks.iter().map(|disk| disk.capacity).sum::<ByteSize>().0),
            attributes: BTreeMap::new(),
            tags: Vec::new(),
        }
    }
}

/// A tag of a VM in vCenter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Tag {
    /// Category of the tag, such as `Environment`.
    pub category: String,
    /// Name of the tag, such as `prod`.
    pub name: String,
}

impl Tag {
    /// Whether `text` names this tag: `prod`, or `Environment=prod`.
    pub(in crate::exporter) fn is_meant_by(&self, text: &str) -> bool {
        text == self.name
            || text
                .split_once('=')
                .is_some_and(|(category, name)| category == self.category && name == self.name)
    }
}

/// A CD-ROM image that an export includes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedMedium {
    /// Id of the drive: `cdrom-0`, …
    pub id: DiskId,
    /// Path of an image that is used in place; `None` for an image in an archive.
    pub in_place: Option<PathBuf>,
    /// Size in bytes; 0 if unknown.
    pub size: ByteSize,
}

/// A VM, and everything that prevents its export.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// Facts about the VM; mostly empty if its configuration cannot be read.
    pub vm: SourceVm,
    /// The files that an export may write into its directory.
    pub makes: Vec<ExportFile>,
    /// CD-ROM images that are exported; only packages and libvirt hosts have them.
    pub media: Vec<ExpectedMedium>,
    /// Whether each disk is converted while it leaves the source; a missing disk means that no
    /// conversion was requested.
    pub streaming: Vec<(DiskId, Streaming)>,
    /// Minimum number of bytes that an export writes, if known; a lease does not state it.
    pub least: ByteSize,
    /// Fingerprint that differs when the VM was reconfigured or started in the meantime; empty if
    /// unknown.
    pub revision: String,
    /// Time of the running VM's start, if the source provides it.
    pub boot_time: Option<String>,
    /// Whether VMware Tools are running, so that the guest can be shut down; `None` if the source
    /// does not provide it.
    pub tools: Option<bool>,
    /// Names of snapshots that runs of hyperexport took and have not removed (yet).
    pub snapshots: Vec<String>,
    /// Everything that prevents the export, the most severe first; empty when the VM can be
    /// exported.
    pub obstacles: Vec<ExportBlocker>,
}

impl Inspected {
    /// A VM with defaults for the other facts: no snapshots, no blockers, unknown state of the
    /// tools.
    pub fn new(vm: SourceVm, makes: Vec<ExportFile>, revision: String) -> Self {
        Self {
            vm,
            makes,
            media: Vec::new(),
            streaming: Vec::new(),
            least: ByteSize(0),
            revision,
            boot_time: None,
            tools: None,
            snapshots: Vec::new(),
            obstacles: Vec::new(),
        }
    }

    /// Everything that prevents the export, and everything that prevents the definition of a
    /// domain.
    pub fn all_obstacles(&self) -> Vec<ExportBlocker> {
        self.obstacles.iter().cloned().chain(ExportBlocker::of_domain(&self.vm)).collect()
    }

    /// State in which the VM was found.
    pub fn state(&self) -> SourceState {
        SourceState {
            power: self.vm.power,
            revision: self.revision.clone(),
            boot_time: self.boot_time.clone(),
        }
    }

    /// Checks whether the VM can be exported now. With `running`, a running VM passes, too:
    /// powering it off or a snapshot makes its export possible.
    ///
    /// # Errors
    /// [`Error::Obstacle`] with the most severe blocker; its hint is the remedy.
    pub fn exportable(&self, running: bool) -> Result<(), Error> {
        let counts =
            |obstacle: &&ExportBlocker| !(running && **obstacle == ExportBlocker::PoweredOn);
        match self.obstacles.iter().find(counts) {
            None => Ok(()),
            Some(obstacle) => {
                Err(Error::Obstacle { vm: self.vm.name.clone(), obstacle: obstacle.clone() })
            }
        }
    }
}
