//! A daemon that dies between two steps of an import and comes back: a clear error, nothing
//! half-made, and the next import succeeds. The daemon is the test's own, with folders of its own.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyperexport::libvirt::{DefinedDomain, Error, Journal, Settings, Target};
use hyperexport::model::DiskFormat;
use hyperexport::progress::Progress;
use support::import::{Setup, chain};
use support::libvirtd;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use virt::connect::Connect;

/// A libvirtd whose state, configuration and sockets are its own.
struct Daemon {
    dir: TempDir,
    child: Mutex<Child>,
}

impl Daemon {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a folder");
        for sub in ["run", "lib", "etc", "sock"] {
            fs::create_dir(dir.path().join(sub)).expect("made");
        }
        let sock = dir.path().join("sock");
        let conf = format!("unix_sock_dir = \"{}\"\nauth_unix_rw = \"none\"\n", sock.display());
        fs::write(dir.path().join("libvirtd.conf"), conf).expect("written");
        fs::write(dir.path().join("etc/qemu.conf"), "stdio_handler = \"file\"\n").expect("written");
        let child = Mutex::new(start(dir.path()));
        let daemon = Self { dir, child };
        if daemon.answers() { Some(daemon) } else { None }
    }

    fn uri(&self) -> String {
        format!("qemu:///system?socket={}/sock/libvirt-sock", self.dir.path().display())
    }

    fn answers(&self) -> bool {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if Connect::open(Some(&self.uri())).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    /// Kills it at once and starts it again.
    fn crash(&self) {
        let mut child = self.child.lock().expect("whole");
        child.kill().expect("it lives");
        child.wait().expect("it is dead");
        *child = start(self.dir.path());
        drop(child);
        assert!(self.answers(), "it did not come back");
    }

    fn names(&self, prefix: &str) -> Vec<String> {
        let connect = Connect::open(Some(&self.uri())).expect("answers");
        let domains = connect.list_all_domains(0).expect("lists");
        let pools = connect.list_all_storage_pools(0).expect("lists");
        let domains = domains.iter().map(|domain| domain.name().expect("named"));
        let names = domains.chain(pools.iter().map(|pool| pool.name().expect("named")));
        names.filter(|name| name.starts_with(prefix)).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let child = self.child.get_mut().expect("whole");
        child.kill().expect("it lives");
        child.wait().expect("it is dead");
    }
}

fn start(dir: &Path) -> Child {
    let script = "mount --make-rprivate / && mount --bind $0/run /run/libvirt && \
        mount --bind $0/lib /var/lib/libvirt && mount --bind $0/etc /etc/libvirt && \
        exec libvirtd -f $0/libvirtd.conf -p $0/run/own.pid 2>>$0/log";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).arg(dir);
    command.spawn().expect("unshare is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_between_two_steps_leaves_nothing_half_made() {
    let Some(mut setup) = Setup::new().await else { return };
    let Some(daemon) = Daemon::new().map(Arc::new) else {
        return libvirtd::skip("no libvirtd of its own can be started (root and unshare)");
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
