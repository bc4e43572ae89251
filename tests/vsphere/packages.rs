//! Exported OVF and OVA packages, read by other programs and by hyperexport itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::files::Desk;
use crate::support::job::{Job, json_of, read_json};
use crate::support::vcsim::raw_disk;
use serde_json::{Value, json};

/// A VM with two disks, a network card and an EFI firmware.
fn job() -> Option<Job> {
    let dir = tempfile::tempdir().expect("a folder");
    let disks: Vec<_> = (0..2)
        .map(|n| {
            let path = dir.path().join(format!("{n}.raw"));
            raw_disk(&path, 12 - 4 * n, n + 1);
            json!({"file": path, "boot": n == 1})
        })
        .collect();
    let nvram = dir.path().join("web.nvram");
    fs::write(&nvram, VARIABLES).expect("written");
    let inventory = json!({"vms": [{
        "nvram": nvram, "name": "web <01> & \"co\"", "cpu": 4, "memory_mb": 1536, "firmware": "efi",
        "guest_id": "debian12_64Guest", "disks": disks, "nics": [{"mac": "00:50:56:aa:bb:01", "slot": 224}],
    }]});
    Job::new(dir, &inventory, &[])
}

const VARIABLES: &str = "boot order, keys";
const NAME: &str = "web <01> & \"co\"";

fn raw(job: &Job, disk: usize) -> PathBuf {
    job.sim.vm(NAME).disks.as_ref().expect("disks")[disk].raw.clone()
}

/// virt-v2v's view of a package, as `KEY: VALUE` lines.
fn virt_v2v(source: &Path) -> String {
    let mut command = Command::new("virt-v2v");
    command.args(["-i", "ova", "--print-source"]).arg(source);
    command.env("LIBGUESTFS_BACKEND", "direct").env("TMPDIR", "/var/tmp");
    let output = command.output().expect("virt-v2v runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn assert_same(image: &Path, raw: &Path) {
    let mut compare = Command::new("qemu-img");
    compare.args(["compare", "-f", "vmdk", "-F", "raw"]).arg(image).arg(raw);
    assert!(compare.status().expect("qemu-img runs").success(), "{}", image.display());
}

/// Asserts that hyperexport reads the exported VM back from a package.
fn assert_read_back(source: &Path, vm: &Value, disks: [&Path; 2]) {
    let desk = Desk::new();
    let ended = desk.export(source.to_str().expect("UTF-8"), &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    desk.assert_disk(0, disks[0]);
    desk.assert_disk(1, disks[1]);
    assert_eq!(fs::read_to_string(desk.path("out/source.nvram")).expect("there"), VARIABLES);
    let manifest = desk.manifest();
    let read = &manifest["metadata"]["hyperexport"]["source_vm"];
    for fact in
        ["name", "arch", "cpu", "memory_mib", "firmware", "secure_boot", "cdroms", "assumed"]
    {
        assert_eq!(read[fact], vm[fact], "{fact}");
    }
    assert_eq!(vm["disks"][1]["boot_order"], 0, "the source names the second disk");
    assert_eq!(read["guest"]["id"], vm["guest"]["id"]);
    let nic =
        |vm: &Value| ["mac", "model", "network", "slot"].map(|fact| vm["nics"][0][fact].clone());
    assert_eq!(nic(read), nic(vm));
    for disk in 0..2 {
        let at = |vm: &Value| {
            let disk = &vm["disks"][disk];
            ["controller", "unit", "capacity", "boot_order"].map(|fact| disk[fact].clone())
        };
        assert_eq!(at(read), at(vm));
    }
}

#[test]
fn an_ovf_is_read_by_everybody() {
    let Some(job) = job() else { return };
    job.run(NAME, &["--format", "ovf", "--manifest"]).expect(0);
    let stem = "web <01> & \"co\"";
    let ovf = job.file(&format!("{stem}.ovf"));
    let vm = job.manifest()["metadata"]["hyperexport"]["source_vm"].clone();
    assert_read_back(&ovf, &vm, [&raw(&job, 0), &raw(&job, 1)]);
    let text = fs::read_to_string(&ovf).expect("there");
    for disk in job.result()["disks"].as_array().expect("disks") {
        assert!(text.contains(&format!("ovf:size=\"{}\"", disk["file_size"])), "{text}");
        assert!(text.contains(&format!("ovf:capacity=\"{}\"", disk["capacity"])), "{text}");
    }
    // 8 of 12 MiB and 6 of 8 contain data, in 256 KiB each.
    assert!(text.contains("ovf:populatedSize=\"2097152\""), "{text}");
    let sums = Command::new("sh")
        .current_dir(job.output())
        .args([
            "-c",
            "sed -E 's/^SHA256\\((.*)\\)= (.*)$/\\2  \\1/' *.mf | sha256sum --check --strict",
        ])
        .output();
    assert!(sums.expect("sha256sum runs").status.success());
    let said = virt_v2v(&job.output());
    for fact in ["nr vCPUs: 4", "memory: 1610612736", "firmware: uefi", "00:50:56:aa:bb:01"] {
        assert!(said.contains(fact), "{fact}: {said}");
    }
    assert_eq!(
        read_json(&job.file("result.json"))["package"]["path"],
        ovf.to_str().expect("UTF-8")
    );
}

#[test]
fn an_ova_is_one_file_that_everybody_reads() {
    let Some(job) = job() else { return };
    let ended = job.run(NAME, &["--format", "ova"]).expect(0);
    let package = PathBuf::from(ended.json["package"]["path"].as_str().expect("a path"));
    assert_eq!(job.files(), ["result.json", "web <01> & \"co\".ova"]);
    let list = Command::new("tar").arg("-tf").arg(&package).output().expect("tar runs");
    let list = String::from_utf8(list.stdout).expect("UTF-8");
    assert_eq!(
        list.lines().collect::<Vec<_>>(),
        [
            "web <01> & \\\"co\\\".ovf",
            "web <01> & \\\"co\\\".mf",
            "disk-0.vmdk",
            "disk-1.vmdk",
            "source.nvram"
        ]
        .map(|name| name.replace("\\\"", "\""))
    );
    let said = virt_v2v(&package);
    assert!(said.contains("nr vCPUs: 4") && said.contains("firmware: uefi"), "{said}");
    let folder = job.dir.path().join("unpacked");
    fs::create_dir(&folder).expect("made");
    let unpacked = Command::new("tar").arg("-xf").arg(&package).current_dir(&folder).status();
    assert!(unpacked.expect("tar runs").success());
    assert_same(&folder.join("disk-0.vmdk"), &raw(&job, 0));
    let info = job.bare(&["info", "--source", package.to_str().expect("UTF-8"), "--json"]);
    let info = json_of(&{ info }.output().expect("it runs"), 0);
    let mut vm = info["vm"].clone();
    vm["name"] = NAME.into();
    assert_read_back(&package, &vm, [&raw(&job, 0), &raw(&job, 1)]);
    assert_eq!(vm["memory_mib"], 1536);
}

#[test]
fn an_ova_that_does_not_fit_leaves_nothing() {
    let Some(job) = job() else { return };
    fs::create_dir_all(job.output()).expect("made");
    let kib = 5 * 1024;
    let command = job.command(NAME, &["--format", "ova"]);
    let Some(ended) = crate::support::job::on_small_disk(&command, &job.output(), kib) else {
        return;
    };
    let ended = ended.expect(1);
    ended.said("No space left on device");
    assert!(ended.stderr.ends_with("left:\n"), "{}", ended.stderr);
    job.assert_source_is_free();
}

#[test]
fn a_package_does_not_go_with_what_cannot_be_in_one() {
    let desk = Desk::new();
    let ended = desk.run(&["--vm", "x", "--url", "vc", "--format", "ova", "--pipeline"]);
    assert_eq!(ended.code, Some(2));
    ended.said("--format ovf leaves them beside the descriptor");
    desk.raw("disk.img", 2);
    let ended = desk.export("disk.img", &["--format", "ovf"]);
    assert_eq!(ended.code, Some(4));
    ended.said("cannot be part of a package");
}
