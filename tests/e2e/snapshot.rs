//! Running VMs: exported from a temporary snapshot, which is always removed while the user's
//! snapshots stay; or shut down first.

use std::time::{Duration, Instant};

use crate::support::job::{Ended, Job};
use crate::support::vcsim::raw_disk;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// Name of the user's own snapshot.
const OTHER: &str = "before the update";

/// A running VM with one disk and a snapshot of the user.
fn job(args: &[&str]) -> Option<Job> {
    job_with("toolsOk", args)
}

fn job_with(tools: &str, args: &[&str]) -> Option<Job> {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = dir.path().join("0.raw");
    raw_disk(&disk, 8, 5);
    let inventory = json!({"vms": [{
        "name": "web01", "firmware": "bios", "power": "on", "tools": tools,
        "snapshots": [OTHER], "disks": [{"file": disk}],
    }]});
    Job::new(dir, &inventory, args)
}

/// Asserts that the user's snapshot exists, and none of ours.
fn assert_only_other_snapshot(job: &Job) {
    assert_eq!(job.state()["snapshots"], json!([OTHER]));
    job.assert_source_is_free();
}

/// Waits until bytes were sent while our snapshot exists.
fn wait_for_bytes(job: &Job) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let state = job.state();
        if state["nfc_bytes"].as_u64().unwrap_or(0) > 0 {
            let ours = |name: &Value| name.as_str().is_some_and(|n| n.starts_with("hyperexport-"));
            let names = state["snapshots"].as_array().expect("snapshots").clone();
            assert_eq!(names.iter().filter(|name| ours(name)).count(), 1, "{names:?}");
            return;
        }
        assert!(Instant::now() < deadline, "no byte arrives: {state}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_running_vm_is_exported_and_goes_on_running() {
    let Some(job) = job(&["-task-delay", "600ms"]) else { return };
    let ended = job.run("web01", &["--manifest", "--snapshot"]).expect(0);
    job.assert_exported();
    assert_only_other_snapshot(&job);
    assert_eq!(ended.codes(), [""; 0], "{}", ended.stdout);
    assert_eq!(job.manifest()["source"]["export_method"], "nfc-snapshot");
    let calls = &job.state()["calls"];
    assert!(calls["PowerOffVM_Task"].is_null() && calls["ShutdownGuest"].is_null(), "{calls}");
    assert_no_proof_of_a_snapshot(&job);
}

/// Asserts that `define` and `plan` treat the state of the disks as a complete run does.
fn assert_no_proof_of_a_snapshot(job: &Job) {
    let convert = ["convert", "--converter", "native", "--pipeline-fix=false"];
    let of = |words: &[&str]| {
        let mut command = job.bare(words);
        command.arg("--manifest").arg(job.file("manifest.json"));
        Ended::from(command.output().expect("it runs"))
    };
    of(&[&convert[..], &["--pipeline-inspect=false"]].concat()).expect(0);
    let plan = job.dir.path().join("plan.json");
    let plan = ["plan", "--plan", plan.to_str().expect("UTF-8")];
    for command in [&["define"][..], &plan] {
        for flag in ["--boot-proof", "--libvirt-start"] {
            let ended = of(&[command, &[flag]].concat()).expect(4);
            ended.said("the disks are those of a snapshot of web01");
            ended.said(&format!("leave {flag} out"));
        }
    }
}

#[test]
fn a_guest_that_cannot_rest_is_a_warning_or_an_end() {
    let fault = json!({"task_fault": "createSnapshot:ApplicationQuiesceFault"});
    let Some(job) = job(&[]) else { return };
    job.faults(&fault);
    let ended = job.run("web01", &["--snapshot", "--quiesce", "yes"]).expect(1);
    ended.said("--quiesce try or no");
    assert_only_other_snapshot(&job);
    assert!(job.files().is_empty(), "{:?}", job.files());

    job.faults(&fault);
    let ended = job.run("web01", &["--snapshot"]).expect(0);
    assert_eq!(ended.codes(), ["not-quiesced"]);
    job.assert_exported();
    assert_only_other_snapshot(&job);
}

#[test]
fn a_guest_without_tools_is_never_said_to_have_rested() {
    let Some(job) = job_with("toolsNotRunning", &[]) else { return };
    let ended = job.run("web01", &["--snapshot", "--quiesce", "yes"]).expect(4);
    ended.said("VMware Tools are not running in web01");
    ended.said("--quiesce try or no");
    assert!(job.state()["calls"]["CreateSnapshot_Task"].is_null());

    let ended = job.run("web01", &["--snapshot"]).expect(0);
    assert_eq!(ended.codes(), ["not-quiesced"]);
    job.assert_exported();
}

#[test]
fn the_snapshot_goes_after_an_error() {
    let Some(job) = job(&[]) else { return };
    job.faults(&json!({"nfc_status": 404, "nfc_status_count": 99}));
    job.run("web01", &["--snapshot", "--quiesce", "no"]).expect(1);
    assert_only_other_snapshot(&job);
    assert!(job.files().is_empty(), "{:?}", job.files());
}

#[test]
fn the_snapshot_goes_after_ctrl_c() {
    let Some(job) = job(&[]) else { return };
    job.faults(&json!({"nfc_rate": 200_000}));
    let child = job.start("web01", &["--snapshot"]);
    wait_for_bytes(&job);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("it lives");
    Ended::from(child.wait_with_output().expect("it ends")).expect(130);
    assert_only_other_snapshot(&job);
}

/// A job whose run was killed while bytes arrived, and whose session has ended since.
fn killed() -> Option<Job> {
    let job = job(&["-lease-timeout", "3"])?;
    job.faults(&json!({"nfc_rate": 200_000}));
    let mut child = job.start("web01", &["--snapshot"]);
    wait_for_bytes(&job);
    child.kill().expect("it is ours");
    child.wait().expect("it is dead");
    job.faults(&json!({}));
    job.expire();
    Some(job)
}

#[test]
fn the_snapshot_of_a_killed_run_goes_with_the_next_one() {
    let Some(job) = killed() else { return };
    job.run("web01", &["--snapshot"]).expect(0).said("removing the snapshot hyperexport-");
    job.assert_exported();
    assert_only_other_snapshot(&job);
}

#[test]
fn the_snapshot_of_a_run_that_is_known_no_more_is_told() {
    let Some(job) = killed() else { return };
    // Only this file records the snapshot.
    std::fs::remove_file(job.file(".hyperexport-run")).expect("there");
    std::fs::remove_file(job.file("disk-0.vmdk.part")).expect("there");
    let ended = job.run("web01", &["--snapshot"]).expect(0);
    assert_eq!(ended.codes(), ["snapshot-found"]);
    ended.said("of another run");
    job.assert_exported();
    let left = job.state()["snapshots"].as_array().map_or(0, Vec::len);
    assert_eq!(left, 2, "the user's, and that of nobody we know");
}

#[test]
fn a_snapshot_is_taken_once_though_the_server_restarts_meanwhile() {
    let Some(job) = job(&["-task-delay", "2s"]) else { return };
    let child = job.start("web01", &["--snapshot"]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while job.state()["calls"]["CreateSnapshot_Task"].is_null() {
        assert!(Instant::now() < deadline, "no snapshot is asked for");
        std::thread::sleep(Duration::from_millis(20));
    }
    // More failures than a single call retries.
    job.faults(&json!({"soap_status": 503, "soap_status_count": 5}));
    let ended = Ended::from(child.wait_with_output().expect("it ends")).expect(0);
    ended.said("HTTP 503; the snapshot hyperexport-");
    assert_eq!(job.state()["calls"]["CreateSnapshot_Task"], 1);
    job.assert_exported();
    assert_only_other_snapshot(&job);
}

#[test]
fn a_snapshot_that_a_killed_run_asked_for_is_waited_for() {
    let Some(job) = job(&["-task-delay", "3s"]) else { return };
    let mut child = job.start("web01", &["--snapshot"]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while job.state()["calls"]["CreateSnapshot_Task"].is_null() {
        assert!(Instant::now() < deadline, "no snapshot is asked for");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("it is ours");
    child.wait().expect("it is dead");
    assert_eq!(job.state()["snapshots"], json!([OTHER]), "it is being taken");
    job.expire();
    let ended = job.run("web01", &["--snapshot"]).expect(0);
    ended.said("waiting for a snapshot of web01 that is under way");
    job.assert_exported();
    assert_only_other_snapshot(&job);
}

#[test]
fn the_snapshot_goes_though_the_session_ends_in_the_transfer() {
    let Some(job) = job(&["-lease-timeout", "3"]) else { return };
    job.faults(&json!({"nfc_rate": 300_000}));
    let child = job.start("web01", &["--snapshot"]);
    wait_for_bytes(&job);
    job.faults(&json!({}));
    job.expire();
    Ended::from(child.wait_with_output().expect("it ends")).expect(0);
    job.assert_exported();
    assert_only_other_snapshot(&job);
}

#[test]
fn a_guest_that_takes_too_long_stays_on_unless_its_power_may_be_cut() {
    let Some(job) = job(&["-task-delay", "4s"]) else { return };
    let ended = job.run("web01", &["--power-off", "--shutdown-timeout", "1s"]).expect(1);
    ended.said("web01 did not shut down within 1s");
    ended.said("--power-off=force");
    assert_eq!(ended.json["errors"][0]["code"], "still-on", "{}", ended.stdout);
    assert_eq!((job.leases(), job.output().exists()), (0, false));
    assert!(job.state()["calls"]["PowerOffVM_Task"].is_null(), "its power was cut");
    // The guest was shut down afterwards nevertheless, and powered on again.
    let source = &ended.json["source"];
    assert_eq!((&source["returned"], &source["power"]), (&json!("on"), &json!("on")), "{source}");

    let ended = job.run("web01", &["--power-off=force", "--shutdown-timeout", "1s"]).expect(0);
    assert_eq!(ended.codes(), ["powered-off-hard"]);
    job.assert_exported();
    assert_only_other_snapshot(&job);
}

#[test]
fn a_guest_that_shuts_down_is_not_cut() {
    let Some(job) = job(&["-task-delay", "300ms"]) else { return };
    let ended = job.run("web01", &["--power-off=true", "--manifest"]).expect(0);
    assert_eq!(ended.codes(), [""; 0], "{}", ended.stdout);
    assert_eq!(ended.json["source"]["powered_off"], "shutdown", "{}", ended.stdout);
    let state = &job.manifest()["metadata"]["hyperexport"]["state"];
    assert_eq!((&state["power"], &state["snapshot"]), (&json!("off"), &json!(false)), "{state}");
    assert!(state["revision"].is_string() && state["boot_time"].is_null(), "{state}");
    assert!(job.state()["calls"]["PowerOffVM_Task"].is_null(), "its power was cut");
    let again = job.run("web01", &["--power-off", "--manifest"]).expect(0);
    assert_eq!(again.json["already_done"], true, "{}", again.stdout);
}
