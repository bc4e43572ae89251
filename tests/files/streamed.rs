//! Disks of a package that are converted while they are read: no file of their original format is
//! ever written, the bytes are right, and the checksums of both forms are known.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::rewriting::{HOST_CAPACITY, host_disk, host_stream};
use crate::support::files::{
    Desk, Form, Ovf, Packed, gzip, hex, item, modified, pack, packed, set_apart, write_uuid,
};
use crate::support::job::{Ended, assert_same_disk, on_small_disk};
use serde_json::{Value, json};
use sha2::Digest;

/// Size of the disks here, in MiB.
const MIB: u64 = 6;
/// A conversion of disks without an operating system.
const CONVERT: [&str; 5] =
    ["--pipeline", "--converter", "native", "--pipeline-fix=false", "--pipeline-inspect=false"];
const ARCHIVES: [Form; 4] = [Form::Tar, Form::TarGz, Form::TarXz, Form::Zip];
/// Files that are left if all disks were converted while they were read.
const LEFT: [&str; 4] = ["manifest.json", "report.json", "result.json", "web <01>.qcow2"];

fn package(desk: &Desk) -> (Ovf, Vec<u8>) {
    let raw = desk.raw("disk.raw", MIB);
    (Ovf::one("disk1.vmdk", MIB), vmdk(desk, &raw, "streamOptimized"))
}

fn vmdk(desk: &Desk, raw: &Path, kind: &str) -> Vec<u8> {
    let path = desk.image(raw, "of-qemu.vmdk", "vmdk", &[&format!("subformat={kind}")]);
    let bytes = fs::read(&path).expect("readable");
    fs::remove_file(path).expect("removed");
    bytes
}

fn sum(bytes: &[u8]) -> String {
    hex(&sha2::Sha256::digest(bytes))
}

fn convert(desk: &Desk, source: &Path, args: &[&str]) -> Ended {
    desk.export(source.to_str().expect("UTF-8"), &[&CONVERT[..], args].concat())
}

fn received(desk: &Desk, disk: &str) -> Value {
    desk.manifest()["metadata"]["hyperexport"]["received"][disk].clone()
}

/// Asserts that the only disk was converted while it was read from `stream`, and that no other file
/// exists.
fn assert_streamed(desk: &Desk, raw: &Path, format: &str, stream: &[u8], what: &str) {
    assert_eq!(desk.files("out"), LEFT, "{what}");
    desk.assert_disk(0, raw);
    let told = json!({"format": format, "bytes": stream.len(), "sha256": sum(stream)});
    assert_eq!(received(desk, "disk-0"), told, "{what}");
    assert_eq!(desk.manifest()["disks"][0]["source_format"], "qcow2", "{what}");
}

fn assert_nothing(desk: &Desk, ended: &Ended, code: i32, what: &str) {
    assert_eq!(ended.code, Some(code), "{what}: {}", ended.stderr);
    assert_eq!(desk.files("out"), [""; 0], "{what}: {}", ended.stderr);
}

#[test]
fn disks_of_every_archive_are_converted_while_they_are_read() {
    for form in ARCHIVES {
        let places =
            if form == Form::Tar { &["front", "end", "nowhere"][..] } else { &["front", "end"] };
        for sums_at in places {
            let desk = Desk::new();
            let (ovf, vmdk) = package(&desk);
            let mf = packed("vm.mf", format!("SHA256(disk1.vmdk)= {}\n", sum(&vmdk)));
            let mut files = vec![packed("vm.ovf", ovf.text()), packed("disk1.vmdk", &vmdk[..])];
            match *sums_at {
                "front" => files.insert(0, mf),
                "end" => files.push(mf),
                _ => {}
            }
            let what = format!("{form:?}, sums {sums_at}");
            let source = pack(&desk, form, &files);
            let ended = convert(&desk, &source, &[]);
            assert_eq!(ended.code, Some(0), "{what}: {}", ended.stderr);
            assert_eq!(ended.json["warnings"], json!([]), "{what}");
            assert_streamed(&desk, &desk.path("disk.raw"), "vmdk", &vmdk, &what);
            if *sums_at == "end" {
                let again = convert(&desk, &source, &[]);
                assert_eq!(again.json["already_done"], true, "{what}: {}", again.stderr);
            }
        }
    }
}

#[test]
fn a_wrong_sum_leaves_nothing_wherever_it_stands() {
    for form in ARCHIVES {
        for at_end in [false, true] {
            let desk = Desk::new();
            let (ovf, vmdk) = package(&desk);
            let mf = packed("vm.mf", format!("SHA1(disk1.vmdk)= {}\n", "0".repeat(40)));
            let disk = packed("disk1.vmdk", &vmdk[..]);
            let text = packed("vm.ovf", ovf.text());
            let files = if at_end { [text, disk, mf] } else { [text, mf, disk] };
            let source = pack(&desk, form, &files);
            let ended = convert(&desk, &source, &[]);
            assert_nothing(&desk, &ended, 1, &format!("{form:?} {at_end}"));
            ended.said("SHA1 checksum of ");
            ended.said("--ignore-checksums");
        }
    }
}

#[test]
fn disks_packed_once_more_and_in_chunks_are_converted_too() {
    for form in Form::ALL {
        for chunk in [usize::MAX, 300_000] {
            let desk = Desk::new();
            let (mut ovf, vmdk) = package(&desk);
            let zipped = gzip(&vmdk);
            let parts: Vec<&[u8]> = zipped.chunks(chunk).collect();
            let is_whole = parts.len() == 1;
            let size = if is_whole { String::new() } else { format!("ovf:chunkSize='{chunk}'") };
            ovf.files = format!(
                "<File ovf:id='file1' ovf:href='disk1.vmdk.gz' ovf:compression='gzip' \
                 ovf:size='{}' {size}/>",
                zipped.len()
            );
            let mut files = vec![packed("vm.ovf", ovf.text())];
            for (n, part) in parts.iter().enumerate() {
                let name = if is_whole { String::new() } else { format!(".{n:09}") };
                files.push(packed(&format!("disk1.vmdk.gz{name}"), *part));
            }
            let mf: Vec<_> =
                files.iter().map(|f| format!("SHA256({})= {}\n", f.name, sum(&f.bytes))).collect();
            files.push(packed("vm.mf", mf.concat()));
            let what = format!("{form:?} in {} parts", parts.len());
            let ended = convert(&desk, &pack(&desk, form, &files), &[]);
            assert_eq!(ended.code, Some(0), "{what}: {}", ended.stderr);
            assert_streamed(&desk, &desk.path("disk.raw"), "vmdk", &zipped, &what);
        }
    }
}

#[test]
fn raw_disks_are_converted_and_their_length_counts() {
    for form in [Form::Tar, Form::TarGz] {
        // Capacity in the descriptor: right, too small, too large, and missing.
        for (told, gz) in [(MIB, false), (MIB, true), (MIB - 1, false), (MIB + 9, true), (0, true)]
        {
            let desk = Desk::new();
            let raw = desk.raw("disk.raw", MIB);
            let bytes = fs::read(&raw).expect("readable");
            let stored = if gz { gzip(&bytes) } else { bytes };
            let mut ovf = Ovf::one("disk1.img", told);
            ovf.disks = ovf.disks.replace("vmdk.html#streamOptimized", "");
            if told == 0 {
                ovf.disks = ovf.disks.replace("ovf:capacity='0'", "");
            }
            if gz {
                ovf.files = ovf.files.replace("/>", " ovf:compression='gzip'/>");
            }
            let files = [packed("vm.ovf", ovf.text()), packed("disk1.img", &stored[..])];
            let what = format!("{form:?} of {told} MiB, gzip {gz}");
            let ended = convert(&desk, &pack(&desk, form, &files), &["--source-format", "raw"]);
            assert_eq!(ended.code, Some(0), "{what}: {}", ended.stderr);
            assert_streamed(&desk, &raw, "raw", &stored, &what);
            let differs = ended.stderr.contains("by its image and ");
            assert_eq!(differs, told != MIB && told != 0, "{what}: {}", ended.stderr);
        }
    }
}

#[test]
fn disks_that_are_no_streams_are_exported_first() {
    for form in ARCHIVES {
        let desk = Desk::new();
        let (ovf, stream) = package(&desk);
        let second = desk.raw("second.raw", 3);
        let sparse = vmdk(&desk, &second, "monolithicSparse");
        let ovf = ovf.and("disk2.vmdk", 3);
        let files = [
            packed("vm.ovf", ovf.text()),
            packed("disk1.vmdk", &stream[..]),
            packed("disk2.vmdk", sparse),
        ];
        let source = pack(&desk, form, &files);
        let planned = convert(&desk, &source, &["--dry-run"]);
        let plan = planned.json["plan"].to_string();
        assert!(plan.contains("web <01>.qcow2, converted while it is read"), "{form:?}: {plan}");
        assert!(plan.contains("disk-1.vmdk"), "{form:?}: {plan}");
        let ended = convert(&desk, &source, &[]);
        assert_eq!(ended.code, Some(0), "{form:?}: {}", ended.stderr);
        let left = [&["disk-1.vmdk"], &LEFT[..3], &["web <01>-disk-1.qcow2"], &LEFT[3..]].concat();
        assert_eq!(desk.files("out"), left, "{form:?}");
        desk.assert_disk(0, &desk.path("disk.raw"));
        desk.assert_disk(1, &second);
        assert_eq!(received(&desk, "disk-1"), Value::Null, "{form:?}");
        let result = desk.path("out/web <01>-disk-1.qcow2");
        assert_same_disk((&second, "raw"), (&result, "qcow2"));
        let again = convert(&desk, &source, &[]);
        assert_eq!(again.json["already_done"], true, "{form:?}: {}", again.stderr);

        // An explicit request is refused: at once if the archive reveals the problem quickly.
        let asked = ["--stream-convert=true", "--fresh"];
        let ended = convert(&desk, &source, &asked);
        let early = matches!(form, Form::Tar | Form::Zip);
        assert_eq!(ended.code, Some(if early { 4 } else { 1 }), "{form:?}: {}", ended.stderr);
        ended.said("it is not a streamOptimized VMDK");
        assert_eq!(ended.json["errors"][0]["code"], "not-streamable", "{}", ended.stdout);
        assert_eq!(desk.files("out"), left, "{form:?}: the old export stays");
    }
}

#[test]
fn what_cannot_be_streamed_is_refused_if_it_was_asked_for() {
    let desk = Desk::new();
    let (ovf, vmdk) = package(&desk);
    let files = [packed("vm.ovf", ovf.text()), packed("disk1.vmdk", &vmdk[..])];
    let ova = pack(&desk, Form::Tar, &files);
    let folder = pack(&desk, Form::Folder, &files);
    let image = desk.path("vm/disk1.vmdk");
    let hyper2kvm = ["--pipeline", "--converter", "hyper2kvm"];
    for (source, args, why) in [
        (&ova, &[][..], "nothing is converted without --pipeline"),
        (&ova, &hyper2kvm, "complete files only"),
        (&ova, &[&CONVERT[..], &["--format", "ovf"]].concat(), "made of VMDKs"),
        (&folder, &CONVERT, "disk-0: it lies there as it is"),
        (&image, &CONVERT, "disk-0: it lies there as it is"),
    ] {
        let args = [args, &["--stream-convert=true"]].concat();
        let ended = desk.export(source.to_str().expect("UTF-8"), &args);
        assert_nothing(&desk, &ended, 4, why);
        ended.said(why);
    }
    let ended = convert(&desk, &folder, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(received(&desk, "disk-0"), Value::Null);
}

#[test]
fn vmdks_stay_where_they_are_wanted_and_make_way_for_a_new_export() {
    let desk = Desk::new();
    let (ovf, vmdk) = package(&desk);
    let files = [packed("vm.ovf", ovf.text()), packed("disk1.vmdk", &vmdk[..])];
    let source = pack(&desk, Form::Tar, &files);
    let ended = convert(&desk, &source, &["--stream-convert=false"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(desk.files("out"), [&["disk-0.vmdk"], &LEFT[..]].concat());
    desk.assert_disk(0, &desk.path("disk.raw"));
    assert_eq!(received(&desk, "disk-0"), Value::Null);
    let again = convert(&desk, &source, &[]);
    assert_eq!(again.json["already_done"], true, "{}", again.stderr);
    let fresh = convert(&desk, &source, &["--fresh"]);
    assert_eq!(fresh.code, Some(0), "{}", fresh.stderr);
    assert_streamed(&desk, &desk.path("disk.raw"), "vmdk", &vmdk, "anew");
    let back = convert(&desk, &source, &["--fresh", "--stream-convert=false"]);
    assert_eq!(back.code, Some(0), "{}", back.stderr);
    assert_eq!(desk.files("out"), [&["disk-0.vmdk"], &LEFT[..]].concat());
}

#[test]
fn the_uuid_of_a_vmdk_that_is_never_written_is_kept() {
    for form in ARCHIVES {
        let desk = Desk::new();
        let (ovf, mut vmdk) = package(&desk);
        write_uuid(&mut vmdk, "60 00 C2 9d 3d 4c 50 e1-2e 1a 64 8c 0e 1e 5b 07");
        let files = [packed("vm.ovf", ovf.text()), packed("disk1.vmdk", vmdk)];
        let ended = convert(&desk, &pack(&desk, form, &files), &[]);
        assert_eq!(ended.code, Some(0), "{form:?}: {}", ended.stderr);
        let uuid = &desk.manifest()["metadata"]["hyperexport"]["source_vm"]["disks"][0]["uuid"];
        assert_eq!(uuid, "6000c29d3d4c50e12e1a648c0e1e5b07", "{form:?}");
    }
}

/// A package with one disk of [`HOST_CAPACITY`] as a host streams it.
fn of_host(vmdk: &[u8]) -> [Packed; 2] {
    let ovf = Ovf::one("disk1.vmdk", HOST_CAPACITY >> 20);
    [packed("vm.ovf", ovf.text()), packed("disk1.vmdk", vmdk)]
}

#[test]
fn grains_come_in_any_order_but_once() {
    for form in [Form::Tar, Form::TarGz] {
        let desk = Desk::new();
        let grains = [(17_000, 1), (0, 2), (8200, 3), (2, 4), (17_001, 5), (8199, 6)];
        let stream = fs::read(host_stream(desk.dir.path(), &grains)).expect("readable");
        let raw = host_disk(desk.dir.path(), &grains);
        let ended = convert(&desk, &pack(&desk, form, &of_host(&stream)), &[]);
        assert_eq!(ended.code, Some(0), "{form:?}: {}", ended.stderr);
        assert_streamed(&desk, &raw, "vmdk", &stream, "in another order");

        let desk = Desk::new();
        let twice = fs::read(host_stream(desk.dir.path(), &[(5, 1), (5, 2)])).expect("readable");
        let source = pack(&desk, form, &of_host(&twice));
        let ended = convert(&desk, &source, &[]);
        assert_nothing(&desk, &ended, 1, "twice");
        ended.said("twice");
        ended.said("--stream-convert=false");
        assert_eq!(ended.json["errors"][0]["code"], "not-streamable", "{}", ended.stdout);
    }
}

#[test]
fn streams_that_mean_harm_or_are_damaged_leave_nothing() {
    let desk = Desk::new();
    let whole = fs::read(host_stream(desk.dir.path(), &[(5, 1), (9, 2)])).expect("readable");
    let data = 128 * 512;
    let change = |at: usize, bytes: &[u8]| {
        let mut stream = whole.clone();
        stream[at..at + bytes.len()].copy_from_slice(bytes);
        stream
    };
    let parent = b"parentFileNameHint=\"/etc/shadow\"\n";
    for (name, stream, said) in [
        ("a grain beyond the disk", change(data, &(1u64 << 40).to_le_bytes()), "outside"),
        ("a grain that does not inflate", change(data + 14, &[0xff; 8]), "damaged"),
        ("a disk that is smaller", change(12, &1u64.to_le_bytes()), "outside"),
        ("a disk that is too large", change(12, &(1u64 << 50).to_le_bytes()), "too large"),
        ("a parent", change(512, parent), "it names a parent image"),
        ("cut off in its grains", whole[..data + 700].to_vec(), "cut off"),
        ("cut off at its end", whole[..whole.len() - 512].to_vec(), "cut off"),
        ("cut off in its header", whole[..300].to_vec(), "it is not a VMDK: it has 300 bytes"),
        ("another thing", b"<html>".repeat(200), "it is not a VMDK"),
        ("more after its end", [&whole[..], &[7; 512]].concat(), "more after its end"),
    ] {
        for form in [Form::Tar, Form::TarGz] {
            let source = pack(&desk, form, &of_host(&stream));
            let ended = convert(&desk, &source, &[]);
            assert_nothing(&desk, &ended, 1, name);
            assert!(ended.stderr.contains(said), "{form:?}, {name}: {}", ended.stderr);
        }
    }
}

#[test]
fn a_package_that_is_cut_off_leaves_nothing() {
    for form in ARCHIVES {
        let desk = Desk::new();
        let (ovf, vmdk) = package(&desk);
        let source = pack(&desk, form, &[packed("vm.ovf", ovf.text()), packed("disk1.vmdk", vmdk)]);
        let whole = fs::read(&source).expect("readable");
        fs::write(&source, &whole[..whole.len() / 2]).expect("written");
        let ended = convert(&desk, &source, &[]);
        // Only gzip reveals nothing before its end.
        let code = if form == Form::TarGz { 1 } else { 4 };
        assert_eq!(ended.code, Some(code), "{form:?}: {}", ended.stderr);
        assert_eq!(desk.files("out"), [""; 0], "{form:?}");
    }
}

#[test]
fn a_disk_longer_than_its_capacity_ends_the_export() {
    let desk = Desk::new();
    let ovf = Ovf::one("disk1.img", 1);
    let text = ovf.text();
    let bomb = gzip(&vec![0x55; 66 << 20]);
    let text = text.replace("href='disk1.img'/>", "href='disk1.img' ovf:compression='gzip'/>");
    let files = [packed("vm.ovf", text), packed("disk1.img", bomb)];
    let source = pack(&desk, Form::Tar, &files);
    let ended = convert(&desk, &source, &["--source-format", "raw"]);
    assert_nothing(&desk, &ended, 1, "a bomb");
    ended.said("is longer than a disk of ");
    ended.said("the size by its package");
}

#[test]
fn a_raw_disk_that_lies_open_is_as_long_as_it_is() {
    for in_parts in [false, true] {
        let desk = Desk::new();
        let mut disk = vec![0; 66 << 20];
        disk[65 << 20..].fill(0x55);
        let raw = desk.path("disk.raw");
        fs::write(&raw, &disk).expect("written");
        let (chunk, form) = match in_parts {
            true => (33 << 20, Form::Folder),
            false => (disk.len(), Form::Tar),
        };
        let mut ovf = Ovf::one("disk1.img", 1);
        let mut files = Vec::new();
        for (n, part) in disk.chunks(chunk).enumerate() {
            let number = if in_parts { format!(".{n:09}") } else { String::new() };
            files.push(packed(&format!("disk1.img{number}"), part));
        }
        if in_parts {
            ovf.files = format!(
                "<File ovf:id='file1' ovf:href='disk1.img' ovf:size='{}' ovf:chunkSize='{chunk}'/>",
                disk.len()
            );
        }
        files.insert(0, packed("vm.ovf", ovf.text()));
        let ended = convert(&desk, &pack(&desk, form, &files), &["--source-format", "raw"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_streamed(&desk, &raw, "raw", &disk, "a longer disk");
        assert_eq!(ended.json["warnings"][0]["code"], "capacity-differs", "{}", ended.stderr);
    }
}

#[test]
fn what_lies_in_a_drive_is_never_converted() {
    const ISO: &[u8] = &[7; 64 << 10];
    for form in ARCHIVES {
        let desk = Desk::new();
        let (mut ovf, vmdk) = package(&desk);
        ovf.files += "<File ovf:id='iso' ovf:href='install.iso'/>";
        ovf.items += &item(15, "<rasd:HostResource>ovf:/file/iso</rasd:HostResource>");
        let files = [
            packed("vm.ovf", ovf.text()),
            packed("install.iso", ISO),
            packed("disk1.vmdk", &vmdk[..]),
        ];
        let source = pack(&desk, form, &files);
        let ended = convert(&desk, &source, &["--stream-convert=true"]);
        assert_eq!(ended.code, Some(0), "{form:?}: {}", ended.stderr);
        assert_eq!(desk.files("out"), [&["cdrom-0.iso"], &LEFT[..]].concat(), "{form:?}");
        assert_eq!(fs::read(desk.path("out/cdrom-0.iso")).expect("readable"), ISO, "{form:?}");
        desk.assert_disk(0, &desk.path("disk.raw"));
        let manifest = desk.manifest();
        let ours = &manifest["metadata"]["hyperexport"];
        assert_eq!(ours["media"][0]["sha256"], sum(ISO), "{form:?}");
        let received = ours["received"].as_object().map(|disks| disks.keys().collect::<Vec<_>>());
        assert_eq!(received, Some(vec![&"disk-0".to_owned()]), "{form:?}");
        let again = convert(&desk, &source, &[]);
        assert_eq!(again.json["already_done"], true, "{form:?}: {}", again.stderr);
    }
}

#[test]
fn no_vmdk_is_seen_at_any_moment_and_a_whole_disk_of_a_killed_run_is_kept() {
    for form in [Form::Tar, Form::Zip] {
        let desk = Desk::new();
        let (ovf, mut first) = package(&desk);
        write_uuid(&mut first, "60 00 C2 9d 3d 4c 50 e1-2e 1a 64 8c 0e 1e 5b 07");
        let ovf = ovf.and("disk2.vmdk", MIB);
        let second = desk.raw("second.raw", MIB);
        let files = [
            packed("vm.ovf", ovf.text()),
            packed("disk1.vmdk", &first[..]),
            packed("disk2.vmdk", vmdk(&desk, &second, "streamOptimized")),
        ];
        let source = pack(&desk, form, &files);
        let whole = ["--source", "vm.ova", "--output", "out", "--bandwidth-limit", "2M"];
        let args = [&whole[..], &CONVERT[..]].concat();
        let mut child = desk.command(&args).stderr(Stdio::null()).spawn().expect("it runs");
        let deadline = Instant::now() + Duration::from_secs(60);
        let marker = || fs::read_to_string(desk.path("out/.hyperexport-run")).unwrap_or_default();
        while !marker().contains(r#""id":"disk-0""#) {
            assert!(Instant::now() < deadline, "{}", marker());
            assert!(child.try_wait().expect("a child").is_none(), "the limit does not hold");
            let seen = desk.files("out");
            assert!(!seen.iter().any(|name| name.contains(".vmdk")), "{seen:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().expect("it is ours");
        child.wait().expect("it is dead");
        assert!(!desk.path("out/disk-0.qcow2").exists(), "{:?}", desk.files("out"));
        let time = set_apart(&desk.path("out/disk-0.qcow2.part"));

        let ended = convert(&desk, &source, &[]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        desk.assert_disk(0, &desk.path("disk.raw"));
        desk.assert_disk(1, &second);
        assert_eq!(received(&desk, "disk-0")["sha256"], sum(&first));
        let kept = modified(&desk.path("out/web <01>.qcow2"));
        assert_eq!(kept, time, "{form:?}: it was taken again");
        let uuid = &desk.manifest()["metadata"]["hyperexport"]["source_vm"]["disks"][0]["uuid"];
        assert_eq!(uuid, "6000c29d3d4c50e12e1a648c0e1e5b07", "{form:?}");
    }
}

#[test]
fn space_is_needed_for_the_result_alone() {
    let desk = Desk::new();
    let (ovf, vmdk) = package(&desk);
    let size = vmdk.len() as u64 / 1024;
    pack(&desk, Form::Tar, &[packed("vm.ovf", ovf.text()), packed("disk1.vmdk", vmdk)]);
    fs::create_dir(desk.path("small")).expect("made");
    let whole = ["--source", "vm.ova", "--output", "small", "--json"];
    let args = [&whole[..], &CONVERT[..]].concat();
    // A VMDK and its result would not both fit.
    let kib = u32::try_from(size * 3 / 2).expect("small");
    let Some(ended) = on_small_disk(&desk.command(&args), &desk.path("small"), kib) else {
        return;
    };
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.said("web <01>.qcow2");
    let kept = [&args[..], &["--stream-convert=false"]].concat();
    let ended = on_small_disk(&desk.command(&kept), &desk.path("small"), kib).expect("mounted");
    assert_ne!(ended.json["outcome"], "done", "{}", ended.stderr);

    let ended = on_small_disk(&desk.command(&args), &desk.path("small"), 256).expect("mounted");
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    ended.said("No space left on device");
    ended.said("free some space, or use another --output");
    assert!(ended.stderr.ends_with("left:\n"), "{}", ended.stderr);
}
