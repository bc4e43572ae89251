//! The content hash: one disk has the same hash in every format, another program computes the same
//! hash, and a conversion that changes a byte is rejected.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::files::{Desk, Form, Ovf, gzip, pack, packed};
use crate::support::job::read_json;

/// Size of the disks, in MiB: two full blocks of the hash, one of them a hole, and a short one.
const MIB: u64 = 10;
const CONVERT: [&str; 5] =
    ["--pipeline", "--converter", "native", "--pipeline-fix=false", "--pipeline-inspect=false"];
/// Formats that `qemu-img` writes, with their file extensions.
const IMAGES: [(&str, &str, &[&str]); 12] = [
    ("raw", "raw", &[]),
    ("qcow2", "qcow2", &[]),
    ("qcow2", "qcow2", &["cluster_size=4096"]),
    ("qcow2", "qcow2", &["compat=0.10"]),
    ("vmdk", "vmdk", &["subformat=streamOptimized"]),
    ("vmdk", "vmdk", &["subformat=monolithicSparse"]),
    ("vmdk", "vmdk", &["subformat=twoGbMaxExtentSparse"]),
    ("vpc", "vhd", &["subformat=dynamic,force_size=on"]),
    ("vpc", "vhd", &["subformat=fixed,force_size=on"]),
    ("vhdx", "vhdx", &["subformat=dynamic"]),
    ("vhdx", "vhdx", &["subformat=dynamic,block_size=1048576"]),
    ("vdi", "vdi", &[]),
];

/// A disk with data at both ends and in the middle of a block, and a block of zeros.
fn disk(desk: &Desk) -> std::path::PathBuf {
    let raw = desk.raw("disk.raw", MIB);
    let file = OpenOptions::new().write(true).open(&raw).expect("opened");
    file.write_all_at(&vec![0; 4 << 20], 4 << 20).expect("written");
    file.write_all_at(&[7; 512], (MIB << 20) - 512).expect("written");
    raw
}

/// Hash by the program in the documentation.
fn by_the_documentation(desk: &Desk, raw: &Path) -> String {
    let text = include_str!("../../docs/proof.md");
    let program = text.split("```python").nth(1).and_then(|text| text.split("```").next());
    fs::write(desk.path("content.py"), program.expect("a program")).expect("written");
    let mut python = Command::new("python3");
    let output = python.arg(desk.path("content.py")).arg(raw).output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    said.split_whitespace().next().expect("a hash").to_owned()
}

fn content(desk: &Desk) -> Value {
    let of_manifest = desk.manifest()["metadata"]["hyperexport"]["content"]["disk-0"].clone();
    let result = read_json(&desk.path("out/result.json"));
    assert_eq!(result["disks"][0]["content"], of_manifest, "{result}");
    of_manifest
}

#[test]
fn a_disk_has_one_content_hash_in_every_format() {
    let desk = Desk::new();
    let raw = disk(&desk);
    let expected = by_the_documentation(&desk, &raw);
    for (format, ending, options) in IMAGES {
        let what = format!("{format} {options:?}");
        let name = format!("image.{ending}");
        let image = desk.image(&raw, &format!("in/{name}"), format, options);
        let ended = desk.export(image.to_str().expect("UTF-8"), &CONVERT);
        assert_eq!(ended.code, Some(0), "{what}: {}", ended.stderr);
        assert_eq!(content(&desk), *expected, "{what}");
        let result = read_json(&desk.path("out/result.json"));
        let proof = &result["proof"]["disks"][0];
        assert_eq!(proof["exported"], *expected, "{what}: {result}");
        assert_eq!(proof["result"], *expected, "{what}");
        assert_eq!(proof.get("changed"), None, "{what}");
        assert_eq!(read_json(&desk.path("out/report.json"))["proof"], result["proof"], "{what}");
        for folder in ["in", "out"] {
            fs::remove_dir_all(desk.path(folder)).expect("removed");
        }
    }
}

#[test]
fn compressed_clusters_and_packed_disks_have_the_same_content_hash() {
    let desk = Desk::new();
    let raw = disk(&desk);
    let expected = by_the_documentation(&desk, &raw);
    for kind in ["zlib", "zstd"] {
        let option = format!("compression_type={kind}");
        let mut command = Command::new("qemu-img");
        command.args(["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", &option]).arg(&raw);
        command.arg(desk.path("packed.qcow2"));
        assert!(command.status().expect("qemu-img runs").success());
        let ended = desk.export("packed.qcow2", &CONVERT);
        assert_eq!(ended.code, Some(0), "{kind}: {}", ended.stderr);
        assert_eq!(content(&desk), *expected, "{kind}");
        fs::remove_dir_all(desk.path("out")).expect("removed");
    }
    let stream = desk.image(&raw, "of-qemu.vmdk", "vmdk", &["subformat=streamOptimized"]);
    let stream = fs::read(stream).expect("readable");
    for (stream_convert, is_gzip) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut ovf = Ovf::one("disk1.vmdk", MIB);
        let bytes = if is_gzip {
            ovf.files = ovf.files.replace("/>", " ovf:compression='gzip'/>");
            gzip(&stream)
        } else {
            stream.clone()
        };
        let files = [packed("vm.ovf", ovf.text()), packed("disk1.vmdk", bytes)];
        let source = pack(&desk, Form::Tar, &files);
        let choice = format!("--stream-convert={stream_convert}");
        let args = [&CONVERT[..], &[choice.as_str()]].concat();
        let ended = desk.export(source.to_str().expect("UTF-8"), &args);
        let what = format!("{choice}, gzip: {is_gzip}");
        assert_eq!(ended.code, Some(0), "{what}: {}", ended.stderr);
        assert_eq!(content(&desk), *expected, "{what}");
        let result = read_json(&desk.path("out/result.json"));
        assert_eq!(result["proof"]["disks"][0]["result"], *expected, "{what}: {result}");
        fs::remove_dir_all(desk.path("out")).expect("removed");
    }
}

/// Images with unknown features are exported and converted nevertheless.
#[test]
fn an_image_with_unknown_features_is_converted_with_a_warning() {
    let desk = Desk::new();
    let raw = disk(&desk);
    let image = desk.image(&raw, "image.qcow2", "qcow2", &["extended_l2=on"]);
    let ended = desk.export(image.to_str().expect("UTF-8"), &CONVERT);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let result = read_json(&desk.path("out/result.json"));
    let warnings = result["warnings"].as_array().expect("warnings");
    let codes: Vec<_> = warnings.iter().map(|warning| &warning["code"]).collect();
    assert!(codes.iter().any(|code| **code == "content-not-compared"), "{codes:?}");
    assert_eq!(result["proof"]["disks"].as_array().map(Vec::len), Some(0), "{result}");
}

/// A `qemu-img` that writes other data than it read.
#[test]
fn a_conversion_that_changes_a_byte_is_refused() {
    let desk = Desk::new();
    let raw = disk(&desk);
    let expected = by_the_documentation(&desk, &raw);
    let image = desk.image(&raw, "image.vhdx", "vhdx", &[]);
    let path = std::env::var("PATH").expect("a PATH");
    let real = path.split(':').map(|folder| format!("{folder}/qemu-img"));
    let real = real.into_iter().find(|path| Path::new(path).exists()).expect("qemu-img");
    let program = format!(
        "#!/bin/sh\n{real} \"$@\" || exit\n[ \"$1\" = convert ] || exit 0\nfor last; do :; done\n\
         exec qemu-io -f qcow2 -c 'write -P 9 5M 512' \"$last\" >/dev/null\n"
    );
    fs::create_dir(desk.path("bin")).expect("made");
    fs::write(desk.path("bin/qemu-img"), program).expect("written");
    fs::set_permissions(desk.path("bin/qemu-img"), Permissions::from_mode(0o755)).expect("set");
    let source = image.to_str().expect("UTF-8");
    let whole = ["--source", source, "--output", "out", "--manifest", "--json", "--strict"];
    let mut command = desk.command(&[&whole[..], &CONVERT].concat());
    command.env("PATH", format!("{}:{path}", desk.path("bin").display()));
    let output = command.output().expect("hyperexport runs");
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let result = read_json(&desk.path("out/result.json"));
    let error = &result["errors"][0];
    assert_eq!(error["code"], "content-differs", "{result}");
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("disk-0") && message.contains(&expected), "{message}");
    assert_eq!(result.get("converted"), None, "{result}");
    assert!(!desk.path("out/image.qcow2").exists());
}

/// Without a domain, `verify` checks the converted images.
#[test]
fn converted_images_are_verified_until_they_are_written_to() {
    let desk = Desk::new();
    let raw = disk(&desk);
    let expected = by_the_documentation(&desk, &raw);
    let image = desk.image(&raw, "image.vmdk", "vmdk", &["subformat=streamOptimized"]);
    let ended = desk.export(image.to_str().expect("UTF-8"), &CONVERT);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let verify = ["verify", "--result", "out/result.json"];
    let ended = desk.run(&[&verify[..], &["--json"]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.json["disks"][0]["exported"], *expected, "{}", ended.stdout);

    // A result about another export does not match the image.
    let path = desk.path("out/result.json");
    let text = fs::read_to_string(&path).expect("readable");
    fs::write(&path, text.replace(&expected, &"0".repeat(64))).expect("written");
    let ended = desk.run(&verify);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    ended.said(&expected);
    fs::write(&path, text).expect("written");

    let result = desk.path("out/image.qcow2");
    let mut io = Command::new("qemu-io");
    let io = io.args(["-f", "qcow2", "-c", "write -P 3 1M 512"]).arg(&result).output();
    assert!(io.expect("qemu-io runs").status.success());
    let ended = desk.run(&verify);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    ended.said("was written to since the run");

    let ended = desk.run(&["verify", "--result", "disk.raw"]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    fs::remove_dir_all(desk.path("out")).expect("removed");
    assert_eq!(desk.export(image.to_str().expect("UTF-8"), &[]).code, Some(0));
    let ended = desk.run(&verify);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    ended.said("has no proof");
}

/// Length and modification time can easily be unchanged.
#[test]
fn a_converted_disk_that_has_changed_is_not_reused() {
    let desk = Desk::new();
    let raw = disk(&desk);
    let expected = by_the_documentation(&desk, &raw);
    let image = desk.image(&raw, "image.vmdk", "vmdk", &["subformat=streamOptimized"]);
    let args = [&CONVERT[..], &["--pipeline-compress=false"]].concat();
    let export = || desk.export(image.to_str().expect("UTF-8"), &args);
    let ended = export();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.json["converted"][0]["content"], *expected, "{}", ended.stdout);
    let again = export();
    assert_eq!(again.json["already_done"], true, "{}", again.stdout);

    let result = desk.path("out/image.qcow2");
    let before = result.metadata().expect("there");
    let mut io = Command::new("qemu-io");
    // In a range with data, so that the image needs no further cluster.
    let write = format!("write -P 3 {} 512", (MIB << 20) - 512);
    let io = io.args(["-f", "qcow2", "-c", &write]).arg(&result).output();
    assert!(io.expect("qemu-io runs").status.success());
    let file = fs::File::open(&result).expect("opened");
    file.set_modified(before.modified().expect("a time")).expect("set");
    assert_eq!(result.metadata().expect("there").len(), before.len());
    let ended = export();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_eq!(ended.json["errors"][0]["code"], "converted-changed", "{}", ended.stdout);
    ended.said("image.qcow2");
    ended.said("--fresh");
    assert_eq!(ended.stage("export"), "failed");

    // An earlier version recorded only the proof.
    let path = desk.path("out/result.json");
    let mut told = read_json(&path);
    told["converted"][0].as_object_mut().expect("a disk").remove("content");
    fs::write(&path, told.to_string()).expect("written");
    let ended = export();
    assert_eq!(ended.json["errors"][0]["code"], "converted-changed", "{}", ended.stdout);
}

/// A VMDK of several files from another program's manifest has no content hash yet.
#[test]
fn a_vmdk_of_several_files_is_compared_before_fix() {
    let desk = Desk::new();
    let raw = disk(&desk);
    let expected = by_the_documentation(&desk, &raw);
    for (form, subformat) in [("sparse", "twoGbMaxExtentSparse"), ("flat", "twoGbMaxExtentFlat")] {
        assert_eq!(desk.export("disk.raw", &[]).code, Some(0));
        let options = [format!("subformat={subformat}")];
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        let image = desk.image(&raw, &format!("{form}/foreign.vmdk"), "vmdk", &options);
        let mut manifest = desk.manifest();
        manifest["metadata"]["hyperexport"].as_object_mut().expect("ours").remove("content");
        let disk = manifest["disks"][0].as_object_mut().expect("a disk");
        disk.remove("checksum");
        disk.insert("local_path".to_owned(), image.to_str().expect("UTF-8").into());
        disk.insert("source_format".to_owned(), "vmdk".into());
        disk.insert("bytes".to_owned(), image.metadata().expect("there").len().into());
        let path = desk.path(&format!("{form}/manifest.json"));
        fs::write(&path, manifest.to_string()).expect("written");
        let path = path.to_str().expect("UTF-8");
        let ended =
            desk.run(&[&["convert", "--json", "--manifest", path][..], &CONVERT[1..]].concat());
        assert_eq!(ended.code, Some(0), "{subformat}: {}", ended.stderr);
        let proof = &ended.json["proof"]["disks"][0];
        assert_eq!(proof["exported"], *expected, "{subformat}: {}", ended.stdout);
        assert!(!ended.codes().contains(&"content-not-compared"), "{subformat}: {}", ended.stdout);
        fs::remove_dir_all(desk.path("out")).expect("removed");
    }
}
