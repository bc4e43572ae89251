//! Inputs that cost time: the user can interrupt them, and times beyond the clock's range are
//! rejected.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::Header;

use crate::support::files::{Desk, Ovf};
use crate::support::job::Ended;

/// Zeros of one gzip stream, and number of concatenated streams: hours for a debug build.
const STREAM: usize = 64 << 20;
const STREAMS: usize = 2000;
/// Timeout for operations that take a second.
const PATIENCE: Duration = Duration::from_secs(60);

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::best());
    out.write_all(bytes).expect("packed");
    out.finish().expect("packed")
}

/// Header of a member, and its bytes up to the next one.
fn member(name: &str, size: u64, bytes: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_path(name).expect("fits");
    header.set_size(size);
    header.set_cksum();
    let mut member = [header.as_bytes(), bytes].concat();
    member.resize(member.len().next_multiple_of(512), 0);
    member
}

#[test]
fn a_bomb_that_is_passed_over_ends_with_the_run() {
    let desk = Desk::new();
    let ovf = Ovf::one("disk1.vmdk", 4).text();
    let mut file = File::create(desk.path("vm.ova")).expect("created");
    let size = (STREAM * STREAMS) as u64;
    let begin = [member("vm.ovf", ovf.len() as u64, ovf.as_bytes()), member("junk", size, b"")];
    file.write_all(&packed(&begin.concat())).expect("written");
    let zeros = packed(&vec![0; STREAM]);
    (0..STREAMS).for_each(|_| file.write_all(&zeros).expect("written"));
    let mut command = desk.command(&["--source", "vm.ova", "--output", "out", "--manifest"]);
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let begun = Instant::now();
    while desk.files("out").iter().all(|name| !name.ends_with(".part")) {
        assert!(begun.elapsed() < PATIENCE, "it does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(run.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("signalled");
    let begun = Instant::now();
    while run.try_wait().expect("waited").is_none() {
        assert!(begun.elapsed() < PATIENCE, "it goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = Ended::from(run.wait_with_output().expect("it ended"));
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(desk.files("out").is_empty(), "{:?}", desk.files("out"));
}

#[test]
fn durations_beyond_the_clock_are_refused() {
    for flag in
        ["--pipeline-timeout", "--shutdown-timeout", "--wait-timeout", "--boot-proof-timeout"]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyperexport"));
        command.args(["--source", "none.qcow2", flag, "584542000000y"]);
        let ended = Ended::from(command.output().expect("it runs"));
        assert_eq!(ended.code, Some(2), "{flag}: {}", ended.stderr);
    }
}
