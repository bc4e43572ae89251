//! Exports against the vCenter simulator: complete ones equal their source byte for byte, failed
//! ones leave neither files nor leases.

use std::process::Command;
use std::time::Duration;

use crate::support::export::{
    assert_clean, assert_same, export, folders, listener, one_disk, plain_export,
};
use crate::support::vcsim::{Vcsim, raw_disk};
use hyperexport::exporter::{Broken, Error, HostMap, NfcHosts, sdk_url};
use hyperexport::model::{DiskFormat, ExportedVm, Hint};
use hyperexport::progress::{Event, Progress};
use serde_json::{Value, json};
use sha2::Digest;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn disks_of_another_host_equal_their_source() {
    let folders = folders();
    let config = json!({"vms": [{
        "name": "web01", "firmware": "efi", "nvram": folders.disk("nvram", 1)["file"],
        "iso": folders.disk("cd.iso", 1)["file"],
        "disks": [
            {"file": folders.disk("a.raw", 40)["file"], "controller": "nvme"},
            folders.disk("b.raw", 9),
            {"capacity_mb": 3},
            folders.disk("c.raw", 1),
        ],
    }]});
    let Some(sim) = Vcsim::start(&config, &["-nfc-listen", "127.0.0.1:0"]) else { return };
    let (progress, events) = listener();
    let mut settings = sim.settings();
    settings.parallel = 2;
    let exported = export(settings, &folders.request(), &progress, &CancellationToken::new()).await;
    let exported = exported.expect("exported");
    assert_clean(&sim, 1, 0).await;

    assert_eq!(
        folders.left(),
        ["disk-0.vmdk", "disk-1.vmdk", "disk-2.vmdk", "disk-3.vmdk", "source.nvram"]
    );
    let sim_disks = sim.vm("web01").disks.as_ref().expect("disks");
    for (disk, facts) in exported.disks.iter().zip(&exported.vm.disks) {
        let device =
            format!("{}{}:{}", facts.controller.model, facts.controller.number, facts.unit);
        let origin = sim_disks.iter().find(|disk| disk.device == device).expect("its origin");
        assert_eq!((disk.id.as_str(), disk.format), (facts.id.as_str(), DiskFormat::Vmdk));
        assert_eq!((disk.capacity.0, disk.file_size.0), (origin.capacity, origin.stream_bytes));
        assert!(disk.path.is_absolute());
        let sum = sha2::Sha256::digest(std::fs::read(&disk.path).expect("its file"));
        assert_eq!(disk.sha256.0[..], sum[..]);
        assert_same(&disk.path, &origin.raw);
    }
    assert!(exported.warnings.is_empty(), "{:?}", exported.warnings);
    assert_progress(&events.lock().expect("unpoisoned"), &exported);
}

/// Asserts that every disk's task ends at the disk's size, and that positions only grow.
fn assert_progress(events: &[Event], exported: &ExportedVm) {
    let positions = |name: &str| -> Vec<u64> {
        let of_task = events.iter().filter_map(|event| match event {
            Event::TaskAdvanced { task, position } if task == name => Some(*position),
            _ => None,
        });
        of_task.collect()
    };
    let received = |name: &str| {
        let mut of_task = events.iter().filter_map(|event| match event {
            Event::TaskReceived { task, bytes } if task == name => Some(*bytes),
            _ => None,
        });
        of_task.next_back()
    };
    for disk in &exported.disks {
        let name = format!("download {}", disk.id);
        let positions = positions(&name);
        assert!(positions.is_sorted(), "{positions:?}");
        assert_eq!(positions.last(), Some(&disk.capacity.0));
        // Bytes received over the network, which exclude holes.
        assert_eq!(received(&name), Some(disk.file_size.0));
    }
    let is_of_download = |event: &&Event| matches!(event, Event::TaskStarted { task, .. } if task.starts_with("download"));
    let downloads = events.iter().filter(is_of_download).count();
    assert_eq!(downloads, exported.disks.len(), "one bar a disk");
}

#[tokio::test]
async fn a_host_that_no_name_leads_to_is_reached_by_its_address() {
    let folders = folders();
    let Some(sim) = Vcsim::start(&one_disk(&folders), &["-nfc-host", "esx1.invalid"]) else {
        return;
    };
    let mut settings = sim.settings();
    settings.retry.attempts = 1;
    let (progress, _) = listener();
    let cancel = CancellationToken::new();
    let end = export(settings.clone(), &folders.request(), &progress, &cancel).await;
    let error = end.expect_err("it does not resolve");
    assert!(error.hint().expect("a hint").contains("--host-map NAME=ADDRESS"), "{error}");
    let allow =
        |list: &[&str]| NfcHosts(list.iter().map(|one| one.parse().expect("a host")).collect());
    settings.nfc_hosts = allow(&["example.com"]);
    let end = export(settings.clone(), &folders.request(), &progress, &cancel).await;
    let error = hyperexport::model::chain(&end.expect_err("another domain"));
    assert!(error.contains("a host that no --nfc-host allows"), "{error}");
    settings.nfc_hosts = allow(&["invalid"]);
    let port = sdk_url(&sim.url).expect("an address").port().expect("a port");
    let mapping = format!("ESX1.invalid=127.0.0.1:{port}").parse().expect("a mapping");
    settings.hosts = HostMap(vec![mapping]);
    let exported = export(settings, &folders.request(), &progress, &cancel).await;
    assert_same(&exported.expect("exported").disks[0].path, &folders.images.join("a.raw"));
}

#[tokio::test]
async fn a_standalone_host_stands_for_itself() {
    let folders = folders();
    let Some(sim) = Vcsim::start(&one_disk(&folders), &["-esx"]) else { return };
    let exported = plain_export(&sim, &folders).await.expect("exported");
    assert_same(&exported.disks[0].path, &folders.images.join("a.raw"));
    assert!(exported.warnings.is_empty(), "{:?}", exported.warnings);
    assert_clean(&sim, 1, 0).await;
}

#[tokio::test]
async fn a_stream_with_its_tables_in_front_is_whole_too() {
    let folders = folders();
    let (raw, vmdk) = (folders.images.join("a.raw"), folders.images.join("a.vmdk"));
    raw_disk(&raw, 50, 3);
    let convert = Command::new("qemu-img")
        .args(["convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized"])
        .args([&raw, &vmdk])
        .status();
    let Ok(status) = convert else {
        assert!(std::env::var_os("CI").is_none(), "qemu-img is missing");
        println!("skipped: qemu-img is missing");
        return;
    };
    assert!(status.success());
    let config = json!({"vms": [{"name": "web01", "disks": [{"file": vmdk}]}]});
    let Some(sim) = Vcsim::start(&config, &["-nfc-length", "known"]) else { return };
    let exported = plain_export(&sim, &folders).await.expect("exported");
    assert_same(&exported.disks[0].path, &raw);

    // Truncated at the end of a grain, only the number of grains reveals it.
    let folders = crate::support::export::folders();
    let half = exported.disks[0].file_size.0 / 2 / 512 * 512;
    sim.faults(&json!({"nfc_truncate_after": half, "nfc_truncate_count": 9})).await;
    let error = plain_export(&sim, &folders).await.expect_err("cut");
    let chain = format!("{:#}", anyhow::Error::from(error));
    let expected = exported.disks[0].file_size.0;
    assert_eq!(chain, format!("downloading disk-0: {half} of {expected} bytes arrived"));
    assert!(folders.left().is_empty());
    assert_clean(&sim, 1, 1).await;
}

/// Predicate: whether a download failed as expected.
type Expected = fn(&Broken) -> bool;

#[tokio::test]
async fn broken_streams_leave_nothing_and_the_next_run_succeeds() {
    let folders = folders();
    let Some(sim) = Vcsim::start(&one_disk(&folders), &["-nfc-length", "close"]) else { return };
    let cases: [(Value, Expected); 6] = [
        (json!({"nfc_truncate_after": 500_000, "nfc_truncate_count": 9}), |broken| {
            matches!(broken, Broken::Incomplete { received: 500_000, .. })
        }),
        // With `close` a truncation looks like a normal end.
        (json!({"nfc_drop_after": 600_000, "nfc_drop_count": 9}), |broken| {
            matches!(broken, Broken::Incomplete { .. } | Broken::Connection { .. })
        }),
        (json!({"nfc_corrupt_at": 500_000, "nfc_corrupt_count": 9}), |broken| {
            matches!(broken, Broken::Sum { .. })
        }),
        (json!({"nfc_corrupt_at": 14, "nfc_corrupt_count": 9}), |broken| {
            matches!(broken, Broken::Stream(_))
        }),
        (json!({"bad_checksum": true}), |broken| matches!(broken, Broken::Sum { .. })),
        (json!({"nfc_status": 404, "nfc_status_count": 9}), |broken| {
            matches!(broken, Broken::Status(404))
        }),
    ];
    let mut aborted = 0;
    for (faults, is_expected) in cases {
        sim.faults(&faults).await;
        let error = plain_export(&sim, &folders).await.expect_err("broken");
        let Error::Download { source, .. } = &error else { panic!("{faults}: {error:?}") };
        assert!(is_expected(source), "{faults}: {source:?}");
        assert_eq!(folders.left(), [""; 0], "{faults}");
        aborted += 1;
        assert_clean(&sim, 0, aborted).await;
    }
    sim.faults(&json!({})).await;
    let exported = plain_export(&sim, &folders).await.expect("exported");
    assert_same(&exported.disks[0].path, &folders.images.join("a.raw"));
    assert_clean(&sim, 1, aborted).await;
}

#[tokio::test]
async fn an_old_server_without_sums_is_a_warning() {
    let folders = folders();
    let Some(sim) = Vcsim::start(&one_disk(&folders), &[]) else { return };
    sim.faults(&json!({"no_manifest": true})).await;
    let exported = plain_export(&sim, &folders).await.expect("exported");
    let codes: Vec<_> = exported.warnings.iter().map(|warning| warning.code.as_str()).collect();
    assert_eq!(codes, ["not-verified-by-server"]);
    assert_clean(&sim, 1, 0).await;
}

#[tokio::test]
async fn a_server_that_knows_sha1_alone_is_compared_with_all_the_same() {
    for how in ["refused", "ignored"] {
        let folders = folders();
        let Some(sim) = Vcsim::start(&one_disk(&folders), &[]) else { return };
        // A flipped byte in the middle of a grain's data: only the checksum reveals it.
        let flipped = json!({"no_sha256": how, "nfc_corrupt_at": 400_000, "nfc_corrupt_count": 1});
        sim.faults(&flipped).await;
        let (progress, events) = listener();
        let cancel = CancellationToken::new();
        let exported = export(sim.settings(), &folders.request(), &progress, &cancel).await;
        let exported = exported.expect("exported");
        assert!(exported.warnings.is_empty(), "{how}: {:?}", exported.warnings);
        assert_same(&exported.disks[0].path, &folders.images.join("a.raw"));
        let notes: Vec<_> = events
            .lock()
            .expect("unpoisoned")
            .iter()
            .filter_map(|event| match event {
                Event::Note(text) => Some(text.clone()),
                _ => None,
            })
            .collect();
        assert!(notes.iter().any(|note| note.contains("sum")), "{how}: {notes:?}");
        assert_clean(&sim, 1, 0).await;
    }
}

#[tokio::test]
async fn silence_ends_a_download() {
    let folders = folders();
    let Some(sim) = Vcsim::start(&one_disk(&folders), &[]) else { return };
    sim.faults(&json!({"nfc_stall_after": 300_000, "nfc_stall_count": 9})).await;
    let mut settings = sim.settings();
    settings.read_timeout = Duration::from_secs(2);
    let (progress, events) = listener();
    let error = export(settings, &folders.request(), &progress, &CancellationToken::new()).await;
    let chain = format!("{:#}", anyhow::Error::from(error.expect_err("silent")));
    assert_eq!(chain, "downloading disk-0: nothing arrived for 2s after 300000 bytes");
    let is_note = |event: &&Event| matches!(event, Event::Note(_));
    let notes = events.lock().expect("unpoisoned").iter().filter(is_note).count();
    assert_eq!(notes, 4, "all further attempts are told");
    assert!(folders.left().is_empty());
    assert_clean(&sim, 0, 1).await;
}

#[tokio::test]
async fn one_broken_disk_ends_the_others() {
    let folders = folders();
    let config = json!({"vms": [{"name": "web01", "disks": [
        folders.disk("a.raw", 8), folders.disk("b.raw", 8), folders.disk("c.raw", 8),
    ]}]});
    let Some(sim) = Vcsim::start(&config, &[]) else { return };
    sim.faults(&json!({"nfc_corrupt_at": 14, "nfc_corrupt_count": 9, "nfc_match": "disk-1"})).await;
    let error = plain_export(&sim, &folders).await.expect_err("broken");
    let is_second = matches!(&error, Error::Download { disk, .. } if disk.as_str() == "disk-1");
    assert!(is_second, "{error}");
    assert!(folders.left().is_empty());
    assert_clean(&sim, 0, 1).await;
}

#[tokio::test]
async fn a_cancelled_export_gives_everything_back() {
    let folders = folders();
    let config = json!({"vms": [{"name": "web01", "disks": [
        folders.disk("a.raw", 8), folders.disk("b.raw", 8),
    ]}], "faults": {"nfc_rate": 200_000}});
    let Some(sim) = Vcsim::start(&config, &["-nfc-listen", "127.0.0.1:0"]) else { return };
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    // As soon as the first bytes have arrived.
    let progress = Progress::new(move |event| {
        if matches!(event, Event::TaskAdvanced { position: 1.., .. }) {
            stop.cancel();
        }
    });
    let error = export(sim.settings(), &folders.request(), &progress, &cancel).await;
    assert!(matches!(error, Err(Error::Cancelled)), "{error:?}");
    assert!(folders.left().is_empty());
    assert_clean(&sim, 0, 1).await;

    let error = export(sim.settings(), &folders.request(), &progress, &cancel).await;
    assert!(matches!(error, Err(Error::Cancelled)), "{error:?}");
    assert_clean(&sim, 0, 1).await;
}

#[tokio::test]
async fn a_slow_download_keeps_its_lease() {
    let folders = folders();
    let config = json!({"vms": [{"name": "web01", "disks": [folders.disk("a.raw", 8)]}],
        "faults": {"nfc_rate": 200_000}});
    let Some(sim) = Vcsim::start(&config, &["-lease-timeout", "3"]) else { return };
    let exported = plain_export(&sim, &folders).await.expect("exported");
    assert!(exported.disks[0].file_size.0 > 5 * 200_000, "too short to outlive the lease");
    let state = sim.state().await;
    let posts = state["leases"][0]["Posts"].as_u64().expect("a number");
    assert!(posts >= 3, "{state}");
    assert_clean(&sim, 1, 0).await;
}

#[tokio::test]
async fn a_lease_that_is_not_granted_is_named() {
    let folders = folders();
    let config = json!({"vms": [{"name": "web01", "disks": [folders.disk("a.raw", 8)]}]});
    let Some(sim) = Vcsim::start(&config, &[]) else { return };
    sim.faults(&json!({"lease_fault": "FileLocked"})).await;
    let error = plain_export(&sim, &folders).await.expect_err("no lease");
    assert!(matches!(&error, Error::Lease(fault) if fault.kind == "FileLocked"), "{error:?}");
    sim.faults(&json!({"export_fault": "TaskInProgress"})).await;
    let error = plain_export(&sim, &folders).await.expect_err("no lease");
    assert!(error.hint().is_some_and(|hint| hint.contains("task")), "{error:?}");
    assert!(folders.left().is_empty());
    let state = sim.state().await;
    assert_eq!(state["live_sessions"], 0, "{state}");
}

#[tokio::test]
async fn a_disk_without_an_address_is_an_error() {
    let folders = folders();
    let config = json!({"vms": [{"name": "web01", "disks": [
        folders.disk("a.raw", 2), {"capacity_mb": 1, "no_url": true},
    ]}]});
    let Some(sim) = Vcsim::start(&config, &[]) else { return };
    let error = plain_export(&sim, &folders).await.expect_err("a hole");
    assert!(matches!(&error, Error::NoUrl { disk, .. } if disk.as_str() == "disk-1"), "{error}");
    assert!(folders.left().is_empty());
    assert_clean(&sim, 0, 1).await;
}

#[tokio::test]
async fn a_host_that_is_not_the_lease_s_is_refused() {
    let folders = folders();
    let wrong = "AB:".repeat(20);
    let wrong = wrong.trim_end_matches(':');
    let args = ["-nfc-listen", "127.0.0.1:0", "-nfc-thumbprint", wrong];
    let Some(sim) = Vcsim::start(&one_disk(&folders), &args) else { return };
    let error = plain_export(&sim, &folders).await.expect_err("refused");
    let chain = format!("{:#}", anyhow::Error::from(error));
    assert!(chain.starts_with("downloading disk-0: certificate of 127.0.0.1"), "{chain}");
    assert!(chain.ends_with(&format!("expected {wrong}")), "{chain}");
    assert!(folders.left().is_empty());
    assert_clean(&sim, 0, 1).await;
}

#[tokio::test]
async fn files_of_others_stay_and_nothing_begins() {
    let folders = folders();
    let config = json!({"vms": [{"name": "web01", "disks": [
        folders.disk("a.raw", 2), folders.disk("b.raw", 2),
    ]}]});
    let Some(sim) = Vcsim::start(&config, &[]) else { return };
    std::fs::write(folders.out.join("disk-1.vmdk"), "mine").expect("written");
    std::fs::write(folders.out.join("disk-0.vmdk.part"), "stale").expect("written");
    let error = plain_export(&sim, &folders).await.expect_err("in the way");
    assert!(error.to_string().ends_with("disk-1.vmdk exists already"), "{error}");
    assert_eq!(folders.left(), ["disk-1.vmdk"]);
    let state = sim.state().await;
    assert!(state["calls"].get("ExportVm").is_none(), "{state}");
    assert_clean(&sim, 0, 0).await;
}

#[tokio::test]
async fn a_running_vm_is_refused_by_the_server_too() {
    let folders = folders();
    let Some(sim) = Vcsim::start(&one_disk(&folders), &[]) else { return };
    sim.power("web01", true).await;
    let error = plain_export(&sim, &folders).await.expect_err("it runs");
    assert!(error.hint().is_some_and(|hint| hint.contains("--power-off")), "{error:?}");
    assert!(folders.left().is_empty());
    assert_clean(&sim, 0, 0).await;
}
