//! Disks that are converted during the download: no VMDK is ever written, the bytes are right, and
//! the checksums of both forms are known, even after failures.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::support::job::{Ended, Job, assert_same_disk, codes};
use crate::support::vcsim::raw_disk;
use serde_json::json;
use sha2::{Digest, Sha256};

/// A conversion of disks without an operating system.
const CONVERT: [&str; 5] =
    ["--pipeline", "--converter", "native", "--pipeline-fix=false", "--pipeline-inspect=false"];
const RESULTS: [&str; 2] = ["web01.qcow2", "web01-disk-1.qcow2"];

fn job(args: &[&str]) -> Option<Job> {
    let dir = tempfile::tempdir().expect("a folder");
    let disks: Vec<_> = (0..2)
        .map(|index| {
            let path = dir.path().join(format!("{index}.raw"));
            raw_disk(&path, 4 + index, index);
            json!({"file": path})
        })
        .collect();
    let inventory = json!({"vms": [{"name": "web01", "firmware": "bios", "disks": disks}]});
    Job::new(dir, &inventory, args)
}

fn sum(path: &Path) -> String {
    let digest = Sha256::digest(std::fs::read(path).expect("there"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Asserts that both results are right, no other file exists, and the manifest contains all
/// checksums.
fn assert_converted(job: &Job) {
    let expected =
        ["manifest.json", "report.json", "result.json", "web01-disk-1.qcow2", "web01.qcow2"];
    assert_eq!(job.files(), expected);
    let disks = job.sim.vm("web01").disks.as_ref().expect("disks");
    let manifest = job.manifest();
    for (index, (disk, name)) in disks.iter().zip(RESULTS).enumerate() {
        assert_same_disk((&disk.raw, "raw"), (&job.file(name), "qcow2"));
        let told = &manifest["disks"][index];
        assert_eq!(told["source_format"], "qcow2");
        assert_eq!(told["local_path"], json!(job.file(name)));
        assert_eq!(told["checksum"], format!("sha256:{}", sum(&job.file(name))));
        let id = format!("disk-{index}");
        let received = &manifest["metadata"]["hyperexport"]["received"][&id];
        assert_eq!(received["format"], "vmdk");
        assert_eq!(received["bytes"], disk.stream_bytes);
        assert!(received["sha256"].as_str().is_some_and(|sum| sum.len() == 64), "{received}");
    }
    job.assert_source_is_free();
}

/// Waits for the manifest or the end of the run, and kills the run.
fn kill_at_manifest(job: &Job) {
    let mut child = job.start("web01", &CONVERT);
    let path = job.file("manifest.json");
    while !path.exists() && child.try_wait().expect("a child").is_none() {
        std::hint::spin_loop();
    }
    child.kill().expect("killed, or over");
    child.wait().expect("it is over");
}

#[test]
fn a_run_that_is_killed_between_its_manifest_and_its_end_is_continued() {
    let Some(job) = job(&[]) else { return };
    for _ in 0..5 {
        kill_at_manifest(&job);
        job.expire();
        let ended = job.run("web01", &CONVERT).expect(0);
        let outcome = ended.json["outcome"].as_str().unwrap_or_default();
        assert!(["done", "already-done"].contains(&outcome), "{}", ended.stdout);
        assert_converted(&job);
        std::fs::remove_dir_all(job.output()).expect("removed");
    }
}

#[test]
fn no_vmdk_is_ever_written() {
    let Some(job) = job(&[]) else { return };
    let ended = job.run("web01", &CONVERT).expect(0);
    assert_converted(&job);
    assert_eq!(ended.json["disks"][0]["path"], json!(job.file("web01.qcow2")));
    assert!(!codes(&ended.json).contains(&"not-verified-by-server"), "{}", ended.stdout);
    let stages: Vec<_> =
        ["preflight", "export", "pipeline", "manifest"].map(|s| ended.stage(s)).into();
    assert_eq!(stages, ["done"; 4]);
    let again = job.run("web01", &CONVERT).expect(0);
    again.said("reusing the export of ");
    assert_eq!(again.json["already_done"], true, "{}", again.stdout);
    assert_converted(&job);
    assert_eq!(job.leases(), 1);
}

/// A disk that was converted during the download is also the export.
#[test]
fn another_conversion_of_disks_that_were_not_fixed_is_done_again() {
    let Some(job) = job(&[]) else { return };
    job.run("web01", &CONVERT).expect(0);
    let inode = || job.file("web01.qcow2").metadata().expect("there").ino();
    let first = inode();
    let zlib = [&CONVERT[..], &["--compress-type", "zlib"]].concat();
    let dry = job.run("web01", &[&zlib[..], &["--dry-run"]].concat()).expect(0);
    let plan = dry.json["plan"].to_string();
    assert!(plan.contains("convert again: --compress-type: default then, zlib now"), "{plan}");
    assert_eq!(inode(), first, "a dry run changes nothing");

    let ended = job.run("web01", &zlib).expect(0);
    ended.said("converting again: --compress-type");
    assert_eq!((ended.stage("export"), ended.stage("pipeline")), ("kept", "done"));
    assert_converted(&job);
    let image = job.file("web01.qcow2");
    let (_, info) = crate::support::hyper2kvm::qemu_img(&[
        "info",
        "-f",
        "qcow2",
        image.to_str().expect("UTF-8"),
    ]);
    assert!(info.contains("compression type: zlib"), "{info}");
    assert_eq!(job.leases(), 1, "the export was taken again");
    let again = job.run("web01", &zlib).expect(0);
    assert_eq!(again.json["already_done"], true, "{}", again.stdout);
}

#[test]
fn another_conversion_of_disks_that_fix_has_changed_is_refused_with_the_reason() {
    let Some(job) = job(&[]) else { return };
    job.run("web01", &CONVERT).expect(0);
    // Result of a run whose FIX succeeded.
    let mut result = job.result();
    result["conversion"]["guest_untouched"] = json!(false);
    std::fs::write(job.file("result.json"), result.to_string()).expect("written");
    let zlib = [&CONVERT[..], &["--compress-type", "zlib"]].concat();
    let ended = job.run("web01", &zlib).expect(4);
    ended.said("converted during the export, and FIX has changed them");
    ended.said("--fresh");
    assert_eq!(ended.json["errors"][0]["code"], "export-consumed", "{}", ended.stdout);
    assert_converted(&job);

    job.run("web01", &[&zlib[..], &["--fresh"]].concat()).expect(0);
    assert_converted(&job);
    assert_eq!(job.leases(), 2);
}

#[test]
fn every_kind_of_cluster_can_be_asked_for() {
    for (flag, kind) in [("--compress-type=zlib", "zlib"), ("--compress-type=zstd", "zstd")] {
        let Some(job) = job(&[]) else { return };
        job.run("web01", &[&CONVERT[..], &[flag]].concat()).expect(0);
        assert_converted(&job);
        let info = crate::support::hyper2kvm::qemu_img(&[
            "info",
            "-f",
            "qcow2",
            job.file("web01.qcow2").to_str().expect("UTF-8"),
        ]);
        assert!(info.1.contains(&format!("compression type: {kind}")), "{}", info.1);
    }
}

#[test]
fn a_stream_that_breaks_is_taken_again() {
    for fault in [
        json!({"nfc_drop_after": 300_000}),
        json!({"nfc_truncate_after": 300_000}),
        json!({"nfc_corrupt_at": 300_000}),
    ] {
        let Some(job) = job(&[]) else { return };
        let mut faults = fault.clone();
        faults["nfc_match"] = "disk-1".into();
        job.faults(&faults);
        job.run("web01", &CONVERT).expect(0).said("attempt 2");
        assert_converted(&job);
    }
}

#[test]
fn killed_at_any_moment_it_ends_with_the_right_bytes() {
    let Some(job) = job(&["-lease-timeout", "2"]) else { return };
    job.faults(&json!({"nfc_rate": 4_000_000}));
    for round in 1..=12 {
        let mut child = job.start("web01", &CONVERT);
        std::thread::sleep(Duration::from_millis(140 * round));
        child.kill().expect("it is ours");
        child.wait().expect("it is dead");
        if job.file("result.json").exists() {
            std::fs::remove_dir_all(job.output()).expect("removed");
        }
        job.expire();
    }
    job.faults(&json!({}));
    job.run("web01", &CONVERT).expect(0);
    assert_converted(&job);
}

#[test]
fn a_disk_that_is_whole_is_kept_after_a_kill() {
    let Some(job) = job(&[]) else { return };
    job.faults(&json!({"nfc_rate": 300_000, "nfc_match": "disk-1"}));
    let mut child = job.start("web01", &[&CONVERT[..], &["--parallel", "1"]].concat());
    let marker = || std::fs::read_to_string(job.file(".hyperexport-run")).unwrap_or_default();
    while !marker().contains(r#""id":"disk-0""#) {
        assert!(child.try_wait().expect("a child").is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("it is ours");
    child.wait().expect("it is dead");
    assert!(!job.file("manifest.json").exists() && !job.file("web01.qcow2").exists());
    job.faults(&json!({}));
    job.expire();
    job.run("web01", &CONVERT).expect(0);
    assert_converted(&job);
}

#[test]
fn vmdks_stay_where_they_are_wanted() {
    let Some(job) = job(&[]) else { return };
    job.run("web01", &[&CONVERT[..], &["--stream-convert=false"]].concat()).expect(0);
    assert!(job.files().contains(&"disk-0.vmdk".to_owned()), "{:?}", job.files());
    assert_eq!(job.manifest()["disks"][0]["source_format"], "vmdk");
    let disks = job.sim.vm("web01").disks.as_ref().expect("disks");
    assert_same_disk((&disks[0].raw, "raw"), (&job.file("web01.qcow2"), "qcow2"));
}

#[test]
fn what_cannot_be_streamed_is_refused_if_it_was_asked_for() {
    let Some(job) = job(&[]) else { return };
    let wish = "--stream-convert=true";
    for (args, why) in [
        (vec![wish], "nothing is converted without --pipeline"),
        (vec![wish, "--pipeline", "--converter", "hyper2kvm"], "complete files only"),
        ([&CONVERT[..], &[wish, "--format", "ovf"]].concat(), "made of VMDKs"),
        ([&CONVERT[..], &[wish, "--transport", "datastore"]].concat(), "only the export lease"),
    ] {
        job.run("web01", &args).expect(4).said(why);
        assert!(job.files().is_empty());
    }
}

#[test]
fn a_dry_run_converts_nothing_and_says_what_it_would_do() {
    let Some(job) = job(&[]) else { return };
    let ended = job.run("web01", &[&CONVERT[..], &["--dry-run"]].concat()).expect(0);
    let plan = ended.json["plan"].to_string();
    let path = job.file("web01.qcow2");
    let line = format!("disk-0 (up to 4.0 MiB) to {}, converted while it arrives", path.display());
    assert!(plan.contains(&line) && !plan.contains("disk-0.qcow2"), "{plan}");
    let work = plan.find("work on the converted disks: validate").expect("told");
    assert!(plan.find("manifest.json").is_some_and(|manifest| manifest > work), "{plan}");
    assert!(job.files().is_empty(), "{:?}", job.files());
    job.run("web01", &[&CONVERT[..], &["--pipeline-dry-run"]].concat()).expect(0);
    assert_eq!(job.files(), ["disk-0.vmdk", "disk-1.vmdk", "manifest.json", "result.json"]);
}

#[test]
fn interrupted_in_the_guest_it_keeps_the_export_and_leaves_no_appliance() {
    let Some(job) = job(&[]) else { return };
    let fix = ["--pipeline", "--converter", "native"];
    let mut child = job.start("web01", &fix);
    let log = || std::fs::read_to_string(job.file("convert.log")).unwrap_or_default();
    while !log().contains("> run") {
        assert!(child.try_wait().expect("a child").is_none(), "it ended: {}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it lives");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let left = ["convert.log", "disk-0.qcow2", "disk-1.qcow2", "manifest.json", "result.json"];
    assert_eq!(job.files(), left);
    let output = job.output();
    let appliance = crate::support::hyper2kvm::processes(output.to_str().expect("UTF-8"));
    assert_eq!(appliance, Vec::<String>::new());
    job.run("web01", &CONVERT).expect(0);
    let disks = job.sim.vm("web01").disks.as_ref().expect("disks");
    assert_same_disk((&disks[0].raw, "raw"), (&job.file("web01.qcow2"), "qcow2"));
}

#[test]
fn a_conversion_that_fails_leaves_what_it_began_with() {
    let Some(job) = job(&[]) else { return };
    let late = [&CONVERT[..], &["--pipeline-timeout", "1ms"]].concat();
    let ended = job.run("web01", &late).expect(0);
    assert_eq!(ended.json["outcome"], "partial", "{}", ended.stdout);
    assert_eq!(job.files(), ["disk-0.qcow2", "disk-1.qcow2", "manifest.json", "result.json"]);
    job.run("web01", &CONVERT).expect(0);
    let disks = job.sim.vm("web01").disks.as_ref().expect("disks");
    assert_same_disk((&disks[0].raw, "raw"), (&job.file("web01.qcow2"), "qcow2"));
}

/// A package as hyperexport itself writes it.
#[test]
fn a_package_is_converted_while_it_is_read_whenever_that_was_killed() {
    let Some(job) = job(&[]) else { return };
    job.run("web01", &["--format", "ova"]).expect(0);
    let package = job.dir.path().join("web01.ova");
    std::fs::rename(job.file("web01.ova"), &package).expect("moved");
    std::fs::remove_dir_all(job.output()).expect("removed");
    let command = |args: &[&str]| {
        let mut command = job.bare(&[&["--json"], &CONVERT[..], args].concat());
        command.arg("--source").arg(&package).arg("--output").arg(job.output());
        command
    };
    for round in 1..=8 {
        let mut child = command(&["--bandwidth-limit", "3M", "--quiet"]).spawn().expect("it runs");
        std::thread::sleep(Duration::from_millis(110 * round));
        child.kill().expect("it is ours");
        child.wait().expect("it is dead");
        assert!(!job.files().iter().any(|name| name.contains(".vmdk")), "{:?}", job.files());
        if job.file("result.json").exists() {
            std::fs::remove_dir_all(job.output()).expect("removed");
        }
    }
    let run = || Ended::from(command(&[]).output().expect("it runs"));
    run().expect(0);
    assert_converted(&job);
    assert_eq!(run().expect(0).json["already_done"], true);
    assert_converted(&job);
}
