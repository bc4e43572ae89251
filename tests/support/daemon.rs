//! A libvirtd with its own state, configuration and sockets. A test may kill it, let it listen on
//! ports, and give it other programs than the machine's.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use virt::connect::Connect;

use super::import::open_folder;
use super::libvirtd::skip;

/// A private libvirtd, which ends when this value is dropped.
pub struct Daemon {
    pub dir: TempDir,
    child: Mutex<Child>,
}

impl Daemon {
    /// Starts a daemon with further lines of `libvirtd.conf`, in which `DIR` stands for its folder.
    /// `None` if that is impossible. Files in `DIR/over` hide those of the machine at the same
    /// path, and programs in `DIR/bin` take precedence.
    pub fn start(configuration: &str) -> Option<Self> {
        Self::in_folder(open_folder(), configuration)
    }

    /// As [`Self::start`], in a folder that already contains files.
    pub fn in_folder(dir: TempDir, configuration: &str) -> Option<Self> {
        let at = |sub: &str| dir.path().join(sub);
        for sub in ["run", "lib", "etc", "sock", "over"] {
            fs::create_dir_all(at(sub)).expect("made");
        }
        let own = configuration.replace("DIR", dir.path().to_str().expect("UTF-8"));
        let sock = at("sock");
        let text =
            format!("unix_sock_dir = \"{}\"\nauth_unix_rw = \"none\"\n{own}", sock.display());
        fs::write(at("libvirtd.conf"), text).expect("written");
        fs::write(at("etc/qemu.conf"), "stdio_handler = \"file\"\n").expect("written");
        let child = Mutex::new(start(dir.path()));
        let daemon = Self { dir, child };
        if daemon.answers() {
            return Some(daemon);
        }
        skip("no libvirtd of its own can be started (root and unshare)");
        None
    }

    /// Connection URI of the daemon's own socket.
    pub fn uri(&self) -> String {
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

    /// Kills the daemon and starts it again.
    pub fn crash(&self) {
        let mut child = self.child.lock().expect("whole");
        child.kill().expect("it lives");
        child.wait().expect("it is dead");
        *child = start(self.dir.path());
        drop(child);
        assert!(self.answers(), "it did not come back");
    }

    /// Names of the daemon's domains and pools that start with `prefix`.
    pub fn names(&self, prefix: &str) -> Vec<String> {
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
    let script = "grep -q ^listen_ $0/libvirtd.conf && listen=-l; mount --make-rprivate / && mount --bind $0/run /run/libvirt && \
        mount --bind $0/lib /var/lib/libvirt && mount --bind $0/etc /etc/libvirt && \
        (cd $0/over && find . -type f) | while read f; do mount --bind $0/over/$f /$f; done && \
        PATH=$0/bin:$PATH exec libvirtd $listen -f $0/libvirtd.conf -p $0/run/own.pid 2>>$0/log";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).arg(dir);
    command.spawn().expect("unshare is there")
}

/// A loopback port that is not in use.
pub fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    free.local_addr().expect("bound").port()
}
