//! Malicious names of VMs.

use crate::support::files::{Desk, Form, Ovf, pack, packed};

/// Names that would leave their folder, break a command line, or be too long.
const NAMES: [&str; 7] = [
    "../../etc/cron.d/x",
    "/etc/passwd",
    "-rf",
    "..",
    "a\u{1f980}\u{202e}b",
    "'; rm -rf / #",
    "CON",
];

#[test]
fn a_vm_of_any_name_stays_in_its_folder() {
    let long = "\u{fc}".repeat(400);
    for name in NAMES.into_iter().chain([long.as_str()]) {
        let desk = Desk::new();
        let raw = desk.raw("disk.raw", 4);
        let vmdk = desk.image(&raw, "disk.vmdk", "vmdk", &["subformat=streamOptimized"]);
        let text = Ovf::one("disk1.vmdk", 4).text().replace("web &lt;01&gt;", name);
        let vmdk = std::fs::read(vmdk).expect("readable");
        pack(&desk, Form::Tar, &[packed("vm.ovf", text), packed("disk1.vmdk", vmdk)]);
        let ended = desk.run(&["--source", "vm.ova", "--manifest", "--json"]);
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
        let output = ended.json["output"].as_str().expect("a path").to_owned();
        let output = std::path::PathBuf::from(output);
        assert_eq!(output.parent(), Some(desk.dir.path()), "{name}");
        assert!(output.join("disk-0.vmdk").is_file(), "{name}");
    }
}

#[test]
fn files_whose_names_differ_by_case_alone_are_two() {
    for form in Form::ALL {
        let desk = Desk::new();
        let raws = [desk.raw("a.raw", 4), desk.raw("b.raw", 5)];
        let image = |raw: &std::path::Path, name| {
            let path = desk.image(raw, name, "vmdk", &["subformat=streamOptimized"]);
            std::fs::read(path).expect("readable")
        };
        let ovf = Ovf::one("Disk.vmdk", 4).and("disk.vmdk", 5);
        let files = [
            packed("vm.ovf", ovf.text()),
            packed("Disk.vmdk", image(&raws[0], "a.vmdk")),
            packed("disk.vmdk", image(&raws[1], "b.vmdk")),
        ];
        let source = pack(&desk, form, &files);
        let ended = desk.export(source.to_str().expect("UTF-8"), &[]);
        assert_eq!(ended.code, Some(0), "{form:?}: {}", ended.stderr);
        desk.assert_disk(0, &raws[0]);
        desk.assert_disk(1, &raws[1]);
    }
}
