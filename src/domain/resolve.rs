//! Decides which operating system the guest is. The source's statement comes first; its gaps are
//! filled from the contents of the disks. If both differ, the source is followed and the difference
//! is a warning.

use crate::model::{
    Firmware, GuestFacts, GuestOs, OsFamily, SourceDisk, SourceVm, Stage, Warning, WarningCode,
};

use super::guest::{is_open, linux, may_be, windows};

/// The VM as it is planned, with warnings about the decisions. The guest facts are attached to the
/// VM.
pub fn resolve(vm: &SourceVm, facts: &GuestFacts) -> (SourceVm, Vec<Warning>) {
    let mut resolved = SourceVm { facts: Some(facts.clone()), ..vm.clone() };
    let mut warnings = Vec::new();
    guest(&mut resolved, facts, &mut warnings);
    firmware(&mut resolved, facts, &mut warnings);
    architecture(&mut resolved, facts, &mut warnings);
    boot_disk(&mut resolved, facts, &mut warnings);
    (resolved, warnings)
}

fn warn(warnings: &mut Vec<Warning>, code: WarningCode, message: String) {
    warnings.push(Warning::new(Stage::Pipeline, code, message));
}

/// Product name, with the distribution if the name lacks it.
fn product(facts: &GuestFacts) -> String {
    let has = |part: &str| facts.product.to_lowercase().contains(part);
    match facts.distribution.as_str() {
        "" | "windows" => facts.product.clone(),
        name if has(name) => facts.product.clone(),
        // "Red Hat Enterprise Linux 9.4" implies "rhel".
        _ if has("linux") || has("windows") => facts.product.clone(),
        name => format!("{name} {}", facts.product).trim().to_owned(),
    }
}

/// Contents of the disks, for a warning: if no root file system could be read, only the family is
/// known.
fn held(facts: &GuestFacts) -> String {
    match (product(facts), facts.family) {
        (name, _) if !name.is_empty() => name,
        (_, OsFamily::Windows) => "a Windows".to_owned(),
        _ => "a Linux".to_owned(),
    }
}

/// Names the guest by the contents of its disks, if they give a name.
fn rename(vm: &mut SourceVm, facts: &GuestFacts) {
    let name = product(facts);
    if !name.is_empty() {
        vm.guest.full_name = name;
    }
}

/// How precisely the source describes the guest, compared with its disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceDetail {
    /// Less precisely than the disks.
    Less,
    /// Equally, or the disks do not contradict.
    Same,
    /// The source contradicts the disks.
    Otherwise,
}

/// The guest found on the disks, in the source's terms.
fn found(facts: &GuestFacts) -> GuestOs {
    let full_name = product(facts);
    GuestOs { id: String::new(), full_name, family: facts.family, network: None }
}

fn told_of_windows(said: &GuestOs, facts: &GuestFacts) -> SourceDetail {
    match (windows(said), windows(&found(facts))) {
        (_, None) if said.full_name.is_empty() => SourceDetail::Less,
        (_, None) => SourceDetail::Same,
        _ if is_open(said) => SourceDetail::Less,
        (Some(told), Some(found)) if told == found => SourceDetail::Same,
        // The name identifies a release that the ID leaves open.
        (Some(told), Some(found)) if may_be(told, found) => {
            if told < found {
                SourceDetail::Less
            } else {
                SourceDetail::Same
            }
        }
        _ => SourceDetail::Otherwise,
    }
}

fn told_of_linux(said: &GuestOs, facts: &GuestFacts) -> SourceDetail {
    let (Some(told), Some(found)) = (linux(said), linux(&found(facts))) else {
        return SourceDetail::Same;
    };
    let Some(name) = found.distribution else { return SourceDetail::Same };
    let major = Some(facts.version.0).filter(|major| *major != 0).or(found.major);
    match (told.distribution, told.major, major) {
        (None, ..) => SourceDetail::Less,
        (Some(told), ..) if told != name => SourceDetail::Otherwise,
        (_, None, _) => SourceDetail::Less,
        (_, Some(told), Some(major)) if told != major => SourceDetail::Otherwise,
        _ => SourceDetail::Same,
    }
}

fn guest(vm: &mut SourceVm, facts: &GuestFacts, warnings: &mut Vec<Warning>) {
    if facts.family == OsFamily::Unknown {
        return;
    }
    let said = vm.guest.clone();
    if said.family == OsFamily::Unknown {
        vm.guest.family = facts.family;
        rename(vm, facts);
        return;
    }
    let told = match (said.family == facts.family, facts.family) {
        (false, _) => SourceDetail::Otherwise,
        (true, OsFamily::Windows) => told_of_windows(&said, facts),
        (true, _) => told_of_linux(&said, facts),
    };
    if told == SourceDetail::Less {
        rename(vm, facts);
    }
    if told == SourceDetail::Otherwise {
        let named = [&said.full_name, &said.id].into_iter().find(|name| !name.is_empty());
        let text = format!(
            "source says that the guest is {}, its disks contain {}: planned as the source says",
            named.map_or("another", String::as_str),
            held(facts)
        );
        warn(warnings, WarningCode::GuestDiffers, text);
    }
}

fn firmware(vm: &mut SourceVm, facts: &GuestFacts, warnings: &mut Vec<Warning>) {
    let Some(first) = facts.firmware.first() else { return };
    if vm.assumed.firmware {
        vm.firmware = *first;
    } else if !facts.firmware.contains(&vm.firmware) {
        let word = |firmware: &Firmware| match firmware {
            Firmware::Bios => "bios",
            Firmware::Efi => "efi",
        };
        let text = format!(
            "source says that the firmware is {}, its boot disk starts by {} only: for a file \
             give --firmware {1}, else set it in the source VM",
            word(&vm.firmware),
            word(first)
        );
        warn(warnings, WarningCode::FirmwareDiffers, text);
    }
}

fn architecture(vm: &mut SourceVm, facts: &GuestFacts, warnings: &mut Vec<Warning>) {
    if facts.arch.is_empty() {
        return;
    }
    match &vm.arch {
        None => vm.arch = Some(facts.arch.clone()),
        // A 32-bit system on a 64-bit machine is no contradiction.
        Some(said) if *said != facts.arch && !(said == "x86_64" && facts.arch == "i686") => {
            let text = format!("source says {said}, its disks contain a system for {}", facts.arch);
            warn(warnings, WarningCode::ArchitectureDiffers, text);
            vm.arch = Some(facts.arch.clone());
        }
        Some(_) => {}
    }
}

/// Puts the disk with the boot loader first, if the source names no boot disk.
fn boot_disk(vm: &mut SourceVm, facts: &GuestFacts, warnings: &mut Vec<Warning>) {
    let Some(id) = facts.boot_disk.as_ref().filter(|_| vm.assumed.boot_disk) else { return };
    if !SourceDisk::boot_from(&mut vm.disks, id) {
        return;
    }
    warn(
        warnings,
        WarningCode::BootDiskChosen,
        format!("{id} has the boot loader and comes first"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture;
    use crate::model::{Assumed, DiskId, SourceDisk};

    fn facts() -> GuestFacts {
        GuestFacts {
            family: OsFamily::Linux,
            distribution: "debian".to_owned(),
            product: "debian 12.15".to_owned(),
            version: (12, 15),
            arch: "x86_64".to_owned(),
            firmware: vec![Firmware::Efi],
            ..GuestFacts::default()
        }
    }

    fn open_vm() -> SourceVm {
        let mut vm = fixture::vm();
        vm.guest.family = OsFamily::Unknown;
        vm.guest.full_name = "Other (64-bit)".to_owned();
        vm.guest.id = "otherGuest64".to_owned();
        vm.firmware = Firmware::Bios;
        vm.assumed = Assumed { firmware: true, boot_disk: true };
        vm
    }

    fn codes(warnings: &[Warning]) -> Vec<&str> {
        warnings.iter().map(|warning| warning.code.as_str()).collect()
    }

    #[test]
    fn the_disks_fill_in_what_the_source_left_open() {
        let (vm, warnings) = resolve(&open_vm(), &facts());
        assert_eq!(vm.guest.family, OsFamily::Linux);
        assert_eq!(vm.guest.full_name, "debian 12.15");
        assert_eq!((vm.firmware, vm.arch.as_deref()), (Firmware::Efi, Some("x86_64")));
        assert_eq!(vm.facts, Some(facts()));
        assert_eq!(codes(&warnings), [""; 0]);
    }

    #[test]
    fn a_system_without_a_name_takes_no_name_away() {
        let unnamed = GuestFacts {
            distribution: String::new(),
            product: String::new(),
            version: (0, 0),
            ..facts()
        };
        let (vm, _) = resolve(&open_vm(), &unnamed);
        assert_eq!(
            (vm.guest.family, vm.guest.full_name.as_str()),
            (OsFamily::Linux, "Other (64-bit)")
        );
        let mut windows = open_vm();
        windows.guest.family = OsFamily::Windows;
        let (_, warnings) = resolve(&windows, &unnamed);
        let told = warnings.iter().find(|warning| warning.code == "guest-differs").expect("told");
        assert!(told.message.contains("its disks contain a Linux:"), "{}", told.message);
    }

    #[test]
    fn a_contradiction_is_a_warning_and_the_source_is_followed() {
        let mut vm = open_vm();
        vm.guest.family = OsFamily::Windows;
        vm.assumed = Assumed::default();
        vm.arch = Some("aarch64".to_owned());
        let (resolved, warnings) = resolve(&vm, &facts());
        assert_eq!((resolved.guest.family, resolved.firmware), (OsFamily::Windows, Firmware::Bios));
        assert_eq!(codes(&warnings), ["guest-differs", "firmware-differs", "architecture-differs"]);
        assert!(warnings[1].message.contains("--firmware efi"), "{}", warnings[1].message);
    }

    #[test]
    fn a_version_that_the_source_leaves_open_comes_from_the_disks() {
        let mut vm = fixture::vm();
        vm.guest.id = "otherLinux64Guest".to_owned();
        vm.guest.full_name = "Other Linux (64-bit)".to_owned();
        let (resolved, warnings) = resolve(&vm, &facts());
        assert_eq!(resolved.guest.full_name, "debian 12.15");
        assert_eq!(codes(&warnings), ["firmware-differs"]);
        vm.guest.full_name = "Ubuntu Linux (64-bit)".to_owned();
        let (resolved, warnings) = resolve(&vm, &facts());
        assert_eq!(resolved.guest.full_name, "Ubuntu Linux (64-bit)");
        assert_eq!(codes(&warnings)[0], "guest-differs");
    }

    #[test]
    fn the_boot_disk_is_the_one_with_the_loader_unless_the_source_named_one() {
        let mut vm = open_vm();
        let disk = |index: usize| SourceDisk { ..fixture::source_disk(index) };
        vm.disks = vec![disk(0), disk(1), disk(2)];
        let on_second = GuestFacts { boot_disk: Some(DiskId::from_index(1)), ..facts() };
        let order = |vm: &SourceVm| vm.disks.iter().map(|d| d.boot_order).collect::<Vec<_>>();
        assert_eq!(order(&resolve(&vm, &on_second).0), [1, 0, 2]);
        vm.assumed.boot_disk = false;
        assert_eq!(order(&resolve(&vm, &on_second).0), [0, 1, 2]);
    }

    /// Name of the resolved guest, and codes of the warnings.
    fn named(id: &str, full_name: &str, facts: GuestFacts) -> (String, Vec<String>) {
        let mut vm = open_vm();
        vm.guest.family = facts.family;
        (vm.guest.id, vm.guest.full_name) = (id.to_owned(), full_name.to_owned());
        let (vm, warnings) = resolve(&vm, &facts);
        let codes = warnings.into_iter().map(|warning| warning.code.to_string());
        (vm.guest.full_name, codes.collect())
    }

    fn windows_facts(product: &str) -> GuestFacts {
        GuestFacts {
            family: OsFamily::Windows,
            distribution: "windows".to_owned(),
            product: product.to_owned(),
            ..facts()
        }
    }

    #[test]
    fn a_release_of_windows_that_the_source_leaves_open_comes_from_the_disks() {
        let (xp, later) = ("Microsoft Windows XP", "Windows Server 2022 Standard");
        for (id, name, product) in [
            ("WindowsNT_64", "WindowsNT_64", xp),
            ("", "http://microsoft.com/win/2k19", "Windows Server 2019 Standard"),
            ("windows9Server64Guest", "Microsoft Windows Server 2016 or later (64-bit)", later),
            ("Windows2008_64", "Windows2008_64", "Windows Server 2008 R2 Standard"),
        ] {
            let expected = (product.to_owned(), Vec::new());
            assert_eq!(named(id, name, windows_facts(product)), expected, "{id} {name}");
        }
    }

    #[test]
    fn another_release_or_version_is_a_warning() {
        let differs = vec!["guest-differs".to_owned()];
        let seven = "Microsoft Windows 7 (64-bit)";
        let named_7 = named("windows7_64Guest", seven, windows_facts("Windows 10 Pro"));
        assert_eq!(named_7, (seven.to_owned(), differs.clone()));
        let eleven = "Microsoft Windows 11 (64-bit)";
        let named_11 = named("windows11_64Guest", eleven, windows_facts("Windows 10 Pro"));
        assert_eq!(named_11, (eleven.to_owned(), Vec::new()), "its registry says 10");
        let rhel = GuestFacts {
            distribution: "rhel".to_owned(),
            product: "Red Hat Enterprise Linux 9.4 (Plow)".to_owned(),
            version: (9, 4),
            ..facts()
        };
        let named_rhel = |id: &str| named(id, "", rhel.clone()).1;
        assert_eq!(named_rhel("rhel5_64Guest"), differs);
        assert_eq!(named_rhel("rhel9_64Guest"), Vec::<String>::new());
    }
}
