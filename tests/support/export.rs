//! Exports through the library from the simulator, and common assertions about them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use hyperexport::exporter::{BandwidthLimit, Error, ExportRequest, Settings, VSphere};
use hyperexport::model::ExportedVm;
use hyperexport::progress::{Event, Progress};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::vcsim::{Vcsim, raw_disk};

/// A folder for images and one for exports, deleted on drop.
pub struct Folders {
    _dir: tempfile::TempDir,
    pub images: PathBuf,
    pub out: PathBuf,
    /// Bandwidth limit of exports into the folder.
    pub limit: BandwidthLimit,
}

pub fn folders() -> Folders {
    let dir = tempfile::tempdir().expect("a folder");
    let (images, out) = (dir.path().join("images"), dir.path().join("out"));
    std::fs::create_dir(&images).expect("a folder");
    std::fs::create_dir(&out).expect("a folder");
    Folders { _dir: dir, images, out, limit: BandwidthLimit::default() }
}

impl Folders {
    /// Creates a raw disk and returns its entry in the simulator's inventory.
    pub fn disk(&self, name: &str, mib: u64) -> Value {
        let path = self.images.join(name);
        raw_disk(&path, mib, name.bytes().map(u64::from).sum());
        json!({ "file": path })
    }

    pub fn request(&self) -> ExportRequest<'static> {
        let (directory, limit) = (self.out.clone(), self.limit.clone());
        ExportRequest { directory, limit, ..ExportRequest::default() }
    }

    /// Names of all files in the folder of exports.
    pub fn left(&self) -> Vec<String> {
        let files = std::fs::read_dir(&self.out).expect("the folder").flatten();
        let mut names: Vec<_> =
            files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// One VM with one disk of 8 MiB.
pub fn one_disk(folders: &Folders) -> Value {
    json!({"vms": [{"name": "web01", "disks": [folders.disk("a.raw", 8)]}]})
}

/// A progress reporter, and the list of its events.
pub fn listener() -> (Progress, Arc<Mutex<Vec<Event>>>) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = events.clone();
    (Progress::new(move |event| sink.lock().expect("unpoisoned").push(event)), events)
}

/// Exports `web01` and logs out, even after an error.
pub async fn export(
    settings: Settings,
    request: &ExportRequest<'_>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<ExportedVm, Error> {
    let vsphere = VSphere::connect(settings).await?;
    let vm = vsphere.inspect("web01").await?.vm;
    let exported = vsphere.export(&vm, request, progress, cancel).await;
    vsphere.close().await?;
    exported
}

pub async fn plain_export(sim: &Vcsim, folders: &Folders) -> Result<ExportedVm, Error> {
    let cancel = CancellationToken::new();
    export(sim.settings(), &folders.request(), &Progress::none(), &cancel).await
}

/// Asserts that all leases have ended, `completed` and `aborted` of them, and that no session is
/// left.
pub async fn assert_clean(sim: &Vcsim, completed: u64, aborted: u64) {
    let state = sim.state().await;
    let leases = state["leases"].as_array().cloned().unwrap_or_default();
    assert!(leases.iter().all(|lease| lease["Live"] == false), "{state}");
    assert_eq!(state["notes"]["lease.complete"].as_u64().unwrap_or(0), completed, "{state}");
    assert_eq!(state["notes"]["lease.abort"].as_u64().unwrap_or(0), aborted, "{state}");
    assert_eq!(state["live_sessions"], 0, "{state}");
}

/// Asserts with `qemu-img compare` that two images are equal; both formats are explicit.
#[allow(clippy::print_stdout, reason = "says why nothing is compared")]
pub fn assert_same(image: &Path, raw: &Path) {
    let compare = Command::new("qemu-img")
        .args(["compare", "-f", "vmdk", "-F", "raw"])
        .args([image, raw])
        .output();
    match compare {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{}: {said}", image.display());
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "qemu-img: {error}");
            println!("not compared: qemu-img is missing");
        }
    }
}
