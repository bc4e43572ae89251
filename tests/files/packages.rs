//! VMs as OVA or OVF, in all forms that other programs write.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use crate::support::files::{
    Desk, Form, Ovf, Packed, gzip, hex, item, modified, pack, packed, set_apart, write_uuid,
};
use crate::support::job::{assert_same_disk, on_small_disk};
use crate::support::libvirtd::{self, Names};
use serde_json::{Value, json};
use sha2::Digest;

/// Size of the disks here, in MiB.
const MIB: u64 = 6;

/// A package with one disk, and the bytes of its image.
fn package(desk: &Desk) -> (Ovf, Vec<u8>) {
    let raw = desk.raw("disk.raw", MIB);
    let vmdk = desk.image(&raw, "disk.vmdk", "vmdk", &["subformat=streamOptimized"]);
    (Ovf::one("disk1.vmdk", MIB), fs::read(vmdk).expect("readable"))
}

#[test]
fn every_form_of_package_gives_the_same_vm_and_disk() {
    for form in Form::ALL {
        let desk = Desk::new();
        let (ovf, vmdk) = package(&desk);
        let text = ovf.text();
        let sums = format!(
            "SHA256(vm.ovf)= {}\r\nSHA1 (disk1.vmdk) = {}\r\n",
            hex(&sha2::Sha256::digest(&text)).to_uppercase(),
            hex(&sha1::Sha1::digest(&vmdk))
        );
        let files = [packed("vm.ovf", text), packed("disk1.vmdk", vmdk), packed("vm.mf", sums)];
        let source = pack(&desk, form, &files);
        let ended = desk.export(source.to_str().expect("UTF-8"), &[]);
        assert_eq!(ended.code, Some(0), "{form:?}: {}", ended.stderr);
        desk.assert_disk(0, &desk.path("disk.raw"));
        let manifest = desk.manifest();
        assert_eq!(manifest["source"]["provider"], "local");
        assert_eq!(manifest["source"]["vm_name"], "web <01>");
        let method = if form == Form::Folder { "ovf" } else { "ova" };
        assert_eq!(manifest["source"]["export_method"], method);
        let vm = &manifest["metadata"]["hyperexport"]["source_vm"];
        assert_eq!(vm["cpu"], json!({"vcpus": 4, "cores_per_socket": 2}));
        assert_eq!(vm["memory_mib"], 1536);
        assert_eq!(vm["guest"]["family"], "linux");
        assert_eq!(vm["disks"][0]["controller"]["model"], "ParaVirtualSCSIController");
        assert_eq!(vm["nics"][0]["mac"], "00:50:56:aa:bb:07");
        assert_eq!(vm["nics"][0]["model"], "vmxnet");
        assert_eq!(vm["nics"][0]["network"], "VM Network");
    }
}

#[test]
fn what_lies_whole_in_its_folder_stays_there() {
    let desk = Desk::new();
    let (ovf, vmdk) = package(&desk);
    pack(&desk, Form::Folder, &[packed("vm.ovf", ovf.text()), packed("disk1.vmdk", vmdk)]);
    let before =
        fs::metadata(desk.path("vm/disk1.vmdk")).expect("there").modified().expect("known");
    assert_eq!(desk.export("vm/vm.ovf", &[]).code, Some(0));
    let path = desk.manifest()["disks"][0]["local_path"].as_str().expect("a path").to_owned();
    assert!(path.ends_with("/vm/disk1.vmdk"), "{path}");
    assert_eq!(desk.files("out"), ["manifest.json", "result.json"]);
    let after = fs::metadata(desk.path("vm/disk1.vmdk")).expect("there").modified().expect("known");
    assert_eq!(before, after);
}

#[test]
fn a_wrong_sum_is_refused_and_named_unless_told() {
    for form in Form::ALL {
        let desk = Desk::new();
        let (ovf, vmdk) = package(&desk);
        let sums = format!("SHA512(disk1.vmdk)= {}\n", "0".repeat(128));
        let files =
            [packed("vm.ovf", ovf.text()), packed("vm.mf", sums), packed("disk1.vmdk", vmdk)];
        let source = pack(&desk, form, &files);
        let source = source.to_str().expect("UTF-8");
        let ended = desk.export(source, &[]);
        assert_eq!(ended.code, Some(1), "{form:?}");
        ended.said("checksum of 'disk1.vmdk'");
        ended.said("SHA512 checksum of ");
        ended.said("--ignore-checksums");
        assert_eq!(desk.files("out"), [""; 0], "{form:?}");
        let ended = desk.export(source, &["--ignore-checksums"]);
        assert_eq!(ended.code, Some(0), "{form:?}: {}", ended.stderr);
        desk.assert_disk(0, &desk.path("disk.raw"));
    }
}

#[test]
fn uefi_variables_come_along_as_vsphere_packs_them() {
    for form in Form::ALL {
        let desk = Desk::new();
        let (mut ovf, vmdk) = package(&desk);
        ovf.files += "<File ovf:href='web-01.nvram' ovf:id='file2' ovf:size='9'/>";
        ovf.items += "<vmw:Config ovf:required='false' vmw:key='firmware' vmw:value='efi'/>\
            <vmw:ExtraConfig ovf:required='false' vmw:key='nvram' vmw:value='ovf:/file/file2'/>";
        let pack = |content: &str| {
            let sums = "SHA1(web-01.nvram)= bc5af2310c7f15770a4ed0028648ce367e3e2ec0\n";
            let files = [
                packed("vm.ovf", ovf.text()),
                packed("vm.mf", sums),
                packed("disk1.vmdk", &vmdk[..]),
                packed("web-01.nvram", content),
            ];
            pack(&desk, form, &files).to_str().expect("UTF-8").to_owned()
        };
        let ended = desk.export(&pack("something"), &[]);
        assert_eq!(ended.code, Some(1), "{form:?}");
        ended.said("checksum of 'web-01.nvram'");
        assert_eq!(desk.files("out"), [""; 0], "{form:?}");
        let ended = desk.export(&pack("variables"), &[]);
        assert_eq!(ended.code, Some(0), "{form:?}: {}", ended.stderr);
        let nvram = fs::read_to_string(desk.path("out/source.nvram")).expect("there");
        assert_eq!(nvram, "variables", "{form:?}");
    }
}

#[test]
fn a_wrong_sum_of_the_descriptor_is_refused_before_anything_is_made() {
    let desk = Desk::new();
    let (ovf, vmdk) = package(&desk);
    let sums = format!("SHA1(vm.ovf)= {}\n", "0".repeat(40));
    let files = [packed("vm.ovf", ovf.text()), packed("vm.mf", sums), packed("disk1.vmdk", vmdk)];
    pack(&desk, Form::Tar, &files);
    let ended = desk.export("vm.ova", &[]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    ended.said("checksum of 'vm.ovf'");
}

#[test]
fn disks_come_compressed_in_chunks_and_in_folders() {
    for form in Form::ALL {
        let desk = Desk::new();
        let (mut ovf, vmdk) = package(&desk);
        let zipped = gzip(&vmdk);
        let chunk = 1 << 20;
        let parts = zipped.chunks(chunk);
        ovf.files = format!(
            "<File ovf:id='file1' ovf:href='disks/disk%201.vmdk' ovf:compression='gzip' \
             ovf:size='{}' ovf:chunkSize='{chunk}'/>",
            zipped.len()
        );
        let mut files = vec![packed("vm/vm.ovf", ovf.text())];
        let name = |n| format!("vm/disks/disk 1.vmdk.{n:09}");
        files.extend(parts.enumerate().map(|(n, part)| packed(&name(n), part)));
        let source = pack(&desk, form, &files);
        let source = if form == Form::Folder { source.join("vm") } else { source };
        let ended = desk.export(source.to_str().expect("UTF-8"), &[]);
        assert_eq!(ended.code, Some(0), "{form:?}: {}", ended.stderr);
        desk.assert_disk(0, &desk.path("disk.raw"));
    }
}

#[test]
fn several_disks_keep_their_order_and_an_empty_one_is_made() {
    let desk = Desk::new();
    let (mut ovf, vmdk) = package(&desk);
    let second = desk.raw("second.raw", 3);
    let vhd = desk.image(&second, "second.vhd", "vpc", &["subformat=dynamic,force_size=on"]);
    ovf.files += "<File ovf:id='file2' ovf:href='second.vhd'/>";
    ovf.disks += "<Disk ovf:diskId='d2' ovf:fileRef='file2' ovf:capacity='3145728'/>\
                  <Disk ovf:diskId='d3' ovf:capacity='1' ovf:capacityAllocationUnits='GigaBytes'/>";
    let at = |unit: u32, disk: &str| {
        item(
            17,
            &format!(
                "<rasd:Parent>3</rasd:Parent><rasd:AddressOnParent>{unit}</rasd:AddressOnParent>\
             <rasd:HostResource>/disk/{disk}</rasd:HostResource>"
            ),
        )
    };
    // Not in the order of the controller.
    ovf.items = [at(2, "d3"), at(1, "d2"), ovf.items].concat();
    let files = [
        packed("vm.ovf", ovf.text()),
        packed("second.vhd", fs::read(vhd).expect("readable")),
        packed("disk1.vmdk", vmdk),
    ];
    pack(&desk, Form::TarGz, &files);
    let ended = desk.export("vm.ova", &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    desk.assert_disk(0, &desk.path("disk.raw"));
    desk.assert_disk(1, &second);
    let empty = desk.path("empty.raw");
    fs::File::create(&empty).and_then(|file| file.set_len(1 << 30)).expect("made");
    desk.assert_disk(2, &empty);
    assert_eq!(
        desk.files("out"),
        ["disk-0.vmdk", "disk-1.vhd", "disk-2.qcow2", "manifest.json", "result.json"]
    );
}

#[test]
fn packages_of_virtualbox_and_citrix_are_understood() {
    let desk = Desk::new();
    let (mut ovf, vmdk) = package(&desk);
    // Citrix: the file itself as the resource, no capacity; VirtualBox: firmware, MAC, system.
    ovf.disks.clear();
    ovf.items = [
        item(
            20,
            "<rasd:InstanceID>7</rasd:InstanceID><rasd:Address>1</rasd:Address>\
              <rasd:ResourceSubType>AHCI</rasd:ResourceSubType>",
        ),
        item(
            17,
            "<rasd:Parent>7</rasd:Parent><rasd:AddressOnParent>0</rasd:AddressOnParent>\
              <rasd:HostResource>ovf:/file/file1</rasd:HostResource>",
        ),
        item(
            10,
            "<rasd:Address>080027AABBCC</rasd:Address>\
              <rasd:ResourceSubType>E1000</rasd:ResourceSubType>",
        ),
    ]
    .concat();
    ovf.more = "<vbox:Machine><Hardware><Firmware type='EFI'/></Hardware></vbox:Machine>".into();
    pack(&desk, Form::Tar, &[packed("vm.ovf", ovf.text()), packed("disk1.vmdk", vmdk)]);
    let ended = desk.export("vm.ova", &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    desk.assert_disk(0, &desk.path("disk.raw"));
    let exact = &desk.manifest()["metadata"]["hyperexport"];
    assert_eq!(exact["capacities"]["disk-0"], MIB << 20);
    assert_eq!(exact["source_vm"]["firmware"], "efi");
    assert_eq!(exact["source_vm"]["disks"][0]["controller"]["bus"], "sata");
    assert_eq!(exact["source_vm"]["nics"][1]["mac"], "08:00:27:aa:bb:cc");
    assert_eq!(exact["source_vm"]["nics"][1]["model"], "e1000");
}

/// The source VM in the manifest of a run.
fn source_vm(desk: &Desk) -> Value {
    desk.manifest()["metadata"]["hyperexport"]["source_vm"].clone()
}

#[test]
fn the_uuid_of_a_disk_is_read_in_every_form_of_package() {
    for form in Form::ALL {
        let desk = Desk::new();
        let (ovf, mut vmdk) = package(&desk);
        write_uuid(&mut vmdk, "60 00 C2 9d 3d 4c 50 e1-2e 1a 64 8c 0e 1e 5b 07");
        let files = [packed("vm.ovf", ovf.text()), packed("disk1.vmdk", vmdk)];
        let source = pack(&desk, form, &files);
        let ended = desk.export(source.to_str().expect("UTF-8"), &[]);
        assert_eq!(ended.code, Some(0), "{form:?}: {}", ended.stderr);
        let uuid = &source_vm(&desk)["disks"][0]["uuid"];
        assert_eq!(uuid, "6000c29d3d4c50e12e1a648c0e1e5b07", "{form:?}");
    }
}

/// Exports a package with two disks and a changed descriptor; returns the VM.
fn of_two_disks(change: impl Fn(&mut Ovf)) -> Value {
    let desk = Desk::new();
    let (ovf, vmdk) = package(&desk);
    let mut ovf = ovf.and("disk2.vmdk", MIB);
    change(&mut ovf);
    let files = [
        packed("vm.ovf", ovf.text()),
        packed("disk1.vmdk", vmdk.clone()),
        packed("disk2.vmdk", vmdk),
    ];
    let source = pack(&desk, Form::Folder, &files);
    let ended = desk.export(source.to_str().expect("UTF-8"), &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let manifest = desk.manifest();
    let hints: Vec<_> = (0..2).map(|n| manifest["disks"][n]["boot_order_hint"].clone()).collect();
    let vm = source_vm(&desk);
    let orders: Vec<_> = (0..2).map(|n| vm["disks"][n]["boot_order"].clone()).collect();
    assert_eq!(hints, orders);
    vm
}

#[test]
fn the_disk_that_a_package_names_boots() {
    let section = |instance: u32, kind: &str| {
        format!(
            "<vmw:BootOrderSection vmw:instanceId='{instance}' vmw:type='{kind}'><Info/></vmw:BootOrderSection>"
        )
    };
    let order = |vm: &Value| [0, 1].map(|n| vm["disks"][n]["boot_order"].as_u64().expect("one"));
    let is_told = |vm: &Value| vm["assumed"]["boot_disk"] != true;

    let vm = of_two_disks(|_| {});
    assert_eq!((order(&vm), is_told(&vm)), ([0, 1], false), "nothing names one");
    for (sections, expected, told) in [
        (vec![section(11, "disk")], [1, 0], true),
        (vec![section(7, "cdrom"), section(11, "disk"), section(10, "disk")], [1, 0], true),
        (vec![section(10, "disk"), section(11, "disk")], [0, 1], true),
        (vec![section(11, "cdrom")], [0, 1], false),
        (vec![section(99, "disk")], [0, 1], false),
    ] {
        let vm = of_two_disks(|ovf| {
            // Other sections may separate those of one kind.
            ovf.more = sections.join("<AnnotationSection><Info/></AnnotationSection>");
        });
        assert_eq!((order(&vm), is_told(&vm)), (expected, told), "{sections:?}");
    }
    for (old, new) in [
        ("ovf:diskId='d2'", "ovf:boot='true' ovf:diskId='d2'"),
        ("ovf:diskId='d2'", "ovf:boot=\"1\" ovf:diskId='d2'"),
    ] {
        let vm = of_two_disks(|ovf| ovf.disks = ovf.disks.replace(old, new));
        assert_eq!((order(&vm), is_told(&vm)), ([1, 0], true), "{new}");
    }
    let vm = of_two_disks(|ovf| {
        let at = |disk: &str| format!("/disk/{disk}</rasd:HostResource>");
        for (disk, number) in [("d1", 2), ("d2", 1)] {
            let with = format!("{}<BootOrder>{number}</BootOrder>", at(disk));
            ovf.items = ovf.items.replace(&at(disk), &with);
        }
    });
    assert_eq!((order(&vm), is_told(&vm)), ([1, 0], true), "oVirt's numbers");
}

#[test]
fn slots_addresses_and_the_firmware_are_read_where_each_writer_puts_them() {
    let desk = Desk::new();
    let (mut ovf, vmdk) = package(&desk);
    let card = |inner: &str| item(10, inner);
    ovf.items += &[
        card(
            "<vmw:Config ovf:required='false' vmw:key='wakeOnLanEnabled' vmw:value='true'/>\
              <vmw:Config ovf:required='false' vmw:key='slotInfo.pciSlotNumber' vmw:value='224'/>",
        ),
        card("<rasd:MACAddress>56:6f:1a:2b:00:07</rasd:MACAddress>")
            .replace("of kind 10", "Network adapter 3"),
        card("<vmw:Config vmw:key='slotInfo.pciSlotNumber' vmw:value='-1'/>"),
        "<vmw:ExtraConfig ovf:required='false' vmw:key='ethernet2.pciSlotNumber' vmw:value='192'/>"
            .into(),
    ]
    .concat();
    let files = [packed("vm.ovf", ovf.text()), packed("disk1.vmdk", vmdk)];
    pack(&desk, Form::Folder, &files);
    let info = desk.run(&["info", "--source", "vm", "--json"]);
    let vm = &info.json["vm"];
    let slots: Vec<_> = (0..4).map(|n| vm["nics"][n]["slot"].clone()).collect();
    assert_eq!(slots, [json!(null), json!(224), json!(192), json!(null)], "{}", info.stderr);
    assert_eq!(vm["nics"][2]["mac"], "56:6f:1a:2b:00:07");
    assert_eq!(vm["assumed"], json!({"firmware": true, "boot_disk": true}));
    assert_eq!(vm["arch"], "x86_64");
    let told = desk.run(&["info", "--source", "vm", "--firmware", "efi", "--json"]);
    assert_eq!(told.json["vm"]["assumed"], json!({"firmware": false, "boot_disk": true}));

    ovf.items += "<vmw:Config vmw:key='firmware' vmw:value='bios'/>";
    fs::write(desk.path("vm/vm.ovf"), ovf.text()).expect("written");
    let told = desk.run(&["info", "--source", "vm", "--json"]);
    assert_eq!(told.json["vm"]["assumed"], json!({"firmware": false, "boot_disk": true}));
}

#[test]
fn virtualbox_tells_addresses_and_architecture_in_its_own_settings() {
    let desk = Desk::new();
    let (mut ovf, vmdk) = package(&desk);
    ovf.items += &item(10, "<rasd:ResourceSubType>virtio</rasd:ResourceSubType>");
    ovf.items += &item(10, "<rasd:ResourceSubType>E1000</rasd:ResourceSubType>");
    ovf.more =
        "<vbox:Machine OSType='Debian_arm64'><Platform architecture='ARM'/><Hardware><Network>\
        <Adapter slot='2' enabled='true' MACAddress='0800275268EB'/>\
        <Adapter slot='1' enabled='false' MACAddress='0800275268EA'/>\
        <Adapter slot='3' enabled='true' MACAddress='0800275268EC'/>\
        <Adapter slot='0' enabled='true' MACAddress='0800275268E9'/>\
        </Network></Hardware></vbox:Machine>"
            .to_owned();
    let text = ovf.text().replace("vmw:osType='debian12_64Guest'", "");
    let text = text
        .replace("(64-bit)</Description>", "</Description><vbox:OSType>Debian_arm64</vbox:OSType>");
    pack(&desk, Form::Folder, &[packed("vm.ovf", text), packed("disk1.vmdk", vmdk)]);
    let info = desk.run(&["info", "--source", "vm", "--json"]);
    let vm = &info.json["vm"];
    let macs: Vec<_> = (0..3).map(|n| vm["nics"][n]["mac"].clone()).collect();
    assert_eq!(
        macs,
        ["00:50:56:aa:bb:07", "08:00:27:52:68:eb", "08:00:27:52:68:ec"],
        "{}",
        info.stderr
    );
    assert_eq!((&vm["arch"], &vm["guest"]["id"]), (&json!("aarch64"), &json!("Debian_arm64")));
    assert_eq!(vm["guest"]["family"], "linux");
    assert_eq!(vm["assumed"]["firmware"], false, "VirtualBox leaves BIOS out");
}

#[test]
fn a_package_of_several_vms_asks_which_one() {
    let desk = Desk::new();
    let (ovf, vmdk) = package(&desk);
    let text = ovf.text();
    let (head, rest) = text.split_once("<VirtualSystem ").expect("a system");
    let (system, _) = rest.split_once("</VirtualSystem>").expect("a system");
    let second = system.replace("web01", "db01").replace("web &lt;01&gt;", "db");
    let text = format!(
        "{head}<VirtualSystemCollection ovf:id='app'><Info/><VirtualSystem {system}\
         </VirtualSystem><VirtualSystem {second}</VirtualSystem></VirtualSystemCollection></Envelope>"
    );
    pack(&desk, Form::Tar, &[packed("vm.ovf", text), packed("disk1.vmdk", vmdk)]);
    let ended = desk.export("vm.ova", &[]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    ended.said("contains several VMs: 'web <01>', 'db'");
    ended.said("--vm NAME");
    let listed = desk.run(&["list", "--source", "vm.ova", "--json"]);
    let names: Vec<_> =
        listed.json.as_array().expect("a list").iter().map(|vm| &vm["name"]).collect();
    assert_eq!(names, ["web <01>", "db"]);
    let ended = desk.export("vm.ova", &["--vm", "db"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(desk.manifest()["source"]["vm_name"], "db");
    let info = desk.run(&["info", "db", "--source", "vm.ova", "--json"]);
    assert_eq!(info.json["vm"]["name"], "db");
}

#[test]
fn a_second_run_finds_all_there_and_one_that_was_killed_is_done_again() {
    let desk = Desk::new();
    let (ovf, vmdk) = package(&desk);
    pack(&desk, Form::Tar, &[packed("vm.ovf", ovf.text()), packed("disk1.vmdk", vmdk)]);
    // State after a kill: the marker, and a temporary file.
    fs::create_dir(desk.path("out")).expect("made");
    let marker = json!({"makes": ["disk-0.vmdk", "manifest.json"]});
    fs::write(desk.path("out/.hyperexport-run"), format!("{marker}\n")).expect("written");
    fs::write(desk.path("out/disk-0.vmdk.part"), "half").expect("written");
    let ended = desk.export("vm.ova", &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    desk.assert_disk(0, &desk.path("disk.raw"));
    let inode = || desk.path("out/disk-0.vmdk").metadata().expect("there").ino();
    let first = inode();
    let ended = desk.export("vm.ova", &[]);
    assert_eq!(ended.code, Some(0));
    ended.said("reusing the export of ");
    assert_eq!(inode(), first, "it was taken again");
    desk.assert_disk(0, &desk.path("disk.raw"));
}

#[test]
fn a_disk_that_is_too_small_refuses_an_export_or_ends_it_cleanly() {
    // The size is known from the list of an archive, if that list can be read quickly.
    for (form, code, said) in [
        (Form::Tar, 4, " free; the disks of web <01> need 1."),
        (Form::Zip, 4, " free; the disks of web <01> need 1."),
        (Form::TarGz, 1, "No space left on device"),
    ] {
        let desk = Desk::new();
        let (ovf, vmdk) = package(&desk);
        pack(&desk, form, &[packed("vm.ovf", ovf.text()), packed("disk1.vmdk", vmdk)]);
        fs::create_dir(desk.path("small")).expect("made");
        let args = ["--source", "vm.ova", "--output", "small", "--manifest", "--json"];
        let Some(ended) = on_small_disk(&desk.command(&args), &desk.path("small"), 1024) else {
            return;
        };
        assert_eq!(ended.code, Some(code), "{form:?}: {}", ended.stderr);
        ended.said(said);
        ended.said("free some space, or use another --output");
        assert!(ended.stderr.ends_with("left:\n"), "{}", ended.stderr);
    }
}

/// Starts the export of an OVA with two disks at a limited rate. Kills the export when the first
/// disk is complete and the second one has partially arrived.
fn killed_in_the_second_disk(desk: &Desk, form: Form) -> [PathBuf; 2] {
    let (ovf, vmdk) = package(desk);
    let ovf = ovf.and("disk2.vmdk", 6);
    let second = desk.raw("second.raw", 6);
    let path = desk.image(&second, "second.vmdk", "vmdk", &["subformat=streamOptimized"]);
    let other = fs::read(path).expect("readable");
    let files =
        [packed("vm.ovf", ovf.text()), packed("disk1.vmdk", vmdk), packed("disk2.vmdk", other)];
    pack(desk, form, &files);
    let args = ["--source", "vm.ova", "--output", "out", "--manifest", "--bandwidth-limit", "2M"];
    let mut child = desk.command(&args).stderr(Stdio::null()).spawn().expect("it runs");
    let deadline = Instant::now() + Duration::from_secs(60);
    let marker = || fs::read_to_string(desk.path("out/.hyperexport-run")).unwrap_or_default();
    while !marker().contains(r#""id":"disk-0""#) {
        assert!(Instant::now() < deadline, "{}", marker());
        assert!(child.try_wait().expect("a child").is_none(), "the limit does not hold");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().expect("it is ours");
    child.wait().expect("it is dead");
    assert!(!desk.path("out/disk-0.vmdk").exists(), "{:?}", desk.files("out"));
    [desk.path("disk.raw"), second]
}

#[test]
fn a_whole_disk_of_a_killed_run_is_kept() {
    for form in [Form::Tar, Form::Zip] {
        let desk = Desk::new();
        let raws = killed_in_the_second_disk(&desk, form);
        let first = set_apart(&desk.path("out/disk-0.vmdk.part"));
        let ended = desk.export("vm.ova", &[]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        desk.assert_disk(0, &raws[0]);
        desk.assert_disk(1, &raws[1]);
        let kept = modified(&desk.path("out/disk-0.vmdk"));
        assert_eq!(kept, first, "{form:?}: it was taken again");
        assert_eq!(ended.json["warnings"], json!([]));
    }
}

#[test]
fn a_kept_disk_is_taken_again_if_it_was_damaged_or_its_package_has_changed() {
    for damaged in [true, false] {
        let desk = Desk::new();
        let raws = killed_in_the_second_disk(&desk, Form::Tar);
        let first = desk.path("out/disk-0.vmdk.part");
        if damaged {
            let mut bytes = fs::read(&first).expect("readable");
            bytes[200_000] ^= 1;
            fs::write(&first, bytes).expect("written");
        } else {
            let touched = fs::File::options().append(true).open(desk.path("vm.ova"));
            touched.expect("opened").set_modified(SystemTime::UNIX_EPOCH).expect("set");
        }
        let time = set_apart(&first);
        let ended = desk.export("vm.ova", &[]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        desk.assert_disk(0, &raws[0]);
        desk.assert_disk(1, &raws[1]);
        let now = modified(&desk.path("out/disk-0.vmdk"));
        assert_ne!(now, time, "damaged {damaged}: it was kept");
    }
}

#[test]
fn a_package_that_is_cut_off_or_lacks_a_disk_is_refused() {
    for form in [Form::Tar, Form::TarGz, Form::TarXz, Form::Zip] {
        let desk = Desk::new();
        let (ovf, vmdk) = package(&desk);
        let path = pack(&desk, form, &[packed("vm.ovf", ovf.text()), packed("disk1.vmdk", vmdk)]);
        let whole = fs::read(&path).expect("readable");
        fs::write(&path, &whole[..whole.len() - whole.len() / 4]).expect("written");
        let ended = desk.export("vm.ova", &[]);
        assert_ne!(ended.code, Some(0), "{form:?}");
        assert_eq!(desk.files("out"), [""; 0], "{form:?}");
        let missing: [Packed; 1] = [packed("vm.ovf", ovf.text())];
        pack(&desk, form, &missing);
        let ended = desk.export("vm.ova", &[]);
        // If the list of an archive can be read quickly, the error comes before any work.
        let early = matches!(form, Form::Tar | Form::Zip);
        assert_eq!(ended.code, Some(if early { 4 } else { 1 }), "{form:?}");
        ended.said("'disk1.vmdk', which its OVF names, is not in it");
        assert_eq!(desk.files("out"), [""; 0], "{form:?}");
    }
}

#[test]
fn a_disk_that_comes_twice_is_refused_wherever_the_second_one_stands() {
    for form in [Form::Tar, Form::TarGz, Form::TarXz] {
        let desk = Desk::new();
        let (ovf, vmdk) = package(&desk);
        let disk = || packed("disk1.vmdk", &vmdk[..]);
        pack(&desk, form, &[packed("vm.ovf", ovf.text()), disk(), disk()]);
        let ended = desk.export("vm.ova", &[]);
        assert_eq!(ended.code, Some(1), "{form:?}: {}", ended.stderr);
        ended.said("it contains 'disk1.vmdk' twice");
        assert_eq!(desk.files("out"), [""; 0], "{form:?}");
    }
}

#[test]
fn a_disk_that_no_hardware_uses_is_not_passed_over_in_silence() {
    let desk = Desk::new();
    let (mut ovf, vmdk) = package(&desk);
    ovf.files += "<File ovf:id='file2' ovf:href='second.vmdk'/>";
    ovf.disks += "<Disk ovf:diskId='d2' ovf:fileRef='file2' ovf:capacity='3145728'/>";
    let disks = || [packed("disk1.vmdk", &vmdk[..]), packed("second.vmdk", &vmdk[..])];
    let pack_all = |text: String| {
        let [first, second] = disks();
        pack(&desk, Form::Tar, &[packed("vm.ovf", text), first, second]);
    };
    pack_all(ovf.text());
    let ended = desk.export("vm.ova", &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.json["warnings"][0]["code"], "disk-not-used");
    ended.said("'second.vmdk'");
    ovf.items.clear();
    pack_all(ovf.text());
    let ended = desk.run(&["--source", "vm.ova", "--output", "none"]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    ended.said("its VM has no disk; nothing in its hardware uses 'disk1.vmdk', 'second.vmdk'");
}

#[test]
fn a_file_without_a_name_is_named_by_its_id() {
    let desk = Desk::new();
    let (mut ovf, vmdk) = package(&desk);
    ovf.files = "<File ovf:id='file1'/>".to_owned();
    pack(&desk, Form::Tar, &[packed("vm.ovf", ovf.text()), packed("disk1.vmdk", vmdk)]);
    let ended = desk.export("vm.ova", &[]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    ended.said("its file 'file1' has no href");
}

#[test]
fn a_package_does_not_come_with_others() {
    let desk = Desk::new();
    let (ovf, vmdk) = package(&desk);
    pack(&desk, Form::Tar, &[packed("vm.ovf", ovf.text()), packed("disk1.vmdk", vmdk)]);
    let ended = desk.export("disk.vmdk", &["--source", "vm.ova"]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    ended.said("vm.ova is not usable: it is a VM");
    let planned = desk.run(&["--source", "vm.ova", "--output", "out", "--dry-run"]);
    assert_eq!(planned.code, Some(0), "{}", planned.stderr);
    let facts = "4 CPUs, 1.5 GiB, Debian GNU/Linux 12 (64-bit), 1 disk, 1 network interface\n";
    assert!(planned.stdout.contains(facts), "{}", planned.stdout);
}

#[test]
fn memory_that_is_not_told_is_asked_for() {
    for (what, with) in [(">1536<", ">0<"), ("byte * 2^20", "bananas")] {
        let desk = Desk::new();
        let (ovf, vmdk) = package(&desk);
        let text = ovf.text();
        let at = text.find("<VirtualHardwareSection").expect("there");
        let text = [&text[..at], &text[at..].replace(what, with)].concat();
        pack(&desk, Form::Tar, &[packed("vm.ovf", text), packed("disk1.vmdk", vmdk)]);
        let ended = desk.export("vm.ova", &[]);
        assert_eq!(ended.code, Some(4), "{}", ended.stderr);
        ended.said("no memory size: pass --memory");
        let ended = desk.export("vm.ova", &["--memory", "2G"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(desk.manifest()["metadata"]["hyperexport"]["source_vm"]["memory_mib"], 2048);
    }
}

#[test]
fn what_macos_adds_is_passed_over() {
    for form in Form::ALL {
        let desk = Desk::new();
        let (ovf, vmdk) = package(&desk);
        let files = [
            packed("._vm.ovf", "Mac OS X"),
            packed("vm.ovf", ovf.text()),
            packed("._vm.mf", "Mac OS X"),
            packed("._disk1.vmdk", "Mac OS X"),
            packed("disk1.vmdk", vmdk),
        ];
        let ended = desk.export(pack(&desk, form, &files).to_str().expect("UTF-8"), &[]);
        assert_eq!(ended.code, Some(0), "{form:?}: {}", ended.stderr);
        desk.assert_disk(0, &desk.path("disk.raw"));
    }
}

#[test]
fn descriptors_are_read_in_their_own_encoding() {
    for encoding in ["UTF-16", "ISO-8859-1"] {
        let desk = Desk::new();
        let (_, vmdk) = package(&desk);
        let text = Ovf::one("büro.vmdk", MIB)
            .text()
            .replace("encoding='UTF-8'", &format!("encoding='{encoding}'"));
        let bytes: Vec<u8> = match encoding {
            "UTF-16" => {
                let units = "\u{feff}".encode_utf16().chain(text.encode_utf16());
                units.flat_map(u16::to_le_bytes).collect()
            }
            _ => text.chars().map(|c| u8::try_from(c).expect("a Latin letter")).collect(),
        };
        pack(&desk, Form::Tar, &[packed("vm.ovf", bytes), packed("büro.vmdk", vmdk)]);
        let ended = desk.export("vm.ova", &[]);
        assert_eq!(ended.code, Some(0), "{encoding}: {}", ended.stderr);
        desk.assert_disk(0, &desk.path("disk.raw"));
    }
}

#[test]
fn hardware_of_other_deployment_options_does_not_count() {
    let desk = Desk::new();
    let (mut ovf, vmdk) = package(&desk);
    let cpus = |option: &str, number: u32| {
        item(3, &format!("<rasd:VirtualQuantity>{number}</rasd:VirtualQuantity>"))
            .replace("<Item>", &format!("<Item ovf:configuration='{option}'>"))
    };
    ovf.items = [ovf.items, cpus("small", 2), cpus("large", 16)].concat();
    let options = "<DeploymentOptionSection><Info/><Configuration ovf:id='large'/>\
        <Configuration ovf:default='true' ovf:id='small'/></DeploymentOptionSection><VirtualSystem ";
    let text = ovf.text().replacen("<VirtualSystem ", options, 1);
    pack(&desk, Form::Tar, &[packed("vm.ovf", text), packed("disk1.vmdk", vmdk)]);
    let info = desk.run(&["info", "web <01>", "--source", "vm.ova", "--json"]);
    assert_eq!(info.json["vm"]["cpu"]["vcpus"], 2, "{}", info.stderr);
}

#[test]
fn an_ova_goes_all_the_way_into_libvirt() {
    let (Some(hyper2kvm), true) = (crate::support::hyper2kvm::real(), libvirtd::available()) else {
        return;
    };
    let (desk, names) = (Desk::new(), Names::new());
    let (mut ovf, vmdk) = package(&desk);
    ovf.files += "<File ovf:id='iso' ovf:href='a.iso'/>";
    ovf.items += &item(15, "<rasd:HostResource>ovf:/file/iso</rasd:HostResource>");
    let iso = vec![9; 64 << 10];
    let files =
        [packed("vm.ovf", ovf.text()), packed("disk1.vmdk", vmdk), packed("a.iso", &iso[..])];
    pack(&desk, Form::TarXz, &files);
    let pool = desk.path("pool");
    let (name, pool_name) = (names.name("vm"), names.name("pool"));
    let ended = desk.export(
        "vm.ova",
        &[
            "--pipeline",
            "--pipeline-fix=false",
            "--hyper2kvm-path",
            hyper2kvm.to_str().expect("UTF-8"),
            "--libvirt",
            "--network-map",
            "*=none",
            "--libvirt-name",
            &name,
            "--libvirt-pool",
            &pool_name,
            "--libvirt-pool-path",
            pool.to_str().expect("UTF-8"),
        ],
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.json["outcome"], "done", "{}", ended.stdout);
    let volume = ended.json["domain"]["volumes"][0]["path"].as_str().expect("a path").to_owned();
    assert_same_disk((&desk.path("disk.raw"), "raw"), (volume.as_ref(), "qcow2"));
    let domain = libvirtd::connect().lookup_domain_by_name(&name).expect("defined");
    let xml = domain.xml_desc(0).expect("described");
    assert!(xml.contains("<memory unit='KiB'>1572864</memory>"), "{xml}");
    let medium = pool.join(format!("{name}-cdrom-0.iso"));
    assert_eq!(fs::read(&medium).expect("in the pool"), iso);
    let (_, drive) = xml.split_once("device='cdrom'").expect("a drive");
    let (drive, _) = drive.split_once("</disk>").expect("its end");
    assert!(drive.contains(&format!("<source file='{}'", medium.display())), "{drive}");
    assert!(drive.contains("<boot order='2'/>"), "{drive}");
    let undone = desk.run(&["undo", "out"]);
    assert_eq!(undone.code, Some(0), "{}", undone.stderr);
    assert!(!medium.exists() && desk.path("out/cdrom-0.iso").exists());
}

#[test]
fn an_archive_of_another_kind_of_vm_says_what_to_do_with_it() {
    for form in [Form::Tar, Form::TarGz, Form::Zip] {
        // The archive does not say which file is the disk.
        for (name, holds) in [("a.vhdx", "a.vhdx"), ("box.img", "box.img")] {
            let desk = Desk::new();
            let files = [packed("metadata.json", "{}"), packed(name, "x"), packed("d.vmdk", "x")];
            let path = pack(&desk, form, &files);
            fs::rename(path, desk.path("vm.box")).expect("renamed");
            let ended = desk.export("vm.box", &[]);
            assert_eq!(ended.code, Some(4), "{}", ended.stderr);
            ended.said(&format!("contains '{holds}' and no OVF"));
            ended.said("unpack it into an empty folder");
        }
    }
}

#[test]
fn two_vms_of_one_name_are_told_apart_by_their_ids() {
    let desk = Desk::new();
    let (ovf, vmdk) = package(&desk);
    let text = ovf.text();
    let (start, end) = (text.find("<VirtualSystem ").expect("one"), "</VirtualSystem>");
    let end = text.find(end).expect("one") + end.len();
    let (first, rest) = (&text[start..end], (&text[..start], &text[end..]));
    let second = first.replacen("ovf:id='web01'", "ovf:id='second'", 1);
    let both = format!(
        "{}<VirtualSystemCollection ovf:id='c'>{first}{second}</VirtualSystemCollection>{}",
        rest.0, rest.1
    );
    pack(&desk, Form::Folder, &[packed("vm.ovf", both), packed("disk1.vmdk", vmdk)]);
    let ended = desk.export("vm/vm.ovf", &[]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    ended.said("(id 'second')");
    for id in ["web01", "second"] {
        let ended = desk.run(&["--source", "vm", "--vm", id, "--output", id, "--manifest"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
}

#[test]
fn a_capacity_that_is_too_small_does_not_end_an_export() {
    for form in [Form::Tar, Form::TarGz] {
        let desk = Desk::new();
        // Random, so that the image exceeds the limit for a disk of 1 MiB.
        let raw = desk.path("disk.raw");
        let mut random = fs::File::open("/dev/urandom").expect("there").take(80 << 20);
        let mut file = fs::File::create(&raw).expect("made");
        std::io::copy(&mut random, &mut file).expect("copied");
        desk.image(&raw, "disk1.qcow2", "qcow2", &[]);
        let image = fs::read(desk.path("disk1.qcow2")).expect("readable");
        let ovf = Ovf::one("disk1.qcow2", 1);
        let files = [packed("vm.ovf", ovf.text()), packed("disk1.qcow2", image)];
        pack(&desk, form, &files);
        let args = ["--source-format", "qcow2"];
        let ended = desk.export("vm.ova", &args);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.said("the size of the image is used");
        desk.assert_disk(0, &raw);
    }
}
