//! Writes the descriptor of a package: the elements that ESX writes, in their order. Extensions of
//! VMware are marked `ovf:required="false"`.

use std::collections::BTreeSet;

use quick_xml::se::to_string_with_root;
use serde::Serialize;

use crate::model::{
    Bus, Controller, ExportedDisk, Firmware, NicModel, OsFamily, SourceDisk, SourceNic, SourceVm,
};

/// Format of exported disks (DSP0243 2.1.1, section 5.2).
const VMDK: &str = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";
/// `CIM_OperatingSystem.OSType`: "LINUX 64-bit", "Microsoft Windows Server 2016", "Other 64-bit".
const LINUX: u32 = 101;
const WINDOWS: u32 = 116;
const OTHER: u32 = 102;

pub(super) struct DiskFile<'a> {
    pub(super) disk: &'a ExportedDisk,
    /// Name of the file in the package.
    pub(super) href: String,
    /// Bytes of the disk that are stored in its file.
    pub(super) populated: u64,
}

pub(super) struct NvramFile {
    /// Name of the file in the package.
    pub(super) href: String,
    /// Content of the file, which is small.
    pub(super) content: Vec<u8>,
}

/// Id of the UEFI variables' file in the descriptor.
const NVRAM_ID: &str = "file-nvram";

#[derive(Serialize)]
struct Envelope<'a> {
    #[serde(rename = "@xmlns")]
    ovf_default: &'static str,
    #[serde(rename = "@xmlns:ovf")]
    ovf: &'static str,
    #[serde(rename = "@xmlns:rasd")]
    rasd: &'static str,
    #[serde(rename = "@xmlns:vssd")]
    vssd: &'static str,
    #[serde(rename = "@xmlns:vmw")]
    vmw: &'static str,
    #[serde(rename = "References")]
    references: References,
    #[serde(rename = "DiskSection")]
    disks: DiskSection,
    #[serde(rename = "NetworkSection")]
    networks: NetworkSection<'a>,
    #[serde(rename = "VirtualSystem")]
    system: WrittenSystem<'a>,
}

#[derive(Serialize)]
struct References {
    #[serde(rename = "File")]
    files: Vec<FileElement>,
}

#[derive(Serialize)]
struct FileElement {
    #[serde(rename = "@ovf:href")]
    href: String,
    #[serde(rename = "@ovf:id")]
    id: String,
    #[serde(rename = "@ovf:size")]
    size: u64,
}

#[derive(Serialize)]
struct DiskSection {
    #[serde(rename = "Info")]
    info: &'static str,
    #[serde(rename = "Disk")]
    disks: Vec<DiskElement>,
}

#[derive(Serialize)]
struct DiskElement {
    #[serde(rename = "@ovf:capacity")]
    capacity: u64,
    #[serde(rename = "@ovf:capacityAllocationUnits")]
    units: &'static str,
    #[serde(rename = "@ovf:diskId")]
    id: String,
    #[serde(rename = "@ovf:fileRef")]
    file: String,
    #[serde(rename = "@ovf:format")]
    format: &'static str,
    #[serde(rename = "@ovf:populatedSize")]
    populated: u64,
}

#[derive(Serialize)]
struct NetworkSection<'a> {
    #[serde(rename = "Info")]
    info: &'static str,
    #[serde(rename = "Network")]
    networks: Vec<Network<'a>>,
}

#[derive(Serialize)]
struct Network<'a> {
    #[serde(rename = "@ovf:name")]
    name: &'a str,
    #[serde(rename = "Description")]
    description: &'static str,
}

#[derive(Serialize)]
struct WrittenSystem<'a> {
    #[serde(rename = "@ovf:id")]
    id: &'static str,
    #[serde(rename = "Info")]
    info: &'static str,
    #[serde(rename = "Name")]
    name: &'a str,
    #[serde(rename = "OperatingSystemSection")]
    os: Os<'a>,
    #[serde(rename = "VirtualHardwareSection")]
    hardware: WrittenHardware<'a>,
    #[serde(rename = "vmw:BootOrderSection", skip_serializing_if = "Option::is_none")]
    boot_order: Option<BootOrder>,
}

#[derive(Serialize)]
struct BootOrder {
    #[serde(rename = "@ovf:required")]
    required: bool,
    #[serde(rename = "@vmw:instanceId")]
    instance: usize,
    #[serde(rename = "@vmw:type")]
    kind: &'static str,
    #[serde(rename = "Info")]
    info: &'static str,
}

#[derive(Serialize)]
struct Os<'a> {
    #[serde(rename = "@ovf:id")]
    id: u32,
    #[serde(rename = "@vmw:osType", skip_serializing_if = "str::is_empty")]
    vmware: &'a str,
    #[serde(rename = "Info")]
    info: &'static str,
    #[serde(rename = "Description", skip_serializing_if = "str::is_empty")]
    description: &'a str,
}

#[derive(Serialize)]
struct WrittenHardware<'a> {
    #[serde(rename = "Info")]
    info: &'static str,
    #[serde(rename = "System")]
    system: Family<'a>,
    #[serde(rename = "Item")]
    items: Vec<WrittenItem>,
    #[serde(rename = "vmw:Config")]
    config: Vec<Setting>,
    #[serde(rename = "vmw:ExtraConfig")]
    extra_config: Vec<Setting>,
}

#[derive(Serialize)]
struct Family<'a> {
    #[serde(rename = "vssd:ElementName")]
    name: &'static str,
    #[serde(rename = "vssd:InstanceID")]
    instance: u32,
    #[serde(rename = "vssd:VirtualSystemIdentifier")]
    identifier: &'a str,
    #[serde(rename = "vssd:VirtualSystemType")]
    kind: &'static str,
}

#[derive(Serialize)]
struct Setting {
    #[serde(rename = "@ovf:required")]
    required: bool,
    #[serde(rename = "@vmw:key")]
    key: &'static str,
    #[serde(rename = "@vmw:value")]
    value: String,
}

/// A device, with its elements in alphabetical order, as the schema requires.
#[derive(Default, Serialize)]
struct WrittenItem {
    #[serde(rename = "rasd:Address", skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(rename = "rasd:AddressOnParent", skip_serializing_if = "Option::is_none")]
    address_on_parent: Option<u32>,
    #[serde(rename = "rasd:AllocationUnits", skip_serializing_if = "Option::is_none")]
    units: Option<&'static str>,
    #[serde(rename = "rasd:AutomaticAllocation", skip_serializing_if = "Option::is_none")]
    connected: Option<bool>,
    #[serde(rename = "rasd:Connection", skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
    #[serde(rename = "rasd:ElementName")]
    name: String,
    #[serde(rename = "rasd:HostResource", skip_serializing_if = "Option::is_none")]
    host_resource: Option<String>,
    #[serde(rename = "rasd:InstanceID")]
    instance: usize,
    #[serde(rename = "rasd:Parent", skip_serializing_if = "Option::is_none")]
    parent: Option<usize>,
    #[serde(rename = "rasd:ResourceSubType", skip_serializing_if = "Option::is_none")]
    subtype: Option<&'static str>,
    #[serde(rename = "rasd:ResourceType")]
    kind: u32,
    #[serde(rename = "rasd:VirtualQuantity", skip_serializing_if = "Option::is_none")]
    quantity: Option<u64>,
    #[serde(rename = "vmw:CoresPerSocket", skip_serializing_if = "Option::is_none")]
    cores: Option<Cores>,
    #[serde(rename = "vmw:Config", skip_serializing_if = "Option::is_none")]
    config: Option<Setting>,
}

#[derive(Serialize)]
struct Cores {
    #[serde(rename = "@ovf:required")]
    required: bool,
    #[serde(rename = "$text")]
    count: u32,
}

/// Writes the descriptor as XML.
pub(super) fn write(vm: &SourceVm, files: &[DiskFile<'_>], nvram: Option<&NvramFile>) -> String {
    let ovf = "http://schemas.dmtf.org/ovf/envelope/1";
    let networks: BTreeSet<_> = vm.nics.iter().map(network).collect();
    let items = items(vm);
    let envelope = Envelope {
        ovf_default: ovf,
        ovf,
        rasd: "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData",
        vssd: "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData",
        vmw: "http://www.vmware.com/schema/ovf",
        references: References { files: files.iter().map(file).chain(nvram.map(small)).collect() },
        disks: DiskSection { info: "Virtual disks", disks: files.iter().map(disk).collect() },
        networks: NetworkSection {
            info: "Networks",
            networks: networks
                .into_iter()
                .map(|name| Network { name, description: "A network of the source" })
                .collect(),
        },
        system: WrittenSystem {
            id: "vm",
            info: "A virtual machine",
            name: &vm.name,
            os: Os {
                id: match vm.guest.family {
                    OsFamily::Linux => LINUX,
                    OsFamily::Windows => WINDOWS,
                    OsFamily::Unknown => OTHER,
                },
                // Other sources have their own ids.
                vmware: if vm.guest.id.contains("Guest") { &vm.guest.id } else { "" },
                info: "The guest's operating system",
                description: &vm.guest.full_name,
            },
            boot_order: boot_order(vm, &items),
            hardware: WrittenHardware {
                info: "Virtual hardware",
                system: Family {
                    name: "Virtual Hardware Family",
                    instance: 0,
                    identifier: &vm.name,
                    // The version of vSphere 6.5, the oldest supported source.
                    kind: "vmx-13",
                },
                items,
                config: config(vm),
                extra_config: nvram.map(variables).into_iter().collect(),
            },
        },
    };
    // Structs of strings and numbers can always be serialized.
    let text = to_string_with_root("Envelope", &envelope).unwrap_or_default();
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{text}\n")
}

fn file(file: &DiskFile<'_>) -> FileElement {
    FileElement {
        href: file.href.clone(),
        id: format!("file-{}", file.disk.id),
        size: file.disk.file_size.0,
    }
}

fn small(file: &NvramFile) -> FileElement {
    FileElement {
        href: file.href.clone(),
        id: NVRAM_ID.to_owned(),
        size: file.content.len() as u64,
    }
}

/// The setting as vSphere 6.7 and newer write it.
fn variables(_: &NvramFile) -> Setting {
    Setting { required: false, key: "nvram", value: format!("ovf:/file/{NVRAM_ID}") }
}

fn disk(file: &DiskFile<'_>) -> DiskElement {
    DiskElement {
        capacity: file.disk.capacity.0,
        units: "byte",
        id: file.disk.id.to_string(),
        file: format!("file-{}", file.disk.id),
        format: VMDK,
        populated: file.populated,
    }
}

fn config(vm: &SourceVm) -> Vec<Setting> {
    let setting = |key, value: &str| Setting { required: false, key, value: value.to_owned() };
    match vm.firmware {
        Firmware::Bios => vec![setting("firmware", "bios")],
        Firmware::Efi => vec![
            setting("firmware", "efi"),
            setting(
                "bootOptions.efiSecureBootEnabled",
                if vm.secure_boot { "true" } else { "false" },
            ),
        ],
    }
}

fn items(vm: &SourceVm) -> Vec<WrittenItem> {
    let cores = Cores { required: false, count: vm.cpu.cores_per_socket };
    let mut items = vec![
        WrittenItem {
            name: format!("{} virtual CPUs", vm.cpu.vcpus),
            units: Some("hertz * 10^6"),
            kind: 3,
            quantity: Some(u64::from(vm.cpu.vcpus)),
            cores: Some(cores),
            ..WrittenItem::default()
        },
        WrittenItem {
            name: format!("{} MiB of memory", vm.memory_mib),
            units: Some("byte * 2^20"),
            kind: 4,
            quantity: Some(vm.memory_mib),
            ..WrittenItem::default()
        },
    ];
    let mut controllers: Vec<&Controller> = Vec::new();
    for disk in &vm.disks {
        if !controllers.contains(&&disk.controller) {
            controllers.push(&disk.controller);
        }
    }
    // Instance ids count from 1, in the order of the items.
    let first = items.len() + 1;
    items.extend(controllers.iter().map(|one| controller(one)));
    for disk in &vm.disks {
        let at = controllers.iter().position(|one| **one == disk.controller).unwrap_or(0);
        items.push(hard_disk(disk, first + at));
    }
    items.extend((0..vm.cdroms).map(|n| WrittenItem {
        name: format!("CD/DVD drive {}", n + 1),
        connected: Some(false),
        subtype: Some("vmware.cdrom.remotepassthrough"),
        kind: 15,
        ..WrittenItem::default()
    }));
    items.extend(vm.nics.iter().map(nic));
    for (index, item) in items.iter_mut().enumerate() {
        item.instance = index + 1;
    }
    items
}

/// Names the boot disk if it is not the first disk, which readers use by default.
fn boot_order(vm: &SourceVm, items: &[WrittenItem]) -> Option<BootOrder> {
    let first = vm.disks.iter().position(|disk| disk.boot_order == 0).filter(|at| *at > 0)?;
    let resource = resource(&vm.disks[first]);
    let item = items.iter().find(|item| item.host_resource.as_ref() == Some(&resource))?;
    let info = "The disk that boots";
    Some(BootOrder { required: false, instance: item.instance, kind: "disk", info })
}

fn resource(disk: &SourceDisk) -> String {
    format!("ovf:/disk/{}", disk.id)
}

fn controller(one: &Controller) -> WrittenItem {
    let (kind, subtype) = match (one.bus, one.model.as_str()) {
        (Bus::Ide, _) => (5, None),
        (Bus::Sata, _) => (20, Some("vmware.sata.ahci")),
        (Bus::Nvme, _) => (20, Some("vmware.nvme.controller")),
        (_, "ParaVirtualSCSIController") => (6, Some("VirtualSCSI")),
        (_, "VirtualLsiLogicSASController") => (6, Some("lsilogicsas")),
        (_, "VirtualBusLogicController") => (6, Some("buslogic")),
        (Bus::Scsi | Bus::Other, _) => (6, Some("lsilogic")),
    };
    WrittenItem {
        address: Some(one.number.to_string()),
        name: format!("Controller {}", one.number),
        subtype,
        kind,
        ..WrittenItem::default()
    }
}

fn hard_disk(disk: &SourceDisk, parent: usize) -> WrittenItem {
    WrittenItem {
        address_on_parent: Some(disk.unit),
        name: if disk.label.is_empty() { disk.id.to_string() } else { disk.label.clone() },
        host_resource: Some(resource(disk)),
        parent: Some(parent),
        kind: 17,
        ..WrittenItem::default()
    }
}

fn nic(nic: &SourceNic) -> WrittenItem {
    WrittenItem {
        // Readers may ignore the address; hyperexport does not.
        address: nic.mac.map(|mac| mac.to_string()),
        connected: Some(nic.connected),
        connection: Some(network(nic).to_owned()),
        name: nic.id.clone(),
        subtype: Some(match nic.model {
            NicModel::Vmxnet | NicModel::Sriov => "VmxNet3",
            NicModel::E1000 => "E1000",
            NicModel::Vmxnet2 => "VmxNet2",
            NicModel::E1000e | NicModel::Virtio | NicModel::Rtl8139 | NicModel::Other => "E1000e",
            NicModel::Pcnet => "PCNet32",
        }),
        kind: 10,
        // As vSphere writes it; a Linux guest derives the name `ensN` from the slot.
        config: nic.slot.map(|slot| Setting {
            required: false,
            key: "slotInfo.pciSlotNumber",
            value: slot.to_string(),
        }),
        ..WrittenItem::default()
    }
}

/// Name of a card's network, which must not be empty.
fn network(nic: &SourceNic) -> &str {
    if nic.network.is_empty() { "none" } else { &nic.network }
}
