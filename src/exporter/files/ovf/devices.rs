//! The devices of an OVF's hardware section, and the files of its disks.

use super::index::Index;
use super::schema::{
    BootOrder, Disk, FileReference, Hardware, Item, Machine, VirtualSystem, setting,
};
use super::units;
use crate::exporter::files::names::format_of;
use crate::exporter::files::package::OvfDisk;
use crate::model::{
    Bus, ByteSize, Controller, CpuTopology, DiskId, NicModel, SourceDisk, SourceNic,
};

/// Most chunks of one file: an archive holds no more.
const MOST_CHUNKS: u64 = 10_000;
/// Most devices of a VM. vSphere has some 350 of all kinds ("Configuration Maximums").
const MOST_DEVICES: usize = 2000;
/// Longest name of a file, in bytes: that of any path of Linux.
const LONGEST_HREF: usize = 4096;

/// What the hardware section says.
#[derive(Default)]
pub(super) struct Devices {
    pub(super) cpu: Option<CpuTopology>,
    pub(super) memory_mib: Option<u64>,
    pub(super) vtpm: bool,
    pub(super) cdroms: u32,
    pub(super) disks: Vec<SourceDisk>,
    /// In the order of `disks`.
    pub(super) files: Vec<OvfDisk>,
    /// Whether the package names a disk that boots.
    pub(super) names_boot_disk: bool,
    pub(super) nics: Vec<SourceNic>,
}

/// A disk as it is found, before the disks are put in order.
struct Found {
    disk: SourceDisk,
    file: OvfDisk,
    /// Its `InstanceID`.
    instance: String,
    /// oVirt: its place among all devices that boot.
    boot_order: Option<u32>,
    /// oVirt: whether it is marked as the boot disk.
    boots: bool,
}

impl Devices {
    /// Reads the section of a system.
    ///
    /// # Errors
    /// What is missing or makes no sense, as a clause.
    pub(super) fn of(
        hardware: &Hardware,
        system: &VirtualSystem,
        index: &Index<'_>,
    ) -> Result<Self, String> {
        let mut devices = Self::default();
        let all = || {
            let all = hardware.item.iter().chain(&hardware.storage_item);
            all.chain(&hardware.ethernet_port_item).filter(|item| index.has(item))
        };
        if all().count() > MOST_DEVICES {
            return Err(format!("it describes a VM of more than {MOST_DEVICES} devices"));
        }
        let mut disks = Vec::new();
        for item in all() {
            // `CIM_ResourceAllocationSettingData.ResourceType`.
            match item.kind.trim() {
                "3" => devices.cpu = Some(cpu(item)?),
                "4" => devices.memory_mib = memory(item),
                "10" => devices.nics.push(nic(item, devices.nics.len())),
                "15" | "16" => devices.cdroms += 1,
                "17" | "31" => disks.push(disk(item, all(), index)?),
                _ => devices.vtpm |= item.subtype.iter().any(|kind| kind.contains("vtpm")),
            }
        }
        disks.sort_by_key(|Found { disk, .. }| {
            (disk.controller.bus, disk.controller.number, disk.unit)
        });
        let named = boot_disks(&disks, &system.boot_order_section);
        for (index, Found { disk, file, .. }) in disks.into_iter().enumerate() {
            devices.disks.push(disk.at(index));
            devices.files.push(file);
        }
        devices.names_boot_disk = SourceDisk::order_boot(&mut devices.disks, &named);
        slots(&mut devices.nics, hardware);
        if let Some(machine) = &system.machine {
            addresses(&mut devices.nics, machine);
        }
        Ok(devices)
    }
}

/// The disks that the package says boot, the first of them first: by VMware's sections, else by
/// oVirt's numbers, else by oVirt's mark.
fn boot_disks(disks: &[Found], sections: &[BootOrder]) -> Vec<usize> {
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
    let numbered = disks.iter().enumerate().filter_map(|(at, disk)| Some((disk.boot_order?, at)));
    let mut numbered: Vec<_> = numbered.collect();
    numbered.sort_unstable();
    if !numbered.is_empty() {
        return numbered.into_iter().map(|(_, at)| at).collect();
    }
    (0..disks.len()).filter(|at| disks[*at].boots).collect()
}

/// Fills in the slots that stand in VMware's lines of the VMX, which name a card by its place.
fn slots(nics: &mut [SourceNic], hardware: &Hardware) {
    for (index, nic) in nics.iter_mut().enumerate() {
        let line = format!("ethernet{index}.pciSlotNumber");
        nic.slot = nic.slot.or_else(|| setting(&hardware.extra_config, &line)?.trim().parse().ok());
    }
}

/// Fills in the MAC addresses that VirtualBox writes into its own settings alone: the adapters that
/// are in use, in the order of their slots, are the cards.
fn addresses(nics: &mut [SourceNic], machine: &Machine) {
    let adapters = machine.hardware.network.adapter.iter();
    let mut used: Vec<_> = adapters.filter(|adapter| adapter.enabled.trim() == "true").collect();
    used.sort_by_key(|adapter| adapter.slot.trim().parse().unwrap_or(u32::MAX));
    if used.len() == nics.len() {
        for (nic, adapter) in nics.iter_mut().zip(used) {
            nic.mac = nic.mac.or_else(|| adapter.mac.trim().parse().ok());
        }
    }
}

fn cpu(item: &Item) -> Result<CpuTopology, String> {
    let number = |text: &Option<String>| text.as_deref().and_then(|text| text.trim().parse().ok());
    let vcpus = number(&item.quantity).filter(|count| (1..=4096).contains(count));
    let vcpus = vcpus.ok_or("its number of CPUs makes no sense")?;
    Ok(CpuTopology::new(vcpus, number(&item.cores_per_socket).unwrap_or(1)))
}

/// In MiB; nothing when its amount makes no sense.
fn memory(item: &Item) -> Option<u64> {
    let units = item.units.as_deref().unwrap_or("byte * 2^20");
    let bytes = item.quantity.as_deref().and_then(|quantity| units::amount(quantity, units));
    bytes.map(|bytes| bytes >> 20).filter(|mib| *mib > 0)
}

fn nic(item: &Item, index: usize) -> SourceNic {
    let subtype = item.subtype.first().map(|kind| kind.to_ascii_lowercase()).unwrap_or_default();
    let model = match subtype.as_str() {
        kind if kind.contains("vmxnet3") => NicModel::Vmxnet,
        kind if kind.contains("vmxnet") => NicModel::Vmxnet2,
        kind if kind.contains("virtio") => NicModel::Virtio,
        kind if kind.contains("8139") => NicModel::Rtl8139,
        kind if kind.contains("e1000e") => NicModel::E1000e,
        kind if kind.contains("e1000") => NicModel::E1000,
        kind if kind.contains("pcnet") => NicModel::Pcnet,
        _ => NicModel::Other,
    };
    SourceNic {
        mac: [&item.address, &item.mac]
            .into_iter()
            .find_map(|address| address.as_deref()?.trim().parse().ok()),
        slot: slot(item),
        model,
        network: item.connection.first().map(|name| name.trim().to_owned()).unwrap_or_default(),
        connected: item.connected.as_deref().is_none_or(|text| text.trim() != "false"),
        ..SourceNic::at(index)
    }
}

/// A disk, and its file.
fn disk<'a>(
    item: &Item,
    mut all: impl Iterator<Item = &'a Item>,
    index: &Index<'_>,
) -> Result<Found, String> {
    let label = item.name.as_deref().unwrap_or_default().trim().to_owned();
    let resource = item.host_resource.first().map(|resource| resource.trim()).unwrap_or_default();
    let wrong = || format!("its disk '{label}' is nowhere: '{resource}'");
    let (_, reference) = resource.rsplit_once('/').ok_or_else(wrong)?;
    let described = match resource.contains("/file/") {
        true => Disk { file: Some(reference.to_owned()), ..Disk::default() },
        false => (*index.disks.get(reference).ok_or_else(wrong)?).clone(),
    };
    if described.parent.is_some() {
        return Err(format!("its disk '{label}' is the difference to another one"));
    }
    let capacity = match described.capacity.trim() {
        "" => 0,
        number => units::amount(number, &described.units)
            .ok_or_else(|| format!("the capacity of its disk '{label}' makes no sense"))?,
    };
    let file = match &described.file {
        None => None,
        Some(id) => Some(*index.files.get(id.as_str()).ok_or_else(wrong)?),
    };
    if file.is_none() && capacity == 0 {
        return Err(format!("its disk '{label}' has neither a file nor a capacity"));
    }
    let parent = item.parent.as_deref().map(str::trim);
    let controller = all.find(|other| parent.is_some_and(|id| other.instance.trim() == id));
    let unit = item.address_on_parent.as_deref().and_then(|text| text.trim().parse().ok());
    let disk = SourceDisk {
        id: DiskId::from_index(0),
        key: 0,
        label: label.clone(),
        controller: controller.map_or_else(
            || Controller { bus: Bus::Other, model: String::new(), number: 0, slot: None },
            bus,
        ),
        unit: unit.unwrap_or(0),
        capacity: ByteSize(capacity),
        boot_order: 0,
        backing: file.map(|file| file.href.clone()),
        uuid: None,
    };
    Ok(Found {
        disk,
        file: of_file(file, &described.format, capacity)?,
        instance: item.instance.clone(),
        boot_order: item
            .boot_order
            .as_deref()
            .and_then(|number| number.trim().parse().ok())
            .filter(|number| *number > 0),
        boots: matches!(described.boot.trim(), "true" | "1"),
    })
}

fn of_file(file: Option<&FileReference>, format: &str, capacity: u64) -> Result<OvfDisk, String> {
    let Some(file) = file else {
        return Ok(OvfDisk {
            href: None,
            chunks: None,
            size: None,
            gzip: false,
            format: None,
            capacity,
        });
    };
    let href = &file.href;
    if href.is_empty() {
        return Err(format!("its file '{}' has no href", file.id));
    }
    if href.len() > LONGEST_HREF {
        return Err(format!("the name of its file '{}' is too long", file.id));
    }
    let gzip = match file.compression.as_str() {
        "" | "identity" => href.to_ascii_lowercase().ends_with(".gz"),
        "gzip" => true,
        other => return Err(format!("'{href}' is compressed as '{other}'")),
    };
    let number = |text: &Option<String>| {
        text.as_deref().and_then(|text| text.trim().parse::<u64>().ok()).filter(|n| *n > 0)
    };
    let size = number(&file.size);
    // Section 7.1: all chunks but the last are of the same size.
    let chunks = match (number(&file.chunk_size), size) {
        (None, _) => None,
        (Some(chunk), Some(size)) if size.div_ceil(chunk) <= MOST_CHUNKS => {
            Some(size.div_ceil(chunk))
        }
        (Some(_), _) => return Err(format!("the chunks of '{href}' cannot be counted")),
    };
    let format = format_of(format, href);
    Ok(OvfDisk { href: Some(href.clone()), chunks, size, gzip, format, capacity })
}

/// VMware's slot of a device.
fn slot(item: &Item) -> Option<u32> {
    setting(&item.config, "slotInfo.pciSlotNumber")?.trim().parse().ok()
}

/// The controller in vSphere's words, which the domain is planned by.
fn bus(item: &Item) -> Controller {
    let subtype = item.subtype.join(" ").to_ascii_lowercase();
    let (bus, model) = match (item.kind.trim(), subtype.as_str()) {
        ("5", _) => (Bus::Ide, "VirtualIDEController"),
        ("6", kind) if kind.contains("virtualscsi") => (Bus::Scsi, "ParaVirtualSCSIController"),
        ("6", kind) if kind.contains("lsilogicsas") => (Bus::Scsi, "VirtualLsiLogicSASController"),
        ("6", kind) if kind.contains("buslogic") => (Bus::Scsi, "VirtualBusLogicController"),
        ("6", _) => (Bus::Scsi, "VirtualLsiLogicController"),
        (_, kind) if kind.contains("nvme") => (Bus::Nvme, "VirtualNVMEController"),
        ("20", kind) if kind.contains("ahci") || kind.contains("sata") => {
            (Bus::Sata, "VirtualAHCIController")
        }
        _ => (Bus::Other, ""),
    };
    let number = item.address.as_deref().and_then(|text| text.trim().parse().ok());
    Controller { bus, model: model.to_owned(), number: number.unwrap_or(0), slot: slot(item) }
}
