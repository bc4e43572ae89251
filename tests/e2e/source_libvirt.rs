//! Another libvirt host as the source: the real daemon over qemu+ssh to a real sshd.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::support::files::{Desk, modified, set_apart};
use crate::support::job::Ended;
use crate::support::libvirtd::{self, Names};
use crate::support::sshd::Sshd;

/// A domain with a qcow2 and a raw disk in its own pool.
struct Origin {
    desk: Desk,
    names: Names,
    domain: String,
    raws: [PathBuf; 2],
}

fn virsh(args: &[&str]) {
    let output = Command::new("virsh").args(["-q", "-c", "qemu:///system"]).args(args).output();
    let output = output.expect("virsh runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Origin {
    fn new() -> Option<Self> {
        if !libvirtd::available() {
            return None;
        }
        let (desk, names) = (Desk::new(), Names::new());
        let raws = [desk.raw("a.raw", 9), desk.raw("b.raw", 5)];
        let pool = desk.path("pool");
        std::fs::create_dir(&pool).expect("made");
        desk.image(&raws[0], "pool/system.qcow2", "qcow2", &[]);
        std::fs::copy(&raws[1], pool.join("data.img")).expect("copied");
        let (name, domain) = (names.name("pool"), names.name("vm"));
        virsh(&["pool-create-as", &name, "dir", "--target", pool.to_str().expect("UTF-8")]);
        let this = Self { desk, names, domain, raws };
        this.define(&this.xml());
        Some(this)
    }

    fn define(&self, xml: &str) {
        let path = self.desk.path("domain.xml");
        std::fs::write(&path, xml).expect("written");
        virsh(&["define", path.to_str().expect("UTF-8")]);
    }

    fn xml(&self) -> String {
        let pool = self.desk.path("pool");
        format!(
            "<domain type='qemu'><name>{}</name><memory unit='MiB'>640</memory><vcpu>4</vcpu>\
             <metadata><libosinfo:libosinfo xmlns:libosinfo=\
             'http://libosinfo.org/xmlns/libvirt/domain/1.0'>\
             <libosinfo:os id='http://debian.org/debian/12'/></libosinfo:libosinfo></metadata>\
             <os><type arch='x86_64' machine='q35'>hvm</type></os>\
             <cpu mode='maximum'><topology sockets='2' cores='2' threads='1'/></cpu><devices>\
             <disk type='file' device='disk'><driver name='qemu' type='raw'/>\
             <source file='{1}/data.img'/><target dev='vdb' bus='virtio'/></disk>\
             <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\
             <source file='{1}/system.qcow2'/><target dev='vda' bus='virtio'/><boot order='1'/>\
             </disk><disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>\
             <interface type='user'><mac address='52:54:00:aa:bb:cc'/><model type='e1000e'/>\
             <link state='down'/></interface></devices></domain>",
            self.domain,
            pool.display()
        )
    }

    fn export(&self, uri: &str) -> Ended {
        self.desk.export(uri, &[])
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let pool = self.names.name("pool");
        for args in [&["undefine", "--keep-nvram", &self.domain][..], &["pool-destroy", &pool]] {
            drop(Command::new("virsh").args(["-q", "-c", "qemu:///system"]).args(args).output());
        }
    }
}

fn assert_whole(origin: &Origin) {
    origin.desk.assert_disk(0, &origin.raws[0]);
    origin.desk.assert_disk(1, &origin.raws[1]);
    let manifest = origin.desk.manifest();
    assert_eq!(manifest["source"]["provider"], "libvirt");
    let vm = &manifest["metadata"]["hyperexport"]["source_vm"];
    assert_eq!(vm["name"], origin.domain);
    assert_eq!((&vm["memory_mib"], &vm["cpu"]["vcpus"]), (&640.into(), &4.into()));
    assert_eq!((&vm["cpu"]["cores_per_socket"], &vm["cdroms"]), (&2.into(), &1.into()));
    assert_eq!(vm["guest"]["family"], "linux");
    assert_eq!(vm["disks"][0]["capacity"], 9 << 20);
    let nic = &vm["nics"][0];
    assert_eq!((&nic["mac"], &nic["model"]), (&"52:54:00:aa:bb:cc".into(), &"e1000e".into()));
    assert_eq!(nic["connected"], false);
}

#[test]
fn a_domain_of_another_host_is_taken_over_ssh() {
    let Some(origin) = Origin::new() else { return };
    let Some(sshd) = Sshd::start() else { return };
    let uri = format!("libvirt+{}&domain={}", sshd.open_uri(), origin.domain);
    let ended = origin.export(&uri);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_whole(&origin);
    assert_eq!(
        origin.desk.files("out"),
        ["disk-0.qcow2", "disk-1.raw", "manifest.json", "result.json"]
    );
}

#[test]
fn disks_keep_their_order_and_the_domain_names_the_one_that_boots() {
    let Some(origin) = Origin::new() else { return };
    let uri = format!("libvirt+qemu:///system?domain={}", origin.domain);
    let facts = |xml: &str| {
        origin.define(&xml.replace("<name>", &identity(&origin)));
        let info = origin.desk.run(&["info", "--source", &uri, "--json"]);
        assert_eq!(info.code, Some(0), "{}", info.stderr);
        info.json["vm"].clone()
    };
    let told = |vm: &serde_json::Value| {
        let orders = [0, 1].map(|n| vm["disks"][n]["boot_order"].as_u64().expect("one"));
        (orders, vm["assumed"]["boot_disk"] != true)
    };
    let xml = origin.xml();
    let vm = facts(&xml);
    assert_eq!((told(&vm), &vm["arch"]), (([0, 1], true), &"x86_64".into()));
    let second = xml.replace("<boot order='1'/>", "").replace(
        "<target dev='vdb' bus='virtio'/>",
        "<target dev='vdb' bus='virtio'/><boot order='1'/>",
    );
    let vm = facts(&second);
    assert_eq!(told(&vm), ([1, 0], true));
    assert_eq!(vm["disks"][1]["label"], "vdb");
    let none = xml.replace("<boot order='1'/>", "").replace("</os>", "<boot dev='hd'/></os>");
    assert_eq!(told(&facts(&none)), ([0, 1], false), "'hd' is any disk");
}

#[test]
fn a_host_shows_its_domains_and_what_is_in_the_way_of_one() {
    let Some(origin) = Origin::new() else { return };
    let list = origin.desk.run(&["list", "--source", "libvirt+qemu:///system", "--json"]);
    let listed =
        list.json.as_array().expect("a list").iter().any(|vm| vm["name"] == origin.domain.as_str());
    assert!(listed, "{}", list.stdout);
    let uri = format!("libvirt+qemu:///system?domain={}", origin.domain);
    let info = origin.desk.run(&["info", "--source", &uri, "--json"]);
    assert_eq!(info.json["vm"]["disks"][1]["capacity"], 5 << 20, "{}", info.stderr);

    virsh(&["start", &origin.domain, "--paused"]);
    let ended = origin.export(&uri);
    virsh(&["destroy", &origin.domain]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    ended.said("the domain is running");
    ended.said("shut its guest down first");

    let pool = origin.desk.path("pool");
    overlay(&pool, "system.qcow2", "over.qcow2");
    origin.define(
        &origin.xml().replace("system.qcow2", "over.qcow2").replace("<name>", &identity(&origin)),
    );
    origin.export(&uri).said("is in no active storage pool");
    virsh(&["pool-refresh", &origin.names.name("pool")]);
    let ended = origin.export(&uri);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    ended.said("it names a backing file");
    assert_eq!(origin.desk.files("out"), [""; 0]);
}

/// XML of the identity with which a second definition is the same domain.
fn identity(origin: &Origin) -> String {
    let uuid = Command::new("virsh")
        .args(["-q", "-c", "qemu:///system", "domuuid", &origin.domain])
        .output();
    let uuid = String::from_utf8(uuid.expect("virsh runs").stdout).expect("UTF-8");
    format!("<uuid>{}</uuid><name>", uuid.trim())
}

fn overlay(folder: &Path, base: &str, name: &str) {
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, name]);
    assert!(command.current_dir(folder).status().expect("qemu-img runs").success());
}

#[test]
fn uefi_variables_are_taken_where_libvirt_can_read_them() {
    let Some(origin) = Origin::new() else { return };
    let pool = origin.desk.path("pool");
    let variables = pool.join("vm_VARS.fd");
    let efi = format!("<os firmware='efi'><nvram>{}</nvram>", variables.display());
    let xml = origin.xml().replace("<os>", &efi).replace("<name>", &identity(&origin));
    origin.define(&xml.replace("<devices>", "<features><acpi/></features><devices>"));
    let uri = format!("libvirt+qemu:///system?domain={}", origin.domain);
    let ended = origin.export(&uri);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.said("vm_VARS.fd is in no active storage pool");
    ended.said(&format!("virsh pool-create-as nvram dir --target {}", pool.display()));
    assert!(!origin.desk.files("out").contains(&"source.nvram".to_owned()));

    std::fs::write(&variables, "variables").expect("written");
    virsh(&["pool-refresh", &origin.names.name("pool")]);
    std::fs::remove_dir_all(origin.desk.path("out")).expect("removed");
    let ended = origin.export(&uri);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_whole(&origin);
    let taken = std::fs::read_to_string(origin.desk.path("out/source.nvram")).expect("there");
    assert_eq!(taken, "variables");
    let manifest = &origin.desk.manifest()["metadata"]["hyperexport"];
    assert_eq!(manifest["nvram"]["file_size"], 9, "{manifest:#}");
}

#[test]
fn images_in_cdrom_drives_are_exported_where_libvirt_can_read_them() {
    let Some(origin) = Origin::new() else { return };
    let iso = origin.desk.raw("seed.raw", 2);
    std::fs::copy(&iso, origin.desk.path("pool/seed.iso")).expect("copied");
    std::fs::copy(&iso, origin.desk.path("elsewhere.iso")).expect("copied");
    virsh(&["pool-refresh", &origin.names.name("pool")]);
    let drive = |dev: &str, path: &str| {
        format!(
            "<disk type='file' device='cdrom'><source file='{}'/><target dev='{dev}' bus='sata'/>\
             <readonly/></disk><interface",
            origin.desk.path(path).display()
        )
    };
    let both = drive("sdb", "pool/seed.iso").replace("<interface", &drive("sdc", "elsewhere.iso"));
    let xml = origin.xml().replace("<interface", &both);
    origin.define(&xml.replace("<name>", &identity(&origin)));
    let uri = format!("libvirt+qemu:///system?domain={}", origin.domain);
    let ended = origin.export(&uri);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let expected = ["cdrom-0.iso", "disk-0.qcow2", "disk-1.raw", "manifest.json", "result.json"];
    assert_eq!(origin.desk.files("out"), expected);
    let read = |path: &str| std::fs::read(origin.desk.path(path)).expect("readable");
    assert!(read("out/cdrom-0.iso") == read("pool/seed.iso"));
    let media = &origin.desk.manifest()["metadata"]["hyperexport"]["media"];
    assert_eq!((&media[0]["id"], &media[1]), (&"cdrom-0".into(), &serde_json::Value::Null));
    let lost: Vec<_> = ended.json["warnings"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|warning| warning["code"] == "cdrom-medium-not-kept")
        .map(|warning| warning["message"].as_str().expect("a text"))
        .collect();
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(lost[0].contains("elsewhere.iso"), "{lost:?}");
    assert_eq!(origin.export(&uri).expect(0).json["already_done"], true);
}

/// Starts an export at a limited rate, and waits until the first disk is complete.
fn started(origin: &Origin, uri: &str) -> Child {
    let args = ["--source", uri, "--output", "out", "--manifest", "--bandwidth-limit", "1M"];
    let mut command = origin.desk.command(&args);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
    let deadline = Instant::now() + Duration::from_secs(60);
    let marker =
        || std::fs::read_to_string(origin.desk.path("out/.hyperexport-run")).unwrap_or_default();
    while !marker().contains(r#""id":"disk-0""#) {
        assert!(Instant::now() < deadline, "{}", marker());
        assert!(child.try_wait().expect("a child").is_none(), "the limit does not hold");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

/// Changes a volume's file as any write does.
fn touch(origin: &Origin, volume: &str) {
    let path = origin.desk.path("pool").join(volume);
    let file = std::fs::File::options().append(true).open(path).expect("opened");
    file.set_modified(SystemTime::now()).expect("set");
}

#[test]
fn a_whole_disk_of_a_killed_run_is_kept_unless_it_was_written_to_since() {
    for written in [false, true] {
        let Some(origin) = Origin::new() else { return };
        let uri = format!("libvirt+qemu:///system?domain={}", origin.domain);
        let mut child = started(&origin, &uri);
        child.kill().expect("it is ours");
        child.wait().expect("it is dead");
        let first = set_apart(&origin.desk.path("out/disk-0.qcow2.part"));
        if written {
            touch(&origin, "data.img");
        }
        let ended = origin.export(&uri);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_whole(&origin);
        let now = modified(&origin.desk.path("out/disk-0.qcow2"));
        assert_eq!(now == first, !written, "kept: {}", now == first);
    }
}

#[test]
fn a_volume_that_is_written_to_meanwhile_is_not_taken() {
    let Some(origin) = Origin::new() else { return };
    let uri = format!("libvirt+qemu:///system?domain={}", origin.domain);
    let child = started(&origin, &uri);
    touch(&origin, "system.qcow2");
    let ended = Ended::from(child.wait_with_output().expect("it ends"));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    ended.said("was started or changed while its disks were read");
    assert_eq!(origin.desk.files("out"), [""; 0]);
}

#[test]
fn a_domain_that_is_not_there_is_named() {
    let Some(origin) = Origin::new() else { return };
    let ended = origin.export("libvirt+qemu:///system?domain=hxt-nobody");
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    ended.said("looking up domain 'hxt-nobody'");
    let ended = origin.export("libvirt+qemu:///system");
    assert_eq!(ended.code, Some(2));
    ended.said("VM is missing");
}

#[test]
fn a_domain_that_was_edited_since_is_another_source() {
    let Some(origin) = Origin::new() else { return };
    let uri = format!("libvirt+qemu:///system?domain={}", origin.domain);
    origin.export(&uri).expect(0);
    assert_eq!(origin.export(&uri).expect(0).json["already_done"], true);
    let edited = origin.xml().replace("52:54:00:aa:bb:cc", "52:54:00:aa:bb:cd");
    origin.define(&edited.replace("<name>", &identity(&origin)));
    let ended = origin.export(&uri).expect(4);
    ended.said("the address of nic-0 was 52:54:00:aa:bb:cc and is 52:54:00:aa:bb:cd");
    assert_eq!(ended.json["errors"][0]["code"], "source-changed");
}
