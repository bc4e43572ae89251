//! Child processes: which programs they run, what they see, and what an image can make them read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use hyperexport::child::{self, Bounds, Confinement, Door, Limits, Program};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::files::{Desk, Form, Ovf, pack, packed};
use crate::support::job::Ended;

/// Content of a host file that no image may reveal.
const SECRET: &str = "TOP-SECRET-OF-THE-HOST";
/// FIX needs an appliance; these tests concern earlier stages.
const WITHOUT_FIX: [&str; 3] =
    ["--pipeline-fix=false", "--pipeline-inspect=false", "--pipeline-validate=false"];

/// Writes an executable script.
fn script(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("set");
}

/// Converts a manifest with one disk.
fn convert(desk: &Desk, image: &Path, format: &str) -> Ended {
    let bytes = fs::metadata(image).expect("there").len();
    let disk =
        json!({"id": "disk-0", "source_format": format, "bytes": bytes, "local_path": image});
    let manifest = json!({"manifest_version": "1.0", "disks": [disk]});
    fs::create_dir(desk.path("out")).expect("made");
    fs::write(desk.path("out/manifest.json"), manifest.to_string()).expect("written");
    let words = ["convert", "--manifest", "out/manifest.json", "--converter", "native"];
    desk.run(&[&words[..], &WITHOUT_FIX].concat())
}

/// Disk content of the converted image; `None` if nothing was converted.
fn converted(desk: &Desk) -> Option<Vec<u8>> {
    let name = desk.files("out").into_iter().find(|name| name.ends_with(".qcow2"))?;
    let (from, to) = (desk.path("out").join(name), desk.path("seen.raw"));
    let mut command = Command::new("qemu-img");
    command.args(["convert", "-f", "qcow2", "-O", "raw"]).args([&from, &to]);
    assert!(command.status().expect("qemu-img runs").success());
    Some(fs::read(to).expect("readable"))
}

fn tells_the_secret(bytes: &[u8]) -> bool {
    bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
}

/// A header of a sparse extent with its magic number and its capacity, and a descriptor after it.
fn extent(magic: &[u8], capacity: (usize, u8), descriptor: &str) -> Vec<u8> {
    let mut bytes = vec![0; 512 * 40];
    bytes[..magic.len()].copy_from_slice(magic);
    bytes[capacity.0] = capacity.1;
    // Version, grain size, and descriptor offset of a hosted extent.
    bytes[4] = 1;
    bytes[20] = 8;
    bytes[28] = 1;
    bytes[36] = 20;
    bytes[512..512 + descriptor.len()].copy_from_slice(descriptor.as_bytes());
    bytes
}

/// Finding H1 and its siblings: a descriptor that names a wrong kind for its extents.
#[test]
fn a_vmdk_of_several_files_brings_no_other_file_to_light() {
    let efficient = 0xcafe_babe_u64.to_le_bytes();
    for kind in ["VMFSSPARSE", "SESPARSE", "SPARSE", "FLAT", "VMFS"] {
        for (magic, at) in [(&b"KDMV"[..], 12), (b"COWD", 12), (&efficient, 16)] {
            for capacity in [0, 8] {
                let desk = Desk::new();
                let secret = desk.path("secret");
                fs::write(&secret, SECRET.repeat(3000)).expect("written");
                let path = secret.display();
                let embedded = format!(
                    "# Disk DescriptorFile\nversion=1\nCID=fffffffe\n\
                     parentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 32 FLAT \"{path}\" 0\n"
                );
                fs::write(desk.path("x.vmdk"), extent(magic, (at, capacity), &embedded))
                    .expect("written");
                let text = format!(
                    "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n\
                     createType=\"vmfsSparse\"\nRW 8 {kind} \"x.vmdk\" 0\n"
                );
                let image = desk.path("disk-0.vmdk");
                fs::write(&image, text).expect("written");
                let ended = convert(&desk, &image, "vmdk");
                let leaked = converted(&desk).is_some_and(|bytes| tells_the_secret(&bytes));
                let case = format!("{kind} {magic:?} {capacity}: {}", ended.stderr);
                assert!(!leaked, "{case}");
                let is_flat = ["FLAT", "VMFS"].contains(&kind);
                assert_eq!(ended.code, Some(if is_flat { 0 } else { 1 }), "{case}");
            }
        }
    }
}

/// An overlay made by `qemu-img` over a raw file.
fn overlay(desk: &Desk, secret: &Path, format: &str) -> PathBuf {
    let path = desk.path("image");
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", format, "-F", "raw", "-b"]).args([secret, &path]);
    assert!(command.status().expect("qemu-img runs").success());
    path
}

/// A qcow2 whose external data file is another file.
fn with_data_file(desk: &Desk, secret: &Path) -> PathBuf {
    let path = desk.path("image");
    let option = format!("data_file={},data_file_raw=on", secret.display());
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2", "-o", &option]).arg(&path).arg("64K");
    assert!(command.status().expect("qemu-img runs").success());
    // Creating the image emptied the file.
    fs::write(secret, SECRET.repeat(3000)).expect("written");
    path
}

/// A sparse VMDK whose descriptor names a parent.
fn with_parent(desk: &Desk, secret: &Path) -> PathBuf {
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=2\n\
         parentFileNameHint=\"{}\"\ncreateType=\"monolithicSparse\"\n",
        secret.display()
    );
    let path = desk.path("image");
    fs::write(&path, extent(b"KDMV", (12, 8), &text)).expect("written");
    path
}

/// Every format that can name a second file, converted from a manifest.
#[test]
fn no_image_brings_another_file_to_light() {
    type Make = fn(&Desk, &Path) -> PathBuf;
    let cases: [(&str, &str, Make); 6] = [
        ("a backing file", "qcow2", |desk, secret| overlay(desk, secret, "qcow2")),
        ("a QED image named qcow2", "qcow2", |desk, secret| overlay(desk, secret, "qed")),
        ("a qcow2 image named raw", "raw", |desk, secret| overlay(desk, secret, "qcow2")),
        ("a qcow2 image named vmdk", "vmdk", |desk, secret| overlay(desk, secret, "qcow2")),
        ("a data file", "qcow2", with_data_file),
        ("a parent", "vmdk", with_parent),
    ];
    for (name, format, make) in cases {
        let desk = Desk::new();
        let secret = desk.path("secret");
        fs::write(&secret, SECRET.repeat(3000)).expect("written");
        let image = make(&desk, &secret);
        let ended = convert(&desk, &image, format);
        let leaked = converted(&desk).is_some_and(|bytes| tells_the_secret(&bytes));
        assert!(!leaked, "{name}: {}", ended.stderr);
        assert!(ended.code == Some(1) || format == "raw", "{name}: {}", ended.stderr);
    }
}

/// A valid VMDK of several files is joined by hyperexport itself, with and without compression.
#[test]
fn a_vmdk_of_several_files_is_converted_from_its_manifest() {
    for subformat in ["monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"] {
        let desk = Desk::new();
        let raw = desk.raw("disk.raw", 4);
        let option = format!("subformat={subformat}");
        let image = desk.image(&raw, "split/disk.vmdk", "vmdk", &[&option]);
        let ended = convert(&desk, &image, "vmdk");
        assert_eq!(ended.code, Some(0), "{subformat}: {}", ended.stderr);
        let same = converted(&desk).is_some_and(|seen| seen == fs::read(&raw).expect("readable"));
        assert!(same, "{subformat}");
    }
}

fn limits() -> Limits {
    let timeout = Some(std::time::Duration::from_secs(60));
    Limits { timeout, cancel: CancellationToken::new() }
}

fn qemu_img(args: &[&str]) -> Program {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Program::new("qemu-img").args(args).env("PATH", path).bounds(Bounds::of_writing(1 << 30))
}

/// The second line of defense: without the inspection, the confined child opens a malicious image
/// directly.
#[tokio::test]
async fn a_confined_qemu_img_reaches_no_other_file() {
    let door = Door::find(|| qemu_img(&["--version"]), &limits()).await;
    if door == Door::None {
        assert!(std::env::var_os("CI").is_none(), "this test must run in CI: no namespaces");
        println!("skipped: no namespaces here");
        return;
    }
    let desk = Desk::new();
    let text = |name: &str| desk.path(name).to_str().expect("UTF-8").to_owned();
    let (secret, planted) = (text("secret"), text("planted.qcow2"));
    let (loose, confined) = (text("loose.raw"), text("confined.raw"));
    fs::write(&secret, SECRET.repeat(3000)).expect("written");
    let made = qemu_img(&["create", "-q", "-f", "qcow2", "-b", &secret, "-F", "raw", &planted]);
    assert!(child::run(made, &limits(), |_, _| {}).await.expect("it runs").success());
    let convert = |to: &str| qemu_img(&["convert", "-f", "qcow2", "-O", "raw", &planted, to]);
    child::run(convert(&loose), &limits(), |_, _| {}).await.expect("it runs");
    assert!(tells_the_secret(&fs::read(&loose).expect("there")), "the trap works");
    let only = Confinement::new().read([&planted]).write([&confined]);
    let mut said = String::new();
    let program = convert(&confined).confined(only, door);
    let status = child::run(program, &limits(), |_, line| said.push_str(line)).await;
    assert!(!status.expect("it runs").success(), "{said}");
    assert!(!tells_the_secret(&fs::read(&confined).expect("there")), "{said}");
    assert!(said.contains("No such file"), "{said}");
}

#[tokio::test]
async fn a_confined_qemu_img_reaches_no_network() {
    let door = Door::find(|| qemu_img(&["--version"]), &limits()).await;
    if door == Door::None {
        assert!(std::env::var_os("CI").is_none(), "this test must run in CI: no namespaces");
        println!("skipped: no namespaces here");
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    listener.set_nonblocking(true).expect("set");
    let port = listener.local_addr().expect("an address").port();
    let asks = || qemu_img(&["info", "-f", "raw", &format!("nbd://127.0.0.1:{port}")]);
    let confined = asks().confined(Confinement::new(), door);
    let mut said = String::new();
    let status = child::run(confined, &limits(), |_, line| said.push_str(line)).await;
    assert!(!status.expect("it runs").success(), "{said}");
    assert!(listener.accept().is_err(), "it came through: {said}");
    // Without the confinement the connection succeeds, and the child waits for an answer.
    let short = Limits { timeout: Some(std::time::Duration::from_secs(2)), ..limits() };
    child::run(asks(), &short, |_, _| {}).await.expect_err("it waits");
    listener.accept().expect("it came through");
}

/// An OVF package with a Linux guest, for which hyper2kvm is preferred.
fn linux(desk: &Desk) -> PathBuf {
    let raw = desk.raw("disk.raw", 2);
    let vmdk = desk.image(&raw, "disk.vmdk", "vmdk", &["subformat=streamOptimized"]);
    let vmdk = fs::read(vmdk).expect("readable");
    let ovf = Ovf::one("disk1.vmdk", 2).text();
    pack(desk, Form::Tar, &[packed("vm.ovf", ovf), packed("disk1.vmdk", vmdk)])
}

/// Finding C2: a hyper2kvm from an extracted archive is reported, but not run.
#[test]
fn a_hyper2kvm_of_the_working_folder_is_named_and_not_run() {
    let usual = "/usr/local/bin:/usr/bin:/bin";
    for (place, path) in [
        ("here/hyper2kvm", usual.to_owned()),
        ("hyper2kvm/hyper2kvm", usual.to_owned()),
        ("here/hyper2kvm", format!(".:{usual}")),
        ("here/hyper2kvm", format!("{usual}:")),
        ("here/bin/hyper2kvm", format!("bin:{usual}")),
        ("tools/hyper2kvm", format!("{usual}:../tools")),
    ] {
        let desk = Desk::new();
        let marker = desk.path("pwned");
        let trap = format!("#!/bin/sh\ntouch '{}'\n", marker.display());
        script(&desk.path(place), &trap);
        let source = linux(&desk);
        for folder in ["home", "here"] {
            fs::create_dir_all(desk.path(folder)).expect("made");
        }
        let words = ["--source", source.to_str().expect("UTF-8"), "--output", "out", "--pipeline"];
        let mut command = desk.command(&[&words[..], &WITHOUT_FIX].concat());
        command.current_dir(desk.path("here")).env("HOME", desk.path("home")).env("PATH", &path);
        let ended = Ended::from(command.output().expect("it runs"));
        assert!(!marker.exists(), "{place} {path}: it was run");
        // The folder may be given relative to the working folder.
        assert!(ended.stderr.contains("--hyper2kvm-path /"), "{place} {path}: {}", ended.stderr);
        assert_eq!(ended.code, Some(0), "{place} {path}: {}", ended.stderr);
    }
}

/// The interpreter of a trusted program is checked like the program.
#[test]
fn a_hyper2kvm_with_a_planted_interpreter_is_not_run() {
    for (line, said) in [
        ("#!python3", "is a relative path"),
        ("#!./python3", "is a relative path"),
        ("#!{desk}/open/python3", "can be written by everybody"),
        ("#!/usr/bin/env -S {desk}/open/python3 -I", "can be written by everybody"),
        ("#!/bin/sh\n'''exec' \"{desk}/open/python3\" \"$0\"", "can be written by everybody"),
    ] {
        let desk = Desk::new();
        let marker = desk.path("pwned");
        let trap = format!("#!/bin/sh\ntouch '{}'\n", marker.display());
        script(&desk.path("open/python3"), &trap);
        script(&desk.path("here/python3"), &trap);
        fs::set_permissions(desk.path("open"), fs::Permissions::from_mode(0o777)).expect("set");
        let line = line.replace("{desk}", desk.dir.path().to_str().expect("UTF-8"));
        script(&desk.path("bin/hyper2kvm"), &format!("{line}\n"));
        let source = linux(&desk);
        let program = desk.path("bin/hyper2kvm");
        let chosen = ["--hyper2kvm-path", program.to_str().expect("UTF-8")];
        let words = ["--source", source.to_str().expect("UTF-8"), "--output", "out", "--pipeline"];
        let mut command = desk.command(&[&words[..], &chosen, &WITHOUT_FIX].concat());
        command.current_dir(desk.path("here"));
        let ended = Ended::from(command.output().expect("it runs"));
        assert!(!marker.exists(), "{line}: it was run");
        assert!(ended.stderr.contains(said), "{line}: {}", ended.stderr);
    }
}

/// Finding M4: the vCenter password is not passed to children, and no core file is written.
#[test]
fn no_child_is_told_the_password() {
    let desk = Desk::new();
    let seen = desk.path("seen");
    let tells = format!(
        "#!/bin/sh\n/usr/bin/env\nulimit -c\n{{ echo $0; /usr/bin/env; ulimit -c; }} >>'{}'\n",
        seen.display()
    );
    for name in ["qemu-img", "qemu-system-x86_64", "guestfish", "virt-v2v-in-place", "python3"] {
        script(&desk.path("bin").join(name), &tells);
    }
    script(&desk.path("bin/hyper2kvm"), "#!/usr/bin/env python3\n");
    let uri = "qemu+unix:///system?socket=/no/such/socket";
    let mut command = desk.command(&["doctor", "-vv", "--libvirt-uri", uri]);
    command.env("PATH", desk.path("bin")).env_remove("LIBGUESTFS_BACKEND_SETTINGS");
    command.env("GOVC_PASSWORD", "zzSECRETzz").env("GOVC_URL", "https://u:zzSECRETzz@vc/sdk");
    command.env("AWS_SECRET_ACCESS_KEY", "zzSECRETzz").env("LD_DEBUG_OUTPUT", "zzSECRETzz");
    let ended = Ended::from(command.output().expect("it runs"));
    let seen = fs::read_to_string(seen).expect("a child ran");
    assert!(seen.contains("qemu-system-x86_64") && seen.contains("PATH="), "{seen}");
    for text in [&seen, &ended.stdout, &ended.stderr] {
        assert!(!text.contains("zzSECRETzz") && !text.contains("GOVC_"), "{text}");
    }
    assert!(!seen.lines().any(|line| line == "unlimited"), "{seen}");
}
