//! The export is killed at random moments and run again: finished files are reused, unfinished ones
//! never have their final name, and the result is right.

#![allow(clippy::print_stdout, reason = "how many runs ended before their kill")]

use std::io::{Read, Seek, SeekFrom, Write};
use std::process::Child;
use std::time::{Duration, Instant};

use crate::support::job::{Ended, Job, assert_same_disk};
use crate::support::seed;
use crate::support::vcsim::raw_disk;
use serde_json::json;

/// Number of killed runs.
const KILLS: u32 = 50;

/// A VM with disks of 3, 4 and 5 MiB on a connection slow enough to be killed in the middle.
fn job(args: &[&str]) -> Option<Job> {
    let dir = tempfile::tempdir().expect("a folder");
    let disks: Vec<_> = (0..3)
        .map(|index| {
            let path = dir.path().join(format!("{index}.raw"));
            raw_disk(&path, 3 + index, index);
            json!({"file": path})
        })
        .collect();
    let inventory = json!({"vms": [{"name": "web01", "firmware": "bios", "disks": disks}]});
    Job::new(dir, &inventory, args)
}

fn assert_exported(job: &Job) {
    let disks = job.sim.vm("web01").disks.as_ref().expect("disks");
    assert_eq!(
        job.files(),
        ["disk-0.vmdk", "disk-1.vmdk", "disk-2.vmdk", "manifest.json", "result.json"]
    );
    for (index, disk) in disks.iter().enumerate() {
        let file = job.file(&format!("disk-{index}.vmdk"));
        assert_same_disk((&disk.raw, "raw"), (&file, "vmdk"));
    }
}

/// Asserts that every file with its final name is as long as its stream.
fn assert_no_half_file(job: &Job) {
    let disks = job.sim.vm("web01").disks.as_ref().expect("disks");
    for (index, disk) in disks.iter().enumerate() {
        if let Ok(file) = job.file(&format!("disk-{index}.vmdk")).metadata() {
            assert_eq!(file.len(), disk.stream_bytes, "half of disk-{index} has its name");
        }
    }
}

fn kill(child: &mut Child) {
    child.kill().expect("it is ours");
    child.wait().expect("it is dead");
}

/// Number of requests for a disk.
fn requests(job: &Job, disk: &str) -> usize {
    let state = job.state();
    let all = state["nfc"].as_array().cloned().unwrap_or_default();
    all.iter().filter(|line| line.as_str().is_some_and(|line| line.contains(disk))).count()
}

#[test]
fn killed_at_fifty_moments_it_ends_with_the_right_bytes() {
    let Some(job) = job(&["-lease-timeout", "2", "-lease-delay", "50ms"]) else { return };
    job.faults(&json!({"nfc_rate": 1_500_000}));
    let whole_run = time_of_a_whole_run(&job);
    let seed = seed::of_this_run();
    // xorshift64 with state 0 stays at 0.
    let mut state = seed | 1;
    let mut finished = 0;
    for round in 0..KILLS {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let moment = whole_run.mul_f64((state >> 11) as f64 / (1u64 << 53) as f64);
        let mut child = job.start("web01", &["--manifest"]);
        std::thread::sleep(moment);
        let ended = child.try_wait().expect("a child");
        kill_unless(&mut child, ended.is_some());
        assert_no_half_file(&job);
        if let Some(status) = ended {
            assert!(status.success(), "seed {seed}, round {round}: {status}");
        }
        if job.file("result.json").exists() {
            assert_exported_by_killed(&job);
            std::fs::remove_dir_all(job.output()).expect("removed");
            finished += 1;
        }
        // In some rounds the next run waits for the dead run's lease; in the others the session has
        // ended.
        if round % 10 != 0 {
            job.expire();
        }
    }
    println!("{finished} of {KILLS} runs finished before the kill");
    job.faults(&json!({}));
    job.run("web01", &["--manifest"]).expect(0);
    assert_exported(&job);
}

/// Duration of an uninterrupted run; its export is removed.
fn time_of_a_whole_run(job: &Job) -> Duration {
    let begun = Instant::now();
    job.run("web01", &["--manifest"]).expect(0);
    let took = begun.elapsed();
    std::fs::remove_dir_all(job.output()).expect("removed");
    took
}

fn kill_unless(child: &mut Child, ended: bool) {
    if !ended {
        kill(child);
    }
}

/// Accepts the marker of a run that was killed after writing its report.
fn assert_exported_by_killed(job: &Job) {
    let marker = job.file(".hyperexport-run");
    if marker.exists() {
        std::fs::remove_file(&marker).expect("removed");
    }
    assert_exported(job);
}

/// Starts a run, and kills it when disk-0 is complete and disk-1 has partially arrived.
fn kill_in_the_second_disk(job: &Job) {
    job.faults(&json!({"nfc_rate": 300_000, "nfc_match": "disk-1"}));
    let mut child = job.start("web01", &["--manifest", "--parallel", "1"]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while requests(job, "disk-1") == 0 || !marker(job).contains(r#""id":"disk-0""#) {
        assert!(Instant::now() < deadline, "no byte arrives: {:?}", job.files());
        assert!(child.try_wait().expect("a child").is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    kill(&mut child);
    job.faults(&json!({}));
    job.expire();
}

fn marker(job: &Job) -> String {
    std::fs::read_to_string(job.file(".hyperexport-run")).unwrap_or_default()
}

#[test]
fn a_whole_disk_of_a_killed_run_is_kept() {
    let Some(job) = job(&[]) else { return };
    kill_in_the_second_disk(&job);
    job.run("web01", &["--manifest"]).expect(0);
    assert_exported(&job);
    assert_eq!((requests(&job, "disk-0"), requests(&job, "disk-1")), (1, 2));
}

#[test]
fn no_disk_is_kept_of_a_vm_that_ran_in_between() {
    let Some(job) = job(&[]) else { return };
    kill_in_the_second_disk(&job);
    job.power("web01", true);
    job.power("web01", false);
    job.run("web01", &["--manifest"]).expect(0);
    assert_exported(&job);
    assert_eq!(requests(&job, "disk-0"), 2);
}

#[test]
fn a_kept_disk_that_was_damaged_is_taken_again() {
    let Some(job) = job(&[]) else { return };
    kill_in_the_second_disk(&job);
    let path = job.file("disk-0.vmdk.part");
    let mut file = std::fs::OpenOptions::new().read(true).write(true).open(path).expect("there");
    let mut byte = [0];
    file.seek(SeekFrom::Start(200_000)).expect("sought");
    file.read_exact(&mut byte).expect("read");
    file.seek(SeekFrom::Start(200_000)).expect("sought");
    file.write_all(&[byte[0] ^ 1]).expect("written");
    job.run("web01", &["--manifest"]).expect(0);
    assert_exported(&job);
    assert_eq!(requests(&job, "disk-0"), 2);
}

#[test]
fn a_dead_run_s_lease_is_waited_for() {
    let Some(job) = job(&["-lease-timeout", "4"]) else { return };
    job.faults(&json!({"nfc_rate": 300_000}));
    let mut child = job.start("web01", &[]);
    while job.leases() == 0 || job.state()["nfc_bytes"].as_u64().unwrap_or(0) == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    kill(&mut child);
    job.faults(&json!({}));
    job.run("web01", &["--manifest"]).expect(0).said("still locks the VM");
    assert_exported(&job);
}

#[test]
fn a_running_transfer_is_set_free_by_a_signal() {
    let Some(job) = job(&[]) else { return };
    let limit = job.dir.path().join("limit");
    std::fs::write(&limit, "100K\n").expect("written");
    let flag = ["--manifest", "--bandwidth-limit-file", limit.to_str().expect("UTF-8")];
    let begun = Instant::now();
    let child = job.start("web01", &flag);
    while job.state()["nfc_bytes"].as_u64().unwrap_or(0) == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let send = |signal: nix::sys::signal::Signal| {
        let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
        nix::sys::signal::kill(pid, signal).expect("it lives");
    };
    std::fs::write(&limit, "as fast as it gets\n").expect("written");
    send(nix::sys::signal::Signal::SIGHUP);
    std::thread::sleep(Duration::from_secs(2));
    assert!(!job.file("disk-0.vmdk").exists(), "the limit does not hold");
    std::fs::write(&limit, "none\n").expect("written");
    send(nix::sys::signal::Signal::SIGUSR1);
    let ended = Ended::from(child.wait_with_output().expect("it ends")).expect(0);
    ended.said("the bandwidth limit stays as it is");
    ended.said("the bandwidth limit is now none");
    assert_exported(&job);
    let disks = job.sim.vm("web01").disks.as_ref().expect("disks");
    let bytes: u64 = disks.iter().map(|disk| disk.stream_bytes).sum();
    let limited = Duration::from_secs(bytes / 102_400);
    assert!(begun.elapsed() < limited / 2, "{:?} of {limited:?}", begun.elapsed());
}
