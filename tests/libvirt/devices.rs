//! Disks in pools of type `logical` and `zfs`. tests/lvm/lvm and tests/zfs/zfs simulate LVM and ZFS
//! on loop devices, since device-mapper and ZFS may be missing. libvirt, its storage driver, the
//! devices and QEMU are real.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::daemon::Daemon;
use crate::support::import::{CAPACITY, Setup, chain, content, open_folder, run};
use crate::support::libvirtd;
use hyperexport::libvirt::{Connection, Error, Journal, Settings, Undo};
use hyperexport::model::DiskFormat;
use hyperexport::progress::Progress;
use tokio_util::sync::CancellationToken;
use virt::connect::Connect;

const SIZE: u64 = 512 << 20;

/// The volume manager.
#[derive(Clone, Copy)]
struct Manager {
    /// Type of the manager's pools.
    kind: &'static str,
    /// The script that simulates it, and its program names, below the folder of the daemon.
    script: &'static str,
    programs: &'static [&'static str],
    /// Folder of the volumes in its state.
    volumes: &'static str,
    /// Folder of its devices, with a subfolder per group.
    devices: &'static str,
}

const LVM: Manager = Manager {
    kind: "logical",
    script: "tests/lvm/lvm",
    programs: &["over/usr/sbin/lvm"],
    volumes: "lv",
    devices: "/dev",
};

const ZFS: Manager = Manager {
    kind: "zfs",
    script: "tests/zfs/zfs",
    programs: &["bin/zfs", "bin/zpool"],
    volumes: "zvol",
    devices: "/dev/zvol",
};

/// A daemon with a volume group that is an active pool.
struct Group {
    daemon: Daemon,
    name: String,
    devices: PathBuf,
}

impl Group {
    fn new(setup: &mut Setup, manager: Manager) -> Option<Self> {
        let libraries = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"];
        let kind = manager.kind;
        let backend = format!("libvirt/storage-backend/libvirt_storage_backend_{kind}.so");
        if !libraries.iter().any(|dir| Path::new(dir).join(&backend).exists()) {
            libvirtd::skip(&format!("libvirt's storage backend for {kind} is missing"));
            return None;
        }
        let dir = open_folder();
        let name = setup.names.name("vg");
        let state = dir.path().join(&name);
        fs::create_dir_all(state.join(manager.volumes)).expect("made");
        fs::write(state.join("size"), SIZE.to_string()).expect("written");
        let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join(manager.script);
        let script = fs::read_to_string(fake).expect("reads");
        let script = script.replacen("state=STATE", &format!("state={}", state.display()), 1);
        for program in manager.programs {
            let path = dir.path().join(program);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(&path, &script).expect("written");
            run("chmod", &["755", path.to_str().expect("UTF-8")]);
        }
        let devices = Path::new(manager.devices).join(&name);
        fs::create_dir_all(&devices).expect("root makes it");
        let daemon = Daemon::in_folder(dir, "")?;
        let pool = format!(
            "<pool type='{kind}'><name>{name}</name><source><name>{name}</name></source>\
             <target><path>{}</path></target></pool>",
            devices.display()
        );
        setup.pool.name.clone_from(&name);
        setup.pool.path = None;
        let group = Self { daemon, name, devices };
        let connect = Connect::open(Some(&group.daemon.uri())).expect("answers");
        let pool = connect.define_storage_pool_xml(&pool, 0).expect("defines");
        pool.create(0).expect("starts");
        Some(group)
    }

    async fn target(&self, verify: bool) -> Connection {
        let settings = Settings { uri: self.daemon.uri(), verify, ..Settings::default() };
        Connection::connect(&settings).await.expect("answers")
    }

    fn volumes(&self) -> Vec<String> {
        let connect = Connect::open(Some(&self.daemon.uri())).expect("answers");
        let pool = connect.lookup_storage_pool_by_name(&self.name).expect("is there");
        pool.refresh(0).expect("refreshes");
        let volumes = pool.list_all_volumes(0).expect("lists");
        volumes.iter().map(|volume| volume.name().expect("named")).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.devices).into_iter().flatten().flatten() {
            let device = entry.path().canonicalize().expect("a device");
            run("losetup", &["-d", device.to_str().expect("UTF-8")]);
        }
        fs::remove_dir_all(&self.devices).expect("removed");
    }
}

/// Asserts that a device begins with the disk of an image.
fn assert_holds(device: &Path, image: &Path, format: DiskFormat) {
    let raw = tempfile::NamedTempFile::new().expect("a file");
    let [image, raw_path] = [image, raw.path()].map(|path| path.to_str().expect("UTF-8"));
    run("qemu-img", &["convert", "-f", format.as_str(), "-O", "raw", image, raw_path]);
    let same = Command::new("cmp")
        .args(["-n", &CAPACITY.to_string()])
        .args([device, raw.path()])
        .status()
        .expect("cmp runs");
    assert!(same.success(), "{} is not {image}", device.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_become_logical_volumes_and_go_again() {
    come_and_go(LVM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_become_volumes_of_zfs_and_go_again() {
    come_and_go(ZFS).await;
}

async fn come_and_go(manager: Manager) {
    let Some(mut setup) = Setup::new().await else { return };
    let Some(group) = Group::new(&mut setup, manager) else { return };
    setup.target = group.target(true).await;
    setup.add_disk(DiskFormat::Raw);
    setup.target.preflight(&setup.request()).await.expect("nothing to refuse");
    setup.target.test_define(&setup.request()).await.expect("nothing to refuse");
    let draft = setup.target.draft(&setup.request()).await.expect("a draft");

    let defined = setup.import().await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    libvirtd::validate(&defined.xml);
    for (disk, volume) in setup.disks.0.iter().zip(&defined.volumes) {
        assert_holds(Path::new(&volume.path), &disk.path, disk.format);
        assert!(volume.sha256.is_some(), "it was not read back");
        assert_eq!(volume.content, Some(content(disk)));
        let source = format!("<source dev='{}'", volume.path);
        assert!(defined.xml.contains(&source), "{}", defined.xml);
    }
    assert_eq!(defined.xml.matches("<disk type='block'").count(), 2, "{}", defined.xml);
    let planned: Vec<_> = draft.volumes.iter().map(|volume| volume.path.clone()).collect();
    let made: Vec<_> = defined.volumes.iter().map(|volume| PathBuf::from(&volume.path)).collect();
    assert_eq!(planned, made);

    let error = setup.import().await.expect_err("they exist");
    assert!(matches!(error, Error::DomainExists { .. }), "{}", chain(&error));
    let taken = setup.target.take_back(&defined.undo).await.expect("can be taken back");
    assert_eq!(taken.left, [""; 0]);
    assert_eq!(group.volumes(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_devices_cannot_is_refused_and_a_dead_run_s_are_known() {
    let Some(mut setup) = Setup::new().await else { return };
    let Some(group) = Group::new(&mut setup, LVM) else { return };
    setup.target = group.target(false).await;

    setup.after.snapshot = Some("came".to_owned());
    let error = setup.target.preflight(&setup.request()).await.expect_err("no snapshot");
    assert!(matches!(error, Error::NoSnapshot { .. }), "{}", chain(&error));
    setup.after.snapshot = None;
    for _ in 0..8 {
        setup.add_disk(DiskFormat::Raw);
    }
    let error = setup.target.preflight(&setup.request()).await.expect_err("9 × 64 of 512 MiB");
    assert!(matches!(error, Error::NoSpace { .. }), "{}", chain(&error));
    setup.disks.0.truncate(1);

    // Killed during the upload: only the journal knows about the run.
    let steps = std::sync::Arc::new(std::sync::Mutex::new(Vec::<Undo>::new()));
    let noted = std::sync::Arc::clone(&steps);
    let journal = Journal::new(move |step| {
        noted.lock().expect("whole").push(step.clone());
        Ok(())
    });
    let (progress, cancel) = (Progress::none(), CancellationToken::new());
    let request = setup.request();
    let defined = setup.target.import(&request, &journal, &progress, &cancel).await;
    let defined = defined.unwrap_or_else(|error| panic!("{}", chain(&error)));
    let connect = Connect::open(Some(&group.daemon.uri())).expect("answers");
    connect.lookup_domain_by_name(&defined.name).expect("there").undefine().expect("undefined");
    let mut steps = steps.lock().expect("whole").clone();
    steps.retain(|step| matches!(step, Undo::DeleteVolume { .. }));
    let taken = setup.target.take_back(&steps).await.expect("can be taken back");
    assert_eq!(taken.left, [""; 0]);
    assert_eq!(group.volumes(), [""; 0]);
}
