//! Exports that read disks from the datastore, as for hosts that grant no lease, over failing
//! connections.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::export::{Folders, assert_clean, export, folders, listener, one_disk};
use crate::support::vcsim::Vcsim;
use hyperexport::exporter::{Error, Settings, Transport};
use hyperexport::model::{DiskFormat, ExportMethod, ExportedVm, Hint};
use hyperexport::progress::Event;
use serde_json::json;
use sha2::Digest;
use tokio_util::sync::CancellationToken;

fn settings(sim: &Vcsim) -> Settings {
    Settings { transport: Transport::Datastore, ..sim.settings() }
}

/// Exports `web01`; also returns the messages logged meanwhile.
async fn read(settings: Settings, folders: &Folders) -> (Result<ExportedVm, Error>, Vec<String>) {
    let (progress, events) = listener();
    let cancel = CancellationToken::new();
    let end = export(settings, &folders.request(), &progress, &cancel).await;
    let events = events.lock().expect("unpoisoned");
    let notes = events.iter().filter_map(|event| match event {
        Event::Note(text) => Some(text.clone()),
        _ => None,
    });
    (end, notes.collect())
}

/// Asserts that the raw disk equals its source, and is as sparse.
fn assert_disk(exported: &ExportedVm, index: usize, source: &Path) {
    let disk = &exported.disks[index];
    assert_eq!(disk.format, DiskFormat::Raw);
    let bytes = std::fs::read(&disk.path).expect("readable");
    assert!(bytes == std::fs::read(source).expect("readable"), "they differ");
    assert_eq!(disk.sha256.0[..], sha2::Sha256::digest(&bytes)[..]);
    let blocks = |path: &Path| path.metadata().expect("there").blocks();
    assert!(blocks(&disk.path) <= blocks(source) + 512, "holes are holes");
}

#[tokio::test]
async fn whole_disks_come_with_their_holes_from_a_place_of_odd_names() {
    let folders = folders();
    let config = json!({"vms": [{
        "name": "web01", "folder": "Prod/A&B",
        "disks": [folders.disk("a.raw", 40), folders.disk("b.raw", 9), folders.disk("c.raw", 1)],
    }]});
    let odd = ["-datastore", "ds 1&2 (slow)", "-dc", "DC &0"];
    let Some(sim) = Vcsim::start(&config, &odd) else { return };
    let (exported, _) = read(settings(&sim), &folders).await;
    let exported = exported.expect("exported");
    assert_eq!(exported.method, ExportMethod::Datastore);
    for (index, name) in ["a.raw", "b.raw", "c.raw"].into_iter().enumerate() {
        assert_disk(&exported, index, &folders.images.join(name));
    }
    assert_eq!(folders.left(), ["disk-0.raw", "disk-1.raw", "disk-2.raw"]);
    assert_clean(&sim, 0, 0).await;
}

#[tokio::test]
async fn a_link_that_breaks_costs_only_what_was_under_way() {
    let folders = folders();
    let Some(sim) = Vcsim::start(&one_disk(&folders), &[]) else { return };
    sim.faults(&json!({"folder_drop_after": 1_500_000, "folder_drop_count": 4})).await;
    let (exported, notes) = read(settings(&sim), &folders).await;
    assert_disk(&exported.expect("exported"), 0, &folders.images.join("a.raw"));
    assert_eq!(notes.len(), 4, "{notes:?}");
    assert!(notes[3].starts_with("read disk-0 continues at 5."), "{notes:?}");
}

#[tokio::test]
async fn a_server_that_stumbles_is_asked_again() {
    let folders = folders();
    let Some(sim) = Vcsim::start(&one_disk(&folders), &[]) else { return };
    sim.faults(&json!({"folder_status": 500})).await;
    let reading = read(settings(&sim), &folders);
    let recovering = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        sim.faults(&json!({})).await;
    };
    let ((exported, _), ()) = tokio::join!(reading, recovering);
    assert_disk(&exported.expect("exported"), 0, &folders.images.join("a.raw"));

    let folders = self::folders();
    let Some(sim) = Vcsim::start(&one_disk(&folders), &[]) else { return };
    folders.limit.set(Some(8 << 20));
    sim.faults(&json!({"folder_drop_after": 2_000_000, "folder_drop_count": 1})).await;
    let reading = read(settings(&sim), &folders);
    let stumbling = async {
        let begun = async {
            while !folders.left().iter().any(|name| name.starts_with("disk-0.raw")) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let begun = tokio::time::timeout(Duration::from_secs(60), begun).await;
        begun.expect("the download begins");
        tokio::time::sleep(Duration::from_millis(100)).await;
        sim.faults(
            &json!({"folder_drop_after": 2_000_000, "folder_drop_count": 1, "folder_status": 500}),
        )
        .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        sim.faults(&json!({})).await;
    };
    let ((exported, notes), ()) = tokio::join!(reading, stumbling);
    assert_disk(&exported.expect("exported"), 0, &folders.images.join("a.raw"));
    assert!(notes.iter().any(|note| note.contains("host answered HTTP 500")), "{notes:?}");
}

#[tokio::test]
async fn a_session_that_ends_in_the_middle_is_renewed() {
    let folders = folders();
    let Some(sim) = Vcsim::start(&one_disk(&folders), &[]) else { return };
    let settings = settings(&sim);
    folders.limit.set(Some(4 << 20));
    sim.faults(&json!({"folder_drop_after": 3_000_000, "folder_drop_count": 1})).await;
    let reading = read(settings, &folders);
    let expiring = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        sim.expire().await;
    };
    let ((exported, notes), ()) = tokio::join!(reading, expiring);
    assert_disk(&exported.expect("exported"), 0, &folders.images.join("a.raw"));
    assert!(notes.iter().any(|note| note.contains("HTTP 401")), "{notes:?}");
}

#[tokio::test]
async fn a_server_that_begins_anew_is_not_believed() {
    let folders = folders();
    let Some(sim) = Vcsim::start(&one_disk(&folders), &[]) else { return };
    let drop =
        json!({"folder_drop_after": 1_500_000, "folder_drop_count": 1, "folder_whole": true});
    sim.faults(&drop).await;
    let (end, _) = read(settings(&sim), &folders).await;
    let chain = format!("{:#}", anyhow::Error::from(end.expect_err("refused")));
    assert_eq!(chain, "downloading disk-0: host answered HTTP 200");
    assert!(folders.left().is_empty());
}

#[tokio::test]
async fn a_disk_over_a_snapshot_is_refused_before_anything_begins() {
    let folders = folders();
    let disk = folders.disk("a.raw", 2);
    let config = json!({"vms": [{"name": "web01", "snapshots": ["before"], "disks": [disk]}]});
    let Some(sim) = Vcsim::start(&config, &[]) else { return };
    let (end, _) = read(settings(&sim), &folders).await;
    let error = end.expect_err("refused");
    assert!(error.to_string().contains("the difference to a snapshot"), "{error}");
    assert!(error.hint().expect("a hint").contains("--transport nfc"));
    assert!(folders.left().is_empty());
}

#[tokio::test]
async fn a_disk_without_a_flat_file_is_refused_as_on_vsan() {
    let folders = folders();
    let mut disk = folders.disk("a.raw", 2);
    disk["no_flat"] = json!(true);
    let config = json!({"vms": [{"name": "web01", "disks": [disk]}]});
    let Some(sim) = Vcsim::start(&config, &[]) else { return };
    let (end, _) = read(settings(&sim), &folders).await;
    let chain = format!("{:#}", anyhow::Error::from(end.expect_err("refused")));
    assert_eq!(chain, "downloading disk-0: host answered HTTP 404");
    assert!(folders.left().is_empty());
}

#[tokio::test]
async fn a_vm_that_was_started_meanwhile_is_not_taken() {
    let folders = folders();
    let Some(sim) = Vcsim::start(&one_disk(&folders), &[]) else { return };
    let settings = settings(&sim);
    folders.limit.set(Some(6 << 20));
    let reading = read(settings, &folders);
    let starting = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        sim.power("web01", true).await;
    };
    let ((end, _), ()) = tokio::join!(reading, starting);
    let error = end.expect_err("refused");
    assert!(matches!(error, Error::Changed { .. }), "{error}");
    assert!(folders.left().is_empty());
}

#[tokio::test]
async fn where_no_lease_is_granted_the_datastore_is_read_unless_told() {
    for transport in [Transport::Auto, Transport::Nfc] {
        let folders = folders();
        let Some(sim) = Vcsim::start(&one_disk(&folders), &[]) else { return };
        sim.faults(&json!({"export_fault": "RestrictedVersion"})).await;
        let (end, notes) = read(Settings { transport, ..sim.settings() }, &folders).await;
        if transport == Transport::Nfc {
            let error = end.expect_err("refused");
            assert!(error.hint().expect("a hint").contains("licence"), "{error}");
            continue;
        }
        assert_disk(&end.expect("exported"), 0, &folders.images.join("a.raw"));
        assert!(notes.iter().any(|note| note.contains("reading the datastore")), "{notes:?}");
    }
}

#[test]
fn the_whole_command_leaves_a_manifest_of_raw_disks() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("a.raw");
    crate::support::vcsim::raw_disk(&path, 6, 1);
    let inventory = json!({"vms": [{"name": "web01", "disks": [{"file": path}]}]});
    let Some(job) = crate::support::job::Job::new(dir, &inventory, &[]) else { return };
    job.run("web01", &["--manifest", "--transport", "datastore"]).expect(0);
    let manifest = job.manifest();
    assert_eq!(manifest["source"]["export_method"], "datastore");
    assert_eq!(manifest["disks"][0]["source_format"], "raw");
    let mut compare = Command::new("qemu-img");
    compare.args(["compare", "-f", "raw", "-F", "raw"]).arg(job.file("disk-0.raw"));
    let raw = &job.sim.vm("web01").disks.as_ref().expect("disks")[0].raw;
    assert!(compare.arg(raw).status().expect("qemu-img runs").success());
    job.assert_source_is_free();
}
