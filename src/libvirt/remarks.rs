//! What a person should know of a plan that keeps all rules.

use crate::domain::{DiskBus, DomainSpec, Family, PlanOptions};
use crate::model::{SourceVm, Stage, Warning};

/// Warnings about the hardware of a planned domain.
pub(super) fn of_plan(spec: &DomainSpec, vm: &SourceVm, options: &PlanOptions) -> Vec<Warning> {
    let Some(boot) = spec.disks.first() else { return Vec::new() };
    let family = options.family(vm);
    let warn = |code: &str, message: String| vec![Warning::new(Stage::Libvirt, code, message)];
    match options.hardware.disk_bus {
        None if family == Family::Linux && !spec.fixed => warn(
            "guest-not-fixed",
            format!(
                "hyper2kvm has not made this Linux fit for virtio: its disks are on {}; if it \
                     has the drivers, --disk-bus virtio is faster",
                boot.bus
            ),
        ),
        Some(bus @ (DiskBus::Virtio | DiskBus::Scsi))
            if !(family == Family::Linux && spec.fixed) =>
        {
            warn(
                "disk-bus-unproven",
                format!(
                    "nothing shows that the guest boots from {bus} disks: if it does not, leave \
                     --disk-bus out"
                ),
            )
        }
        _ => Vec::new(),
    }
}
