//! Which system on a VM's disks is the VM's: snapshots of a btrfs are none, and neither is what an
//! old disk holds.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use crate::support::job::{Ended, read_json};
use crate::support::{guest, libvirtd};
use serde_json::{Value, json};

/// Bytes of each disk.
const SIZE: u64 = 384 << 20;

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

/// Two empty disks.
fn empty(dir: &Path) -> [String; 2] {
    ["disk-0.raw", "disk-1.raw"].map(|name| {
        let path = dir.join(name);
        let made = File::create(&path).and_then(|file| file.set_len(SIZE));
        made.expect("a disk");
        path.to_str().expect("UTF-8").to_owned()
    })
}

/// Fills two disks by commands of guestfish.
fn fill(disks: &[String; 2], commands: &str) {
    let [first, second] = disks;
    guest::appliance(&["--format=raw", "-a", first, "--format=raw", "-a", second], commands);
}

/// A disk whose btrfs has a root in a subvolume, with a snapshot of it, and an old disk.
fn disks(dir: &Path) -> [String; 2] {
    let disks = empty(dir);
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
    fill(&disks, &commands);
    disks
}

/// A disk as SLES lays it out, the root in a snapshot that is the default subvolume, with a second
/// snapshot; and one with a `/boot` of its own whose first entry names a subvolume, beside a
/// snapshot of that and an older system.
fn layouts(dir: &Path) -> [String; 2] {
    let disks = empty(dir);
    let sles = root("sles", "LABEL=system / btrfs defaults 0 0");
    let own = root("debian", "LABEL=home /home btrfs subvol=@home 0 0");
    let old = root("fedora", "LABEL=old / ext4 rw 0 0");
    let entry = |label: &str, flags: &str| {
        format!("linux /vmlinuz\\noptions root=LABEL={label} ro {flags}\\n")
    };
    let commands = format!(
        "part-disk /dev/sda mbr\nmkfs btrfs /dev/sda1 label:system\nmount /dev/sda1 /\n\
         btrfs-subvolume-create /@\nbtrfs-subvolume-create /@/.snapshots\nmkdir /@/.snapshots/1\n\
         btrfs-subvolume-create /@/.snapshots/1/snapshot\nbtrfs-subvolume-set-default 258 /\n\
         umount /\nmount /dev/sda1 /\n{sles}umount /\n\
         mount btrfsvol:/dev/sda1/@ /\nmkdir /.snapshots/2\n\
         btrfs-subvolume-snapshot /.snapshots/1/snapshot /.snapshots/2/snapshot\numount /\n\
         part-init /dev/sdb gpt\npart-add /dev/sdb p 2048 67583\n\
         part-add /dev/sdb p 67584 329727\npart-add /dev/sdb p 329728 -2048\n\
         mkfs ext4 /dev/sdb1\nmkfs btrfs /dev/sdb2 label:own\nmkfs ext4 /dev/sdb3 label:old\n\
         mount /dev/sdb2 /\nbtrfs-subvolume-create /@\numount /\n\
         mount btrfsvol:/dev/sdb2/@ /\n{own}umount /\n\
         mount /dev/sdb2 /\nbtrfs-subvolume-snapshot /@ /1\numount /\n\
         mount /dev/sdb3 /\n{old}umount /\n\
         mount /dev/sdb1 /\nmkdir-p /loader/entries\n\
         write /loader/entries/a-6.9.conf \"{}\"\nwrite /loader/entries/a-6.1.conf \"{}\"\numount /",
        entry("own", "rootflags=subvol=@"),
        entry("old", ""),
    );
    fill(&disks, &commands);
    disks
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

#[test]
fn the_default_subvolume_or_the_boot_loader_names_the_root() {
    if guest::guest("bios").is_none() {
        return libvirtd::skip("no libguestfs");
    }
    let dir = tempfile::tempdir().expect("a folder");
    let [sles, several] = layouts(dir.path());
    let found = inspected(&manifest(&[sles]));
    assert_eq!((&found["root"], &found["distribution"]), (&json!("/dev/sda1"), &json!("sles")));
    let found = inspected(&manifest(&[several]));
    assert_eq!(found["root"], "btrfsvol:/dev/sda2/@", "{found:#}");
    assert_eq!(found["distribution"], "debian", "{found:#}");
}

/// UUID of the file system that the GRUB of the tests' guest goes on from (`mkdisk-bios.sh`).
const LED_TO: &str = "5eed0000-0000-4000-8000-00000000b105";

/// Two systems with a GRUB each, and in front of them the boot sector and the core image of a guest
/// that starts with a BIOS.
fn two_loaders(dir: &Path, guest: &Path) -> String {
    let [disk, other] = empty(dir);
    let commands = ["debian", "fedora"].into_iter().zip([("1", "own"), ("2", LED_TO)]);
    let commands = commands.map(|(distribution, (number, uuid))| {
        let root = root(distribution, "LABEL=here / ext4 rw 0 0");
        let entry = format!("linux /boot/vmlinuz root=/dev/sda{number} ro\\n");
        let uuid = match uuid {
            LED_TO => format!("set-uuid /dev/sda{number} {LED_TO}\n"),
            _ => String::new(),
        };
        format!(
            "mkfs ext4 /dev/sda{number}\n{uuid}mount /dev/sda{number} /\n{root}mkdir-p /boot/grub\n\
             write /boot/grub/grub.cfg \"{entry}\"\numount /\n"
        )
    });
    let layout = "part-init /dev/sda mbr\npart-add /dev/sda p 2048 329727\n\
                  part-add /dev/sda p 329728 -2048\n";
    fill(&[disk.clone(), other], &format!("{layout}{}", commands.collect::<String>()));
    // The table of partitions stays.
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
    let found = inspected(&manifest(&[disk]));
    assert_eq!(found["root"], "/dev/sda2", "{found:#}");
    assert_eq!(found["distribution"], "fedora", "{found:#}");
}
