//! A private sshd on loopback, with its own host key and one user key.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::daemon::free_port;
use super::import::run;
use super::libvirtd;

pub struct Sshd {
    pub dir: TempDir,
    pub port: u16,
    daemon: Child,
}

impl Sshd {
    /// Starts the server; `None` if sshd is not installed.
    pub fn start() -> Option<Self> {
        if !PathBuf::from("/usr/sbin/sshd").exists() {
            libvirtd::skip("sshd (package openssh-server) is missing");
            return None;
        }
        // Chroot of sshd's unprivileged process; normally an init script creates it.
        fs::create_dir_all("/run/sshd").expect("tests of ssh run as root");
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name).display().to_string();
        for key in ["host", "user", "stranger"] {
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]);
        }
        let port = free_port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n",
            at("host"),
            at("user.pub"),
        );
        fs::write(at("config"), config).expect("written");
        let key = fs::read_to_string(at("host.pub")).expect("reads");
        fs::write(at("known"), format!("[127.0.0.1]:{port} {key}")).expect("written");
        let daemon = Command::new("/usr/sbin/sshd")
            .args(["-D", "-f", &at("config")])
            .stderr(Stdio::null())
            .spawn()
            .expect("sshd starts");
        let end = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "sshd does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(Self { dir, port, daemon })
    }

    /// A URI that logs in with the key of this name and trusts the hosts in this file. Its `ssh`
    /// logs its arguments to `arguments` and reads no file of the user.
    pub fn uri(&self, key: &str, known: &str) -> String {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let wrapper = at(&format!("ssh-{known}"));
        let script = format!(
            "#!/bin/sh\necho \"$@\" >> {0}\necho $$ >> {0}.pids\nexec ssh -F none -o IdentitiesOnly=yes \
             -o GlobalKnownHostsFile=/dev/null -o UserKnownHostsFile={1} \"$@\"\n",
            at("arguments"),
            at(known),
        );
        fs::write(&wrapper, script).expect("written");
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("set");
        let port = self.port;
        format!("qemu+ssh://root@127.0.0.1:{port}/system?keyfile={}&command={wrapper}", at(key))
    }

    /// A URI with which the login succeeds.
    pub fn open_uri(&self) -> String {
        self.uri("user", "known")
    }

    /// Process IDs of all started `ssh`, including those that have ended.
    pub fn clients(&self) -> Vec<i32> {
        let pids = fs::read_to_string(self.dir.path().join("arguments.pids"));
        pids.expect("ssh was called").lines().map(|pid| pid.parse().expect("a number")).collect()
    }

    /// Arguments of all calls of `ssh` so far.
    pub fn arguments(&self) -> String {
        fs::read_to_string(self.dir.path().join("arguments")).expect("ssh was called")
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        for end in [self.daemon.kill(), self.daemon.wait().map(|_| ())] {
            if let Err(error) = end {
                println!("end sshd: {error}");
            }
        }
    }
}
