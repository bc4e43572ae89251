//! Actions on a source VM after its successful migration, and their undoing; and a login that lacks
//! a privilege.

use std::process::Command;

use serde_json::{Value, json};

use crate::comes_back::vm;
use crate::support::files::Desk;
use crate::support::job::{Ended, Job};
use crate::support::libvirtd::{self, Names};
use crate::support::vcsim::raw_disk;

fn job_of(power: &str, args: &[&str]) -> Option<Job> {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = dir.path().join("0.raw");
    raw_disk(&disk, 4, 5);
    let vm = |name: &str, folder: &str, tag: &str| {
        json!({
            "name": name, "firmware": "bios", "memory_mb": 256, "disks": [{"file": disk}],
            "nics": [{"mac": "00:50:56:aa:bb:01"}, {"mac": "00:50:56:aa:bb:02"}],
            "power": power, "tools": "toolsOk", "annotation": "of the shop", "folder": folder,
            "tags": [{"category": "State", "name": tag}],
        })
    };
    // The second VM creates the folder and the tag.
    let vms = [vm("web01", "", "live"), vm("old", "Old", "migrated")];
    Job::new(dir, &json!({"vms": vms}), args)
}

fn undo(job: &Job, more: &[&str]) -> Ended {
    let mut command = job.bare(&["undo"]);
    command.arg(job.output()).args(more);
    Ended::from(command.output().expect("it runs"))
}

fn login(job: &Job) -> Vec<String> {
    let password = job.dir.path().join("password");
    let password = password.to_str().expect("UTF-8");
    let flags = ["--url", &job.sim.url, "--username", &job.sim.user, "--password-file", password];
    flags.into_iter().chain(["--thumbprint", &job.sim.sha256]).map(str::to_owned).collect()
}

fn undo_with_login(job: &Job, more: &[&str]) -> Ended {
    let login = login(job);
    let flags: Vec<_> = login.iter().map(String::as_str).chain(more.iter().copied()).collect();
    undo(job, &flags)
}

#[test]
fn each_thing_that_follows_a_migration_is_done_recorded_and_undone() {
    let Some(job) = job_of("off", &[]) else { return };
    let moref = job.sim.vm("web01").moref.clone();
    let all = "disconnect-nics,rename:-migrated,folder:Old,tag:State/migrated";
    let flags = ["--source-after", all, "--source-after", "note"];
    let ended = job.run(&moref, &flags).expect(0);
    let steps: Vec<_> = ended.json["source"]["after"].as_array().expect("steps").clone();
    let kinds: Vec<_> = steps.iter().map(|step| step["step"].as_str().expect("a word")).collect();
    assert_eq!(kinds, ["disconnect-nics", "rename", "move", "tag", "note"]);
    let now = vm(&job);
    assert_eq!((&now["name"], &now["folder"]), (&json!("web01-migrated"), &json!("Old")));
    assert_eq!(now["start_connected"], json!([false, false]));
    let note = now["annotation"].as_str().expect("notes");
    assert!(note.starts_with("of the shop\nExported by hyperexport on "), "{note}");
    let mut list = job.bare(&["list", "--tag", "State=migrated", "--json"]);
    let tagged = Ended::from(list.args(login(&job)).output().expect("it runs")).expect(0);
    assert_eq!(tagged.json.as_array().map(Vec::len), Some(2), "{}", tagged.stdout);
    job.assert_source_is_free();

    // Running the same command twice changes nothing more.
    let again = job.run(&moref, &flags).expect(0);
    assert_eq!(again.json["source"]["after"].as_array().map(Vec::len), Some(5), "{}", again.stdout);
    assert_eq!(vm(&job), now);

    let without_login = undo(&job, &["--json"]).expect(1);
    assert_eq!(without_login.json["kept"].as_array().map(Vec::len), Some(5));
    let would = undo_with_login(&job, &["--dry-run"]).expect(0);
    assert!(would.stdout.contains("renamed from 'web01' to 'web01-migrated'"), "{}", would.stdout);
    assert_eq!(vm(&job), now, "a dry run changes nothing");
    undo_with_login(&job, &[]).expect(0);
    let back = vm(&job);
    assert_eq!((&back["name"], &back["folder"]), (&json!("web01"), &json!("vm")));
    assert_eq!(back["annotation"], "of the shop");
    assert_eq!(back["start_connected"], json!([true, true]));
    let tagged = Ended::from(list.output().expect("it runs")).expect(0);
    assert_eq!(tagged.json.as_array().map(Vec::len), Some(1), "{}", tagged.stdout);
    assert!(job.result()["source"]["after"].is_null(), "{}", job.result());
}

#[test]
fn what_cannot_follow_is_refused_before_anything_begins() {
    let Some(job) = job_of("off", &[]) else { return };
    let long = format!("rename:{}", "x".repeat(80));
    for (what, said) in [
        ("folder:No/Such", "no such folder of VMs exists"),
        ("tag:State/none", "no such tag exists"),
        (long.as_str(), "is longer than 80 characters"),
    ] {
        let ended = job.run("web01", &["--source-after", what]).expect(4);
        ended.said(said);
        assert_eq!(ended.json["errors"][0]["code"], "cannot-follow", "{}", ended.stdout);
    }
    for wrong in ["delete", "tag:x", "rename:", "leave,note"] {
        job.run("web01", &["--source-after", wrong]).expect(2);
    }
    assert!(!job.output().exists());
    let desk = Desk::new();
    desk.raw("a.raw", 1);
    let ended = desk.run(&["--source", "a.raw", "--output", "out", "--source-after", "note"]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    ended.said("the source is files, which are never changed");
}

#[test]
fn nothing_follows_a_run_that_fails() {
    let Some(job) = job_of("off", &[]) else { return };
    let before = vm(&job);
    job.faults(&json!({"export_fault": "NoPermission"}));
    let ended = job.run("web01", &["--transport", "nfc", "--source-after", "note"]).expect(1);
    assert!(ended.json["source"]["after"].is_null(), "{}", ended.stdout);
    assert_eq!(vm(&job)["annotation"], before["annotation"]);
}

#[test]
fn a_step_that_fails_is_told_and_those_before_it_stand() {
    let Some(job) = job_of("on", &[]) else { return };
    job.faults(&json!({"task_fault": "reconfigVm:NotSupported"}));
    let flags = ["--power-off", "--power-on-after", "--source-after", "rename:-x,disconnect-nics"];
    let ended = job.run("web01", &flags).expect(0);
    assert_eq!((&ended.json["outcome"], ended.stage("source")), (&json!("partial"), "failed"));
    assert_eq!(ended.json["source"]["after"].as_array().map(Vec::len), Some(1));
    // Its cards are still connected, so the VM stays off.
    let now = vm(&job);
    assert_eq!((&now["name"], &now["power"]), (&json!("web01-x"), &json!("poweredOff")));
}

#[test]
fn undo_powers_the_source_on_that_a_run_or_a_killed_one_has_switched_off() {
    let Some(job) = job_of("on", &[]) else { return };
    job.run("web01", &["--power-off"]).expect(0);
    assert_eq!(vm(&job)["power"], "poweredOff");
    undo(&job, &["--power-on-source"]).expect(2).said("address of the vCenter is missing");
    undo_with_login(&job, &["--power-on-source", "--dry-run"]).expect(0);
    assert_eq!(vm(&job)["power"], "poweredOff");
    undo_with_login(&job, &["--power-on-source"]).expect(0);
    assert_eq!(vm(&job)["power"], "poweredOn");
    assert_eq!(job.result()["source"]["returned"], "on");
}

#[test]
fn undo_powers_no_source_on_while_its_domain_runs() {
    if !libvirtd::available() {
        return;
    }
    let (Some(job), names) = (job_of("on", &[]), Names::new()) else { return };
    let pool = job.dir.path().join("pool");
    let flags = [
        "--pipeline",
        "--converter",
        "native",
        "--pipeline-fix=false",
        "--pipeline-inspect=false",
        "--libvirt",
        "--libvirt-start",
        "--power-off",
        "--libvirt-name",
        &names.name("vm"),
        "--libvirt-pool",
        &names.name("pool"),
        "--libvirt-pool-path",
        pool.to_str().expect("UTF-8"),
    ];
    job.run("web01", &flags).expect(0);
    let ended = undo_with_login(&job, &["--power-on-source", "--even-if-used"]);
    assert_ne!(ended.code, Some(0), "{}", ended.stdout);
    assert_eq!(vm(&job)["power"], "poweredOff");
    let domain = libvirtd::connect().lookup_domain_by_name(&names.name("vm")).expect("there");
    domain.destroy().expect("it ran");
    undo_with_login(&job, &["--power-on-source", "--even-if-used"]).expect(0);
    assert_eq!(vm(&job)["power"], "poweredOn");
}

#[test]
fn a_login_that_lacks_a_privilege_is_refused_with_its_name() {
    let Some(job) = job_of("on", &[]) else { return };
    let refused = |denied: Value, flags: &[&str], said: &[&str]| {
        job.faults(&json!({"denied": denied}));
        let ended = job.run("web01", flags).expect(4);
        assert_eq!(ended.json["errors"][0]["code"], "lacks-privileges", "{}", ended.stdout);
        said.iter().for_each(|said| ended.said(said));
    };
    let export = ["--power-off", "--transport", "nfc"];
    refused(
        json!(["VApp.Export"]),
        &export,
        &["VApp.Export on web01", "role --for export,power-off"],
    );
    let power = json!(["VirtualMachine.Interact.PowerOn", "VirtualMachine.Interact.PowerOff"]);
    let both = ["Interact.PowerOff on web01", "Interact.PowerOn on web01"];
    refused(power, &export, &both);
    let snapshot = json!(["VirtualMachine.State.RemoveSnapshot"]);
    refused(snapshot, &["--snapshot"], &["VirtualMachine.State.RemoveSnapshot on web01"]);
    let datastore = json!(["Datastore.FileManagement"]);
    let from = ["--power-off", "--transport", "datastore"];
    refused(datastore, &from, &["Datastore.FileManagement on datastore LocalDS_0"]);
    let note = ["--power-off", "--source-after", "note"];
    refused(json!(["VirtualMachine.Config.Annotation"]), &note, &["Config.Annotation on web01"]);
    // Neither way of downloading is permitted.
    let none = json!(["VApp.Export", "Datastore.Browse"]);
    refused(none, &["--power-off"], &["VApp.Export on web01"]);
    assert_eq!((vm(&job)["power"].as_str(), job.leases()), (Some("poweredOn"), 0));
    assert!(!job.output().exists());

    // Privileges that no flag needs may be missing, and a server that does not report them is
    // accepted.
    job.faults(&json!({"denied": ["VirtualMachine.Interact.PowerOn", "VApp.Export"]}));
    job.run("web01", &["--power-off", "--keep-source-off"]).expect(0).said("reading the datastore");
    job.faults(&json!({"no_authorization": true}));
    let ended = job.run("web01", &["--fresh"]).expect(0);
    assert_eq!(ended.codes(), ["privileges-not-known"]);
}

fn virsh(args: &[&str]) -> String {
    let output = Command::new("virsh").args(["-q", "-c", "qemu:///system"]).args(args).output();
    let output = output.expect("virsh runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

#[test]
fn what_libvirt_knows_is_done_to_a_domain_and_undone() {
    if !libvirtd::available() {
        return;
    }
    let (desk, names) = (Desk::new(), Names::new());
    let pool = desk.path("pool");
    std::fs::create_dir(&pool).expect("made");
    raw_disk(&pool.join("disk.img"), 4, 3);
    let (pool_name, name) = (names.name("pool"), names.name("vm"));
    virsh(&["pool-create-as", &pool_name, "dir", "--target", pool.to_str().expect("UTF-8")]);
    let xml = format!(
        "<domain type='qemu'><name>{name}</name><description>of the shop</description>\
         <memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os><devices>\
         <disk type='file' device='disk'><driver name='qemu' type='raw'/>\
         <source file='{}/disk.img'/><target dev='vda' bus='virtio'/></disk>\
         <interface type='user'><mac address='52:54:00:aa:bb:cc'/></interface></devices></domain>",
        pool.display()
    );
    std::fs::write(desk.path("domain.xml"), xml).expect("written");
    virsh(&["define", desk.path("domain.xml").to_str().expect("UTF-8")]);
    let uuid = virsh(&["domuuid", &name]);
    let uri = format!("libvirt+qemu:///system?domain={uuid}");
    let run = |after: &str| {
        let flags = ["--source", &uri, "--output", "out", "--json", "--source-after", after];
        Ended::from(desk.command(&flags).output().expect("it runs"))
    };
    for (what, said) in
        [("folder:Old", "libvirt has no folders of domains"), ("tag:a/b", "libvirt has no tags")]
    {
        run(what).expect(4).said(said);
    }
    let ended = run("rename:-old,note,disconnect-nics").expect(0);
    assert_eq!(ended.json["source"]["after"].as_array().map(Vec::len), Some(3), "{}", ended.stdout);
    let now = virsh(&["dumpxml", "--inactive", &uuid]);
    for part in
        [&format!("<name>{name}-old</name>"), "link state='down'", "Exported by hyperexport"]
    {
        assert!(now.contains(part), "{part} is missing: {now}");
    }
    let undo = desk.command(&["undo", "out", "--source", &uri]).output();
    Ended::from(undo.expect("it runs")).expect(0);
    let now = virsh(&["dumpxml", "--inactive", &uuid]);
    for part in [&format!("<name>{name}</name>"), "<description>of the shop</description>"] {
        assert!(now.contains(part), "{part} is missing: {now}");
    }
    assert!(!now.contains("link state='down'"), "{now}");
    virsh(&["undefine", &uuid]);
    virsh(&["pool-destroy", &pool_name]);
}
