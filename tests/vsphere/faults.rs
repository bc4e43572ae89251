//! Faults of networks and vCenters during an export. The exported bytes are right nevertheless: a
//! failed disk is downloaded again alone, a lost lease or session is renewed, and nothing is left
//! behind.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::export::{Folders, assert_same, export, folders, listener};
use crate::support::vcsim::Vcsim;
use hyperexport::exporter::{Error, Settings, VSphere};
use hyperexport::model::ExportedVm;
use hyperexport::progress::{Event, Progress};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A VM with two disks, of 6 and 8 MiB.
fn two_disks(folders: &Folders) -> Value {
    let disks = [folders.disk("a.raw", 6), folders.disk("b.raw", 8)];
    json!({"vms": [{"name": "web01", "disks": disks}]})
}

/// Exports one disk after the other, and returns the events.
async fn one_by_one(
    sim: &Vcsim,
    folders: &Folders,
    change: impl FnOnce(&mut Settings),
) -> (Result<ExportedVm, Error>, Vec<String>) {
    let (progress, events) = listener();
    let mut settings = sim.settings();
    settings.parallel = 1;
    change(&mut settings);
    let end = export(settings, &folders.request(), &progress, &CancellationToken::new()).await;
    let notes = events.lock().expect("unpoisoned").iter().filter_map(note).collect();
    (end, notes)
}

fn note(event: &Event) -> Option<String> {
    match event {
        Event::Note(text) => Some(text.clone()),
        _ => None,
    }
}

/// Asserts that both disks are right, and that no lease or session is left on the server.
async fn assert_whole(sim: &Vcsim, folders: &Folders, exported: Result<ExportedVm, Error>) {
    let exported = exported.expect("exported");
    for (disk, raw) in exported.disks.iter().zip(["a.raw", "b.raw"]) {
        assert_same(&disk.path, &folders.images.join(raw));
    }
    assert_eq!(folders.left(), ["disk-0.vmdk", "disk-1.vmdk"]);
    let state = sim.state().await;
    let leases = state["leases"].as_array().expect("leases");
    assert!(leases.iter().all(|lease| lease["Live"] == false), "{state}");
    assert_eq!(state["live_sessions"], 0, "{state}");
}

/// Number of requests for a disk.
async fn requests(sim: &Vcsim, disk: &str) -> usize {
    let state = sim.state().await;
    let all = state["nfc"].as_array().cloned().unwrap_or_default();
    all.iter().filter(|line| line.as_str().is_some_and(|line| line.contains(disk))).count()
}

/// Waits until the simulator has sent `bytes` bytes.
async fn sent(sim: &Vcsim, bytes: u64) {
    while sim.state().await["nfc_bytes"].as_u64().unwrap_or(0) < bytes {
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

#[tokio::test]
async fn a_disk_that_breaks_is_taken_again_alone() {
    for (fault, told) in [
        (json!({"nfc_drop_after": 300_000}), "connection failed after "),
        (json!({"nfc_truncate_after": 300_000}), "the stream ended after 300000 bytes"),
        (json!({"nfc_stall_after": 300_000}), "nothing arrived for 2s after 300000 bytes"),
        (json!({"nfc_corrupt_at": 14}), "downloaded data is no valid disk: "),
        (json!({"nfc_corrupt_at": 300_000}), "checksum is "),
    ] {
        let folders = folders();
        let Some(sim) = Vcsim::start(&two_disks(&folders), &[]) else { return };
        let mut faults = fault.clone();
        faults["nfc_match"] = "disk-1".into();
        sim.faults(&faults).await;
        let change = |settings: &mut Settings| settings.read_timeout = Duration::from_secs(2);
        let (exported, notes) = one_by_one(&sim, &folders, change).await;
        assert_eq!(notes.len(), 1, "{fault}: {notes:?}");
        assert!(notes[0].starts_with("download disk-1 again: "), "{notes:?}");
        assert!(notes[0].contains(told) && notes[0].contains("attempt 2 of "), "{notes:?}");
        assert_whole(&sim, &folders, exported).await;
        assert_eq!((requests(&sim, "disk-0").await, requests(&sim, "disk-1").await), (1, 2));
        let state = sim.state().await;
        assert_eq!(state["calls"]["ExportVm"], 1, "the lease is the same: {state}");
        assert_eq!(state["notes"]["lease.complete"], 1, "{state}");
    }
}

#[tokio::test]
async fn a_host_that_is_busy_is_asked_again() {
    let folders = folders();
    let Some(sim) = Vcsim::start(&two_disks(&folders), &[]) else { return };
    sim.faults(&json!({"nfc_status": 503, "nfc_status_count": 3})).await;
    let (exported, notes) = one_by_one(&sim, &folders, |_| {}).await;
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes[0].contains("host answered HTTP 503; attempt 2 of 5"), "{notes:?}");
    assert_whole(&sim, &folders, exported).await;
}

#[tokio::test]
async fn a_wrong_sum_that_passes_costs_one_more_download() {
    let folders = folders();
    let Some(sim) = Vcsim::start(&two_disks(&folders), &[]) else { return };
    sim.faults(&json!({"bad_checksum": true})).await;
    let slow = |settings: &mut Settings| settings.retry.first_pause = Duration::from_millis(500);
    let heal = async {
        while requests(&sim, "disk-0").await == 0
            || sim.state().await["calls"]["HttpNfcLeaseGetManifest"].as_u64().unwrap_or(0) == 0
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sim.faults(&json!({})).await;
    };
    let ((exported, notes), ()) = tokio::join!(one_by_one(&sim, &folders, slow), heal);
    assert!(notes[0].contains("checksum is "), "{notes:?}");
    assert!(notes[0].contains("attempt 2 of 3"), "wrong data is not asked for as often: {notes:?}");
    assert_whole(&sim, &folders, exported).await;
    assert_eq!(requests(&sim, "disk-1").await, 1);
}

/// The session expires before each call in turn: before the search for the VM, before the lease,
/// during and after the lease.
async fn session_expires_anywhere(way: &str) {
    let folders = folders();
    let inventory = two_disks(&folders);
    for after in [1, 3, 4, 6, 8, 9, 10, 11, 12, 13] {
        let folders = crate::support::export::folders();
        let Some(sim) = Vcsim::start(&inventory, &["-dead-session", way]) else { return };
        sim.faults(&json!({"session_expire_after": after})).await;
        let (exported, notes) = one_by_one(&sim, &folders, |_| {}).await;
        let exported = exported.unwrap_or_else(|error| panic!("{after}: {error:?} {notes:?}"));
        for (disk, origin) in exported.disks.iter().zip(["a.raw", "b.raw"]) {
            assert_same(&disk.path, &self::origin(&inventory, origin));
        }
        let state = sim.state().await;
        assert_eq!(state["live_sessions"], 0, "{after}: {state}");
        let leases = state["leases"].as_array().cloned().unwrap_or_default();
        assert!(leases.iter().all(|lease| lease["Live"] == false), "{after}: {state}");
        let logins = state["calls"]["Login"].as_u64().expect("a number");
        assert!(logins <= 2, "one re-login is enough: {state}");
    }
}

/// Path of the raw disk called `name` in the inventory.
fn origin(inventory: &Value, name: &str) -> std::path::PathBuf {
    let disks = inventory["vms"][0]["disks"].as_array().expect("disks");
    let paths = disks.iter().filter_map(|disk| disk["file"].as_str());
    paths.map(std::path::PathBuf::from).find(|path| path.ends_with(name)).expect("a disk")
}

#[tokio::test]
async fn a_session_that_expires_with_a_fault_is_renewed() {
    session_expires_anywhere("fault").await;
}

#[tokio::test]
async fn a_session_that_expires_without_a_fault_is_renewed() {
    session_expires_anywhere("missing").await;
}

#[tokio::test]
async fn a_session_lost_in_a_transfer_does_not_cost_the_whole_disks() {
    for way in ["fault", "missing"] {
        let folders = folders();
        let args = ["-dead-session", way, "-lease-timeout", "4"];
        let Some(sim) = Vcsim::start(&two_disks(&folders), &args) else { return };
        sim.faults(&json!({"nfc_rate": 500_000, "nfc_match": "disk-1"})).await;
        let first = sim.vm("web01").disks.as_ref().expect("disks")[0].stream_bytes;
        let expire = async {
            sent(&sim, first + 200_000).await;
            sim.expire().await;
        };
        let ((exported, notes), ()) = tokio::join!(one_by_one(&sim, &folders, |_| {}), expire);
        assert!(notes.iter().any(|note| note.contains("1 of 2 disks are complete")), "{notes:?}");
        assert_whole(&sim, &folders, exported).await;
        assert_eq!(requests(&sim, "disk-0").await, 1, "a whole disk is not taken again");
    }
}

#[tokio::test]
async fn a_vm_that_ran_while_its_lease_was_lost_is_taken_anew() {
    let folders = folders();
    let Some(sim) = Vcsim::start(&two_disks(&folders), &[]) else { return };
    sim.faults(&json!({"nfc_rate": 400_000, "nfc_match": "disk-1"})).await;
    let running = one_by_one(&sim, &folders, |_| {});
    let meanwhile = async {
        while requests(&sim, "disk-1").await == 0 {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        sim.expire().await;
        sim.power("web01", true).await;
        sim.power("web01", false).await;
        sim.faults(&json!({})).await;
    };
    let ((exported, notes), ()) = tokio::join!(running, meanwhile);
    assert_whole(&sim, &folders, exported).await;
    assert_eq!((requests(&sim, "disk-0").await, requests(&sim, "disk-1").await), (2, 2));
    assert!(notes.iter().any(|note| note.contains("the VM has changed meanwhile")), "{notes:?}");
}

#[tokio::test]
async fn a_vcenter_that_restarts_is_waited_for() {
    let folders = folders();
    let Some(sim) = Vcsim::start(&two_disks(&folders), &["-lease-timeout", "2"]) else { return };
    sim.faults(&json!({"nfc_rate": 500_000, "nfc_match": "disk-1"})).await;
    let first = sim.vm("web01").disks.as_ref().expect("disks")[0].stream_bytes;
    let restart = async {
        sent(&sim, first + 200_000).await;
        sim.faults(&json!({"soap_status": 503, "soap_status_count": 100_000})).await;
        sim.expire().await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        sim.faults(&json!({})).await;
    };
    let patient = |settings: &mut Settings| settings.retry.longest_pause = Duration::from_secs(1);
    let ((exported, notes), ()) = tokio::join!(one_by_one(&sim, &folders, patient), restart);
    assert!(notes.iter().any(|note| note.contains("disks are complete")), "{notes:?}");
    assert_whole(&sim, &folders, exported).await;
    assert_eq!(requests(&sim, "disk-0").await, 1, "{notes:?}");
}

#[tokio::test]
async fn a_lease_that_times_out_is_taken_again() {
    let folders = folders();
    let Some(sim) = Vcsim::start(&two_disks(&folders), &["-lease-timeout", "2"]) else { return };
    sim.faults(&json!({"nfc_rate": 500_000, "nfc_match": "disk-1"})).await;
    let first = sim.vm("web01").disks.as_ref().expect("disks")[0].stream_bytes;
    let cut_off = async {
        sent(&sim, first + 100_000).await;
        let deaf = json!({"soap_drop_count": 100_000, "nfc_rate": 500_000, "nfc_match": "disk-1"});
        sim.faults(&deaf).await;
        while sim.state().await["leases"][0]["Live"] == true {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        sim.faults(&json!({})).await;
    };
    let ((exported, notes), ()) = tokio::join!(one_by_one(&sim, &folders, |_| {}), cut_off);
    assert!(notes.iter().any(|note| note.contains("1 of 2 disks are complete")), "{notes:?}");
    assert_whole(&sim, &folders, exported).await;
    assert_eq!(requests(&sim, "disk-0").await, 1);
}

#[tokio::test]
async fn a_lease_in_error_is_asked_for_again_where_that_may_help() {
    let folders = folders();
    let Some(sim) = Vcsim::start(&two_disks(&folders), &[]) else { return };
    sim.faults(&json!({"lease_fault": "HostCommunication"})).await;
    let (exported, notes) = one_by_one(&sim, &folders, |_| {}).await;
    assert!(notes[0].contains("export lease was lost"), "{notes:?}");
    assert_whole(&sim, &folders, exported).await;
    assert_eq!(sim.state().await["calls"]["ExportVm"], 2);
}

#[tokio::test]
async fn a_snapshot_goes_though_the_server_restarts_meanwhile() {
    let folders = folders();
    let disks = [folders.disk("a.raw", 1)];
    let config = json!({"vms": [
        {"name": "web01", "power": "on", "snapshots": ["mine", "ours"], "disks": disks},
    ]});
    let Some(sim) = Vcsim::start(&config, &[]) else { return };
    let vsphere = VSphere::connect(sim.settings()).await.expect("connected");
    let vm = vsphere.inspect("web01").await.expect("found").vm;
    // More failures than a single call retries.
    sim.faults(&json!({"soap_status": 503, "soap_status_count": 6})).await;
    let (progress, events) = listener();
    let removed = vsphere.remove_snapshots(&vm, &["ours".to_owned()], &progress).await;
    removed.expect("removed");
    assert_eq!(sim.state().await["snapshots"], json!(["mine"]));
    let notes: Vec<_> = events.lock().expect("unpoisoned").iter().filter_map(note).collect();
    assert!(notes[0].contains("HTTP 503; the snapshot ours again in"), "{notes:?}");
    vsphere.close().await.expect("closed");
}

#[tokio::test]
async fn calls_that_get_no_answer_are_made_again() {
    let folders = folders();
    let Some(sim) = Vcsim::start(&two_disks(&folders), &[]) else { return };
    sim.faults(&json!({"soap_drop_count": 2})).await;
    let (exported, _) = one_by_one(&sim, &folders, |_| {}).await;
    assert_whole(&sim, &folders, exported).await;
}

#[tokio::test]
async fn a_bandwidth_limit_holds_for_all_streams_together() {
    let folders = folders();
    let disks = [folders.disk("a.raw", 34), folders.disk("b.raw", 34)];
    let config = json!({"vms": [{"name": "web01", "disks": disks}]});
    let Some(sim) = Vcsim::start(&config, &[]) else { return };
    let bytes: u64 =
        sim.vm("web01").disks.as_ref().expect("disks").iter().map(|disk| disk.stream_bytes).sum();
    let mut settings = sim.settings();
    settings.parallel = 2;
    folders.limit.set(Some(bytes / 10));
    let (begun, ended) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
    let (first, last) = (begun.clone(), ended.clone());
    let progress = Progress::new(move |event| match event {
        Event::TaskStarted { task, .. } if task.starts_with("download disk") => {
            first.lock().expect("unpoisoned").get_or_insert_with(Instant::now);
        }
        Event::TaskFinished { task, .. } if task.starts_with("download disk") => {
            *last.lock().expect("unpoisoned") = Some(Instant::now());
        }
        _ => {}
    });
    let exported = export(settings, &folders.request(), &progress, &CancellationToken::new()).await;
    assert_whole(&sim, &folders, exported).await;
    let ended = ended.lock().expect("unpoisoned").expect("it ended");
    let took = ended - begun.lock().expect("unpoisoned").expect("it began");
    assert!((9.0..=11.0).contains(&took.as_secs_f64()), "{took:?} instead of 10 s");
}
