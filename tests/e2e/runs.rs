//! Several runs that define domains from one folder: each has its own record and can be undone
//! independently. Also the pool that is created if no pool is named.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::hyper2kvm::qemu_img_alone;
use crate::support::job::{Ended, Job};
use crate::support::journal;
use crate::support::libvirtd::{self, Names};
use crate::support::vcsim::raw_disk;
use serde_json::{Value, json};

const CONVERT: [&str; 5] =
    ["--pipeline", "--converter", "native", "--pipeline-fix=false", "--pipeline-inspect=false"];

/// A folder with an export, and unique names.
struct Folder {
    job: Job,
    names: Names,
}

impl Folder {
    fn new() -> Option<Self> {
        Self::with_disks(1)
    }

    fn with_disks(count: u64) -> Option<Self> {
        if !libvirtd::available() {
            return None;
        }
        let dir = tempfile::tempdir().expect("a folder");
        let disk = |index: u64| {
            let path = dir.path().join(format!("{index}.raw"));
            raw_disk(&path, 8, index + 5);
            json!({"file": path})
        };
        let disks: Vec<_> = (0..count).map(disk).collect();
        let inventory = json!({"vms": [{
            "name": "web01", "firmware": "bios", "memory_mb": 256, "disks": disks,
            "nics": [{"mac": "00:50:56:aa:bb:01"}],
        }]});
        Some(Self { job: Job::new(dir, &inventory, &[])?, names: Names::new() })
    }

    /// Flags for a unique domain and pool.
    fn target(&self, domain: &str, pool: &str) -> Vec<String> {
        let path = self.job.dir.path().join(pool);
        ["--libvirt-name", &self.names.name(domain), "--libvirt-pool", &self.names.name(pool)]
            .map(str::to_owned)
            .into_iter()
            .chain(["--libvirt-pool-path".to_owned(), path.to_str().expect("UTF-8").to_owned()])
            .collect()
    }

    fn run(&self, target: &[String], more: &[&str]) -> Ended {
        let flags: Vec<_> = CONVERT.into_iter().chain(["--libvirt"]).collect();
        let target = target.iter().map(String::as_str);
        let flags: Vec<_> = flags.into_iter().chain(target).chain(more.iter().copied()).collect();
        self.job.run("web01", &flags)
    }

    fn define(&self, target: &[String], more: &[&str]) -> Ended {
        let mut command = self.job.bare(&["define", "--json", "--manifest"]);
        command.arg(self.job.file("manifest.json")).args(target).args(more);
        Ended::from(command.output().expect("it runs"))
    }

    fn undo(&self, args: &[&str]) -> Ended {
        let mut command = self.job.bare(&["undo"]);
        Ended::from(command.args(args).output().expect("it runs"))
    }

    fn folder(&self) -> String {
        self.job.output().to_str().expect("UTF-8").to_owned()
    }

    fn records(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.job.file("runs")).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().expect("UTF-8"));
        let mut names: Vec<_> = names.filter(|name| name.ends_with(".json")).collect();
        names.sort();
        names
    }
}

#[test]
fn every_run_of_a_folder_can_be_undone() {
    let Some(folder) = Folder::new() else { return };
    let (names, place) = (&folder.names, folder.folder());
    let first = folder.run(&folder.target("a", "pool-a"), &[]).expect(0);
    let xml = std::fs::read_to_string(folder.job.file("domain.xml")).expect("there");
    assert_eq!(folder.records().len(), 1);
    // Another name yields another domain with its own record.
    let second = folder.define(&folder.target("b", "pool-b"), &[]).expect(0);
    assert_ne!(first.json["run"], second.json["run"]);
    assert_eq!(folder.job.result()["run"], second.json["run"]);
    let third = folder.run(&folder.target("c", "pool-a"), &[]).expect(0);
    assert_eq!(third.stage("pipeline"), "kept", "{}", third.stdout);
    assert_eq!((folder.records().len(), names.domains().len()), (3, 3));
    let id = first.json["run"].as_str().expect("named");
    let kept = folder.job.file("runs").join(format!("{id}.xml"));
    assert_eq!(std::fs::read_to_string(kept).expect("there"), xml, "the first one's XML is lost");

    let list = folder.undo(&["--list", &place]).expect(0).stdout;
    let domains = ["c", "b", "a"].map(|label| names.name(label));
    let found: Vec<_> = list.lines().map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(found, domains.each_ref().map(|name| Some(name.as_str())), "{list}");

    // Only the named run.
    let would = folder.undo(&[&place, "--run", id, "--dry-run"]).expect(0).stdout;
    assert!(would.contains(&format!("would go  domain '{}'", names.name("a"))), "{would}");
    // Also if a file of the folder is named instead of the folder.
    let result = folder.job.file("result.json");
    let result = result.to_str().expect("UTF-8");
    let same = folder.undo(&[result, "--run", id, "--dry-run"]).expect(0).stdout;
    assert_eq!(same, would);
    let record = folder.job.file("runs").join(format!("{id}.json"));
    let same = folder.undo(&[record.to_str().expect("UTF-8"), "--list"]).expect(0).stdout;
    assert_eq!(same, list);
    // The run's pool contains a volume of another run, and stays until that run is undone.
    let undone = folder.undo(&[&place, "--run", id]).expect(1).stdout;
    assert!(
        undone.contains("stays     storage pool") && undone.contains("it contains 1 volumes"),
        "{undone}"
    );
    assert_eq!(names.domains().len(), 2);
    let would = folder.undo(&[&place, "--run", id, "--dry-run"]).expect(0).stdout;
    assert!(would.contains("already gone domain '") && !would.contains("would go"), "{would}");
    assert_eq!(names.pools().len(), 2);

    // By default the last run that is not undone yet; the first run's pool is removed with it.
    let last = folder.undo(&[&place, "--json"]).expect(0);
    assert_eq!(last.json["runs"][0]["domain"], names.name("c"), "{}", last.stdout);
    let all = folder.undo(&[&place, "--all", "--json"]);
    assert_eq!(all.json["kept"], json!([]), "{}", all.stdout);
    assert!(names.domains().is_empty() && names.pools().is_empty(), "{:?}", names.pools());
    let again = folder.undo(&[&place]).expect(0);
    assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
    let list = folder.undo(&["--list", &place, "--json"]).expect(0).json;
    let undone = |run: &Value| run["undone_at"].is_string();
    assert!(list.as_array().expect("runs").iter().all(undone), "{list}");
    folder.undo(&[&place, "--run", "no-such"]).expect(4).said("--list");

    // Afterwards the same command defines the domain again, from the existing files.
    let ended = folder.run(&folder.target("a", "pool-a"), &[]).expect(0);
    assert_eq!((ended.stage("export"), ended.stage("pipeline")), ("kept", "kept"));
    assert_eq!(ended.stage("libvirt"), "done");
    folder.undo(&["--result", folder.job.file("result.json").to_str().expect("UTF-8")]).expect(0);
    assert!(names.domains().is_empty() && names.pools().is_empty());
}

#[test]
fn a_domain_that_was_set_aside_gets_its_name_back_in_so_many_words() {
    let Some(folder) = Folder::new() else { return };
    let (target, place) = (folder.target("a", "pool"), folder.folder());
    let name = folder.names.name("a");
    let old = folder.run(&target, &[]).expect(0);
    let new = folder.run(&target, &["--replace", &name]).expect(0);
    assert_ne!(new.json["domain"]["uuid"], old.json["domain"]["uuid"], "it was kept");
    let twice = folder.run(&target, &["--replace", &name]).expect(0);
    assert_eq!(twice.json["already_done"], true, "{}", twice.stdout);
    // Missing copies do not matter either, unless another domain is requested.
    for copy in ["disk-0.vmdk", "web01.qcow2"] {
        drop(std::fs::remove_file(folder.job.file(copy)));
    }
    let twice = folder.run(&target, &["--replace", &name]).expect(0);
    assert_eq!(twice.json["already_done"], true, "{}", twice.stdout);
    let other = folder.run(&target, &["--replace", &name, "--disk-bus", "sata", "--dry-run"]);
    let plan = other.expect(0).json["plan"].to_string();
    assert!(plan.contains("export disk-0"), "{plan}");

    // Undoing the old run first would leave the new run without a way back.
    let (id, by) = (&old.json["run"], new.json["run"].as_str().expect("named"));
    for more in [&[][..], &["--dry-run"]] {
        let args = [&[&*place, "--run", id.as_str().expect("named")][..], more].concat();
        let refused = folder.undo(&args).expect(4);
        refused.said(&format!("domain '{name}' is now '{name}-replaced'"));
        refused.said(&format!("hyperexport undo {place} --run {by}"));
    }
    assert_eq!(folder.names.domains().len(), 2);
    let all = folder.undo(&[&place, "--all", "--dry-run", "--json"]).expect(0).json;
    let domain = format!("domain '{name}-replaced', which was '{name}'");
    let goes = all["would_go"].as_array().expect("a list");
    assert!(goes.contains(&json!(domain)), "{all:#}");

    let would = folder.undo(&[&place, "--dry-run", "--json"]).expect(0).json;
    let renamed = format!("'{name}-replaced' is '{name}' again");
    assert_eq!(would["would_rename"].as_array().map(Vec::len), Some(1), "{would:#}");
    assert!(would["kept"].as_array().is_some_and(Vec::is_empty), "{would:#}");
    let undone = folder.undo(&[&place]).expect(0).stdout;
    assert!(undone.contains(&format!("renamed   {renamed}")), "{undone}");
    let back = libvirtd::connect().lookup_domain_by_name(&name).expect("it has its name back");
    let uuid = back.uuid_string().expect("known");
    assert_eq!(old.json["domain"]["uuid"], uuid.as_str());
    let present = folder.names.name("renamed");
    back.rename(&present, 0).expect("renamed");
    let would = folder.undo(&[&place, "--dry-run"]).expect(0).stdout;
    assert!(would.contains(&format!("domain '{present}', which was '{name}'")), "{would}");
    folder.undo(&[&place]).expect(0);
    assert!(folder.names.domains().is_empty());
}

#[test]
fn what_an_earlier_version_recorded_can_still_be_undone_after_a_new_run() {
    let Some(folder) = Folder::new() else { return };
    let place = folder.folder();
    folder.run(&folder.target("old", "pool"), &[]).expect(0);
    // Records as earlier versions wrote them.
    std::fs::remove_dir_all(folder.job.file("runs")).expect("removed");
    let mut result = folder.job.result();
    for new in ["run", "target", "export", "source", "conversion"] {
        result.as_object_mut().expect("an object").remove(new);
    }
    std::fs::write(folder.job.file("result.json"), result.to_string()).expect("written");
    folder.define(&folder.target("new", "pool"), &[]).expect(0);
    assert_eq!(folder.records().len(), 2);
    folder.undo(&[&place, "--all"]).expect(0);
    assert!(folder.names.domains().is_empty() && folder.names.pools().is_empty());
}

#[test]
fn a_fresh_export_keeps_what_an_earlier_version_recorded() {
    let Some(folder) = Folder::new() else { return };
    let target = folder.target("old", "pool");
    folder.run(&target, &[]).expect(0);
    std::fs::remove_dir_all(folder.job.file("runs")).expect("removed");
    let mut result = folder.job.result();
    for new in ["run", "target"] {
        result.as_object_mut().expect("an object").remove(new);
    }
    std::fs::write(folder.job.file("result.json"), result.to_string()).expect("written");
    folder.job.run("web01", &["--manifest", "--fresh", "--stream-convert=false"]).expect(0);
    assert_eq!(folder.records().len(), 1);
    folder.undo(&[&folder.folder()]).expect(0);
    assert!(folder.names.domains().is_empty() && folder.names.pools().is_empty());
}

#[test]
fn a_run_that_cannot_be_recorded_defines_nothing() {
    let Some(folder) = Folder::new() else { return };
    std::fs::create_dir_all(folder.job.output()).expect("made");
    std::fs::write(folder.job.file("runs"), "the user's").expect("written");
    let ended = folder.run(&folder.target("a", "pool"), &[]).expect(0);
    assert_eq!(ended.json["outcome"], "partial", "{}", ended.stdout);
    ended.said("move away what is in its place");
    assert!(folder.names.domains().is_empty() && folder.names.pools().is_empty());
    std::fs::remove_file(folder.job.file("runs")).expect("removed");
    folder.run(&folder.target("a", "pool"), &[]).expect(0);
    assert_eq!(folder.records().len(), 1);
}

#[test]
fn a_dry_run_of_the_conversion_leads_to_no_domain() {
    let Some(folder) = Folder::new() else { return };
    folder.job.run("web01", &CONVERT).expect(0);
    let dry = ["--pipeline-dry-run", "--libvirt-start"];
    let ended = folder.run(&folder.target("a", "pool"), &dry).expect(0);
    assert_eq!(ended.stage("libvirt"), "skipped", "{}", ended.stdout);
    assert!(ended.json["plan"].to_string().contains("define no domain"), "{}", ended.stdout);
    let told = folder.run(&folder.target("a", "pool"), &["--pipeline-dry-run", "--dry-run"]);
    let plan = told.expect(0).json["plan"].to_string();
    assert!(plan.contains("define no domain") && !plan.contains("define the domain"), "{plan}");
    assert!(folder.names.domains().is_empty() && folder.names.pools().is_empty());
}

#[test]
fn a_refused_run_removes_no_volume() {
    let Some(folder) = Folder::new() else { return };
    let target = folder.target("a", "pool");
    let defined = folder.run(&target, &[]).expect(0);
    let volume = defined.json["domain"]["volumes"][0]["path"].as_str().expect("a path").to_owned();
    let connect = libvirtd::connect();
    let domain = connect.lookup_domain_by_name(&folder.names.name("a")).expect("there");
    domain.undefine().expect("it goes");
    let ended = folder.run(&target, &["--libvirt-bridge", "hxtnosuch"]).expect(4);
    assert!(Path::new(&volume).exists(), "{}", ended.stdout);
    let again = folder.run(&target, &[]).expect(0);
    again.said("which its domain has left unchanged");
    assert_eq!(again.stage("libvirt"), "done", "{}", again.stdout);
}

#[test]
fn an_agent_that_a_kept_guest_lacks_is_not_waited_for() {
    let Some(folder) = Folder::new() else { return };
    let target = folder.target("a", "pool");
    folder.run(&target, &[]).expect(0);
    // As INSPECT reports a guest without an agent.
    let path = folder.job.file("manifest.json");
    let mut manifest = folder.job.manifest();
    manifest["metadata"]["hyperexport"]["source_vm"]["facts"]["agent"] = json!(false);
    std::fs::write(path, manifest.to_string()).expect("written");
    let ended = folder.run(&target, &["--libvirt-start", "--wait-for", "agent"]).expect(4);
    ended.said("the guest has no qemu-guest-agent");
}

#[test]
fn undoing_all_says_which_run_could_not_be_undone() {
    let Some(folder) = Folder::new() else { return };
    folder.run(&folder.target("a", "pool"), &[]).expect(0);
    folder.run(&folder.target("b", "pool"), &[]).expect(0);
    let running = folder.names.name("a");
    let connect = libvirtd::connect();
    let domain = connect.lookup_domain_by_name(&running).expect("there");
    domain.create().expect("it starts");
    let ended = folder.undo(&[&folder.folder(), "--all", "--json"]).expect(1);
    let left = ended.json["kept"].to_string();
    assert!(left.contains(&running), "{}", ended.stdout);
    let gone = ended.json["undone"].to_string();
    assert!(gone.contains(&folder.names.name("b")), "{}", ended.stdout);
    domain.destroy().expect("it stops");
    folder.undo(&[&folder.folder(), "--all", "--even-if-used"]).expect(0);
    assert!(folder.names.domains().is_empty());
}

#[test]
fn undo_says_that_the_source_was_switched_off() {
    let Some(folder) = Folder::new() else { return };
    folder.job.power("web01", true);
    let target = folder.target("a", "pool");
    let ended = folder.run(&target, &["--power-off=force"]).expect(0);
    assert_eq!(ended.json["source"]["powered_off"], "cut", "{}", ended.stdout);
    let (sim, password) = (&folder.job.sim, folder.job.dir.path().join("password"));
    let login = ["--url", &sim.url, "--username", &sim.user, "--thumbprint", &sim.sha256];
    let password = ["--password-file", password.to_str().expect("UTF-8")];
    let place = folder.folder();
    let asked = folder.undo(&[&[&*place, "--dry-run"][..], &login, &password].concat());
    let asked = asked.expect(0).stdout;
    assert!(
        asked.contains("source web01 was powered off by this run, and is still off"),
        "{asked}"
    );
    let undone = folder.undo(&[&folder.folder()]).expect(0).stdout;
    assert!(
        undone.contains(
            "source web01 was powered off by this run; whether it is on now was not asked"
        ),
        "{undone}"
    );
}

#[test]
fn a_volume_that_its_domain_has_left_is_made_again_only_while_nobody_wrote_to_it() {
    let Some(folder) = Folder::new() else { return };
    let target = folder.target("a", "pool");
    let undefine = || {
        let domain = libvirtd::connect().lookup_domain_by_name(&folder.names.name("a"));
        domain.expect("there").undefine().expect("undefined");
    };
    let ended = folder.run(&target, &[]).expect(0);
    undefine();
    let dry = folder.run(&target, &["--dry-run"]).expect(0);
    let volume = ended.json["domain"]["volumes"][0]["path"].as_str().expect("a path");
    let line = format!("remove the volume {volume}, which its domain has left");
    assert!(dry.json["plan"].to_string().contains(&line), "{}", dry.stdout);
    folder.run(&target, &["--pipeline-dry-run"]).expect(0);
    assert!(Path::new(volume).exists(), "no domain follows, and its volume went");
    let again = folder.run(&target, &[]).expect(0);
    assert!(again.json["warnings"].to_string().contains("taken-back"), "{}", again.stdout);
    undefine();
    let mut file = std::fs::OpenOptions::new().write(true).open(volume).expect("there");
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(300_000)).expect("sought");
    std::io::Write::write_all(&mut file, b"the guest's own").expect("written");
    let ended = folder.run(&target, &[]).expect(4);
    assert_eq!(ended.json["errors"][0]["code"], "volume-exists", "{}", ended.stderr);
    assert!(Path::new(volume).exists());
    std::fs::remove_file(volume).expect("removed");
}

#[test]
fn no_volume_goes_where_another_one_refuses_the_run() {
    let Some(folder) = Folder::with_disks(2) else { return };
    let target = folder.target("a", "pool");
    let defined = folder.run(&target, &[]).expect(0);
    let volume = |index: usize| {
        let path = defined.json["domain"]["volumes"][index]["path"].as_str();
        PathBuf::from(path.expect("a path"))
    };
    let connect = libvirtd::connect();
    let domain = connect.lookup_domain_by_name(&folder.names.name("a")).expect("there");
    domain.undefine().expect("it goes");
    // The guest has written only to the second disk.
    std::fs::write(volume(1), "the guest's own").expect("written");
    let ended = folder.run(&target, &[]).expect(4);
    assert_eq!(ended.json["errors"][0]["code"], "volume-exists", "{}", ended.stderr);
    assert!(volume(0).exists() && volume(1).exists(), "a run that was refused removed a volume");
}

#[test]
fn a_replace_that_replaces_nothing_is_refused() {
    let Some(folder) = Folder::new() else { return };
    let (target, name) = (folder.target("a", "pool"), folder.names.name("a"));
    for (named, code) in [("old", "replaces-other"), (&*name, "nothing-to-replace")] {
        for more in [&["--replace", named][..], &["--replace", named, "--dry-run"]] {
            let ended = folder.run(&target, more).expect(4);
            assert_eq!(ended.json["errors"][0]["code"], code, "{}", ended.stderr);
            ended.said("--replace");
        }
    }
    assert!(folder.job.files().is_empty() && folder.names.domains().is_empty());
}

/// A pool that a run created and recorded before it was killed.
#[test]
fn what_a_killed_run_has_made_is_listed_and_undone() {
    let Some(folder) = Folder::new() else { return };
    let (place, pool) = (folder.folder(), folder.names.name("pool"));
    folder.run(&folder.target("a", "other"), &[]).expect(0);
    let path = folder.job.dir.path().join("pool");
    std::fs::create_dir(&path).expect("made");
    let uuid = "4f7c7c9c-0c0b-4a8e-9b80-6b0f3c1d2e3f";
    let xml = format!(
        "<pool type='dir'><name>{pool}</name><uuid>{uuid}</uuid><target><path>{}</path></target>\
         </pool>",
        path.display()
    );
    libvirtd::connect().define_storage_pool_xml(&xml, 0).expect("defined");
    let step = json!({"step": "remove-pool", "name": pool, "uuid": uuid, "folder": true});
    let noted = folder.job.file(".hyperexport-undo");
    journal::write(&folder.job.output(), libvirtd::URI, None, &[step]);

    let list = folder.undo(&["--list", &place]).expect(0).stdout;
    assert!(list.starts_with("unfinished  no domain yet at qemu:///system"), "{list}");
    assert_eq!(list.lines().count(), 2, "{list}");
    let would = folder.undo(&[&place, "--dry-run"]).expect(0).stdout;
    assert!(would.contains(&format!("would go  storage pool '{pool}'")), "{would}");
    let dry = folder.define(&folder.target("b", "other"), &["--dry-run"]).expect(0);
    assert!(dry.json["plan"].to_string().contains("undo what a killed run"), "{would}");
    assert!(noted.exists() && folder.names.pools().contains(&pool));
    folder.undo(&[&place]).expect(0);
    assert!(!noted.exists() && !folder.names.pools().contains(&pool) && !path.exists());
    assert_eq!(folder.names.domains().len(), 1, "the run that came to its end was undone");
    let list = folder.undo(&["--list", &place]).expect(0).stdout;
    assert!(!list.contains("unfinished"), "{list}");
    folder.undo(&[&place]).expect(0);
    assert!(folder.names.domains().is_empty() && folder.names.pools().is_empty());
}

#[test]
fn images_that_a_domain_uses_where_they_lie_do_not_make_way() {
    let Some(folder) = Folder::new() else { return };
    let mut target = folder.target("a", "pool");
    *target.last_mut().expect("the pool's path") = folder.folder();
    folder.run(&target, &[]).expect(0);
    // The guest has written to the image since.
    let image = folder.job.file("web01.qcow2");
    let mut bytes = std::fs::read(&image).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&image, bytes).expect("written");
    let again = folder.run(&target, &[]).expect(0);
    assert_eq!(again.json["already_done"], true, "{}", again.stdout);
    for more in [&["--fresh"][..], &["--compress-type", "zlib"]] {
        let flags = [&CONVERT[..], more].concat();
        let ended = folder.job.run("web01", &flags).expect(4);
        assert_eq!(ended.json["errors"][0]["code"], "export-in-use", "{}", ended.stderr);
        ended.said("hyperexport undo");
    }
    folder.undo(&[&folder.folder()]);
    assert!(folder.names.domains().is_empty());
    assert!(image.exists(), "it is the export's");
}

/// An injected panic, which release builds do not support.
#[test]
fn a_run_that_breaks_before_its_domain_takes_the_volumes_back() {
    let Some(folder) = Folder::new() else { return };
    if !cfg!(debug_assertions) {
        return;
    }
    let target = folder.target("a", "pool");
    let flags: Vec<_> = CONVERT.into_iter().chain(["--libvirt"]).collect();
    let mut command = folder.job.command("web01", &flags);
    command.args(&target).env("HYPEREXPORT_PANIC_AT", "libvirt");
    let ended = Ended::from(command.output().expect("it runs")).expect(1);
    assert_eq!(ended.json["errors"][0]["code"], "panicked", "{}", ended.stdout);
    assert_eq!(ended.stage("pipeline"), "done", "{}", ended.stdout);
    assert!(folder.names.domains().is_empty() && folder.names.pools().is_empty());
    assert!(!folder.job.dir.path().join("pool").exists());
    let left = folder.job.files();
    assert!(!left.iter().any(|name| name.starts_with('.')), "{left:?}");
    folder.job.assert_source_is_free();
    folder.run(&target, &[]).expect(0);
    folder.undo(&[&folder.folder()]).expect(0);
}

#[test]
fn define_warns_of_a_disk_that_has_changed_since_its_conversion() {
    let Some(folder) = Folder::new() else { return };
    folder.job.run("web01", &[&CONVERT[..], &["--pipeline-compress=false"]].concat()).expect(0);
    let target = folder.target("a", "pool");
    let ended = folder.define(&target, &["--verify-upload"]).expect(0);
    assert!(!ended.codes().contains(&"converted-changed"), "{}", ended.stdout);
    let content = &folder.job.result()["converted"][0]["content"];
    assert!(content.is_string(), "{content}");
    assert_eq!(ended.json["domain"]["volumes"][0]["content"], *content, "{}", ended.stdout);
    let report = crate::support::job::read_json(&folder.job.file("report.json"));
    assert_eq!(report["volumes"][0]["content"], *content, "{report}");
    folder.undo(&[&folder.folder()]).expect(0);

    let mut io = Command::new("qemu-io");
    io.args(["-f", "qcow2", "-c", "write -P 3 1M 512"]).arg(folder.job.file("web01.qcow2"));
    assert!(io.output().expect("qemu-io runs").status.success());
    for more in [&[][..], &["--verify-upload"]] {
        let ended = folder.define(&target, more).expect(0);
        assert!(ended.codes().contains(&"converted-changed"), "{}", ended.stdout);
        folder.undo(&[&folder.folder()]).expect(0);
    }
}

#[test]
fn an_image_in_a_pool_is_in_use_whatever_path_leads_to_it() {
    let Some(folder) = Folder::new() else { return };
    let pool = folder.job.dir.path().join("images");
    std::fs::create_dir(&pool).expect("made");
    std::os::unix::fs::symlink(&pool, folder.job.output()).expect("linked");
    let mut target = folder.target("a", "pool");
    *target.last_mut().expect("the pool's path") = pool.to_str().expect("UTF-8").to_owned();
    let ended = folder.run(&target, &[]).expect(0);
    assert_eq!(ended.json["domain"]["volumes"][0]["created"], false, "{}", ended.stdout);
    assert!(!ended.stdout.contains("to delete"), "{}", ended.stdout);
    // The guest has written to the image since.
    let image = folder.job.file("web01.qcow2");
    let mut bytes = std::fs::read(&image).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&image, &bytes).expect("written");
    let again = folder.run(&target, &[]).expect(0);
    assert_eq!(again.json["already_done"], true, "{}", again.stdout);
    for more in [&["--fresh"][..], &["--compress-type", "zlib"]] {
        let ended = folder.job.run("web01", &[&CONVERT[..], more].concat()).expect(4);
        assert_eq!(ended.json["errors"][0]["code"], "export-in-use", "{}", ended.stderr);
    }
    // A run that is killed while it waits for the guest has no result.
    let makes = json!({"makes": ["web01.qcow2", "manifest.json", "result.json"]});
    std::fs::write(folder.job.file(".hyperexport-run"), format!("\n{makes}\n")).expect("written");
    std::fs::remove_file(folder.job.file("result.json")).expect("removed");
    folder.run(&target, &[]).expect(0);
    assert_eq!(std::fs::read(&image).expect("the domain's disk is gone"), bytes);
    folder.undo(&[&folder.folder()]);
    // The pool stays with the files of the folder, but no domain uses the image any more.
    let ended = folder.job.run("web01", &CONVERT).expect(4);
    assert_eq!(ended.json["errors"][0]["code"], "converted-changed", "{}", ended.stderr);
    folder.job.run("web01", &[&CONVERT[..], &["--fresh"]].concat()).expect(0);
}

#[test]
fn a_domain_is_kept_without_the_copies_and_not_without_its_volume() {
    let Some(folder) = Folder::new() else { return };
    let target = folder.target("a", "pool");
    for stream in ["--stream-convert=false", "--stream-convert=true"] {
        let more = [stream, "--verify-upload"];
        let ended = folder.run(&target, &more).expect(0);
        for name in ["disk-0.vmdk", "web01.qcow2"] {
            drop(std::fs::remove_file(folder.job.file(name)));
        }
        for same in [&more[..], &[stream]] {
            let again = folder.run(&target, same).expect(0);
            assert_eq!(again.json["already_done"], true, "{}", again.stdout);
        }
        assert_eq!(folder.names.domains().len(), 1);
        let volume = ended.json["domain"]["volumes"][0]["path"].as_str().expect("a path");
        std::fs::remove_file(volume).expect("removed");
        let ended = folder.run(&target, &[stream]).expect(4);
        assert_eq!(ended.json["errors"][0]["code"], "volume-gone", "{}", ended.stderr);
        ended.said("hyperexport undo");
        folder.undo(&[&folder.folder()]);
        // Neither copies nor volume are left, so the next run starts from the beginning.
    }
}

#[test]
fn a_domain_xml_of_the_user_is_not_overwritten() {
    let Some(folder) = Folder::new() else { return };
    let target = folder.target("a", "pool");
    folder.job.run("web01", &CONVERT).expect(0);
    let own = folder.job.file("domain.xml");
    std::fs::write(&own, "the user's").expect("written");
    for ended in [folder.run(&target, &[]), folder.define(&target, &[])] {
        let ended = ended.expect(4);
        assert_eq!(ended.json["errors"][0]["code"], "file-in-the-way", "{}", ended.stderr);
        assert_eq!(std::fs::read_to_string(&own).expect("there"), "the user's");
    }
    assert!(folder.names.domains().is_empty());
    std::fs::remove_file(&own).expect("removed");
    folder.define(&target, &[]).expect(0);
    let again = folder.run(&target, &[]).expect(0);
    assert_eq!(again.json["already_done"], true, "{}", again.stdout);
}

#[test]
fn what_was_asked_for_once_is_no_part_of_the_definition() {
    let Some(folder) = Folder::new() else { return };
    let target = folder.target("a", "pool");
    folder.run(&target, &[]).expect(0);
    // The same folder by a relative path, without the one-time actions.
    let mut relative = target.clone();
    *relative.last_mut().expect("the pool's path") = "pool".to_owned();
    for same in [&relative[..], &target[..4]] {
        let again = folder.run(same, &[]).expect(0);
        assert_eq!(again.json["already_done"], true, "{}", again.stdout);
    }
    let ended = folder.run(&target, &["--verify-upload"]).expect(4);
    assert_eq!(ended.json["errors"][0]["code"], "domain-differs", "{}", ended.stderr);
    ended.said("--verify-upload: default then, true now");
    let name = folder.names.name("a");
    folder.run(&target, &["--replace", &name, "--verify-upload"]).expect(0);
    let again = folder.run(&target, &[]).expect(0);
    assert_eq!(again.json["already_done"], true, "{}", again.stdout);
    folder.undo(&[&folder.folder(), "--all"]);
}

#[test]
fn the_summary_names_the_volume_the_copies_and_the_source() {
    let Some(folder) = Folder::new() else { return };
    let target = folder.target("a", "pool");
    let flags = [&CONVERT[..], &["--libvirt", "--stream-convert=false"]].concat();
    let mut command = folder.job.command("web01", &flags);
    command.args(&target);
    let args: Vec<_> =
        command.get_args().filter(|arg| *arg != "--json").map(ToOwned::to_owned).collect();
    let said = |more: &[&str]| {
        let ended = folder.job.bare(&[]).args(&args).args(more).output();
        Ended::from(ended.expect("it runs")).expect(0).stdout
    };
    let plan = said(&["--dry-run"]);
    let pool = folder.job.dir.path().join("pool");
    let volume = pool.join(format!("{}.qcow2", folder.names.name("a")));
    for line in [
        format!(
            "define the storage pool '{}' over {}, ",
            folder.names.name("pool"),
            pool.display()
        ),
        format!("copy disk-0 to {} in the storage pool", volume.display()),
        "connect nic-0, 00:50:56:aa:bb:01 in network 'VM Network' to network 'default'".to_owned(),
    ] {
        assert!(plan.contains(&line), "no '{line}' in {plan}");
    }
    let summary = said(&[]);
    let vmdk = folder.job.file("disk-0.vmdk");
    for line in [
        format!("exported   disk-0  {}", vmdk.display()),
        format!("converted  disk-0  {}", folder.job.file("web01.qcow2").display()),
        format!("pool       {} over {}, ", folder.names.name("pool"), pool.display()),
        format!("volume     disk-0  {} (", volume.display()),
        "source     web01 is off".to_owned(),
        "copies     3: exported 1.".to_owned(),
        format!("to delete  {} ", vmdk.display()),
    ] {
        assert!(summary.contains(&line), "no '{line}' in {summary}");
    }
    let again = said(&[]);
    assert!(again.contains("done       web01: nothing to do, all is complete"), "{again}");
    folder.undo(&[&folder.folder()]).expect(0);
}

/// Output of virsh for a libvirt URI, in the environment of the job's commands.
fn virsh(job: &Job, uri: &str, args: &[&str]) -> String {
    let mut command = Command::new("virsh");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", job.dir.path()).args(["-q", "-c", uri]).args(args);
    let output = command.output().expect("virsh runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A bridge of this machine, removed on drop.
struct Bridge(String);

impl Bridge {
    fn new() -> Self {
        let name = format!("hxb{}", std::process::id());
        let made = ["link", "add", "name", &name, "type", "bridge"];
        assert!(Command::new("ip").args(made).status().expect("ip runs").success());
        Self(name)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let gone = Command::new("ip").args(["link", "del", &self.0]).status();
        assert!(gone.expect("ip runs").success());
    }
}

#[test]
fn the_pool_default_is_made_where_nobody_has_named_one() {
    let Some(folder) = Folder::new() else { return };
    let Some(_alone) = libvirtd::no_default_pool() else { return };
    let (job, uri, name) = (&folder.job, libvirtd::URI, folder.names.name("vm"));
    let target = ["--libvirt", "--libvirt-uri", uri, "--libvirt-name", &name];
    let target = [&CONVERT[..], &target, &["--network-map", "*=none"]].concat();
    let is_there = || {
        let pools = virsh(job, uri, &["pool-list", "--all", "--autostart", "--name"]);
        pools.lines().any(|name| name.trim() == "default")
    };
    // An explicitly named pool is not created.
    let ended = job.run("web01", &[&target[..], &["--libvirt-pool", "default"]].concat()).expect(4);
    assert_eq!(ended.json["errors"][0]["code"], "no-pool", "{}", ended.stderr);
    assert!(!is_there() && job.leases() == 0);

    // Without libguestfs, whose appliance would be slow.
    let tools = tempfile::tempdir().expect("a folder");
    let mut doctor = job.bare(&["doctor", "--json", "--libvirt-uri", uri]);
    let doctor = doctor.env("PATH", qemu_img_alone(tools.path())).output().expect("it runs");
    let doctor = Ended::from(doctor).json;
    let mut checks = doctor["checks"].as_array().expect("checks").iter();
    let pool = checks.find(|check| check["name"] == "storage-pool").expect("told");
    assert_eq!((&pool["about"], &pool["health"]), (&json!("default"), &json!("ok")), "{pool}");
    assert!(pool["found"].to_string().contains("will be made over /var/lib/libvirt/images"));

    let dry = job.run("web01", &[&target[..], &["--dry-run"]].concat()).expect(0);
    let line = "define the storage pool 'default' over /var/lib/libvirt/images, and start it";
    assert!(dry.json["plan"].to_string().contains(line), "{}", dry.stdout);
    assert!(!is_there());

    // A failed run removes the pool again, but leaves the files in its folder.
    let images = Path::new("/var/lib/libvirt/images");
    let others = tempfile::NamedTempFile::new_in(images).expect("another's file");
    let fails = [&target[..], &["--boot-proof", "--boot-proof-timeout", "3s"]].concat();
    let ended = job.run("web01", &fails).expect(0);
    assert_eq!(ended.stage("libvirt"), "failed", "{}", ended.stdout);
    ended.said("made the storage pool 'default' over /var/lib/libvirt/images");
    assert!(!is_there(), "a failed run left its pool");
    assert!(others.path().exists());
    drop(others);

    // Command line of a newcomer who has only a bridge.
    let bridge = Bridge::new();
    let typed = ["--libvirt", "--libvirt-name", &name, "--libvirt-autostart", "--strict"];
    let typed = [&CONVERT[..], &typed, &["--libvirt-bridge", &bridge.0]].concat();
    let ended = job.run("web01", &typed).expect(0);
    assert!(is_there(), "it starts with its host");
    assert!(ended.json["domain"]["xml"].to_string().contains(&format!("bridge='{}'", bridge.0)));
    let volume = ended.json["domain"]["volumes"][0]["path"].as_str().expect("a path");
    assert_eq!(volume, images.join(format!("{name}.qcow2")).to_str().expect("UTF-8"));
    folder.undo(&[&folder.folder()]).expect(0);
    assert!(!is_there() && images.is_dir() && !Path::new(volume).exists());

    // Another pool with the same folder is used: libvirt accepts no second one.
    let others = folder.names.name("others");
    virsh(job, uri, &["pool-create-as", &others, "dir", "--target", "/var/lib/libvirt/images"]);
    let ended = job.run("web01", &target).expect(0);
    assert_eq!(ended.json["domain"]["pool"], others, "{}", ended.stdout);
    let codes = ended.json["warnings"].to_string();
    assert!(codes.contains("pool-used-instead"), "{codes}");
    folder.undo(&[&folder.folder()]).expect(0);
    assert!(!Path::new(volume).exists());
}

/// An unprivileged user with a private libvirtd, which ends on drop.
struct User {
    home: PathBuf,
}

impl User {
    /// User ID of `nobody`.
    const ID: u32 = 65534;

    fn new(dir: &Path) -> Self {
        let home = dir.join("home");
        std::fs::create_dir_all(home.join("run")).expect("made");
        for path in [&home, &home.join("run")] {
            std::os::unix::fs::chown(path, Some(Self::ID), Some(Self::ID)).expect("root");
        }
        Self { home }
    }

    /// A command that runs as this user.
    fn command(&self, program: &Path) -> Command {
        let id = Self::ID.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]).arg(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &self.home).env("XDG_RUNTIME_DIR", self.home.join("run"));
        command.env("XDG_DATA_HOME", self.home.join("data")).current_dir(&self.home);
        command
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.home.join("run/libvirt/libvirtd.pid"));
        let pid = pid.ok().and_then(|pid| pid.trim().parse().ok());
        if let Some(pid) = pid.map(nix::unistd::Pid::from_raw) {
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it lives");
        }
    }
}

#[test]
fn the_pool_of_a_user_s_own_daemon_is_in_his_data_folder_and_goes_with_it() {
    let Some(folder) = Folder::new() else { return };
    let (job, uri) = (&folder.job, "qemu:///session");
    let user = User::new(job.dir.path());
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(job.dir.path().join("password"), readable).expect("set");
    // Copied, since `nobody` may have no access to the checkout.
    let program = job.dir.path().join("hyperexport");
    std::fs::copy(env!("CARGO_BIN_EXE_hyperexport"), &program).expect("copied");
    let flags = ["--libvirt", "--libvirt-uri", uri, "--network-map", "*=none", "--strict"];
    let typed = job.command("web01", &[&CONVERT[..], &flags].concat());
    let output = user.home.join("web01");
    let args = typed.get_args().map(|arg| match arg == job.output() {
        true => output.as_os_str(),
        false => arg,
    });
    let ended = user.command(&program).args(args).output().expect("it runs");
    let ended = Ended::from(ended).expect(0);
    let volume = user.home.join("data/libvirt/images/web01.qcow2");
    assert_eq!(ended.json["domain"]["volumes"][0]["path"], json!(volume), "{}", ended.stdout);
    let pools = || {
        let mut virsh = user.command(Path::new("virsh"));
        let output = virsh.args(["-q", "-c", uri, "pool-list", "--all", "--name"]).output();
        String::from_utf8(output.expect("it runs").stdout).expect("UTF-8")
    };
    assert_eq!(pools().trim(), "default");
    let undone = user.command(&program).arg("undo").arg(&output).output().expect("it runs");
    let undone = Ended::from(undone).expect(0);
    assert_eq!(pools().trim(), "", "{}", undone.stdout);
    assert!(!user.home.join("data/libvirt/images").exists(), "it was made, and is empty");
}
