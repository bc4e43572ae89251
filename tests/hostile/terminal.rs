//! Output of the program: foreign names and lines neither control the terminal nor imitate our own
//! lines. A terminal that is closed, disconnected or stuck does not change a run's result.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::files::{Desk, Form, Ovf, pack, packed};
use crate::support::job::Ended;

/// Characters of foreign text that must never reach a terminal.
fn steers(c: char) -> bool {
    (c.is_control() && c != '\n') || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn assert_clean(what: &str, ended: &Ended) {
    for text in [&ended.stdout, &ended.stderr] {
        assert!(!text.contains(steers), "{what}: {text:?}");
        for line in text.lines() {
            assert!(!line.trim_start().starts_with("error: fake"), "{what}: {text:?}");
        }
    }
}

/// A VMX beside its disk, with this line for its name.
fn vmx(desk: &Desk, name: &str) {
    let raw = desk.raw("disk.raw", 2);
    desk.image(&raw, "vm/d.vmdk", "vmdk", &["subformat=monolithicSparse"]);
    let text = format!(
        ".encoding = \"UTF-8\"\ndisplayName = \"{name}\"\nguestOS = \"debian12-64\"\n\
         memSize = \"512\"\nvirtualHW.version = \"19\"\nscsi0.present = \"TRUE\"\n\
         scsi0.virtualDev = \"pvscsi\"\nscsi0:0.present = \"TRUE\"\n\
         scsi0:0.fileName = \"d.vmdk\"\nethernet0.present = \"TRUE\"\n\
         ethernet0.address = \"00:50:56:aa:bb:01\"\n\
         ethernet0.networkName = \"net|1B[31m|0Aerror: fake net\"\n"
    );
    std::fs::write(desk.path("vm/vm.vmx"), text).expect("written");
}

#[test]
fn a_name_with_control_characters_is_shown_and_not_obeyed() {
    for name in [
        "evil|1B]0;PWNED|07|1B[2J|0Aerror: fake line",
        "evil\u{9b}31m\u{202e}gpj\u{2028}error: fake|0D|0Aerror: fake",
        "evil\u{85}error: fake|7F\u{2066}",
    ] {
        let desk = Desk::new();
        vmx(&desk, name);
        for args in [
            &["info", "--source", "vm/vm.vmx"][..],
            &["list", "--source", "vm/vm.vmx"],
            &["--source", "vm/vm.vmx", "--output", "out", "--dry-run"],
            &["--source", "vm/vm.vmx", "--output", "out", "--manifest", "-vvv"],
        ] {
            let ended = desk.run(args);
            assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
            assert_clean(&format!("{name:?} {args:?}"), &ended);
        }
        let listed = desk.run(&["list", "--source", "vm/vm.vmx"]).stdout;
        assert_eq!(listed.lines().count(), 2, "one line a VM: {listed}");
        let info = desk.run(&["info", "--source", "vm/vm.vmx", "--json"]);
        assert_clean("--json", &info);
        let shown = info.json["vm"]["name"].as_str().expect("a name");
        assert!(shown.starts_with("evil") && !shown.contains('\n'), "{shown:?}");
        assert_eq!(shown.contains('\u{1b}'), name.contains("|1B"), "{shown:?}");
        assert_eq!(shown.contains('\u{9b}'), name.contains('\u{9b}'), "{shown:?}");
        let network = info.json["vm"]["nics"][0]["network"].as_str().expect("a network");
        assert_eq!(network, "net\u{1b}[31m\nerror: fake net");
    }
}

#[test]
fn a_package_with_control_characters_is_shown_and_not_obeyed() {
    let escapes = "\u{1b}[31m&#27;]0;x&#7;\n&#10;error: fake&#x9b;";
    let sums = "SHA256(\u{1b}[2Jvm.ovf)= nonsense\u{9b}31m\rerror: fake\n";
    let member = "a\u{1b}[2J\nerror: fake.vmdk";
    for (what, ovf, sums, name) in [
        (
            "name",
            Ovf::one("disk1.vmdk", 4).text().replace("web &lt;01&gt;", escapes),
            "",
            "disk1.vmdk",
        ),
        ("checksums", Ovf::one("disk1.vmdk", 4).text(), sums, "disk1.vmdk"),
        ("member", Ovf::one("disk1.vmdk", 4).text(), "", member),
        ("reference", Ovf::one("d&#27;[2J&#10;error: fake.vmdk", 4).text(), "", "disk1.vmdk"),
    ] {
        for form in [Form::Tar, Form::Folder] {
            let desk = Desk::new();
            let raw = desk.raw("disk.raw", 4);
            let vmdk = desk.image(&raw, "disk.vmdk", "vmdk", &["subformat=streamOptimized"]);
            let vmdk = std::fs::read(vmdk).expect("readable");
            let mut files = vec![packed("vm.ovf", ovf.as_str()), packed(name, vmdk)];
            if !sums.is_empty() {
                files.push(packed("vm.mf", sums));
            }
            let source = pack(&desk, form, &files);
            let source = source.to_str().expect("UTF-8");
            for args in [
                &["info", "--source", source][..],
                &["--source", source, "--output", "out", "--manifest", "-vv"],
            ] {
                assert_clean(&format!("{what} {form:?}"), &desk.run(args));
            }
        }
    }
}

#[test]
fn a_command_line_with_control_characters_is_shown_and_not_obeyed() {
    let desk = Desk::new();
    let bare = |text: &str| {
        let ended = desk.run(&["info", "--source", text]);
        assert_ne!(ended.code, Some(0));
        assert!(!ended.stderr.contains(steers), "{:?}", ended.stderr);
        ended
    };
    bare("none\u{1b}[2J.ova");
    let ended = bare("none\nerror: fake.ova");
    assert!(!ended.stderr.lines().any(|line| line.starts_with("error: fake")), "{}", ended.stderr);
    let ended = desk.run(&["--no-such\u{1b}[2J\u{9b}flag"]);
    assert_eq!(ended.code, Some(2));
    assert!(!ended.stderr.contains(steers), "{:?}", ended.stderr);
}

/// Runs the command with a closed pipe as standard output.
fn without_reader(command: &mut Command) -> Ended {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("UTF-8");
    let code = child.wait().expect("it ends").code();
    Ended { code, json: Value::Null, stdout: String::new(), stderr: said }
}

#[test]
fn a_reader_who_has_left_changes_nothing() {
    let desk = Desk::new();
    vmx(&desk, "web");
    for args in [
        &["list", "--source", "vm/vm.vmx"][..],
        &["info", "--source", "vm/vm.vmx"],
        &["info", "--source", "vm/vm.vmx", "--json"],
        &["--help"],
        &["--source", "vm/vm.vmx", "--output", "out", "--manifest", "--json", "--quiet"],
    ] {
        let ended = without_reader(&mut desk.command(args));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args:?}");
    }
    assert!(desk.path("out/manifest.json").is_file());
    let mut command = desk.command(&["info", "--source", "none.vmx"]);
    assert_eq!(without_reader(&mut command).code, Some(1), "an error stays one");
}

#[test]
fn an_output_that_takes_nothing_does_not_change_how_a_run_ends() {
    let desk = Desk::new();
    vmx(&desk, "web");
    let full = || std::fs::File::options().write(true).open("/dev/full").expect("opened");
    let run = ["--source", "vm/vm.vmx", "--output", "out", "--manifest"];
    let mut command = desk.command(&[&run[..], &["-vvv"]].concat());
    let status = command.stdout(full()).stderr(full()).status().expect("it runs");
    assert_eq!(status.code(), Some(0));
    assert!(desk.path("out/manifest.json").is_file());
    let list = ["list", "--source", "vm/vm.vmx"];
    let status = desk.command(&list).stdout(full()).stderr(full()).status().expect("it runs");
    assert_eq!(status.code(), Some(1), "a list is nothing but what it prints");
}

/// Waits for the exit code; a child that exceeds the time is killed.
fn wait(child: &mut Child, within: Duration) -> Option<i32> {
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().expect("asked") {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("killed");
    child.wait().expect("it is dead");
    None
}

/// A full pipe, so that every writer blocks.
fn full_pipe() -> (std::io::PipeReader, OwnedFd) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let writer = OwnedFd::from(writer);
    let flags = nix::fcntl::OFlag::O_NONBLOCK;
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(flags)).expect("set");
    while nix::unistd::write(&writer, &[b'x'; 4096]).is_ok() {}
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty()))
        .expect("set");
    (reader, writer)
}

/// The first line of output blocks the run's only thread.
#[test]
fn a_second_signal_ends_a_run_that_is_stuck() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT] {
        let desk = Desk::new();
        vmx(&desk, "web");
        let (_reader, writer) = full_pipe();
        let args = ["--source", "vm/vm.vmx", "--output", "out", "--manifest", "-vvv"];
        let mut command = desk.command(&args);
        let mut child =
            command.stdout(Stdio::null()).stderr(writer).spawn().expect("hyperexport runs");
        let pid = Pid::from_raw(child.id().cast_signed());
        std::thread::sleep(Duration::from_millis(500));
        kill(pid, signal).expect("it lives");
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(child.try_wait().expect("asked"), None, "{signal}: it was not stuck");
        // Repeated hangups do not force an immediate exit.
        kill(pid, Signal::SIGHUP).expect("it lives");
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(child.try_wait().expect("asked"), None, "{signal}: HUP ended it");
        kill(pid, signal).expect("it lives");
        assert_eq!(wait(&mut child, Duration::from_secs(5)), Some(130), "{signal}");
    }
}
