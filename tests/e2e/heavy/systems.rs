//! Selection of the VM's own system among its disks: neither snapshots of a btrfs nor the system of
//! an old disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::ext4::{self, Ext4};
use crate::support::job::{Ended, read_json};
use crate::support::{guest, libvirtd};
use serde_json::{Value, json};

/// Size of each disk, in bytes.
const SIZE: u64 = 384 << 20;

/// Files that make a file system look like the root of a distribution.
fn root<'a>(distribution: &'a str, fstab: &'a str) -> [(&'a str, String); 5] {
    let release = format!("ID={distribution}\nVERSION_ID=12\nPRETTY_NAME={distribution}\n");
    [
        ("/etc/os-release", release),
        ("/etc/fstab", format!("{fstab}\n")),
        ("/etc/hostname", format!("{distribution}\n")),
        ("/bin/sh", String::new()),
        ("/usr/bin/env", String::new()),
    ]
}

/// Commands of guestfish that write the same files.
fn commands(distribution: &str, fstab: &str) -> String {
    let write = |(path, text): (&str, String)| {
        let (folder, _) = path.rsplit_once('/').expect("an absolute path");
        format!("mkdir-p {folder}\nwrite {path} \"{}\"\n", text.replace('\n', "\\n"))
    };
    root(distribution, fstab).map(write).concat()
}

/// Creates a sparse disk.
fn empty(dir: &Path, name: &str) -> String {
    let path = dir.join(name);
    File::create(&path).and_then(|file| file.set_len(SIZE)).expect("a disk");
    path.to_str().expect("UTF-8").to_owned()
}

/// Disks that a single appliance has filled, since starting it takes most of the time.
struct Disks {
    /// A btrfs with the root in a subvolume, and a snapshot of that.
    snapshots: String,
    /// An old disk.
    old: String,
    /// The layout of SLES: the root in a snapshot that is the default subvolume, with a second
    /// snapshot.
    sles: String,
    /// A separate `/boot` whose first entry names a subvolume, besides a snapshot of that and an
    /// older system.
    entries: String,
}

impl Disks {
    fn filled(dir: &Path) -> Self {
        let names = ["snapshots.raw", "old.raw", "sles.raw", "entries.raw"];
        let disks = names.map(|name| empty(dir, name));
        let args: Vec<_> = disks.iter().flat_map(|disk| ["--format=raw", "-a", disk]).collect();
        let commands = [snapshots_commands(), sles_commands(), entries_commands()].concat();
        guest::appliance(&args, &commands);
        let [snapshots, old, sles, entries] = disks;
        Self { snapshots, old, sles, entries }
    }
}

fn snapshots_commands() -> String {
    let own = commands("debian", "/dev/sda1 / btrfs subvol=@ 0 0");
    let old = commands("fedora", "/dev/sda1 / ext4 rw 0 0");
    format!(
        "part-disk /dev/sda mbr\npart-disk /dev/sdb mbr\nmkfs btrfs /dev/sda1\nmkfs ext4 /dev/sdb1\n\
         mount /dev/sda1 /\nbtrfs-subvolume-create /@\numount /\n\
         mount btrfsvol:/dev/sda1/@ /\n{own}umount /\n\
         mount /dev/sda1 /\nmkdir /snapshots\nbtrfs-subvolume-snapshot /@ /snapshots/1\numount /\n\
         mount /dev/sdb1 /\n{old}umount /\n"
    )
}

fn sles_commands() -> String {
    let sles = commands("sles", "LABEL=system / btrfs defaults 0 0");
    format!(
        "part-disk /dev/sdc mbr\nmkfs btrfs /dev/sdc1 label:system\nmount /dev/sdc1 /\n\
         btrfs-subvolume-create /@\nbtrfs-subvolume-create /@/.snapshots\nmkdir /@/.snapshots/1\n\
         btrfs-subvolume-create /@/.snapshots/1/snapshot\nbtrfs-subvolume-set-default 258 /\n\
         umount /\nmount /dev/sdc1 /\n{sles}umount /\n\
         mount btrfsvol:/dev/sdc1/@ /\nmkdir /.snapshots/2\n\
         btrfs-subvolume-snapshot /.snapshots/1/snapshot /.snapshots/2/snapshot\numount /\n"
    )
}

fn entries_commands() -> String {
    let own = commands("debian", "LABEL=home /home btrfs subvol=@home 0 0");
    let old = commands("fedora", "LABEL=old / ext4 rw 0 0");
    let entry = |label: &str, flags: &str| {
        format!("linux /vmlinuz\\noptions root=LABEL={label} ro {flags}\\n")
    };
    format!(
        "part-init /dev/sdd gpt\npart-add /dev/sdd p 2048 67583\n\
         part-add /dev/sdd p 67584 329727\npart-add /dev/sdd p 329728 -2048\n\
         mkfs ext4 /dev/sdd1\nmkfs btrfs /dev/sdd2 label:own\nmkfs ext4 /dev/sdd3 label:old\n\
         mount /dev/sdd2 /\nbtrfs-subvolume-create /@\numount /\n\
         mount btrfsvol:/dev/sdd2/@ /\n{own}umount /\n\
         mount /dev/sdd2 /\nbtrfs-subvolume-snapshot /@ /1\numount /\n\
         mount /dev/sdd3 /\n{old}umount /\n\
         mount /dev/sdd1 /\nmkdir-p /loader/entries\n\
         write /loader/entries/a-6.9.conf \"{}\"\nwrite /loader/entries/a-6.1.conf \"{}\"\numount /\n",
        entry("own", "rootflags=subvol=@"),
        entry("old", ""),
    )
}

fn manifest(disks: &[String]) -> Value {
    let disk = |(index, path): (usize, &String)| {
        let kind = if index == 0 { "boot" } else { "data" };
        json!({
            "id": format!("disk-{index}"), "source_format": "raw", "local_path": path,
            "boot_order_hint": index, "bytes": SIZE, "disk_type": kind,
        })
    };
    let disks: Vec<_> = disks.iter().enumerate().map(disk).collect();
    json!({
        "manifest_version": "1.0",
        "source": {"provider": "vmware", "vm_id": "vm-1", "vm_name": "two"},
        "vm": {"cpu": 1, "mem_gb": 1, "firmware": "bios", "os_hint": "linux"},
        "disks": disks,
    })
}

/// Result of INSPECT.
fn inspected(manifest: &Value) -> Value {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("manifest.json");
    std::fs::write(&path, manifest.to_string()).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyperexport"));
    command.args(["convert", "--json", "--converter", "native", "--pipeline-fix=false"]);
    command.arg("--manifest").arg(path);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", dir.path()).current_dir(dir.path()).envs(guest::appliance_variable());
    let ended = Ended::from(command.output().expect("hyperexport runs")).expect(0);
    let report = read_json(&dir.path().join("report.json"));
    let inspect = report["pipeline"]["stages"]["inspect"]["result"].clone();
    assert!(inspect["root"].is_string(), "{report:#}\n{}", ended.stderr);
    inspect
}

#[test]
fn snapshots_subvolumes_and_old_disks_leave_one_system_of_the_vm() {
    if guest::guest("bios").is_none() {
        return libvirtd::skip("no libguestfs");
    }
    let dir = tempfile::tempdir().expect("a folder");
    let disks = Disks::filled(dir.path());
    let system = |disks: &[String]| {
        let found = inspected(&manifest(disks));
        (found["root"].clone(), found["distribution"].clone())
    };
    let own = system(&[disks.snapshots, disks.old]);
    assert_eq!(own, (json!("btrfsvol:/dev/sda1/@"), json!("debian")));
    assert_eq!(system(&[disks.sles]), (json!("/dev/sda1"), json!("sles")));
    let entries = system(&[disks.entries]);
    assert_eq!(entries, (json!("btrfsvol:/dev/sda2/@"), json!("debian")));
}

/// UUID of the file system in which GRUB of the test guest continues (`mkdisk-bios.sh`).
const LED_TO: &str = "5eed0000-0000-4000-8000-00000000b105";

/// Two systems with a GRUB each, preceded by the boot sector and the core image of a BIOS guest.
fn two_loaders(dir: &Path, guest: &Path) -> PathBuf {
    let disk = dir.join("loaders.raw");
    let partitions = [(2048, 329_727), (329_728, SIZE / 512 - 1)];
    ext4::partitioned(&disk, SIZE, &partitions);
    let systems = [("debian", "5eed0000-0000-4000-8000-00000000face"), ("fedora", LED_TO)];
    for (number, (sectors, (distribution, uuid))) in partitions.into_iter().zip(systems).enumerate()
    {
        let tree = dir.join(distribution);
        let entry = format!("linux /boot/vmlinuz root=/dev/sda{} ro\n", number + 1);
        ext4::tree(&tree, &root(distribution, "LABEL=here / ext4 rw 0 0"));
        ext4::tree(&tree, &[("/boot/grub/grub.cfg", entry)]);
        Ext4::make(&disk, sectors, uuid, &tree);
    }
    // The partition table stays.
    let guest = File::open(guest).expect("a guest");
    let file = File::options().write(true).open(&disk).expect("a disk");
    let mut front = vec![0; 1 << 20];
    guest.read_exact_at(&mut front, 0).expect("read");
    file.write_all_at(&front[..440], 0).expect("written");
    file.write_all_at(&front[512..], 512).expect("written");
    disk
}

#[test]
fn the_boot_sector_leads_to_one_of_two_boot_loaders() {
    let Some(guest) = guest::guest("bios") else {
        return libvirtd::skip("no libguestfs");
    };
    let dir = tempfile::tempdir().expect("a folder");
    let disk = two_loaders(dir.path(), &guest.raw);
    let disk = disk.to_str().expect("UTF-8").to_owned();
    let found = inspected(&manifest(&[disk]));
    assert_eq!(found["root"], "/dev/sda2", "{found:#}");
    assert_eq!(found["distribution"], "fedora", "{found:#}");
}
