//! The main job on real guests: vCenter, manifest, hyper2kvm with FIX, libvirt, login prompt.

use std::process::Command;

use crate::support::job::{Job, assert_same_disk, assert_valid_domain};
use crate::support::libvirtd::{self, Names};
use crate::support::sshd::Sshd;
use crate::support::{guest, hyper2kvm};
use serde_json::json;

/// From the simulator to a login prompt on virtio on a remote host.
#[test]
fn a_uefi_guest_sent_over_ssh_reaches_its_login_prompt_there() {
    let Some(hyper2kvm) = hyper2kvm::real() else { return };
    if !libvirtd::available() {
        return;
    }
    let Some(sshd) = Sshd::start() else { return };
    let (vm, uri) = ("Debian \u{1f980} <EFI> & 'Söhne'", &sshd.open_uri());
    let Some(disk) = guest::guest("uefi").map(|guest| guest.vmdk) else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let nvram = dir.path().join("variables");
    std::fs::write(&nvram, "boot entries").expect("written");
    let inventory = json!({"vms": [{
        "name": vm, "cpu": 1, "memory_mb": 1536, "firmware": "efi",
        "guest_id": "debian12_64Guest", "nvram": nvram, "nvram_folder": true,
        "disks": [{"file": disk}, {"capacity_mb": 8}],
        "nics": [{"mac": "00:50:56:aa:bb:01"}, {"mac": "00:50:56:aa:bb:02", "network": "DC0_DVPG0"}],
    }]});
    let Some(job) = Job::new(dir, &inventory, &["-nfc-listen", "127.0.0.1:0"]) else { return };
    let names = Names::new();
    let (domain, pool) = (names.name("guest"), names.name("pool"));
    let pool_path = job.dir.path().join("pool");
    let pool_path = pool_path.to_str().expect("UTF-8");
    // Created beforehand, so that KVM is proved in this pool and not in another one.
    std::fs::create_dir(pool_path).expect("made");
    let made = ["-q", "pool-create-as", &pool, "dir", "--target", pool_path];
    assert!(Command::new("virsh").args(made).status().expect("virsh runs").success());
    let ended = job
        .run(
            vm,
            &[
                "--pipeline",
                "--hyper2kvm-path",
                hyper2kvm.to_str().expect("UTF-8"),
                "--libvirt",
                "--libvirt-uri",
                uri,
                "--libvirt-autostart",
                "--libvirt-name",
                &domain,
                "--libvirt-pool",
                &pool,
                "--libvirt-pool-path",
                pool_path,
            ],
        )
        .expect(0);
    assert_eq!(ended.json["outcome"], "done", "{}", ended.stdout);
    job.assert_source_is_free();

    let source = &job.sim.vm(vm).disks.as_ref().expect("disks")[0].raw;
    assert_same_disk((source, "raw"), (&job.file("disk-0.vmdk"), "vmdk"));
    let manifest = job.manifest();
    assert_eq!(manifest["vm"]["firmware"], "uefi");
    assert_eq!(manifest["vm"]["mem_gb"], 2);
    assert_eq!(manifest["disks"][0]["boot_order_hint"], 0);
    assert_eq!(manifest["nics"][1]["network"], "DC0_DVPG0");

    let variables = std::fs::read_to_string(job.file("source.nvram")).ok();
    let kept = manifest.pointer("/metadata/hyperexport/nvram/path").cloned();
    assert_eq!(variables.as_deref(), Some("boot entries"));
    assert_eq!(kept, Some(json!(job.file("source.nvram"))));
    assert_eq!(ended.json["nvram"]["file_size"], 12, "{}", ended.stdout);

    let xml = std::fs::read_to_string(job.file("domain.xml")).expect("domain.xml");
    assert_valid_domain(&job.file("domain.xml"));
    assert_eq!(xml.matches("bus='virtio'").count(), 2, "{xml}");
    for part in [
        "<memory unit='KiB'>1572864</memory>",
        "00:50:56:aa:bb:01",
        "00:50:56:aa:bb:02",
        "listen='127.0.0.1'",
        "org.qemu.guest_agent.0",
    ] {
        assert!(xml.contains(part), "{part} is missing: {xml}");
    }
    let connect = libvirtd::connect();
    let defined = connect.lookup_domain_by_name(&domain).expect("the domain is there");
    assert!(defined.autostart().expect("its autostart"), "it does not start with its host");
    guest::assert_boots(&domain);
    assert_eq!(sshd.clients().len(), 1, "one connection serves the whole run");
}
