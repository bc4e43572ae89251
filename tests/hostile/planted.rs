//! State planted by others at the program's own paths: never trusted nor executed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::MEMORY_KIB;
use crate::support::files::Desk;
use crate::support::job::{Ended, read_json};
use crate::support::journal;
use serde_json::{Value, json};

/// User ID of `nobody`.
const NOBODY: u32 = 65534;
/// A conversion that needs only qemu-img.
pub const CONVERT: [&str; 5] =
    ["--pipeline", "--converter", "native", "--pipeline-fix=false", "--pipeline-inspect=false"];

/// Runs a command with little time and memory, so that a hanging or endless run is killed.
pub fn bounded(desk: &Desk, args: &[&str]) -> Ended {
    let inner = desk.command(args);
    let mut command = Command::new("sh");
    let limits = format!("ulimit -v {MEMORY_KIB}; exec timeout -s KILL 60 \"$@\"");
    command.args(["-c", &limits, "-"]).arg(inner.get_program()).args(inner.get_args());
    command.env_clear().current_dir(desk.dir.path()).stdin(Stdio::null());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", desk.dir.path());
    let ended = Ended::from(command.output().expect("it runs"));
    assert!(
        ended.code.is_some_and(|code| code < 100),
        "{args:?}: {:?} {}",
        ended.code,
        ended.stderr
    );
    ended
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A desk with an export of a raw disk in `out`.
pub fn exported() -> Desk {
    let desk = Desk::new();
    desk.raw("disk.raw", 4);
    let ended = export(&desk, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    desk
}

pub fn export(desk: &Desk, more: &[&str]) -> Ended {
    let args =
        ["--source", "disk.raw", "--memory", "1G", "--output", "out", "--manifest", "--json"];
    bounded(desk, &[&args[..], more].concat())
}

/// A function that replaces a file by something else.
pub type Plant = fn(&Path);

/// Every kind of replacement that is not our own regular file.
pub const PLANTS: [(&str, Plant); 5] = [
    ("a pipe", |path| {
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("made");
    }),
    ("a link", |path| {
        let real = path.with_file_name("elsewhere");
        fs::write(&real, "{}").expect("written");
        symlink(real, path).expect("linked");
    }),
    ("a device", |path| symlink("/dev/zero", path).expect("linked")),
    ("of another user", |path| {
        fs::write(path, "{}").expect("written");
        chown(path, Some(NOBODY), None).expect("chown");
    }),
    ("endless", |path| {
        fs::File::create(path).and_then(|file| file.set_len(1 << 40)).expect("made");
    }),
];

/// All files of an output directory that control a later run.
const STATE: [&str; 6] = [
    ".hyperexport-run",
    ".hyperexport-undo",
    "result.json",
    "manifest.json",
    "runs/20260101T000000Z.json",
    ".hyperexport-ready/.hyperexport-replaces",
];

#[test]
fn no_state_of_others_is_read() {
    if !is_root() {
        return;
    }
    let desk = exported();
    for name in STATE {
        let path = desk.path("out").join(name);
        let saved = fs::read(&path).ok();
        for (what, plant) in PLANTS {
            if path.exists() {
                fs::remove_file(&path).expect("removed");
            }
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            plant(&path);
            let ended = export(&desk, &[]);
            assert_eq!(ended.code, Some(4), "{name}, {what}: {}", ended.stderr);
            let told = Path::new(name).file_name().and_then(|name| name.to_str()).expect("text");
            assert!(ended.stderr.contains(told), "{name}, {what}: {}", ended.stderr);
            assert!(path.symlink_metadata().is_ok(), "{name}, {what}: it is gone");
            fs::remove_file(&path).expect("removed");
        }
        match saved {
            Some(bytes) => fs::write(&path, bytes).expect("written"),
            // A folder that was made for the file is removed again.
            None if name.contains('/') => {
                fs::remove_dir_all(path.parent().expect("a folder")).expect("removed");
            }
            None => {}
        }
    }
    assert_eq!(export(&desk, &[]).code, Some(0), "nothing was damaged");
}

#[test]
fn a_file_that_the_user_names_is_a_file_and_has_an_end() {
    let desk = exported();
    let manifest = desk.path("out/manifest.json");
    let manifest = manifest.to_str().expect("UTF-8");
    PLANTS[0].1(&desk.path("pipe"));
    for odd in ["pipe", "/dev/zero"] {
        for args in [
            &["undo", "--result", odd][..],
            &["apply", odd],
            &["convert", "--manifest", odd],
            &["convert", "--manifest", manifest, "--cloud-init", odd],
            &["define", "--manifest", manifest, "--libvirt-profile", odd],
            &["info", "--vm", "x", "--url", "vc.invalid", "--username", "u", "--ca-file", odd],
        ] {
            let ended = bounded(&desk, args);
            assert_ne!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
        }
    }
    let limited = export(&desk, &["--bandwidth-limit-file", "/dev/zero"]);
    assert_eq!(limited.code, Some(2), "{}", limited.stderr);
}

/// A program that leaves evidence of its execution, and the URI that makes libvirt run it.
fn program(desk: &Desk) -> (PathBuf, String) {
    let (script, proof) = (desk.path("run-me"), desk.path("PWNED"));
    fs::write(&script, format!("#!/bin/sh\nid > {}\n", proof.display())).expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("set");
    (proof, format!("command={}", script.display()))
}

/// URIs by which a program would run.
fn uris(command: &str) -> [String; 4] {
    [
        format!("qemu+ext://x/system?{command}"),
        format!("qemu+EXT://x/system?{command}"),
        format!("qemu+ssh://x.invalid/system?{command}"),
        format!("qemu+ssh://x.invalid/system?no_tty=1;{command}"),
    ]
}

#[test]
fn a_journal_that_came_with_a_package_is_told_and_not_executed() {
    let desk = Desk::new();
    desk.raw("disk.raw", 4);
    let (proof, command) = program(&desk);
    let victim = desk.path("victim");
    fs::write(&victim, "mine").expect("written");
    let out = desk.path("export-disk");
    fs::create_dir(&out).expect("made");
    let id = hyperexport::libvirt::FileId::from(&victim.metadata().expect("there"));
    let step = json!({"step": "remove-file", "path": victim, "pool": "p", "id": id});
    let args = ["--source", "disk.raw", "--memory", "1G", "--json", "--libvirt"];
    for uri in uris(&command).iter().map(String::as_str).chain(["qemu:///system"]) {
        let journal = format!("{}\n{step}\n", json!({"uri": uri}));
        fs::write(out.join(".hyperexport-undo"), &journal).expect("written");
        for more in [&[][..], &["--dry-run"]] {
            let ended = bounded(&desk, &[&args[..], &CONVERT, more].concat());
            assert_eq!(ended.code, Some(4), "{uri}: {}", ended.stderr);
            assert_eq!(ended.json["errors"][0]["code"], "journal-unproved", "{}", ended.stdout);
            for part in ["victim", "rm "] {
                assert!(ended.stderr.contains(part), "{uri}: {}", ended.stderr);
            }
        }
        let undo = bounded(&desk, &["undo", "export-disk"]);
        assert_eq!(undo.code, Some(4), "{uri}: {}", undo.stderr);
        assert!(!proof.exists() && victim.exists(), "{uri} was believed");
        let kept = fs::read_to_string(out.join(".hyperexport-undo")).expect("there");
        assert_eq!(kept, journal);
    }
}

#[test]
fn a_sealed_journal_serves_its_own_folder_and_uri_alone() {
    let desk = Desk::new();
    desk.raw("disk.raw", 4);
    let [there, here] = ["there", "here"]
        .map(|name| format!("qemu+unix:///system?socket={}", desk.path(name).display()));
    let args = ["--source", "disk.raw", "--memory", "1G", "--json", "--libvirt", "--libvirt-uri"];
    let step = json!({"step": "undefine", "name": "web01", "uuid": "u"});
    fs::create_dir(desk.path("export-disk")).expect("made");
    journal::write(&desk.path("export-disk"), &there, None, &[step]);
    let ended = bounded(&desk, &[&args[..], &[&here], &CONVERT].concat());
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert_eq!(ended.json["errors"][0]["code"], "killed-run-elsewhere", "{}", ended.stdout);
    for part in [&*there, &here, "hyperexport undo", "--libvirt-uri", "domain 'web01'"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    // The host of this run's own target may come up later.
    let same = bounded(&desk, &[&args[..], &[&there], &CONVERT, &["--dry-run"]].concat());
    assert_eq!(same.code, Some(0), "{}", same.stderr);
    // A copy proves nothing.
    let copied = desk.path("copied");
    fs::create_dir(&copied).expect("made");
    fs::copy(desk.path("export-disk/.hyperexport-undo"), copied.join(".hyperexport-undo"))
        .expect("copied");
    let ended = bounded(&desk, &[&args[..], &[&there], &CONVERT, &["--output", "copied"]].concat());
    assert_eq!(ended.json["errors"][0]["code"], "journal-unproved", "{}", ended.stdout);
}

#[test]
fn no_uri_of_a_file_runs_a_program() {
    let desk = exported();
    let (proof, command) = program(&desk);
    let result = desk.path("out/result.json");
    let whole = read_json(&result);
    for uri in uris(&command) {
        let mut planted = whole.clone();
        planted["domain"] = json!({
            "uri": uri, "name": "x", "uuid": "u", "xml": "", "autostart": false, "pool": "p",
            "volumes": [], "undo": [{"step": "undefine", "name": "x", "uuid": "u"}],
        });
        fs::write(&result, planted.to_string()).expect("written");
        for more in [&[][..], &["--dry-run"], &["--all"]] {
            let ended = bounded(&desk, &[&["undo", "out"], more].concat());
            assert_eq!(ended.code, Some(4), "{uri}: {}", ended.stderr);
        }
        let ended = bounded(&desk, &["undo", "--result", "out/result.json"]);
        assert_eq!(ended.code, Some(4), "{uri}: {}", ended.stderr);
        let words = ["--manifest", "out/manifest.json", "--plan", "p", "--libvirt-uri", &uri];
        let plan = json!({
            "hyperexport_plan": 1, "hyperexport_version": "0.1.0",
            "written_at": "2026-01-01T00:00:00Z", "manifest": desk.path("out/manifest.json"),
            "arguments": words, "directory": desk.dir.path(), "steps": [],
            "draft": {"uri": uri, "name": "x", "uuid": "u", "xml": "",
                      "pool": {"name": "p", "path": "/p"}, "volumes": []},
            "warnings": [],
        });
        fs::write(desk.path("plan.json"), plan.to_string()).expect("written");
        let ended = bounded(&desk, &["apply", "plan.json"]);
        assert!(matches!(ended.code, Some(2 | 4)), "{uri}: {:?} {}", ended.code, ended.stderr);
        assert!(!proof.exists(), "{uri} was believed");
    }
    // Even a URI of the user is rejected if it can only run a program.
    for uri in &uris(&command)[..2] {
        let ended = bounded(&desk, &["info", "x", "--source", &format!("libvirt+{uri}")]);
        assert_ne!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("transport") && !proof.exists(), "{}", ended.stderr);
    }
}

/// A converted export, and its result.
fn converted() -> (Desk, Value) {
    let desk = Desk::new();
    desk.raw("disk.raw", 4);
    let ended = export(&desk, &CONVERT);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let result = read_json(&desk.path("out/result.json"));
    (desk, result)
}

#[test]
fn a_result_does_not_choose_the_disks_of_a_guest() {
    let (desk, mut result) = converted();
    let own = result["converted"][0]["path"].clone();
    let secret = desk.path("secret");
    fs::write(&secret, vec![b's'; 4 << 20]).expect("written");
    for path in [secret.to_str().expect("UTF-8"), "/etc/shadow", "../secret", "/dev/zero"] {
        result["outcome"] = json!("partial");
        result["converted"][0]["path"] = json!(path);
        result["converted"][0]["format"] = json!("raw");
        fs::write(desk.path("out/result.json"), result.to_string()).expect("written");
        let ended = export(&desk, &CONVERT);
        assert!(matches!(ended.code, Some(0 | 4)), "{path}: {}", ended.stderr);
        let text = format!("{}{}", ended.stdout, ended.stderr);
        assert!(!text.contains(&format!("\"{path}\"")), "{path}: {text}");
        if ended.code == Some(0) {
            assert!(ended.json["converted"][0]["path"].as_str().is_some_and(|path| {
                Path::new(path).parent() == Path::new(own.as_str().expect("text")).parent()
            }));
        }
    }
    assert_eq!(fs::read(&secret).expect("stays").len(), 4 << 20);
}

#[test]
fn a_result_under_the_right_name_is_inspected() {
    let (desk, result) = converted();
    let own = PathBuf::from(result["converted"][0]["path"].as_str().expect("a path"));
    let mut told = result.clone();
    // As written by someone who has replaced the file.
    told["conversion"]["images"] = json!([]);
    fs::write(desk.path("out/result.json"), told.to_string()).expect("written");
    for plant in [
        (|path| fs::write(path, vec![b's'; 4 << 20]).expect("written")) as Plant,
        |path| {
            let made = Command::new("qemu-img")
                .args(["create", "-q", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw"])
                .arg(path)
                .arg("4M")
                .status();
            assert!(made.expect("qemu-img runs").success());
        },
        |path| symlink("/etc/shadow", path).expect("linked"),
    ] {
        fs::remove_file(&own).expect("there");
        plant(&own);
        let ended = export(&desk, &CONVERT);
        assert_eq!(ended.code, Some(4), "{}", ended.stderr);
        assert_eq!(ended.json["errors"][0]["code"], "converted-changed", "{}", ended.stdout);
    }
}

#[test]
fn root_writes_nothing_where_somebody_else_can() {
    if !is_root() {
        return;
    }
    let desk = Desk::new();
    desk.raw("disk.raw", 4);
    let open = |name: &str, mode: u32, owner: Option<u32>| {
        fs::create_dir(desk.path(name)).expect("made");
        chown(desk.path(name), owner, None).expect("chown");
        fs::set_permissions(desk.path(name), fs::Permissions::from_mode(mode)).expect("set");
    };
    open("theirs", 0o755, Some(NOBODY));
    open("everybodys", 0o777, None);
    open("sticky", 0o1777, None);
    open("group", 0o775, None);
    chown(desk.path("group"), None, Some(NOBODY)).expect("chown");
    for output in ["theirs", "theirs/new", "everybodys", "everybodys/a/b", "sticky", "group"] {
        for more in [&[][..], &["--dry-run"]] {
            let args = ["--source", "disk.raw", "--memory", "1G", "--manifest", "--json"];
            let ended = bounded(&desk, &[&args[..], &["--output", output], more].concat());
            assert_eq!(ended.code, Some(4), "{output}: {}", ended.stderr);
            assert_eq!(ended.json["errors"][0]["code"], "shared-output", "{}", ended.stdout);
            let top = output.split('/').next().unwrap_or(output);
            assert!(desk.files(top).is_empty(), "{output}: {:?}", desk.files(top));
        }
    }
    // Below a sticky folder nobody else can replace our folder.
    let ended = desk.run(&["--source", "disk.raw", "--memory", "1G", "--output", "sticky/ours"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn several_runs_into_one_folder_are_one_after_the_other() {
    let desk = Desk::new();
    desk.raw("disk.raw", 4);
    let start = |_| -> Child {
        let args = ["--source", "disk.raw", "--memory", "1G", "--output", "out", "--manifest"];
        let mut command = desk.command(&args);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs")
    };
    for _ in 0..3 {
        let runs: Vec<_> = (0..6).map(start).collect();
        let ended = runs.into_iter().map(|run| run.wait_with_output().expect("it ends"));
        for ended in ended {
            let said = String::from_utf8_lossy(&ended.stderr);
            let busy = said.contains("another run is working");
            assert!(ended.status.success() || busy, "{said}");
        }
        assert!(
            !desk.files("out").iter().any(|name| name.starts_with('.')),
            "{:?}",
            desk.files("out")
        );
        fs::remove_dir_all(desk.path("out")).expect("removed");
    }
}
