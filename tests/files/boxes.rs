//! Archives that contain a VM but no OVF: Vagrant boxes for VMware, libvirt and VirtualBox, and
//! single images.

use std::fs;

use crate::support::files::{Desk, Form, Ovf, Packed, pack, packed};
use crate::support::job::Ended;
use serde_json::json;

const FORMS: [Form; 4] = [Form::Tar, Form::TarGz, Form::TarXz, Form::Zip];
/// File in the output folder besides the disks.
const MANIFEST: &str = "manifest.json";

/// Packs the files as a box, and returns its name.
fn boxed(desk: &Desk, form: Form, files: &[Packed]) -> &'static str {
    fs::rename(pack(desk, form, files), desk.path("web.box")).expect("renamed");
    "web.box"
}

/// Files that `qemu-img` makes of a raw disk, with their names.
fn vmdk(desk: &Desk, raw: &str, name: &str, kind: &str) -> Vec<(String, Vec<u8>)> {
    desk.image(&desk.path(raw), &format!("made/{name}"), "vmdk", &[&format!("subformat={kind}")]);
    let names = desk.files("made");
    let read = |name: String| (name.clone(), fs::read(desk.path("made").join(name)).expect("read"));
    let files = names.into_iter().map(read).collect();
    fs::remove_dir_all(desk.path("made")).expect("removed");
    files
}

const VMX: &str = "displayName = \"web01\"\nguestOS = \"debian12-64\"\nmemsize = \"1024\"\n\
    firmware = \"efi\"\nnvram = \"web.nvram\"\nscsi0.present = \"TRUE\"\n\
    scsi0.virtualDev = \"pvscsi\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"Disk.vmdk\"\n\
    scsi0:1.present = \"TRUE\"\nscsi0:1.fileName = \".\\data.vmdk\"\nethernet0.present = \"TRUE\"\n\
    ethernet0.address = \"00:50:56:aa:bb:01\"\nethernet0.addressType = \"static\"\n";

/// A VMware box: one disk in parts and one in a single file.
fn of_vmware(desk: &Desk, folder: &str, kinds: [&str; 2]) -> Vec<Packed> {
    desk.raw("disk.raw", 6);
    desk.raw("data.raw", 3);
    let disks = [
        vmdk(desk, "disk.raw", "disk.vmdk", kinds[0]),
        vmdk(desk, "data.raw", "data.vmdk", kinds[1]),
    ];
    let mut files = vec![
        packed("metadata.json", "{\"provider\": \"vmware_desktop\"}"),
        packed("Vagrantfile", "Vagrant.configure"),
    ];
    for (name, bytes) in disks.concat() {
        files.push(packed(&format!("{folder}{name}"), bytes));
    }
    files.push(packed(&format!("{folder}web.vmx"), VMX));
    files.push(packed(&format!("{folder}web.nvram"), "variables"));
    files
}

fn outcome(desk: &Desk, form: Form, ended: &Ended, what: &str) {
    assert_eq!(ended.code, Some(0), "{form:?} {what}: {}", ended.stderr);
    assert!(desk.files("out").iter().all(|name| !name.starts_with('.')), "{form:?} {what}");
}

#[test]
fn a_box_of_vmware_is_read_as_the_folder_that_it_was() {
    let kinds = [
        ["twoGbMaxExtentSparse", "monolithicSparse"],
        ["twoGbMaxExtentFlat", "streamOptimized"],
        ["monolithicFlat", "twoGbMaxExtentSparse"],
        ["monolithicSparse", "monolithicFlat"],
    ];
    let folders = ["", "box/", "./", "a/b/"];
    for (form, (folder, kinds)) in FORMS.into_iter().zip(folders.into_iter().zip(kinds)) {
        let what = format!("{folder} {kinds:?}");
        let desk = Desk::new();
        let files = of_vmware(&desk, folder, kinds);
        let source = boxed(&desk, form, &files);
        let info = desk.run(&["info", "--source", source, "--json"]);
        assert_eq!(info.code, Some(0), "{form:?} {what}: {}", info.stderr);
        let planned = desk.export(source, &["--dry-run"]);
        assert_eq!(planned.code, Some(0), "{form:?} {what}: {}", planned.stderr);
        let ended = desk.export(source, &[]);
        outcome(&desk, form, &ended, &what);
        desk.assert_disk(0, &desk.path("disk.raw"));
        desk.assert_disk(1, &desk.path("data.raw"));
        let manifest = desk.manifest();
        let vm = &manifest["metadata"]["hyperexport"]["source_vm"];
        assert_eq!(vm["name"], "web01", "{form:?} {what}");
        assert_eq!(vm["disks"][0]["capacity"], json!(6 << 20), "{form:?} {what}");
        assert_eq!(manifest["nics"][0]["mac"], "00:50:56:aa:bb:01", "{form:?} {what}");
        assert_eq!(manifest["vm"]["firmware"], "uefi", "{form:?} {what}");
        let nvram = fs::read_to_string(desk.path("out/source.nvram")).expect("there");
        assert_eq!(nvram, "variables", "{form:?} {what}");
    }
}

#[test]
fn a_box_of_libvirt_is_its_images() {
    for form in FORMS {
        let desk = Desk::new();
        let (first, second) = (desk.raw("disk.raw", 6), desk.raw("data.raw", 3));
        let image = |raw, name| fs::read(desk.image(raw, name, "qcow2", &[])).expect("read");
        let (first_image, second_image) = (image(&first, "a.qcow2"), image(&second, "b.qcow2"));
        let one = [
            packed("metadata.json", "{\"provider\": \"libvirt\", \"format\": \"qcow2\"}"),
            packed("Vagrantfile", "x"),
            packed("box.img", first_image.clone()),
        ];
        let several = [
            packed("./box_2.img", second_image),
            packed("./box_1.img", first_image),
            packed(
                "./metadata.json",
                "{\"disks\": [{\"format\": \"qcow2\", \"path\": \"box_1.img\"}, {\"path\": \"box_2.img\"}]}",
            ),
        ];
        for files in [&one[..], &several] {
            let desk = &desk;
            let ended = desk.export(boxed(desk, form, files), &["--fresh"]);
            outcome(desk, form, &ended, "libvirt");
            desk.assert_disk(0, &first);
            if files.len() == several.len() && files[0].name == several[0].name {
                desk.assert_disk(1, &second);
            }
            assert_eq!(desk.manifest()["source"]["vm_name"], "web", "{form:?}");
        }
    }
}

#[test]
fn the_only_image_of_an_archive_is_its_disk() {
    for form in FORMS {
        let desk = Desk::new();
        let raw = desk.raw("disk.raw", 6);
        let bytes = fs::read(&raw).expect("read");
        let source = boxed(&desk, form, &[packed("disk.raw", bytes)]);
        let ended = desk.export(source, &[]);
        outcome(&desk, form, &ended, "raw");
        assert_eq!(desk.files("out"), ["disk-0.raw", MANIFEST, "result.json"], "{form:?}");
        desk.assert_disk(0, &raw);
    }
}

#[test]
fn a_box_of_virtualbox_is_the_package_in_it() {
    for form in FORMS {
        let desk = Desk::new();
        desk.raw("disk.raw", 6);
        let mut files = vec![packed("metadata.json", "{\"provider\": \"virtualbox\"}")];
        for (_, bytes) in vmdk(&desk, "disk.raw", "d.vmdk", "streamOptimized") {
            files.push(packed("./box-disk001.vmdk", bytes));
        }
        files.push(packed("./box.ovf", Ovf::one("box-disk001.vmdk", 6).text()));
        let ended = desk.export(boxed(&desk, form, &files), &[]);
        outcome(&desk, form, &ended, "virtualbox");
        desk.assert_disk(0, &desk.path("disk.raw"));
    }
}

#[test]
fn a_box_that_lacks_something_or_holds_too_much_is_refused_at_once() {
    for form in [Form::Tar, Form::TarGz] {
        let desk = Desk::new();
        let whole = of_vmware(&desk, "", ["twoGbMaxExtentSparse", "monolithicSparse"]);
        let without = |name: &str| {
            let kept = whole.iter().filter(|file| file.name != name);
            kept.cloned().collect::<Vec<_>>()
        };
        let twice = [&whole[..], &[packed("other.vmx", VMX)]].concat();
        let odd: Vec<_> = whole
            .iter()
            .map(|file| match file.name.as_str() {
                "data.vmdk" => packed("data.vmdk", "no image"),
                _ => file.clone(),
            })
            .collect();
        for (files, said) in [
            (without("disk-s001.vmdk"), "'disk-s001.vmdk', which belongs to its VM, is not in it"),
            (without("data.vmdk"), "'data.vmdk', which belongs to its VM, is not in it"),
            (twice, "it contains several VMs: other.vmx, web.vmx"),
            (odd, "'data.vmdk' in it is not a VMDK"),
        ] {
            let ended = desk.export(boxed(&desk, form, &files), &[]);
            assert_eq!(ended.code, Some(4), "{form:?} {said}: {}", ended.stderr);
            ended.said(said);
            assert_eq!(desk.files("out"), [""; 0], "{form:?} {said}");
        }
    }
}
