//! Converts an OVF descriptor to [`SourceVm`](crate::model::SourceVm).

mod board;
mod cards;
mod cost;
mod devices;
mod disks;
mod firmware;
mod guest;
mod index;
mod normal;
mod properties;
mod schema;
#[cfg(test)]
mod tests;
mod units;

use std::collections::HashSet;

use quick_xml::de::from_str;

use crate::exporter::files::ovf_package::packaged_vm::PackagedVm;
use crate::exporter::guest_os::{self, Detailed};
use crate::exporter::nvram;
use crate::model::{Assumed, CpuTopology, Firmware, GuestOs, Origin, PowerState, SourceVm};

use devices::OvfDevices;
use index::Index;
use schema::{Collection, Envelope, HardwareSection, VirtualSystem};

/// Maximum length of a VM name, in characters; longer names are cut.
const LONGEST_NAME: usize = 1000;

/// The contents of a descriptor.
#[derive(Debug)]
pub(super) struct Read {
    /// The VMs, in the descriptor's order.
    pub(super) systems: Vec<PackagedVm>,
    /// Names of the disk files that no hardware refers to.
    pub(super) unused: Vec<String>,
    /// Names of the CD-ROM images that no hardware refers to.
    pub(super) unused_media: Vec<String>,
}

/// Reads a descriptor.
///
/// # Errors
/// What is wrong with the descriptor, as a clause.
pub(super) fn read(text: &str) -> Result<Read, String> {
    let text = normal::normal(text)?;
    let envelope: Envelope =
        from_str(&text).map_err(|error| format!("it is not an OVF: {error}"))?;
    if envelope.content.is_some() {
        return Err("it is of OVF 0.9, and its content is not a VM; export the VM again as OVF 1.0 or later".to_owned());
    }
    let mut systems: Vec<&VirtualSystem> = envelope.virtual_system.iter().collect();
    collect(&envelope.virtual_system_collection, &mut systems);
    if systems.is_empty() {
        return Err("it describes no VM".to_owned());
    }
    let index = Index::of(&envelope);
    let systems = systems.into_iter().map(|system| describe(system, &index));
    let systems: Vec<_> = systems.collect::<Result<_, _>>()?;
    let used = systems.iter().flat_map(|system| &system.disks);
    let used: HashSet<&str> = used.filter_map(|disk| disk.href.as_deref()).collect();
    let media = systems.iter().flat_map(|system| &system.media).map(|medium| medium.href.as_str());
    let media: HashSet<&str> = used.iter().copied().chain(media).collect();
    let (unused, unused_media) = (index.unused(&media), index.unused_media(&media));
    Ok(Read { systems, unused, unused_media })
}

fn collect<'a>(collections: &'a [Collection], systems: &mut Vec<&'a VirtualSystem>) {
    for collection in collections {
        systems.extend(&collection.virtual_system);
        collect(&collection.virtual_system_collection, systems);
    }
}

fn describe(system: &VirtualSystem, index: &Index<'_>) -> Result<PackagedVm, String> {
    index.cost.borrow_mut().system()?;
    // Further sections are alternatives; importers use the first.
    let none = HardwareSection::default();
    let hardware = system.virtual_hardware_section.first().unwrap_or(&none);
    let devices = OvfDevices::of(hardware, system, index)?;
    let setting = |key: &str| {
        let all = [&hardware.config, &hardware.extra_config];
        all.into_iter().find_map(|settings| schema::setting(settings, key))
    };
    let firmware = firmware::firmware(setting("firmware"), system, hardware);
    let is_efi = firmware == Some(Firmware::Efi);
    let secure = ["bootOptions.efiSecureBootEnabled", "uefi.secureBoot.enabled"];
    let is_on = |key: &&str| setting(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let secure = secure.iter().any(is_on) || firmware::is_secure(system, hardware);
    let detailed = ["guestInfo.detailed.data", "guestOS.detailed.data"];
    let detailed = detailed.into_iter().find_map(setting).map(Detailed::read).unwrap_or_default();
    let os = &system.operating_system_section;
    let vm = SourceVm {
        provider: "local".to_owned(),
        id: id(system),
        name: name(system, hardware),
        instance_uuid: None,
        inventory_path: None,
        datacenter: None,
        power: PowerState::Off,
        arch: detailed.arch().or_else(|| arch(system, hardware)),
        cpu: devices.cpu.unwrap_or(CpuTopology::new(1, 1)),
        memory_mib: devices.memory_mib.unwrap_or(0),
        firmware: firmware.unwrap_or(Firmware::Bios),
        secure_boot: is_efi && secure,
        vtpm: devices.vtpm,
        cdroms: devices.cdroms,
        board: board::board(hardware, guest::family(os)),
        origin: Origin::default(),
        assumed: Assumed { firmware: firmware.is_none(), boot_disk: !devices.names_boot_disk },
        guest: GuestOs {
            id: guest::id(os),
            full_name: guest::full_name(os),
            family: guest::family(os),
            network: None,
        },
        disks: devices.disks,
        nics: devices.nics,
        facts: None,
    };
    let mut warnings = devices.warnings;
    let nvram = match is_efi.then(|| variables(hardware, index)).transpose() {
        Ok(nvram) => nvram.flatten(),
        Err(why) => {
            warnings.push(nvram::missed(why));
            None
        }
    };
    let (disks, media, odd_cpu) = (devices.files, devices.media, devices.odd_cpu);
    Ok(PackagedVm { vm, disks, odd_cpu, media, nvram, warnings })
}

/// The architecture: by VirtualBox's platform, else by the type of the system, else by the guest.
fn arch(system: &VirtualSystem, hardware: &HardwareSection) -> Option<String> {
    let platform = system.machine.as_ref().map(|machine| machine.platform.architecture.as_str());
    let kind = hardware.system.virtual_system_type.as_deref();
    guest_os::arch(&[platform.unwrap_or_default(), kind.unwrap_or_default()])
        .or_else(|| guest::architecture(&system.operating_system_section))
}

/// The file of the UEFI variables, which VMware refers to as `ovf:/file/ID`.
fn variables(hardware: &HardwareSection, index: &Index<'_>) -> Result<Option<String>, String> {
    let Some(value) = schema::setting(&hardware.extra_config, "nvram") else { return Ok(None) };
    let Some(id) = value.strip_prefix("ovf:/file/") else { return Ok(None) };
    let file = index.files.get(id);
    let file =
        file.ok_or_else(|| format!("the package lists no file '{id}', where they should be"))?;
    match file.compression.as_str() {
        "" | "identity" => {
            index.cost.borrow_mut().file(&file.href)?;
            Ok(Some(file.href.clone()))
        }
        other => Err(format!("they are compressed by '{other}'")),
    }
}

/// The VM's id. In oVirt's storage, where every VM has the id `out`, the guest's system has the id.
fn id(system: &VirtualSystem) -> String {
    let of_guest = system.operating_system_section.id.trim();
    let is_uuid = of_guest.len() == 36 && of_guest.matches('-').count() == 4;
    let id = if is_uuid { of_guest } else { system.id.as_str() };
    id.to_owned()
}

/// The VM's name: its element, else the element that other writers use, else its id.
fn name(system: &VirtualSystem, hardware: &HardwareSection) -> String {
    let told = system.name.iter().chain(&hardware.system.virtual_system_identifier);
    let mut named = told.map(|name| name.trim());
    let name = named.find(|name| !name.is_empty()).unwrap_or(&system.id);
    name.chars().take(LONGEST_NAME).collect()
}
