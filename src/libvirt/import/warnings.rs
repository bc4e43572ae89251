//! Warnings about a valid domain plan.

use crate::domain::Attachment::Nothing;
use crate::domain::{
    CpuChoice, CpuMode, DiskBus, DomainSpec, Family, FirmwareSpec, NetworkMap, PlanOptions,
};
use crate::model::{SourceNic, SourceVm, Stage, Warning, WarningCode};

/// Warnings about the hardware of a planned domain.
pub(in crate::libvirt) fn of_plan(
    spec: &DomainSpec,
    vm: &SourceVm,
    options: &PlanOptions,
) -> Vec<Warning> {
    let mut warnings = of_disks(spec, vm, options);
    warnings.extend(of_networks(vm, &options.network_map));
    warnings.extend(of_firmware(spec, vm));
    warnings.extend(of_cpu(spec, vm, options));
    warnings
}

/// Warns about UEFI settings that the guest loses: boot entries and keys are in another firmware's
/// file.
fn of_firmware(spec: &DomainSpec, vm: &SourceVm) -> Option<Warning> {
    let FirmwareSpec::Efi { secure_boot } = spec.firmware else { return None };
    let mut message =
        "the UEFI variables of the source are not carried over: the firmware finds the \
                       guest by its loader \\EFI\\BOOT\\BOOTX64.EFI, and entries for other loaders \
                       are to be made again (efibootmgr, bcdedit)"
            .to_owned();
    if secure_boot {
        message += "; keys that were enrolled by hand (MOK, db) are not there, and what they signed \
                    does not start";
    }
    if vm.vtpm {
        message += "; the TPM is empty: BitLocker asks for its recovery key";
    }
    Some(Warning::new(Stage::Libvirt, WarningCode::NvramNotKept, message))
}

/// Warns about a CPU model of the source that the host does not offer.
fn of_cpu(spec: &DomainSpec, vm: &SourceVm, options: &PlanOptions) -> Option<Warning> {
    let model = vm.board.cpu_model.as_deref()?;
    let kept = match &spec.cpu {
        CpuMode::Custom(chosen) => chosen == model,
        mode => mode.as_str() == model,
    };
    if kept || options.hardware.cpu != CpuChoice::Auto {
        return None;
    }
    let message = format!(
        "the CPU model of the source, {model}, is not to be had here: the domain gets {}; \
         --libvirt-cpu-mode chooses another",
        spec.cpu.as_str()
    );
    Some(Warning::new(Stage::Libvirt, WarningCode::CpuModelNotKept, message))
}

/// Warns about cards that the map leaves out, and about a `*` for a VM without cards.
fn of_networks(vm: &SourceVm, map: &NetworkMap) -> Vec<Warning> {
    let warn = |code: WarningCode, message: String| Warning::new(Stage::Libvirt, code, message);
    let left_out = vm.nics.iter().filter(|nic| map.target(nic) == Some(Nothing));
    let mut warnings: Vec<_> = left_out
        .map(|nic| {
            let message = format!(
                "{} ({}) in network '{}' is left out of the domain",
                nic.id,
                nic.mac.map_or_else(|| "no address".to_owned(), |mac| mac.to_string()),
                nic.network
            );
            warn(WarningCode::NicLeftOut, message)
        })
        .collect();
    let of_others = map.target(&SourceNic::at(0));
    if vm.nics.is_empty() && of_others.is_some_and(|target| target != Nothing) {
        let message = "the VM has no network card: --network-map connects nothing".to_owned();
        warnings.push(warn(WarningCode::NetworkMapUnused, message));
    }
    warnings
}

fn of_disks(spec: &DomainSpec, vm: &SourceVm, options: &PlanOptions) -> Vec<Warning> {
    let Some(boot) = spec.disks.first() else { return Vec::new() };
    let family = options.family(vm);
    let warn =
        |code: WarningCode, message: String| vec![Warning::new(Stage::Libvirt, code, message)];
    let drivers = vm.facts.as_ref().and_then(|facts| facts.drivers.as_ref());
    let on_virtio = spec.starts_from_virtio();
    match options.hardware.disk_bus {
        None if drivers.is_some() && !spec.fixed => warn(
            WarningCode::GuestWillNotBoot,
            format!(
                "the guest has no driver for any controller that can be planned: its disks are on \
                 {}, and it will not find them",
                boot.bus
            ),
        ),
        None if drivers.is_some() && !on_virtio => warn(
            WarningCode::GuestNotFixed,
            format!("the guest does not start from virtio: its disks are on {}", boot.bus),
        ),
        None if drivers.is_none() && family == Family::Linux && !spec.fixed && !on_virtio => warn(
            WarningCode::GuestNotFixed,
            format!(
                "nothing shows that this Linux starts from virtio: its disks are on {}; if it has \
                 the drivers, --disk-bus virtio is faster",
                boot.bus
            ),
        ),
        Some(bus) if drivers.is_some() && !spec.fixed => warn(
            WarningCode::DiskBusUnproven,
            format!("the guest has no driver for {bus} disks: leave --disk-bus out"),
        ),
        Some(bus @ (DiskBus::Virtio | DiskBus::Scsi))
            if drivers.is_none() && !(family == Family::Linux && spec.fixed) =>
        {
            warn(
                WarningCode::DiskBusUnproven,
                format!(
                    "nothing shows that the guest boots from {bus} disks: if it does not, leave \
                     --disk-bus out"
                ),
            )
        }
        _ => Vec::new(),
    }
}
