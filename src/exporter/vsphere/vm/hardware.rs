//! Converts `config.hardware` to [`SourceVm`](crate::model::SourceVm): controllers, disks and
//! network cards. Devices of unknown types are ignored.

use super::super::inventory::inventory_names::decode_name;
use super::super::soap::args::Moref;
use super::super::soap::node::Node;
use crate::exporter::boot_order::boot_disks;
use crate::model::{
    Bus, ByteSize, Controller, CpuTopology, DiskId, NicModel, PowerState, SourceDisk, SourceNic,
    disk_uuid,
};

/// `runtime.powerState` (vim25, `VirtualMachinePowerState`).
pub(in crate::exporter::vsphere) fn power_state(text: &str) -> PowerState {
    match text {
        "poweredOff" => PowerState::Off,
        "poweredOn" => PowerState::On,
        "suspended" => PowerState::Suspended,
        _ => PowerState::Unknown,
    }
}

/// `numCPU` and `numCoresPerSocket`.
pub(in crate::exporter::vsphere) fn cpu(hardware: &Node) -> CpuTopology {
    let cores = hardware.number("numCoresPerSocket").unwrap_or(1);
    CpuTopology::new(hardware.number("numCPU").unwrap_or(1), cores)
}

/// Whether there is a `VirtualTPM` (vim25, since vSphere 6.7).
pub(in crate::exporter::vsphere) fn vtpm(hardware: &Node) -> bool {
    hardware.all("device").any(|device| device.is("VirtualTPM"))
}

/// Number of `VirtualCdrom` devices, with or without a medium.
pub(in crate::exporter::vsphere) fn cdroms(hardware: &Node) -> u32 {
    let drives = hardware.all("device").filter(|device| device.is("VirtualCdrom"));
    drives.count().try_into().unwrap_or(u32::MAX)
}

/// Capacity of a `VirtualDisk` in bytes. Before vSphere 5.5 it was only given in KiB.
pub(in crate::exporter::vsphere) fn capacity(disk: &Node) -> u64 {
    disk.number("capacityInBytes")
        .or_else(|| disk.number::<u64>("capacityInKB").map(|kib| kib.saturating_mul(1024)))
        .unwrap_or(0)
}

/// All disks in the order of the controllers, with their boot order by `config.bootOptions`, else
/// by the VMX lines in `config.extraConfig`; and whether the boot order names a disk.
pub(in crate::exporter::vsphere) fn disks(
    hardware: &Node,
    boot_options: Option<&Node>,
    extra: ExtraConfig<'_>,
) -> (Vec<SourceDisk>, bool) {
    let mut disks: Vec<SourceDisk> = hardware
        .all("device")
        .filter(|device| device.is("VirtualDisk"))
        .map(|device| disk(hardware, device))
        .collect();
    disks.sort_by_key(|disk| (disk.controller.bus, disk.controller.number, disk.unit, disk.key));
    for (index, disk) in disks.iter_mut().enumerate() {
        disk.id = DiskId::from_index(index);
    }
    let mut named: Vec<usize> = boot_options
        .into_iter()
        .flat_map(|options| options.all("bootOrder"))
        .filter_map(|entry| entry.number::<i32>("deviceKey"))
        .filter_map(|key| disks.iter().position(|disk| disk.key == key))
        .collect();
    if named.is_empty() {
        named = boot_disks(|key| extra.get(key), &disks.iter().collect::<Vec<_>>());
    }
    let told = SourceDisk::order_boot(&mut disks, &named);
    (disks, told)
}

fn disk(hardware: &Node, device: &Node) -> SourceDisk {
    let key: Option<i32> = device.number("controllerKey");
    let controller =
        hardware.all("device").find(|other| key.is_some() && other.number("key") == key);
    let backing = device.at(&["backing", "fileName"]).map(|node| node.text.clone());
    SourceDisk {
        id: DiskId::from_index(0),
        key: device.number("key").unwrap_or_default(),
        label: device.at(&["deviceInfo", "label"]).map_or(String::new(), |node| node.text.clone()),
        controller: controller.map_or_else(
            || Controller { bus: Bus::Other, model: String::new(), number: 0, slot: None },
            |controller| Controller {
                bus: bus(controller.xsi_type.as_deref().unwrap_or_default()),
                model: controller.xsi_type.clone().unwrap_or_default(),
                number: controller.number("busNumber").unwrap_or(0),
                slot: own_slot(controller),
            },
        ),
        unit: device.number("unitNumber").unwrap_or(0),
        capacity: ByteSize(capacity(device)),
        boot_order: u32::MAX,
        backing: backing.filter(|name| !name.is_empty()),
        uuid: device.at(&["backing", "uuid"]).and_then(|node| disk_uuid(&node.text)),
    }
}

/// The bus of a controller type (vim25, subtypes of `VirtualController`).
fn bus(kind: &str) -> Bus {
    match kind {
        "VirtualIDEController" => Bus::Ide,
        "VirtualAHCIController" | "VirtualSATAController" => Bus::Sata,
        "VirtualNVMEController" => Bus::Nvme,
        "ParaVirtualSCSIController"
        | "VirtualBusLogicController"
        | "VirtualLsiLogicController"
        | "VirtualLsiLogicSASController"
        | "VirtualSCSIController" => Bus::Scsi,
        _ => Bus::Other,
    }
}

/// A network card, and the port group whose name must still be queried.
pub(in crate::exporter::vsphere) struct HardwareNic {
    /// The facts of the device itself.
    pub(in crate::exporter::vsphere) nic: SourceNic,
    /// The distributed port group, if the card is connected to one.
    pub(in crate::exporter::vsphere) port_group: Option<Moref>,
}

/// All network cards in the order of the device list. `extra` is `config.extraConfig`.
pub(in crate::exporter::vsphere) fn nics(
    hardware: &Node,
    extra: ExtraConfig<'_>,
) -> Vec<HardwareNic> {
    let cards = hardware.all("device").filter_map(|device| Some((model(device)?, device)));
    cards.enumerate().map(|(index, (model, device))| nic(index, model, device, extra)).collect()
}

fn nic(index: usize, model: NicModel, device: &Node, extra: ExtraConfig<'_>) -> HardwareNic {
    let backing = device.child("backing");
    let text = |path: &[&str]| {
        let node = backing.and_then(|backing| backing.at(path));
        node.map(|node| node.text.trim()).filter(|text| !text.is_empty())
    };
    let port_group = text(&["port", "portgroupKey"]);
    let network = text(&["deviceName"]).or_else(|| text(&["opaqueNetworkId"])).or(port_group);
    let mac = device.text_of("macAddress").trim().parse();
    HardwareNic {
        nic: SourceNic {
            mac: mac.ok(),
            slot: slot(device, extra),
            model,
            network: network.map(decode_name).unwrap_or_default(),
            connected: device.child("connectable").is_none_or(|c| c.flag("startConnected")),
            ..SourceNic::at(index)
        },
        port_group: port_group.map(|key| Moref::new("DistributedVirtualPortgroup", key)),
    }
}

/// Key of the first network card; the keys of the others follow (vSphere's numbering of devices).
const FIRST_CARD: i32 = 4000;

/// The PCI slot of a card: its `slotInfo` (vim25, `VirtualDevicePciBusSlotInfo`), else the VMX
/// line, which numbers the cards by their keys. -1 means that no slot is assigned yet.
fn slot(device: &Node, extra: ExtraConfig<'_>) -> Option<u32> {
    own_slot(device).or_else(|| {
        let number = device.number::<i32>("key")?.checked_sub(FIRST_CARD)?;
        extra.get(&format!("ethernet{number}.pciSlotNumber"))?.trim().parse().ok()
    })
}

/// The slot in a device's own `slotInfo`.
fn own_slot(device: &Node) -> Option<u32> {
    device.child("slotInfo")?.number("pciSlotNumber")
}

/// The VMX lines that have no property in vSphere (vim25, array of `OptionValue`).
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::exporter::vsphere) struct ExtraConfig<'a>(
    pub(in crate::exporter::vsphere) Option<&'a Node>,
);

impl<'a> ExtraConfig<'a> {
    /// The value of `key`, in any case.
    pub(in crate::exporter::vsphere) fn get(self, key: &str) -> Option<&'a str> {
        let mut options = self.0.into_iter().flat_map(|list| &list.children);
        let found = options.find(|option| option.text_of("key").eq_ignore_ascii_case(key));
        found.map(|option| option.text_of("value"))
    }
}

/// The model of a network card (vim25, subtypes of `VirtualEthernetCard`); `None` for other
/// devices. A card of an unknown type is recognized by its MAC address.
fn model(device: &Node) -> Option<NicModel> {
    Some(match device.xsi_type.as_deref()? {
        "VirtualVmxnet3" | "VirtualVmxnet3Vrdma" => NicModel::Vmxnet,
        "VirtualVmxnet" | "VirtualVmxnet2" => NicModel::Vmxnet2,
        "VirtualE1000" => NicModel::E1000,
        "VirtualE1000e" => NicModel::E1000e,
        "VirtualPCNet32" => NicModel::Pcnet,
        "VirtualSriovEthernetCard" => NicModel::Sriov,
        _ => device.child("macAddress").map(|_| NicModel::Other)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const XSI: &str = "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"";

    fn node(inner: &str) -> Node {
        Node::parse(&format!("<val {XSI}>{inner}</val>")).expect("well-formed")
    }

    fn controller(kind: &str, key: i32, bus: i32) -> String {
        format!("<device xsi:type=\"{kind}\"><key>{key}</key><busNumber>{bus}</busNumber></device>")
    }

    fn disk(key: i32, controller: i32, unit: i32) -> String {
        format!(
            "<device xsi:type=\"VirtualDisk\"><key>{key}</key><controllerKey>{controller}\
             </controllerKey><unitNumber>{unit}</unitNumber><capacityInKB>64</capacityInKB></device>"
        )
    }

    fn hardware() -> Node {
        node(
            &[
                disk(2003, 31000, 0),
                disk(2002, 1001, 0),
                disk(2001, 1000, 10),
                disk(2000, 1000, 2),
                controller("VirtualNVMEController", 31000, 0),
                controller("VirtualLsiLogicSASController", 1001, 1),
                controller("ParaVirtualSCSIController", 1000, 0),
            ]
            .concat(),
        )
    }

    #[test]
    fn disks_are_numbered_in_controller_order() {
        let (disks, told) = disks(&hardware(), None, ExtraConfig::default());
        assert!(!told);
        let keys: Vec<_> = disks.iter().map(|d| (d.id.as_str(), d.key, d.boot_order)).collect();
        assert_eq!(
            keys,
            [("disk-0", 2000, 0), ("disk-1", 2001, 1), ("disk-2", 2002, 2), ("disk-3", 2003, 3)]
        );
        assert_eq!(disks[2].controller.model, "VirtualLsiLogicSASController");
        assert_eq!(disks[0].capacity, ByteSize(65536));
    }

    #[test]
    fn the_boot_options_decide_the_boot_disk() {
        let boot = node(
            "<bootOrder xsi:type=\"VirtualMachineBootOptionsBootableCdromDevice\"/>\
             <bootOrder xsi:type=\"VirtualMachineBootOptionsBootableDiskDevice\">\
             <deviceKey>2002</deviceKey></bootOrder>\
             <bootOrder><deviceKey>2002</deviceKey></bootOrder>",
        );
        let (disks, told) = disks(&hardware(), Some(&boot), ExtraConfig::default());
        assert!(told);
        let order: Vec<_> = disks.iter().map(|d| (d.key, d.boot_order)).collect();
        assert_eq!(order, [(2000, 1), (2001, 2), (2002, 0), (2003, 3)]);
    }

    #[test]
    fn the_boot_order_of_the_vmx_decides_where_no_boot_option_names_a_disk() {
        let line =
            |key: &str, value: &str| format!("<o><key>{key}</key><value>{value}</value></o>");
        let first = |boot: Option<&Node>, lines: &[String]| {
            let extra = node(&lines.concat());
            let (disks, told) = disks(&hardware(), boot, ExtraConfig(Some(&extra)));
            let first = disks.iter().find(|disk| disk.boot_order == 0);
            told.then(|| first.expect("one is the first").key)
        };
        let hdd = [line("BIOS.hddOrder", "scsi1:0,scsi0:2")];
        assert_eq!(first(None, &hdd), Some(2002));
        assert_eq!(first(None, &[line("bios.bootOrder", "cdrom,hdd"), hdd[0].clone()]), Some(2002));
        assert_eq!(first(None, &[line("bios.hddOrder", "nvme0:0")]), Some(2003));
        assert_eq!(first(None, &[line("bios.hddOrder", "scsi0:7")]), None);
        let other = node("<bootOrder><deviceKey>2001</deviceKey></bootOrder>");
        assert_eq!(first(Some(&other), &hdd), Some(2001), "vSphere's own order goes before");
        let net = node("<bootOrder><deviceKey>4000</deviceKey></bootOrder>");
        assert_eq!(first(Some(&net), &hdd), Some(2002));
    }

    #[test]
    fn unknown_devices_and_broken_fields_do_no_harm() {
        let odd = node(
            "<device xsi:type=\"VirtualQuantum\"><key>1</key></device><device/>\
             <device xsi:type=\"VirtualFutureNet\"><macAddress>none yet</macAddress></device>\
             <device xsi:type=\"VirtualDisk\"/>",
        );
        assert_eq!(disks(&odd, None, ExtraConfig::default()).0.len(), 1);
        let nics = nics(&odd, ExtraConfig::default());
        assert_eq!(nics.len(), 1);
        assert_eq!((nics[0].nic.model, nics[0].nic.mac), (NicModel::Other, None));
    }

    #[test]
    fn slots_stand_at_the_device_or_in_the_extra_configuration() {
        let card = |key: i32, slot: &str| {
            let inner = format!("<key>{key}</key>{slot}<macAddress>00:50:56:00:00:01</macAddress>");
            format!("<device xsi:type=\"VirtualVmxnet3\">{inner}</device>")
        };
        let at = |number: i32| {
            format!(
                "<slotInfo xsi:type=\"VirtualDevicePciBusSlotInfo\">\
                 <pciSlotNumber>{number}</pciSlotNumber></slotInfo>"
            )
        };
        let cards = [card(4000, &at(224)), card(4002, ""), card(4003, &at(-1)), card(4001, "")];
        let extra = node(
            "<OptionValue><key>ethernet2.pciSlotNumber</key><value>192</value></OptionValue>\
             <OptionValue><key>ethernet3.pcislotnumber</key><value>256</value></OptionValue>\
             <OptionValue><key>ethernet1.pciSlotNumber</key><value>-1</value></OptionValue>\
             <OptionValue><key>ethernet0.pciSlotNumber</key><value>7</value></OptionValue>",
        );
        let slots = |extra| -> Vec<_> {
            nics(&node(&cards.concat()), extra).iter().map(|card| card.nic.slot).collect()
        };
        assert_eq!(slots(ExtraConfig(Some(&extra))), [Some(224), Some(192), Some(256), None]);
        assert_eq!(slots(ExtraConfig(None)), [Some(224), None, None, None]);
    }

    #[test]
    fn a_tpm_and_cdrom_drives_are_seen() {
        let none = hardware();
        assert_eq!((vtpm(&none), cdroms(&none)), (false, 0));
        let both = node(
            "<device xsi:type=\"VirtualTPM\"><key>11000</key></device>\
             <device xsi:type=\"VirtualCdrom\"><key>3000</key></device>\
             <device xsi:type=\"VirtualCdrom\"><key>3001</key></device>",
        );
        assert_eq!((vtpm(&both), cdroms(&both)), (true, 2));
    }
}
