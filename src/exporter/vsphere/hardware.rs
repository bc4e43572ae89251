//! `config.hardware` in the terms of [`SourceVm`](crate::model::SourceVm): controllers, disks and
//! network interfaces. Devices of types not known here are left alone.

use super::args::Moref;
use super::names::decode_name;
use super::node::Node;
use crate::model::{
    Bus, ByteSize, Controller, CpuTopology, DiskId, NicModel, PowerState, SourceDisk, SourceNic,
};

/// `runtime.powerState` (vim25, `VirtualMachinePowerState`).
pub(super) fn power_state(text: &str) -> PowerState {
    match text {
        "poweredOff" => PowerState::Off,
        "poweredOn" => PowerState::On,
        "suspended" => PowerState::Suspended,
        _ => PowerState::Unknown,
    }
}

/// `numCPU` and `numCoresPerSocket`.
pub(super) fn cpu(hardware: &Node) -> CpuTopology {
    let cores = hardware.number("numCoresPerSocket").unwrap_or(1);
    CpuTopology::new(hardware.number("numCPU").unwrap_or(1), cores)
}

/// Whether there is a `VirtualTPM` (vim25, since vSphere 6.7).
pub(super) fn vtpm(hardware: &Node) -> bool {
    hardware.all("device").any(|device| device.is("VirtualTPM"))
}

/// Number of `VirtualCdrom` devices, with a medium or without.
pub(super) fn cdroms(hardware: &Node) -> u32 {
    let drives = hardware.all("device").filter(|device| device.is("VirtualCdrom"));
    drives.count().try_into().unwrap_or(u32::MAX)
}

/// Capacity of a `VirtualDisk` in bytes. Before vSphere 5.5 it was given in KiB only.
pub(super) fn capacity(disk: &Node) -> u64 {
    disk.number("capacityInBytes")
        .or_else(|| disk.number::<u64>("capacityInKB").map(|kib| kib.saturating_mul(1024)))
        .unwrap_or(0)
}

/// All disks in controller order, with boot order by `config.bootOptions`.
pub(super) fn disks(hardware: &Node, boot_options: Option<&Node>) -> Vec<SourceDisk> {
    let mut disks: Vec<SourceDisk> = hardware
        .all("device")
        .filter(|device| device.is("VirtualDisk"))
        .map(|device| disk(hardware, device))
        .collect();
    disks.sort_by_key(|disk| (disk.controller.bus, disk.controller.number, disk.unit, disk.key));
    let mut order: Vec<i32> = boot_options
        .into_iter()
        .flat_map(|options| options.all("bootOrder"))
        .filter_map(|entry| entry.number("deviceKey"))
        .filter(|key| disks.iter().any(|disk| disk.key == *key))
        .collect();
    order.extend(disks.iter().map(|disk| disk.key));
    for (index, disk) in disks.iter_mut().enumerate() {
        disk.id = DiskId::from_index(index);
    }
    let mut next = 0;
    for key in order {
        let unset = |disk: &&mut SourceDisk| disk.key == key && disk.boot_order == u32::MAX;
        if let Some(disk) = disks.iter_mut().find(unset) {
            disk.boot_order = next;
            next += 1;
        }
    }
    disks
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
            || Controller { bus: Bus::Other, model: String::new(), number: 0 },
            |controller| Controller {
                bus: bus(controller.xsi_type.as_deref().unwrap_or_default()),
                model: controller.xsi_type.clone().unwrap_or_default(),
                number: controller.number("busNumber").unwrap_or(0),
            },
        ),
        unit: device.number("unitNumber").unwrap_or(0),
        capacity: ByteSize(capacity(device)),
        boot_order: u32::MAX,
        backing: backing.filter(|name| !name.is_empty()),
        uuid: None,
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

/// A network interface, and the port group whose name is still to be looked up.
pub(super) struct Nic {
    /// All that the device itself says.
    pub(super) nic: SourceNic,
    /// The distributed port group, where it hangs on one.
    pub(super) port_group: Option<Moref>,
}

/// All network interfaces in the order of the device list.
pub(super) fn nics(hardware: &Node) -> Vec<Nic> {
    let cards = hardware.all("device").filter_map(|device| Some((model(device)?, device)));
    cards.enumerate().map(|(index, (model, device))| nic(index, model, device)).collect()
}

fn nic(index: usize, model: NicModel, device: &Node) -> Nic {
    let backing = device.child("backing");
    let text = |path: &[&str]| {
        let node = backing.and_then(|backing| backing.at(path));
        node.map(|node| node.text.trim()).filter(|text| !text.is_empty())
    };
    let port_group = text(&["port", "portgroupKey"]);
    let network = text(&["deviceName"]).or_else(|| text(&["opaqueNetworkId"])).or(port_group);
    let mac = device.text_of("macAddress").parse();
    Nic {
        nic: SourceNic {
            id: format!("nic-{index}"),
            mac: mac.ok(),
            slot: None,
            model,
            network: network.map(decode_name).unwrap_or_default(),
            connected: device.child("connectable").is_none_or(|c| c.flag("startConnected")),
        },
        port_group: port_group.map(|key| Moref::new("DistributedVirtualPortgroup", key)),
    }
}

/// The model of a network card (vim25, subtypes of `VirtualEthernetCard`); nothing for any other
/// device. An unknown card is known by its MAC address.
fn model(device: &Node) -> Option<NicModel> {
    Some(match device.xsi_type.as_deref()? {
        "VirtualVmxnet" | "VirtualVmxnet2" | "VirtualVmxnet3" | "VirtualVmxnet3Vrdma" => {
            NicModel::Vmxnet
        }
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
        let disks = disks(&hardware(), None);
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
        let order: Vec<_> =
            disks(&hardware(), Some(&boot)).iter().map(|d| (d.key, d.boot_order)).collect();
        assert_eq!(order, [(2000, 1), (2001, 2), (2002, 0), (2003, 3)]);
    }

    #[test]
    fn unknown_devices_and_broken_fields_do_no_harm() {
        let odd = node(
            "<device xsi:type=\"VirtualQuantum\"><key>1</key></device><device/>\
             <device xsi:type=\"VirtualFutureNet\"><macAddress>none yet</macAddress></device>\
             <device xsi:type=\"VirtualDisk\"/>",
        );
        assert_eq!(disks(&odd, None).len(), 1);
        let nics = nics(&odd);
        assert_eq!(nics.len(), 1);
        assert_eq!((nics[0].nic.model, nics[0].nic.mac), (NicModel::Other, None));
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
