//! `--network-map` as a user types it, from the simulator to the real daemon.

use crate::support::hyper2kvm;
use crate::support::job::Job;
use crate::support::libvirtd::{self, Names};
use crate::support::vcsim::raw_disk;
use serde_json::json;

#[test]
fn the_map_is_planned_checked_and_kept() {
    let (Some(hyper2kvm), true) = (hyper2kvm::real(), libvirtd::available()) else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let disk = dir.path().join("0.raw");
    raw_disk(&disk, 16, 1);
    let inventory = json!({"vms": [{
        "name": "web01", "cpu": 1, "memory_mb": 256, "firmware": "bios",
        "guest_id": "ubuntu64Guest", "disks": [{"file": disk}], "nics": [
            {"mac": "00:50:56:aa:bb:01"},
            {"mac": "00:50:56:aa:bb:02", "network": "DC0_DVPG0"},
        ],
    }]});
    let Some(job) = Job::new(dir, &inventory, &[]) else { return };
    let (names, pool) = (Names::new(), job.dir.path().join("pool"));
    let (domain, pool_name) = (names.name("vm"), names.name("pool"));
    let run = |flags: &[&str]| {
        let path = hyper2kvm.to_str().expect("UTF-8");
        let pool = pool.to_str().expect("UTF-8");
        let mut all = vec!["--pipeline", "--pipeline-fix=false", "--hyper2kvm-path", path];
        all.extend(["--libvirt", "--libvirt-name", &domain, "--libvirt-pool", &pool_name]);
        all.extend(["--libvirt-pool-path", pool, "--libvirt-bridge", "hxtnone"]);
        all.extend(flags);
        job.run("web01", &all)
    };

    run(&["--network-map", "Lab"]).expect(2).said("'Lab' is not SOURCE=TARGET");
    let twice = run(&["--network-map", "a=none", "--network-map", "a=none"]);
    twice.expect(2).said("--network-map: two entries are for 'a'");

    // The second network falls back to a bridge that does not exist.
    let refused = run(&["--network-map", "VM Network=network:default"]).expect(4);
    refused.said("bridge 'hxtnone' does not exist");
    assert!(job.files().is_empty(), "exported before it was refused: {:?}", job.files());

    let map = ["--network-map", "VM Network=network:default", "*=none"];
    let dry = run(&[&map[..], &["--dry-run"]].concat()).expect(0);
    for line in [
        "connect nic-0, 00:50:56:aa:bb:01 in network 'VM Network' to network 'default'",
        "leave out nic-1, 00:50:56:aa:bb:02 in network 'DC0_DVPG0'",
    ] {
        assert!(dry.stdout.contains(line), "no '{line}' in {}", dry.stdout);
    }
    assert!(names.domains().is_empty(), "a dry run defined a domain");

    let ended = run(&map).expect(0);
    assert!(ended.stdout.contains("nic-left-out"), "{}", ended.stdout);
    let xml = std::fs::read_to_string(job.file("domain.xml")).expect("domain.xml");
    assert!(xml.contains("00:50:56:aa:bb:01") && xml.contains("network='default'"), "{xml}");
    assert_eq!(xml.matches("<interface ").count(), 1, "{xml}");
}
