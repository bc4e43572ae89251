//! The domain XML of four typical guests, as it is written. `UPDATE_GOLDEN=1` writes the files
//! anew; each is checked by libvirt's own schema.

mod support;

use std::fs;
use std::path::Path;

use hyperexport::domain::{
    Chipset, DomainType, Hardware, HostBridge, HostCapabilities, PlanOptions, PlannedDisk,
    Platform, plan,
};
use hyperexport::libvirt::{domain_xml, profile};
use hyperexport::model::{DiskFormat, DiskId, Firmware, OsFamily, SourceVm};
use support::import::vm;
use support::libvirtd;

const UUID: &str = "11111111-2222-4333-8444-555555555555";

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}

fn host() -> HostCapabilities {
    let platform = |domain_type, chipset, machine: &str| Platform {
        domain_type,
        chipset,
        machine: machine.to_owned(),
        emulator: "/usr/bin/qemu-system-x86_64".to_owned(),
        max_vcpus: 255,
        efi: true,
        secure_boot: chipset == Chipset::Q35,
        cpu_modes: texts(&["host-passthrough", "maximum"]),
        cpu_models: Vec::new(),
        disk_buses: Vec::new(),
        tpm: texts(&["tpm-tis", "tpm-crb"]),
        panic: texts(&["isa", "hyperv"]),
        video: texts(&["vga", "virtio"]),
        hyperv: texts(&["relaxed", "vapic", "spinlocks", "vpindex", "synic", "stimer"]),
    };
    HostCapabilities {
        arch: "x86_64".to_owned(),
        platforms: vec![
            platform(DomainType::Kvm, Chipset::Pc, "pc-i440fx-10.0"),
            platform(DomainType::Kvm, Chipset::Q35, "pc-q35-10.0"),
            platform(DomainType::Qemu, Chipset::Pc, "pc-i440fx-10.0"),
        ],
        kvm_runs: true,
        bridges: vec![HostBridge {
            name: "virbr0".to_owned(),
            network: Some("default".to_owned()),
            active: true,
        }],
    }
}

fn check(golden: &str, vm: &SourceVm, domain_type: Option<DomainType>) {
    let disks = [0, 1].map(|index| PlannedDisk {
        id: DiskId::from_index(index),
        path: format!("/var/lib/libvirt/images/web01-{index}.qcow2"),
        format: DiskFormat::Qcow2,
        boot_order: u32::try_from(index).expect("two"),
        fixed: true,
    });
    let options = PlanOptions {
        name: None,
        domain_type,
        bridge: "virbr0".to_owned(),
        hardware: Hardware::default(),
    };
    let profile = profile(options.family(vm)).expect("embedded");
    let spec = plan(vm, &disks, profile, &host(), &options).expect("valid");
    let xml = domain_xml(&spec, UUID).expect("writes") + "\n";

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(golden);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &xml).expect("written");
    }
    let expected = fs::read_to_string(&file).expect("UPDATE_GOLDEN=1 makes it");
    assert!(xml == expected, "{golden} differs; UPDATE_GOLDEN=1 writes it anew:\n{xml}");
    libvirtd::validate(&xml);
}

#[test]
fn linux_with_bios() {
    check("linux-bios.xml", &vm("Ubuntu-Server"), Some(DomainType::Qemu));
}

#[test]
fn linux_with_efi() {
    let mut vm = vm("Ubuntu-Server");
    vm.firmware = Firmware::Efi;
    check("linux-efi.xml", &vm, None);
}

#[test]
fn linux_with_efi_and_secure_boot() {
    let mut vm = vm("Ubuntu-Server");
    vm.firmware = Firmware::Efi;
    vm.secure_boot = true;
    check("linux-efi-secureboot.xml", &vm, None);
}

#[test]
fn windows_with_efi() {
    let mut vm = vm("Win 2022 <DC>");
    vm.firmware = Firmware::Efi;
    vm.guest.family = OsFamily::Windows;
    vm.guest.full_name = "Microsoft Windows Server 2022 (64-bit)".to_owned();
    check("windows-efi.xml", &vm, None);
}

#[test]
fn an_unknown_guest_gets_nothing_that_needs_a_driver() {
    let mut vm = vm("Appliance");
    vm.guest.family = OsFamily::Unknown;
    check("generic-bios.xml", &vm, None);
}
