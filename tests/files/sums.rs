//! Checksums of a package are verified in every spelling, and with every way of naming the package.

use std::fs;

use crate::support::files::{Desk, Form, Ovf, Packed, hex, pack, packed};
use crate::support::job::Ended;
use sha2::Digest;

/// Size of the disk, in MiB.
const MIB: u64 = 3;

/// Files of a package with one disk, which the descriptor calls `href`.
fn package(desk: &Desk, href: &str) -> (Packed, Packed) {
    let raw = desk.raw("disk.raw", MIB);
    let vmdk = desk.image(&raw, "disk.vmdk", "vmdk", &["subformat=streamOptimized"]);
    let name = href.replace("%20", " ");
    (packed("vm.ovf", Ovf::one(href, MIB).text()), packed(&name, fs::read(vmdk).expect("readable")))
}

/// A checksum file with a wrong checksum for `name`.
fn wrong(name: &str) -> String {
    format!("SHA256({name})= {}\n", "0".repeat(64))
}

fn refuses(ended: &Ended, of: &str) {
    assert_eq!(ended.code, Some(1), "{of}: {}", ended.stderr);
    ended.said("SHA256 checksum of ");
}

#[test]
fn a_wrong_sum_is_found_wherever_the_folder_is_named_from() {
    let desk = Desk::new();
    let (ovf, disk) = package(&desk, "disk1.vmdk");
    pack(&desk, Form::Folder, &[ovf, packed("vm.mf", wrong("disk1.vmdk")), disk]);
    for source in ["vm/vm.ovf", "vm", "vm/", "./vm/../vm/vm.ovf"] {
        refuses(&desk.export(source, &[]), source);
        assert_eq!(desk.files("out"), [""; 0], "{source}");
    }
    for source in ["vm.ovf", ".", "./vm.ovf"] {
        let mut command = desk.command(&["--source", source, "--output", "../out", "--json"]);
        command.current_dir(desk.path("vm"));
        refuses(&Ended::from(command.output().expect("it runs")), source);
    }
}

#[test]
fn sums_are_compared_however_their_file_and_its_lines_are_called() {
    for form in Form::ALL {
        for (file, href, line) in [
            ("vm.MF", "disk1.vmdk", "disk1.vmdk"),
            ("other.mf", "disk1.vmdk", "disk1.vmdk"),
            ("vm.mf", "disk1.vmdk", "./disk1.vmdk"),
            ("vm.mf", "./disk1.vmdk", "disk1.vmdk"),
            ("vm.mf", "disk%201.vmdk", "disk 1.vmdk"),
            ("vm.mf", "disk%201.vmdk", "disk%201.vmdk"),
        ] {
            let desk = Desk::new();
            let (ovf, disk) = package(&desk, href);
            let source = pack(&desk, form, &[ovf, packed(file, wrong(line)), disk]);
            let ended = desk.export(source.to_str().expect("UTF-8"), &[]);
            refuses(&ended, &format!("{form:?} {file} {href} {line}"));
        }
    }
}

#[test]
fn every_file_of_sums_beside_the_descriptor_counts() {
    let right = |bytes: &[u8]| format!("{}  disk1.vmdk\n", hex(&sha2::Sha256::digest(bytes)));
    for form in Form::ALL {
        let desk = Desk::new();
        let (ovf, disk) = package(&desk, "disk1.vmdk");
        let with = |sums: [(&str, String); 2]| {
            let sums = sums.map(|(name, text)| packed(name, text));
            let files: Vec<_> =
                [ovf.clone()].into_iter().chain(sums).chain([disk.clone()]).collect();
            pack(&desk, form, &files).to_str().expect("UTF-8").to_owned()
        };
        let good = || right(&disk.bytes);
        let source = with([("a.mf", good()), ("b.mf", wrong("disk1.vmdk"))]);
        refuses(&desk.export(&source, &[]), &format!("{form:?} none is its own"));
        let source = with([("a.mf", String::new()), ("b.mf", good())]);
        let ended = desk.export(&source, &["--fresh"]);
        assert_eq!(ended.code, Some(0), "{form:?}: {}", ended.stderr);
        assert_eq!(ended.json["warnings"], serde_json::json!([]), "{form:?}");
    }
}

#[test]
fn sums_of_another_descriptor_beside_it_do_not_count() {
    let desk = Desk::new();
    let (ovf, disk) = package(&desk, "disk1.vmdk");
    let other = packed("other.ovf", ovf.bytes.clone());
    let sums = packed("other.mf", wrong("disk1.vmdk"));
    pack(&desk, Form::Folder, &[ovf, other, sums, disk]);
    assert_eq!(desk.export("vm/vm.ovf", &[]).code, Some(0));
    fs::remove_dir_all(desk.path("out")).expect("there");
    refuses(&desk.export("vm/other.ovf", &[]), "its own");
}

#[test]
fn every_refusal_of_sums_says_how_to_do_without() {
    let many: Vec<_> = (0..17).map(|n| packed(&format!("{n}.mf"), "")).collect();
    for (files, said) in [
        (vec![packed("vm.mf", "garbage")], "has a line that is no checksum: 'garbage'"),
        (vec![packed("vm.mf", "MD5(disk1.vmdk)= 00")], "a line that is no checksum"),
        (vec![packed("vm.mf", vec![b'0'; (1 << 20) + 1])], "'vm.mf' in it is too long"),
        (many, "too many checksum files"),
    ] {
        for form in [Form::Tar, Form::TarGz, Form::Folder] {
            let desk = Desk::new();
            let (ovf, disk) = package(&desk, "disk1.vmdk");
            let all: Vec<_> = files.iter().cloned().chain([ovf, disk]).collect();
            let source = pack(&desk, form, &all).to_str().expect("UTF-8").to_owned();
            let ended = desk.export(&source, &[]);
            assert_eq!(ended.code, Some(4), "{form:?} {said}: {}", ended.stderr);
            ended.said(said);
            ended.said("--ignore-checksums");
            let ended = desk.export(&source, &["--ignore-checksums"]);
            assert_eq!(ended.code, Some(0), "{form:?} {said}: {}", ended.stderr);
            ended.said("not compared with its checksums");
        }
    }
}

#[test]
fn a_disk_of_several_files_is_compared_too() {
    for name in ["disk1.vmdk", "disk1-flat.vmdk"] {
        let desk = Desk::new();
        let raw = desk.raw("disk.raw", MIB);
        desk.image(&raw, "vm/disk1.vmdk", "vmdk", &["subformat=monolithicFlat"]);
        fs::write(desk.path("vm/vm.ovf"), Ovf::one("disk1.vmdk", MIB).text()).expect("written");
        fs::write(desk.path("vm/vm.mf"), wrong(name)).expect("written");
        let ended = desk.export("vm", &[]);
        refuses(&ended, name);
        ended.said(name);
        assert_eq!(desk.files("out"), [""; 0], "{name}");
    }
}

#[test]
fn what_has_no_sum_or_another_length_than_told_is_told() {
    for form in Form::ALL {
        let desk = Desk::new();
        let (_, disk) = package(&desk, "disk1.vmdk");
        let mut ovf = Ovf::one("disk1.vmdk", MIB);
        ovf.files = ovf.files.replace("/>", " ovf:size='12345'/>");
        let text = ovf.text();
        let sums = format!("SHA1(vm.ovf)= {}\n", hex(&sha1::Sha1::digest(&text)));
        let length = disk.bytes.len();
        let files = [packed("vm.ovf", text), packed("vm.mf", sums), disk];
        let ended = desk.export(pack(&desk, form, &files).to_str().expect("UTF-8"), &[]);
        assert_eq!(ended.code, Some(0), "{form:?}: {}", ended.stderr);
        ended.said("the package has checksums, but none of 'disk1.vmdk'");
        ended.said(&format!("has {length} bytes, and 12345 by its description"));
        let codes: Vec<_> = ended.json["warnings"].as_array().expect("a list").iter().collect();
        assert_eq!(codes[0]["code"], "sum-missing", "{form:?}");
        assert_eq!(codes[1]["code"], "size-differs", "{form:?}");
        desk.assert_disk(0, &desk.path("disk.raw"));
    }
}

fn path(path: &std::path::Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn info_compares_the_sums_of_every_file() {
    for form in Form::ALL {
        let desk = Desk::new();
        let (ovf, disk) = package(&desk, "disk1.vmdk");
        let right = |bytes: &[u8]| hex(&sha2::Sha256::digest(bytes));
        let sums = format!(
            "SHA256(vm.ovf)= {}\nSHA256(disk1.vmdk)= {}\n",
            right(&ovf.bytes),
            right(&disk.bytes)
        );
        let good = path(&pack(&desk, form, &[ovf.clone(), packed("vm.mf", sums), disk.clone()]));
        let told = desk.run(&["info", "--source", &good]);
        assert!(told.stdout.contains("1 file matches"), "{form:?}: {}{}", told.stdout, told.stderr);
        let told = desk.run(&["info", "--source", &good, "--json"]);
        assert_eq!((told.code, &told.json["checksums_compared"]), (Some(0), &serde_json::json!(1)));

        let desk = Desk::new();
        let files = [ovf, packed("vm.mf", wrong("disk1.vmdk")), disk];
        let bad = path(&pack(&desk, form, &files));
        let told = desk.run(&["info", "--source", &bad]);
        let line = told.stdout.lines().find(|line| line.starts_with("not exported as it is"));
        let line = line.unwrap_or_else(|| panic!("{form:?}: {}{}", told.stdout, told.stderr));
        assert!(line.contains("'disk1.vmdk'") && line.contains("--ignore-checksums"), "{line}");
        let passed = desk.run(&["info", "--source", &bad, "--ignore-checksums", "--json"]);
        assert_eq!(passed.json["obstacles"], serde_json::json!([]), "{}", passed.stderr);
    }
}
