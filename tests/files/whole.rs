//! Truncated images are rejected, wherever they are stored.

use std::fs;

use crate::support::files::{Desk, Form, Ovf, pack, packed};

/// Formats that `qemu-img` writes, with their file extensions. Truncation of a raw image cannot be
/// detected.
const IMAGES: [(&str, &str, &[&str]); 9] = [
    ("vmdk", "vmdk", &["subformat=streamOptimized"]),
    ("vmdk", "vmdk", &["subformat=monolithicSparse"]),
    ("qcow2", "qcow2", &[]),
    ("qcow2", "qcow2", &["extended_l2=on"]),
    ("vpc", "vhd", &["subformat=dynamic,force_size=on"]),
    ("vpc", "vhd", &["subformat=fixed,force_size=on"]),
    ("vhdx", "vhdx", &["subformat=dynamic"]),
    ("vdi", "vdi", &[]),
    ("vdi", "vdi", &["static=on"]),
];

#[test]
fn an_image_that_was_cut_off_is_refused() {
    for (format, ending, options) in IMAGES {
        let desk = Desk::new();
        let raw = desk.raw("disk.raw", 7);
        let name = format!("disk1.{ending}");
        let path = desk.image(&raw, &name, format, options);
        let whole = fs::read(&path).expect("readable");
        // A small part, half, nearly all, and all of the image is missing.
        for length in [whole.len() - 70_000, whole.len() / 2, 3000, 300, 0] {
            let of = format!("{format} {options:?} {length}");
            let cut = &whole[..length];
            fs::write(&path, cut).expect("written");
            let ended = desk.export(&name, &[]);
            assert!(matches!(ended.code, Some(1 | 4)), "{of}: {}", ended.stderr);
            ended.said(&name);
            assert_eq!(desk.files("out"), [""; 0], "{of}");
            let mut ovf = Ovf::one(&name, 7);
            ovf.disks = ovf.disks.replace("http://www.vmware.com/", "").replace("vmdk.html", "");
            for form in [Form::Folder, Form::Tar] {
                let files = [packed("vm.ovf", ovf.text()), packed(&name, cut)];
                let ended = desk.export(pack(&desk, form, &files).to_str().expect("UTF-8"), &[]);
                assert!(matches!(ended.code, Some(1 | 4)), "{of} {form:?}: {}", ended.stderr);
                ended.said(&name);
                assert_eq!(desk.files("out"), [""; 0], "{of} {form:?}");
            }
        }
    }
}

/// Compressed clusters may be at any offset, and the last one ends with the file.
#[test]
fn a_compressed_qcow2_is_taken_or_refused_as_it_deserves() {
    let desk = Desk::new();
    let raw = desk.raw("disk.raw", 7);
    let compressed = desk.path("disk.qcow2");
    let mut command = std::process::Command::new("qemu-img");
    command.args(["convert", "-c", "-f", "raw", "-O", "qcow2"]).arg(&raw).arg(&compressed);
    assert!(command.status().expect("qemu-img runs").success());
    let ended = desk.export("disk.qcow2", &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    desk.assert_disk(0, &raw);
    let file = fs::OpenOptions::new().write(true).open(&compressed).expect("opened");
    file.set_len(file.metadata().expect("known").len() - 100_000).expect("cut");
    let ended = desk.run(&["--source", "disk.qcow2", "--output", "again"]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    ended.said("it is cut off");
}

/// A qcow2 that was enlarged, shrunk and given snapshots is complete according to its tables.
#[test]
fn an_image_with_a_past_is_whole() {
    let desk = Desk::new();
    let raw = desk.raw("disk.raw", 7);
    let path = desk.image(&raw, "disk.qcow2", "qcow2", &["cluster_size=4096"]);
    let qemu_img = |args: &[&str]| {
        let mut command = std::process::Command::new("qemu-img");
        assert!(command.args(args).arg(&path).status().expect("qemu-img runs").success());
    };
    qemu_img(&["snapshot", "-c", "before"]);
    let io = std::process::Command::new("qemu-io")
        .args(["-f", "qcow2", "-c", "write -P 3 1M 2M", "-c", "discard 5M 1M"])
        .arg(&path)
        .output()
        .expect("qemu-io runs");
    assert!(io.status.success(), "{}", String::from_utf8_lossy(&io.stderr));
    qemu_img(&["snapshot", "-d", "before"]);
    assert_eq!(desk.export("disk.qcow2", &[]).code, Some(0));
}
