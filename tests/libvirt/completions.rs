//! Completions of names that only libvirt knows.

use std::process::Command;

use crate::support::libvirtd::{self, Names};

/// bash's completions of the last of `words`.
fn offered(words: &[&str]) -> Vec<String> {
    let index = (words.len() - 1).to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_hyperexport"))
        .arg("--")
        .args(words)
        .envs([("HYPEREXPORT_COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", &index)])
        .output()
        .expect("hyperexport runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

#[test]
fn pools_and_networks_of_the_host_are_offered() {
    if !libvirtd::available() {
        return;
    }
    let networks = offered(&["hyperexport", "define", "--network-map", "VM Network=network:def"]);
    assert_eq!(networks, ["VM Network=network:default"]);

    let (names, folder) = (Names::new(), tempfile::tempdir().expect("a folder"));
    let pool = names.name("pool");
    let xml = format!(
        "<pool type='dir'><name>{pool}</name><target><path>{}</path></target></pool>",
        folder.path().display()
    );
    libvirtd::connect().define_storage_pool_xml(&xml, 0).expect("defined");
    let uri = ["hyperexport", "define", "--libvirt-uri", libvirtd::URI, "--libvirt-pool", &pool];
    assert_eq!(offered(&uri), std::slice::from_ref(&pool));
}
