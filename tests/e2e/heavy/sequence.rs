//! The documented sequence of commands for newcomers, in one folder: export, manifest, dry run,
//! conversion, domain, start. On a host without a storage pool.

#![allow(clippy::print_stdout, reason = "a skipped test says why")]

use std::process::Command;

use crate::support::guest;
use crate::support::job::{Ended, Job, assert_same_disk, read_json};
use crate::support::libvirtd;
use serde_json::json;

/// Commands, each commented with its purpose.
const SEQUENCE: [&str; 6] = [
    "hyperexport --vm Test-VM --output /tmp/test --manifest",
    "cat /tmp/test/manifest.json",
    "hyperexport --vm Test-VM --output /tmp/test --pipeline --pipeline-dry-run --manifest",
    "hyperexport --vm Test-VM --output /tmp/test --pipeline --manifest",
    "hyperexport --vm Test-VM --output /tmp/test --pipeline --libvirt --manifest",
    "virsh start test-vm",
];
const DOMAIN: &str = "test-vm";

/// A shell in which `/tmp` is a folder of the test, and the environment names the vCenter.
struct Shell<'a> {
    job: &'a Job,
    tmp: std::path::PathBuf,
}

impl Shell<'_> {
    /// Runs a command line, which must succeed.
    fn types(&self, line: &str) -> Ended {
        let path = std::env::var("PATH").unwrap_or_default();
        let sim = &self.job.sim;
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "mount --bind \"$1\" /tmp && cd /tmp && eval \"$2\""]);
        command.arg("sh").arg(&self.tmp).arg(line).env_clear();
        command.env("PATH", format!("/tmp/bin:{path}")).env("HOME", "/tmp").current_dir("/");
        command.env("GOVC_URL", &sim.url).env("GOVC_USERNAME", &sim.user);
        command.env("GOVC_PASSWORD", &sim.password).env("GOVC_INSECURE", "1");
        Ended::from(command.output().expect("a shell runs")).expect(0)
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.tmp.join("test").join(name)
    }
}

/// Removes everything from libvirt on drop, even if the test fails.
struct CleanUp;

impl Drop for CleanUp {
    fn drop(&mut self) {
        let connect = libvirtd::connect();
        if let Ok(domain) = connect.lookup_domain_by_name(DOMAIN) {
            drop(domain.destroy());
            drop(domain.undefine());
        }
        if let Ok(pool) = connect.lookup_storage_pool_by_name("default") {
            drop(pool.destroy());
            drop(pool.undefine());
        }
        drop(std::fs::remove_file(format!("/var/lib/libvirt/images/{DOMAIN}.qcow2")));
    }
}

/// Asserts the changes of FIX in a guest that refers to devices by name.
fn assert_fixed(report: &std::path::Path) {
    let report = read_json(report);
    let fix = &report["pipeline"]["stages"]["fix"]["result"];
    let changed = |what: &str| -> Vec<String> {
        let changes = fix["changes"].as_array().expect("changes").iter();
        changes.filter(|change| change["what"] == what).map(|it| it["after"].to_string()).collect()
    };
    assert!(changed("fstab")[0].contains("UUID=5eed"), "{fix:#}");
    assert!(changed("boot loader").iter().any(|line| line.contains("root=UUID=")), "{fix:#}");
    assert_eq!(changed("tools").len(), 1, "{fix:#}");
    assert_eq!(changed("initramfs").len(), 0, "it has the drivers already: {fix:#}");
    let interface = &fix["network"][0];
    assert_eq!(interface["mac"], "00:50:56:aa:bb:01");
    assert_eq!((&interface["before"], &interface["after"]), (&json!("ens192"), &json!("ens192")));
    assert_eq!(interface["kept_by"], "/etc/systemd/network/10-hyperexport-ens192.link");
    assert_eq!(interface["addresses"], json!(["dhcp"]));
}

#[test]
fn the_sequence_does_what_it_says_in_one_folder() {
    if !libvirtd::available() {
        return;
    }
    let Some(disk) = guest::guest("bios").map(|guest| guest.vmdk) else { return };
    let Some(_alone) = libvirtd::no_default_pool() else { return };
    if libvirtd::connect().lookup_domain_by_name(DOMAIN).is_ok() {
        println!("skipped: there is a domain {DOMAIN}");
        return;
    }
    let inventory = json!({"vms": [{
        "name": "Test-VM", "cpu": 1, "memory_mb": 1024, "firmware": "bios",
        "guest_id": "debian12_64Guest", "disks": [{"file": disk}],
        "nics": [{"mac": "00:50:56:aa:bb:01"}],
    }]});
    let dir = tempfile::tempdir().expect("a folder");
    let Some(job) = Job::new(dir, &inventory, &["-nfc-listen", "127.0.0.1:0"]) else { return };
    let tmp = job.dir.path().join("tmp");
    std::fs::create_dir(&tmp).expect("made");
    // The checkout may be below the /tmp that the shell does not see.
    std::fs::create_dir(tmp.join("bin")).expect("made");
    std::fs::copy(env!("CARGO_BIN_EXE_hyperexport"), tmp.join("bin/hyperexport")).expect("copied");
    let shell = Shell { job: &job, tmp };
    let _clean = CleanUp;
    let [export, look, dry, pipeline, libvirt, start] = SEQUENCE;

    let ended = shell.types(export);
    assert!(ended.stdout.contains("exported   disk-0  /tmp/test/disk-0.vmdk"), "{}", ended.stdout);
    let source = &job.sim.vm("Test-VM").disks.as_ref().expect("disks")[0].raw;
    assert_same_disk((source, "raw"), (&shell.file("disk-0.vmdk"), "vmdk"));

    let manifest = shell.types(look).json;
    assert_eq!(manifest["disks"][0]["local_path"], "/tmp/test/disk-0.vmdk", "{manifest:#}");

    let ended = shell.types(dry);
    ended.said("reusing the export of ");
    assert!(ended.stdout.contains("/tmp/test/Test-VM.qcow2"), "{}", ended.stdout);
    assert!(!shell.file("Test-VM.qcow2").exists(), "a dry run converted");

    let ended = shell.types(pipeline);
    ended.said("reusing the export of ");
    assert!(
        ended.stdout.contains("converted  disk-0  /tmp/test/Test-VM.qcow2"),
        "{}",
        ended.stdout
    );
    assert!(libvirtd::connect().lookup_domain_by_name(DOMAIN).is_err());
    assert_fixed(&shell.file("report.json"));

    let ended = shell.types(libvirt);
    ended.said("== pipeline: kept");
    let volume = format!("volume     disk-0  /var/lib/libvirt/images/{DOMAIN}.qcow2");
    assert!(ended.stdout.contains(&volume), "{}", ended.stdout);
    assert!(
        ended.stdout.contains("pool       default over /var/lib/libvirt/images"),
        "{}",
        ended.stdout
    );
    assert_eq!(job.leases(), 1, "the disks left their source more than once");

    shell.types(start);
    let domain = libvirtd::connect().lookup_domain_by_name(DOMAIN).expect("defined");
    assert!(domain.is_active().expect("known"), "it does not run");

    // Once more, while the domain runs.
    let again = shell.types(libvirt);
    assert!(again.stdout.contains("done       Test-VM: nothing to do"), "{}", again.stdout);
    domain.destroy().expect("it runs");
    let xml = domain.xml_desc(virt::sys::VIR_DOMAIN_XML_INACTIVE).expect("described");
    assert!(xml.contains("bus='virtio'") && xml.contains("<model type='virtio'/>"), "{xml}");
    let console = guest::assert_boots(DOMAIN);
    assert!(console.contains("ens192 has 192.168.122."), "{console}");

    let undone = shell.types("hyperexport undo --even-if-used /tmp/test");
    assert!(undone.stdout.contains("gone      storage pool 'default'"), "{}", undone.stdout);
    assert!(libvirtd::connect().lookup_domain_by_name(DOMAIN).is_err());
    job.assert_source_is_free();
}
