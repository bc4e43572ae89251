//! Runs of the program against the simulator, as a user starts it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::vcsim::{Vcsim, raw_disk};
use super::{guest, schema};

/// A simulator, an output directory and a command line.
pub struct Job {
    pub sim: Vcsim,
    /// Folder of all files of this test.
    pub dir: TempDir,
}

/// Result of a run.
pub struct Ended {
    pub code: Option<i32>,
    /// Output of `--json`; null if it is empty.
    pub json: Value,
    pub stdout: String,
    pub stderr: String,
}

impl Job {
    /// A job in `dir`, which may contain its disks, on a simulator with this inventory. `None`
    /// without a simulator.
    pub fn new(dir: TempDir, config: &Value, args: &[&str]) -> Option<Self> {
        let sim = Vcsim::start(config, args)?;
        // QEMU's user must be able to reach a pool in this folder.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).expect("set");
        let password = dir.path().join("password");
        std::fs::write(&password, &sim.password).expect("written");
        let owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&password, owner).expect("set");
        Some(Self { sim, dir })
    }

    /// A job whose simulator has one VM, `web01`, with one disk. `more` adds fields to the VM's
    /// entry in the inventory.
    pub fn of_one(more: Value) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = dir.path().join("0.raw");
        raw_disk(&disk, 8, 5);
        let mut vm = json!({
            "name": "web01", "firmware": "bios", "memory_mb": 256, "disks": [{"file": disk}],
            "nics": [{"mac": "00:50:56:aa:bb:01"}],
        });
        for (key, value) in more.as_object().expect("an object") {
            vm[key] = value.clone();
        }
        Self::new(dir, &json!({"vms": [vm]}), &["-lease-timeout", "3"])
    }

    /// As [`Self::of_one`], for a running VM with VMware Tools.
    pub fn of_running() -> Option<Self> {
        Self::of_one(json!({"power": "on", "tools": "toolsOk"}))
    }

    /// Output directory of the export.
    pub fn output(&self) -> PathBuf {
        self.dir.path().join("export")
    }

    /// Path of a file of the export.
    pub fn file(&self, name: &str) -> PathBuf {
        self.output().join(name)
    }

    /// `hyperexport --vm VM --output … --json ARGS`, with the right password.
    pub fn command(&self, vm: &str, args: &[&str]) -> Command {
        let mut command = self.bare(args);
        command.args(["--url", &self.sim.url, "--username", &self.sim.user]);
        command.arg("--password-file").arg(self.dir.path().join("password"));
        command.args(["--thumbprint", &self.sim.sha256, "--vm", vm, "--json"]);
        command.arg("--output").arg(self.output());
        command
    }

    /// `hyperexport ARGS`, in an environment without variables except `PATH`.
    pub fn bare(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyperexport"));
        command.args(args).env_clear().current_dir(self.dir.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path()).envs(guest::appliance_variable());
        command.stdin(Stdio::null());
        command
    }

    /// Runs hyperexport to its end.
    pub fn run(&self, vm: &str, args: &[&str]) -> Ended {
        Ended::from(self.command(vm, args).output().expect("hyperexport runs"))
    }

    /// Starts hyperexport without waiting.
    pub fn start(&self, vm: &str, args: &[&str]) -> Child {
        let mut command = self.command(vm, args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("hyperexport runs")
    }

    /// Moref of a VM, as results contain it.
    pub fn moref(&self, vm: &str) -> Value {
        Value::from(self.sim.vm(vm).moref.clone())
    }

    /// Content of the manifest.
    pub fn manifest(&self) -> Value {
        read_json(&self.file("manifest.json"))
    }

    /// Content of `result.json`.
    pub fn result(&self) -> Value {
        read_json(&self.file("result.json"))
    }

    /// Names of the files in the output directory, sorted; none if the directory does not exist.
    pub fn files(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.output()) else { return Vec::new() };
        let name = |e: std::io::Result<std::fs::DirEntry>| e.expect("an entry").file_name();
        let mut names: Vec<_> = entries.map(|e| name(e).into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    /// Asserts that the simulator has no session and no lease of ours.
    pub fn assert_source_is_free(&self) {
        let state = self.state();
        assert_eq!(state["live_sessions"], 0, "{state}");
        let leases = state["leases"].as_array().cloned().unwrap_or_default();
        assert!(leases.iter().all(|lease| lease["Live"] == false), "{state}");
    }

    /// Number of all leases so far.
    pub fn leases(&self) -> usize {
        self.state()["leases"].as_array().map_or(0, Vec::len)
    }

    /// State of the simulator.
    pub fn state(&self) -> Value {
        self.wait(self.sim.state())
    }

    /// Replaces the simulator's faults.
    pub fn faults(&self, faults: &Value) {
        self.wait(self.sim.faults(faults));
    }

    /// Ends all sessions of the simulator.
    pub fn expire(&self) {
        self.wait(self.sim.expire());
    }

    /// Powers a VM on or off.
    pub fn power(&self, vm: &str, on: bool) {
        self.wait(self.sim.power(vm, on));
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(work)
    }

    /// Asserts that the only disk of `web01` was exported unchanged.
    pub fn assert_exported(&self) {
        let source = &self.sim.vm("web01").disks.as_ref().expect("disks")[0].raw;
        assert_same_disk((source, "raw"), (&self.file("disk-0.vmdk"), "vmdk"));
    }
}

/// Runs a command with a file system of `kib` KiB at `folder`, and lists the remaining files at the
/// end of standard error. `None` if no file system can be mounted.
#[allow(clippy::print_stdout, reason = "says why a test is skipped")]
pub fn on_small_disk(inner: &Command, folder: &Path, kib: u32) -> Option<Ended> {
    let small = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c"]);
        let mount = format!("mount -t tmpfs -o size={kib}k,mode=755 tmpfs \"$0\"");
        command.arg(format!("{mount} && {script}")).arg(folder);
        command
    };
    if !small("true").status().is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "unshare and mount do not work");
        println!("skipped: a small file system needs unshare and mount");
        return None;
    }
    let script = "\"$@\"; code=$?; echo left: $(ls -A \"$0\") >&2; exit $code";
    let mut command = small(script);
    command.arg(inner.get_program()).args(inner.get_args());
    if let Some(folder) = inner.get_current_dir() {
        command.current_dir(folder);
    }
    Some(Ended::from(command.output().expect("it runs")))
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let stdout = String::from_utf8(output.stdout).expect("UTF-8");
        let json = serde_json::from_str(&stdout).unwrap_or(Value::Null);
        schema::assert_printed(&json);
        Self {
            code: output.status.code(),
            json,
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
            stdout,
        }
    }
}

impl Ended {
    /// Asserts the exit code.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stderr, self.stdout);
        self
    }

    /// Asserts that standard error contains `text`.
    pub fn said(&self, text: &str) {
        assert!(self.stderr.contains(text), "'{text}' is missing:\n{}", self.stderr);
    }

    /// Codes of all warnings.
    pub fn codes(&self) -> Vec<&str> {
        codes(&self.json)
    }

    /// Status of a stage in the report.
    pub fn stage(&self, name: &str) -> &str {
        let stages = self.json["stages"].as_array().expect("stages");
        let stage = stages.iter().find(|stage| stage["stage"] == name);
        stage.and_then(|stage| stage["status"].as_str()).unwrap_or("absent")
    }
}

/// Reads a file of the program, and checks it against the schemas of docs/schemas.
pub fn read_json(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let json = serde_json::from_slice(&text).expect("JSON");
    schema::assert_file(path, &json);
    json
}

/// Asserts that two images contain the same disk.
pub fn assert_same_disk(a: (&Path, &str), b: (&Path, &str)) {
    let output = Command::new("qemu-img")
        .args(["compare", "-f", a.1, "-F", b.1])
        .args([a.0, b.0])
        .output()
        .expect("qemu-img runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{} and {}: {said}", a.0.display(), b.0.display());
}

/// Asserts that the XML is valid by libvirt's schema.
pub fn assert_valid_domain(path: &Path) {
    let output = Command::new("virt-xml-validate").arg(path).arg("domain").output();
    let output = output.expect("virt-xml-validate runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// JSON output of a command, whose exit code is asserted.
pub fn json_of(output: &Output, code: i32) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    let json = serde_json::from_slice(&output.stdout);
    let json = json.unwrap_or_else(|error| panic!("{error}: {said}"));
    schema::assert_printed(&json);
    json
}

/// Codes of all warnings of a result.
pub fn codes(result: &Value) -> Vec<&str> {
    let warnings = result["warnings"].as_array().expect("warnings").iter();
    warnings.map(|warning| warning["code"].as_str().expect("a code")).collect()
}
