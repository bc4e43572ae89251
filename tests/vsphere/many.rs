//! `scripts/migrate-all.sh`: all VMs that a filter selects, and a second run of the same command.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::job::{Job, assert_same_disk, read_json};
use crate::support::vcsim::raw_disk;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

/// A conversion of disks without an operating system, and no domain.
const RUN: [&str; 4] =
    ["--", "--libvirt=false", "--pipeline-fix=false", "--pipeline-inspect=false"];

/// Two VMs that are powered off, one of them with an awkward name, one that runs, and one with a
/// name that the filter excludes.
fn job() -> Option<Job> {
    let dir = tempfile::tempdir().expect("a folder");
    let vm = |index: u64, name: &str, power: &str| {
        let path = dir.path().join(format!("{index}.raw"));
        raw_disk(&path, 3, index);
        json!({"name": name, "power": power, "firmware": "bios", "disks": [{"file": path}]})
    };
    let vms = [
        vm(0, "web01", "off"),
        vm(1, "web 02; $(x)", "off"),
        vm(2, "web03", "on"),
        vm(3, "db01", "off"),
    ];
    Job::new(dir, &json!({"vms": vms}), &[])
}

/// The script for all VMs called `web…`.
fn script(job: &Job) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/migrate-all.sh");
    let mut command = Command::new(path);
    command.arg(job.dir.path().join("moved")).args(["--url", &job.sim.url]);
    command.args(["--username", &job.sim.user, "--thumbprint", &job.sim.sha256]);
    command.arg("--password-file").arg(job.dir.path().join("password"));
    command.args(["--name", "web*"]).args(RUN);
    command.env_clear().current_dir(job.dir.path()).env("HOME", job.dir.path());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HYPEREXPORT", env!("CARGO_BIN_EXE_hyperexport")).env("JOBS", "2");
    command.stdin(Stdio::null());
    command
}

/// Runs the script and returns its exit code, and the lines of the summary sorted by name.
fn run(job: &Job) -> (Option<i32>, Vec<Vec<String>>) {
    let output = script(job).output().expect("the script runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let summary = job.dir.path().join("moved/summary.tsv");
    let summary =
        std::fs::read_to_string(&summary).unwrap_or_else(|error| panic!("{error}: {said}"));
    let line = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
    let mut lines: Vec<_> = summary.lines().skip(1).map(line).collect();
    lines.sort();
    (output.status.code(), lines)
}

/// Output directory of a VM.
fn folder(job: &Job, vm: &str, safe: &str) -> PathBuf {
    job.dir.path().join("moved").join(format!("{safe}.{}", job.sim.vm(vm).moref))
}

fn assert_migrated(job: &Job, vm: &str, safe: &str) {
    let result = read_json(&folder(job, vm, safe).join("result.json"));
    let converted = result["converted"][0]["path"].as_str().expect("converted");
    let source = &job.sim.vm(vm).disks.as_ref().expect("disks")[0].raw;
    assert_same_disk((source, "raw"), (Path::new(converted), "qcow2"));
}

#[test]
fn all_selected_vms_are_migrated_and_the_next_run_continues() {
    let Some(job) = job() else { return };
    let (code, lines) = run(&job);
    assert_eq!(code, Some(1), "{lines:?}");
    let names: Vec<_> = lines.iter().map(|line| line[0].as_str()).collect();
    assert_eq!(names, ["web 02; $(x)", "web01", "web03"]);
    assert_eq!(lines[0][2..4], ["0", "done"], "{lines:?}");
    assert_eq!(lines[1][2..4], ["0", "done"], "{lines:?}");
    assert_eq!(lines[2][2..4], ["4", "refused"], "{lines:?}");
    assert!(lines[2][5].starts_with("powered-on: "), "{lines:?}");
    assert_migrated(&job, "web01", "web01");
    assert_migrated(&job, "web 02; $(x)", "web_02____x_");
    assert!(!folder(&job, "web03", "web03").exists());

    job.power("web03", false);
    let leases = job.leases();
    let (code, lines) = run(&job);
    assert_eq!(code, Some(0), "{lines:?}");
    assert!(lines.iter().all(|line| line[2..4] == ["0", "done"]), "{lines:?}");
    assert_migrated(&job, "web03", "web03");
    assert_eq!(job.leases(), leases + 1, "VMs that were done were exported again");
    job.assert_source_is_free();
}

#[test]
fn a_signal_ends_all_runs_and_each_cleans_up() {
    let Some(job) = job() else { return };
    job.faults(&json!({"nfc_rate": 200_000}));
    let mut child = script(&job).stderr(Stdio::null()).spawn().expect("the script runs");
    let deadline = Instant::now() + Duration::from_secs(60);
    while job.leases() < 2 {
        assert!(Instant::now() < deadline, "two runs never began");
        std::thread::sleep(Duration::from_millis(100));
    }
    let pid = i32::try_from(child.id()).expect("a process id");
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("the script runs");
    assert_eq!(child.wait().expect("a child").code(), Some(130));
    job.assert_source_is_free();
    assert!(!folder(&job, "web01", "web01").exists(), "a run did not clean up");

    job.faults(&json!({}));
    job.power("web03", false);
    let (code, lines) = run(&job);
    assert_eq!(code, Some(0), "{lines:?}");
    assert_migrated(&job, "web01", "web01");
}
