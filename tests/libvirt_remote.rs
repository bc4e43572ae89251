//! A host behind a real sshd: its login, its pool, its domain.

mod support;

use std::path::Path;

use hyperexport::libvirt::{Error, Settings, Target, Transfer};
use hyperexport::model::DiskFormat;
use support::import::{Setup, assert_same, chain};
use support::libvirtd;
use support::sshd::Sshd;

#[tokio::test]
async fn a_vm_goes_through_sshd_into_the_remote_pool() {
    let Some(sshd) = Sshd::start() else { return };
    let Some(mut setup) = Setup::at(&sshd.uri("user", "known"), Transfer::Auto).await else {
        return;
    };
    setup.add_disk(DiskFormat::Raw);
    setup.autostart = true;
    setup.target.preflight(&setup.request()).await.expect("nothing to refuse");
    let defined = setup.import().await.expect("imports");
    for (disk, volume) in setup.disks.0.iter().zip(&defined.volumes) {
        assert!(volume.created);
        assert_eq!(Path::new(&volume.path).parent(), Some(setup.pool_dir().as_path()));
        assert_same(&disk.path, Path::new(&volume.path), disk.format);
    }
    let name = setup.options.name.clone().expect("given");
    let domain = libvirtd::connect().lookup_domain_by_name(&name).expect("it is there");
    assert!(domain.autostart().expect("known"));
    assert!(sshd.arguments().contains("BatchMode=yes"), "{}", sshd.arguments());
}

#[tokio::test]
async fn a_refused_login_says_what_to_type() {
    if !tokio::task::spawn_blocking(libvirtd::available).await.expect("no panic") {
        return;
    }
    let Some(sshd) = Sshd::start() else { return };
    let port = sshd.port;
    for (key, known, command) in [
        ("user", "nobody", format!("ssh-keyscan -p {port} 127.0.0.1 >> ~/.ssh/known_hosts")),
        (
            "stranger",
            "known",
            format!(
                "ssh-copy-id -i {} -p {port} root@127.0.0.1",
                sshd.dir.path().join("stranger").display()
            ),
        ),
    ] {
        let settings = Settings { uri: sshd.uri(key, known), transfer: Transfer::Auto };
        let error = Target::connect(&settings).await.expect_err("refused");
        assert!(matches!(error, Error::Unreachable { .. }), "{}", chain(&error));
        let hint = error.hint().expect("a hint");
        assert!(hint.contains(&command), "no '{command}' in '{hint}': {}", chain(&error));
    }
}
