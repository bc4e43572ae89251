//! Many concurrent runs against one vCenter and one libvirt. No run removes anything of another
//! run, and after a kill the next run cleans up everything.
#![allow(clippy::print_stdout, reason = "at which moments runs were killed")]

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::job::{Ended, Job, assert_same_disk, read_json};
use crate::support::libvirtd::{self, Names};
use crate::support::seed;
use crate::support::vcsim::raw_disk;

const RUNS: usize = 20;
const KILLED: usize = 10;
const FLAGS: [&str; 9] = [
    "--manifest",
    "--pipeline",
    "--converter=native",
    "--pipeline-fix=false",
    "--pipeline-inspect=false",
    "--libvirt",
    "--libvirt-domain-type=qemu",
    "--strict",
    "--json",
];

struct Runs {
    job: Job,
    names: Names,
}

impl Runs {
    fn new() -> Option<Self> {
        if !libvirtd::available() {
            return None;
        }
        let dir = tempfile::tempdir().expect("a folder");
        let vm = |index: usize| {
            let path = dir.path().join(format!("{index}.raw"));
            raw_disk(&path, 2, index as u64 + 1);
            let name = format!("web{index:02}");
            json!({"name": name, "firmware": "bios", "memory_mb": 64, "disks": [{"file": path}]})
        };
        let vms: Vec<_> = (0..RUNS).map(vm).collect();
        Some(Self { job: Job::new(dir, &json!({"vms": vms}), &[])?, names: Names::new() })
    }

    fn pool(&self) -> PathBuf {
        self.job.dir.path().join("pool")
    }

    fn output(&self, round: &str, index: usize) -> PathBuf {
        self.job.dir.path().join(format!("{round}-{index}"))
    }

    fn domain(&self, round: &str, index: usize) -> String {
        self.names.name(&format!("{round}-{index:02}"))
    }

    fn start(&self, round: &str, index: usize) -> Child {
        let mut command = self.job.bare(&FLAGS);
        command.args(["--url", &self.job.sim.url, "--username", &self.job.sim.user]);
        command.arg("--password-file").arg(self.job.dir.path().join("password"));
        command.args(["--thumbprint", &self.job.sim.sha256, "--vm", &format!("web{index:02}")]);
        command.arg("--output").arg(self.output(round, index));
        command.args(["--libvirt-name", &self.domain(round, index)]);
        command.args(["--libvirt-pool", &self.names.name("pool")]);
        command.arg("--libvirt-pool-path").arg(self.pool());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("hyperexport runs")
    }

    /// Asserts that every run succeeded, its domain exists, and its volume has the bytes of its VM.
    fn assert_done(&self, round: &str, runs: impl IntoIterator<Item = (usize, Child)>) {
        for (index, child) in runs {
            let ended = Ended::from(child.wait_with_output().expect("it ends")).expect(0);
            // A run that was killed after its last step had no work left.
            let outcome = ended.json["outcome"].as_str().unwrap_or_default();
            assert!(
                ["done", "already-done"].contains(&outcome),
                "{round} {index}: {}",
                ended.stdout
            );
            assert!(ended.codes().iter().all(|code| !code.contains("left")), "{:?}", ended.codes());
            let domain = &ended.json["domain"];
            assert_eq!(domain["name"], self.domain(round, index), "{}", ended.stdout);
            let volume = domain["volumes"][0]["path"].as_str().expect("a path");
            let source = &self.job.sim.vm(&format!("web{index:02}")).disks;
            let source = &source.as_ref().expect("disks")[0].raw;
            assert_same_disk((source, "raw"), (Path::new(volume), "qcow2"));
        }
    }

    /// Asserts that only the results of the runs of `round` are left, besides `others` of other
    /// rounds.
    fn assert_nothing_left(&self, round: &str, others: usize) {
        let all = (0..RUNS).map(|index| self.domain(round, index));
        let domains = self.names.domains();
        assert_eq!(domains.len(), RUNS + others, "{domains:?}");
        all.for_each(|name| assert!(domains.contains(&name), "no {name}: {domains:?}"));
        let names = |folder: &Path| -> Vec<String> {
            let entries =
                folder.read_dir().expect("a folder").map(|entry| entry.expect("an entry"));
            entries.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect()
        };
        let volumes = names(&self.pool());
        assert_eq!(volumes.len(), RUNS + others, "{volumes:?}");
        for index in 0..RUNS {
            let output = self.output(round, index);
            let files = names(&output);
            let odd = |name: &&String| name.starts_with(".hyperexport") || name.ends_with(".part");
            assert_eq!(files.iter().find(odd), None, "{files:?}");
            assert_eq!(read_json(&output.join("result.json"))["outcome"], "done");
        }
        self.job.assert_source_is_free();
        assert_no_trial_stays();
    }
}

/// Trial domains of other tests may exist for a moment; none may stay.
fn assert_no_trial_stays() {
    let trials = || -> Vec<String> {
        let domains = libvirtd::connect().list_all_domains(0).expect("lists");
        let names = domains.iter().filter_map(|domain| domain.name().ok());
        names.filter(|name| name.starts_with("hyperexport-trial-")).collect()
    };
    let mut seen = trials();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !seen.is_empty() {
        assert!(Instant::now() < deadline, "{seen:?}");
        sleep(Duration::from_millis(200));
        let now = trials();
        seen.retain(|name| now.contains(name));
    }
}

/// Random kill times: the runs' state at each is unpredictable.
fn moments(within: Duration) -> [Duration; KILLED] {
    let mut seed = seed::of_this_run();
    let mut moments = [(); KILLED].map(|()| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        within.mul_f64((seed >> 33) as f64 / f64::from(1_u32 << 31))
    });
    moments.sort();
    moments
}

#[test]
fn twenty_runs_at_once_end_well_and_so_does_whoever_comes_after_a_kill() {
    let Some(runs) = Runs::new() else { return };
    let mut others = 0;
    let mut took = Duration::ZERO;
    for round in ["a", "b", "c"] {
        let begun = Instant::now();
        let started: Vec<_> = (0..RUNS).map(|index| (index, runs.start(round, index))).collect();
        runs.assert_done(round, started);
        took = begun.elapsed();
        runs.assert_nothing_left(round, others);
        others += RUNS;
    }

    let begun = Instant::now();
    let mut dying: Vec<_> = (0..KILLED).map(|index| runs.start("d", index)).collect();
    let living: Vec<_> = (KILLED..RUNS).map(|index| (index, runs.start("d", index))).collect();
    let moments = moments(took);
    for (child, moment) in dying.iter_mut().zip(moments) {
        sleep(moment.saturating_sub(begun.elapsed()));
        child.kill().expect("killed, or over");
    }
    for mut child in dying {
        child.wait().expect("it is over");
    }
    runs.assert_done("d", living);
    // The VM of a dead run's lease is free after its session ends.
    runs.job.expire();
    let again: Vec<_> = (0..KILLED).map(|index| (index, runs.start("d", index))).collect();
    runs.assert_done("d", again);
    runs.assert_nothing_left("d", others);
    println!("killed at {moments:?} of {took:?}");
}
