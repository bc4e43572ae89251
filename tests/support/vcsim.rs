//! A running vCenter simulator (`tests/vcsim`): built once, started per test, ended on drop.
#![allow(dead_code, reason = "each test binary uses its own part of it")]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hyperexport::exporter::{Settings, Trust, sdk_url};
use hyperexport::model::Secret;
use serde::Deserialize;
use serde_json::Value;

/// Folder of Debian's Go libraries.
const GOPATH: &str = "/usr/share/gocode";
const GOVMOMI: &str = "/usr/share/gocode/src/github.com/vmware/govmomi/simulator";
const USER: &str = "administrator@vsphere.local";
/// Characters that are special in XML, shells and URLs.
const PASSWORD: &str = "s&cr<t> \"%41' ü";

/// The simulator. A test can query its sessions and leases, and inject faults.
pub struct Vcsim {
    /// URL `https://127.0.0.1:PORT/sdk`.
    pub url: String,
    /// Login name.
    pub user: String,
    /// Password.
    pub password: String,
    /// Thumbprints of the server's certificate.
    pub sha1: String,
    pub sha256: String,
    /// Path of the certificate in PEM format.
    pub certificate: PathBuf,
    /// VMs of the inventory, in order.
    pub vms: Vec<SimVm>,
    child: Child,
    client: reqwest::Client,
    _dir: tempfile::TempDir,
}

/// A VM of the simulator.
#[derive(Debug, Deserialize)]
pub struct SimVm {
    pub name: String,
    pub moref: String,
    /// Disks of the VM; `None` for a VM without disks.
    pub disks: Option<Vec<SimDisk>>,
}

/// A disk of the simulator.
#[derive(Debug, Deserialize)]
pub struct SimDisk {
    /// Device key, such as `ParaVirtualSCSIController0:0`.
    pub device: String,
    /// Size of the disk, in bytes.
    pub capacity: u64,
    /// Path of the raw image with the content.
    pub raw: PathBuf,
    /// Length of the stream that the simulator sends, in bytes.
    pub stream_bytes: u64,
}

#[derive(Deserialize)]
struct Ready {
    url: String,
    sha1: String,
    sha256: String,
    vms: Vec<SimVm>,
}

impl Vcsim {
    /// Starts a simulator with the inventory `config` (`{"vms": […], "faults": {…}}`) and further
    /// arguments. `None` if the build is impossible, which is a failure where `CI` is set.
    pub fn start(config: &Value, args: &[&str]) -> Option<Self> {
        let program = build()?;
        let dir = tempfile::tempdir().expect("a folder");
        let inventory = dir.path().join("inventory.json");
        std::fs::write(&inventory, config.to_string()).expect("written");
        let certificate = dir.path().join("vcsim.pem");
        let log = File::create(dir.path().join("log")).expect("a log");
        let mut child = Command::new(program)
            .args(["-listen", "127.0.0.1:0", "-user", USER, "-password", PASSWORD])
            .args(["-exit-with-stdin", "-config"])
            .arg(&inventory)
            .arg("-cert-out")
            .arg(&certificate)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("started");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let ready: Ready = serde_json::from_str(&line).unwrap_or_else(|_| {
            let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
            panic!("vcsimx did not start: {log}")
        });
        Some(Self {
            url: ready.url,
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
            sha1: ready.sha1,
            sha256: ready.sha256,
            certificate,
            vms: ready.vms,
            child,
            client: client(),
            _dir: dir,
        })
    }

    /// Settings that log in, with the certificate pinned.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings::new(
            sdk_url(&self.url).expect("an address"),
            &self.user,
            Secret::new(self.password.clone()),
        );
        settings.trust = Trust::Thumbprint(self.sha256.parse().expect("a thumbprint"));
        settings.retry.first_pause = Duration::from_millis(50);
        settings.retry.longest_pause = Duration::from_millis(500);
        settings
    }

    /// The VM called `name`.
    pub fn vm(&self, name: &str) -> &SimVm {
        self.vms.iter().find(|vm| vm.name == name).expect("a VM of the inventory")
    }

    /// Calls, leases and sessions so far: see `control` in `tests/vcsim/soap.go`.
    pub async fn state(&self) -> Value {
        self.control(reqwest::Method::GET, "state", String::new()).await
    }

    /// Replaces all faults.
    pub async fn faults(&self, faults: &Value) {
        self.control(reqwest::Method::POST, "faults", faults.to_string()).await;
    }

    /// Ends all sessions and their leases.
    pub async fn expire(&self) {
        self.control(reqwest::Method::POST, "expire", String::new()).await;
    }

    /// Powers a VM on or off without an API task.
    pub async fn power(&self, vm: &str, on: bool) {
        let state = if on { "on" } else { "off" };
        let query = format!("power?vm={vm}&state={state}");
        self.control(reqwest::Method::POST, &query, String::new()).await;
    }

    async fn control(&self, method: reqwest::Method, what: &str, body: String) -> Value {
        let url = self.url.replace("/sdk", &format!("/_vcsimx/{what}"));
        let response = self.client.request(method, url).body(body).send().await;
        let response = response.and_then(|r| r.error_for_status()).expect("an answer");
        let text = response.text().await.expect("a body");
        serde_json::from_str(&text).expect("JSON")
    }
}

impl Drop for Vcsim {
    /// Closes standard input, upon which the simulator cleans up and exits.
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.kill().expect("killed");
        self.child.wait().expect("waited for");
    }
}

/// A client for the control addresses only: it accepts any certificate.
fn client() -> reqwest::Client {
    // The first test of a process installs the provider; later calls fail.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .no_proxy()
        .build()
        .expect("a client")
}

/// Builds the simulator unless it is up to date. A lock excludes other test processes.
#[allow(clippy::print_stdout, reason = "says why a test is skipped")]
fn build() -> Option<PathBuf> {
    let missing = if Command::new("go").arg("version").output().is_err() {
        Some("golang-go")
    } else if !Path::new(GOVMOMI).is_dir() {
        Some("golang-github-vmware-govmomi-dev")
    } else {
        None
    };
    if let Some(package) = missing {
        assert!(std::env::var_os("CI").is_none(), "{package} is missing");
        println!("skipped: the vCenter simulator needs the package {package}");
        return None;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vcsim");
    let program = target.join("vcsimx");
    std::fs::create_dir_all(target).expect("a folder");
    let lock = File::create(target.join("vcsimx.lock")).expect("a lock file");
    lock.lock().expect("locked");
    if is_current(&program, &source) {
        return Some(program);
    }
    let output = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(&source)
        .env("GO111MODULE", "off")
        .env("GOPATH", GOPATH)
        .output()
        .expect("go runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "vcsimx does not build: {said}");
    Some(program)
}

fn is_current(program: &Path, source: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    let Some(built) = modified(program) else { return false };
    let files = std::fs::read_dir(source).expect("the simulator's source");
    files.flatten().all(|file| modified(&file.path()).is_some_and(|changed| changed < built))
}

/// Creates a raw disk of `mib` MiB with holes and incompressible extents that depend on `seed`.
pub fn raw_disk(path: &Path, mib: u64, seed: u64) {
    let mut file = File::create(path).expect("created");
    file.set_len(mib << 20).expect("sized");
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut block = vec![0; 256 << 10];
    for at in (0..mib).filter(|at| at % 3 != 1) {
        for bytes in block.chunks_mut(8) {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.copy_from_slice(&state.to_le_bytes());
        }
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(at << 20)).expect("sought");
        file.write_all(&block).expect("written");
    }
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(0)).expect("sought");
    file.write_all(&boot_sector()).expect("written");
}

/// A boot sector that a BIOS accepts: code that halts, and the signature.
fn boot_sector() -> [u8; 512] {
    let mut sector = [0u8; 512];
    sector[..3].copy_from_slice(&[0xf4, 0xeb, 0xfd]); // hlt; jmp back to it
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}
