//! The program after a definition: killed in the middle, started, undone.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::hyper2kvm::{self, converted};
use crate::support::job::{Ended, Job};
use crate::support::libvirtd::{self, Names};
use serde_json::json;

fn define_flags(job: &Job, names: &Names) -> Vec<String> {
    let (manifest, pool) = (job.file("manifest.json"), job.dir.path().join("pool"));
    [
        "define",
        "--json",
        "--manifest",
        manifest.to_str().expect("UTF-8"),
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

fn run(job: &Job, flags: &[String], more: &[&str]) -> Ended {
    let mut command = job.bare(&[]);
    Ended::from(command.args(flags).args(more).output().expect("hyperexport runs"))
}

fn undo(job: &Job, more: &[&str]) -> Ended {
    let result = job.file("result.json");
    let mut command = job.bare(&["undo", "--result"]);
    Ended::from(command.arg(result).args(more).output().expect("hyperexport runs"))
}

/// Kills a `define` during its boot proof.
fn kill_in_the_proof(job: &Job, names: &Names, flags: &[String]) {
    let mut command = job.bare(&[]);
    command.args(flags).args(["--boot-proof", "--libvirt-snapshot"]);
    let mut child = command.spawn().expect("hyperexport runs");
    let connect = libvirtd::connect();
    let running = || {
        let domain = connect.lookup_domain_by_name(&names.name("vm"));
        domain.is_ok_and(|domain| domain.is_active().unwrap_or(false))
    };
    wait("the proof", &running);
    child.kill().expect("it lives");
    child.wait().expect("it is dead");
    wait("libvirt to stop the domain of a dead client", &|| !running());
    assert!(job.files().contains(&".hyperexport-undo".to_owned()), "{:?}", job.files());
    assert_eq!(names.domains().len(), 1, "the killed run left its domain");
}

#[test]
fn what_a_killed_run_left_is_taken_back_by_the_next() {
    let Some(job) = converted() else { return };
    let names = Names::new();
    let flags = define_flags(&job, &names);
    kill_in_the_proof(&job, &names, &flags);

    let plan = run(&job, &flags, &["--dry-run"]).expect(0).json["plan"].to_string();
    let (vm, pool) = (names.name("vm"), names.name("pool"));
    for line in [
        "undo what a killed run has left at qemu:///system".to_owned(),
        format!("remove domain '{vm}'"),
        format!("define the storage pool '{pool}'"),
        format!("define the domain {vm}"),
    ] {
        assert!(plan.contains(&line), "no '{line}' in {plan}");
    }
    assert_eq!(names.domains().len(), 1, "a dry run takes nothing back");
    let ended = run(&job, &flags, &[]).expect(0);
    assert!(ended.stdout.contains("taken-back"), "{}", ended.stdout);
    assert!(ended.json["domain"]["snapshot"].is_null(), "{}", ended.stdout);
    assert!(!job.files().iter().any(|name| name.starts_with('.')), "{:?}", job.files());
    assert_eq!(names.domains().len(), 1);
}

#[test]
fn a_domain_that_was_used_since_the_kill_stays_until_it_is_undone() {
    let Some(job) = converted() else { return };
    let names = Names::new();
    let flags = define_flags(&job, &names);
    kill_in_the_proof(&job, &names, &flags);
    let domain = libvirtd::connect().lookup_domain_by_name(&names.name("vm")).expect("there");
    // By now libvirt has stopped the domain that it ran for the dead run.
    let journal = std::fs::File::options().append(true).open(job.file(".hyperexport-undo"));
    let minute_ago = std::time::SystemTime::now() - Duration::from_secs(60);
    journal.expect("there").set_modified(minute_ago).expect("set");
    domain.create().expect("the user starts it");
    let told = |ended: &Ended, why: &str| {
        let warnings = ended.json["warnings"].to_string();
        for part in ["domain-kept", why, &format!("undo {}", job.output().display())] {
            assert!(warnings.contains(part), "no '{part}' in {warnings}");
        }
    };
    let dry = run(&job, &flags, &["--dry-run"]);
    let first = run(&job, &flags, &[]);
    let is_active = domain.is_active();
    // A run in the folder recognizes the killed run's domain as its own.
    let second = run(&job, &flags, &[]);
    domain.destroy().expect("it runs on");
    told(&dry.expect(4), "it runs");
    told(&first.expect(4), "it runs");
    second.expect(4).said("exists already");
    assert!(is_active.expect("known"), "it was switched off");
    run(&job, &flags, &[]).expect(4).said("exists already");
    assert_eq!(names.domains().len(), 1);
    assert!(job.dir.path().join("pool").read_dir().expect("there").count() > 0, "its disks");

    // The guest may have written unique data.
    let undo = |more: &[&str]| {
        let mut undo = job.bare(&["undo"]);
        Ended::from(undo.arg(job.output()).args(more).output().expect("it runs"))
    };
    undo(&[]).expect(4).said("was written to since the run");
    undo(&["--even-if-used"]).expect(0);
    assert!(names.domains().is_empty() && names.pools().is_empty());
    run(&job, &flags, &[]).expect(0);
}

fn wait(what: &str, until: &dyn Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !until() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn undo_takes_back_the_domain_and_its_disks_and_leaves_the_export() {
    let Some(job) = converted() else { return };
    let names = Names::new();
    undo(&job, &[]).expect(4).said("names no domain");
    run(&job, &define_flags(&job, &names), &["--libvirt-snapshot=first"]).expect(0);
    let files = job.files();
    let would = undo(&job, &["--dry-run"]).expect(0);
    for what in ["domain '", "snapshot 'first'", "storage pool '"] {
        let line = format!("would go  {what}");
        assert!(would.stdout.contains(&line), "{}", would.stdout);
    }
    assert_eq!(names.domains().len(), 1, "a dry run changes nothing");

    let ended = undo(&job, &["--json"]).expect(0);
    assert_eq!(ended.json["kept"], json!([]), "{}", ended.stdout);
    assert!(names.domains().is_empty() && names.pools().is_empty());
    assert!(!job.dir.path().join("pool").exists());
    assert_eq!(job.files(), files, "the export is as it was");
    let again = undo(&job, &[]).expect(0);
    assert!(again.stdout.contains("already gone domain '"), "{}", again.stdout);
}

#[test]
fn a_domain_is_started_and_seen_to_run() {
    let Some(job) = converted() else { return };
    let names = Names::new();
    let ended = run(&job, &define_flags(&job, &names), &["--libvirt-start"]).expect(0);
    let domain = libvirtd::connect().lookup_domain_by_name(&names.name("vm")).expect("defined");
    let active = domain.is_active().expect("known");
    undo(&job, &[]).expect(4).said("is running");
    domain.destroy().expect("stopped");
    assert!(active, "it was started");
    assert_eq!(ended.stage("start"), "done");
    assert_eq!(ended.json["domain"]["started"]["sign"], "running", "{}", ended.stdout);
    let told = undo(&job, &["--dry-run"]).expect(0).stdout;
    assert!(told.contains("would go  domain '") && told.contains("--even-if-used"), "{told}");
    undo(&job, &[]).expect(4).said("which the run has started");
    assert_eq!(names.domains().len(), 1);
    undo(&job, &["--even-if-used"]).expect(0);
    // A missing volume contains no data.
    undo(&job, &[]).expect(0);
}

#[test]
fn undo_refuses_disks_that_were_written_to_since() {
    let Some(job) = converted() else { return };
    let names = Names::new();
    let ended = run(&job, &define_flags(&job, &names), &[]).expect(0);
    let disk = ended.json["domain"]["volumes"][0]["path"].as_str().expect("a path").to_owned();
    let told = undo(&job, &["--dry-run"]).expect(0).stdout;
    assert!(!told.contains("written to"), "nobody has written to it: {told}");
    let file = std::fs::File::options().append(true).open(&disk).expect("there");
    let written = std::time::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    file.set_modified(written).expect("set");
    let line = format!("disk {disk} was written to since the run (last at 2027-01-15T08:00:00Z)");
    let told = undo(&job, &["--dry-run"]).expect(0).stdout;
    assert!(told.contains(&line), "{told}");
    let refused = undo(&job, &[]).expect(4);
    refused.said(&line);
    refused.said("--even-if-used");
    assert!(Path::new(&disk).exists() && names.domains().len() == 1);
    let told = undo(&job, &["--even-if-used"]).expect(0).stdout;
    assert!(told.contains(&line), "{told}");
    assert!(names.domains().is_empty() && !Path::new(&disk).exists());
}

#[test]
fn undo_removes_nothing_while_libvirt_would_keep_the_domain() {
    let Some(job) = converted() else { return };
    let names = Names::new();
    let ended = run(&job, &define_flags(&job, &names), &["--libvirt-snapshot=came"]).expect(0);
    let disk = ended.json["domain"]["volumes"][0]["path"].as_str().expect("a path").to_owned();
    let name = names.name("vm");
    let virsh = |args: &[&str]| {
        let ended = std::process::Command::new("virsh").arg("-q").args(args).output();
        let ended = ended.expect("virsh runs");
        assert!(ended.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ended.stderr));
    };
    let stays = |said: &[&str]| {
        for more in [&[][..], &["--dry-run"]] {
            let refused = undo(&job, &[more, &["--even-if-used"]].concat()).expect(4);
            said.iter().for_each(|said| refused.said(said));
        }
        assert!(Path::new(&disk).exists() && names.domains().len() == 1);
    };
    virsh(&["snapshot-create-as", &name, "theirs"]);
    stays(&["it has the snapshot 'theirs'", &format!("virsh snapshot-delete {name} theirs")]);
    virsh(&["snapshot-delete", &name, "theirs"]);
    // Backup tools leave checkpoints; a domain that is shut off accepts only a redefined one.
    let xml = job.dir.path().join("checkpoint.xml");
    let uuid = ended.json["domain"]["uuid"].as_str().expect("defined");
    let text = format!(
        "<domaincheckpoint><name>full</name><creationTime>1764183256</creationTime>\
         <disks><disk name='vda' checkpoint='bitmap' bitmap='full'/></disks>\
         <domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory>65536</memory>\
         <os><type arch='x86_64'>hvm</type></os><devices><disk type='file' device='disk'>\
         <driver name='qemu' type='qcow2'/><source file='{disk}'/><target dev='vda'/></disk>\
         </devices></domain></domaincheckpoint>"
    );
    std::fs::write(&xml, text).expect("written");
    virsh(&["checkpoint-create", &name, xml.to_str().expect("UTF-8"), "--redefine"]);
    stays(&["it has checkpoints", "virsh checkpoint-list"]);
    virsh(&["checkpoint-delete", &name, "full", "--metadata"]);
    libvirtd::connect().lookup_domain_by_name(&name).expect("there").create().expect("starts");
    virsh(&["managedsave", &name]);
    stays(&["its memory is saved", &format!("virsh managedsave-remove {name}")]);
    virsh(&["managedsave-remove", &name]);
    undo(&job, &["--even-if-used"]).expect(0);
    assert!(names.domains().is_empty() && !Path::new(&disk).exists());
}

#[test]
fn undo_leaves_a_disk_that_is_below_others() {
    let Some(job) = converted() else { return };
    let names = Names::new();
    let ended = run(&job, &define_flags(&job, &names), &[]).expect(0);
    let disk = ended.json["domain"]["volumes"][0]["path"].as_str().expect("a path").to_owned();
    // In no pool, so that only the domain that uses the clone reveals it.
    let clones = job.dir.path().join("clones");
    std::fs::create_dir(&clones).expect("made");
    let overlay = clones.join("clone.qcow2");
    let overlay = overlay.to_str().expect("UTF-8");
    let made = std::process::Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", &disk, overlay])
        .status();
    assert!(made.expect("it runs").success());
    let clone = names.name("clone");
    let xml = format!(
        "<domain type='qemu'><name>{clone}</name><memory unit='MiB'>64</memory>\
         <os><type arch='x86_64'>hvm</type></os><devices><disk type='file'>\
         <driver name='qemu' type='qcow2'/><source file='{overlay}'/><target dev='vda'/></disk>\
         </devices></domain>"
    );
    let domain = libvirtd::connect().define_domain_xml(&xml).expect("defined");
    let said = format!("stays     {disk} (another domain uses it: '{clone}')");
    let told = undo(&job, &["--dry-run"]).expect(0).stdout;
    assert!(told.contains(&said), "{told}");
    let told = undo(&job, &[]).expect(1).stdout;
    assert!(told.contains(&said) && Path::new(&disk).exists(), "{told}");
    domain.undefine().expect("undefined");

    // An overlay that no domain uses, in another pool than the disk.
    let pool = format!(
        "<pool type='dir'><name>{}</name><target><path>{}</path></target></pool>",
        names.name("clones"),
        clones.display()
    );
    let pool = libvirtd::connect().define_storage_pool_xml(&pool, 0).expect("defined");
    pool.create(0).expect("started");
    let told = undo(&job, &[]).expect(1).stdout;
    let said = format!("stays     {disk} ({overlay} is an overlay of it)");
    assert!(told.contains(&said) && Path::new(&disk).exists(), "{told}");
    std::fs::remove_file(overlay).expect("removed");
    pool.destroy().and_then(|()| pool.undefine()).expect("gone");
    undo(&job, &[]).expect(0);
    assert!(!Path::new(&disk).exists());
}

#[test]
fn a_guest_that_does_not_come_up_is_told_and_can_be_undone() {
    let Some(job) = converted() else { return };
    let names = Names::new();
    let wait = ["--libvirt-start", "--wait-for", "console:login:", "--wait-timeout", "3s"];
    let wait = [&wait[..], &["--strict"]].concat();
    let ended = run(&job, &define_flags(&job, &names), &wait).expect(3);
    assert_eq!(ended.json["outcome"], "partial", "{}", ended.stdout);
    assert_eq!(job.result()["domain"]["name"], names.name("vm"), "it is recorded");
    let domain = libvirtd::connect().lookup_domain_by_name(&names.name("vm")).expect("it stays");
    domain.destroy().expect("it runs on");
    ended.said("shows 'login:' on its console");
    assert_eq!((ended.stage("libvirt"), ended.stage("start")), ("done", "failed"));
    undo(&job, &["--even-if-used"]).expect(0);
    assert!(names.domains().is_empty());
}

#[test]
fn virt_manager_is_started_where_there_is_one_and_named_where_there_is_none() {
    let Some(job) = converted() else { return };
    let names = Names::new();
    let told = job.dir.path().join("told");
    let bin = job.dir.path().join("bin");
    std::fs::create_dir(&bin).expect("made");
    let script = format!("#!/bin/sh\nfor word; do echo \"$word\" >>'{}'; done\n", told.display());
    let program = bin.join("virt-manager");
    std::fs::write(&program, script).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("set");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("set"));
    let name = names.name("vm's <one>");
    let open = |display: Option<&str>| {
        let mut command = job.bare(&[]);
        let flags = define_flags(&job, &names).into_iter();
        let renamed = flags.map(|flag| if flag == names.name("vm") { name.clone() } else { flag });
        command.args(renamed).arg("--open");
        command.env("PATH", &path).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        command.envs(display.map(|display| ("DISPLAY", display)));
        let ended = Ended::from(command.output().expect("hyperexport runs")).expect(0);
        undo(&job, &[]).expect(0);
        ended
    };
    let quoted = name.replace('\'', r"'\''");
    let command = "virt-manager --connect qemu:///system --show-domain-console";
    open(None).said(&format!("{command} '{quoted}'"));
    assert!(!told.exists(), "there is no screen to show it on");
    let ended = open(Some(":0"));
    assert!(!ended.stderr.contains("virt-manager"), "{}", ended.stderr);
    wait("virt-manager", &|| std::fs::read_to_string(&told).is_ok_and(|t| t.contains("one>")));
    let told = std::fs::read_to_string(&told).expect("told");
    assert_eq!(told, format!("--connect\nqemu:///system\n--show-domain-console\n{name}\n"));
}

#[test]
fn no_domain_is_started_beside_its_running_source() {
    let Some(job) = converted() else { return };
    let names = Names::new();
    set_power(&job.file("manifest.json"), "on");
    let flags = define_flags(&job, &names);
    let ended = run(&job, &flags, &["--libvirt-start"]).expect(4);
    ended.said("powered on");
    ended.said("--allow-running-source");
    // With autostart, the host's next boot would start the domain besides its source.
    let ended = run(&job, &flags, &["--libvirt-autostart"]).expect(4);
    ended.said("powered on");
    assert_eq!(ended.json["errors"][0]["code"], "source-running", "{}", ended.stdout);
    assert!(names.domains().is_empty());
    run(&job, &flags, &["--libvirt-start", "--allow-running-source"]).expect(0);
    libvirtd::connect()
        .lookup_domain_by_name(&names.name("vm"))
        .expect("defined")
        .destroy()
        .expect("it runs");
}

/// Sets the manifest's power state, as if the VM had been exported while running.
fn set_power(manifest: &Path, power: &str) {
    let text = std::fs::read_to_string(manifest).expect("there");
    let mut json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    json["metadata"]["hyperexport"]["source_vm"]["power"] = json!(power);
    std::fs::write(manifest, json.to_string()).expect("written");
}

#[test]
fn a_source_that_was_switched_on_since_is_not_joined() {
    let (Some(hyper2kvm), true) = (hyper2kvm::real(), libvirtd::available()) else { return };
    let Some(job) = converted() else { return };
    let names = Names::new();
    job.power("web01", true);
    // The export is reused, so that its source may run meanwhile.
    let (path, pool) = (hyper2kvm.to_str().expect("UTF-8"), job.dir.path().join("pool"));
    let flags = [
        "--pipeline",
        "--pipeline-fix=false",
        "--hyper2kvm-path",
        path,
        "--libvirt",
        "--libvirt-start",
        "--libvirt-name",
        &names.name("vm"),
        "--libvirt-pool",
        &names.name("pool"),
        "--libvirt-pool-path",
        pool.to_str().expect("UTF-8"),
    ];
    let leases = job.leases();
    let ended = job.run("web01", &flags).expect(4);
    ended.said("powered on");
    let connect = libvirtd::connect();
    let domain = connect.lookup_domain_by_name(&names.name("vm"));
    assert!(domain.is_err(), "it was defined");

    // Powered off again, the VM differs from its export: it has run.
    job.power("web01", false);
    let ended = job.run("web01", &flags).expect(4);
    ended.said("its changeVersion was");
    ended.said("--fresh");
    assert_eq!(ended.json["errors"][0]["code"], "source-changed", "{}", ended.stdout);
    assert_eq!(job.leases(), leases);
    job.assert_source_is_free();
}
