//! EFI variables: from the datastore of a vCenter, from the lease of a host, and messages if there
//! are none.

use crate::support::export::{Folders, assert_clean, folders, plain_export};
use crate::support::vcsim::Vcsim;
use hyperexport::model::ExportedVm;
use serde_json::{Value, json};
use sha2::Digest;

const VARIABLES: usize = 270_336;

async fn exported(folders: &Folders, vm: Value, faults: Option<Value>) -> Option<ExportedVm> {
    let mut vm = vm;
    vm["name"] = json!("web01");
    vm["disks"] = json!([folders.disk("a.raw", 2)]);
    let sim = Vcsim::start(&json!({ "vms": [vm] }), &[])?;
    if let Some(faults) = faults {
        sim.faults(&faults).await;
    }
    let exported = plain_export(&sim, folders).await.expect("exported");
    assert_clean(&sim, 1, 0).await;
    Some(exported)
}

fn variables(folders: &Folders) -> (Value, Vec<u8>) {
    let content: Vec<u8> = (0..VARIABLES).map(|at| (at * 31 % 251) as u8).collect();
    let path = folders.out.with_file_name("variables");
    std::fs::write(&path, &content).expect("written");
    (json!(path), content)
}

fn assert_whole(exported: &ExportedVm, content: &[u8]) {
    assert!(exported.warnings.is_empty(), "{:?}", exported.warnings);
    let nvram = exported.nvram.as_ref().expect("variables");
    assert_eq!(nvram.path.file_name().expect("a name"), "source.nvram");
    assert!(std::fs::read(&nvram.path).expect("reads") == content, "they differ");
    assert_eq!(nvram.file_size.0, content.len() as u64);
    assert_eq!(nvram.sha256.0[..], sha2::Sha256::digest(content)[..]);
}

#[tokio::test]
async fn a_vcenter_has_them_on_its_datastore() {
    let folders = folders();
    let (file, content) = variables(&folders);
    let vm = json!({"firmware": "efi", "nvram": file, "nvram_folder": true, "folder": "Prod/Web"});
    let Some(exported) = exported(&folders, vm, None).await else { return };
    assert_whole(&exported, &content);
    assert_eq!(folders.left(), ["disk-0.vmdk", "source.nvram"]);
}

#[tokio::test]
async fn a_lease_that_has_them_is_enough() {
    let folders = folders();
    let (file, content) = variables(&folders);
    let faults = json!({"folder_status": 500});
    let vm = json!({"firmware": "efi", "nvram": file});
    let Some(exported) = exported(&folders, vm, Some(faults)).await else { return };
    assert_whole(&exported, &content);
}

#[tokio::test]
async fn a_datastore_that_refuses_them_costs_a_warning_that_says_so() {
    let folders = folders();
    let (file, _) = variables(&folders);
    let vm = json!({"firmware": "efi", "nvram": file, "nvram_folder": true});
    let faults = json!({"folder_status": 403});
    let Some(exported) = exported(&folders, vm, Some(faults)).await else { return };
    assert!(exported.nvram.is_none());
    let [warning] = &exported.warnings[..] else { panic!("{:?}", exported.warnings) };
    assert_eq!(warning.code, "nvram-not-exported");
    assert!(warning.message.contains("HTTP 403"), "{}", warning.message);
    assert_eq!(folders.left(), ["disk-0.vmdk"]);
}

#[tokio::test]
async fn a_bios_guest_has_none_to_miss() {
    let folders = folders();
    let (file, _) = variables(&folders);
    let vm = json!({"firmware": "bios", "nvram": file});
    let Some(exported) = exported(&folders, vm, None).await else { return };
    assert!(exported.nvram.is_none() && exported.warnings.is_empty(), "{:?}", exported.warnings);
}
