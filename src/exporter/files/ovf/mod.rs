//! An OVF descriptor in the terms of [`SourceVm`](crate::model::SourceVm).

mod board;
mod devices;
mod guest;
mod index;
mod schema;
mod units;

use quick_xml::de::from_str;

use super::package::System;
use crate::exporter::guest_os::{self, Detailed};
use crate::model::{Assumed, CpuTopology, Firmware, GuestOs, Origin, PowerState, SourceVm};

use devices::Devices;
use index::Index;
use schema::{Collection, Envelope, Hardware, Machine, VirtualSystem};

/// Deepest nesting of elements. Descriptors stay below 12.
const DEEPEST: usize = 64;
/// Longest name of a VM that is kept, in characters.
const LONGEST_NAME: usize = 1000;

/// What a descriptor describes.
#[derive(Debug)]
pub(super) struct Read {
    /// The VMs, in its order.
    pub(super) systems: Vec<System>,
    /// The disks that no hardware uses, by their files.
    pub(super) unused: Vec<String>,
}

/// Reads a descriptor.
///
/// # Errors
/// What is wrong with it, as a clause.
pub(super) fn read(text: &str) -> Result<Read, String> {
    check_depth(text)?;
    let envelope: Envelope = from_str(text).map_err(|error| format!("it is no OVF: {error}"))?;
    if envelope.content.is_some() {
        return Err("it is of OVF 0.9; export the VM again as OVF 1.0 or later".to_owned());
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
    let unused = index.unused(&used.filter_map(|disk| disk.href.as_deref()).collect());
    Ok(Read { systems, unused })
}

fn collect<'a>(collections: &'a [Collection], systems: &mut Vec<&'a VirtualSystem>) {
    for collection in collections {
        systems.extend(&collection.virtual_system);
        collect(&collection.virtual_system_collection, systems);
    }
}

/// The parser of a type that contains itself goes down as deep as the text does.
fn check_depth(text: &str) -> Result<(), String> {
    use quick_xml::events::Event;
    let mut reader = quick_xml::Reader::from_str(text);
    let mut depth = 0_usize;
    loop {
        match reader.read_event().map_err(|error| format!("it is no XML: {error}"))? {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Eof => return Ok(()),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(format!("its elements are nested deeper than {DEEPEST} levels"));
        }
    }
}

fn describe(system: &VirtualSystem, index: &Index<'_>) -> Result<System, String> {
    // Further sections are alternatives; the first is the one that everybody takes.
    let none = Hardware::default();
    let hardware = system.virtual_hardware_section.first().unwrap_or(&none);
    let devices = Devices::of(hardware, system, index)?;
    let setting = |key: &str| {
        let all = [&hardware.config, &hardware.extra_config];
        all.into_iter().find_map(|settings| schema::setting(settings, key))
    };
    let firmware = firmware(setting("firmware"), system.machine.as_ref());
    let is_efi = firmware == Some(Firmware::Efi);
    let secure = ["bootOptions.efiSecureBootEnabled", "uefi.secureBoot.enabled"];
    let is_on = |key: &&str| setting(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let detailed = ["guestInfo.detailed.data", "guestOS.detailed.data"];
    let detailed = detailed.into_iter().find_map(setting).map(Detailed::read).unwrap_or_default();
    let os = &system.operating_system_section;
    let vm = SourceVm {
        provider: "local".to_owned(),
        id: system.id.clone(),
        name: name(system, hardware),
        instance_uuid: None,
        inventory_path: None,
        datacenter: None,
        power: PowerState::Off,
        arch: detailed.arch().or_else(|| arch(system, hardware)),
        cpu: devices.cpu.unwrap_or(CpuTopology::new(1, 1)),
        memory_mib: devices.memory_mib.unwrap_or(0),
        firmware: firmware.unwrap_or(Firmware::Bios),
        secure_boot: is_efi && secure.iter().any(is_on),
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
    let nvram = if is_efi { nvram(hardware, index)? } else { None };
    Ok(System { vm, disks: devices.files, nvram })
}

/// The firmware: by VMware's setting, else by VirtualBox's description, in which BIOS is what is left
/// out. `None` when the package tells none.
fn firmware(setting: Option<&str>, machine: Option<&Machine>) -> Option<Firmware> {
    match setting.map(str::to_ascii_lowercase).as_deref() {
        Some("efi") => return Some(Firmware::Efi),
        Some("bios") => return Some(Firmware::Bios),
        _ => {}
    }
    let is_efi = |kind: &str| kind.to_ascii_uppercase().starts_with("EFI");
    machine.map(|machine| match is_efi(&machine.hardware.firmware.kind) {
        true => Firmware::Efi,
        false => Firmware::Bios,
    })
}

/// The architecture: by VirtualBox's platform, by the kind of the system, by the guest.
fn arch(system: &VirtualSystem, hardware: &Hardware) -> Option<String> {
    let platform = system.machine.as_ref().map(|machine| machine.platform.architecture.as_str());
    let kind = hardware.system.virtual_system_type.as_deref();
    guest_os::arch(&[platform.unwrap_or_default(), kind.unwrap_or_default()])
        .or_else(|| guest::architecture(&system.operating_system_section))
}

/// The file of the UEFI variables, which VMware names as `ovf:/file/ID`.
fn nvram(hardware: &Hardware, index: &Index<'_>) -> Result<Option<String>, String> {
    let mut settings = hardware.extra_config.iter();
    let setting = settings.find(|setting| setting.key.eq_ignore_ascii_case("nvram"));
    let Some(id) = setting.and_then(|setting| setting.value.strip_prefix("ovf:/file/")) else {
        return Ok(None);
    };
    let file = index.files.get(id);
    let file =
        file.ok_or_else(|| format!("its UEFI variables are in the file '{id}' that is not there"))?;
    match file.compression.as_str() {
        "" | "identity" => Ok(Some(file.href.clone())),
        other => Err(format!("its UEFI variables are compressed by '{other}'")),
    }
}

/// The VM's name: its element, or what others use for it, or its id.
fn name(system: &VirtualSystem, hardware: &Hardware) -> String {
    let told = system.name.iter().chain(&hardware.system.virtual_system_identifier);
    let mut named = told.map(|name| name.trim());
    let name = named.find(|name| !name.is_empty()).unwrap_or(&system.id);
    name.chars().take(LONGEST_NAME).collect()
}
