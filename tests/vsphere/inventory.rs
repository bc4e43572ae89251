//! Login, certificate checks, inventory, VM details and refusals against the vCenter simulator.

use std::time::Duration;

use crate::support::vcsim::Vcsim;
use hyperexport::exporter::{Error, ExportBlocker, Filter, Shutdown, Trust, VSphere};
use hyperexport::model::{
    Assumed, Bus, ByteSize, Firmware, Hint, NicModel, OsFamily, PowerState, PoweredOff, Secret,
};
use hyperexport::progress::Progress;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

fn small() -> Value {
    json!({"vms": [{"name": "web01", "disks": [{"capacity_mb": 1}]}]})
}

/// Asserts that the program left no session behind.
async fn assert_no_session(sim: &Vcsim) {
    let state = sim.state().await;
    assert_eq!(state["live_sessions"], 0, "{state}");
}

#[tokio::test]
async fn all_vms_of_all_pages_are_listed() {
    let config = json!({"vms": [
        {"name": "many", "count": 250, "folder": "Big", "disks": [{"capacity_mb": 1}]},
        {"name": "odd,name=x & <b> ü%2f7", "cpu": 2, "memory_mb": 3000, "power": "on",
         "guest_id": "debian12_64Guest", "disks": [{"capacity_mb": 3}, {"capacity_mb": 5}]},
        {"name": "orphan", "no_config": true},
    ]});
    let Some(sim) = Vcsim::start(&config, &[]) else { return };
    let vsphere = VSphere::connect(sim.settings()).await.expect("connected");
    let list = vsphere.list().await.expect("listed");
    vsphere.close().await.expect("logged out");

    assert_eq!(list.len(), 252);
    let odd = list.iter().find(|vm| vm.name.starts_with("odd")).expect("listed");
    assert_eq!(odd.name, "odd,name=x & <b> ü/7");
    assert_eq!(odd.path.as_deref(), Some("/DC0/vm/odd,name=x & <b> ü%2f7"));
    assert_eq!((odd.cpu, odd.memory_mib, odd.disks), (Some(2), Some(3000), Some(2)));
    assert_eq!((odd.power, odd.size), (PowerState::On, Some(8 << 20)));
    assert_eq!(odd.guest.as_deref(), Some("Debian GNU/Linux 12 (64-bit)"));
    let orphan = list.iter().find(|vm| vm.name == "orphan").expect("listed");
    assert_eq!((orphan.cpu, orphan.disks), (None, None));
    assert!(list.iter().any(|vm| vm.path.as_deref() == Some("/DC0/vm/Big/many-0250")));

    let state = sim.state().await;
    assert_eq!(state["calls"]["ContinueRetrievePropertiesEx"], 2, "{state}");
    assert_eq!(state["calls"]["DestroyView"], 1);
    assert_no_session(&sim).await;
}

#[tokio::test]
async fn what_the_guest_s_tools_say_of_its_network_is_kept() {
    let config = json!({"vms": [{
        "name": "web01", "power": "on", "tools": "toolsOk", "hostname": "web01", "ip": "192.0.2.7",
        "prefix": 24, "gateway": "192.0.2.1", "dns": ["192.0.2.53"],
        "disks": [{"capacity_mb": 1}], "nics": [{"mac": "00:50:56:aa:bb:01"}],
    }]});
    let Some(sim) = Vcsim::start(&config, &[]) else { return };
    let vsphere = VSphere::connect(sim.settings()).await.expect("connected");
    let inspected = vsphere.inspect("web01").await.expect("found");
    vsphere.close().await.expect("logged out");
    let told = inspected.vm.guest.network.expect("its tools run");
    assert_eq!(told.interfaces[0].addresses, ["192.0.2.7/24"]);
    assert_eq!(told.interfaces[0].mac.to_string(), "00:50:56:aa:bb:01");
    assert_eq!(told.interfaces[0].dhcp, Some(false));
    assert_eq!((told.gateways, told.dns), (vec!["192.0.2.1".into()], vec!["192.0.2.53".into()]));
    assert_eq!(told.hostname.as_deref(), Some("web01"));
}

#[tokio::test]
async fn a_vm_is_found_by_name_path_or_moref() {
    let config = json!({"vms": [
        {"name": "dup", "folder": "A", "disks": [{"capacity_mb": 1}]},
        {"name": "dup", "folder": "B/b", "disks": [{"capacity_mb": 1}]},
        {"name": "centos%2f7", "disks": [{"capacity_mb": 1}]},
    ]});
    let Some(sim) = Vcsim::start(&config, &[]) else { return };
    let vsphere = VSphere::connect(sim.settings()).await.expect("connected");

    let error = vsphere.inspect("dup").await.expect_err("two of them");
    let Error::Ambiguous { paths, .. } = &error else { panic!("{error}") };
    assert_eq!(paths.len(), 2);
    assert!(paths[0].starts_with("/DC0/vm/A/dup (vm-"), "{paths:?}");

    for selector in ["/DC0/vm/B/b/dup", "DC0/vm/B/b/dup", &sim.vms[1].moref] {
        let vm = vsphere.inspect(selector).await.expect("one").vm;
        assert_eq!(vm.id, sim.vms[1].moref, "{selector}");
        assert_eq!(vm.inventory_path.as_deref(), Some("/DC0/vm/B/b/dup"));
        assert_eq!(vm.datacenter.as_deref(), Some("DC0"));
    }
    for selector in ["centos/7", "centos%2f7", "/DC0/vm/centos%2f7"] {
        let vm = vsphere.inspect(selector).await.expect("one").vm;
        assert_eq!((vm.name.as_str(), &vm.id), ("centos/7", &sim.vms[2].moref));
    }
    let error = vsphere.inspect("Centos7").await.expect_err("none");
    assert!(error.hint().is_some_and(|hint| hint.contains("/DC0/vm/centos%2f7")), "{error:?}");
    vsphere.close().await.expect("logged out");
    assert_no_session(&sim).await;
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let Some(sim) = Vcsim::start(&small(), &[]) else { return };
    let mut settings = sim.settings();
    settings.password = Secret::new("geheim".to_owned());
    let error = VSphere::connect(settings).await.expect_err("refused");
    let Error::Login { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind, "InvalidLogin");
    assert!(!format!("{error:?}").contains("geheim"));
    assert_no_session(&sim).await;
}

#[tokio::test]
async fn only_the_trusted_certificate_is_accepted() {
    let Some(sim) = Vcsim::start(&small(), &[]) else { return };
    let with = |trust| {
        let mut settings = sim.settings();
        settings.trust = trust;
        VSphere::connect(settings)
    };
    for trust in [
        Trust::Thumbprint(sim.sha1.parse().expect("a thumbprint")),
        Trust::Thumbprint(sim.sha256.to_lowercase().parse().expect("a thumbprint")),
        Trust::CaFiles(vec![sim.certificate.clone()]),
        Trust::Insecure,
    ] {
        let vsphere =
            with(trust.clone()).await.unwrap_or_else(|error| panic!("{trust:?}: {error}"));
        vsphere.close().await.expect("logged out");
    }

    for (seen, wrong) in [(&sim.sha1, "AB:".repeat(20)), (&sim.sha256, "AB:".repeat(32))] {
        let wrong = wrong.trim_end_matches(':');
        let pin = Trust::Thumbprint(wrong.parse().expect("a thumbprint"));
        let error = with(pin).await.expect_err("refused").to_string();
        assert!(error.contains(wrong) && error.contains(seen), "{error}");
    }

    // Tests of one process share the environment, and no certificate of this system is the
    // simulator's.
    match with(Trust::System).await {
        Err(error @ Error::Untrusted { .. }) => {
            assert!(error.hint().is_some_and(|hint| hint.contains(&sim.sha256)), "{error:?}");
        }
        Err(Error::NoRoots { .. }) => println!("this system has no certificates"),
        other => panic!("{other:?}"),
    }
    assert_no_session(&sim).await;
}

#[tokio::test]
async fn all_facts_of_a_vm_are_read() {
    let config = json!({"vms": [{
        "name": "web01", "cpu": 4, "cores_per_socket": 2, "memory_mb": 2048, "firmware": "efi",
        "secure_boot": true, "guest_id": "ubuntu64Guest", "folder": "Prod/Web", "tools": "toolsOk",
        "disks": [
            {"capacity_mb": 7, "controller": "nvme"},
            {"capacity_mb": 5, "controller": "pvscsi"},
            {"capacity_mb": 6, "controller": "lsilogic-sas", "bus": 1, "unit": 3},
        ],
        "nics": [
            {"mac": "00:50:56:aa:bb:01", "network": "VM Network"},
            {"mac": "00:50:56:aa:bb:02", "network": "DC0_DVPG0", "type": "e1000e"},
            {"mac": "00:50:56:aa:bb:03", "network": "Lab, VLAN 7", "disconnected": true},
        ],
    }]});
    let Some(sim) = Vcsim::start(&config, &[]) else { return };
    let vsphere = VSphere::connect(sim.settings()).await.expect("connected");
    let inspected = vsphere.inspect("web01").await.expect("found");
    vsphere.close().await.expect("logged out");
    inspected.exportable(false).expect("nothing in the way");

    let vm = inspected.vm;
    assert_eq!((vm.provider.as_str(), vm.power), ("vsphere", PowerState::Off));
    assert_eq!((vm.cpu.vcpus, vm.cpu.cores_per_socket, vm.memory_mib), (4, 2, 2048));
    assert_eq!((vm.firmware, vm.secure_boot), (Firmware::Efi, true));
    assert_eq!((vm.guest.id.as_str(), vm.guest.family), ("ubuntu64Guest", OsFamily::Linux));
    assert_eq!(vm.guest.full_name, "Ubuntu Linux (64-bit)");
    assert!(vm.instance_uuid.is_some());
    let disks: Vec<_> = vm
        .disks
        .iter()
        .map(|d| (d.id.as_str(), d.controller.bus, d.controller.number, d.unit, d.capacity))
        .collect();
    assert_eq!(
        disks,
        [
            ("disk-0", Bus::Scsi, 0, 0, ByteSize(5 << 20)),
            ("disk-1", Bus::Scsi, 1, 3, ByteSize(6 << 20)),
            ("disk-2", Bus::Nvme, 0, 0, ByteSize(7 << 20)),
        ]
    );
    assert_eq!(vm.disks[0].boot_order, 0);
    let nics: Vec<_> = vm
        .nics
        .iter()
        .map(|nic| {
            let mac = nic.mac.expect("one").to_string();
            (mac, nic.model, nic.network.as_str(), nic.connected)
        })
        .collect();
    assert_eq!(
        nics,
        [
            ("00:50:56:aa:bb:01".to_owned(), NicModel::Vmxnet, "VM Network", true),
            ("00:50:56:aa:bb:02".to_owned(), NicModel::E1000e, "DC0_DVPG0", true),
            ("00:50:56:aa:bb:03".to_owned(), NicModel::Vmxnet, "Lab, VLAN 7", false),
        ]
    );
}

#[tokio::test]
async fn slots_uuids_boot_disk_and_architecture_are_read_in_both_forms() {
    let config = json!({"vms": [
        {
            "name": "told", "guest_id": "debian12_64Guest",
            "disks": [
                {"capacity_mb": 1, "uuid": "6000C29d-3d4c-50E1-2e1a-648c0e1e5b07"},
                {"capacity_mb": 2, "boot": true},
            ],
            "nics": [
                {"mac": "00:50:56:aa:bb:01", "slot": 224},
                {"mac": "00:50:56:aa:bb:02"},
                {"mac": "00:50:56:aa:bb:03", "slot": -1},
                {"mac": "00:50:56:aa:bb:04"},
            ],
            "extra_config": {
                "ethernet0.pciSlotNumber": "1", "ethernet1.pciSlotNumber": "192",
                "ethernet2.pciSlotNumber": "256", "ethernet3.pciSlotNumber": "-1",
                "disk.EnableUUID": "TRUE",
            },
        },
        {
            "name": "arm", "guest_id": "otherLinux64Guest", "disks": [{"capacity_mb": 1}],
            "extra_config": {"guestInfo.detailed.data": "architecture='Arm' bitness='64'"},
        },
        {"name": "open", "guest_id": "otherGuest", "disks": [{"capacity_mb": 1}, {"capacity_mb": 1}]},
    ]});
    let Some(sim) = Vcsim::start(&config, &[]) else { return };
    let vsphere = VSphere::connect(sim.settings()).await.expect("connected");
    let told = vsphere.inspect("told").await.expect("found").vm;
    let arm = vsphere.inspect("arm").await.expect("found");
    let open = vsphere.inspect("open").await.expect("found").vm;
    vsphere.close().await.expect("logged out");

    let slots: Vec<_> = told.nics.iter().map(|nic| nic.slot).collect();
    assert_eq!(slots, [Some(224), Some(192), Some(256), None]);
    assert_eq!(told.disks[0].uuid.as_deref(), Some("6000c29d3d4c50e12e1a648c0e1e5b07"));
    assert_eq!(told.disks.iter().map(|disk| disk.boot_order).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(told.arch.as_deref(), Some("x86_64"));
    assert_eq!(told.assumed, Assumed::default(), "vSphere tells firmware and boot disk");

    assert_eq!(arm.vm.arch.as_deref(), Some("aarch64"));
    arm.exportable(false).expect("an export alone does not run it");
    assert_eq!(open.arch, None);
    assert_eq!(open.assumed, Assumed { firmware: false, boot_disk: true });
}

#[tokio::test]
async fn what_cannot_be_exported_is_refused_with_a_remedy() {
    let disk = json!({"capacity_mb": 1});
    let config = json!({"vms": [
        {"name": "on", "power": "on", "disks": [disk]},
        {"name": "suspended", "power": "suspended", "disks": [disk]},
        {"name": "orphan", "no_config": true, "disks": [disk]},
        {"name": "denied", "no_read": true, "disks": [disk]},
        {"name": "cut-off", "disconnected": true, "disks": [disk]},
        {"name": "encrypted", "encrypted": true, "disks": [disk]},
        {"name": "tpm", "vtpm": true, "disks": [disk]},
        {"name": "raw", "disks": [disk, {"capacity_mb": 1, "rdm": "physicalMode"}]},
        {"name": "independent", "disks": [{"capacity_mb": 1, "mode": "independent_persistent"}]},
        {"name": "empty"},
    ]});
    let Some(sim) = Vcsim::start(&config, &[]) else { return };
    let vsphere = VSphere::connect(sim.settings()).await.expect("connected");
    for (name, clause) in [
        ("on", "it is powered on"),
        ("suspended", "it is suspended"),
        ("orphan", "its configuration cannot be read"),
        ("denied", "this user may not read its configuration"),
        ("cut-off", "its host is disconnected"),
        ("encrypted", "it is encrypted"),
        ("tpm", "it has a virtual TPM"),
        ("raw", "is a raw device of the storage"),
        ("independent", "is an independent disk"),
        ("empty", "it has no disk"),
    ] {
        let inspected = vsphere.inspect(name).await.expect("found");
        let error = inspected.exportable(false).expect_err("refused");
        assert!(error.to_string().contains(clause), "{name}: {error}");
        assert!(error.hint().is_some(), "{name}");
        let with_power_off = inspected.exportable(true);
        assert_eq!(
            with_power_off.is_ok(),
            inspected.obstacles == [ExportBlocker::PoweredOn],
            "{name}"
        );
    }
    vsphere.close().await.expect("logged out");
    let state = sim.state().await;
    assert!(state["calls"].get("ExportVm").is_none(), "{state}");
}

#[tokio::test]
async fn a_guest_is_shut_down_and_its_power_is_cut_only_by_force() {
    let config = json!({"vms": [
        {"name": "tools", "power": "on", "tools": "toolsOk", "disks": [{"capacity_mb": 1}]},
        {"name": "none", "power": "on", "disks": [{"capacity_mb": 1}]},
    ]});
    let Some(sim) = Vcsim::start(&config, &["-task-delay", "300ms"]) else { return };
    let vsphere = VSphere::connect(sim.settings()).await.expect("connected");
    let (progress, cancel) = (Progress::none(), CancellationToken::new());
    let shutdown = Shutdown { timeout: Duration::from_secs(60), force: false };
    let force = Shutdown { force: true, ..shutdown };
    let found = vsphere.inspect("none").await.expect("found");
    assert_eq!(found.tools, Some(false));
    let error = vsphere.power_off(&found.vm, shutdown, &progress, &cancel).await;
    let error = error.expect_err("no tools run");
    assert!(matches!(error, Error::NoTools { .. }), "{error}");
    assert!(error.hint().expect("a hint").contains("--power-off=force"));
    assert_eq!(vsphere.state(&found.vm).await.expect("known").power, PowerState::On);
    for (name, how, ended, power_offs) in
        [("tools", shutdown, PoweredOff::Shutdown, 0), ("none", force, PoweredOff::Cut, 1)]
    {
        let vm = vsphere.inspect(name).await.expect("found").vm;
        let off = vsphere.power_off(&vm, how, &progress, &cancel).await.expect("off");
        assert_eq!(off, Some(ended));
        let after = vsphere.inspect(name).await.expect("found");
        assert_eq!(after.vm.power, PowerState::Off);
        after.exportable(false).expect("nothing in the way");
        let calls = sim.state().await["calls"]["PowerOffVM_Task"].as_u64().unwrap_or(0);
        assert_eq!(calls, power_offs, "{name}");
        let again = vsphere.power_off(&vm, how, &progress, &cancel).await.expect("still off");
        assert_eq!(again, None);
    }
    sim.power("none", true).await;
    cancel.cancel();
    let vm = vsphere.inspect("none").await.expect("found").vm;
    let error = vsphere.power_off(&vm, force, &progress, &cancel).await.expect_err("cancelled");
    assert!(matches!(error, Error::Cancelled), "{error}");
    vsphere.close().await.expect("logged out");
}

#[tokio::test]
async fn a_guest_that_does_not_shut_down_in_time_stays_on_unless_forced() {
    let config = json!({"vms": [
        {"name": "slow", "power": "on", "tools": "toolsOk", "disks": [{"capacity_mb": 1}]},
    ]});
    let Some(sim) = Vcsim::start(&config, &["-task-delay", "3s"]) else { return };
    let vsphere = VSphere::connect(sim.settings()).await.expect("connected");
    let (progress, cancel) = (Progress::none(), CancellationToken::new());
    let vm = vsphere.inspect("slow").await.expect("found").vm;
    let how = Shutdown { timeout: Duration::from_millis(200), force: false };
    let error = vsphere.power_off(&vm, how, &progress, &cancel).await.expect_err("slow");
    assert!(matches!(error, Error::StillOn { .. }), "{error}");
    assert!(sim.state().await["calls"]["PowerOffVM_Task"].is_null(), "its power was cut");
    let how = Shutdown { force: true, ..how };
    let off = vsphere.power_off(&vm, how, &progress, &cancel).await.expect("cut");
    assert_eq!(off, Some(PoweredOff::Cut));
    vsphere.close().await.expect("logged out");
}

#[tokio::test]
async fn the_state_of_a_vm_differs_after_it_ran() {
    let config = json!({"vms": [{"name": "web01", "disks": [{"capacity_mb": 1}]}]});
    let Some(sim) = Vcsim::start(&config, &[]) else { return };
    let vsphere = VSphere::connect(sim.settings()).await.expect("connected");
    let found = vsphere.inspect("web01").await.expect("found");
    let before = found.state();
    assert_eq!((before.power, &before.boot_time), (PowerState::Off, &None));
    assert_eq!(vsphere.state(&found.vm).await.expect("known"), before, "nothing happened to it");
    sim.power("web01", true).await;
    let running = vsphere.state(&found.vm).await.expect("known");
    assert!(running.boot_time.is_some() && running.revision != before.revision, "{running:?}");
    sim.power("web01", false).await;
    let after = vsphere.state(&found.vm).await.expect("known");
    assert_eq!((after.power, &after.boot_time), (PowerState::Off, &None));
    assert_ne!(after.revision, before.revision, "it ran meanwhile");
    vsphere.close().await.expect("logged out");
}

#[tokio::test]
async fn a_dead_session_is_renewed_once_whichever_way_it_is_told() {
    for style in ["missing", "fault"] {
        let Some(sim) = Vcsim::start(&small(), &["-dead-session", style]) else { return };
        let vsphere = VSphere::connect(sim.settings()).await.expect("connected");
        sim.expire().await;
        assert_eq!(vsphere.list().await.expect(style).len(), 1);
        vsphere.close().await.expect("logged out");
        assert_no_session(&sim).await;
    }
    // Expiry in the middle of a page, too.
    let config = json!({"vms": [{"name": "many", "count": 20, "disks": [{"capacity_mb": 1}]}],
        "faults": {"session_expire_after": 4, "session_expire_count": 2}});
    let Some(sim) = Vcsim::start(&config, &["-page", "5"]) else { return };
    let vsphere = VSphere::connect(sim.settings()).await.expect("connected");
    let error = vsphere.list().await.expect_err("the session is dead");
    assert!(matches!(error, Error::SessionEnded { .. }), "{error}");
    vsphere.close().await.expect("nothing to log out from");
}

#[tokio::test]
async fn reading_survives_a_server_that_stumbles() {
    let Some(sim) = Vcsim::start(&small(), &[]) else { return };
    sim.faults(&json!({"soap_status": 503, "soap_status_count": 2})).await;
    let vsphere = VSphere::connect(sim.settings()).await.expect("connected");
    vsphere.close().await.expect("logged out");
    sim.faults(&json!({"soap_drop_count": 1})).await;
    let vsphere = VSphere::connect(sim.settings()).await.expect("connected");
    vsphere.close().await.expect("logged out");
    sim.faults(&json!({"soap_status": 503, "soap_status_count": 50})).await;
    let error = VSphere::connect(sim.settings()).await.expect_err("it stays down");
    assert!(error.to_string().ends_with("server answered HTTP 503"), "{error}");
    sim.faults(&json!({})).await;
    assert_no_session(&sim).await;
}

#[tokio::test]
async fn tags_are_read_in_a_session_of_their_own() {
    let tag = |category: &str, name: &str| json!({"category": category, "name": name});
    let config = json!({"vms": [
        {"name": "web01", "tags": [tag("Tier", "web/front"), tag("Environment", "prod")]},
        {"name": "db01", "tags": [tag("Environment", "prod")]},
        {"name": "old"},
    ]});
    let Some(sim) = Vcsim::start(&config, &[]) else { return };
    let vsphere = VSphere::connect(sim.settings()).await.expect("connected");
    let mut list = vsphere.list().await.expect("listed");
    sim.faults(&json!({"rest_status": 503, "rest_status_count": 2})).await;
    vsphere.add_tags(&mut list).await.expect("tagged, though it stumbles");
    vsphere.close().await.expect("logged out");
    let tags = |name: &str| {
        let vm = list.iter().find(|vm| vm.name == name).expect("listed");
        vm.tags.iter().map(|tag| format!("{}={}", tag.category, tag.name)).collect::<Vec<_>>()
    };
    assert_eq!(tags("web01"), ["Environment=prod", "Tier=web/front"]);
    assert_eq!(tags("db01"), ["Environment=prod"]);
    assert!(tags("old").is_empty());
    let meant = |tags: &[&str]| {
        let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
        let filter = Filter { tags, ..Filter::default() };
        list.iter().filter(|vm| filter.takes(vm)).map(|vm| &vm.name[..]).collect::<Vec<_>>()
    };
    assert_eq!(meant(&["prod"]), ["db01", "web01"]);
    assert_eq!(meant(&["Environment=prod", "web/front"]), ["web01"]);
    assert!(meant(&["Tier=prod"]).is_empty());
    assert_no_session(&sim).await;
    let notes = &sim.state().await["notes"];
    assert_eq!([&notes["rest.session.POST"], &notes["rest.session.DELETE"]], [1, 1]);
}

#[tokio::test]
async fn a_host_that_knows_no_tags_says_so() {
    let Some(sim) = Vcsim::start(&small(), &["-esx"]) else { return };
    let vsphere = VSphere::connect(sim.settings()).await.expect("connected");
    let mut list = vsphere.list().await.expect("listed");
    let error = vsphere.add_tags(&mut list).await.expect_err("it has none");
    vsphere.close().await.expect("logged out");
    assert!(error.to_string().contains("has no tags"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("vCenter")));
}

#[tokio::test]
async fn a_standalone_host_is_listed_too() {
    let Some(sim) = Vcsim::start(&small(), &["-esx"]) else { return };
    let vsphere = VSphere::connect(sim.settings()).await.expect("connected");
    let list = vsphere.list().await.expect("listed");
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].path.as_deref(), Some("/ha-datacenter/vm/web01"));
    vsphere.inspect("web01").await.expect("found").exportable(false).expect("nothing in the way");
    vsphere.close().await.expect("logged out");
    assert_no_session(&sim).await;
}
