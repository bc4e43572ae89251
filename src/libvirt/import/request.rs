//! What is asked of a target, and what follows from it without asking the target.

use std::time::Duration;

use crate::domain::{
    DiskKind, DomainSpec, HostCapabilities, PlanOptions, PlannedDisk, device_name, medium_name,
    plan, volume_name,
};
use crate::model::{ConvertedDisk, ConvertedDisks, DiskFormat, SourceVm};

use super::super::rollback::undo_step::Undo;
use super::super::storage::wanted::{PoolChoice, WantedVolume};
use super::super::{Draft, Error, profile};

/// A VM to be taken in. The same value serves [`Target::preflight`](super::Target::preflight),
/// when the images are still expected, and [`Target::import`](super::Target::import).
#[derive(Debug, Clone, Copy)]
pub struct ImportRequest<'a> {
    /// The VM.
    pub vm: &'a SourceVm,
    /// Its disks: for a preflight with the paths and allocations that they are expected to have.
    pub disks: &'a ConvertedDisks,
    /// What the host can do.
    pub host: &'a HostCapabilities,
    /// What the user decides.
    pub options: &'a PlanOptions,
    /// Where the disks go.
    pub pool: &'a PoolChoice,
    /// Whether the domain starts with its host.
    pub autostart: bool,
    /// What is done with the domain once it is defined.
    pub after: &'a AfterDefine,
    /// Name of the domain that makes way, if there is one of that name.
    pub replace: Option<&'a str>,
    /// Paths of volumes that are there and are removed before the import: they are in nobody's way.
    pub going: &'a [String],
    /// Steps of a killed run that are undone before the import: what they name is in nobody's
    /// way.
    pub undone: &'a [Undo],
    /// What is to be made, to the last character; anything else is refused.
    pub exactly: Option<&'a Draft>,
}

/// What belongs to an import beyond the definition; when it fails, all is undone.
#[derive(Debug, Clone, Default)]
pub struct AfterDefine {
    /// Name of a snapshot to take.
    pub snapshot: Option<String>,
    /// How long the guest may take to come up on overlays of its disks, before it is defined.
    pub boot_test: Option<Duration>,
    /// How long the guest may take to prove that it boots, with its links down.
    pub boot_proof: Option<Duration>,
}

impl ImportRequest<'_> {
    /// The name that the domain will have.
    pub(in crate::libvirt) fn domain_name(&self) -> String {
        self.options.domain_name(self.vm)
    }

    /// What names of volumes begin with: the domain's name. Beside a predecessor, whose disks have
    /// that, the time of the export follows it.
    pub(in crate::libvirt) fn volume_base(&self) -> String {
        let domain = self.domain_name();
        let Some(_) = self.replace else { return domain };
        let taken = self.vm.origin.exported_at.as_deref().unwrap_or("again");
        let digits: String = taken.chars().filter(char::is_ascii_alphanumeric).take(15).collect();
        format!("{domain}-{digits}")
    }

    /// The volumes in a pool of this kind, in the order of the disks.
    pub(in crate::libvirt) fn volumes(&self, kind: DiskKind) -> Vec<WantedVolume> {
        let domain = self.volume_base();
        let first =
            self.disks.0.iter().filter(|disk| !disk.medium).map(|disk| disk.boot_order).min();
        let wanted = |disk: &ConvertedDisk| WantedVolume {
            id: disk.id.clone(),
            name: match kind {
                DiskKind::File if disk.medium => medium_name(&domain, &disk.id),
                DiskKind::File => {
                    volume_name(&domain, &disk.id, disk.format, Some(disk.boot_order) == first)
                }
                DiskKind::Block => device_name(&domain, &disk.id, Some(disk.boot_order) == first),
            },
            image: disk.path.clone(),
            image_format: disk.format,
            kind,
            format: match kind {
                DiskKind::File => disk.format,
                DiskKind::Block => DiskFormat::Raw,
            },
            capacity: disk.capacity,
            allocated: disk.allocated,
            boot_order: disk.boot_order,
            fixed: disk.fixed,
            medium: disk.medium,
            content: disk.content,
        };
        self.disks.0.iter().map(wanted).collect()
    }

    /// The plan, with disks at the given paths.
    pub(in crate::libvirt) fn plan(&self, disks: &[PlannedDisk]) -> Result<DomainSpec, Error> {
        let profile = match &self.options.hardware.profile {
            Some(own) => own.clone(),
            None => profile(self.options.family(self.vm))?,
        };
        plan(self.vm, disks, profile, self.host, self.options).map_err(Error::Plan)
    }
}
