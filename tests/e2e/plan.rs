//! `plan` describes exactly what `define` would create; `apply` creates that and nothing else.

use crate::support::hyper2kvm;
use crate::support::job::{Ended, Job, read_json};
use crate::support::libvirtd::{self, Names};
use serde_json::{Value, json};

struct Planned {
    job: Job,
    names: Names,
}

impl Planned {
    /// A converted export and the plan of its definition, in a folder where the pool has a relative
    /// path.
    fn new() -> Option<Self> {
        let job = hyper2kvm::converted()?;
        let planned = Self { job, names: Names::new() };
        planned.plan().expect(0);
        Some(planned)
    }

    fn plan(&self) -> Ended {
        let (vm, pool) = (self.names.name("vm"), self.names.name("pool"));
        let mut command = self.job.bare(&["plan", "--manifest", "export/manifest.json"]);
        command.args(["--plan", "plan.json", "--libvirt-name", &vm, "--libvirt-pool", &pool]);
        command.args(["--libvirt-pool-path", "pool", "--libvirt-autostart", "--libvirt-snapshot"]);
        command.arg("--open");
        command.current_dir(self.job.dir.path());
        Ended::from(command.output().expect("hyperexport runs"))
    }

    fn apply(&self) -> Ended {
        self.apply_with(&[])
    }

    fn apply_with(&self, flags: &[&str]) -> Ended {
        let plan = self.job.dir.path().join("plan.json");
        let mut command = self.job.bare(&["apply", "--json"]);
        Ended::from(command.args(flags).arg(plan).output().expect("hyperexport runs"))
    }

    fn read(&self) -> Value {
        read_json(&self.job.dir.path().join("plan.json"))
    }

    fn nothing_was_made(&self) {
        assert!(self.names.domains().is_empty() && self.names.pools().is_empty());
        assert!(!self.job.dir.path().join("pool").exists());
    }
}

#[test]
fn a_plan_changes_nothing_and_is_done_to_the_letter() {
    let Some(planned) = Planned::new() else { return };
    planned.nothing_was_made();
    let plan = planned.read();
    let draft = &plan["draft"];
    let pool = planned.job.dir.path().join("pool");
    assert_eq!(draft["pool"]["path"], pool.to_str().expect("UTF-8"));
    assert!(plan["steps"].as_array().expect("lines").len() >= 4, "{plan}");
    let steps = plan["steps"].to_string();
    for line in ["domain.xml", "record the run in", "/export/runs", "show the console"] {
        assert!(steps.contains(line), "no '{line}' in {steps}");
    }
    planned.plan().expect(1).said("plan.json");

    let dry = planned.apply_with(&["--dry-run"]).expect(0);
    assert!(dry.json["plan"].to_string().contains("define the domain"), "{}", dry.stdout);
    planned.nothing_was_made();

    let ended = planned.apply().expect(0);
    ended.said("--show-domain-console");
    let domain = &ended.json["domain"];
    assert_eq!(domain["uuid"], draft["uuid"]);
    assert_eq!(domain["volumes"][0]["path"], draft["volumes"][0]["path"]);
    assert_eq!(domain["autostart"], true);
    assert_eq!(domain["snapshot"]["name"], "migrated");
    let defined = libvirtd::connect().lookup_domain_by_name(&planned.names.name("vm"));
    let uuid = defined.expect("defined").uuid_string().expect("known");
    assert_eq!(draft["uuid"], uuid.as_str());
    let twice = planned.apply().expect(4);
    twice.said("exists already");
    twice.said("write the plan again with hyperexport plan");
}

#[test]
fn a_plan_whose_image_has_changed_is_refused() {
    let Some(planned) = Planned::new() else { return };
    let image = planned.job.file("web01.qcow2");
    let bytes = std::fs::read(&image).expect("read");
    std::fs::write(&image, bytes).expect("written anew");
    let ended = planned.apply().expect(4);
    ended.said("disk-0: planned");
    ended.said("hyperexport plan");
    planned.nothing_was_made();
}

#[test]
fn a_plan_whose_target_has_changed_is_refused() {
    let Some(planned) = Planned::new() else { return };
    let pool = planned.job.dir.path().join("pool");
    std::fs::create_dir(&pool).expect("made");
    let xml = format!(
        "<pool type='dir'><name>{}</name><target><path>{}</path></target></pool>",
        planned.names.name("pool"),
        pool.display()
    );
    libvirtd::connect().define_storage_pool_xml(&xml, 0).expect("defined");
    planned.apply_with(&["--dry-run"]).expect(4).said("the storage pool: planned");
    planned.apply().expect(4).said("the storage pool: planned");
    assert!(planned.names.domains().is_empty());
}

#[test]
fn a_plan_that_was_written_by_hand_makes_nothing_else_than_it_says() {
    let Some(planned) = Planned::new() else { return };
    let mut plan = planned.read();
    let xml = plan["draft"]["xml"].as_str().expect("XML").replace("</domain>", "<!-- --></domain>");
    plan["draft"]["xml"] = json!(xml);
    let path = planned.job.dir.path().join("plan.json");
    std::fs::write(&path, plan.to_string()).expect("written");
    planned.apply().expect(4).said("the domain: planned");
    planned.nothing_was_made();
    std::fs::write(&path, "{}").expect("written");
    planned.apply().expect(2).said("is no plan");
}
