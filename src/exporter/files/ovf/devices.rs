//! Devices of an OVF's hardware section.

use std::collections::HashSet;

use super::disks::{FoundDisk, Resources};
use super::index::Index;
use super::properties::Properties;
use super::schema::{BootOrder, HardwareSection, Item, Setting, VirtualSystem, setting};
use super::{cards, units};
use crate::exporter::boot_order;
use crate::exporter::files::ovf_package::packaged_vm::{OvfDisk, OvfMedium};
use crate::model::{CpuTopology, SourceDisk, SourceNic, Stage, Warning, WarningCode};

/// Maximum number of devices of a VM. vSphere allows some 350 of all kinds ("Configuration
/// Maximums").
const MOST_DEVICES: usize = 2000;

/// The facts of a hardware section.
#[derive(Default)]
pub(super) struct OvfDevices {
    pub(super) cpu: Option<CpuTopology>,
    /// Whether the section has CPUs, but their number is invalid.
    pub(super) odd_cpu: bool,
    pub(super) memory_mib: Option<u64>,
    pub(super) vtpm: bool,
    pub(super) cdroms: u32,
    pub(super) disks: Vec<SourceDisk>,
    /// Files of the disks, in the order of `disks`.
    pub(super) files: Vec<OvfDisk>,
    /// Images of the CD-ROM drives that the package contains.
    pub(super) media: Vec<OvfMedium>,
    /// Whether the package names a boot disk.
    pub(super) names_boot_disk: bool,
    pub(super) nics: Vec<SourceNic>,
    pub(super) warnings: Vec<Warning>,
}

impl OvfDevices {
    /// Reads the hardware section of a system.
    ///
    /// # Errors
    /// What is missing or invalid, as a clause.
    pub(super) fn of(
        hardware: &HardwareSection,
        system: &VirtualSystem,
        index: &Index<'_>,
    ) -> Result<Self, String> {
        let mut devices = Self::default();
        let items = items(hardware, index);
        if items.len() > MOST_DEVICES {
            return Err(format!("it describes a VM of more than {MOST_DEVICES} devices"));
        }
        let properties = Properties::of(system, index)?;
        let resources = Resources::of(&items, index, &properties);
        let (mut disks, mut chunked) = (Vec::new(), HashSet::new());
        for item in &items {
            // The numbers are those of `CIM_ResourceAllocationSettingData.ResourceType`.
            match item.kind.trim() {
                "3" => devices.cpu(item, &properties),
                "4" => devices.memory_mib = memory(item, &properties),
                "10" => devices.nics.push(cards::nic(item, devices.nics.len())),
                _ if resources.is_medium(item) => {
                    devices.cdroms += 1;
                    devices.media.extend(resources.medium(item)?);
                }
                _ if resources.is_disk(item) => match resources.disk(item)? {
                    Ok(found) => {
                        chunks_once(&mut chunked, &found)?;
                        disks.push(found);
                    }
                    Err(label) => devices.warnings.push(left_out(&label)),
                },
                _ => devices.vtpm |= is_tpm(item),
            }
        }
        disks.sort_by_key(|FoundDisk { disk, .. }| {
            (disk.controller.bus, disk.controller.number, disk.unit)
        });
        let named = boot_disks(&disks, &system.boot_order_section, &hardware.extra_config);
        for (index, FoundDisk { disk, file, made, .. }) in disks.into_iter().enumerate() {
            let disk = disk.at(index);
            devices.warnings.extend(made.then(|| empty(&disk)));
            devices.disks.push(disk);
            devices.files.push(file);
        }
        devices.names_boot_disk = SourceDisk::order_boot(&mut devices.disks, &named);
        let cards: Vec<&Item> = items.iter().filter(|item| item.kind.trim() == "10").collect();
        cards::slots(&mut devices.nics, &cards, &hardware.extra_config);
        if let Some(machine) = &system.machine {
            cards::of_virtual_box(&mut devices.nics, machine);
            let tpm = machine.hardware.trusted_platform_module.kind.trim();
            devices.vtpm |= !matches!(tpm, "" | "None" | "Host");
        }
        Ok(devices)
    }

    fn cpu(&mut self, item: &Item, properties: &Properties<'_>) {
        let number = |text: &Option<String>| {
            text.as_deref().and_then(|text| properties.value(text)?.trim().parse().ok())
        };
        let cores = number(&item.cores_per_socket).or_else(|| number(&item.cpu_per_socket));
        let threads: u32 = number(&item.threads).unwrap_or(1);
        let of_socket = cores.unwrap_or(1).saturating_mul(threads);
        let in_sockets = || number(&item.sockets).map(|count: u32| count.saturating_mul(of_socket));
        let vcpus = number(&item.quantity).or_else(in_sockets);
        let vcpus = vcpus.filter(|count| (1..=4096).contains(count));
        self.cpu = vcpus.map(|vcpus| CpuTopology::new(vcpus, of_socket).with_threads(threads));
        self.odd_cpu = vcpus.is_none();
    }
}

/// The items of the default deployment option. If several items describe one device, a later item
/// replaces the fields that it names (DSP0243 2.1.1, section 9.8).
fn items(hardware: &HardwareSection, index: &Index<'_>) -> Vec<Item> {
    let all = hardware.item.iter().chain(&hardware.storage_item);
    let all = all.chain(&hardware.ethernet_port_item).filter(|item| index.has(item));
    let mut items: Vec<Item> = Vec::new();
    for item in all {
        let same = |known: &&mut Item| {
            let is_option = !item.configuration.is_empty() || !known.configuration.is_empty();
            let id = item.instance.trim();
            is_option && !id.is_empty() && id == known.instance.trim() && item.kind == known.kind
        };
        match items.iter_mut().find(same) {
            Some(known) => known.replace(item),
            None => items.push(item.clone()),
        }
        if items.len() > MOST_DEVICES {
            break;
        }
    }
    items
}

/// Rejects disks with the same chunks: no writer produces that, and each disk would store all the
/// names.
fn chunks_once(chunked: &mut HashSet<String>, found: &FoundDisk) -> Result<(), String> {
    match (&found.file.href, found.file.chunks) {
        (Some(href), Some(_)) if !chunked.insert(href.clone()) => {
            Err(format!("'{href}' in it is two disks at once"))
        }
        _ => Ok(()),
    }
}

fn is_tpm(item: &Item) -> bool {
    item.subtype.iter().any(|kind| kind.to_ascii_lowercase().contains("vtpm"))
        || item.device.trim().eq_ignore_ascii_case("tpm")
}

fn left_out(label: &str) -> Warning {
    let text = format!(
        "the hardware has the disk '{label}' without an image and without a size: it is left out"
    );
    Warning::new(Stage::Export, WarningCode::DiskLeftOut, text)
}

fn empty(disk: &SourceDisk) -> Warning {
    let text = format!(
        "the package has no image of {} ('{}'): it becomes an empty disk of {}",
        disk.id, disk.label, disk.capacity
    );
    Warning::new(Stage::Export, WarningCode::DiskEmpty, text)
}

/// Memory in MiB; `None` when the amount is invalid.
fn memory(item: &Item, properties: &Properties<'_>) -> Option<u64> {
    let units = item.units.as_deref().filter(|units| !units.trim().is_empty());
    let quantity = properties.value(item.quantity.as_deref()?)?;
    let bytes = units::amount(quantity, units.unwrap_or("byte * 2^20"));
    bytes.map(|bytes| bytes >> 20).filter(|mib| *mib > 0)
}

/// The boot disks in boot order: by VMware's sections, else by VMware's VMX lines, else by oVirt's
/// numbers, else by oVirt's boot flag.
fn boot_disks(disks: &[FoundDisk], sections: &[BootOrder], lines: &[Setting]) -> Vec<usize> {
    let of_disks = sections
        .iter()
        .take(MOST_DEVICES)
        .filter(|entry| entry.kind.trim().eq_ignore_ascii_case("disk"));
    let by_section = of_disks.filter_map(|entry| {
        disks.iter().position(|disk| disk.instance.trim() == entry.instance.trim())
    });
    let named: Vec<_> = by_section.collect();
    if !named.is_empty() {
        return named;
    }
    let all: Vec<&SourceDisk> = disks.iter().map(|found| &found.disk).collect();
    let by_vmx = boot_order::boot_disks(|key| setting(lines, key), &all);
    if !by_vmx.is_empty() {
        return by_vmx;
    }
    let numbered = disks.iter().enumerate().filter_map(|(at, disk)| Some((disk.boot_order?, at)));
    let mut numbered: Vec<_> = numbered.collect();
    numbered.sort_unstable();
    if !numbered.is_empty() {
        return numbered.into_iter().map(|(_, at)| at).collect();
    }
    (0..disks.len()).filter(|at| disks[*at].boots).collect()
}
