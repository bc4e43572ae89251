//! A daemon that dies between two steps of an import and comes back: a clear error, nothing
//! half-made, and the next import succeeds. The daemon is the test's own, with folders of its own.

mod support;

use std::sync::{Arc, Mutex};

use hyperexport::libvirt::{DefinedDomain, Error, Journal, Settings, Target};
use hyperexport::model::DiskFormat;
use hyperexport::progress::Progress;
use support::daemon::Daemon;
use support::import::{Setup, chain};
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
        setup.target = Target::connect(&settings).await.expect("answers");
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
            // Pool, two copies with a step before and after they have their names, domain, the
            // two files of the snapshot and itself: it died at each, and now at none.
            assert_eq!(crash_at, 9, "{steps:?}");
            take_back(&settings, &end.expect("nothing disturbs it")).await;
        }
        assert_nothing_left(&daemon, &setup, &steps);
        if steps.len() == crash_at {
            break;
        }
        setup.target = Target::connect(&settings).await.expect("answers");
        take_back(&settings, &setup.import().await.expect("imports the next time")).await;
        assert_nothing_left(&daemon, &setup, &steps);
    }
}

async fn take_back(settings: &Settings, defined: &DefinedDomain) {
    let target = Target::connect(settings).await.expect("answers");
    let taken = target.take_back(&defined.undo).await.expect("can be taken back");
    assert_eq!(taken.left, [""; 0]);
}

fn assert_nothing_left(daemon: &Daemon, setup: &Setup, steps: &[String]) {
    let prefix = setup.options.name.as_deref().and_then(|name| name.strip_suffix("-vm"));
    assert_eq!(daemon.names(prefix.expect("ours")), [""; 0], "{steps:?}");
    assert!(!setup.pool_dir().exists(), "files are left: {steps:?}");
}
