//! The firmware of an OVF's VM, for which every writer uses another element.

use super::schema::{HardwareSection, VirtualSystem};
use crate::model::Firmware;

/// The firmware; `None` when the package does not state it. `setting` is VMware's. VirtualBox omits
/// BIOS from its description, oVirt writes a number, and Citrix a boot parameter.
pub(super) fn firmware(
    setting: Option<&str>,
    system: &VirtualSystem,
    hardware: &HardwareSection,
) -> Option<Firmware> {
    match setting.map(|value| value.trim().to_ascii_lowercase()).as_deref() {
        Some("efi") => return Some(Firmware::Efi),
        Some("bios") => return Some(Firmware::Bios),
        _ => {}
    }
    // oVirt's `BiosType`: 0 is the default of the cluster.
    match system.bios_type.trim() {
        "1" | "2" => return Some(Firmware::Bios),
        "3" | "4" => return Some(Firmware::Efi),
        _ => {}
    }
    if let Some(kind) = of_citrix(hardware, "HVM_boot_params", "firmware") {
        return Some(by_name(kind));
    }
    if of_citrix(hardware, "HVM_boot_params", "order").is_some() {
        return Some(Firmware::Bios);
    }
    system.machine.as_ref().map(|machine| by_name(&machine.hardware.firmware.kind))
}

/// Whether oVirt or Citrix enable Secure Boot.
pub(super) fn is_secure(system: &VirtualSystem, hardware: &HardwareSection) -> bool {
    let of_citrix = of_citrix(hardware, "platform", "secureboot");
    system.bios_type.trim() == "4" || of_citrix.is_some_and(|on| on.eq_ignore_ascii_case("true"))
}

fn by_name(kind: &str) -> Firmware {
    let kind = kind.trim().to_ascii_lowercase();
    if kind.starts_with("efi") || kind.starts_with("uefi") { Firmware::Efi } else { Firmware::Bios }
}

/// A value in one of Citrix's settings: `order=dc;firmware=uefi`.
fn of_citrix<'a>(hardware: &'a HardwareSection, name: &str, key: &str) -> Option<&'a str> {
    let settings = hardware.virtual_system_other_configuration_data.iter();
    let values = settings.filter(|setting| setting.name == name).flat_map(|setting| &setting.value);
    let pairs = values.flat_map(|value| value.text.split([';', ',']));
    let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(found, _)| found.trim().eq_ignore_ascii_case(key));
    found.map(|(_, value)| value.trim())
}
