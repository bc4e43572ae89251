//! Descriptors of other writers than VMware.

use super::{Read, read};
use crate::exporter::files::ovf_package::packaged_vm::PackagedVm;
use crate::model::{Bus, ByteSize, Firmware, NicModel};

const NAMES: &str = "xmlns='http://schemas.dmtf.org/ovf/envelope/1' \
    xmlns:ovf='http://schemas.dmtf.org/ovf/envelope/1' \
    xmlns:rasd='http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData' \
    xmlns:vmw='http://www.vmware.com/schema/ovf' xmlns:vbox='http://www.virtualbox.org/ovf/machine' \
    xmlns:xenovf='http://schemas.citrix.com/ovf/envelope/1' xmlns:ovirt='http://www.ovirt.org/ovf'";

/// The parts of a descriptor that differ from writer to writer.
#[derive(Clone)]
struct Parts {
    files: &'static str,
    disks: &'static str,
    items: String,
    /// Part of the system, after its hardware.
    system: &'static str,
    /// Part of the hardware.
    hardware: &'static str,
    os: &'static str,
}

fn item(inner: &str) -> String {
    format!("<Item>{inner}</Item>")
}

fn of_kind(kind: u32, inner: &str) -> String {
    item(&format!("<rasd:ResourceType>{kind}</rasd:ResourceType>{inner}"))
}

/// A disk that refers to `d1`.
fn disk() -> String {
    of_kind(
        17,
        "<rasd:InstanceID>4</rasd:InstanceID><rasd:HostResource>ovf:/disk/d1</rasd:HostResource>",
    )
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            files: "<File ovf:id='f1' ovf:href='disk.vmdk'/>",
            disks: "<Disk ovf:diskId='d1' ovf:fileRef='f1' ovf:capacity='1024'/>",
            items: [
                of_kind(3, "<rasd:VirtualQuantity>2</rasd:VirtualQuantity>"),
                of_kind(4, "<rasd:VirtualQuantity>2048</rasd:VirtualQuantity>"),
                disk(),
            ]
            .concat(),
            system: "",
            hardware: "",
            os: "<OperatingSystemSection ovf:id='96'/>",
        }
    }
}

impl Parts {
    fn with(items: &[String]) -> Self {
        let all = Self::default();
        Self { items: all.items + &items.concat(), ..all }
    }

    fn read(&self) -> Result<Read, String> {
        let Self { files, disks, items, system, hardware, os } = self;
        read(&format!(
            "<?xml version='1.0'?><Envelope {NAMES}><References>{files}</References>\
             <DiskSection>{disks}</DiskSection><VirtualSystem ovf:id='vm'>{os}\
             <VirtualHardwareSection>{items}{hardware}</VirtualHardwareSection>{system}\
             </VirtualSystem></Envelope>"
        ))
    }

    fn system(&self) -> PackagedVm {
        let mut read = self.read().expect("it is read");
        read.systems.remove(0)
    }
}

#[test]
fn one_list_may_be_written_with_two_prefixes() {
    let parts = Parts {
        files: "<File ovf:id='f0' ovf:href='notes.json'/><ovf:File ovf:id='f1' ovf:href='disk.vmdk'/>",
        disks: "<ovf:Disk ovf:diskId='d0' ovf:capacity='512'/>\
                <Disk ovf:diskId='d1' ovf:fileRef='f1' ovf:capacity='1024'/>",
        ..Parts::with(&["<ovf:Item><rasd:ResourceType>15</rasd:ResourceType></ovf:Item>".into()])
    };
    let system = parts.system();
    assert_eq!(system.disks[0].href.as_deref(), Some("disk.vmdk"));
    assert_eq!(system.vm.cdroms, 1);
}

#[test]
fn ends_of_a_range_are_no_devices() {
    let range = |bound: &str, kind: u32, count: u32| {
        of_kind(kind, &format!("<rasd:VirtualQuantity>{count}</rasd:VirtualQuantity>"))
            .replace("<Item>", &format!("<Item ovf:bound='{bound}'>"))
    };
    let parts = Parts::with(&[
        range("min", 3, 1),
        range("max", 3, 16),
        range("max", 4, 65536),
        of_kind(4, "").replace("<Item>", "<Item ovf:bound='min'>"),
    ]);
    let vm = parts.system().vm;
    assert_eq!((vm.cpu.vcpus, vm.memory_mib), (2, 2048));
    let normal = Parts { items: disk() + &range("normal", 4, 512), ..Parts::default() };
    assert_eq!(normal.system().vm.memory_mib, 512);
}

#[test]
fn the_default_deployment_option_replaces_what_it_names_of_a_device() {
    let larger = "<rasd:InstanceID>4</rasd:InstanceID><rasd:ElementName>large</rasd:ElementName>";
    let larger = of_kind(17, larger).replace("<Item>", "<Item ovf:configuration='large'>");
    let text = "<DeploymentOptionSection><Configuration ovf:id='large' ovf:default='true'/>\
                </DeploymentOptionSection>";
    let parts =
        Parts { disks: "<Disk ovf:diskId='d1' ovf:fileRef='f1'/>", ..Parts::with(&[larger]) };
    let parts = Parts {
        files: Box::leak(format!("{}</References>{text}<References>", parts.files).into()),
        ..parts
    };
    let system = parts.system();
    assert_eq!(system.vm.disks.len(), 1);
    assert_eq!(system.vm.disks[0].label, "large");
    assert_eq!(system.disks[0].href.as_deref(), Some("disk.vmdk"));
}

#[test]
fn ovirt_tells_firmware_bus_boot_disk_and_cards_in_its_own_words() {
    let format = "http://www.gnome.org/~markmc/qcow-image-format.html";
    let disks = format!(
        "<Disk ovf:diskId='d1' ovf:fileRef='f1' ovf:capacity='1' ovf:parentRef='' \
         ovf:capacityAllocationUnits='byte * 2^30' ovf:volume-format='COW' \
         ovf:disk-interface='SATA' ovf:format='{format}'/>\
         <Disk ovf:diskId='d2' ovf:fileRef='f1' ovf:capacity='2' ovf:parentRef='' ovf:boot='true' \
         ovf:capacityAllocationUnits='byte * 2^30' ovf:volume-format='RAW' \
         ovf:disk-interface='VirtIO_SCSI' ovf:format='vmdk'/>"
    );
    let second = of_kind(17, "<rasd:HostResource>ovf:/disk/d2</rasd:HostResource>");
    let card = "<rasd:ResourceSubType>3</rasd:ResourceSubType>\
                <rasd:MACAddress>56:6f:1a:2b:00:07</rasd:MACAddress>";
    let cpu = "<rasd:VirtualQuantity>4</rasd:VirtualQuantity><rasd:cpu_per_socket>2</rasd:cpu_per_socket>";
    let parts = Parts {
        disks: disks.leak(),
        os: "<OperatingSystemSection ovf:id='36' ovirt:id='1301'/>",
        system: "<BiosType>4</BiosType>",
        hardware: "<Item><rasd:ResourceType>0</rasd:ResourceType><Device>tpm</Device></Item>",
        ..Parts::with(&[second, of_kind(10, card), of_kind(3, cpu)])
    };
    let PackagedVm { vm, disks, .. } = parts.system();
    assert_eq!((vm.firmware, vm.secure_boot, vm.vtpm), (Firmware::Efi, true, true));
    assert_eq!((vm.cpu.vcpus, vm.cpu.cores_per_socket), (4, 2));
    assert_eq!(vm.nics[0].model, NicModel::Virtio);
    assert_eq!(vm.nics[0].mac.map(|mac| mac.to_string()).as_deref(), Some("56:6f:1a:2b:00:07"));
    let buses: Vec<_> = vm.disks.iter().map(|disk| disk.controller.bus).collect();
    assert_eq!(buses, [Bus::Scsi, Bus::Sata]);
    assert_eq!((vm.disks[0].boot_order, vm.disks[0].capacity), (0, ByteSize(2 << 30)));
    assert!(!vm.assumed.boot_disk && disks[0].of_ovirt && disks[1].of_ovirt);
    for (number, firmware) in [("1", Firmware::Bios), ("3", Firmware::Efi), ("0", Firmware::Bios)] {
        let system = format!("<BiosType>{number}</BiosType>").leak();
        let vm = Parts { system, ..Parts::default() }.system().vm;
        assert_eq!((vm.firmware, vm.assumed.firmware), (firmware, number == "0"), "{number}");
    }
}

#[test]
fn citrix_writes_disks_as_storage_extents_and_firmware_as_a_setting() {
    let setting = |name: &str, value: &str| {
        format!(
            "<xenovf:VirtualSystemOtherConfigurationData Name='{name}'><Info/><Value>{value}</Value>\
             </xenovf:VirtualSystemOtherConfigurationData>"
        )
    };
    let settings = [
        setting("HVM_boot_params", "order=dc;firmware=uefi"),
        setting("recommendations", "<restrictions><restriction field='vcpus-max'/></restrictions>"),
        setting("platform", "nx=true;secureboot=true;viridian=true"),
    ];
    let extent =
        |inner: &str| of_kind(19, &format!("<rasd:InstanceID>d1</rasd:InstanceID>{inner}"));
    for resource in
        ["<rasd:HostResource>ovf:/disk/d1</rasd:HostResource>", "<rasd:HostResource/>", ""]
    {
        let parts = Parts {
            items: extent(resource) + &of_kind(19, ""),
            disks: "<Disk ovf:diskId='d1' ovf:fileRef='f1' xenovf:isBootable='True'/>",
            hardware: settings.concat().leak(),
            ..Parts::default()
        };
        let PackagedVm { vm, disks, .. } = parts.system();
        assert_eq!(disks.len(), 1, "{resource}");
        assert_eq!(disks[0].href.as_deref(), Some("disk.vmdk"));
        assert_eq!((vm.firmware, vm.secure_boot), (Firmware::Efi, true));
        assert_eq!((vm.assumed.firmware, vm.assumed.boot_disk), (false, false));
    }
    let bios = setting("HVM_boot_params", "order=dc").leak();
    let vm = Parts { hardware: bios, ..Parts::default() }.system().vm;
    assert_eq!((vm.firmware, vm.assumed.firmware), (Firmware::Bios, false));
}

#[test]
fn virtualbox_tells_tpm_addresses_and_chips_in_its_own_settings() {
    let machine = |tpm: &str| {
        format!(
            "<vbox:Machine><Hardware><Firmware type='EFI'/><TrustedPlatformModule type='{tpm}'/>\
             <Network><Adapter slot='2' enabled='1' MACAddress='0800275268EB' type='virtio'/>\
             <Adapter slot='1' enabled='false' MACAddress='0800275268EA' type='82540EM'/>\
             <Adapter slot='0' enabled='true' MACAddress='0800275268E9' type='Am79C973'/></Network>\
             </Hardware></vbox:Machine>"
        )
    };
    for (tpm, expected) in [("v2_0", true), ("v1_2", true), ("None", false), ("", false)] {
        let parts = Parts {
            system: machine(tpm).leak(),
            ..Parts::with(&[of_kind(10, ""), of_kind(10, "")])
        };
        let vm = parts.system().vm;
        assert_eq!((vm.vtpm, vm.firmware), (expected, Firmware::Efi), "{tpm}");
        let cards: Vec<_> = vm.nics.iter().map(|nic| (nic.mac, nic.model)).collect();
        let mac = |text: &str| Some(text.parse().expect("an address"));
        assert_eq!(
            cards,
            [
                (mac("08:00:27:52:68:e9"), NicModel::Pcnet),
                (mac("08:00:27:52:68:eb"), NicModel::Virtio)
            ]
        );
    }
}

#[test]
fn a_disk_without_an_image_is_empty_left_out_or_refused() {
    let sized = "<rasd:AllocationUnits>byte * 2^30</rasd:AllocationUnits>\
                 <rasd:VirtualQuantity>4</rasd:VirtualQuantity>";
    let system = Parts::with(&[of_kind(17, sized)]).system();
    assert_eq!(system.vm.disks[1].capacity, ByteSize(4 << 30));
    assert_eq!(system.warnings[0].code, "disk-empty");
    let reserved = sized.replace("VirtualQuantity", "Reservation");
    assert_eq!(Parts::with(&[of_kind(31, &reserved)]).system().disks[1].capacity, 4 << 30);
    for unsized_one in
        ["", "<rasd:HostResource/>", "<rasd:VirtualQuantity>1</rasd:VirtualQuantity>"]
    {
        let system = Parts::with(&[of_kind(17, unsized_one)]).system();
        assert_eq!(system.disks.len(), 1, "{unsized_one}");
        assert_eq!(system.warnings[0].code, "disk-left-out");
    }
    let nowhere = of_kind(17, "<rasd:HostResource>ovf:/disk/d9</rasd:HostResource>");
    assert!(Parts::with(&[nowhere]).read().expect_err("refused").contains("is nowhere"));
    let disks = "<Disk ovf:diskId='d1' ovf:fileRef='f9' ovf:capacity='1024'/>";
    let error = Parts { disks, ..Parts::default() }.read().expect_err("refused");
    assert!(error.contains("in the file 'f9' that is not there"), "{error}");
    let disks = "<Disk ovf:diskId='d1' ovf:fileRef='' ovf:parentRef='' ovf:capacity='1024'/>";
    assert_eq!(Parts { disks, ..Parts::default() }.system().disks[0].href, None);
}

#[test]
fn amounts_may_be_properties() {
    let with_disk = |capacity: &str, file: &str, system: &'static str| {
        let disks = format!(
            "<Disk ovf:diskId='d1' {file} ovf:capacity='{capacity}' \
             ovf:capacityAllocationUnits='byte * 2^30'/>"
        );
        Parts { disks: disks.leak(), system, ..Parts::default() }.read()
    };
    let section = "<ProductSection ovf:class='com.x' ovf:instance='1'>\
        <Property ovf:key='size' ovf:value='5'/><Property ovf:key='none'/></ProductSection>\
        <ProductSection><Property ovf:key='other'><Value ovf:value='6'/></Property></ProductSection>";
    for (capacity, expected) in
        [("${size}", 5), ("${com.x.size.1}", 5), (" ${ other } ", 6), ("7", 7)]
    {
        let read = with_disk(capacity, "", section).expect("read");
        assert_eq!(read.systems[0].disks[0].capacity, expected << 30, "{capacity}");
    }
    for capacity in ["${none}", "${missing}", "x"] {
        assert!(with_disk(capacity, "", section).expect_err("no size").contains(capacity));
        // The image has the capacity.
        let read = with_disk(capacity, "ovf:fileRef='f1'", section).expect("read");
        assert_eq!(read.systems[0].disks[0].capacity, 0);
    }
    let beyond = with_disk("99999999999999999999", "ovf:fileRef='f1'", "");
    assert!(beyond.expect_err("no size").contains("makes no sense"));
    let cpu = of_kind(3, "<rasd:VirtualQuantity>${size}</rasd:VirtualQuantity>");
    let parts = Parts { system: section, ..Parts::with(&[cpu]) };
    assert_eq!(parts.system().vm.cpu.vcpus, 5);
}

#[test]
fn a_number_of_cpus_without_sense_is_left_to_the_user() {
    for quantity in ["", "<rasd:VirtualQuantity>0</rasd:VirtualQuantity>"] {
        let system = Parts::with(&[of_kind(3, quantity)]).system();
        assert!(system.odd_cpu, "{quantity}");
        assert_eq!(system.vm.cpu.vcpus, 1);
    }
    assert!(!Parts::default().system().odd_cpu);
}

#[test]
fn what_comes_twice_counts_once() {
    let cpu = "<rasd:VirtualQuantity>4</rasd:VirtualQuantity><rasd:CoresPerSocket>2</rasd:CoresPerSocket>\
               <vmw:CoresPerSocket>4</vmw:CoresPerSocket><rasd:InstanceID>1</rasd:InstanceID>\
               <rasd:InstanceID>9</rasd:InstanceID>";
    assert_eq!(Parts::with(&[of_kind(3, cpu)]).system().vm.cpu.cores_per_socket, 2);
}

#[test]
fn variables_that_are_not_in_the_package_are_missed() {
    let hardware = "<vmw:Config vmw:key='firmware' vmw:value='efi'/>\
                    <vmw:ExtraConfig vmw:key='nvram' vmw:value='ovf:/file/f2'/>";
    let system = Parts { hardware, ..Parts::default() }.system();
    assert_eq!(system.nvram, None);
    assert_eq!(system.warnings[0].code, "nvram-not-exported");
    let files = "<File ovf:id='f1' ovf:href='disk.vmdk'/><File ovf:id='f2' ovf:href='vm.nvram'/>";
    let system = Parts { hardware, files, ..Parts::default() }.system();
    assert_eq!((system.nvram.as_deref(), system.warnings.len()), (Some("vm.nvram"), 0));
}

#[test]
fn images_of_drives_are_media_whatever_kind_of_item_names_them() {
    let files = "<File ovf:id='f1' ovf:href='disk.vmdk'/><File ovf:id='f2' ovf:href='a.iso'/>\
                 <File ovf:id='f3' ovf:href='b.ISO'/><File ovf:id='f4' ovf:href='c.iso.gz'/>";
    let resource = |id: &str| format!("<rasd:HostResource>ovf:/file/{id}</rasd:HostResource>");
    let parts = Parts {
        files,
        ..Parts::with(&[
            of_kind(15, ""),
            of_kind(16, &resource("f2")),
            of_kind(15, &resource("f4")),
        ])
    };
    let read = parts.read().expect("read");
    let media = |read: &Read| {
        let media = read.systems[0].media.iter();
        media.map(|medium| (medium.href.clone(), medium.gzip)).collect::<Vec<_>>()
    };
    assert_eq!(media(&read), [("a.iso".to_owned(), false), ("c.iso.gz".to_owned(), true)]);
    assert_eq!(read.systems[0].vm.cdroms, 3);
    assert_eq!(read.unused_media, ["b.ISO"]);
    let extent = Parts { files, ..Parts::with(&[of_kind(19, &resource("f3"))]) };
    let read = extent.read().expect("read");
    assert_eq!(media(&read), [("b.ISO".to_owned(), false)]);
    assert_eq!((read.systems[0].disks.len(), read.systems[0].vm.cdroms), (1, 1));
}

#[test]
fn a_number_is_the_id_of_a_disk_for_disks_alone() {
    let with = |id: u32, more: &[String]| {
        let disks = format!("<Disk ovf:diskId='{id}' ovf:fileRef='f1' ovf:capacity='1024'/>");
        let reference = format!(
            "<rasd:InstanceID>9</rasd:InstanceID>\
             <rasd:HostResource>ovf:/disk/{id}</rasd:HostResource>"
        );
        let items = of_kind(17, &reference) + &more.concat();
        Parts { disks: disks.leak(), items, ..Parts::default() }.system()
    };
    let called_3 = |kind| of_kind(kind, "<rasd:InstanceID>3</rasd:InstanceID>");
    for kind in [5, 6, 20, 1, 24, 15, 14] {
        let system = with(3, &[called_3(kind)]);
        assert_eq!(system.disks.len(), 1, "{kind}");
        assert!(system.media.is_empty(), "{kind}");
    }
    // A disk of that id is another disk if an item refers to the first one.
    let sized =
        "<rasd:InstanceID>3</rasd:InstanceID><rasd:VirtualQuantity>4096</rasd:VirtualQuantity>";
    let hrefs: Vec<_> = with(3, &[of_kind(17, sized)]).disks.into_iter().map(|d| d.href).collect();
    assert_eq!(hrefs, [Some("disk.vmdk".to_owned()), None]);
    for kind in [17, 19, 31, 32] {
        let disks = "<Disk ovf:diskId='3' ovf:fileRef='f1' ovf:capacity='1024'/>";
        let alone = Parts { disks, items: called_3(kind), ..Parts::default() }.system();
        assert_eq!(alone.disks[0].href.as_deref(), Some("disk.vmdk"), "{kind}");
    }
}

#[test]
fn slots_of_the_vmx_are_those_of_cards_by_their_number_there() {
    let card = |name: &str| of_kind(10, &format!("<rasd:ElementName>{name}</rasd:ElementName>"));
    let slots = |cards: &[String], lines: &[(&str, &str)]| {
        let lines: String = lines
            .iter()
            .map(|(key, value)| format!("<vmw:ExtraConfig vmw:key='{key}' vmw:value='{value}'/>"))
            .collect();
        let parts = Parts { hardware: lines.leak(), ..Parts::with(cards) };
        parts.system().vm.nics.iter().map(|nic| nic.slot).collect::<Vec<_>>()
    };
    let three = [
        ("Ethernet10.pciSlotNumber", "256"),
        ("ethernet2.PCISLOTNUMBER", "192"),
        ("ethernet0.pciSlotNumber", "160"),
    ];
    let unnamed = [card(""), card("eth"), card("x")];
    assert_eq!(slots(&unnamed, &three), [Some(160), Some(192), Some(256)]);
    assert_eq!(slots(&unnamed[..2], &three), [None, None], "nothing tells which two");
    let named = [card("Network adapter 3"), card("Ethernet 11")];
    assert_eq!(slots(&named, &three), [Some(192), Some(256)]);
    let own = [card("ethernet0"), card("Network adapter 0"), card("ethernet2"), card("ethernet")];
    assert_eq!(slots(&own, &three), [Some(160), None, Some(192), None]);
    let unplaced = [("ethernet0.pciSlotNumber", "160"), ("ethernet2.pciSlotNumber", "-1")];
    assert_eq!(slots(&unnamed[..2], &unplaced), [Some(160), None]);
}

#[test]
fn the_boot_order_of_the_vmx_names_the_boot_disk() {
    let controller = |kind: u32, id: u32, address: u32| {
        let inner = format!(
            "<rasd:InstanceID>{id}</rasd:InstanceID><rasd:Address>{address}</rasd:Address>"
        );
        of_kind(kind, &inner)
    };
    let disk = |parent: u32, unit: u32| {
        let inner = format!(
            "<rasd:Parent>{parent}</rasd:Parent><rasd:AddressOnParent>{unit}</rasd:AddressOnParent>\
             <rasd:HostResource>ovf:/disk/d1</rasd:HostResource>\
             <rasd:InstanceID>2{parent}{unit}</rasd:InstanceID>"
        );
        of_kind(17, &inner)
    };
    let order = |section: &'static str, lines: &str| {
        let items = [controller(6, 3, 0), controller(6, 5, 1), disk(3, 0), disk(3, 1), disk(5, 0)];
        let hardware = lines.to_owned().leak();
        let vm = Parts { items: items.concat(), hardware, system: section, ..Parts::default() }
            .system()
            .vm;
        let order: Vec<_> = vm.disks.iter().map(|disk| disk.boot_order).collect();
        (order, !vm.assumed.boot_disk)
    };
    let line =
        |key: &str, value: &str| format!("<vmw:ExtraConfig vmw:key='{key}' vmw:value='{value}'/>");
    let hdd = line("bios.hddOrder", "scsi1:0,scsi0:1");
    assert_eq!(order("", &hdd), (vec![2, 1, 0], true));
    assert_eq!(order("", &(line("bios.bootOrder", "scsi0:1,hdd") + &hdd)), (vec![2, 0, 1], true));
    assert_eq!(order("", &line("bios.hddOrder", "sata0:0")), (vec![0, 1, 2], false));
    let section =
        "<vmw:BootOrderSection vmw:instanceId='231' vmw:type='disk'><Info/></vmw:BootOrderSection>";
    assert_eq!(order(section, &hdd), (vec![1, 0, 2], true));
}
