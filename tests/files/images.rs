//! VMs as bare disk images, or as a folder of VMware Workstation.

use std::fs;
use std::path::Path;

use crate::support::files::{Desk, write_uuid};

/// Formats and subformats that `qemu-img` writes, with their file extensions.
const IMAGES: [(&str, &str, &[&str]); 12] = [
    ("vmdk", "vmdk", &["subformat=streamOptimized"]),
    ("vmdk", "vmdk", &["subformat=monolithicSparse"]),
    ("vmdk", "vmdk", &["subformat=monolithicFlat"]),
    ("vmdk", "vmdk", &["subformat=twoGbMaxExtentSparse"]),
    ("vmdk", "vmdk", &["subformat=twoGbMaxExtentFlat"]),
    ("qcow2", "qcow2", &[]),
    ("raw", "img", &[]),
    ("vpc", "vhd", &["subformat=dynamic,force_size=on"]),
    ("vpc", "vhd", &["subformat=fixed,force_size=on"]),
    ("vhdx", "vhdx", &["subformat=dynamic"]),
    ("vhdx", "vhdx", &["subformat=fixed"]),
    ("vdi", "vdi", &[]),
];

#[test]
fn every_format_is_taken_with_its_size_and_content() {
    for (format, ending, options) in IMAGES {
        let desk = Desk::new();
        let raw = desk.raw("disk.raw", 7);
        let name = format!("the vm.{ending}");
        desk.image(&raw, &name, format, options);
        let args = ["--name", "web/01", "--cpu", "2", "--memory", "3G", "--firmware", "efi"];
        let ended = desk.export(&name, &args);
        assert_eq!(ended.code, Some(0), "{format} {options:?}: {}", ended.stderr);
        desk.assert_disk(0, &raw);
        let exact = &desk.manifest()["metadata"]["hyperexport"];
        assert_eq!(exact["capacities"]["disk-0"], 7 << 20, "{format} {options:?}");
        let vm = &exact["source_vm"];
        assert_eq!((&vm["name"], &vm["cpu"]["vcpus"]), (&"web/01".into(), &2.into()));
        assert_eq!((&vm["memory_mib"], &vm["firmware"]), (&3072.into(), &"efi".into()));
    }
}

#[test]
fn a_split_disk_of_several_files_is_put_together() {
    for subformat in ["twoGbMaxExtentSparse", "twoGbMaxExtentFlat"] {
        let desk = Desk::new();
        let raw = desk.path("disk.raw");
        // Data on both sides of the second file's beginning.
        let file = fs::File::create(&raw).expect("made");
        file.set_len(5 << 30).expect("sized");
        for at in [0, (2 << 30) - 70_000, (2 << 30) + 123_456, (5 << 30) - 65_000] {
            std::os::unix::fs::FileExt::write_all_at(&file, &[7; 65_000], at).expect("written");
        }
        desk.image(&raw, "big.vmdk", "vmdk", &[&format!("subformat={subformat}")]);
        let ended = desk.export("big.vmdk", &[]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        desk.assert_disk(0, &raw);
        let made = fs::metadata(desk.path("out/disk-0.qcow2")).expect("there");
        assert!(made.len() < 2 << 20, "holes stay holes: {}", made.len());
    }
}

/// A sparse file of ESX for the disk in `raw`: grains of one sector, 4096 of them per table.
fn vmfs_sparse(raw: &[u8]) -> Vec<u8> {
    let word = |number: usize| u32::try_from(number).expect("small").to_le_bytes();
    let sectors: Vec<_> = raw.chunks(512).collect();
    let tables = sectors.len().div_ceil(4096);
    let first = 5 + tables * 32;
    let (mut directory, mut entries, mut grains) = (Vec::new(), Vec::new(), Vec::new());
    for table in 0..tables {
        directory.extend(word(5 + table * 32));
    }
    for grain in &sectors {
        let empty = grain.iter().all(|byte| *byte == 0);
        entries.extend(word(if empty { 0 } else { first + grains.len() / 512 }));
        grains.extend_from_slice(if empty { &[] } else { grain });
    }
    let mut image = b"COWD".to_vec();
    for number in [1, 3, sectors.len(), 1, 4, tables, first + grains.len() / 512] {
        image.extend(word(number));
    }
    for (part, at) in [(directory, 4), (entries, 5), (grains, first)] {
        image.resize(at * 512, 0);
        image.extend(part);
    }
    image
}

/// A space-efficient file of ESXi for the disk in `raw`: grains of 4 KiB, 4096 per table.
fn se_sparse(raw: &[u8]) -> Vec<u8> {
    let pages: Vec<_> = raw.chunks(4096).collect();
    let tables = pages.len().div_ceil(4096);
    let first = 16 + tables * 64;
    let (mut entries, mut grains) = (Vec::new(), Vec::new());
    for page in &pages {
        let index = (grains.len() / 4096) as u64;
        // Never written, zeros, or allocated: the low twelve bits of the number are above the
        // others.
        let entry = match page.iter().all(|byte| *byte == 0) {
            true if entries.len() % 16 == 0 => 0,
            true => 2 << 60,
            false => 3 << 60 | (index & 0xfff) << 48 | index >> 12,
        };
        entries.extend(u64::to_le_bytes(entry));
        grains.extend_from_slice(if entry >> 60 == 3 { page } else { &[] });
    }
    let mut header = [0_u64; 26];
    header[..5].copy_from_slice(&[0xcafe_babe, 0x2_0000_0001, raw.len() as u64 / 512, 8, 64]);
    header[10..12].copy_from_slice(&[1, 1]);
    header[16..20].copy_from_slice(&[8, 1, 16, tables as u64 * 64]);
    header[24..26].copy_from_slice(&[first as u64, grains.len() as u64 / 512]);
    let directory = (0..tables as u64).flat_map(|n| u64::to_le_bytes(0x1000_0000 << 32 | n));
    let mut image: Vec<u8> = header.into_iter().flat_map(u64::to_le_bytes).collect();
    let volatile = 0xcafe_cafe_u64.to_le_bytes().to_vec();
    for (part, at) in [(volatile, 1), (directory.collect(), 8), (entries, 16), (grains, first)] {
        image.resize(at * 512, 0);
        image.extend(part);
    }
    image
}

/// Writes a descriptor with one extent of these bytes.
fn of_one_extent(desk: &Desk, kind: (&str, &str), mib: u64, bytes: &[u8]) {
    let (create_type, extent) = kind;
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
         createType=\"{create_type}\"\nRW {} {extent} \"esx-s001.vmdk\"\n",
        mib * 2048
    );
    fs::write(desk.path("esx.vmdk"), text).expect("written");
    fs::write(desk.path("esx-s001.vmdk"), bytes).expect("written");
}

#[test]
fn sparse_files_of_esx_are_read_as_qemu_reads_them() {
    type Make = fn(&[u8]) -> Vec<u8>;
    let kinds: [((&str, &str), Make); 2] =
        [(("vmfsSparse", "VMFSSPARSE"), vmfs_sparse), (("seSparse", "SESPARSE"), se_sparse)];
    for (kind, make) in kinds {
        let desk = Desk::new();
        // More than 4096 grains of 4 KiB.
        let raw = desk.raw("disk.raw", 100);
        of_one_extent(&desk, kind, 100, &make(&fs::read(&raw).expect("read")));
        let mut compare = std::process::Command::new("qemu-img");
        compare.args(["compare", "-f", "vmdk", "-F", "raw"]).arg(desk.path("esx.vmdk")).arg(&raw);
        assert!(compare.status().expect("qemu-img runs").success(), "{kind:?} is made wrong");
        let ended = desk.export("esx.vmdk", &[]);
        assert_eq!(ended.code, Some(0), "{kind:?}: {}", ended.stderr);
        desk.assert_disk(0, &raw);
    }
}

#[test]
fn a_sparse_file_of_esx_that_makes_no_sense_is_refused() {
    let refused = |kind: (&str, &str), bytes: &[u8], reason: &str| {
        let desk = Desk::new();
        of_one_extent(&desk, kind, 4, bytes);
        let ended = desk.export("esx.vmdk", &[]);
        assert_ne!(ended.code, Some(0), "{kind:?}: {reason}");
        ended.said(reason);
        assert!(!desk.path("out/disk-0.qcow2").exists());
    };
    let (old, new) = (("vmfsSparse", "VMFSSPARSE"), ("seSparse", "SESPARSE"));
    let raw = vec![7; 4 << 20];
    let (esx, efficient) = (vmfs_sparse(&raw), se_sparse(&raw));
    refused(old, &efficient, "is not of the kind 'VMFSSPARSE'");
    refused(new, &esx, "is not of the kind 'SESPARSE'");
    let with = |bytes: &[u8], at: usize, byte: u8| {
        let mut bytes = bytes.to_vec();
        bytes[at] = byte;
        bytes
    };
    refused(new, &with(&efficient, 512 + 24, 1), "its journal is to be replayed");
    refused(new, &with(&efficient, 8 * 512 + 7, 0x70), "a directory entry makes no sense");
    refused(new, &with(&efficient, 16 * 512 + 7, 0x70), "a grain table entry makes no sense");
    refused(old, &with(&esx, 16, 3), "makes no sense");
    refused(old, &esx[..esx.len() - 1], "fill whole buffer");
}

#[test]
fn several_images_are_the_disks_of_one_vm() {
    let desk = Desk::new();
    let (first, second) = (desk.raw("first.img", 4), desk.raw("second.raw", 5));
    let more = ["--source", "second.raw"];
    let ended = desk.export("first.img", &more);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    desk.assert_disk(0, &first);
    desk.assert_disk(1, &second);
    assert_eq!(desk.manifest()["source"]["vm_name"], "first");
}

#[test]
fn a_format_that_no_name_tells_is_asked_for() {
    let desk = Desk::new();
    let raw = desk.raw("disk", 2);
    let ended = desk.export("disk", &[]);
    assert_eq!(ended.code, Some(4));
    ended.said("--source-format");
    let ended = desk.export("disk", &["--source-format", "qcow2"]);
    assert_eq!(ended.code, Some(4));
    ended.said("it is not a qcow2");
    assert_eq!(desk.export("disk", &["--source-format", "raw"]).code, Some(0));
    desk.assert_disk(0, &raw);
}

#[test]
fn an_image_that_somebody_compressed_is_to_be_unpacked_first() {
    let desk = Desk::new();
    let raw = desk.raw("disk.raw", 2);
    let mut gzip = std::process::Command::new("gzip");
    assert!(gzip.arg(&raw).status().expect("gzip runs").success());
    let ended = desk.export("disk.raw.gz", &[]);
    assert_eq!(ended.code, Some(4));
    ended.said("not a tar archive: unpack it first");
    fs::write(desk.path("vm.ova"), "BZh9").expect("written");
    desk.export("vm.ova", &[]).said("it is neither a tar archive");
}

#[test]
fn another_vm_than_the_one_that_lies_there_is_not_taken() {
    let desk = Desk::new();
    desk.raw("web01.raw", 2);
    workstation(&desk);
    for (source, name) in [("web01.raw", "'web01'"), ("vm", "'web \"01\"'")] {
        let ended = desk.export(source, &["--vm", "db01"]);
        assert_eq!(ended.code, Some(4), "{}", ended.stderr);
        ended.said(name);
    }
    assert_eq!(desk.export("web01.raw", &["--vm", "web01"]).code, Some(0));
}

#[test]
fn flags_for_files_do_not_go_with_vsphere() {
    let desk = Desk::new();
    let ended = desk.run(&["--url", "vc", "--vm", "web01", "--memory", "4G"]);
    assert_eq!(ended.code, Some(2));
    ended.said("--memory is for files");
    let ended = desk.run(&["--source", "libvirt+test:///default?domain=test", "--cpu", "2"]);
    assert_eq!(ended.code, Some(2));
    ended.said("--cpu is for files: a domain of libvirt is exported as it is");
}

#[test]
fn flags_for_vsphere_do_not_go_with_anything_else() {
    let desk = Desk::new();
    for source in ["vm.ova", "libvirt+test:///default?domain=test"] {
        for flag in [&["--transport", "nfc"][..], &["--parallel", "2"], &["--snapshot"]] {
            let ended = desk.run(&[&["--source", source][..], flag].concat());
            assert_eq!(ended.code, Some(2), "{flag:?}: {}", ended.stderr);
            ended.said(&format!("{} is for a VM of vSphere", flag[0]));
        }
    }
    let ended = desk.run(&["--source", "vm.ova", "--power-off"]);
    assert_eq!(ended.code, Some(2));
    ended.said("--power-off is for a VM of vSphere or a domain of libvirt: files do not run");
}

/// A VM in Workstation's layout.
fn workstation(desk: &Desk) -> std::path::PathBuf {
    let raw = desk.raw("disk.raw", 6);
    desk.image(&raw, "vm/web 01.vmdk", "vmdk", &["subformat=twoGbMaxExtentSparse"]);
    desk.image(&raw, "vm/data.vmdk", "vmdk", &["subformat=monolithicSparse"]);
    fs::write(desk.path("vm/web.nvram"), "variables").expect("written");
    let vmx = "\u{feff}.encoding = \"UTF-8\"\nconfig.version = \"8\"\ndisplayName = \"web |2201|22\"\n\
        guestOS = \"debian12-64\"\nmemsize = \"1536\"\nnumvcpus = \"4\"\ncpuid.coresPerSocket = \"2\"\n\
        firmware = \"efi\"\nuefi.secureBoot.enabled = \"TRUE\"\nnvram = \"web.nvram\"\n\
        scsi0.present = \"TRUE\"\nscsi0.virtualDev = \"lsisas1068\"\nscsi0:1.present = \"TRUE\"\n\
        scsi0:1.fileName = \"data.vmdk\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"web 01.vmdk\"\n\
        sata0.present = \"TRUE\"\nsata0:1.present = \"TRUE\"\nsata0:1.deviceType = \"cdrom-raw\"\n\
        ethernet0.present = \"TRUE\"\nethernet0.virtualDev = \"e1000e\"\n\
        ethernet0.connectionType = \"nat\"\nethernet0.generatedAddress = \"00:0c:29:aa:bb:cc\"\n";
    fs::write(desk.path("vm/web.vmx"), vmx).expect("written");
    raw
}

#[test]
fn a_folder_of_workstation_is_taken_whole() {
    let desk = Desk::new();
    let raw = workstation(&desk);
    let ended = desk.export("vm", &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    desk.assert_disk(0, &raw);
    desk.assert_disk(1, &raw);
    let vm = &desk.manifest()["metadata"]["hyperexport"]["source_vm"];
    assert_eq!(vm["name"], "web \"01\"");
    assert_eq!(vm["guest"]["id"], "debian12_64Guest");
    assert_eq!((&vm["memory_mib"], &vm["cpu"]["vcpus"]), (&1536.into(), &4.into()));
    assert_eq!((&vm["firmware"], &vm["secure_boot"]), (&"efi".into(), &true.into()));
    assert_eq!(vm["disks"][0]["controller"]["model"], "VirtualLsiLogicSASController");
    assert_eq!((&vm["cdroms"], &vm["nics"][0]["mac"]), (&1.into(), &"00:0c:29:aa:bb:cc".into()));
    let nvram = fs::read_to_string(desk.path("out/source.nvram")).expect("there");
    assert_eq!(nvram, "variables");
}

#[test]
fn slots_uuids_and_boot_order_of_a_workstation_vm_are_read() {
    let desk = Desk::new();
    workstation(&desk);
    let path = desk.path("vm/web.vmx");
    let lines = "ethernet0.pciSlotNumber = \"160\"\nbios.bootOrder = \"cdrom,hdd\"\n\
        bios.hddOrder = \"scsi0:1,scsi0:0\"\n";
    let text = fs::read_to_string(&path).expect("there") + lines;
    fs::write(&path, text).expect("written");
    // The first disk's descriptor is a separate file, the second one's is embedded in its image.
    let split = desk.path("vm/web 01.vmdk");
    let line = "ddb.uuid = \"60 00 C2 93 00 00 00 00-00 00 00 00 00 00 00 01\"\n";
    let text = fs::read_to_string(&split).expect("there") + line;
    fs::write(&split, text).expect("written");
    let sparse = desk.path("vm/data.vmdk");
    let mut image = fs::read(&sparse).expect("there");
    write_uuid(&mut image, "60 00 C2 93 00 00 00 00-00 00 00 00 00 00 00 02");
    fs::write(&sparse, image).expect("written");

    assert_eq!(desk.export("vm", &[]).code, Some(0));
    let manifest = desk.manifest();
    let vm = &manifest["metadata"]["hyperexport"]["source_vm"];
    assert_eq!((&vm["nics"][0]["slot"], &vm["arch"]), (&160.into(), &"x86_64".into()));
    for (disk, order, uuid) in [(0, 1, '1'), (1, 0, '2')] {
        assert_eq!(vm["disks"][disk]["uuid"], format!("6000c293{}{uuid}", "0".repeat(23)));
        assert_eq!(vm["disks"][disk]["boot_order"], order);
        assert_eq!(manifest["disks"][disk]["boot_order_hint"], order);
    }
    assert!(vm.get("assumed").is_none(), "the VMX tells firmware and boot disk: {vm:#}");
}

#[test]
fn an_image_tells_its_uuid_and_leaves_its_firmware_open() {
    let desk = Desk::new();
    let raw = desk.raw("disk.raw", 6);
    let path = desk.image(&raw, "disk.vmdk", "vmdk", &["subformat=streamOptimized"]);
    let mut image = fs::read(&path).expect("there");
    write_uuid(&mut image, "6000C29d-3d4c-50e1-2e1a-648c0e1e5b07");
    fs::write(&path, image).expect("written");
    let facts = |flags: &[&str]| {
        let info = desk.run(&[&["info", "--json", "--source", "disk.vmdk"], flags].concat());
        assert_eq!(info.code, Some(0), "{}", info.stderr);
        info.json["vm"].clone()
    };
    let vm = facts(&[]);
    assert_eq!(vm["disks"][0]["uuid"], "6000c29d3d4c50e12e1a648c0e1e5b07");
    assert_eq!(vm["assumed"], serde_json::json!({"firmware": true, "boot_disk": false}));
    assert!(facts(&["--firmware", "bios"]).get("assumed").is_none());
}

#[test]
fn what_stands_in_the_way_of_a_workstation_vm_is_named() {
    let change = |lines: &str, reason: &str| {
        let desk = Desk::new();
        workstation(&desk);
        let path = desk.path("vm/web.vmx");
        let text = fs::read_to_string(&path).expect("there") + lines;
        fs::write(&path, text).expect("written");
        let ended = desk.export("vm", &[]);
        assert_eq!(ended.code, Some(4), "{lines}: {}", ended.stderr);
        ended.said(reason);
        assert!(!desk.path("out").exists());
    };
    change("encryption.keySafe = \"vmware:key/list\"\n", "the VM is encrypted");
    change("checkpoint.vmState = \"web.vmss\"\n", "the VM is suspended");
    change("scsi0:1.fileName = \"../other/data.vmdk\"\n", "is not in its folder");
    change("scsi0:1.fileName = \"gone.vmdk\"\n", "gone.vmdk");
    let desk = Desk::new();
    workstation(&desk);
    fs::create_dir(desk.path("vm/web.vmx.lck")).expect("made");
    desk.export("vm", &[]).said("the VM runs");
    snapshot_is_refused(&desk.path("vm/data.vmdk"));
}

#[test]
fn a_workstation_vm_is_read_in_its_own_encoding() {
    let desk = Desk::new();
    let raw = workstation(&desk);
    fs::rename(desk.path("vm/data.vmdk"), desk.path("vm/büro.vmdk")).expect("renamed");
    let path = desk.path("vm/web.vmx");
    let text = fs::read_to_string(&path).expect("there").replace("\u{feff}", "");
    let text = text.replace("UTF-8", "windows-1252").replace("data.vmdk", "büro.vmdk");
    let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).expect("a Latin letter")).collect();
    fs::write(&path, bytes).expect("written");
    let ended = desk.export("vm", &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    desk.assert_disk(1, &raw);
}

#[test]
fn what_a_workstation_vm_lacks_is_told_or_asked_for() {
    let desk = Desk::new();
    workstation(&desk);
    fs::remove_file(desk.path("vm/web.nvram")).expect("removed");
    let path = desk.path("vm/web.vmx");
    let text = fs::read_to_string(&path).expect("there").replace("memsize", "no");
    fs::write(&path, text).expect("written");
    let ended = desk.export("vm", &[]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    ended.said("pass --memory");
    let ended = desk.export("vm", &["--memory", "1G"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.json["warnings"][0]["code"], "nvram-not-exported");
}

/// A delta disk names its parent.
fn snapshot_is_refused(disk: &Path) {
    let desk = Desk::new();
    let text =
        "# Disk DescriptorFile\nparentFileNameHint=\"data.vmdk\"\nRW 8 SPARSE \"d-s001.vmdk\"\n";
    fs::write(desk.path("d-000001.vmdk"), text).expect("written");
    fs::copy(disk, desk.path("data.vmdk")).expect("copied");
    let ended = desk.export("d-000001.vmdk", &[]);
    assert_eq!(ended.code, Some(4));
    ended.said("it names a parent image");
    ended.said("snapshots");
}

/// A VMX with one disk and further lines.
fn vmx(desk: &Desk, disk: &str, lines: &str) {
    let text = format!(
        "displayName = \"vm1\"\nguestOS = \"debian12-64\"\nmemsize = \"1024\"  # MiB\n\
         scsi0.present = \"TRUE\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"{disk}\"\n{lines}"
    );
    fs::write(desk.path("vm.vmx"), text).expect("written");
}

#[test]
fn devices_of_the_host_are_told_and_other_spellings_understood() {
    let desk = Desk::new();
    let raw = desk.raw("disk.bin", 3);
    desk.image(&raw, "Disk.VMDK", "vmdk", &["subformat=twoGbMaxExtentFlat"]);
    fs::rename(desk.path("Disk-f001.VMDK"), desk.path("DISK-F001.vmdk")).expect("renamed");
    vmx(
        &desk,
        ".\\disk.vmdk",
        "scsi0:1.present = \"TRUE\"\nscsi0:1.deviceType = \"scsi-passthru\"\n\
         scsi0:1.fileName = \"/vmfs/devices/cdrom/mpx.vmhba32:C0:T0:L0\"\n",
    );
    let ended = desk.export("vm.vmx", &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.said("a drive of the source's host");
    desk.assert_disk(0, &raw);
    let vm = desk.manifest()["metadata"]["hyperexport"]["source_vm"].clone();
    assert_eq!((&vm["memory_mib"], &vm["cdroms"]), (&1024.into(), &1.into()));
}

#[test]
fn a_disk_that_is_a_device_of_its_host_is_refused_with_a_way_out() {
    for (kind, extent) in [
        ("fullDevice", "RW 8 FLAT \"\\\\.\\PhysicalDrive1\" 0"),
        (
            "partitionedDevice",
            "RW 63 FLAT \"rdm-pt.vmdk\" 0\nRW 8 FLAT \"\\\\.\\PhysicalDrive1\" 63",
        ),
        ("vmfsPassthroughRawDeviceMap", "RW 8 VMFSRDM \"disk-rdmp.vmdk\""),
        ("vmfsRawDeviceMap", "RW 8 VMFSRDM \"disk-rdm.vmdk\""),
    ] {
        let desk = Desk::new();
        let text = format!("# Disk DescriptorFile\nversion=1\ncreateType=\"{kind}\"\n{extent}\n");
        fs::write(desk.path("disk.vmdk"), text).expect("written");
        vmx(&desk, "disk.vmdk", "scsi0:0.deviceType = \"rawDisk\"\n");
        let ended = desk.export("vm.vmx", &[]);
        assert_eq!(ended.code, Some(4), "{kind}: {}", ended.stderr);
        ended.said("it stands for a device of its host");
        ended.said("hint: copy the device");
    }
}

#[test]
fn a_split_disk_is_read_in_its_own_encoding() {
    for (label, bytes, name) in [
        ("GBK", &b"\xd0\xe9\xc4\xe2\xbb\xfa"[..], "虚拟机"),
        ("Big5", b"\xb5\xea\xc0\xc0\xbe\xf7", "虛擬機"),
        ("windows-1252", b"B\xfcro", "Büro"),
        ("Shift_JIS", b"\x89\xbc\x91\x7a", "仮想"),
    ] {
        let desk = Desk::new();
        let raw = desk.raw("disk.bin", 3);
        desk.image(&raw, &format!("{name}.vmdk"), "vmdk", &["subformat=twoGbMaxExtentFlat"]);
        let path = desk.path(&format!("{name}.vmdk"));
        let text = fs::read_to_string(&path).expect("readable");
        let (before, after) = text.split_once(name).expect("named");
        let head = before.replace("version=1\n", &format!("version=1\nencoding=\"{label}\"\n"));
        fs::write(&path, [head.as_bytes(), bytes, after.as_bytes()].concat()).expect("written");
        let ended = desk.export(&format!("{name}.vmdk"), &[]);
        assert_eq!(ended.code, Some(0), "{label}: {}", ended.stderr);
        desk.assert_disk(0, &raw);
    }
}

#[test]
fn a_part_of_a_disk_names_the_whole_one() {
    for (subformat, parts) in
        [("twoGbMaxExtentSparse", "d-s001.vmdk"), ("monolithicFlat", "d-flat.vmdk")]
    {
        let desk = Desk::new();
        let raw = desk.raw("disk.bin", 3);
        desk.image(&raw, "d.vmdk", "vmdk", &[&format!("subformat={subformat}")]);
        for verb in ["export", "info"] {
            let ended = match verb {
                "info" => desk.run(&["info", "--source", parts]),
                _ => desk.export(parts, &[]),
            };
            assert_ne!(ended.code, Some(0), "{subformat}: {}", ended.stderr);
            ended.said(" is a part of the disk that");
            ended.said(&format!("--source {}", desk.path("d.vmdk").display()));
        }
        fs::remove_file(desk.path("d.vmdk")).expect("removed");
        desk.export(parts, &[]).said("a disk whose descriptor is not beside it");
    }
}

#[test]
fn an_image_of_another_format_than_its_name_says_is_asked_about() {
    let formats: [(&str, &[&str], &str); 5] = [
        ("qcow2", &[], "qcow2"),
        ("vmdk", &["subformat=monolithicSparse"], "vmdk"),
        ("vpc", &["subformat=fixed,force_size=on"], "vhd"),
        ("vhdx", &[], "vhdx"),
        ("vdi", &[], "vdi"),
    ];
    for (format, options, name) in formats {
        for ending in ["img", "RAW"] {
            let desk = Desk::new();
            let raw = desk.raw("disk.bin", 3);
            let image = format!("disk.{ending}");
            desk.image(&raw, &image, format, options);
            let ended = desk.export(&image, &[]);
            assert_eq!(ended.code, Some(4), "{name}: {}", ended.stderr);
            ended.said(&format!("is named as raw, but its content is {name}"));
            ended.said(&format!("--source-format {name}"));
            ended.said("--source-format raw");
            assert_eq!(desk.export(&image, &["--source-format", name]).code, Some(0), "{name}");
            desk.assert_disk(0, &raw);
        }
    }
    let desk = Desk::new();
    let mut iso = vec![0; 65536];
    iso[32769..32774].copy_from_slice(b"CD001");
    fs::write(desk.path("disk.img"), iso).expect("written");
    desk.export("disk.img", &[]).said("an ISO image");
    assert_eq!(desk.export("disk.img", &["--source-format", "raw"]).code, Some(0));
    let raw = desk.raw("other.bin", 3);
    desk.image(&raw, "other.vmdk", "qcow2", &[]);
    desk.export("other.vmdk", &[]).said("is named as vmdk, but its content is qcow2");
}

/// Leaves a VHDX open, with an entry of `session` in its log. Its header names session 7.
fn with_log(bytes: &mut [u8], session: u8) {
    let word = |bytes: &[u8], at: usize| {
        let number = bytes[at..at + 8].try_into().expect("8 bytes");
        usize::try_from(u64::from_le_bytes(number)).expect("small")
    };
    // Of the two headers the one with the higher number is valid.
    let (first, second) = (64 << 10, 128 << 10);
    let current = if word(bytes, first + 8) > word(bytes, second + 8) { first } else { second };
    bytes[current + 48..current + 64].fill(7);
    let place = word(bytes, current + 72);
    bytes[place..place + 4].copy_from_slice(b"loge");
    bytes[place + 32..place + 48].fill(session);
}

#[test]
fn a_vhdx_that_qemu_would_not_open_is_refused_at_once() {
    let changed = |change: fn(&mut Vec<u8>)| {
        let desk = Desk::new();
        let raw = desk.raw("disk.bin", 3);
        desk.image(&raw, "disk.vhdx", "vhdx", &[]);
        let mut bytes = fs::read(desk.path("disk.vhdx")).expect("readable");
        change(&mut bytes);
        fs::write(desk.path("disk.vhdx"), bytes).expect("written");
        desk
    };
    let desk = changed(|bytes| with_log(bytes, 7));
    for ended in [desk.export("disk.vhdx", &[]), desk.run(&["info", "--source", "disk.vhdx"])] {
        assert_ne!(ended.code, Some(0), "{}", ended.stderr);
        ended.said("it was copied while it was in use");
        ended.said("shut the VM down in Hyper-V");
    }
    let old = changed(|bytes| with_log(bytes, 8));
    assert_eq!(old.export("disk.vhdx", &[]).code, Some(0), "an entry of an older session");
    let large = changed(|bytes| {
        let guid = b"\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f";
        let find = |word: &[u8]| bytes.windows(word.len()).position(|found| found == word);
        let (entry, table) = (find(guid).expect("there"), find(b"metadata").expect("there"));
        let offset = u32::from_le_bytes(bytes[entry + 16..entry + 20].try_into().expect("4 bytes"));
        let place = table + usize::try_from(offset).expect("small");
        bytes[place..place + 4].copy_from_slice(&4096_u32.to_le_bytes());
    });
    let ended = large.export("disk.vhdx", &[]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    ended.said("sectors of 4096 bytes");
}
