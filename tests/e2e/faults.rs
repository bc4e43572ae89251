//! Exports that the source refuses, the user interrupts, or a signal kills.

use std::io::Read;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::support::job::{Ended, Job, on_small_disk};
use crate::support::vcsim::raw_disk;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

/// A VM with one disk of incompressible data, so that a slow connection takes time.
fn job() -> Option<Job> {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = dir.path().join("0.raw");
    raw_disk(&disk, 16, 7);
    let inventory =
        json!({"vms": [{"name": "web01", "firmware": "bios", "disks": [{"file": disk}]}]});
    Job::new(dir, &inventory, &[])
}

/// Waits until bytes of the first disk have arrived.
fn wait_for_bytes(job: &Job, child: &mut Child) {
    let part = job.file("disk-0.vmdk.part");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !part.metadata().is_ok_and(|file| file.len() > 0) {
        assert!(Instant::now() < deadline, "no byte arrives: {:?}", job.files());
        assert!(child.try_wait().expect("a child").is_none(), "it ended: {}", said(child));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn said(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut text).expect("UTF-8");
    text
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).expect("it lives");
}

#[test]
fn every_signal_that_ends_a_run_gives_the_lease_back_and_leaves_nothing() {
    let Some(job) = job() else { return };
    let ends = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGHUP];
    for (count, end) in ends.into_iter().enumerate() {
        job.faults(&json!({"nfc_rate": 400_000}));
        let mut child = job.start("web01", &["--manifest"]);
        wait_for_bytes(&job, &mut child);
        signal(&child, end);
        let ended = Ended::from(child.wait_with_output().expect("it ends")).expect(130);
        assert_eq!(ended.json["outcome"], "interrupted", "{end}: {}", ended.stdout);
        assert!(job.files().is_empty(), "{end}: {:?}", job.files());
        job.assert_source_is_free();
        let state = job.state();
        assert_eq!(state["leases"][count]["State"], "error", "{end}: not aborted: {state}");
    }

    job.faults(&json!({}));
    job.run("web01", &["--manifest"]).expect(0);
    job.assert_exported();
}

/// A terminal that disconnects: `script` creates it and exits.
#[test]
fn a_broken_connection_of_the_terminal_ends_the_run_whatever_hangup_means() {
    let Some(job) = job() else { return };
    let limit = job.dir.path().join("limit");
    std::fs::write(&limit, "400K\n").expect("written");
    let flags = ["--manifest", "--bandwidth-limit-file", limit.to_str().expect("UTF-8")];
    let command = job.command("web01", &flags);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| format!("'{}'", word.to_str().expect("UTF-8"))).collect();
    let mut terminal = std::process::Command::new("script");
    terminal.args(["--quiet", "--command", &format!("exec {}", words.join(" ")), "/dev/null"]);
    terminal.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    terminal.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
    let mut terminal = terminal.stderr(std::process::Stdio::piped()).spawn().expect("it runs");
    wait_for_bytes(&job, &mut terminal);
    signal(&terminal, Signal::SIGKILL);
    terminal.wait().expect("it is dead");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !job.files().is_empty() {
        assert!(Instant::now() < deadline, "it goes on: {:?}", job.files());
        std::thread::sleep(Duration::from_millis(50));
    }
    job.assert_source_is_free();
}

#[test]
fn after_a_kill_the_same_command_succeeds() {
    let Some(job) = job() else { return };
    job.faults(&json!({"nfc_rate": 400_000}));
    let mut child = job.start("web01", &["--manifest"]);
    wait_for_bytes(&job, &mut child);
    signal(&child, Signal::SIGKILL);
    child.wait().expect("it is dead");
    assert!(!job.file("disk-0.vmdk").exists(), "half a disk carries its final name");

    // The dead run's lease locks the VM until its session ends.
    job.faults(&json!({}));
    job.expire();
    job.run("web01", &["--manifest"]).expect(0);
    job.assert_exported();
    assert_eq!(job.files(), ["disk-0.vmdk", "manifest.json", "result.json"]);
}

#[test]
fn a_second_run_into_the_same_folder_is_refused() {
    let Some(job) = job() else { return };
    job.faults(&json!({"nfc_rate": 400_000}));
    let mut child = job.start("web01", &[]);
    wait_for_bytes(&job, &mut child);
    job.run("web01", &[]).expect(4).said("another run is working in");
    signal(&child, Signal::SIGINT);
    child.wait().expect("it ends");
}

#[test]
fn a_running_vm_is_refused_unless_it_may_be_powered_off() {
    let Some(job) = job() else { return };
    job.power("web01", true);
    let ended = job.run("web01", &[]).expect(4);
    ended.said("--power-off");
    assert_eq!(ended.json["errors"][0]["code"], "powered-on", "{}", ended.stdout);
    assert_eq!((&ended.json["vm"], &ended.json["vm_id"]), (&json!("web01"), &job.moref("web01")));
    assert_eq!((job.leases(), job.output().exists()), (0, false));

    // This guest has no VMware Tools, hence no clean shutdown.
    let ended = job.run(&job.sim.vm("web01").moref, &["--power-off"]).expect(4);
    ended.said("--power-off=force");
    assert_eq!(ended.json["errors"][0]["code"], "no-tools", "{}", ended.stdout);
    assert_eq!(ended.json["vm"], "web01", "the name, and not what was typed");
    assert!(job.state()["calls"]["PowerOffVM_Task"].is_null(), "it was powered off");

    let ended = job.run("web01", &["--power-off=force"]).expect(0);
    job.assert_exported();
    job.assert_source_is_free();
    assert_eq!(ended.json["warnings"][0]["code"], "powered-off-hard", "{}", ended.stdout);
    assert_eq!(ended.json["source"]["powered_off"], "cut", "{}", ended.stdout);
    assert_eq!(ended.json["export"]["state"]["power"], "off", "{}", ended.stdout);

    // The VM is off by now, and unchanged since its export.
    let again = job.run("web01", &["--power-off"]).expect(0);
    assert_eq!(again.json["already_done"], true, "{}", again.stdout);
    assert_eq!(job.leases(), 1);
}

#[test]
fn a_target_that_cannot_take_the_vm_costs_the_source_nothing() {
    let Some(job) = job() else { return };
    let run = |uri: &str, more: &[&str]| {
        let flags = ["--pipeline", "--libvirt", "--libvirt-uri", uri];
        job.run("web01", &[&flags[..], more].concat()).expect(4)
    };
    // No server listens there; names of `.invalid` never resolve.
    let gone = "qemu+tcp://127.0.0.1:1/system";
    let no_name = ["qemu+ssh://hxt.invalid/system", "qemu+tls://hxt.invalid/system"];
    for more in [&["--strict"][..], &["--libvirt-start"], &["--replace", "web01"]] {
        let ended = run(gone, more);
        assert_eq!(ended.json["errors"][0]["code"], "libvirt-unreachable", "{}", ended.stdout);
        ended.said(more[0]);
    }
    for uri in no_name {
        let ended = run(uri, &[]);
        assert_eq!(ended.json["errors"][0]["code"], "rejected", "{uri}: {}", ended.stdout);
        ended.said("hint:");
    }
    job.power("web01", true);
    for uri in [gone, no_name[0]] {
        run(uri, &["--power-off=force"]).said("connecting to");
        run(uri, &["--power-off=force", "--dry-run"]);
    }
    assert_eq!(job.leases(), 0);
    assert!(!job.output().exists());
    assert!(job.state()["calls"]["PowerOffVM_Task"].is_null(), "it was powered off");
}

#[test]
fn a_power_that_was_cut_is_told_though_the_export_fails() {
    let Some(job) = job() else { return };
    job.power("web01", true);
    job.faults(&json!({"export_fault": "NoPermission"}));
    let ended = job.run("web01", &["--power-off=force", "--transport", "nfc"]).expect(1);
    assert_eq!(ended.json["warnings"][0]["code"], "powered-off-hard", "{}", ended.stdout);
    let source = &ended.json["source"];
    assert_eq!((&source["power"], &source["powered_off"]), (&json!("on"), &json!("cut")));
    assert_eq!(source["returned"], "on", "{source}");
}

#[test]
fn a_wrong_password_is_refused_and_not_repeated() {
    let Some(job) = job() else { return };
    std::fs::write(job.dir.path().join("password"), "hunter2").expect("written");
    let ended = job.run("web01", &[]).expect(4);
    ended.said("incorrect user name or password");
    assert!(!ended.stderr.contains("hunter2") && !ended.stdout.contains("hunter2"));
    assert!(!job.output().exists());
}

#[test]
fn a_wrong_thumbprint_is_refused_with_both_thumbprints() {
    let Some(job) = job() else { return };
    let wrong = "AA:".repeat(31) + "AA";
    let mut command = job.bare(&["--vm", "web01", "--url", &job.sim.url, "--thumbprint", &wrong]);
    command.args(["--username", &job.sim.user, "--password-file"]);
    command.arg(job.dir.path().join("password"));
    let ended = Ended::from(command.output().expect("hyperexport runs")).expect(4);
    ended.said(&wrong);
    ended.said(&job.sim.sha256);
    job.assert_source_is_free();
}

#[test]
fn a_file_of_the_user_is_never_touched() {
    let Some(job) = job() else { return };
    std::fs::create_dir(job.output()).expect("made");
    std::fs::write(job.file("disk-0.vmdk"), "the user's").expect("written");
    job.run("web01", &[]).expect(4).said("disk-0.vmdk is in the way");
    assert_eq!(std::fs::read_to_string(job.file("disk-0.vmdk")).expect("there"), "the user's");
    assert_eq!(job.files(), ["disk-0.vmdk"]);
    assert_eq!(job.leases(), 0);
}

#[test]
fn a_manifest_that_cannot_be_written_takes_disks_and_package_along() {
    let Some(job) = job() else { return };
    job.faults(&json!({"nfc_rate": 4_000_000}));
    let mut child = job.start("web01", &["--manifest", "--format", "ovf"]);
    wait_for_bytes(&job, &mut child);
    std::fs::write(job.file("manifest.json"), "the user's").expect("written");
    let ended = Ended::from(child.wait_with_output().expect("it ends")).expect(1);
    ended.said("manifest.json");
    assert_eq!(std::fs::read_to_string(job.file("manifest.json")).expect("there"), "the user's");
    assert_eq!(job.files(), ["manifest.json"]);
    job.assert_source_is_free();

    std::fs::remove_file(job.file("manifest.json")).expect("removed");
    job.faults(&json!({}));
    job.run("web01", &["--manifest", "--format", "ovf"]).expect(0);
    assert!(job.file("web01.ovf").exists(), "{:?}", job.files());
}

#[test]
fn a_broken_stream_fails_and_leaves_nothing() {
    let Some(job) = job() else { return };
    job.faults(&json!({"nfc_truncate_after": 300_000, "nfc_truncate_count": 100}));
    let ended = job.run("web01", &["--manifest"]).expect(1);
    ended.said("disk-0");
    assert!(job.files().is_empty(), "{:?}", job.files());
    job.assert_source_is_free();
    job.faults(&json!({}));
    job.run("web01", &["--manifest"]).expect(0);
    job.assert_exported();
}

#[test]
fn a_disk_that_fills_up_is_foretold_and_leaves_nothing() {
    let Some(job) = job() else { return };
    std::fs::create_dir_all(job.output()).expect("made");
    let command = job.command("web01", &["--manifest"]);
    let Some(ended) = on_small_disk(&command, &job.output(), 1024) else { return };
    let ended = ended.expect(1);
    ended.said("may need up to 16.0 MiB");
    ended.said("No space left on device");
    ended.said("free some space, or use another --output");
    assert!(ended.stderr.ends_with("left:\n"), "{}", ended.stderr);
    job.assert_source_is_free();
    let requests = job.state()["nfc"].as_array().map_or(0, Vec::len);
    assert_eq!(requests, 1, "a full disk is no reason to try again");
}
