//! Disks that are converted already: what is there, and which command goes on from it.

use std::fs;
use std::path::PathBuf;

use crate::support::files::{Desk, Form, Ovf, item, pack, packed};
use crate::support::job::Ended;

/// A conversion of disks without an operating system.
const CONVERT: [&str; 4] =
    ["--converter", "native", "--pipeline-fix=false", "--pipeline-inspect=false"];

/// A package with a network card that has no MAC address.
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

#[test]
fn what_was_converted_while_it_was_read_is_told_and_stays() {
    let desk = Desk::new();
    package(&desk);
    let args = [&["--pipeline", "--stream-convert"][..], &CONVERT].concat();
    run_into(&desk, "out", &args).expect(0);
    let refused = later(&desk, "convert", "out", &CONVERT).expect(4);
    assert_eq!(refused.json["errors"][0]["code"], "converted-already", "{}", refused.stdout);
    refused.said("is converted already");
    refused.said("no other copy");
    refused.said("hyperexport define --manifest out/manifest.json makes a domain");
    refused.said("--fresh");
    run_into(&desk, "out", &[&args[..], &["--fresh"]].concat()).expect(0);
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
