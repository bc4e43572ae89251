//! The request of an import, and the values that follow from it without querying the host.

use std::time::Duration;

use crate::domain::{
    DiskKind, DomainSpec, HostCapabilities, PlanOptions, PlannedDisk, device_name, medium_name,
    plan, volume_name,
};
use crate::model::{ConvertedDisk, ConvertedDisks, DiskFormat, SourceVm};

use super::super::rollback::undo_step::Undo;
use super::super::storage::wanted::{PoolChoice, WantedVolume};
use super::super::{Draft, Error, profile};

/// Request to import a VM. The same value serves
/// [`Connection::preflight`](super::super::Connection::preflight), when the images are still
/// expected, and [`Connection::import`](super::super::Connection::import).
#[derive(Debug, Clone, Copy)]
pub struct ImportRequest<'a> {
    /// Description of the source VM.
    pub vm: &'a SourceVm,
    /// Disks of the VM; for a preflight with their expected paths and allocations.
    pub disks: &'a ConvertedDisks,
    /// Capabilities of the target host.
    pub host: &'a HostCapabilities,
    /// Choices of the user.
    pub options: &'a PlanOptions,
    /// Storage pool for the disks.
    pub pool: &'a PoolChoice,
    /// Whether the domain starts when its host boots.
    pub autostart: bool,
    /// Steps after the definition.
    pub after: &'a AfterDefine,
    /// Name of the domain that is replaced, if it exists.
    pub replace: Option<&'a str>,
    /// Paths of existing volumes that are removed before the import, so that they do not conflict.
    pub going: &'a [String],
    /// Steps of a killed run that are undone before the import; the objects that they remove do not
    /// conflict.
    pub undone: &'a [Undo],
    /// Exact draft to follow; any difference is refused.
    pub exactly: Option<&'a Draft>,
}

/// Steps of an import after the definition. If one fails, the entire import is undone.
#[derive(Debug, Clone, Default)]
pub struct AfterDefine {
    /// Name of the snapshot to create.
    pub snapshot: Option<String>,
    /// Time limit for the boot test: the guest must come up on overlays of its disks, before the
    /// domain is defined.
    pub boot_test: Option<Duration>,
    /// Time limit for the boot proof: the guest must boot with its links down.
    pub boot_proof: Option<Duration>,
}

impl ImportRequest<'_> {
    pub(in crate::libvirt) fn domain_name(&self) -> String {
        self.options.domain_name(self.vm)
    }

    /// Prefix of the names of volumes: the domain's name. If a predecessor's disks have that
    /// prefix, the time of the export is appended.
    pub(in crate::libvirt) fn volume_base(&self) -> String {
        let domain = self.domain_name();
        let Some(_) = self.replace else { return domain };
        let taken = self.vm.origin.exported_at.as_deref().unwrap_or("again");
        let digits: String = taken.chars().filter(char::is_ascii_alphanumeric).take(15).collect();
        format!("{domain}-{digits}")
    }

    /// Volumes to create in a pool of this type, in the order of the disks.
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

    /// The domain plan with its disks at the given paths.
    pub(in crate::libvirt) fn plan(&self, disks: &[PlannedDisk]) -> Result<DomainSpec, Error> {
        let profile = match &self.options.hardware.profile {
            Some(own) => own.clone(),
            None => profile(self.options.family(self.vm))?,
        };
        plan(self.vm, disks, profile, self.host, self.options).map_err(Error::Plan)
    }
}
