//! What every source tells of its VMs, whatever it is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::export_blocker::ExportBlocker;
use crate::exporter::{Error, Streaming};
use crate::model::{ByteSize, DiskId, ExportFile, PowerState, SourceState, SourceVm};

/// One line of `hyperexport list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct VmSummary {
    /// Display name, decoded.
    pub name: String,
    /// Inventory path such as `/DC0/vm/Prod/web01`; absent when a folder above may not be seen.
    pub path: Option<String>,
    /// `vm-42`.
    pub moref: String,
    /// Whether it runs.
    pub power: PowerState,
    /// Virtual CPUs; absent, as what follows, when the VM's configuration cannot be read.
    pub cpu: Option<u32>,
    /// Memory in MiB.
    pub memory_mib: Option<u64>,
    /// Guest operating system for people: `Ubuntu Linux (64-bit)`.
    pub guest: Option<String>,
    /// Number of disks.
    pub disks: Option<usize>,
    /// Sum of the disks' capacities in bytes, as the guest sees them.
    pub size: Option<u64>,
    /// The custom attributes that it has at its source.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// The tags that it has there, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

impl VmSummary {
    /// That of a VM whose facts are all known.
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

/// A tag of a VM.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Tag {
    /// Its category: `Environment`.
    pub category: String,
    /// Its name: `prod`.
    pub name: String,
}

impl Tag {
    /// Whether `text` means it: `prod`, or `Environment=prod`.
    pub(in crate::exporter) fn is_meant_by(&self, text: &str) -> bool {
        text == self.name
            || text
                .split_once('=')
                .is_some_and(|(category, name)| category == self.category && name == self.name)
    }
}

/// The image of a CD-ROM that an export takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedMedium {
    /// `cdrom-0`, …
    pub id: DiskId,
    /// Where it lies and stays; `None` of one that is taken out of an archive.
    pub in_place: Option<PathBuf>,
    /// Its size, as far as that is known; else 0.
    pub size: ByteSize,
}

/// A VM and what is in the way of its export.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// Its facts. Without a configuration that can be read, mostly empty.
    pub vm: SourceVm,
    /// The files that an export writes into its folder.
    pub makes: Vec<ExportFile>,
    /// What lies in its CD-ROM drives and is exported; only packages and libvirt hosts have that.
    pub media: Vec<ExpectedMedium>,
    /// Whether its disks are converted while they leave the source; of disks that are missing here
    /// nobody asked for that.
    pub streaming: Vec<(DiskId, Streaming)>,
    /// Bytes that an export writes at least, as far as that is known: a lease does not tell.
    pub least: ByteSize,
    /// Differs when the VM was reconfigured or started meanwhile; empty when that is unknown.
    pub revision: String,
    /// When the running VM was started, where the source says it.
    pub boot_time: Option<String>,
    /// Whether VMware Tools run in the guest, which can then be told to shut down; `None` where the
    /// source does not say it.
    pub tools: Option<bool>,
    /// Names of the snapshots that runs of ours took and did not remove, or did not yet.
    pub snapshots: Vec<String>,
    /// What is in the way, the gravest first; nothing when it can be exported at once.
    pub obstacles: Vec<ExportBlocker>,
}

impl Inspected {
    /// A VM of which no more is known: of a source that has no snapshots of ours, and of which
    /// nothing tells whether it runs.
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

    /// What is in the way of its export, and what keeps it from becoming a domain.
    pub fn all_obstacles(&self) -> Vec<ExportBlocker> {
        self.obstacles.iter().cloned().chain(ExportBlocker::of_domain(&self.vm)).collect()
    }

    /// In which state the VM was found.
    pub fn state(&self) -> SourceState {
        SourceState {
            power: self.vm.power,
            revision: self.revision.clone(),
            boot_time: self.boot_time.clone(),
        }
    }

    /// Whether the VM can be exported, or could be after [`VSphere::power_off`], or from a
    /// snapshot, if `running` is no obstacle.
    ///
    /// # Errors
    /// [`Error::Obstacle`] with the gravest; its hint is the remedy.
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
