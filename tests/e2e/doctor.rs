//! `hyperexport doctor` on the real machine, and on a machine without libvirtd.

use std::process::Command;

use crate::support::hyper2kvm::qemu_img_alone;
use crate::support::import::run;
use crate::support::job::Ended;
use crate::support::libvirtd::{self, Names};
use serde_json::Value;

fn doctor(uri: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyperexport"));
    command.args(["doctor", "--json", "--quiet", "--libvirt-uri", uri]).args(flags);
    // The system's appliance, as on users' machines.
    command.env_remove("LIBGUESTFS_PATH");
    command
}

fn diagnose(command: &mut Command) -> (Option<i32>, Value) {
    let ended = Ended::from(command.output().expect("it runs"));
    (ended.code, ended.json)
}

/// Runs doctor without libguestfs, whose appliance would be slow.
fn diagnose_without_libguestfs(mut command: Command) -> (Option<i32>, Value) {
    let dir = tempfile::tempdir().expect("a folder");
    diagnose(command.env("PATH", qemu_img_alone(dir.path())))
}

fn check<'a>(diagnosis: &'a Value, name: &str, about: Option<&str>) -> &'a Value {
    let checks = diagnosis["checks"].as_array().expect("checks");
    let is_it = |check: &&Value| check["name"] == name && check["about"].as_str() == about;
    checks.iter().find(is_it).unwrap_or_else(|| panic!("no {name}: {diagnosis:#}"))
}

#[test]
fn a_host_that_can_take_vms_is_well() {
    if !libvirtd::available() {
        return;
    }
    let names = Names::new();
    let dir = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let closed = tempfile::tempdir_in("/root").expect("the tests of libvirt run as root");
    let (good, blocked) = (names.name("good"), names.name("blocked"));
    for (name, path) in [(&good, dir.path()), (&blocked, closed.path())] {
        let path = path.to_str().expect("UTF-8");
        run("virsh", &["-q", "pool-create-as", name, "dir", "--target", path]);
    }
    run("chmod", &["755", dir.path().to_str().expect("UTF-8")]);

    let (code, diagnosis) = diagnose(&mut doctor(libvirtd::URI, &[]));
    assert_eq!((code, &diagnosis["ok"]), (Some(0), &Value::Bool(true)), "{diagnosis:#}");
    for name in ["libvirt", "qemu", "efi", "tpm", "qemu-img", "libguestfs"] {
        assert_eq!(check(&diagnosis, name, None)["health"], "ok", "{diagnosis:#}");
    }
    let found = check(&diagnosis, "libvirt", None)["found"].as_str().expect("text");
    assert!(found.contains("QEMU") && found.ends_with(libvirtd::URI), "{found}");
    let pool = check(&diagnosis, "storage-pool", Some(&good));
    assert_eq!(pool["health"], "ok", "{pool}");
    assert!(pool["found"].as_str().expect("text").contains("free"), "{pool}");
    let pool = check(&diagnosis, "storage-pool", Some(&blocked));
    assert_eq!(pool["health"], "warning", "{pool}");
    assert!(pool["remedy"].as_str().expect("text").contains("setfacl"), "{pool}");

    // Values of flags come first, and a missing one fails.
    let named = ["--libvirt-pool", &good];
    let (code, diagnosis) = diagnose_without_libguestfs(doctor(libvirtd::URI, &named));
    assert_eq!(code, Some(0), "{diagnosis:#}");
    let pools = diagnosis["checks"].as_array().expect("checks").iter();
    let first = pools.clone().find(|check| check["name"] == "storage-pool").expect("a pool");
    assert_eq!(first["about"], good, "{diagnosis:#}");
    let missing = ["--libvirt-pool", "no-such-pool", "--libvirt-bridge", "no-such-bridge"];
    let (code, diagnosis) = diagnose_without_libguestfs(doctor(libvirtd::URI, &missing));
    assert_eq!(code, Some(1), "{diagnosis:#}");
    let pool = check(&diagnosis, "storage-pool", Some("no-such-pool"));
    assert_eq!(pool["health"], "failed", "{pool}");
    let bridge = check(&diagnosis, "connection", Some("bridge no-such-bridge"));
    assert_eq!(bridge["health"], "failed", "{bridge}");
    for name in [good, blocked] {
        run("virsh", &["-q", "pool-destroy", &name]);
    }
}

#[test]
fn a_daemon_that_is_not_there_is_a_failure_with_the_remedy() {
    let absent = doctor("qemu+unix:///system?socket=/no/such/socket", &[]);
    let (code, diagnosis) = diagnose_without_libguestfs(absent);
    assert_eq!((code, &diagnosis["ok"]), (Some(1), &Value::Bool(false)));
    let libvirt = check(&diagnosis, "libvirt", None);
    assert_eq!(libvirt["health"], "failed");
    assert!(libvirt["remedy"].as_str().expect("text").contains("libvirtd"), "{libvirt}");
}
