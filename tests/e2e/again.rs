//! A further run in the same folder: valid results are reused, missing ones are made, and disks
//! that are older than their VM are never reused.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::hyper2kvm::{qemu_img, qemu_img_alone};
use crate::support::job::{Ended, Job, assert_same_disk};
use crate::support::libvirtd::{self, Names};
use crate::support::vcsim::raw_disk;
use serde_json::{Value, json};

/// A conversion of disks without an operating system, from complete VMDKs.
const CONVERT: [&str; 6] = [
    "--pipeline",
    "--converter",
    "native",
    "--pipeline-fix=false",
    "--pipeline-inspect=false",
    "--stream-convert=false",
];

fn job() -> Option<Job> {
    Job::of_one(json!({}))
}

fn source(job: &Job) -> &Path {
    &job.sim.vm("web01").disks.as_ref().expect("disks")[0].raw
}

fn run(job: &Job, flags: &[&[&str]]) -> Ended {
    job.run("web01", &flags.concat())
}

/// Code of the first error.
fn refused(ended: &Ended) -> &str {
    ended.json["errors"][0]["code"].as_str().unwrap_or_default()
}

fn assert_nothing_to_do(ended: &Ended) {
    assert_eq!(ended.json["outcome"], "already-done", "{}", ended.stdout);
    assert_eq!(ended.json["already_done"], true, "{}", ended.stdout);
}

fn compression(image: &Path) -> String {
    let (_, info) = qemu_img(&["info", "-f", "qcow2", image.to_str().expect("UTF-8")]);
    let line = info.lines().find(|line| line.contains("compression type"));
    line.unwrap_or_default().trim().to_owned()
}

#[test]
fn stages_that_are_missing_are_done_and_those_that_are_there_are_kept() {
    let Some(job) = job() else { return };
    // Without a manifest, the VM's details are in the result.
    run(&job, &[]).expect(0);
    assert_eq!(job.files(), ["disk-0.vmdk", "result.json"]);
    assert_nothing_to_do(&run(&job, &[]).expect(0));

    let ended = run(&job, &[&["--manifest"]]).expect(0);
    assert_eq!((ended.stage("export"), ended.stage("manifest")), ("kept", "done"));
    assert_nothing_to_do(&run(&job, &[&["--manifest"]]).expect(0));
    let manifest = job.manifest();
    assert_eq!(manifest["source"]["vm_name"], "web01");
    assert_eq!(manifest["pipeline"]["convert"]["enabled"], false);

    let before = job.result();
    let ended = run(&job, &[&CONVERT, &["--pipeline-dry-run"]]).expect(0);
    ended.said("reusing the export of ");
    ended.said("web01 is off and unchanged since, changeVersion 20");
    assert!(ended.json["plan"].to_string().contains("web01.qcow2"), "{}", ended.stdout);
    assert_eq!(job.files(), ["disk-0.vmdk", "manifest.json", "result.json"]);
    assert_eq!(job.result(), before, "a dry run replaced the result");

    let ended = run(&job, &[&CONVERT]).expect(0);
    assert_eq!((ended.stage("export"), ended.stage("pipeline")), ("kept", "done"));
    assert_same_disk((source(&job), "raw"), (&job.file("web01.qcow2"), "qcow2"));
    assert_eq!(job.manifest()["pipeline"]["convert"]["enabled"], true, "it tells what was asked");
    assert_nothing_to_do(&run(&job, &[&CONVERT]).expect(0));
    // An explicit default, and a check that changes nothing.
    let same = ["--compress-level", "3", "--pipeline-validate=false"];
    assert_nothing_to_do(&run(&job, &[&CONVERT, &same]).expect(0));

    // The results of a mere export exist too, and reusing them discards nothing.
    assert_nothing_to_do(&run(&job, &[&["--manifest"]]).expect(0));
    let ovf = ["--format", "ovf", "--manifest"];
    let ended = run(&job, &[&ovf]).expect(0);
    assert_eq!((ended.stage("export"), ended.stage("package")), ("kept", "done"));
    assert_nothing_to_do(&run(&job, &[&CONVERT]).expect(0));
    // Also for a package of which a part is missing.
    std::fs::remove_file(job.file("web01.mf")).expect("removed");
    let ended = run(&job, &[&ovf]).expect(0);
    assert_eq!(ended.stage("package"), "done", "{}", ended.stdout);
    assert!(job.file("web01.mf").exists() && job.file("web01.ovf").exists());
    assert_eq!(job.leases(), 1, "the export was taken again");
    job.assert_source_is_free();
}

#[test]
fn a_plan_names_what_fix_changes_in_such_a_guest_and_what_is_written() {
    let Some(job) = Job::of_one(json!({"guest_id": "ubuntu64Guest"})) else { return };
    let user_data = job.dir.path().join("user-data");
    std::fs::write(&user_data, "#cloud-config\n").expect("written");
    let seed = ["--cloud-init", user_data.to_str().expect("UTF-8")];
    let fix = ["--pipeline", "--converter", "native", "--hostname", "new"];
    let whole = [&fix[..], &seed, &["--stream-convert=false", "--dry-run"]].concat();
    let of_guest = [
        "in the guest: remove VMware's tools, where they are installed: open-vm-tools-desktop",
        "in the guest: tie the name that the guest's configuration has for a network card to its MAC \
         address: nic-0 (00:50:56:aa:bb:01)",
        "in the guest: set the host name new",
        "in the guest: rebuild the initramfs",
        "web01-seed.iso",
    ];
    let told = |ended: &Ended, more: &[&str]| {
        let plan = ended.json["plan"].to_string();
        for line in of_guest.iter().chain(more) {
            assert!(plan.contains(line), "no '{line}' in {plan}");
        }
        assert!(!plan.contains("what cloud-init has set up"), "{plan}");
    };
    told(&run(&job, &[&whole]).expect(0), &[]);
    run(&job, &[&["--manifest"]]).expect(0);
    let rewritten = format!("write {} again", job.file("manifest.json").display());
    told(&run(&job, &[&whole]).expect(0), &[&rewritten]);
    let mut convert = job.bare(&["convert", "--json", "--dry-run", "--manifest"]);
    convert.arg(job.file("manifest.json")).args(&fix[1..]).args(seed);
    told(&Ended::from(convert.output().expect("it runs")).expect(0), &[]);
}

#[test]
fn no_package_is_made_of_disks_that_are_no_vmdks() {
    let Some(job) = job() else { return };
    run(&job, &[&CONVERT[..5]]).expect(0);
    assert!(!job.file("disk-0.vmdk").exists(), "it was not converted while it arrived");
    for dry in [&["--dry-run"][..], &[]] {
        let ended = run(&job, &[&["--manifest", "--format", "ovf"], dry]).expect(4);
        assert_eq!(refused(&ended), "not-packable", "{}", ended.stderr);
        ended.said("--fresh");
    }
}

#[test]
fn convert_alone_compares_the_sums_first() {
    let Some(job) = job() else { return };
    run(&job, &[&["--manifest"]]).expect(0);
    let disk = job.file("disk-0.vmdk");
    let mut bytes = std::fs::read(&disk).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&disk, bytes).expect("written");
    let mut convert = job.bare(&["convert", "--json", "--manifest"]);
    convert.arg(job.file("manifest.json")).args(&CONVERT[1..5]);
    let ended = Ended::from(convert.output().expect("it runs")).expect(4);
    assert_eq!(refused(&ended), "sum-differs", "{}", ended.stderr);
    assert!(!job.file("web01.qcow2").exists(), "{:?}", job.files());
}

#[test]
fn another_conversion_is_done_again_from_the_export() {
    let Some(job) = job() else { return };
    run(&job, &[&CONVERT]).expect(0);
    assert_eq!(compression(&job.file("web01.qcow2")), "compression type: zstd");
    let zlib = ["--compress-type", "zlib"];
    let dry = run(&job, &[&CONVERT, &zlib, &["--pipeline-dry-run"]]).expect(0);
    assert!(dry.json["plan"].to_string().contains("web01.qcow2"), "{}", dry.stdout);
    assert!(!dry.stdout.contains(".hyperexport-fresh"), "{}", dry.stdout);
    assert_eq!(compression(&job.file("web01.qcow2")), "compression type: zstd");

    let ended = run(&job, &[&CONVERT, &zlib]).expect(0);
    ended.said("--compress-type: default then, zlib now");
    assert_eq!((ended.stage("export"), ended.stage("pipeline")), ("kept", "done"));
    assert_eq!(compression(&job.file("web01.qcow2")), "compression type: zlib");
    assert_same_disk((source(&job), "raw"), (&job.file("web01.qcow2"), "qcow2"));
    assert_eq!(job.result()["converted"][0]["path"], json!(job.file("web01.qcow2")));
    assert_nothing_to_do(&run(&job, &[&CONVERT, &zlib]).expect(0));
    assert!(!job.files().iter().any(|name| name.starts_with('.')), "{:?}", job.files());

    // A failed run leaves the old result in place.
    let late = ["--pipeline-timeout", "1ms"];
    let ended = run(&job, &[&CONVERT, &late]).expect(0);
    assert_eq!(ended.json["outcome"], "partial", "{}", ended.stdout);
    assert!(!ended.stdout.contains(".hyperexport-fresh"), "{}", ended.stdout);
    assert_eq!(compression(&job.file("web01.qcow2")), "compression type: zlib");

    // Nor is a result replaced that has been modified.
    std::fs::OpenOptions::new()
        .append(true)
        .open(job.file("web01.qcow2"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"mine"))
        .expect("written");
    let ended = run(&job, &[&CONVERT, &zlib]).expect(4);
    assert_eq!(refused(&ended), "converted-changed", "{}", ended.stderr);
    std::fs::remove_file(job.file("web01.qcow2")).expect("moved away");
    run(&job, &[&CONVERT, &zlib]).expect(0).said("web01.qcow2 is gone");
    assert_same_disk((source(&job), "raw"), (&job.file("web01.qcow2"), "qcow2"));
    assert_eq!(job.leases(), 1);
}

#[test]
fn a_vm_that_ran_since_is_refused_and_exported_anew_beside_its_old_export() {
    let Some(job) = job() else { return };
    run(&job, &[&CONVERT]).expect(0);
    let sum = |name: &str| job.file(name).metadata().expect("there").ino();
    let (old, taken) = (sum("disk-0.vmdk"), job.result()["export"]["exported_at"].clone());
    std::fs::write(job.file("notes.txt"), "mine").expect("written");
    job.power("web01", true);
    let ended = run(&job, &[&CONVERT, &["--power-off=force"]]).expect(4);
    assert_eq!(refused(&ended), "source-changed", "{}", ended.stderr);
    ended.said("is on now, started 20");
    ended.said("--fresh");
    ended.said("--output");
    assert!(job.state()["calls"]["PowerOffVM_Task"].is_null(), "it was powered off");
    job.power("web01", false);
    for flags in [&["--dry-run"][..], &[], &["--manifest"]] {
        let ended = run(&job, &[&CONVERT, flags]).expect(4);
        assert_eq!(refused(&ended), "source-changed", "{}", ended.stderr);
        ended.said("its changeVersion was");
    }
    assert_eq!((sum("disk-0.vmdk"), job.leases()), (old, 1));

    let plan = run(&job, &[&CONVERT, &["--fresh", "--dry-run"]]).expect(0);
    let plan = plan.json["plan"].to_string();
    assert!(plan.contains("replace what the old export left"), "{plan}");
    let ended = run(&job, &[&CONVERT, &["--fresh"]]).expect(0);
    assert_eq!((ended.stage("export"), ended.stage("pipeline")), ("done", "done"));
    assert_ne!(sum("disk-0.vmdk"), old);
    assert_ne!(job.result()["export"]["exported_at"], taken);
    for (name, format) in [("disk-0.vmdk", "vmdk"), ("web01.qcow2", "qcow2")] {
        assert_same_disk((source(&job), "raw"), (&job.file(name), format));
    }
    assert_eq!(job.manifest()["disks"][0]["local_path"], json!(job.file("disk-0.vmdk")));
    let files = ["disk-0.vmdk", "manifest.json", "notes.txt", "report.json", "result.json"];
    assert_eq!(job.files(), [&files[..], &["web01.qcow2"]].concat());
    assert_nothing_to_do(&run(&job, &[&CONVERT]).expect(0));
    job.assert_source_is_free();
}

#[test]
fn a_stream_that_is_exported_anew_replaces_its_predecessor_with_the_manifest() {
    let Some(job) = job() else { return };
    let stream = &CONVERT[..5];
    run(&job, &[&CONVERT]).expect(0);
    let ended = run(&job, &[stream, &["--fresh"]]).expect(0);
    assert_eq!((ended.stage("export"), ended.stage("pipeline")), ("done", "done"));
    assert_eq!(job.files(), ["manifest.json", "report.json", "result.json", "web01.qcow2"]);
    assert_same_disk((source(&job), "raw"), (&job.file("web01.qcow2"), "qcow2"));
    assert_eq!(job.manifest()["disks"][0]["local_path"], json!(job.file("web01.qcow2")));
    assert_eq!(ended.json["disks"][0]["path"], json!(job.file("web01.qcow2")));
    assert_nothing_to_do(&run(&job, &[stream]).expect(0));
}

#[test]
fn a_fresh_export_that_fails_or_is_killed_leaves_the_old_one() {
    let Some(job) = job() else { return };
    run(&job, &[&CONVERT]).expect(0);
    let files = job.files();
    let old = |job: &Job| {
        assert_same_disk((source(job), "raw"), (&job.file("disk-0.vmdk"), "vmdk"));
        assert_same_disk((source(job), "raw"), (&job.file("web01.qcow2"), "qcow2"));
        job.result()
    };
    let result = old(&job);
    job.faults(&json!({"nfc_status": 404, "nfc_status_count": 99}));
    run(&job, &[&CONVERT, &["--fresh"]]).expect(1);
    assert_eq!((job.files(), old(&job)), (files.clone(), result.clone()));

    job.faults(&json!({"nfc_rate": 200_000}));
    let begun = job.state()["nfc_bytes"].as_u64().unwrap_or(0);
    let mut child = job.start("web01", &[&CONVERT[..], &["--fresh"]].concat());
    let deadline = Instant::now() + Duration::from_secs(60);
    while job.state()["nfc_bytes"].as_u64().unwrap_or(0) <= begun {
        assert!(Instant::now() < deadline, "no byte arrives");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("it is ours");
    child.wait().expect("it is dead");
    job.faults(&json!({}));
    job.expire();
    assert_eq!(old(&job), result, "the old export was touched");

    // Without --fresh the old result is reused, and the rest of the new one is removed.
    assert_nothing_to_do(&run(&job, &[&CONVERT]).expect(0));
    assert_eq!((job.files(), old(&job)), (files.clone(), result.clone()));
    run(&job, &[&CONVERT, &["--fresh"]]).expect(0);
    assert_eq!(job.files(), files);
    assert_ne!(old(&job)["export"]["exported_at"], result["export"]["exported_at"]);
}

#[test]
fn kills_at_any_moment_of_a_fresh_export_leave_one_that_serves() {
    let Some(job) = job() else { return };
    run(&job, &[&CONVERT]).expect(0);
    for round in 0..14 {
        let mut child = job.start("web01", &[&CONVERT[..], &["--fresh"]].concat());
        std::thread::sleep(Duration::from_millis(60 * round));
        // The run may have ended already.
        drop(child.kill());
        child.wait().expect("it is dead");
        job.expire();
        let ended = run(&job, &[&CONVERT]).expect(0);
        assert_eq!(ended.stage("export"), "kept", "round {round}: {}", ended.stdout);
        for (name, format) in [("disk-0.vmdk", "vmdk"), ("web01.qcow2", "qcow2")] {
            assert_same_disk((source(&job), "raw"), (&job.file(name), format));
        }
        assert!(!job.files().iter().any(|name| name.starts_with('.')), "{:?}", job.files());
    }
}

#[test]
fn a_snapshot_is_reused_with_a_word_and_never_started() {
    let Some(job) = Job::of_running() else { return };
    let names = Names::new();
    let name = names.name("vm");
    let target = ["--libvirt", "--libvirt-start", "--libvirt-name", &name];
    // Detected before the first byte is downloaded.
    let ended = run(&job, &[&CONVERT, &target, &["--snapshot"]]).expect(4);
    assert_eq!(refused(&ended), "snapshot-and-start", "{}", ended.stderr);
    ended.said("--power-off");
    run(&job, &[&CONVERT, &target, &["--snapshot", "--dry-run"]]).expect(4);
    let later = ["--libvirt", "--libvirt-autostart", "--libvirt-name", &name];
    let ended = run(&job, &[&CONVERT, &later, &["--snapshot", "--dry-run"]]).expect(4);
    assert_eq!(refused(&ended), "snapshot-and-start", "{}", ended.stderr);
    ended.said("--libvirt-autostart would start the copy beside it when the host starts");
    let allowed = ["--snapshot", "--dry-run", "--allow-running-source"];
    run(&job, &[&CONVERT, &later, &allowed]).expect(0);
    assert_eq!((job.leases(), job.output().exists()), (0, false));

    let ended = run(&job, &[&["--manifest", "--snapshot"]]).expect(0);
    assert_eq!(ended.json["export"]["state"]["snapshot"], true, "{}", ended.stdout);
    assert_eq!(ended.json["source"]["power"], "on", "{}", ended.stdout);
    // A conversion does not need current data, and the VM may keep running.
    let ended = run(&job, &[&CONVERT]).expect(0);
    assert_eq!(ended.codes()[0], "snapshot-export-reused");
    ended.said("while web01 ran: what it has written since is not on them");
    ended.said("it is on now, started 20");
    // But a request to power the VM off also requires its disks from after that.
    let ended = run(&job, &[&CONVERT, &["--power-off"]]).expect(4);
    assert_eq!(refused(&ended), "stale-export", "{}", ended.stderr);
    ended.said("--fresh");
    assert!(job.state()["calls"]["ShutdownGuest"].is_null(), "it was shut down");
    if libvirtd::available() {
        // A copy besides the running source is no cutover.
        let copy = ["--allow-running-source", "--snapshot", "--dry-run"];
        run(&job, &[&CONVERT, &target, &copy]).expect(0);
    }

    job.power("web01", false);
    if libvirtd::available() {
        let pool = job.dir.path().join("pool");
        let pool = ["--libvirt-pool", &names.name("pool"), "--libvirt-pool-path"]
            .map(str::to_owned)
            .into_iter()
            .chain([pool.to_str().expect("UTF-8").to_owned()])
            .collect::<Vec<_>>();
        let pool: Vec<_> = pool.iter().map(String::as_str).collect();
        for stale in [&target[..], &["--libvirt", "--boot-proof", "--libvirt-name", &name]] {
            let ended = run(&job, &[&CONVERT, stale, &pool, &["--snapshot"]]).expect(4);
            assert_eq!(refused(&ended), "stale-export", "{}", ended.stderr);
            ended.said("is off now");
            ended.said("--fresh");
            assert!(names.domains().is_empty(), "it was defined");
        }
        let ended = run(&job, &[&CONVERT, &target, &pool, &["--fresh"]]).expect(0);
        let domain = libvirtd::connect().lookup_domain_by_name(&name).expect("defined");
        domain.destroy().expect("it runs");
        assert_eq!((ended.stage("export"), ended.stage("start")), ("done", "done"));
        assert_eq!(ended.json["export"]["state"]["snapshot"], false, "{}", ended.stdout);
        assert_eq!(job.leases(), 2);
    }
    job.assert_source_is_free();
}

#[test]
fn a_folder_of_an_earlier_version_still_serves() {
    let Some(job) = job() else { return };
    run(&job, &[&CONVERT]).expect(0);
    let mut result = job.result();
    let fields = result.as_object_mut().expect("an object");
    for new in ["export", "source", "conversion", "run", "target"] {
        fields.remove(new);
    }
    std::fs::write(job.file("result.json"), result.to_string()).expect("written");
    let mut manifest = job.manifest();
    let exact = manifest["metadata"]["hyperexport"].as_object_mut().expect("an object");
    exact.remove("state");
    std::fs::write(job.file("manifest.json"), manifest.to_string()).expect("written");

    let ended = run(&job, &[&CONVERT]).expect(0);
    assert_nothing_to_do(&ended);
    assert_eq!(ended.codes(), ["export-state-unknown", "conversion-unrecorded"]);
    // The server reports when the VM was last changed.
    job.power("web01", true);
    job.power("web01", false);
    let ended = run(&job, &[&CONVERT]).expect(4);
    assert_eq!(refused(&ended), "source-changed", "{}", ended.stderr);
}

#[test]
fn copies_that_were_deleted_are_not_missed_where_the_next_stage_is_there() {
    let Some(job) = job() else { return };
    run(&job, &[&CONVERT]).expect(0);
    std::fs::remove_file(job.file("disk-0.vmdk")).expect("removed");
    let ended = run(&job, &[&CONVERT]).expect(0);
    ended.said("are gone: continuing from the converted disks");
    assert_nothing_to_do(&ended);
    let ended = run(&job, &[&CONVERT, &["--compress-type", "zlib"]]).expect(4);
    assert_eq!(refused(&ended), "export-consumed", "{}", ended.stderr);
    ended.said("the exported disks are gone");
    let ended = run(&job, &[&["--manifest"]]).expect(4);
    assert_eq!(refused(&ended), "export-incomplete", "{}", ended.stderr);

    // If no part of the result is left, it is made again.
    std::fs::remove_file(job.file("web01.qcow2")).expect("removed");
    let ended = run(&job, &[&CONVERT]).expect(0);
    assert_eq!((ended.stage("export"), ended.stage("pipeline")), ("done", "done"));
    assert_eq!(job.leases(), 2);
}

#[test]
fn a_disk_that_was_damaged_since_is_named_with_both_ways_out() {
    let Some(job) = job() else { return };
    run(&job, &[&["--manifest"]]).expect(0);
    let mut bytes = std::fs::read(job.file("disk-0.vmdk")).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(job.file("disk-0.vmdk"), bytes).expect("written");
    let ended = run(&job, &[&CONVERT]).expect(1);
    assert_eq!(refused(&ended), "sum-differs", "{}", ended.stderr);
    ended.said("disk-0");
    ended.said("--fresh");
    assert!(!job.file("web01.qcow2").exists());
    run(&job, &[&CONVERT, &["--fresh"]]).expect(0);
    assert_same_disk((source(&job), "raw"), (&job.file("web01.qcow2"), "qcow2"));
}

#[test]
fn an_archive_is_kept_as_it_is_and_offered_where_disks_are_asked_for() {
    let Some(job) = job() else { return };
    run(&job, &[&["--format", "ova"]]).expect(0);
    assert_eq!(job.files(), ["result.json", "web01.ova"]);
    assert_nothing_to_do(&run(&job, &[&["--format", "ova"]]).expect(0));
    let ended = run(&job, &[&CONVERT]).expect(4);
    assert_eq!(refused(&ended), "export-packed", "{}", ended.stderr);
    ended.said("web01.ova");
    run(&job, &[&CONVERT, &["--fresh"]]).expect(0);
    let files = ["disk-0.vmdk", "manifest.json", "report.json", "result.json", "web01.qcow2"];
    assert_eq!(job.files(), files);
}

#[test]
fn files_that_were_written_to_since_are_another_source() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = dir.path().join("disk.raw");
    raw_disk(&disk, 4, 7);
    let output = dir.path().join("out");
    let run = |more: &[&str]| of_files(&disk, &output, more);
    run(&[]).expect(0);
    assert_nothing_to_do(&run(&[]).expect(0));
    let ended = run(&["--memory", "4G"]).expect(4);
    ended.said("its memory in MiB was 2048 and is 4096");
    assert_eq!(refused(&ended), "source-changed");
    raw_disk(&disk, 4, 8);
    let ended = run(&[]).expect(4);
    ended.said("its files were written to since");
    run(&["--fresh"]).expect(0);
    assert_same_disk((&disk, "raw"), (&output.join("disk.qcow2"), "qcow2"));
}

/// Converts the files at `source` into `output`.
fn of_files(source: &Path, output: &Path, more: &[&str]) -> Ended {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_hyperexport"));
    command.arg("--source").arg(source).arg("--output").arg(output).args(&CONVERT[..5]);
    Ended::from(command.args(["--json"]).args(more).output().expect("it runs"))
}

#[test]
fn a_part_of_a_disk_that_was_written_to_since_makes_another_source() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    let text = |name: &str| path(name).to_str().expect("UTF-8").to_owned();
    raw_disk(&path("raw"), 4, 7);
    let flat = ["convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=monolithicFlat"];
    let made = qemu_img(&[&flat[..], &[&text("raw"), &text("vm.vmdk")]].concat());
    assert_eq!(made.0, 0, "{}", made.1);
    let run = |more: &[&str]| of_files(&path("vm.vmdk"), &path("out"), more);
    run(&[]).expect(0);
    assert_nothing_to_do(&run(&[]).expect(0));
    raw_disk(&path("vm-flat.vmdk"), 4, 8);
    let ended = run(&[]).expect(4);
    assert_eq!(refused(&ended), "source-changed", "{}", ended.stdout);
    run(&["--fresh"]).expect(0);
    assert_same_disk((&path("vm-flat.vmdk"), "raw"), (&path("out").join("vm.qcow2"), "qcow2"));
}

#[test]
fn the_users_own_disk_stays_where_it_lies_beside_its_conversion() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = dir.path().join("disk.raw");
    raw_disk(&disk, 4, 7);
    let before = std::fs::read(&disk).expect("there");
    let result = dir.path().join("disk.qcow2");
    of_files(&disk, dir.path(), &[]).expect(0);
    for more in [&["--fresh"][..], &["--fresh", "--pipeline-compress=false"], &[]] {
        of_files(&disk, dir.path(), more).expect(0);
        assert_eq!(std::fs::read(&disk).expect("the source is gone"), before, "{more:?}");
        assert_same_disk((&disk, "raw"), (&result, "qcow2"));
    }
    let ended = of_files(&disk, dir.path(), &["--format", "ova"]);
    assert_ne!(ended.code, Some(0), "{}", ended.stdout);
    assert!(disk.exists() && result.exists());
}

#[test]
fn a_file_of_the_user_under_a_name_of_ours_stops_later_runs_too() {
    let Some(job) = job() else { return };
    run(&job, &[&["--manifest"]]).expect(0);
    let own = job.file("web01.qcow2");
    std::fs::write(&own, "the user's").expect("written");
    for more in [&[][..], &["--fresh"], &["--dry-run"]] {
        let ended = run(&job, &[&CONVERT, more]).expect(4);
        assert_eq!(refused(&ended), "file-in-the-way", "{more:?}: {}", ended.stdout);
        assert_eq!(std::fs::read_to_string(&own).expect("there"), "the user's");
    }
    std::fs::remove_file(&own).expect("removed");
    run(&job, &[&CONVERT]).expect(0);
}

/// State of a folder after a kill between the manifest and the result.
fn kill_before_the_result(job: &Job) {
    let makes = json!({"makes": ["disk-0.vmdk", "manifest.json", "web01.qcow2", "result.json"]});
    std::fs::write(job.file(".hyperexport-run"), format!("\n{makes}\n")).expect("written");
    std::fs::remove_file(job.file("result.json")).expect("removed");
}

#[test]
fn the_complete_export_of_a_killed_run_goes_only_when_a_new_one_is_complete() {
    let Some(job) = job() else { return };
    run(&job, &[&["--manifest"]]).expect(0);
    let disk = std::fs::read(job.file("disk-0.vmdk")).expect("read");
    let is_old = || std::fs::read(job.file("disk-0.vmdk")).is_ok_and(|now| now == disk);
    kill_before_the_result(&job);
    assert_nothing_to_do(&run(&job, &[&["--manifest"]]).expect(0));
    assert_nothing_to_do(&run(&job, &[&["--manifest"]]).expect(0));
    kill_before_the_result(&job);
    job.power("web01", true);
    job.power("web01", false);
    let ended = run(&job, &[&["--manifest"]]).expect(4);
    assert_eq!(refused(&ended), "source-changed", "{}", ended.stdout);
    ended.said("--fresh");
    ended.said("another --output");
    job.faults(&json!({"nfc_status": 404, "nfc_status_count": 99}));
    run(&job, &[&["--manifest", "--fresh"]]).expect(1);
    assert!(is_old() && job.file("manifest.json").exists(), "{:?}", job.files());
    job.faults(&json!({}));
    job.expire();
    run(&job, &[&["--manifest", "--fresh"]]).expect(0);
    assert_same_disk((source(&job), "raw"), (&job.file("disk-0.vmdk"), "vmdk"));
    assert_eq!(job.files(), ["disk-0.vmdk", "manifest.json", "result.json"]);
}

#[test]
fn what_a_run_had_done_before_its_import_is_known_by_its_journal() {
    let dir = tempfile::tempdir().expect("a folder");
    let (disk, output) = (dir.path().join("disk.raw"), dir.path().join("out"));
    raw_disk(&disk, 4, 7);
    of_files(&disk, &output, &[]).expect(0);
    // State of a folder after a kill during the definition of the domain.
    let result = output.join("result.json");
    let report = crate::support::job::read_json(&result);
    let head = json!({"uri": "qemu+unix:///system?socket=/no/such", "report": report});
    std::fs::write(output.join(".hyperexport-undo"), format!("{head}\n")).expect("written");
    let makes = json!({"makes": ["manifest.json", "disk.qcow2", "result.json"]});
    std::fs::write(output.join(".hyperexport-run"), format!("\n{makes}\n")).expect("written");
    std::fs::remove_file(&result).expect("removed");
    let ended = of_files(&disk, &output, &[]).expect(0);
    assert_eq!((ended.stage("export"), ended.stage("pipeline")), ("kept", "kept"));
    assert_nothing_to_do(&ended);
}

#[test]
fn a_refused_conversion_leaves_the_complete_export_of_a_killed_run() {
    let Some(job) = job() else { return };
    let asked = ["--manifest", "--format", "ovf"];
    run(&job, &[&asked]).expect(0);
    let whole: Vec<_> = job.files().into_iter().filter(|name| name != "result.json").collect();
    kill_before_the_result(&job);
    let makes = json!({"makes": ["web01.ovf", "web01.mf"]});
    let snapshot = json!({"snapshot": "hyperexport-of-a-killed-run"});
    let marker = job.file(".hyperexport-run");
    let before = std::fs::read_to_string(&marker).expect("read");
    std::fs::write(&marker, format!("{before}{makes}\n{snapshot}\n")).expect("written");
    let mut command =
        job.bare(&["convert", "--json", "--hyper2kvm-path", "/no/such", "--manifest"]);
    let ended = Ended::from(command.arg(job.file("manifest.json")).output().expect("it runs"));
    let ended = ended.expect(4);
    assert_eq!(ended.codes(), ["snapshot-left"], "{}", ended.stdout);
    assert!(marker.exists(), "nothing tells any more whose export it is");
    let left: Vec<_> =
        job.files().into_iter().filter(|name| !name.starts_with(".hyperexport")).collect();
    assert_eq!(left, whole);
    assert_eq!(run(&job, &[&asked]).expect(0).stage("export"), "kept");
    assert_nothing_to_do(&run(&job, &[&asked]).expect(0));
    assert!(!marker.exists() && job.file("result.json").exists());
}

#[test]
fn a_manifest_that_tells_no_sums_or_cannot_be_read_makes_way_only_for_fresh() {
    let Some(job) = job() else { return };
    run(&job, &[&["--manifest"]]).expect(0);
    let own = job.file("web01.qcow2");
    let spoil = |text: &dyn Fn(Value) -> String| {
        let text = text(job.manifest());
        std::fs::write(job.file("manifest.json"), text).expect("written");
    };
    let without_sum = |mut manifest: Value| {
        manifest["disks"][0].as_object_mut().expect("a disk").remove("checksum");
        manifest.to_string()
    };
    let cut = |manifest: Value| manifest.to_string()[..100].to_owned();
    let wrong = |manifest: Value| manifest.to_string().replace("sha256:", "sha256:zz");
    let cases: [(&dyn Fn(Value) -> String, &str); 3] =
        [(&without_sum, "export-incomplete"), (&cut, "not-json"), (&wrong, "invalid")];
    for (text, code) in cases {
        spoil(text);
        let leases = job.leases();
        let ended = run(&job, &[&CONVERT]).expect(4);
        assert_eq!(refused(&ended), code, "{}", ended.stdout);
        ended.said("--fresh, which exports again");
        ended.said("another --output");
        assert_eq!(job.leases(), leases, "it was exported again");
        std::fs::write(&own, "the user's").expect("written");
        let ended = run(&job, &[&CONVERT, &["--fresh"]]).expect(4);
        assert_eq!(refused(&ended), "file-in-the-way", "{}", ended.stdout);
        std::fs::remove_file(&own).expect("removed");
        run(&job, &[&["--manifest", "--fresh"]]).expect(0);
        assert_nothing_to_do(&run(&job, &[&["--manifest"]]).expect(0));
    }
}

#[test]
fn a_report_or_a_log_of_the_user_is_neither_overwritten_nor_removed() {
    let Some(job) = job() else { return };
    run(&job, &[&["--manifest"]]).expect(0);
    let convert = |more: &[&str]| {
        let mut command = job.bare(&["convert", "--json", "--converter", "native"]);
        command.args(["--pipeline-fix=false", "--pipeline-inspect=false", "--manifest"]);
        command.arg(job.file("manifest.json")).args(more);
        Ended::from(command.output().expect("it runs"))
    };
    for name in ["report.json", "convert.log"] {
        std::fs::write(job.file(name), "the user's").expect("written");
        for ended in [run(&job, &[&CONVERT]), run(&job, &[&CONVERT, &["--fresh"]]), convert(&[])] {
            assert_eq!((ended.code, refused(&ended)), (Some(4), "file-in-the-way"), "{name}");
            ended.said(name);
        }
        run(&job, &[&["--manifest", "--fresh"]]).expect(0);
        assert_eq!(std::fs::read_to_string(job.file(name)).expect("there"), "the user's");
        std::fs::remove_file(job.file(name)).expect("removed");
    }
    convert(&[]).expect(0);
    assert_nothing_to_do(&run(&job, &[&CONVERT]).expect(0));
    run(&job, &[&CONVERT, &["--compress-type", "zlib"]]).expect(0);
    // A result of another program is not overwritten either.
    std::fs::write(job.file("result.json"), "{\"score\": 3}").expect("written");
    let ended = convert(&[]).expect(4);
    assert_eq!(refused(&ended), "result-unreadable", "{}", ended.stdout);
}

#[test]
fn a_manifest_of_the_user_stays() {
    let Some(job) = job() else { return };
    run(&job, &[&[]]).expect(0);
    std::fs::write(job.file("manifest.json"), "the user's").expect("written");
    for flags in [&["--manifest"][..], &["--manifest", "--fresh"]] {
        let ended = run(&job, &[flags]).expect(4);
        assert_eq!(refused(&ended), "file-in-the-way", "{}", ended.stdout);
    }
    run(&job, &[&["--fresh"]]).expect(0);
    assert_eq!(std::fs::read_to_string(job.file("manifest.json")).expect("there"), "the user's");
}

#[test]
fn a_conversion_whose_fix_failed_is_known_to_the_next_run() {
    let Some(job) = job() else { return };
    run(&job, &[&["--manifest"]]).expect(0);
    // With a broken libguestfs.
    let dir = tempfile::tempdir().expect("a folder");
    let tools = qemu_img_alone(dir.path());
    let guestfish = tools.join("guestfish");
    std::fs::write(&guestfish, "#!/bin/sh\n[ \"$1\" = --version ]\n").expect("written");
    std::fs::set_permissions(&guestfish, Permissions::from_mode(0o755)).expect("set");
    let mut command = job.bare(&["convert", "--json", "--converter", "native", "--manifest"]);
    command.env("PATH", tools).env("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg");
    let ended = Ended::from(command.arg(job.file("manifest.json")).output().expect("it runs"));
    assert_eq!(ended.json["outcome"], "partial", "{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.code, Some(3));
    assert_eq!(job.result()["conversion"]["guest_untouched"], true);
    let ended = run(&job, &[&CONVERT]).expect(0);
    ended.said("FIX failed");
    assert_eq!((ended.stage("export"), ended.stage("pipeline")), ("kept", "done"));
    assert_nothing_to_do(&run(&job, &[&CONVERT]).expect(0));
}

#[test]
fn a_package_that_was_changed_since_is_named_with_both_ways_out() {
    let Some(job) = job() else { return };
    let flip = |name: &str| {
        let mut bytes = std::fs::read(job.file(name)).expect("read");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(job.file(name), bytes).expect("written");
    };
    for (format, name) in [("ova", "web01.ova"), ("ovf", "web01.ovf"), ("ovf", "web01.mf")] {
        run(&job, &[&["--format", format, "--fresh"]]).expect(0);
        assert_nothing_to_do(&run(&job, &[&["--format", format]]).expect(0));
        flip(name);
        let ended = run(&job, &[&["--format", format]]).expect(1);
        assert_eq!(refused(&ended), "sum-differs", "{}", ended.stdout);
        ended.said(name);
        ended.said("--fresh");
    }
}

#[test]
fn a_folder_is_the_source_that_its_descriptor_tells_and_its_variables_are_checked() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    let text = |name: &str| path(name).to_str().expect("UTF-8").to_owned();
    raw_disk(&path("raw"), 4, 7);
    let made = qemu_img(&["convert", "-f", "raw", "-O", "vmdk", &text("raw"), &text("vm.vmdk")]);
    assert_eq!(made.0, 0, "{}", made.1);
    std::fs::write(path("vm.nvram"), "variables").expect("written");
    let vmx = "displayName = \"vm\"\nmemsize = \"512\"\nscsi0:0.present = \"TRUE\"\n\
               scsi0:0.fileName = \"vm.vmdk\"\nfirmware = \"efi\"\nnvram = \"vm.nvram\"\n";
    std::fs::write(path("vm.vmx"), vmx).expect("written");
    let output = path("out");
    let run = || of_files(dir.path(), &output, &[]);
    run().expect(0);
    std::fs::write(path("notes.txt"), "the user's").expect("written");
    assert_nothing_to_do(&run().expect(0));

    let nvram = output.join("source.nvram");
    std::fs::write(&nvram, "varjables").expect("written");
    let ended = run().expect(1);
    assert_eq!(refused(&ended), "sum-differs", "{}", ended.stdout);
    std::fs::remove_file(&nvram).expect("removed");
    let ended = run().expect(4);
    assert_eq!(refused(&ended), "export-incomplete", "{}", ended.stdout);
    ended.said("source.nvram is gone");
    of_files(dir.path(), &output, &["--fresh"]).expect(0);

    std::fs::write(path("vm.vmx"), format!("{vmx}annotation = \"new\"\n")).expect("written");
    let ended = run().expect(4);
    assert_eq!(refused(&ended), "source-changed", "{}", ended.stdout);
}

#[test]
fn flags_that_describe_the_vm_otherwise_than_its_export_are_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = dir.path().join("disk.raw");
    raw_disk(&disk, 4, 7);
    let gone = "qemu+unix:///system?socket=/no/such/socket";
    let copy = ["--libvirt", "--libvirt-uri", gone, "--new-mac", "--libvirt-name", "copy"];
    let plain = dir.path().join("plain");
    of_files(&disk, &plain, &[]).expect(0);
    for (more, said) in [
        (&["--nic", "none"][..], "--nic: default then, none now"),
        (&["--firmware", "efi"], "--firmware: default then, efi now"),
        (&copy, "--new-mac: default then, for copy now"),
    ] {
        let ended = of_files(&disk, &plain, more).expect(4);
        assert_eq!(refused(&ended), "export-differs", "{more:?}: {}", ended.stdout);
        ended.said(said);
        ended.said("--fresh");
    }
    assert_nothing_to_do(&of_files(&disk, &plain, &[]).expect(0));

    let described = dir.path().join("described");
    let nic = ["--nic", "00-50-56-AA-BB-01@LAN,model=E1000", "--firmware", "efi"];
    of_files(&disk, &described, &nic).expect(0);
    let same = ["--firmware", "efi", "--nic", "00:50:56:aa:bb:01@LAN,model=e1000"];
    assert_nothing_to_do(&of_files(&disk, &described, &same).expect(0));
    let ended = of_files(&disk, &described, &[]).expect(4);
    ended.said("--nic: 00:50:56:aa:bb:01@LAN,model=e1000 then, default now");
}

#[test]
fn what_an_earlier_version_did_not_record_is_not_compared() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    let text = |name: &str| path(name).to_str().expect("UTF-8").to_owned();
    raw_disk(&path("raw"), 4, 7);
    let made = qemu_img(&["convert", "-f", "raw", "-O", "vmdk", &text("raw"), &text("vm.vmdk")]);
    assert_eq!(made.0, 0, "{}", made.1);
    let vmx = "displayName = \"vm\"\nmemsize = \"512\"\nscsi0:0.present = \"TRUE\"\n\
               scsi0:0.fileName = \"vm.vmdk\"\n";
    std::fs::write(path("vm.vmx"), vmx).expect("written");
    let output = path("out");
    let nic = ["--nic", "00:50:56:aa:bb:01@LAN", "--firmware", "efi"];
    let run = |more: &[&str]| of_files(dir.path(), &output, &[&nic[..], more].concat());
    run(&[]).expect(0);
    // State from before the flags, the network cards and the descriptor's state were recorded.
    for (name, place) in [("result.json", "/export"), ("manifest.json", "/metadata/hyperexport")] {
        let file = output.join(name);
        let mut json = crate::support::job::read_json(&file);
        let state = json.pointer_mut(place).and_then(|found| found.get_mut("state")).expect("one");
        assert!(state["asked"].is_object(), "{state}");
        state.as_object_mut().expect("an object").remove("asked");
        let revision = state["revision"].as_str().expect("text").to_owned();
        let disks: Vec<_> = revision.split_whitespace().skip(2).collect();
        assert!(revision.starts_with("files ") && !disks.is_empty(), "{revision}");
        state["revision"] = json!(format!("4096@1.0 {} ", disks.join(" ")));
        if let Some(conversion) = json.get_mut("conversion").and_then(Value::as_object_mut) {
            assert!(conversion.remove("left_out").is_some());
        }
        std::fs::write(&file, json.to_string()).expect("written");
    }
    let gone = "qemu+unix:///system?socket=/no/such/socket";
    let left_out = ["--libvirt", "--libvirt-uri", gone, "--network-map", "LAN=none", "--dry-run"];
    let ended = run(&left_out).expect(0);
    for code in ["export-state-unknown", "export-flags-unknown"] {
        assert!(ended.codes().contains(&code), "{}", ended.stdout);
    }
    assert!(ended.json["plan"].to_string().contains("keep the conversion"), "{}", ended.stdout);
    assert_nothing_to_do(&run(&[]).expect(0));
    raw_disk(&path("raw"), 4, 8);
    let made = qemu_img(&["convert", "-f", "raw", "-O", "vmdk", &text("raw"), &text("vm.vmdk")]);
    assert_eq!(made.0, 0, "{}", made.1);
    assert_eq!(refused(&run(&[]).expect(4)), "source-changed");
}

#[test]
fn a_seed_is_kept_where_the_folder_has_two_names() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    raw_disk(&path("disk.raw"), 4, 7);
    std::fs::write(path("user-data"), "#cloud-config\n").expect("written");
    std::fs::create_dir(path("real")).expect("made");
    std::os::unix::fs::symlink(path("real"), path("link")).expect("linked");
    let data = path("user-data").to_str().expect("UTF-8").to_owned();
    let run = |more: &[&str]| {
        of_files(&path("disk.raw"), &path("link"), &[&["--cloud-init", &data], more].concat())
    };
    run(&[]).expect(0);
    assert_nothing_to_do(&run(&[]).expect(0));
    run(&["--fresh"]).expect(0);
    assert_nothing_to_do(&run(&[]).expect(0));
    assert!(path("real/disk-seed.iso").exists());
}

#[test]
fn what_a_killed_run_left_on_another_host_refuses_before_the_export() {
    let Some(job) = job() else { return };
    let [gone, other] = ["gone", "other"].map(|name| {
        let socket = job.dir.path().join(name);
        format!("qemu+unix:///system?socket={}", socket.display())
    });
    std::fs::create_dir(job.output()).expect("made");
    let step = json!({"step": "undefine", "name": "web01", "uuid": "u"});
    crate::support::journal::write(&job.output(), &gone, None, &[step]);
    let noted = || std::fs::read_to_string(job.file(".hyperexport-undo")).expect("there");
    let journal = noted();
    let target = ["--libvirt", "--libvirt-uri", &other];
    for more in [&[][..], &["--dry-run"]] {
        let ended = run(&job, &[&CONVERT, &target, more]).expect(4);
        assert_eq!(refused(&ended), "killed-run-elsewhere", "{}", ended.stdout);
        for part in [&gone, &other, "domain 'web01'", "another --output", ".hyperexport-undo"] {
            ended.said(part);
        }
    }
    assert_eq!(job.leases(), 0, "it was exported");
    assert_eq!(noted(), journal);
    // The host of this run's own target may come up later.
    let ended = run(&job, &[&CONVERT, &["--libvirt", "--libvirt-uri", &gone, "--dry-run"]]);
    assert!(ended.expect(0).codes().contains(&"libvirt-unreachable"));
}
