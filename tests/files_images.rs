//! VMs that come as bare disk images, or as a folder of VMware Workstation.

mod support;

use std::fs;
use std::path::Path;

use support::files::Desk;

/// Formats and subformats as `qemu-img` writes them, with the ending of their names.
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
        // Data on both sides of where the second file begins.
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
    ended.said("it is no qcow2");
    assert_eq!(desk.export("disk", &["--source-format", "raw"]).code, Some(0));
    desk.assert_disk(0, &raw);
}

#[test]
fn flags_for_files_do_not_go_with_vsphere() {
    let desk = Desk::new();
    let ended = desk.run(&["--url", "vc", "--vm", "web01", "--memory", "4G"]);
    assert_eq!(ended.code, Some(2));
    ended.said("--memory is for files");
}

/// A VM as Workstation lays it down.
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
