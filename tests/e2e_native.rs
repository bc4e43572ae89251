//! The main job without hyper2kvm: guests as VMware leaves them are converted and fixed by
//! ourselves, boot on virtio, and find their network under the names that they know.

mod support;

use serde_json::{Value, json};
use support::guest;
use support::job::{Ended, Job, assert_valid_domain};
use support::libvirtd::{self, Names};

/// A guest, what is wrong with it at its source, and what its console must say in the end.
struct Case<'a> {
    image: &'a str,
    /// `bios` or `efi`.
    firmware: &'a str,
    /// What `/etc/issue` shows of its address.
    address: &'a str,
    args: &'a [&'a str],
}

/// Takes the guest from the simulator into libvirt and starts it; returns how the run ended.
fn migrate(case: &Case<'_>) -> Option<(Job, Ended)> {
    if !libvirtd::available() {
        return None;
    }
    let disk = guest::guest(case.image)?.vmdk;
    let inventory = json!({"vms": [{
        "name": "Debian", "cpu": 1, "memory_mb": 1024, "firmware": case.firmware,
        "guest_id": "debian12_64Guest", "disks": [{"file": disk}],
        "nics": [{"mac": "00:50:56:aa:bb:01"}],
    }]});
    let dir = tempfile::tempdir().expect("a folder");
    let job = Job::new(dir, &inventory, &["-nfc-listen", "127.0.0.1:0"])?;
    let names = Names::new();
    let (domain, pool) = (names.name("native"), names.name("pool"));
    let pool_path = job.dir.path().join("pool");
    let mut args = vec!["--pipeline", "--converter", "native", "--libvirt", "--strict"];
    args.extend(["--libvirt-name", &domain, "--libvirt-pool", &pool, "--libvirt-bridge", "virbr0"]);
    args.extend(["--libvirt-pool-path", pool_path.to_str().expect("UTF-8")]);
    args.extend(case.args);
    let ended = job.run("Debian", &args).expect(0);
    let xml = std::fs::read_to_string(job.file("domain.xml")).expect("domain.xml");
    assert_valid_domain(&job.file("domain.xml"));
    assert!(xml.contains("bus='virtio'") && xml.contains("type='virtio'"), "{xml}");
    let console = guest::assert_boots(&domain);
    let issue = format!("ens192 has {}", case.address);
    assert!(console.contains(&issue), "no '{issue}' in {console}");
    Some((job, ended))
}

/// The stage `fix` of the report.
fn fix(job: &Job) -> Value {
    let text = std::fs::read_to_string(job.file("report.json")).expect("a report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["pipeline"]["success"], true, "{report:#}");
    report["pipeline"]["stages"]["fix"]["result"].clone()
}

fn changed(fix: &Value, what: &str) -> Vec<String> {
    let changes = fix["changes"].as_array().expect("changes").iter();
    let of = changes.filter(|change| change["what"] == what);
    of.map(|change| format!("{} → {}", change["before"], change["after"])).collect()
}

#[test]
fn a_guest_by_device_names_boots_on_virtio_with_its_network() {
    let case = Case { image: "bios", firmware: "bios", address: "192.168.122.", args: &[] };
    let Some((job, ended)) = migrate(&case) else { return };
    assert_eq!(ended.json["converter"], format!("native {}", env!("CARGO_PKG_VERSION")));
    let fix = fix(&job);
    assert!(changed(&fix, "fstab")[0].contains("UUID=5eed"), "{fix:#}");
    assert!(changed(&fix, "boot loader").iter().any(|line| line.contains("root=UUID=")), "{fix:#}");
    assert_eq!(changed(&fix, "tools").len(), 1, "{fix:#}");
    assert_eq!(changed(&fix, "initramfs").len(), 0, "it has the drivers already: {fix:#}");
    let interface = &fix["network"][0];
    assert_eq!(interface["mac"], "00:50:56:aa:bb:01");
    assert_eq!(interface["name"], "ens192");
    assert_eq!(interface["kept_by"], "/etc/systemd/network/10-hyperexport-ens192.link");
    assert_eq!(interface["addresses"], json!(["dhcp"]));
}

#[test]
fn a_guest_by_uuid_boots_on_virtio_with_its_network() {
    let case = Case {
        image: "uuid",
        firmware: "bios",
        address: "192.168.122.",
        args: &["--compress-type", "zlib"],
    };
    let Some((job, _)) = migrate(&case) else { return };
    let fix = fix(&job);
    assert_eq!(changed(&fix, "fstab").len(), 0, "{fix:#}");
    assert_eq!(changed(&fix, "network").len(), 1, "{fix:#}");
}

#[test]
fn a_uefi_guest_boots_on_virtio_with_its_network() {
    let case = Case {
        image: "uefi",
        firmware: "efi",
        address: "192.168.122.",
        args: &["--pipeline-compress=false"],
    };
    migrate(&case);
}

#[test]
fn a_guest_on_lvm_keeps_its_static_address() {
    let case = Case { image: "lvm", firmware: "bios", address: "192.168.122.77", args: &[] };
    let Some((job, _)) = migrate(&case) else { return };
    let fix = fix(&job);
    assert_eq!(fix["network"][0]["addresses"], json!(["192.168.122.77/24"]), "{fix:#}");
    assert!(changed(&fix, "fstab").iter().any(|line| line.contains("/dev/sda2")), "{fix:#}");
    assert!(changed(&fix, "initramfs")[0].contains("virtio_blk"), "built anew: {fix:#}");
}
