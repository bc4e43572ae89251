//! Replies of a server that is no vCenter.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::limited;
use crate::support::files::Desk;
use crate::support::job::Ended;

/// A server with one kind of reply; closing its standard input ends it.
struct Server {
    process: Child,
    port: String,
}

impl Server {
    fn start(desk: &Desk, kind: &str) -> Self {
        let pem = desk.path("server.pem");
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        openssl.args(["-nodes", "-subj", "/CN=localhost", "-days", "1"]);
        openssl.arg("-keyout").arg(&pem).arg("-out").arg(desk.path("certificate.pem"));
        assert!(openssl.stderr(Stdio::null()).status().expect("openssl runs").success());
        let certificate = std::fs::read(desk.path("certificate.pem")).expect("there");
        let both = [std::fs::read(&pem).expect("there"), certificate].concat();
        std::fs::write(&pem, both).expect("written");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile/replies.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(&pem).arg(kind).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("python3 runs");
        let mut port = String::new();
        let out = process.stdout.take().expect("its output");
        BufReader::new(out).read_line(&mut port).expect("its port");
        Self { process, port: port.trim().to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        drop(self.process.wait());
    }
}

#[test]
fn replies_are_not_trusted() {
    for (kind, said) in [
        ("endless", "it is longer than 64 MiB"),
        ("deep", "nested deeper than 100 levels"),
        ("entities", "unknown entity"),
        ("elements", "more than 1000000 elements"),
        ("pages", "more than 200000 objects on its pages"),
        ("cut", "it ends in the middle"),
        ("other", "invalid answer to RetrieveServiceContent"),
    ] {
        let desk = Desk::new();
        let server = Server::start(&desk, kind);
        std::fs::write(desk.path("password"), "secret").expect("written");
        let url = format!("https://127.0.0.1:{}/sdk", server.port);
        let login = ["--username", "u", "--password-file", "password", "--insecure"];
        let inner = desk.command(&[&["--url", &url, "--vm", "x"], &login[..]].concat());
        let ended = Ended::from(limited(&desk, &inner).output().expect("it runs"));
        assert_eq!(ended.code, Some(4), "{kind}: {}", ended.stderr);
        ended.said(said);
    }
}
