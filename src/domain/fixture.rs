//! A host and a VM for the tests of this module.

use crate::model::{
    Bus, ByteSize, Controller, CpuTopology, DiskFormat, DiskId, GuestOs, NicModel, OsFamily,
    SourceDisk, SourceNic, SourceVm, fixture,
};

use super::{
    Chipset, DiskKind, DomainType, Family, Hardware, HostBridge, HostCapabilities, HostNetwork,
    NetworkMap, PlanOptions, PlannedDisk, Platform, Profile, UserNetwork,
};

pub(super) fn host() -> HostCapabilities {
    let mut platforms = Vec::new();
    for domain_type in [DomainType::Kvm, DomainType::Qemu] {
        for (chipset, machine, max_vcpus) in
            [(Chipset::Pc, "pc-i440fx-10.0", 255), (Chipset::Q35, "pc-q35-10.0", 4096)]
        {
            platforms.push(Platform {
                domain_type,
                chipset,
                machine: machine.to_owned(),
                emulator: "/usr/bin/qemu-system-x86_64".to_owned(),
                max_vcpus,
                efi: true,
                secure_boot: chipset == Chipset::Q35,
                cpu_modes: vec!["host-passthrough".to_owned(), "maximum".to_owned()],
                cpu_models: Vec::new(),
                disk_buses: Vec::new(),
                tpm: vec!["tpm-tis".to_owned(), "tpm-crb".to_owned()],
                panic: Vec::new(),
                video: vec!["vga".to_owned(), "virtio".to_owned()],
                hyperv: Vec::new(),
                user_networks: vec![UserNetwork::Slirp],
            });
        }
    }
    let bridge = |name: &str, network: Option<&str>| HostBridge {
        name: name.to_owned(),
        network: network.map(str::to_owned),
        active: true,
        vlans: network.is_none(),
        closed: None,
    };
    let network = |name: &str, active| HostNetwork { name: name.to_owned(), active };
    HostCapabilities {
        arch: "x86_64".to_owned(),
        platforms,
        kvm_runs: true,
        bridges: vec![bridge("virbr0", Some("default")), bridge("br0", None)],
        networks: vec![network("default", true), network("lab", false)],
        switches: vec!["ovsbr0".to_owned()],
        own: None,
    }
}

pub(super) fn platform(
    host: &HostCapabilities,
    domain_type: DomainType,
    chipset: Chipset,
) -> &Platform {
    host.platform(domain_type, chipset).expect("the fixture has all four")
}

pub(super) fn nic(index: u8) -> SourceNic {
    SourceNic {
        mac: Some(crate::model::MacAddress([0x00, 0x50, 0x56, 0, 0, index])),
        model: NicModel::Vmxnet,
        network: "VM Network".to_owned(),
        ..SourceNic::at(index.into())
    }
}

pub(super) fn vm() -> SourceVm {
    SourceVm {
        provider: "vsphere".to_owned(),
        id: "vm-42".to_owned(),
        name: "Ubuntu-Server".to_owned(),
        inventory_path: Some("/DC0/vm/Ubuntu-Server".to_owned()),
        cpu: CpuTopology::new(4, 2),
        memory_mib: 2049,
        guest: GuestOs {
            id: "ubuntu64Guest".to_owned(),
            full_name: "Ubuntu Linux (64-bit)".to_owned(),
            family: OsFamily::Linux,
            network: None,
        },
        nics: vec![nic(0), nic(1)],
        ..fixture::vm()
    }
}

pub(super) fn disk(index: usize) -> PlannedDisk {
    PlannedDisk {
        id: DiskId::from_index(index),
        kind: DiskKind::File,
        path: format!("/var/lib/libvirt/images/d{index}.qcow2"),
        format: DiskFormat::Qcow2,
        boot_order: u32::try_from(index).expect("few disks"),
        fixed: true,
        medium: false,
    }
}

pub(super) fn linux_profile() -> Profile {
    Profile {
        family: Family::Linux,
        custom: None,
        video: Some("virtio".to_owned()),
        hyperv: Vec::new(),
        panic: Some("isa".to_owned()),
    }
}

pub(super) fn options() -> PlanOptions {
    PlanOptions {
        name: None,
        domain_type: None,
        bridge: "virbr0".to_owned(),
        network_map: NetworkMap::default(),
        hardware: Hardware::default(),
        allow_unbootable: false,
    }
}

/// A disk of the source at that unit of a paravirtual SCSI controller.
pub(super) fn source_disk(index: usize) -> SourceDisk {
    SourceDisk {
        id: DiskId::from_index(index),
        key: 2000,
        label: String::new(),
        controller: Controller {
            bus: Bus::Scsi,
            model: "ParaVirtualSCSIController".to_owned(),
            number: 0,
            slot: None,
        },
        unit: u32::try_from(index).expect("small"),
        capacity: ByteSize(512),
        boot_order: u32::try_from(index).expect("small"),
        backing: None,
        uuid: None,
    }
}
