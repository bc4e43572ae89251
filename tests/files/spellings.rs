//! Packages whose files are named, split, encoded or placed differently from their descriptor.

use std::fs;

use crate::support::files::{Desk, Form, Ovf, pack, packed};
use crate::support::job::Ended;

/// Size of the disks, in MiB.
const MIB: u64 = 2;

/// An image of the desk's disk.
fn image(desk: &Desk, format: &str) -> Vec<u8> {
    let raw = desk.raw("disk.raw", MIB);
    if format == "raw" {
        return fs::read(raw).expect("readable");
    }
    let options: &[&str] = if format == "vmdk" { &["subformat=streamOptimized"] } else { &[] };
    let path = desk.image(&raw, &format!("disk.{format}"), format, options);
    fs::read(path).expect("readable")
}

fn taken(desk: &Desk, source: &std::path::Path, args: &[&str], of: &str) -> Ended {
    let ended = desk.export(source.to_str().expect("UTF-8"), args);
    assert_eq!(ended.code, Some(0), "{of}: {}", ended.stderr);
    desk.assert_disk(0, &desk.path("disk.raw"));
    ended
}

#[test]
fn files_are_found_by_the_names_that_they_have() {
    for form in [Form::Tar, Form::Zip, Form::Folder] {
        for (href, name) in [
            ("a%2fb.vmdk", "a%2fb.vmdk"),
            ("disk.vmdk", "Disk.VMDK"),
            (r".\disk.vmdk", "disk.vmdk"),
            (r"disks\disk.vmdk", "disks/disk.vmdk"),
            ("c%20d.vmdk", "c d.vmdk"),
            ("c%20d.vmdk", "C D.vmdk"),
        ] {
            let desk = Desk::new();
            let ovf = packed("vm.ovf", Ovf::one(href, MIB).text());
            let files = [ovf, packed(name, image(&desk, "vmdk"))];
            taken(&desk, &pack(&desk, form, &files), &[], &format!("{form:?} {href}"));
        }
    }
}

#[test]
fn chunks_that_nobody_counts_are_put_together_and_states_are_not() {
    for form in [Form::Tar, Form::Zip, Form::Folder] {
        let desk = Desk::new();
        let vmdk = image(&desk, "vmdk");
        let name = |n: usize| format!("disk1.vmdk.{n:09}");
        let ovf = || packed("vm.ovf", Ovf::one("disk1.vmdk", MIB).text());
        let parts = vmdk.chunks(vmdk.len().div_ceil(3)).enumerate();
        let chunks = parts.map(|(n, part)| packed(&name(n), part));
        let files: Vec<_> = [ovf()].into_iter().chain(chunks).collect();
        taken(&desk, &pack(&desk, form, &files), &[], &format!("{form:?} in chunks"));

        let desk = Desk::new();
        let other = desk.image(
            &desk.raw("other.raw", 1),
            "other.vmdk",
            "vmdk",
            &["subformat=streamOptimized"],
        );
        let other = fs::read(other).expect("readable");
        let files = [ovf(), packed(&name(0), other), packed(&name(1), image(&desk, "vmdk"))];
        taken(&desk, &pack(&desk, form, &files), &[], &format!("{form:?} in states"));
    }
}

#[test]
fn images_of_ovirt_are_what_they_begin_as() {
    for (format, exported) in [("qcow2", "qcow2"), ("raw", "raw")] {
        for uri in ["http://www.gnome.org/~markmc/qcow-image-format.html", "vmdk.html#sparse"] {
            let mut ovf = Ovf::one("6f1c2a1e", MIB);
            let told = format!("ovf:volume-format='RAW' ovf:format='{uri}' ovf:parentRef=''");
            let from = ovf.disks.find("ovf:format=").expect("there");
            ovf.disks = format!("{}{told}/>", &ovf.disks[..from]);
            for form in [Form::Tar, Form::Folder] {
                let desk = Desk::new();
                let disk = packed("6f1c2a1e", image(&desk, format));
                let source = pack(&desk, form, &[packed("vm.ovf", ovf.text()), disk]);
                taken(&desk, &source, &[], &format!("{form:?} {uri}"));
                assert_eq!(desk.manifest()["disks"][0]["source_format"], exported, "{uri}");
            }
        }
    }
}

#[test]
fn variables_that_a_package_names_and_lacks_are_missed_and_told() {
    for form in Form::ALL {
        let desk = Desk::new();
        let mut ovf = Ovf::one("disk1.vmdk", MIB);
        ovf.files += "<File ovf:href='vm.nvram' ovf:id='file2'/>";
        ovf.items += "<vmw:Config vmw:key='firmware' vmw:value='efi'/>\
                      <vmw:ExtraConfig vmw:key='nvram' vmw:value='ovf:/file/file2'/>";
        let files = [packed("vm.ovf", ovf.text()), packed("disk1.vmdk", image(&desk, "vmdk"))];
        let ended = taken(&desk, &pack(&desk, form, &files), &[], &format!("{form:?}"));
        assert_eq!(ended.codes(), ["nvram-not-exported"], "{form:?}");
        ended.said("keys enrolled by hand");
    }
}

#[test]
fn the_only_vm_below_a_folder_is_taken_and_told() {
    let desk = Desk::new();
    let text = || Ovf::one("disk1.vmdk", MIB).text();
    let vmdk = image(&desk, "vmdk");
    let files = [packed("web/web.ovf", text()), packed("web/disk1.vmdk", &vmdk[..])];
    let stick = pack(&desk, Form::Folder, &files);
    let ended = taken(&desk, &stick, &[], "one");
    assert_eq!(ended.codes(), ["found-below"]);
    ended.said("web/web.ovf");
    pack(&desk, Form::Folder, &[packed("db/db.ovf", text())]);
    let ended = desk.export("vm", &["--fresh"]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    ended.said("several VMs in it: name one of them: db/db.ovf, web/web.ovf");
}

#[test]
fn a_number_of_cpus_that_makes_no_sense_is_asked_for() {
    let desk = Desk::new();
    let at = |text: &str| text.replace("<rasd:VirtualQuantity>4</rasd:VirtualQuantity>", "");
    let files = [
        packed("vm.ovf", at(&Ovf::one("disk1.vmdk", MIB).text())),
        packed("disk1.vmdk", image(&desk, "vmdk")),
    ];
    let source = pack(&desk, Form::Tar, &files);
    let ended = desk.export("vm.ova", &[]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    ended.said("its number of CPUs makes no sense: say it by --cpu");
    assert_eq!(desk.run(&["list", "--source", "vm.ova"]).code, Some(0));
    taken(&desk, &source, &["--cpu", "3"], "told");
    let vm = &desk.manifest()["metadata"]["hyperexport"]["source_vm"];
    assert_eq!(vm["cpu"]["vcpus"], 3);
}

#[test]
fn of_several_vms_of_one_name_the_id_says_which() {
    let desk = Desk::new();
    let text = Ovf::one("disk1.vmdk", MIB).text();
    let (head, rest) = text.split_once("<VirtualSystem ").expect("a system");
    let (system, _) = rest.split_once("</VirtualSystem>").expect("a system");
    let systems = ["web01", "web02"].map(|id| {
        let system = system.replace("web01", id).replace("web &lt;01&gt;", "web01");
        format!("<VirtualSystem {system}</VirtualSystem>")
    });
    let text = format!(
        "{head}<VirtualSystemCollection ovf:id='app'>{}</VirtualSystemCollection></Envelope>",
        systems.concat()
    );
    let files = [packed("vm.ovf", text), packed("disk1.vmdk", image(&desk, "vmdk"))];
    let source = pack(&desk, Form::Tar, &files);
    let ended = desk.export("vm.ova", &[]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    ended.said("contains several VMs: 'web01' (id 'web01'), 'web01' (id 'web02')");
    for id in ["web01", "web02"] {
        fs::remove_dir_all(desk.path("out")).ok();
        taken(&desk, &source, &["--vm", id], id);
        let told = desk.manifest()["source"]["vm_id"].as_str().expect("an id").to_owned();
        assert!(told.ends_with(&format!("#{id}")), "{told}");
    }
}
