//! The main job without hyper2kvm: VMware guests are converted and fixed by hyperexport itself,
//! boot on virtio, and find their network under the old names.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::ext4::Ext4;
use crate::support::guest;
use crate::support::job::{Ended, Job, assert_same_disk, assert_valid_domain, codes, read_json};
use crate::support::libvirtd::{self, Names};
use crate::support::vcsim::raw_disk;
use serde_json::{Value, json};

/// A guest, its faults at the source, and the expected console output.
struct Case<'a> {
    image: &'a str,
    /// Firmware: `bios` or `efi`.
    firmware: &'a str,
    /// Address as `/etc/issue` shows it.
    address: &'a str,
    converter: &'a str,
    args: &'a [&'a str],
}

/// Result of a migration.
struct Migrated {
    /// Output of `--json`.
    json: Value,
    /// Console output until the login prompt.
    console: String,
}

/// Migrates the guest from the simulator to libvirt and starts it; returns the result.
fn migrate(case: &Case<'_>) -> Option<(Job, Migrated)> {
    let disk = guest::guest(case.image)?.vmdk;
    if !libvirtd::available() {
        return None;
    }
    let inventory = json!({"vms": [{
        "name": "Debian", "cpu": 1, "memory_mb": 1024, "firmware": case.firmware,
        "guest_id": "debian12_64Guest", "disks": [{"file": disk}, {"capacity_mb": 8}],
        "nics": [{"mac": "00:50:56:aa:bb:01"}],
    }]});
    let dir = tempfile::tempdir().expect("a folder");
    let job = Job::new(dir, &inventory, &["-nfc-listen", "127.0.0.1:0"])?;
    let names = Names::new();
    let (domain, pool) = (names.name("native"), names.name("pool"));
    let pool_path = job.dir.path().join("pool");
    let mut args = vec!["--pipeline", "--converter", case.converter, "--libvirt", "--strict"];
    args.extend(["--libvirt-name", &domain, "--libvirt-pool", &pool, "--libvirt-bridge", "virbr0"]);
    args.extend(["--libvirt-pool-path", pool_path.to_str().expect("UTF-8")]);
    args.extend(case.args);
    let ended = job.run("Debian", &args).expect(0);
    let xml = std::fs::read_to_string(job.file("domain.xml")).expect("domain.xml");
    assert_valid_domain(&job.file("domain.xml"));
    assert!(xml.contains("bus='virtio'") && xml.contains("type='virtio'"), "{xml}");
    let verify = || {
        let mut command = job.bare(&["verify", "--json", "--result"]);
        Ended::from(command.arg(job.file("result.json")).output().expect("hyperexport runs"))
    };
    let verified = verify().expect(0);
    let proof = &ended.json["proof"];
    assert_eq!(verified.json["disks"].as_array().map(Vec::len), Some(2), "{}", verified.stdout);
    assert_ne!(proof["disks"][0]["exported"], proof["disks"][0]["result"], "{proof:#}");
    assert_eq!(proof["disks"][1]["exported"], proof["disks"][1]["result"], "{proof:#}");
    let console = guest::assert_boots(&domain);
    verify().expect(4).said("can no longer be compared");
    let issue = format!("ens192 has {}", case.address);
    assert!(console.contains(&issue), "no '{issue}' in {console}");
    Some((job, Migrated { json: ended.json, console }))
}

/// Stage `fix` of the report.
fn fix(job: &Job) -> Value {
    let report = read_json(&job.file("report.json"));
    assert_eq!(report["pipeline"]["success"], true, "{report:#}");
    report["pipeline"]["stages"]["fix"]["result"].clone()
}

fn changed(fix: &Value, what: &str) -> Vec<String> {
    let changes = fix["changes"].as_array().expect("changes").iter();
    let of = changes.filter(|change| change["what"] == what);
    of.map(|change| format!("{} → {}", change["before"], change["after"])).collect()
}

/// Text of the package that agetty shows before the login prompt.
const AGENT_SAYS: &str = "the agent was installed by dpkg";

/// A package like Debian's of the agent, which needs no network.
fn agent_package(folder: &Path) -> std::path::PathBuf {
    let root = folder.join("package");
    let write = |path: &str, text: &str, mode: u32| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
    };
    write(
        "DEBIAN/control",
        "Package: qemu-guest-agent\nVersion: 1:99\nArchitecture: all\n\
         Maintainer: Tests <tests@example.com>\nDescription: stands for the agent\n",
        0o644,
    );
    write("usr/sbin/qemu-ga", "#!/bin/sh\nexec sleep infinity\n", 0o755);
    write("DEBIAN/postinst", &format!("#!/bin/sh\necho '{AGENT_SAYS}' >>/etc/issue\n"), 0o755);
    let package = folder.join("qemu-guest-agent_99_all.deb");
    let mut built = Command::new("dpkg-deb");
    built.args(["--root-owner-group", "-b"]).arg(&root).arg(&package);
    let built = built.output().expect("dpkg-deb runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    package
}

#[test]
fn a_guest_by_uuid_is_customized_and_gets_its_seed() {
    let files = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let seed = file("user-data", "#cloud-config\nhostname: renamed\n");
    let script = file("first.sh", "#!/bin/sh\necho first-boot-ran >/dev/ttyS0\n");
    let key = file("key.pub", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPretended admin@example\n");
    let package = agent_package(files.path());
    let package = package.to_str().expect("UTF-8");
    let wishes = ["--hostname", "renamed", "--ssh-key", &key, "--firstboot", &script];
    let wishes = [&wishes[..], &["--agent-package", package]].concat();
    let args = [&["--compress-type", "zlib", "--cloud-init", &seed], &wishes[..]].concat();
    let case = Case {
        image: "uuid",
        firmware: "bios",
        address: "192.168.122.",
        converter: "native",
        args: &args,
    };
    let Some((job, ended)) = migrate(&case) else { return };
    assert!(ended.console.contains("renamed login:"), "{}", ended.console);
    assert!(ended.console.contains(AGENT_SAYS), "{}", ended.console);
    let fix = fix(&job);
    assert_eq!(changed(&fix, "guest agent"), [r#""missing" → "installed""#], "{fix:#}");
    assert_eq!(changed(&fix, "fstab").len(), 0, "{fix:#}");
    assert_eq!(changed(&fix, "network").len(), 1, "{fix:#}");
    let files = ended.json["proof"]["files"].as_array().expect("a list of files");
    let is_listed = |file: &&Value| file["path"].as_str().is_some_and(|p| p.starts_with("/etc/"));
    let listed = files.iter().find(is_listed).expect("a file of the network");
    assert!(listed["after"].as_str().is_some_and(|sum| sum.len() == 64), "{listed:#}");
    // virt-customize changes files without listing them.
    assert!(codes(&ended.json).contains(&"fix-list-not-known"), "{}", ended.json["warnings"]);
    let result = Ext4::of_qcow2(&job.file("Debian.qcow2"));
    let look = ["cat /root/.ssh/authorized_keys", "ls -p /usr/lib/virt-sysprep/scripts"];
    let seen = look.map(|command| result.ask(command)).concat();
    assert!(seen.contains("admin@example") && seen.contains("first-sh"), "{seen}");
    let iso = job.file("Debian-seed.iso");
    let blkid = Command::new("blkid").args(["-o", "value", "-s", "LABEL"]).arg(&iso).output();
    assert_eq!(String::from_utf8_lossy(&blkid.expect("blkid runs").stdout).trim(), "cidata");
    let content = std::fs::read(&iso).expect("there");
    for part in [
        "#cloud-config\nhostname: renamed",
        "instance-id: \"hyperexport-",
        "local-hostname: \"Debian\"",
    ] {
        let found = content.windows(part.len()).any(|window| window == part.as_bytes());
        assert!(found, "no {part} in the seed");
    }
    let xml = std::fs::read_to_string(job.file("domain.xml")).expect("domain.xml");
    let drive = xml.split("device='cdrom'").nth(1).expect("a CD-ROM drive");
    let source = drive.split("<source file='").nth(1).and_then(|rest| rest.split('\'').next());
    let volume = Path::new(source.expect("something in it"));
    assert!(source.is_some_and(|path| path.ends_with("-seed.iso")), "{source:?}");
    assert_eq!(std::fs::read(volume).expect("in the pool"), content);
}

#[test]
fn what_virt_v2v_leaves_undone_is_mended() {
    let case = Case {
        image: "bios",
        firmware: "bios",
        address: "192.168.122.",
        converter: "virt-v2v",
        args: &["--pipeline-timeout", "20m"],
    };
    let Some((job, ended)) = migrate(&case) else { return };
    let converter = ended.json["converter"].as_str().unwrap_or_default();
    assert!(converter.starts_with("virt-v2v 2."), "{converter}");
    let fix = fix(&job);
    assert!(changed(&fix, "boot loader").iter().any(|line| line.contains("root=UUID=")), "{fix:#}");
    assert_eq!(fix["network"][0]["after"], "ens192");
}

#[test]
fn a_guest_that_cannot_be_fixed_gets_hardware_that_it_knows() {
    if !libvirtd::available() {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let disk = dir.path().join("data.raw");
    // The disk may be bootable but cannot be inspected, such as an encrypted system.
    raw_disk(&disk, 8, 1);
    let inventory = json!({"vms": [{
        "name": "Debian", "cpu": 1, "memory_mb": 512, "firmware": "bios",
        "guest_id": "debian12_64Guest", "disks": [{"file": disk}],
        "nics": [{"mac": "00:50:56:aa:bb:01"}],
    }]});
    let Some(job) = Job::new(dir, &inventory, &[]) else { return };
    let names = Names::new();
    let pool_path = job.dir.path().join("pool");
    let (domain, pool) = (names.name("unfixed"), names.name("pool"));
    let mut args = vec!["--pipeline", "--converter", "native", "--libvirt"];
    args.extend(["--libvirt-name", &domain, "--libvirt-pool", &pool, "--libvirt-bridge", "virbr0"]);
    args.extend(["--libvirt-pool-path", pool_path.to_str().expect("UTF-8")]);
    let ended = job.run("Debian", &args).expect(0);
    assert_eq!(ended.json["outcome"], "partial", "{}", ended.stdout);
    ended.said("no operating system found on the disks");
    // Preflight could not detect that.
    assert!(ended.json["warnings"].to_string().contains("guest-not-fixed"), "{}", ended.stdout);
    let source = &job.sim.vm("Debian").disks.as_ref().expect("disks")[0].raw;
    assert_same_disk((source, "raw"), (&job.file("Debian.qcow2"), "qcow2"));
    let xml = std::fs::read_to_string(job.file("domain.xml")).expect("domain.xml");
    // The original controller and card.
    assert!(!xml.contains("bus='virtio'") && xml.contains("model='vmpvscsi'"), "{xml}");
    assert!(xml.contains("<model type='vmxnet3'/>"), "{xml}");
    let report = read_json(&job.file("report.json"));
    assert_eq!(report["pipeline"]["success"], false);
    assert_eq!(report["errors"][0]["stage"], "inspect", "{report:#}");
    assert_eq!(report["artifacts"][0]["fixed"], false);
}

#[test]
fn without_libguestfs_disks_are_converted_all_the_same() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = dir.path().join("data.raw");
    raw_disk(&disk, 8, 1);
    let inventory = json!({"vms": [{"name": "Debian", "disks": [{"file": disk}]}]});
    let Some(job) = Job::new(dir, &inventory, &[]) else { return };
    let tools = crate::support::hyper2kvm::qemu_img_alone(job.dir.path());
    let mut command = job.command("Debian", &["--pipeline", "--converter", "native"]);
    let ended = Ended::from(command.env("PATH", tools).output().expect("hyperexport runs"));
    let ended = ended.expect(0);
    assert_eq!(ended.json["outcome"], "partial", "{}", ended.stdout);
    assert_eq!(ended.json["warnings"][0]["code"], "guest-will-not-be-fixed", "{}", ended.stdout);
    ended.said("install libguestfs-tools");
    let source = &job.sim.vm("Debian").disks.as_ref().expect("disks")[0].raw;
    assert_same_disk((source, "raw"), (&job.file("Debian.qcow2"), "qcow2"));
}

#[test]
fn a_guest_on_lvm_keeps_its_static_address_of_networkd() {
    let case = Case {
        image: "lvm",
        firmware: "bios",
        address: "192.168.122.77",
        converter: "native",
        args: &[],
    };
    let Some((job, _)) = migrate(&case) else { return };
    let fix = fix(&job);
    assert_eq!(fix["network"][0]["addresses"], json!(["192.168.122.77/24"]), "{fix:#}");
    assert!(changed(&fix, "fstab").iter().any(|line| line.contains("/dev/sda2")), "{fix:#}");
    assert!(changed(&fix, "LVM")[0].contains("/dev/vda"), "{fix:#}");
    assert!(changed(&fix, "initramfs")[0].contains("virtio_blk"), "built anew: {fix:#}");
}
