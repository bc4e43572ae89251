//! libvirt's other transports: TCP, TLS with certificates on both sides, and a user session.

use std::path::Path;

use crate::support::daemon::{Daemon, free_port};
use crate::support::import::{Setup, assert_same, chain, open_folder, run};
use hyperexport::domain::NetworkMap;
use hyperexport::libvirt::{Connection, Error, Settings, Transfer};
use hyperexport::model::Hint;
use tempfile::TempDir;

/// A complete import by way of `uri`, and its undoing.
async fn comes_and_goes(setup: &mut Setup, uri: &str) {
    let settings = Settings { uri: uri.to_owned(), ..Settings::default() };
    // None of these daemons has networks, and a user may not join bridges.
    let none = "*=none".parse().expect("a mapping");
    setup.options.network_map = NetworkMap::new(vec![none]).expect("a map");
    setup.target = Connection::connect(&settings).await.unwrap_or_else(|e| panic!("{}", chain(&e)));
    setup.host = setup.target.capabilities().await.expect("the daemon knows");
    let defined = setup.import().await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(defined.uri, uri);
    let disk = &setup.disks.0[0];
    assert_same(&disk.path, Path::new(&defined.volumes[0].path), disk.format);
    let taken = setup.target.take_back(&defined.undo).await.expect("can be taken back");
    assert_eq!(taken.left, [""; 0]);
    assert!(!setup.pool_dir().exists(), "files are left");
}

#[tokio::test]
async fn an_import_goes_over_tcp() {
    let port = free_port();
    let configuration = format!(
        "listen_tcp = 1\nlisten_tls = 0\nauth_tcp = \"none\"\nlisten_addr = \"127.0.0.1\"\n\
         tcp_port = \"{port}\"\n"
    );
    let Some(mut setup) = Setup::with(Transfer::Auto).await else { return };
    let Some(_daemon) = Daemon::start(&configuration) else { return };
    comes_and_goes(&mut setup, &format!("qemu+tcp://127.0.0.1:{port}/system")).await;
}

/// A certificate authority with certificates for a server on the loopback and for its client; and
/// another, untrusted authority.
fn certificates() -> TempDir {
    let dir = open_folder();
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(at("extensions"), "subjectAltName=IP:127.0.0.1\n").expect("written");
    for authority in ["ca", "stranger"] {
        run(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                &format!("/CN={authority}"),
                "-days",
                "2",
                "-keyout",
                &at(&format!("{authority}key.pem")),
                "-out",
                &at(&format!("{authority}cert.pem")),
            ],
        );
    }
    for name in ["server", "client"] {
        let (key, request) = (at(&format!("{name}key.pem")), at("request"));
        run(
            "openssl",
            &[
                "req",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                &format!("/CN={name}"),
                "-keyout",
                &key,
                "-out",
                &request,
            ],
        );
        run(
            "openssl",
            &[
                "x509",
                "-req",
                "-in",
                &request,
                "-CA",
                &at("cacert.pem"),
                "-CAkey",
                &at("cakey.pem"),
                "-CAcreateserial",
                "-days",
                "2",
                "-extfile",
                &at("extensions"),
                "-out",
                &at(&format!("{name}cert.pem")),
            ],
        );
    }
    dir
}

#[tokio::test]
async fn an_import_goes_over_tls_to_a_host_that_is_known() {
    let port = free_port();
    let configuration = format!(
        "listen_tcp = 0\nlisten_tls = 1\nlisten_addr = \"127.0.0.1\"\ntls_port = \"{port}\"\n\
         key_file = \"DIR/serverkey.pem\"\ncert_file = \"DIR/servercert.pem\"\n\
         ca_file = \"DIR/cacert.pem\"\nauth_tls = \"none\"\n"
    );
    let Some(mut setup) = Setup::with(Transfer::Auto).await else { return };
    let Some(daemon) = Daemon::in_folder(certificates(), &configuration) else { return };
    let own = daemon.dir.path();
    let uri = |pki: &Path| format!("qemu://127.0.0.1:{port}/system?pkipath={}", pki.display());
    comes_and_goes(&mut setup, &uri(own)).await;

    let distrustful = tempfile::tempdir().expect("a folder");
    for (from, to) in [
        ("strangercert.pem", "cacert.pem"),
        ("clientcert.pem", "clientcert.pem"),
        ("clientkey.pem", "clientkey.pem"),
    ] {
        std::fs::copy(own.join(from), distrustful.path().join(to)).expect("copied");
    }
    let settings = Settings { uri: uri(distrustful.path()), ..Settings::default() };
    let error = Connection::connect(&settings).await.expect_err("the host is not known");
    assert!(matches!(error, Error::Rejected { .. }), "{}", chain(&error));
    let hint = error.hint().expect("a hint");
    assert!(hint.contains("cacert.pem"), "no word of the authority in '{hint}': {}", chain(&error));
}

#[tokio::test]
async fn a_session_of_the_user_s_own_takes_a_vm() {
    let Some(mut setup) = Setup::with(Transfer::Auto).await else { return };
    comes_and_goes(&mut setup, "qemu:///session").await;
}
