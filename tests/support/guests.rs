//! Guests of every family, and recorded capabilities of hosts (`tests/hosts/`).

use std::fs;
use std::path::PathBuf;

use hyperexport::domain::{
    Chipset, CpuChoice, DiskBus, DiskKind, DomainType, Error, Hardware, HostBridge,
    HostCapabilities, HostNetwork, NetworkMap, PlanOptions, PlannedDisk, plan,
};
use hyperexport::libvirt::{domain_xml, platform, profile, user_profile};
use hyperexport::model::{
    Board, Bus, ByteSize, Controller, CpuTopology, DiskFormat, DiskId, Firmware, OsFamily,
    SmbiosText, SoundCard, SourceDisk, SourceVm,
};

use super::import::vm;

/// A guest with the user's settings for it.
#[derive(Clone)]
pub struct Guest {
    /// Name of the guest's golden files.
    pub name: &'static str,
    pub vm: SourceVm,
    pub disks: usize,
    /// Whether the disks are files or block devices.
    pub kind: DiskKind,
    /// Whether the converter has prepared the guest for virtio.
    pub fixed: bool,
    pub hardware: Hardware,
    pub bridge: &'static str,
    pub network_map: NetworkMap,
}

fn guest(name: &'static str, os: (OsFamily, &str, &str), firmware: (Firmware, bool)) -> Guest {
    let mut vm = vm(name);
    (vm.guest.family, vm.guest.id, vm.guest.full_name) = (os.0, os.1.to_owned(), os.2.to_owned());
    (vm.firmware, vm.secure_boot) = firmware;
    Guest {
        name,
        vm,
        disks: 2,
        kind: DiskKind::File,
        fixed: true,
        hardware: Hardware::default(),
        bridge: "virbr0",
        network_map: NetworkMap::default(),
    }
}

const BIOS: (Firmware, bool) = (Firmware::Bios, false);
const EFI: (Firmware, bool) = (Firmware::Efi, false);
const SECURE: (Firmware, bool) = (Firmware::Efi, true);

/// Board of a VMware VM with a UUID and a sound card.
fn board() -> Board {
    Board {
        uuid: Some("34124d56-cdab-01ef-2345-6789abcdef01".to_owned()),
        smbios: vec![SmbiosText {
            table: "system".to_owned(),
            name: "serial".to_owned(),
            value: "VMware-56 4d 12 34 ab cd ef 01-23 45 67 89 ab cd ef 01".to_owned(),
        }],
        genid: Some("89abcdef-4567-0123-1032-547698badcfe".to_owned()),
        sound: Some(SoundCard::Hda),
        cpu_model: None,
        not_kept: Vec::new(),
    }
}

/// Guests of every family and firmware, and guests with every setting.
pub fn guests() -> Vec<Guest> {
    use OsFamily::{Linux, Unknown, Windows};
    let ubuntu = (Linux, "ubuntu64Guest", "Ubuntu Linux (64-bit)");
    let windows = (Windows, "windows2019srvNext_64Guest", "Microsoft Windows Server 2022 (64-bit)");
    let mut guests = vec![
        guest("linux-bios", ubuntu, BIOS),
        guest("linux-efi", (Linux, "rhel9_64Guest", "Red Hat Enterprise Linux 9 (64-bit)"), EFI),
        guest("linux-efi-secureboot", ubuntu, SECURE),
        guest("linux-legacy-bios", (Linux, "rhel5_64Guest", "Red Hat Enterprise Linux 5"), BIOS),
        guest("windows-bios", (Windows, "windows7Server64Guest", ""), BIOS),
        guest("windows-efi", (Windows, "windows9_64Guest", "Microsoft Windows 10 (64-bit)"), EFI),
        guest("windows-efi-secureboot", windows, SECURE),
        guest("windows-legacy-bios", (Windows, "winXPProGuest", ""), BIOS),
        guest("generic-bios", (Unknown, "otherGuest64", "Other (64-bit)"), BIOS),
        guest("generic-efi", (Unknown, "freebsd13_64Guest", "FreeBSD 13 (64-bit)"), EFI),
    ];
    let mut unfixed = guest("linux-unfixed-efi", ubuntu, EFI);
    unfixed.fixed = false;
    unfixed.vm.cdroms = 1;
    // LSI's controller, as VMware gives it to Windows by default.
    let mut kept = guest("windows-unfixed-bios", windows, BIOS);
    (kept.fixed, kept.vm.cdroms) = (false, 1);
    kept.vm.disks = vec![SourceDisk {
        id: DiskId::from_index(0),
        key: 2000,
        label: "Hard disk 1".to_owned(),
        controller: Controller {
            bus: Bus::Scsi,
            model: "VirtualLsiLogicSASController".to_owned(),
            number: 0,
            slot: None,
        },
        unit: 0,
        capacity: ByteSize(1 << 30),
        boot_order: 0,
        backing: None,
        uuid: None,
    }];
    let old = (Linux, "rhel6_64Guest", "Red Hat Enterprise Linux 6 (64-bit)");
    let mut old = guest("linux-old-virtio-efi", old, EFI);
    old.vm.cdroms = 1;
    let mut many = guest("linux-many-disks", ubuntu, BIOS);
    (many.disks, many.vm.cdroms, many.bridge) = (17, 2, "br0");
    many.hardware.iothreads = 2;
    let mut on_switch = many.vm.nics[0].clone();
    on_switch.mac = Some("00:50:56:aa:cc:01".parse().expect("a MAC address"));
    on_switch.network = "Storage".to_owned();
    many.vm.nics.push(on_switch);
    let map = ["Storage=ovs:ovsbr0,vlan=20".parse().expect("valid")];
    many.network_map = NetworkMap::new(map.to_vec()).expect("valid");
    many.vm.origin.server = Some("vc.example.com".to_owned());
    many.vm.origin.exported_at = Some("2026-11-23T05:00:00Z".to_owned());
    many.vm.instance_uuid = Some("5029f3a2-0000-4000-8000-000000000001".to_owned());
    let mut own = guest("own-profile", windows, EFI);
    let file = root().join("tests/hosts/own-profile.xml");
    own.hardware.profile = Some(user_profile(&file).expect("it is fine"));
    own.hardware.disk_bus = Some(DiskBus::Virtio);
    own.hardware.iothreads = 1;
    own.hardware.cpu = CpuChoice::HostModel;
    let mut board_efi = guest("linux-board-efi", ubuntu, EFI);
    board_efi.vm.board = board();
    board_efi.vm.cpu = CpuTopology::new(8, 4).with_threads(2);
    let legacy = (Linux, "rhel5_64Guest", "Red Hat Enterprise Linux 5");
    let mut board_bios = guest("linux-legacy-board-bios", legacy, BIOS);
    board_bios.vm.board = Board { sound: Some(SoundCard::Ensoniq), ..board() };
    board_bios.hardware.new_uuid = true;
    guests.extend([board_efi, board_bios]);
    let mut on_devices = guest("linux-on-devices-bios", ubuntu, BIOS);
    on_devices.kind = DiskKind::Block;
    guests.extend([unfixed, kept, old, many, own, on_devices]);
    guests
}

pub fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

/// A host of `tests/hosts/`, with the bridge of a network and another bridge.
pub fn host(name: &str) -> HostCapabilities {
    let mut platforms = Vec::new();
    for domain_type in [DomainType::Kvm, DomainType::Qemu] {
        for chipset in [Chipset::Pc, Chipset::Q35] {
            let file = root().join(format!("tests/hosts/{name}/{domain_type}-{chipset}.xml"));
            if let Ok(text) = fs::read_to_string(file) {
                platforms.push(platform(domain_type, chipset, &text).expect("it reads"));
            }
        }
    }
    assert!(!platforms.is_empty(), "no host {name}");
    let bridge = |name: &str, network: Option<&str>| HostBridge {
        name: name.to_owned(),
        network: network.map(str::to_owned),
        active: true,
        vlans: network.is_none(),
        closed: None,
    };
    let default = HostNetwork { name: "default".to_owned(), active: true };
    HostCapabilities {
        arch: "x86_64".to_owned(),
        platforms,
        kvm_runs: true,
        bridges: vec![bridge("virbr0", Some("default")), bridge("br0", None)],
        networks: vec![default],
        switches: vec!["ovsbr0".to_owned()],
        own: None,
    }
}

impl Guest {
    /// Domain XML for the guest on a host.
    pub fn xml(
        &self,
        host: &HostCapabilities,
        domain_type: Option<DomainType>,
        name: Option<String>,
        uuid: &str,
    ) -> Result<String, Error> {
        let (dir, suffix, format) = match self.kind {
            DiskKind::File => ("/var/lib/libvirt/images", ".qcow2", DiskFormat::Qcow2),
            DiskKind::Block => ("/dev/guests", "", DiskFormat::Raw),
        };
        let disk = |index: usize| PlannedDisk {
            id: DiskId::from_index(index),
            kind: self.kind,
            path: format!("{dir}/{}-{index}{suffix}", self.name),
            format,
            boot_order: u32::try_from(index).expect("few disks"),
            fixed: self.fixed,
            medium: false,
        };
        let disks: Vec<_> = (0..self.disks).map(disk).collect();
        let bridge = self.bridge.to_owned();
        let options = PlanOptions {
            name,
            domain_type,
            bridge,
            network_map: self.network_map.clone(),
            hardware: self.hardware.clone(),
            allow_unbootable: false,
        };
        let embedded = || profile(options.family(&self.vm)).expect("embedded");
        let profile = self.hardware.profile.clone().unwrap_or_else(embedded);
        let spec = plan(&self.vm, &disks, profile, host, &options)?;
        Ok(domain_xml(&spec, uuid).expect("writes") + "\n")
    }
}
