//! A daemon that crashes between two steps of an import and restarts: a clear error, nothing
//! half-made, and the next import succeeds. The daemon is private, with its own folders.

use std::sync::{Arc, Mutex};

use crate::support::daemon::Daemon;
use crate::support::import::{Setup, chain, small_file_system};
use hyperexport::libvirt::{Connection, DefinedDomain, Error, Journal, Settings, Transfer};
use hyperexport::model::{ByteSize, DiskFormat, Hint};
use hyperexport::progress::{Event, Progress};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_between_two_steps_leaves_nothing_half_made() {
    let Some(mut setup) = Setup::new().await else { return };
    let Some(daemon) = Daemon::start("").map(Arc::new) else {
        return;
    };
    setup.add_disk(DiskFormat::Raw);
    setup.autostart = true;
    setup.after.snapshot = Some("came".to_owned());
    let settings = Settings { uri: daemon.uri(), ..Settings::default() };
    for crash_at in 0.. {
        setup.target = Connection::connect(&settings).await.expect("answers");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (noted, mortal) = (Arc::clone(&seen), Arc::clone(&daemon));
        let journal = Journal::new(move |step| {
            let mut noted = noted.lock().expect("whole");
            noted.push(step.to_string());
            if noted.len() == crash_at + 1 {
                mortal.crash();
            }
            Ok(())
        });
        let (progress, cancel) = (Progress::none(), CancellationToken::new());
        let end = setup.target.import(&setup.request(), &journal, &progress, &cancel).await;
        let steps = seen.lock().expect("whole").clone();
        if steps.len() > crash_at {
            let error = end.expect_err("the daemon died");
            let said = chain(&error);
            assert!(matches!(error, Error::ConnectionLost { .. }), "{steps:?}: {said}");
            assert!(said.contains(&daemon.uri()) && error.hint().is_some(), "{said}");
        } else {
            // The daemon crashed at each step, and no longer at any: the pool, two copies with a
            // step before and after their final names. Then the disks before the definition, the
            // domain, the two files of the snapshot, and the snapshot.
            assert_eq!(crash_at, 10, "{steps:?}");
            take_back(&settings, &end.expect("nothing disturbs it")).await;
        }
        assert_nothing_left(&daemon, &setup, &steps);
        if steps.len() == crash_at {
            break;
        }
        setup.target = Connection::connect(&settings).await.expect("answers");
        take_back(&settings, &setup.import().await.expect("imports the next time")).await;
        assert_nothing_left(&daemon, &setup, &steps);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_fills_up_in_an_upload_is_told_and_nothing_stays() {
    const LARGE: u64 = 32 << 20;
    let Some(mut setup) = Setup::with(Transfer::Stream).await else { return };
    let Some(_mount) = small_file_system(&setup) else { return };
    let Some(daemon) = Daemon::start("") else { return };
    let settings =
        Settings { uri: daemon.uri(), transfer: Transfer::Stream, ..Settings::default() };
    setup.target = Connection::connect(&settings).await.expect("answers");
    let image = setup.dir.path().join("large.raw");
    let bytes: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
    std::fs::write(&image, bytes).expect("written");
    let disk = &mut setup.disks.0[0];
    (disk.path, disk.format, disk.capacity) = (image, DiskFormat::Raw, ByteSize(LARGE));

    // Another program uses up the space as soon as the first bytes have arrived.
    let theirs = setup.pool_dir().join("theirs");
    let taker = theirs.clone();
    let progress = Progress::new(move |event| {
        if matches!(event, Event::TaskAdvanced { position, .. } if position > 0) && !taker.exists()
        {
            let rest = std::fs::write(&taker, vec![1; 64 << 20]);
            assert!(rest.is_err(), "the file system is full now");
        }
    });
    let steps = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&steps);
    let journal = Journal::new(move |step| {
        noted.lock().expect("whole").push(step.clone());
        Ok(())
    });
    let cancel = CancellationToken::new();
    let end = setup.target.import(&setup.request(), &journal, &progress, &cancel).await;
    let error = end.expect_err("there is no room");
    assert!(theirs.exists(), "it failed before: {}", chain(&error));
    assert!(error.hint().is_some(), "{}", chain(&error));

    // Its libvirtd may have crashed, too: the next run undoes the rest.
    daemon.crash();
    setup.target = Connection::connect(&settings).await.expect("answers");
    let steps = steps.lock().expect("whole").clone();
    let taken = setup.target.take_back(&steps).await.expect("can be taken back");
    let left: Vec<_> = std::fs::read_dir(setup.pool_dir()).expect("the folder").flatten().collect();
    let foreign = |name: &std::ffi::OsStr| name == "theirs" || name == "lost+found";
    assert!(left.iter().all(|entry| foreign(&entry.file_name())), "{left:?}");
    // The pool contains a foreign file, so it stays.
    assert!(taken.left.iter().all(|what| what.starts_with("storage pool")), "{:?}", taken.left);
    std::fs::remove_file(theirs).expect("removed");
    let defined = setup.import().await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    take_back(&settings, &defined).await;
}

async fn take_back(settings: &Settings, defined: &DefinedDomain) {
    let target = Connection::connect(settings).await.expect("answers");
    let taken = target.take_back(&defined.undo).await.expect("can be taken back");
    assert_eq!(taken.left, [""; 0]);
}

fn assert_nothing_left(daemon: &Daemon, setup: &Setup, steps: &[String]) {
    let prefix = setup.options.name.as_deref().and_then(|name| name.strip_suffix("-vm"));
    assert_eq!(daemon.names(prefix.expect("ours")), [""; 0], "{steps:?}");
    assert!(!setup.pool_dir().exists(), "files are left: {steps:?}");
}
