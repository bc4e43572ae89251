//! A source VM that was powered off for its export is powered on again if the run fails, is
//! interrupted or killed. It never runs besides its domain.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::support::job::{Ended, Job};
use crate::support::libvirtd::{self, Names};
use crate::support::vcsim::raw_disk;

const OFF: [&str; 2] = ["--power-off", "--manifest"];
const CONVERT: [&str; 6] = [
    "--pipeline",
    "--converter",
    "native",
    "--pipeline-fix=false",
    "--pipeline-inspect=false",
    "--libvirt",
];

/// The simulator's state of the VM.
pub fn vm(job: &Job) -> Value {
    job.state()["vms"][0].clone()
}

fn is_on(job: &Job) -> bool {
    vm(job)["power"] == "poweredOn"
}

fn returned(ended: &Ended) -> &str {
    ended.json["source"]["returned"].as_str().unwrap_or("nothing")
}

/// Starts a run, and waits until the VM is off and bytes of its disk arrive.
fn in_the_transfer(job: &Job, flags: &[&str]) -> Child {
    job.faults(&json!({"nfc_rate": 300_000}));
    let bytes = || job.state()["nfc_bytes"].as_u64().unwrap_or(0);
    let before = bytes();
    let mut child = job.start("web01", flags);
    let deadline = Instant::now() + Duration::from_secs(60);
    while bytes() == before {
        assert!(Instant::now() < deadline, "no byte arrives");
        assert!(child.try_wait().expect("a child").is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!is_on(job));
    child
}

#[test]
fn a_run_that_fails_powers_its_source_on_again() {
    let Some(job) = Job::of_running() else { return };
    let fail = ["--transport", "nfc", "--power-off"];
    job.faults(&json!({"export_fault": "NoPermission"}));
    let ended = job.run("web01", &fail).expect(1);
    assert_eq!((returned(&ended), &ended.json["source"]["power"]), ("on", &json!("on")));
    ended.said("powering web01 on again");
    assert!(is_on(&job) && !job.output().exists());
    job.assert_source_is_free();

    job.faults(&json!({"export_fault": "NoPermission"}));
    let ended = job.run("web01", &[&fail[..], &["--keep-source-off"]].concat()).expect(1);
    assert_eq!(returned(&ended), "stays-off", "{}", ended.stdout);
    assert!(!is_on(&job));
}

/// An injected panic, which release builds do not support.
#[test]
fn a_run_that_breaks_gives_all_back() {
    let Some(job) = Job::of_running() else { return };
    for stage in ["preflight", "export"].into_iter().filter(|_| cfg!(debug_assertions)) {
        let mut command = job.command("web01", &OFF);
        command.env("HYPEREXPORT_PANIC_AT", stage);
        let ended = Ended::from(command.output().expect("it runs")).expect(1);
        assert_eq!(ended.json["errors"][0]["code"], "panicked", "{stage}: {}", ended.stdout);
        assert!(is_on(&job), "{stage}: {}", ended.stderr);
        job.assert_source_is_free();
        assert!(job.files().is_empty(), "{stage}: {:?}", job.files());
    }
}

#[test]
fn a_run_that_succeeds_leaves_its_source_off_unless_told_otherwise() {
    let Some(job) = Job::of_running() else { return };
    let ended = job.run("web01", &OFF).expect(0);
    assert_eq!(returned(&ended), "stays-off", "{}", ended.stdout);
    assert!(!is_on(&job));
    job.power("web01", true);
    let ended = job.run("web01", &[&OFF[..], &["--power-on-after", "--fresh"]].concat()).expect(0);
    assert_eq!(returned(&ended), "on", "{}", ended.stdout);
    assert!(is_on(&job));
    for flag in ["--libvirt-start", "--libvirt-autostart"] {
        let flags = [&CONVERT[..], &["--power-off", "--power-on-after", flag]].concat();
        job.run("web01", &flags).expect(2).said("the VM and its domain would both run");
    }
}

#[test]
fn an_interrupted_run_powers_its_source_on_again() {
    let Some(job) = Job::of_running() else { return };
    let child = in_the_transfer(&job, &OFF);
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    kill(pid, Signal::SIGTERM).expect("it lives");
    let ended = Ended::from(child.wait_with_output().expect("it ends")).expect(130);
    assert_eq!(returned(&ended), "on", "{}", ended.stdout);
    assert!(is_on(&job));
    job.assert_source_is_free();
}

#[test]
fn the_run_after_a_kill_powers_the_source_on_where_it_fails_too_or_never_asked_for_that() {
    let Some(job) = Job::of_running() else { return };
    for (flags, code, end) in
        [(&["--power-off", "--transport", "nfc"][..], 1, "on"), (&["--manifest"], 0, "on")]
    {
        let mut child = in_the_transfer(&job, &OFF);
        child.kill().expect("it is ours");
        child.wait().expect("it is dead");
        job.expire();
        job.faults(&json!({}));
        if code == 1 {
            job.faults(&json!({"export_fault": "NoPermission"}));
        }
        let ended = job.run("web01", flags).expect(code);
        assert_eq!(returned(&ended), end, "{}", ended.stdout);
        assert!(is_on(&job), "{}", ended.stderr);
    }
}

#[test]
fn a_source_that_cannot_be_powered_on_is_left_to_the_next_run() {
    let Some(job) = Job::of_running() else { return };
    let child = in_the_transfer(&job, &OFF);
    job.faults(&json!({"nfc_rate": 300_000, "denied": ["VirtualMachine.Interact.PowerOn"]}));
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    kill(pid, Signal::SIGTERM).expect("it lives");
    let ended = Ended::from(child.wait_with_output().expect("it ends")).expect(130);
    assert_eq!(returned(&ended), "failed", "{}", ended.stdout);
    ended.said("web01 is off and could not be powered on again");
    job.faults(&json!({}));
    let ended = job.run("web01", &["--manifest"]).expect(0);
    assert_eq!(returned(&ended), "on", "{}", ended.stdout);
    assert!(is_on(&job));
}

/// Flags for a unique domain and pool.
fn target(job: &Job, names: &Names) -> Vec<String> {
    let (name, pool_name) = (names.name("vm"), names.name("pool"));
    let pool = job.dir.path().join(&pool_name);
    let of = ["--libvirt-name", &name, "--libvirt-pool", &pool_name, "--libvirt-pool-path"];
    let of = of.map(str::to_owned).into_iter();
    of.chain([pool.to_str().expect("UTF-8").to_owned()]).collect()
}

fn run(job: &Job, names: &Names, more: &[&str]) -> Ended {
    let target = target(job, names);
    let flags = CONVERT.into_iter().chain(target.iter().map(String::as_str));
    job.run("web01", &flags.chain(more.iter().copied()).collect::<Vec<_>>())
}

#[test]
fn a_source_is_on_again_after_a_partial_run_unless_its_domain_runs() {
    if !libvirtd::available() {
        return;
    }
    let Some(job) = Job::of_running() else { return };
    let names = Names::new();
    // The guest halts at once without a prompt: the domain stays, and runs.
    let start = ["--libvirt-start", "--wait-for", "console:never", "--wait-timeout", "1s"];
    let ended = run(&job, &names, &[&["--power-off"], &start[..]].concat()).expect(0);
    assert_eq!(ended.json["outcome"], "partial", "{}", ended.stdout);
    assert_eq!(returned(&ended), "domain-may-run", "{}", ended.stdout);
    ended.said("web01 stays off: domain");
    assert!(!is_on(&job));
    let domain = libvirtd::connect().lookup_domain_by_name(&names.name("vm")).expect("there");
    domain.destroy().expect("it ran");

    // Here no domain runs: the boot proof fails, and the domain is undone.
    job.power("web01", true);
    let other = Names::new();
    let proof = ["--fresh", "--power-off", "--boot-proof", "--boot-proof-timeout", "1s"];
    let ended = run(&job, &other, &proof).expect(0);
    assert_eq!((ended.stage("libvirt"), returned(&ended)), ("failed", "on"), "{}", ended.stdout);
    assert!(is_on(&job) && other.domains().is_empty());
}

#[test]
fn a_source_that_is_powered_on_before_the_start_has_its_domain_taken_back() {
    if !libvirtd::available() {
        return;
    }
    let Some(job) = Job::of_running() else { return };
    let names = Names::new();
    job.power("web01", false);
    // The disk has been exported; the next request to the source is before the start.
    job.faults(&json!({"nfc_rate": 2_000_000}));
    let flags: Vec<_> = target(&job, &names);
    let flags: Vec<_> = CONVERT
        .into_iter()
        .chain(flags.iter().map(String::as_str))
        .chain(["--libvirt-start"])
        .collect();
    let child = job.start("web01", &flags);
    let deadline = Instant::now() + Duration::from_secs(120);
    while job.state()["calls"]["Logout"].is_null() {
        assert!(Instant::now() < deadline, "the export does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    job.power("web01", true);
    let ended = Ended::from(child.wait_with_output().expect("it ends")).expect(0);
    assert_eq!(ended.stage("start"), "failed", "{}", ended.stdout);
    assert_eq!(ended.json["errors"][0]["code"], "source-running", "{}", ended.stdout);
    assert!(names.domains().is_empty(), "{}", ended.stderr);
    ended.said("removed domain");
}

fn virsh(args: &[&str]) -> String {
    let output = Command::new("virsh").args(["-q", "-c", "qemu:///system"]).args(args).output();
    let output = output.expect("virsh runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

#[test]
fn a_domain_of_another_host_is_switched_off_and_comes_back() {
    if !libvirtd::available() {
        return;
    }
    let (desk, names) = (crate::support::files::Desk::new(), Names::new());
    let pool = desk.path("pool");
    std::fs::create_dir(&pool).expect("made");
    raw_disk(&pool.join("disk.img"), 8, 3);
    let (pool_name, name) = (names.name("pool"), names.name("vm"));
    virsh(&["pool-create-as", &pool_name, "dir", "--target", pool.to_str().expect("UTF-8")]);
    let xml = format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><os>\
         <type arch='x86_64'>hvm</type></os><devices><disk type='file' device='disk'>\
         <driver name='qemu' type='raw'/><source file='{}/disk.img'/><target dev='vda' bus='virtio'/>\
         </disk></devices></domain>",
        pool.display()
    );
    std::fs::write(desk.path("domain.xml"), xml).expect("written");
    virsh(&["define", desk.path("domain.xml").to_str().expect("UTF-8")]);
    virsh(&["start", &name]);
    let uri = format!("libvirt+qemu:///system?domain={name}");
    let off = ["--power-off=force", "--shutdown-timeout", "1s"];

    let command = desk.command(&["--source", &uri, "--output", "out", "--json"]).args(off).output();
    let ended = Ended::from(command.expect("it runs")).expect(0);
    assert_eq!(ended.json["source"]["powered_off"], "cut", "{}", ended.stdout);
    assert_eq!((returned(&ended), virsh(&["domstate", &name]).as_str()), ("stays-off", "shut off"));

    virsh(&["start", &name]);
    let mut slow = desk.command(&["--source", &uri, "--output", "other", "--json"]);
    let slow = slow.args(off).args(["--bandwidth-limit", "1M"]);
    let child =
        slow.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn();
    let child = child.expect("it runs");
    let deadline = Instant::now() + Duration::from_secs(60);
    while virsh(&["domstate", &name]) != "shut off" {
        assert!(Instant::now() < deadline, "it is not switched off");
        std::thread::sleep(Duration::from_millis(50));
    }
    kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("it lives");
    let ended = Ended::from(child.wait_with_output().expect("it ends")).expect(130);
    assert_eq!((returned(&ended), virsh(&["domstate", &name]).as_str()), ("on", "running"));
    virsh(&["destroy", &name]);
    virsh(&["undefine", &name]);
    virsh(&["pool-destroy", &pool_name]);
}
