//! The relevant parts of an OVF envelope (DSP0243 2.1.1). Elements and attributes have their local
//! names, as written by [`normal`](super::normal). Unknown ones are ignored.

use serde::Deserialize;

/// Elements that may occur several times in one parent: every `Vec` of these types.
pub(super) const SEVERAL: [&str; 22] = [
    "Adapter",
    "BootOrderSection",
    "Config",
    "Configuration",
    "Connection",
    "Description",
    "Disk",
    "EthernetPortItem",
    "ExtraConfig",
    "File",
    "HostResource",
    "Item",
    "Name",
    "ProductSection",
    "Property",
    "ResourceSubType",
    "StorageItem",
    "Value",
    "VirtualHardwareSection",
    "VirtualSystem",
    "VirtualSystemCollection",
    "VirtualSystemOtherConfigurationData",
];

/// `ovf:Envelope`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Envelope {
    pub(super) references: References,
    pub(super) disk_section: DiskSection,
    pub(super) deployment_option_section: DeploymentOptionSection,
    pub(super) virtual_system: Vec<VirtualSystem>,
    pub(super) virtual_system_collection: Vec<Collection>,
    /// OVF 0.9: a system is a `Content` whose type does not say that it is a system.
    pub(super) content: Option<serde::de::IgnoredAny>,
}

/// `References` (section 7.1).
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct References {
    pub(super) file: Vec<FileReference>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct FileReference {
    #[serde(rename = "@id")]
    pub(super) id: String,
    #[serde(rename = "@href")]
    pub(super) href: String,
    #[serde(rename = "@compression")]
    pub(super) compression: String,
    #[serde(rename = "@size")]
    pub(super) size: Option<String>,
    #[serde(rename = "@chunkSize")]
    pub(super) chunk_size: Option<String>,
}

/// `DiskSection` (section 9.1).
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct DiskSection {
    pub(super) disk: Vec<DescribedDisk>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct DescribedDisk {
    #[serde(rename = "@diskId")]
    pub(super) id: String,
    /// Id of a file; in oVirt's storage, the path of the file.
    #[serde(rename = "@fileRef")]
    pub(super) file: Option<String>,
    #[serde(rename = "@capacity")]
    pub(super) capacity: String,
    #[serde(rename = "@capacityAllocationUnits")]
    pub(super) units: String,
    #[serde(rename = "@format")]
    pub(super) format: String,
    #[serde(rename = "@parentRef")]
    pub(super) parent: Option<String>,
    /// oVirt: `true` for the boot disk.
    #[serde(rename = "@boot")]
    pub(super) boot: String,
    /// Citrix: `true` for the boot disk.
    #[serde(rename = "@isBootable")]
    pub(super) is_bootable: String,
    /// oVirt: `COW` or `RAW`, the format of the volume in its storage, not of the file.
    #[serde(rename = "@volume-format")]
    pub(super) volume: Option<String>,
    /// oVirt: `VirtIO`, `VirtIO_SCSI`, `IDE`, `SATA`.
    #[serde(rename = "@disk-interface")]
    pub(super) interface: String,
}

/// `DeploymentOptionSection` (section 9.8).
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct DeploymentOptionSection {
    pub(super) configuration: Vec<Configuration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Configuration {
    #[serde(rename = "@id")]
    pub(super) id: String,
    #[serde(rename = "@default")]
    pub(super) default: String,
}

/// `VirtualSystemCollection`, which may be nested.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Collection {
    pub(super) virtual_system: Vec<VirtualSystem>,
    pub(super) virtual_system_collection: Vec<Collection>,
    pub(super) product_section: Vec<Product>,
}

/// `ProductSection` (section 9.5), for its properties.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Product {
    #[serde(rename = "@class")]
    pub(super) class: String,
    #[serde(rename = "@instance")]
    pub(super) instance: String,
    #[serde(rename = "Property")]
    pub(super) property: Vec<Property>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Property {
    #[serde(rename = "@key")]
    pub(super) key: String,
    #[serde(rename = "@value")]
    pub(super) value: Option<String>,
    /// Values for deployment options.
    #[serde(rename = "Value")]
    pub(super) values: Vec<OptionValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OptionValue {
    #[serde(rename = "@value")]
    pub(super) value: String,
    #[serde(rename = "@configuration")]
    pub(super) configuration: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct VirtualSystem {
    #[serde(rename = "@id")]
    pub(super) id: String,
    /// Several if the name is translated.
    pub(super) name: Vec<String>,
    pub(super) operating_system_section: OperatingSystem,
    pub(super) virtual_hardware_section: Vec<HardwareSection>,
    /// VMware's boot order: a section for each device, in boot order.
    pub(super) boot_order_section: Vec<BootOrder>,
    /// VirtualBox's own description of the VM.
    pub(super) machine: Option<Machine>,
    /// oVirt: a number of its `BiosType`.
    pub(super) bios_type: String,
    pub(super) product_section: Vec<Product>,
}

/// `vmw:BootOrderSection`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BootOrder {
    /// `disk`, `cdrom`, `net`, `floppy`.
    #[serde(rename = "@type")]
    pub(super) kind: String,
    /// `InstanceID` of the device.
    #[serde(rename = "@instanceId")]
    pub(super) instance: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OperatingSystem {
    /// A number of `CIM_OperatingSystem.OSType`.
    #[serde(rename = "@id")]
    pub(super) id: String,
    /// VMware's id: `ubuntu64Guest`.
    #[serde(rename = "@osType")]
    pub(super) vmware: String,
    #[serde(rename = "Description")]
    pub(super) description: Vec<String>,
    /// VirtualBox's id: `Ubuntu_64`.
    #[serde(rename = "OSType")]
    pub(super) virtual_box: Option<String>,
}

/// `VirtualHardwareSection` (section 8).
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct HardwareSection {
    pub(super) system: System,
    pub(super) item: Vec<Item>,
    /// OVF 2: disks.
    pub(super) storage_item: Vec<Item>,
    /// OVF 2: network interfaces.
    pub(super) ethernet_port_item: Vec<Item>,
    /// VMware's settings.
    pub(super) config: Vec<Setting>,
    /// VMware's lines of the VMX.
    pub(super) extra_config: Vec<Setting>,
    /// Citrix's settings.
    pub(super) virtual_system_other_configuration_data: Vec<OtherSetting>,
}

/// `xenovf:VirtualSystemOtherConfigurationData`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OtherSetting {
    #[serde(rename = "@Name")]
    pub(super) name: String,
    /// `KEY=VALUE;KEY=VALUE`.
    #[serde(rename = "Value")]
    pub(super) value: Vec<TextContent>,
}

/// The text of an element that may have child elements.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TextContent {
    #[serde(rename = "$text")]
    pub(super) text: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct System {
    /// The VM's name, as Citrix and others write it.
    pub(super) virtual_system_identifier: Option<String>,
    /// The hypervisor: `vmx-19`, `virtualbox-2.2`.
    pub(super) virtual_system_type: Option<String>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct Setting {
    #[serde(rename = "@key")]
    pub(super) key: String,
    #[serde(rename = "@value")]
    pub(super) value: String,
}

/// The value of the first setting called `key`, in any case.
pub(super) fn setting<'a>(settings: &'a [Setting], key: &str) -> Option<&'a str> {
    let found = settings.iter().find(|setting| setting.key.eq_ignore_ascii_case(key));
    found.map(|setting| setting.value.as_str())
}

/// A device (DMTF DSP0004, `CIM_ResourceAllocationSettingData`).
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct Item {
    /// The deployment options of the item; empty for all.
    #[serde(rename = "@configuration")]
    pub(super) configuration: String,
    /// `min` and `max` are the bounds of a range (section 8.4); `normal` or empty is the device.
    #[serde(rename = "@bound")]
    pub(super) bound: String,
    #[serde(rename = "ResourceType")]
    pub(super) kind: String,
    #[serde(rename = "ResourceSubType")]
    pub(super) subtype: Vec<String>,
    #[serde(rename = "InstanceID")]
    pub(super) instance: String,
    #[serde(rename = "Parent")]
    pub(super) parent: Option<String>,
    #[serde(rename = "Address")]
    pub(super) address: Option<String>,
    #[serde(rename = "AddressOnParent")]
    pub(super) address_on_parent: Option<String>,
    #[serde(rename = "ElementName")]
    pub(super) name: Option<String>,
    #[serde(rename = "Caption")]
    pub(super) caption: Option<String>,
    #[serde(rename = "HostResource")]
    pub(super) host_resource: Vec<String>,
    #[serde(rename = "Connection")]
    pub(super) connection: Vec<String>,
    #[serde(rename = "VirtualQuantity")]
    pub(super) quantity: Option<String>,
    #[serde(rename = "AllocationUnits")]
    pub(super) units: Option<String>,
    #[serde(rename = "VirtualQuantityUnits")]
    pub(super) quantity_units: Option<String>,
    #[serde(rename = "Reservation")]
    pub(super) reservation: Option<String>,
    #[serde(rename = "Limit")]
    pub(super) limit: Option<String>,
    #[serde(rename = "CoresPerSocket")]
    pub(super) cores_per_socket: Option<String>,
    /// oVirt's element for the cores per socket.
    #[serde(rename = "cpu_per_socket")]
    pub(super) cpu_per_socket: Option<String>,
    /// oVirt's number of sockets; its storage has this instead of the number of CPUs.
    #[serde(rename = "num_of_sockets")]
    pub(super) sockets: Option<String>,
    /// oVirt's element for the threads per core.
    #[serde(rename = "threads_per_cpu")]
    pub(super) threads: Option<String>,
    #[serde(rename = "AutomaticAllocation")]
    pub(super) connected: Option<String>,
    /// oVirt: MAC address of a network card.
    #[serde(rename = "MACAddress")]
    pub(super) mac: Option<String>,
    /// oVirt: `tpm` and others.
    #[serde(rename = "Device")]
    pub(super) device: String,
    /// oVirt: position in the boot order, from 1.
    #[serde(rename = "BootOrder")]
    pub(super) boot_order: Option<String>,
    /// VMware's settings of the device.
    #[serde(rename = "Config")]
    pub(super) config: Vec<Setting>,
}

impl Item {
    /// Name of the device.
    pub(super) fn label(&self) -> &str {
        let told = [&self.name, &self.caption].into_iter().flatten().map(|text| text.trim());
        let mut told = told.filter(|text| !text.is_empty());
        told.next().unwrap_or(self.instance.trim())
    }

    /// Overwrites the fields that a later description of the same device names.
    pub(super) fn replace(&mut self, later: &Self) {
        let later = later.clone();
        let replace = |own: &mut Option<String>, other: Option<String>| {
            if other.is_some() {
                *own = other;
            }
        };
        replace(&mut self.parent, later.parent);
        replace(&mut self.address, later.address);
        replace(&mut self.address_on_parent, later.address_on_parent);
        replace(&mut self.name, later.name);
        replace(&mut self.quantity, later.quantity);
        replace(&mut self.units, later.units);
        replace(&mut self.quantity_units, later.quantity_units);
        replace(&mut self.cores_per_socket, later.cores_per_socket);
        replace(&mut self.connected, later.connected);
        let replace_all = |own: &mut Vec<String>, other: Vec<String>| {
            if !other.is_empty() {
                *own = other;
            }
        };
        replace_all(&mut self.subtype, later.subtype);
        replace_all(&mut self.host_resource, later.host_resource);
        replace_all(&mut self.connection, later.connection);
    }
}

/// `vbox:Machine`, the VM in VirtualBox's own settings (`src/VBox/Main/xml/Settings.cpp`).
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Machine {
    pub(super) hardware: MachineHardware,
    /// Since VirtualBox 7.1.
    pub(super) platform: MachinePlatform,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MachinePlatform {
    /// `x86`, `ARM`.
    #[serde(rename = "@architecture")]
    pub(super) architecture: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct MachineHardware {
    pub(super) firmware: MachineFirmware,
    pub(super) trusted_platform_module: MachineTpm,
    pub(super) network: MachineNetwork,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MachineFirmware {
    /// `EFI`, `EFI64`, `BIOS`.
    #[serde(rename = "@type")]
    pub(super) kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MachineTpm {
    /// `None`, `v1_2`, `v2_0`, `Host`, `Swtpm`.
    #[serde(rename = "@type")]
    pub(super) kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct MachineNetwork {
    /// One for each of VirtualBox's slots, enabled or not.
    pub(super) adapter: Vec<Adapter>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Adapter {
    #[serde(rename = "@slot")]
    pub(super) slot: String,
    #[serde(rename = "@enabled")]
    pub(super) enabled: String,
    #[serde(rename = "@MACAddress")]
    pub(super) mac: String,
    /// `82540EM`, `virtio`, `Am79C973`.
    #[serde(rename = "@type")]
    pub(super) kind: String,
}
