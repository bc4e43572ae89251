//! hyper2kvm and disks for it: the real program that `scripts/setup.sh` installs, fake programs,
//! and small disks without an operating system.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use hyperexport::convert::{GuestfsSettings, Settings, Stages};
use hyperexport::manifest::Manifest;
use hyperexport::progress::{Event, Progress};
use serde_json::json;

use super::guest;
use super::job::Job;
use super::libvirtd;
use super::vcsim::raw_disk;

/// Path of the real hyper2kvm. Without it a test fails in CI and is skipped elsewhere.
#[expect(clippy::print_stdout, reason = "why a test was skipped is for the person who runs it")]
pub fn real() -> Option<PathBuf> {
    let cache = || Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/hyper2kvm-venv");
    let venv = std::env::var_os("HYPEREXPORT_VENV").map_or_else(cache, PathBuf::from);
    let program = venv.join("bin/hyper2kvm");
    if program.exists() {
        return Some(program);
    }
    let reason = format!("{} is missing: run scripts/setup.sh", program.display());
    assert!(std::env::var_os("CI").is_none(), "{reason}");
    println!("skipped: {reason}");
    None
}

/// A fake hyper2kvm. Its script can use `$job` and `$work`; `report true` or `report false MESSAGE`
/// writes a report about the images in `$work/out`.
pub fn fake(dir: &Path, script: &str) -> PathBuf {
    let path = dir.join("hyper2kvm");
    let prelude = r#"#!/bin/sh
job=$3; work=${job%/job.json}
report() {
  a=
  for i in "$work"/out/*.qcow2; do
    [ -e "$i" ] || continue
    id=${i##*/}; id=${id%.qcow2}
    a="$a${a:+,}{\"type\":\"converted_disk\",\"disk_id\":\"$id\",\"path\":\"$i\",\"format\":\"qcow2\"}"
  done
  e=; [ "$1" = true ] || e="{\"stage\":\"fix\",\"message\":\"$2\"}"
  s='{"success":true,"duration":1.5}'
  cat >"$work/report.json" <<R
{"pipeline":{"success":$1,"stages":{"fix":$s,"convert":$s,"validate":$s}},
 "artifacts":[$a],"warnings":[],"errors":[$e]}
R
}
fix() {
  qemu-io -f qcow2 -c 'write -P 90 0 64k' "$work/images/disk-0.qcow2" >/dev/null
  echo "Running (guestfs): update-initramfs -u -k all" >&2
  echo 'libguestfs: trace: command = "Generating"' >&2
}
convert() { cp "$work"/images/*.qcow2 "$work/out/"; }
"#;
    fs::write(&path, format!("{prelude}{script}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    path
}

/// Settings that run `program`, uncompressed, with this process' `PATH`. Guests are emulated, since
/// KVM does not work on every machine.
pub fn settings(program: &Path) -> Settings {
    Settings {
        hyper2kvm_path: Some(program.to_owned()),
        compression: None,
        guestfs: GuestfsSettings {
            backend_settings: Some("force_tcg".to_owned()),
            path: guest::appliance_variable().map(|(_, path)| path.into()).into_iter().collect(),
            ..GuestfsSettings::default()
        },
        path: std::env::var_os("PATH").expect("a PATH"),
        ..Settings::default()
    }
}

/// All stages except FIX, which needs an operating system.
pub fn without_fix() -> Stages {
    Stages { fix: false, ..Stages::default() }
}

/// A sparse raw disk of `mib` MiB with random extents between holes.
pub fn data_disk(path: &Path, mib: u64, seed: u64) {
    let file = File::create(path).expect("created");
    file.set_len(mib << 20).expect("sized");
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for extent in 0..4 {
        let mut bytes = vec![0; 700_000];
        for chunk in bytes.chunks_mut(8) {
            // xorshift64: fast, and qemu-img cannot compress its output.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
        }
        let at = (mib << 20) / 4 * extent + 12_288;
        file.write_all_at(&bytes, at).expect("written");
    }
}

/// Runs qemu-img and returns its exit code and output.
pub fn qemu_img(args: &[&str]) -> (i32, String) {
    let out = Command::new("qemu-img").args(args).output().expect("qemu-img runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    (out.status.code().expect("an exit code"), text + &String::from_utf8_lossy(&out.stderr))
}

/// An exported VM named `Data VM` with data disks of these sizes in MiB, as `disk-N.raw` and,
/// streamOptimized, `disk-N.vmdk` in `dir`. The last disk is the boot disk.
pub fn exported(dir: &Path, sizes: &[u64]) -> Manifest {
    let disks: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(i, mib)| {
            let raw = dir.join(format!("disk-{i}.raw"));
            let vmdk = dir.join(format!("disk-{i}.vmdk"));
            data_disk(&raw, *mib, i as u64 + 7);
            let (raw, vmdk) = (raw.to_str().expect("UTF-8"), vmdk.to_str().expect("UTF-8"));
            let options = ["-O", "vmdk", "-o", "subformat=streamOptimized"];
            let made = qemu_img(&[&["convert", "-f", "raw"], &options[..], &[raw, vmdk]].concat());
            assert_eq!(made.0, 0, "{}", made.1);
            disk(i, vmdk, sizes.len() - 1 - i)
        })
        .collect();
    manifest(disks)
}

/// Entry of an image in a manifest.
pub fn disk(index: usize, path: &str, boot_order: usize) -> serde_json::Value {
    let format = path.rsplit('.').next().expect("an extension");
    let bytes = fs::metadata(path).expect("there").len();
    json!({"id": format!("disk-{index}"), "source_format": format, "bytes": bytes,
           "local_path": path, "boot_order_hint": boot_order})
}

/// Manifest of these disks.
pub fn manifest(disks: Vec<serde_json::Value>) -> Manifest {
    serde_json::from_value(json!({
        "manifest_version": "1.0",
        "source": {"provider": "vsphere", "vm_name": "Data VM"},
        "vm": {"cpu": 1, "mem_gb": 1, "firmware": "bios", "os_hint": "linux"},
        "disks": disks,
    }))
    .expect("a manifest")
}

/// Progress that records one line per event.
pub fn recorder() -> (Progress, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let progress = Progress::new(move |event| {
        let line = match event {
            Event::TaskStarted { task, .. } => format!("start {task}"),
            Event::TaskAdvanced { task, position } => format!("at {task} {position}"),
            Event::TaskFinished { task } => format!("end {task}"),
            Event::Output { program, line } => format!("{program}: {line}"),
            Event::Note(text) => format!("note {text}"),
            _ => return,
        };
        sink.lock().expect("whole").push(line);
    });
    (progress, seen)
}

/// Names of all files in `dir`, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let name = |e: std::io::Result<fs::DirEntry>| e.expect("entry").file_name();
    let mut names: Vec<_> = entries.map(|e| name(e).to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Command lines of all processes that contain `word`.
pub fn processes(word: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("proc").flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(word)).collect()
}

/// A folder for `PATH` that contains only qemu-img.
pub fn qemu_img_alone(dir: &Path) -> PathBuf {
    let path = std::env::var_os("PATH").expect("a PATH");
    let mut places = std::env::split_paths(&path).map(|place| place.join("qemu-img"));
    let program = places.find(|program| program.exists()).expect("qemu-img");
    let tools = dir.join("tools");
    fs::create_dir(&tools).expect("made");
    std::os::unix::fs::symlink(program, tools.join("qemu-img")).expect("link");
    tools
}

/// An export of a VM without an operating system, converted, and ready to be defined.
pub fn converted() -> Option<Job> {
    let hyper2kvm = real().filter(|_| libvirtd::available())?;
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("0.raw");
    raw_disk(&path, 16, 1);
    let inventory = json!({"vms": [{
        "name": "web01", "cpu": 1, "memory_mb": 256, "firmware": "bios",
        "guest_id": "ubuntu64Guest", "disks": [{"file": path}],
        "nics": [{"mac": "00:50:56:aa:bb:01"}],
    }]});
    let job = Job::new(dir, &inventory, &[])?;
    let path = hyper2kvm.to_str().expect("UTF-8");
    job.run("web01", &["--pipeline", "--pipeline-fix=false", "--hyper2kvm-path", path]).expect(0);
    Some(job)
}
