//! An export whose folder was moved, renamed or copied, or that was converted while it was read:
//! the remaining files, and the command that continues.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::files::{Desk, Form, Ovf, item, pack, packed};
use crate::support::job::{Ended, assert_same_disk, read_json};
use serde_json::{Value, json};

/// A conversion of disks without an operating system.
const CONVERT: [&str; 4] =
    ["--converter", "native", "--pipeline-fix=false", "--pipeline-inspect=false"];

/// A package with a network card without a MAC address.
fn package(desk: &Desk) -> PathBuf {
    let raw = desk.raw("disk.raw", 6);
    let vmdk = desk.image(&raw, "disk1.vmdk", "vmdk", &["subformat=streamOptimized"]);
    let vmdk = fs::read(vmdk).expect("readable");
    let mut ovf = Ovf::one("disk1.vmdk", 6);
    ovf.items += &item(10, "<rasd:Connection>LAN</rasd:Connection>");
    pack(desk, Form::Tar, &[packed("vm.ovf", ovf.text()), packed("disk1.vmdk", vmdk)])
}

fn run_into(desk: &Desk, folder: &str, args: &[&str]) -> Ended {
    let whole = ["--source", "vm.ova", "--output", folder, "--manifest", "--json"];
    desk.run(&[&whole[..], args].concat())
}

fn later(desk: &Desk, command: &str, folder: &str, args: &[&str]) -> Ended {
    let manifest = format!("{folder}/manifest.json");
    desk.run(&[&[command, "--manifest", &manifest, "--json"], args].concat())
}

/// Moves the folder `out` to `there`; `copied` keeps the old one.
fn moved(desk: &Desk, there: &str, copied: bool) {
    if copied {
        let mut copy = Command::new("cp");
        copy.args(["-a", "out", there]).current_dir(desk.dir.path());
        assert!(copy.status().expect("cp runs").success());
    } else {
        fs::rename(desk.path("out"), desk.path(there)).expect("moved");
    }
}

#[test]
fn an_export_is_converted_where_its_folder_is_now() {
    for copied in [false, true] {
        let desk = Desk::new();
        package(&desk);
        run_into(&desk, "out", &[]).expect(0);
        moved(&desk, "there", copied);
        if copied {
            // A copy uses its own files, whatever is in the original.
            fs::write(desk.path("out/disk-0.vmdk"), "of another VM").expect("written");
        }
        let before = desk.files("out");
        let ended = later(&desk, "convert", "there", &CONVERT).expect(0);
        let result = desk.path("there/web <01>.qcow2");
        assert_eq!(ended.json["converted"][0]["path"], json!(result), "{}", ended.stdout);
        assert_same_disk((&desk.path("disk.raw"), "raw"), (&result, "qcow2"));
        assert_eq!(desk.files("out"), before, "copied {copied}");
    }
}

#[test]
fn a_run_into_the_new_place_goes_on_from_what_is_there() {
    for copied in [false, true] {
        let desk = Desk::new();
        package(&desk);
        let first = run_into(&desk, "out", &[]).expect(0);
        moved(&desk, "there", copied);
        let args = [&["--pipeline"][..], &CONVERT].concat();
        let ended = run_into(&desk, "there", &args).expect(0);
        assert_eq!(ended.json["stages"][1]["status"], "kept", "{}", ended.stdout);
        let disk = desk.path("there/disk-0.vmdk");
        assert_eq!(ended.json["disks"][0]["path"], json!(disk), "{}", ended.stdout);
        // The card keeps its first generated address.
        assert_eq!(first.json["warnings"][0]["code"], "nic-mac-made", "{}", first.stdout);
        assert_eq!(first.json["warnings"], ended.json["warnings"], "{}", ended.stdout);

        fs::rename(desk.path("there"), desk.path("elsewhere")).expect("moved");
        let again = run_into(&desk, "elsewhere", &args).expect(0);
        assert_eq!(again.json["already_done"], true, "{}", again.stderr);
        let stamp = desk.path("elsewhere/web <01>.qcow2");
        assert_eq!(again.json["conversion"]["images"][0]["path"], json!(stamp));
        assert_eq!(first.json["warnings"], again.json["warnings"], "{}", again.stdout);
    }
}

#[test]
fn what_was_converted_while_it_was_read_is_told_and_stays() {
    for copied in [false, true] {
        let desk = Desk::new();
        package(&desk);
        let args = [&["--pipeline", "--stream-convert"][..], &CONVERT].concat();
        run_into(&desk, "out", &args).expect(0);
        let refused = later(&desk, "convert", "out", &CONVERT).expect(4);
        assert_eq!(refused.json["errors"][0]["code"], "converted-already", "{}", refused.stdout);
        refused.said("is already converted");
        refused.said("no other copy");
        refused.said("hyperexport define --manifest out/manifest.json");
        refused.said("--fresh");
        run_into(&desk, "out", &[&args[..], &["--fresh"]].concat()).expect(0);

        moved(&desk, "there", copied);
        let again = run_into(&desk, "there", &args).expect(0);
        assert_eq!(again.json["already_done"], true, "{}", again.stderr);
        assert_eq!(again.json["disks"][0]["path"], json!(desk.path("there/web <01>.qcow2")));
        let refused = later(&desk, "convert", "there", &CONVERT).expect(4);
        refused.said("hyperexport define --manifest there/manifest.json");
    }
}

#[test]
fn disks_that_are_converted_already_are_told_as_such() {
    let desk = Desk::new();
    package(&desk);
    run_into(&desk, "out", &[]).expect(0);
    later(&desk, "convert", "out", &CONVERT).expect(0);
    for args in [&CONVERT[..], &[&CONVERT[..], &["--dry-run"]].concat()] {
        let refused = later(&desk, "convert", "out", args).expect(4);
        assert_eq!(refused.json["errors"][0]["code"], "converted-already", "{}", refused.stdout);
        refused.said("move them away first");
        assert!(!refused.stderr.contains("--output"), "{}", refused.stderr);
    }
    fs::rename(desk.path("out/web <01>.qcow2"), desk.path("away")).expect("moved");
    later(&desk, "convert", "out", &CONVERT).expect(0);
}

#[test]
fn a_conversion_that_is_kept_warns_as_it_did() {
    let desk = Desk::new();
    package(&desk);
    let args = [&["--pipeline", "--stream-convert=false"][..], &CONVERT].concat();
    run_into(&desk, "out", &args).expect(0);
    // As FIX would have reported; a warning about that run only is no longer relevant.
    let path = desk.path("out/report.json");
    let mut report = read_json(&path);
    let warning = |code: &str| json!({"stage": "pipeline", "code": code, "message": "as it was"});
    report["warnings"] =
        json!([warning("guest-network-not-kept"), warning("work-folder-left"), "x"]);
    fs::write(&path, report.to_string()).expect("written");
    let told = |ended: &Ended| {
        let told = ended.codes().into_iter().filter(|code| *code != "nic-mac-made");
        told.map(str::to_owned).collect::<Vec<_>>()
    };
    for args in [&args[..], &[&args[..], &["--dry-run"]].concat(), &["--format", "ovf"]] {
        let ended = run_into(&desk, "out", args).expect(0);
        assert_eq!(told(&ended), ["guest-network-not-kept"], "{args:?}: {}", ended.stdout);
        ended.said("as it was");
    }
    let result: Value = read_json(&desk.path("out/result.json"));
    assert_eq!(result["package"]["path"], json!(desk.path("out/web <01>.ovf")), "{result:#}");
    assert!(result["warnings"].to_string().contains("guest-network-not-kept"), "{result:#}");
}
