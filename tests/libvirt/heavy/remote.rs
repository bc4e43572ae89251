//! libvirt over qemu+ssh, through a real sshd on loopback.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::import::{Setup, allocated, assert_same, chain, content, small_file_system};
use crate::support::libvirtd;
use crate::support::sshd::Sshd;
use hyperexport::domain::UserNetwork;
use hyperexport::libvirt::{Connection, Error, Journal, Settings, Transfer};
use hyperexport::model::{DiskFormat, Hint, Sha256Digest};
use hyperexport::progress::{Event, Progress};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn the_whole_import_goes_over_ssh() {
    let Some(sshd) = Sshd::start() else { return };
    let Some(mut setup) = Setup::at(&sshd.open_uri(), Transfer::Auto).await else { return };
    setup.add_disk(DiskFormat::Raw);
    setup.autostart = true;
    setup.target.preflight(&setup.request()).await.expect("nothing to refuse");
    setup.target.test_define(&setup.request()).await.expect("nothing to refuse");
    let defined = setup.import().await.expect("imports");
    assert_eq!(defined.uri, sshd.open_uri());
    libvirtd::validate(&defined.xml);
    for (disk, volume) in setup.disks.0.iter().zip(&defined.volumes) {
        assert_same(&disk.path, Path::new(&volume.path), disk.format);
        let (ours, theirs) = (allocated(&disk.path), allocated(Path::new(&volume.path)));
        assert!(theirs <= ours + (1 << 20), "holes have become data: {theirs} of {ours}");
    }
    let domain = libvirtd::connect().lookup_domain_by_uuid_string(&defined.uuid).expect("there");
    assert!(domain.autostart().expect("known"));
    assert!(sshd.arguments().contains("BatchMode=yes"), "{}", sshd.arguments());
    let taken = setup.target.take_back(&defined.undo).await.expect("can be taken back");
    assert_eq!(taken.left, [""; 0]);
    setup.assert_nothing_left();
}

#[tokio::test]
async fn what_a_host_can_do_is_the_same_from_afar() {
    let Some(sshd) = Sshd::start() else { return };
    let Some(far) = Setup::at(&sshd.open_uri(), Transfer::Auto).await else { return };
    let near = Setup::new().await.expect("the same daemon");
    assert_eq!(far.host.kvm_runs, near.host.kvm_runs, "KVM is proved in both ways");
    // passt can be detected only on the local machine.
    let platforms = |setup: &Setup| {
        let mut platforms = setup.host.platforms.clone();
        for platform in &mut platforms {
            platform.user_networks.retain(|network| *network != UserNetwork::Passt);
        }
        platforms
    };
    assert_eq!(platforms(&far), platforms(&near));
}

#[tokio::test]
async fn what_was_sent_is_read_back_and_its_sum_told() {
    let Some(sshd) = Sshd::start() else { return };
    let uri = sshd.open_uri();
    let Some(mut setup) = Setup::at(&uri, Transfer::Auto).await else { return };
    let settings = Settings { uri, verify: true, ..Settings::default() };
    setup.target = Connection::connect(&settings).await.expect("connects");
    let defined = setup.import().await.expect("imports");
    let bytes = std::fs::read(&setup.disks.0[0].path).expect("read");
    let sum: [u8; 32] = Sha256::digest(&bytes).into();
    assert_eq!(defined.volumes[0].sha256.expect("it was asked for").0, sum);
    let left = content(&setup.disks.0[0]);
    assert_eq!(defined.volumes[0].content, Some(left));
    setup.target.take_back(&defined.undo).await.expect("can be taken back");

    // A disk that differs from the conversion's result is not defined as a domain.
    setup.disks.0[0].content = Some(left);
    setup.import().await.expect("it is that");
    let other = setup.names.name("other");
    setup.options.name = Some(other);
    setup.disks.0[0].content = Some(Sha256Digest([7; 32]));
    let error = chain(&setup.import().await.expect_err("it is not that"));
    assert!(error.contains(&left.to_string()), "{error}");
}

#[tokio::test]
async fn a_refused_login_says_what_to_type() {
    if !tokio::task::spawn_blocking(libvirtd::available).await.expect("no panic") {
        return;
    }
    let Some(sshd) = Sshd::start() else { return };
    let port = sshd.port;
    let login = |key: &str, known: &str| {
        let at = |name: &str| sshd.dir.path().join(name).display().to_string();
        (at(&format!("ssh-{known}")), format!("-i {} -p {port} root@127.0.0.1", at(key)))
    };
    let (wrapper, arguments) = login("user", "nobody");
    let known = format!("'{wrapper} {arguments} true'");
    let (_, stranger) = login("stranger", "known");
    let key = format!("ssh-copy-id {stranger}");
    let settings = |uri: String| Settings { uri, ..Settings::default() };
    let library = format!(
        "qemu+libssh://root@127.0.0.1:{port}/system?known_hosts={}",
        sshd.dir.path().join("nobody").display()
    );
    for (uri, command) in [
        (sshd.uri("user", "nobody"), known.as_str()),
        (sshd.uri("stranger", "known"), key.as_str()),
        (sshd.open_uri() + "&netcat=hxt-no-nc", "proxy=native"),
        (
            format!("qemu+ssh://127.0.0.1:{port}/system?command=/no/such/ssh"),
            "install /no/such/ssh",
        ),
        (library, "qemu+ssh://"),
        ("qemu+ssh://hxt-no-such-host.invalid/system".to_owned(), "getent hosts hxt-no-such-host"),
        ("qemu+tcp://hxt-no-such-host.invalid/system".to_owned(), "getent hosts hxt-no-such-host"),
    ] {
        let error = Connection::connect(&settings(uri)).await.expect_err("refused");
        assert!(matches!(error, Error::Rejected { .. }), "{}", chain(&error));
        let hint = error.hint().expect("a hint");
        assert!(hint.contains(command), "no '{command}' in '{hint}': {}", chain(&error));
    }
    for uri in [
        sshd.open_uri() + "&socket=/no/such/socket&proxy=native",
        "qemu+ssh://127.0.0.1:1/system".to_owned(),
        "qemu+tcp://127.0.0.1:1/system".to_owned(),
        "qemu+libssh2://127.0.0.1:1/system".to_owned(),
    ] {
        let error = Connection::connect(&settings(uri)).await.expect_err("nobody there");
        assert!(matches!(error, Error::Unreachable { .. }), "{}", chain(&error));
        assert!(error.hint().is_some());
    }
}

/// A setup over ssh with a slow disk, and an import that is interrupted in the middle.
async fn disturbed(signal: Signal) -> Option<(Sshd, Setup, Error, Duration)> {
    let sshd = Sshd::start()?;
    let mut setup = Setup::at(&sshd.open_uri(), Transfer::Auto).await?;
    setup.disks.0[0].path = setup.dir.path().join("large.raw");
    setup.disks.0[0].format = DiskFormat::Raw;
    large(&setup.disks.0[0].path);
    setup.disks.0[0].capacity = hyperexport::model::ByteSize(LARGE);
    let pids = sshd.clients();
    let (done, begun) = (AtomicBool::new(false), Instant::now());
    let hurt = Arc::new(move |event| {
        let half = matches!(event, Event::TaskAdvanced { position, .. } if position > LARGE / 8);
        if half && !done.swap(true, Ordering::Relaxed) {
            for pid in &pids {
                kill(Pid::from_raw(*pid), signal).expect("it lives");
            }
        }
    });
    let progress = Progress::new(move |event| hurt(event));
    let cancel = CancellationToken::new();
    let import = setup.target.import(&setup.request(), &Journal::none(), &progress, &cancel).await;
    let error = import.expect_err("the connection broke");
    Some((sshd, setup, error, begun.elapsed()))
}

const LARGE: u64 = 256 << 20;

/// Writes random bytes, so that the upload takes time.
fn large(path: &Path) {
    let mut bytes =
        std::io::Read::take(std::fs::File::open("/dev/urandom").expect("opened"), LARGE);
    std::io::copy(&mut bytes, &mut std::fs::File::create(path).expect("created")).expect("copied");
}

#[tokio::test]
async fn a_connection_that_breaks_in_an_upload_is_told_and_nothing_is_left() {
    let Some((_sshd, setup, error, _)) = disturbed(Signal::SIGKILL).await else { return };
    assert!(matches!(error, Error::ConnectionLost { .. }), "{}", chain(&error));
    assert!(error.hint().expect("a hint").contains("run the same command again"));
    setup.assert_nothing_left();
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_given_up_and_nothing_is_left() {
    let Some((_sshd, setup, error, took)) = disturbed(Signal::SIGSTOP).await else { return };
    assert!(matches!(error, Error::ConnectionLost { .. }), "{}", chain(&error));
    assert!(took < Duration::from_secs(120), "{took:?}");
    setup.assert_nothing_left();
}

#[tokio::test]
async fn a_pool_without_room_is_refused_before_a_byte_is_sent() {
    let Some(sshd) = Sshd::start() else { return };
    let Some(mut setup) = Setup::at(&sshd.open_uri(), Transfer::Auto).await else { return };
    let Some(_mount) = small_file_system(&setup) else { return };
    setup.disks.0[0].path = setup.dir.path().join("large.raw");
    setup.disks.0[0].format = DiskFormat::Raw;
    large(&setup.disks.0[0].path);
    setup.disks.0[0].capacity = hyperexport::model::ByteSize(LARGE);
    let pool = setup.make_pool();
    pool.create(0).expect("started");
    let error = setup.import().await.expect_err("no room");
    assert!(matches!(error, Error::NoSpace { .. }), "{}", chain(&error));
    assert_eq!(setup.names.domains(), [""; 0]);
    assert_eq!(pool.list_all_volumes(0).expect("listed").len(), 1, "lost+found alone");
    pool.destroy().expect("stopped");
}
