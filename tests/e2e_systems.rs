//! Which system on a VM's disks is the VM's: snapshots of a btrfs are none, and neither is what an old
//! disk holds.

mod support;

use std::fs::File;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::job::{Ended, read_json};
use support::{guest, libvirtd};

/// What makes a file system look like the root of a distribution.
fn root(distribution: &str, fstab: &str) -> String {
    let files = [
        (
            "os-release",
            format!("ID={distribution}\\nVERSION_ID=12\\nPRETTY_NAME={distribution}\\n"),
        ),
        ("fstab", format!("{fstab}\\n")),
        ("hostname", format!("{distribution}\\n")),
    ];
    let files = files.map(|(name, text)| format!("write /etc/{name} \"{text}\"\n")).concat();
    format!("mkdir /etc\nmkdir /bin\nmkdir /usr\n{files}")
}

/// A disk whose btrfs has a root in a subvolume, with a snapshot of it, and an old disk.
fn disks(dir: &Path) -> [String; 2] {
    let disks = ["disk-0.raw", "disk-1.raw"].map(|name| {
        let path = dir.join(name);
        let made = File::create(&path).and_then(|file| file.set_len(256 << 20));
        made.expect("a disk");
        path.to_str().expect("UTF-8").to_owned()
    });
    let (own, old) = (
        root("debian", "/dev/sda1 / btrfs subvol=@ 0 0"),
        root("fedora", "/dev/sda1 / ext4 rw 0 0"),
    );
    let commands = format!(
        "part-disk /dev/sda mbr\npart-disk /dev/sdb mbr\nmkfs btrfs /dev/sda1\nmkfs ext4 /dev/sdb1\n\
         mount /dev/sda1 /\nbtrfs-subvolume-create /@\numount /\n\
         mount btrfsvol:/dev/sda1/@ /\n{own}umount /\n\
         mount /dev/sda1 /\nmkdir /snapshots\nbtrfs-subvolume-snapshot /@ /snapshots/1\numount /\n\
         mount /dev/sdb1 /\n{old}umount /"
    );
    guest::appliance(
        &["--format=raw", "-a", &disks[0], "--format=raw", "-a", &disks[1]],
        &commands,
    );
    disks
}

fn manifest(disks: &[String; 2]) -> Value {
    let disk = |index: usize| {
        let kind = if index == 0 { "boot" } else { "data" };
        json!({
            "id": format!("disk-{index}"), "source_format": "raw", "local_path": disks[index],
            "boot_order_hint": index, "bytes": 256 << 20, "disk_type": kind,
        })
    };
    json!({
        "manifest_version": "1.0",
        "source": {"provider": "vmware", "vm_id": "vm-1", "vm_name": "two"},
        "vm": {"cpu": 1, "mem_gb": 1, "firmware": "bios", "os_hint": "linux"},
        "disks": [disk(0), disk(1)],
    })
}

/// What INSPECT says.
fn inspected(manifest: &Value) -> Value {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("manifest.json");
    std::fs::write(&path, manifest.to_string()).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyperexport"));
    command.args(["convert", "--json", "--converter", "native", "--pipeline-fix=false"]);
    command.arg("--manifest").arg(path);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", dir.path()).current_dir(dir.path());
    let ended = Ended::from(command.output().expect("hyperexport runs")).expect(0);
    let report = read_json(&dir.path().join("report.json"));
    let inspect = report["pipeline"]["stages"]["inspect"]["result"].clone();
    assert!(inspect["root"].is_string(), "{report:#}\n{}", ended.stderr);
    inspect
}

#[test]
fn snapshots_and_old_disks_are_no_systems_of_the_vm() {
    if guest::guest("bios").is_none() {
        return libvirtd::skip("no libguestfs");
    }
    let dir = tempfile::tempdir().expect("a folder");
    let manifest = manifest(&disks(dir.path()));
    let own = inspected(&manifest);
    assert_eq!(own["root"], "btrfsvol:/dev/sda1/@", "{own:#}");
    assert_eq!(own["distribution"], "debian", "{own:#}");
}
