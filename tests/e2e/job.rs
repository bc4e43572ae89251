//! The main job with small disks: a successful migration, and faults of the libvirt host or
//! hyper2kvm.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::hyper2kvm;
use crate::support::job::{Ended, Job, assert_same_disk, assert_valid_domain, read_json};
use crate::support::libvirtd::{self, Names};
use crate::support::vcsim::raw_disk;
use serde_json::{Value, json};

/// A VM with two small disks without an operating system.
fn job() -> Option<Job> {
    let dir = tempfile::tempdir().expect("a folder");
    let disks: Vec<_> = (0..2)
        .map(|n| {
            let path = dir.path().join(format!("{n}.raw"));
            raw_disk(&path, 24 - 8 * n, n + 1);
            json!({"file": path})
        })
        .collect();
    let inventory = json!({"vms": [{
        "name": "web01", "cpu": 2, "memory_mb": 512, "firmware": "bios",
        "guest_id": "ubuntu64Guest", "disks": disks, "nics": [{"mac": "00:50:56:aa:bb:01"}],
        "attributes": {"Owner": "web team", "Tier": "2"},
        "tags": [{"category": "Environment", "name": "prod"}],
    }]});
    Job::new(dir, &inventory, &[])
}

/// Path of the real hyper2kvm.
fn real() -> Option<PathBuf> {
    hyper2kvm::real()
}

/// Flags for a conversion of disks without an operating system.
fn convert(hyper2kvm: &Path) -> Vec<String> {
    let path = hyper2kvm.to_str().expect("UTF-8");
    ["--pipeline", "--pipeline-fix=false", "--hyper2kvm-path", path].map(String::from).to_vec()
}

/// Flags for a unique pool and domain.
fn define(job: &Job, names: &Names) -> Vec<String> {
    let pool = job.dir.path().join("pool");
    [
        "--libvirt-name",
        &names.name("vm"),
        "--libvirt-pool",
        &names.name("pool"),
        "--libvirt-pool-path",
        pool.to_str().expect("UTF-8"),
    ]
    .map(String::from)
    .to_vec()
}

fn run(job: &Job, flags: &[Vec<String>]) -> Ended {
    let flags: Vec<_> = flags.iter().flatten().map(String::as_str).collect();
    job.run("web01", &flags)
}

fn flags(list: &[&str]) -> Vec<String> {
    list.iter().map(|flag| (*flag).to_owned()).collect()
}

/// Raw content of a disk of the VM.
fn source(job: &Job, disk: usize) -> &Path {
    &job.sim.vm("web01").disks.as_ref().expect("disks")[disk].raw
}

/// Asserts that the volumes contain the exported data.
fn assert_verified(job: &Job, ended: &Ended) {
    let mut verify = job.bare(&["verify", "--json", "--result"]);
    let verify = verify.arg(job.file("result.json")).output().expect("hyperexport runs");
    let verified = Ended::from(verify).expect(0);
    for disk in 0..2 {
        let exported = &ended.json["disks"][disk]["content"];
        assert_eq!(verified.json["disks"][disk]["exported"], *exported, "{}", verified.stdout);
    }
}

#[test]
fn every_byte_of_every_disk_arrives_in_the_pool() {
    let (Some(hyper2kvm), true) = (real(), libvirtd::available()) else { return };
    let Some(job) = job() else { return };
    let names = Names::new();
    // State after a kill during the rehearsal of the definition.
    let trial = "2f0b5a0e-4a44-4f0e-9d9c-3f2b7a5d1c03";
    let xml = format!(
        "<domain type='qemu'><name>hyperexport-trial-{trial}</name><uuid>{trial}</uuid>\
         <memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>"
    );
    libvirtd::connect().define_domain_xml(&xml).expect("a leftover");
    let all = [convert(&hyper2kvm), flags(&["--libvirt"]), define(&job, &names)];
    let ended = run(&job, &all).expect(0);
    assert_eq!(ended.json["outcome"], "done", "{}", ended.stdout);
    assert!(libvirtd::connect().lookup_domain_by_uuid_string(trial).is_err(), "it is still there");
    assert_eq!(
        job.files(),
        [
            "disk-0.vmdk",
            "disk-1.vmdk",
            "domain.xml",
            "hyper2kvm.log",
            "manifest.json",
            "report.json",
            "result.json",
            "runs",
            "web01-disk-1.qcow2",
            "web01.qcow2"
        ]
    );
    for (disk, result) in [(0, "web01.qcow2"), (1, "web01-disk-1.qcow2")] {
        assert_same_disk((source(&job, disk), "raw"), (&job.file(result), "qcow2"));
        let volume = &ended.json["domain"]["volumes"][disk]["path"];
        let volume = Path::new(volume.as_str().expect("a path"));
        assert_same_disk((source(&job, disk), "raw"), (volume, "qcow2"));
    }
    for image in ["disk-0.vmdk", "disk-1.vmdk", "web01.qcow2", "web01-disk-1.qcow2"] {
        let mode = job.file(image).metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "others may read {image}, which holds a whole machine");
    }
    assert_valid_domain(&job.file("domain.xml"));
    assert_eq!(job.result(), ended.json, "result.json and --json differ");
    job.assert_source_is_free();
    assert_verified(&job, &ended);

    let uuid = ended.json["domain"]["uuid"].as_str().expect("defined").to_owned();
    let times = || {
        let volumes = ended.json["domain"]["volumes"].as_array().expect("volumes").iter();
        let paths = volumes.map(|volume| PathBuf::from(volume["path"].as_str().expect("a path")));
        paths.map(|path| path.metadata().expect("there").modified().expect("known")).collect()
    };
    let (before, result): (Vec<_>, _) = (times(), job.result());
    let dry = run(&job, &[&all[..], &[flags(&["--dry-run"])]].concat()).expect(0);
    let plan = dry.json["plan"].to_string();
    for line in ["reuse the export of", "keep the conversion", "keep the domain"] {
        assert!(plan.contains(line), "no '{line}' in {plan}");
    }
    let again = run(&job, &all).expect(0);
    assert_eq!(
        (&again.json["outcome"], &again.json["already_done"]),
        (&json!("already-done"), &json!(true))
    );
    for stage in ["export", "manifest", "pipeline", "libvirt"] {
        assert_eq!(again.stage(stage), "kept", "{}", again.stdout);
    }
    assert!(!again.stderr.contains("0.0 s\n== export: 0.0 s"), "{}", again.stderr);
    assert_eq!(again.json["domain"]["uuid"], uuid.as_str());
    assert_eq!(times(), before, "a volume was made again");
    assert_eq!(job.result(), result, "a run that did nothing replaced the result");
    assert_eq!((job.leases(), names.domains().len()), (1, 1));

    // With different flags the run is refused with the reasons, before any change.
    let other = [&all[..], &[flags(&["--libvirt-autostart"])]].concat();
    let ended = run(&job, &other).expect(4);
    ended.said("--libvirt-autostart: default then, true now");
    assert_eq!(ended.json["errors"][0]["code"], "domain-differs", "{}", ended.stdout);

    // A domain that was undefined by someone else is defined again.
    let gone = libvirtd::connect().lookup_domain_by_uuid_string(&uuid).expect("there");
    gone.undefine().expect("undefined");
    let ended = run(&job, &all).expect(0);
    assert_eq!((ended.stage("pipeline"), ended.stage("libvirt")), ("kept", "done"));
    assert_eq!(names.domains().len(), 1);
    job.assert_source_is_free();
}

#[test]
fn results_that_are_written_into_the_pool_are_used_where_they_lie() {
    let (Some(hyper2kvm), true) = (real(), libvirtd::available()) else { return };
    let Some(job) = job() else { return };
    let names = Names::new();
    let pool = job.output();
    let mut target = define(&job, &names);
    *target.last_mut().expect("the pool's path") = pool.to_str().expect("UTF-8").to_owned();
    // QEMU's user must be able to enter the folder.
    std::fs::set_permissions(job.dir.path(), PermissionsExt::from_mode(0o711)).expect("set");
    let ended = run(&job, &[convert(&hyper2kvm), flags(&["--libvirt"]), target]).expect(0);
    assert_eq!(ended.json["outcome"], "done", "{}", ended.stdout);
    for (disk, result) in [(0, "web01.qcow2"), (1, "web01-disk-1.qcow2")] {
        let volume = &ended.json["domain"]["volumes"][disk];
        assert_eq!(volume["path"], json!(job.file(result)), "{volume}");
        assert_eq!(volume["created"], false, "it was copied");
    }
    let images = job.files().into_iter().filter(|name| name.ends_with(".qcow2")).count();
    assert_eq!(images, 2, "{:?}", job.files());

    let result = job.file("result.json");
    let undone = Command::new(env!("CARGO_BIN_EXE_hyperexport"))
        .args(["undo", "--result", result.to_str().expect("UTF-8")])
        .output()
        .expect("it runs");
    assert!(names.domains().is_empty(), "{}", String::from_utf8_lossy(&undone.stderr));
    for image in ["disk-0.vmdk", "web01.qcow2", "web01-disk-1.qcow2"] {
        assert!(job.file(image).exists(), "{image} belongs to the export, and undo took it");
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    let (Some(hyper2kvm), true) = (real(), libvirtd::available()) else { return };
    let Some(job) = job() else { return };
    let names = Names::new();
    let all = [convert(&hyper2kvm), flags(&["--libvirt", "--dry-run"]), define(&job, &names)];
    let ended = run(&job, &all).expect(0);
    let plan = ended.json["plan"].to_string();
    let pool =
        format!("over {}, and start it with its host", job.dir.path().join("pool").display());
    let volume = job.dir.path().join("pool").join(format!("{}.qcow2", names.name("vm")));
    for step in [
        "disk-1.vmdk",
        "manifest.json",
        "hyper2kvm",
        "web01.qcow2",
        "define the domain",
        &pool,
        volume.to_str().expect("UTF-8"),
        "in network 'VM Network' to network 'default'",
    ] {
        assert!(plan.contains(step), "{step} is missing: {plan}");
    }
    assert!(!job.output().exists(), "{:?}", job.files());
    assert_eq!((job.leases(), names.domains().len(), names.pools().len()), (0, 0, 0));
    job.assert_source_is_free();
}

#[test]
fn a_pipeline_dry_run_exports_and_converts_nothing() {
    let Some(hyper2kvm) = real() else { return };
    let Some(job) = job() else { return };
    let ended = run(&job, &[convert(&hyper2kvm), flags(&["--pipeline-dry-run"])]).expect(0);
    assert!(ended.json["plan"].to_string().contains("--manifest"), "{}", ended.stdout);
    assert_eq!(job.files(), ["disk-0.vmdk", "disk-1.vmdk", "manifest.json", "result.json"]);
}

#[test]
fn migrate_is_strict_where_flags_alone_are_not() {
    if !libvirtd::available() {
        return;
    }
    let Some(job) = job() else { return };
    let names = Names::new();
    let (name, pool) = (names.name("vm"), names.name("pool"));
    let folder = job.dir.path().join("pool");
    let target = ["--hyper2kvm-path", "/no/such/hyper2kvm", "--libvirt-name", &name];
    let pool = ["--libvirt-pool", &pool, "--libvirt-pool-path", folder.to_str().expect("UTF-8")];
    let target = flags(&[target, pool].concat());
    let alone = run(&job, &[flags(&["--pipeline", "--libvirt"]), target.clone()]).expect(0);
    assert_eq!(alone.json["outcome"], "partial", "{}", alone.stdout);
    let verb = run(&job, &[flags(&["migrate"]), target]).expect(3);
    assert_eq!((verb.stage("export"), verb.stage("pipeline")), ("kept", "failed"));
    assert!(names.domains().is_empty(), "{}", verb.stdout);
}

#[test]
fn without_hyper2kvm_the_export_stands() {
    let Some(job) = job() else { return };
    let all = flags(&["--pipeline", "--hyper2kvm-path", "/no/such/hyper2kvm"]);
    let ended = run(&job, std::slice::from_ref(&all)).expect(0);
    assert_eq!(ended.json["outcome"], "partial");
    assert_eq!((ended.stage("export"), ended.stage("pipeline")), ("done", "failed"));
    assert!(job.result()["errors"][0]["hint"].is_string(), "{}", ended.stdout);
    ended.said("/no/such/hyper2kvm");
    assert_same_disk((source(&job, 0), "raw"), (&job.file("disk-0.vmdk"), "vmdk"));

    let strict = run(&job, &[all, flags(&["--strict"])]).expect(3);
    assert_eq!(strict.stage("export"), "kept", "the export was taken again");
    assert_eq!(job.leases(), 1);
}

#[test]
fn an_unreachable_libvirt_leaves_everything_else_and_the_next_run_defines() {
    let (Some(hyper2kvm), true) = (real(), libvirtd::available()) else { return };
    let Some(job) = job() else { return };
    let names = Names::new();
    let gone = flags(&["--libvirt", "--libvirt-uri", "qemu+unix:///system?socket=/no/such/socket"]);
    let ended = run(&job, &[convert(&hyper2kvm), gone, define(&job, &names)]).expect(0);
    assert_eq!((ended.stage("pipeline"), ended.stage("libvirt")), ("done", "failed"));
    ended.said("/no/such/socket");
    ended.said("hint:");

    let here = [convert(&hyper2kvm), flags(&["--libvirt"]), define(&job, &names)];
    let ended = run(&job, &here).expect(0);
    assert_eq!(
        (ended.stage("export"), ended.stage("pipeline"), ended.stage("libvirt")),
        ("kept", "kept", "done")
    );
    assert_eq!(names.domains().len(), 1);
}

#[test]
fn a_taken_name_is_refused_before_anything_happens() {
    let (Some(hyper2kvm), true) = (real(), libvirtd::available()) else { return };
    let Some(job) = job() else { return };
    let names = Names::new();
    let taken = names.name("vm");
    let xml = format!(
        "<domain type='qemu'><name>{taken}</name><memory unit='MiB'>64</memory>\
         <os><type>hvm</type></os></domain>"
    );
    libvirtd::connect().define_domain_xml(&xml).expect("the user's domain");
    let ended =
        run(&job, &[convert(&hyper2kvm), flags(&["--libvirt"]), define(&job, &names)]).expect(4);
    ended.said(&taken);
    assert_eq!((job.leases(), job.output().exists()), (0, false));
    assert_eq!(names.domains(), [taken], "the user's domain is gone");
    assert!(names.pools().is_empty());
}

#[test]
fn a_missing_pool_is_refused_with_both_ways_out() {
    let (Some(hyper2kvm), true) = (real(), libvirtd::available()) else { return };
    let Some(job) = job() else { return };
    let pool = flags(&["--libvirt", "--libvirt-pool", "hxt-no-such-pool"]);
    let ended = run(&job, &[convert(&hyper2kvm), pool]).expect(4);
    ended.said("hxt-no-such-pool");
    ended.said("--libvirt-pool-path");
    assert_eq!((job.leases(), job.output().exists()), (0, false));
}

#[test]
fn convert_and_define_go_on_from_the_files() {
    let (Some(hyper2kvm), true) = (real(), libvirtd::available()) else { return };
    let Some(job) = job() else { return };
    let names = Names::new();
    run(&job, &[flags(&["--manifest"])]).expect(0);
    assert_eq!(job.files(), ["disk-0.vmdk", "disk-1.vmdk", "manifest.json", "result.json"]);
    let manifest = job.file("manifest.json");
    let later = |name: &str, more: Vec<String>| {
        let mut command = job.bare(&[name, "--json", "--manifest"]);
        command.arg(&manifest).args(more);
        Ended::from(command.output().expect("hyperexport runs"))
    };
    later("define", define(&job, &names)).expect(4).said("hyperexport convert --manifest");

    let stages = convert(&hyper2kvm).into_iter().skip(1).collect::<Vec<_>>();
    let ended = later("convert", stages.clone()).expect(0);
    assert_eq!(ended.json["converted"][0]["format"], "qcow2", "{}", ended.stdout);
    later("convert", stages).expect(4).said("web01.qcow2");

    let dry = [define(&job, &names), flags(&["--dry-run"])].concat();
    later("define", dry).expect(0);
    assert!(names.domains().is_empty(), "a dry run defined a domain");
    let ended = later("define", define(&job, &names)).expect(0);
    assert_eq!(ended.json["domain"]["volumes"].as_array().map(Vec::len), Some(2));
    assert_valid_domain(&job.file("domain.xml"));
    let xml = std::fs::read_to_string(job.file("domain.xml")).expect("domain.xml");
    assert!(!xml.contains("bus='virtio'"), "nobody has fixed the guest: {xml}");
    for part in ["moref=\"vm-", "server=\"127.0.0.1\"", "<hyperexport:export time=\"20"] {
        assert!(xml.contains(part), "no {part} in {xml}");
    }
}

#[test]
fn flags_about_the_hardware_arrive_in_the_domain() {
    let (Some(hyper2kvm), true) = (real(), libvirtd::available()) else { return };
    let Some(job) = job() else { return };
    let names = Names::new();
    run(&job, &[flags(&["--manifest"])]).expect(0);
    let manifest = job.file("manifest.json");
    let later = |name: &str, more: Vec<String>| {
        let mut command = job.bare(&[name, "--json", "--manifest"]);
        command.arg(&manifest).args(more);
        Ended::from(command.output().expect("hyperexport runs"))
    };
    later("convert", convert(&hyper2kvm).into_iter().skip(1).collect()).expect(0);
    let profile = job.dir.path().join("own.xml");
    let own = "<domain><features><acpi/></features><devices><watchdog model=\"i6300esb\" \
        action=\"poweroff\"/></devices></domain>";
    std::fs::write(&profile, own).expect("written");
    let emulator = Path::new("/usr/bin/swtpm").exists();
    let tpm = if emulator { "on" } else { "off" };
    let hardware = |model: &str| {
        let mut wishes = flags(&["--disk-bus", "scsi", "--libvirt-iothreads", "2"]);
        wishes.extend(flags(&["--libvirt-tpm", tpm, "--libvirt-domain-type", "qemu"]));
        wishes.extend(flags(&["--libvirt-cpu-mode", model]));
        wishes.extend(flags(&["--libvirt-profile", profile.to_str().expect("UTF-8")]));
        [define(&job, &names), wishes].concat()
    };
    later("define", hardware("Cray-1")).expect(4).said("--libvirt-cpu-mode with one of: ");
    let ended = later("define", hardware("qemu64")).expect(0);
    assert_eq!(ended.json["warnings"][0]["code"], "disk-bus-unproven", "{}", ended.stdout);
    let xml = std::fs::read_to_string(job.file("domain.xml")).expect("domain.xml");
    for part in [
        "bus='scsi'",
        "model='virtio-scsi'",
        "<iothreads>2</iothreads>",
        ">qemu64</model>",
        "action='poweroff'",
    ] {
        assert!(xml.contains(part), "no {part} in {xml}");
    }
    assert!(!xml.contains("<rng"), "{xml}");
    assert_eq!(xml.contains("<tpm model='tpm-tis'>"), emulator, "{xml}");
}

#[test]
fn the_list_is_for_people_and_for_programs() {
    let Some(job) = job() else { return };
    let password = job.dir.path().join("password");
    let list = |more: &[&str]| {
        let mut command = job.bare(&["list", "--url", &job.sim.url, "--username", &job.sim.user]);
        command
            .args(["--thumbprint", &job.sim.sha256, "--password-file"])
            .arg(&password)
            .args(more);
        Ended::from(command.output().expect("hyperexport runs")).expect(0)
    };
    let table = list(&[]).stdout;
    assert!(table.contains("NAME") && table.contains("web01") && table.contains("/DC0/vm/web01"));
    let vms: Value = list(&["--json"]).json;
    assert_eq!(vms[0]["name"], "web01");
    assert_eq!((&vms[0]["memory_mib"], &vms[0]["disks"]), (&json!(512), &json!(2)));
    let count =
        |more: &[&str]| list(&[more, &["--json"]].concat()).json.as_array().expect("a list").len();
    assert_eq!(count(&["--name", "WEB*", "--folder", "/DC0/vm", "--power", "off"]), 1);
    assert_eq!((count(&["--name", "db*"]), count(&["--power", "on"])), (0, 0));
    let owner = ["--attribute", "Owner=web team"];
    assert_eq!(count(&[&owner[..], &["--attribute", "Tier=2"]].concat()), 1);
    assert_eq!(count(&[&owner[..], &["--attribute", "Tier=1"]].concat()), 0);
    assert_eq!(count(&["--tag", "prod"]), 1);
    assert_eq!(count(&["--tag", "Environment=test"]), 0);
    assert_eq!(vms[0]["attributes"]["Owner"], "web team");
    job.assert_source_is_free();
}

#[test]
fn what_is_known_of_a_vm_is_for_people_and_for_programs() {
    let Some(job) = job() else { return };
    let password = job.dir.path().join("password");
    let info = |vm: &str, more: &[&str], code: i32| {
        let mut command =
            job.bare(&["info", vm, "--url", &job.sim.url, "--username", &job.sim.user]);
        command
            .args(["--thumbprint", &job.sim.sha256, "--password-file"])
            .arg(&password)
            .args(more);
        Ended::from(command.output().expect("hyperexport runs")).expect(code)
    };
    let table = info("web01", &[], 0).stdout;
    for part in ["web01", "BIOS", "512.0 MiB", "24.0 MiB on ", "00:50:56:aa:bb:01"] {
        assert!(table.contains(part), "{part} is missing: {table}");
    }
    let facts = info("/DC0/vm/web01", &["--json"], 0).json;
    assert_eq!((&facts["vm"]["name"], &facts["obstacles"]), (&json!("web01"), &json!([])));
    info("web02", &[], 1).said("web01");
    job.assert_source_is_free();
}

#[test]
fn nothing_secret_is_written_or_shown() {
    let Some(job) = job() else { return };
    let ended = run(&job, &[flags(&["--manifest", "-vvv"])]).expect(0);
    let password = &job.sim.password;
    assert!(!ended.stderr.contains(password) && !ended.stdout.contains(password));
    assert!(!ended.stderr.contains("vmware_soap_session"), "a session cookie is logged");
    let grep = Command::new("grep").args(["-rlF", password]).arg(job.output()).output();
    assert!(grep.expect("grep runs").stdout.is_empty(), "the password is in a file");
    assert_eq!(read_json(&job.file("result.json"))["outcome"], "done");
}

/// Conversions that start the appliance of libguestfs: two at a time, as in `crate::heavy`.
mod heavy {
    use super::*;

    #[test]
    fn a_failed_fix_leaves_the_export_and_the_next_run_goes_on_from_it() {
        let Some(hyper2kvm) = real() else { return };
        let Some(job) = job() else { return };
        let path = hyper2kvm.to_str().expect("UTF-8");
        let ended = run(&job, &[flags(&["--pipeline", "--hyper2kvm-path", path])]).expect(0);
        assert_eq!((ended.stage("export"), ended.stage("pipeline")), ("done", "failed"));
        assert_eq!(
            job.files(),
            ["disk-0.vmdk", "disk-1.vmdk", "hyper2kvm.log", "manifest.json", "result.json"]
        );

        let ended = run(&job, &[convert(&hyper2kvm)]).expect(0);
        assert_eq!((ended.stage("export"), ended.stage("pipeline")), ("kept", "done"));
        assert_same_disk((source(&job, 1), "raw"), (&job.file("web01-disk-1.qcow2"), "qcow2"));
    }

    #[test]
    fn a_conversion_that_takes_too_long_leaves_no_process_and_no_work_folder() {
        let Some(hyper2kvm) = real() else { return };
        let Some(job) = job() else { return };
        let path = hyper2kvm.to_str().expect("UTF-8");
        let late = flags(&["--pipeline", "--hyper2kvm-path", path, "--pipeline-timeout", "4s"]);
        let ended = run(&job, &[late]).expect(0);
        assert_eq!(ended.stage("pipeline"), "failed");
        ended.said("4s");
        assert!(!job.files().iter().any(|name| name.contains("work")), "{:?}", job.files());
        let left = processes_naming(&job.output());
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn after_a_kill_in_the_conversion_nothing_runs_on_and_the_next_run_keeps_the_export() {
        let Some(hyper2kvm) = real() else { return };
        let Some(job) = job() else { return };
        let path = hyper2kvm.to_str().expect("UTF-8");
        let mut child = job.start("web01", &["--pipeline", "--hyper2kvm-path", path]);
        let deadline = Instant::now() + Duration::from_secs(60);
        let in_fix = || std::fs::read_to_string(job.file("hyper2kvm.log")).unwrap_or_default();
        while !in_fix().contains("Stage: FIX") {
            assert!(Instant::now() < deadline, "no conversion: {:?}", job.files());
            std::thread::sleep(Duration::from_millis(50));
        }
        child.kill().expect("it lives");
        child.wait().expect("it is dead");
        let deadline = Instant::now() + Duration::from_secs(30);
        while !processes_naming(&job.output()).is_empty() {
            assert!(Instant::now() < deadline, "{:?}", processes_naming(&job.output()));
            std::thread::sleep(Duration::from_millis(100));
        }

        let ended = run(&job, &[convert(&hyper2kvm)]).expect(0);
        assert_eq!((ended.stage("export"), ended.stage("pipeline")), ("kept", "done"));
        assert!(!job.files().iter().any(|name| name.starts_with('.')), "{:?}", job.files());
        assert_same_disk((source(&job, 0), "raw"), (&job.file("web01.qcow2"), "qcow2"));
    }

    /// Command lines and environments of live processes that contain a path.
    fn processes_naming(path: &Path) -> Vec<String> {
        let path = path.to_str().expect("UTF-8");
        let read = |pid: &Path, file: &str| {
            String::from_utf8_lossy(&std::fs::read(pid.join(file)).unwrap_or_default()).into_owned()
        };
        std::fs::read_dir("/proc")
            .expect("procfs")
            .flatten()
            .map(|entry| entry.path())
            .map(|pid| read(&pid, "cmdline") + &read(&pid, "environ"))
            .filter(|text| text.contains(path))
            .collect()
    }
}
