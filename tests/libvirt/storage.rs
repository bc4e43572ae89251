//! Pools and volumes on a real libvirt.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::import::{Setup, allocated, assert_same, chain, run};
use crate::support::libvirtd;
use hyperexport::libvirt::{Error, ImportRequest, Journal, PoolChoice, Transfer, Undo};
use hyperexport::model::{ByteSize, DiskFormat, Hint};
use hyperexport::progress::{Event, Progress};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn copied_volumes_hold_the_same_bytes_and_the_same_holes() {
    copied(Transfer::Auto).await;
}

#[tokio::test]
async fn sent_volumes_hold_the_same_bytes_and_the_same_holes() {
    copied(Transfer::Stream).await;
}

async fn copied(transfer: Transfer) {
    let Some(mut setup) = Setup::with(transfer).await else { return };
    setup.add_disk(DiskFormat::Raw);
    let sums = [0, 1].map(|i| fs::read(&setup.disks.0[i].path).expect("reads"));
    let defined = setup.import().await.expect("imports");
    for (disk, volume) in setup.disks.0.iter().zip(&defined.volumes) {
        let copy = Path::new(&volume.path);
        assert_eq!(copy.parent(), Some(setup.pool_dir().as_path()));
        assert!(volume.created);
        assert_same(&disk.path, copy, disk.format);
        let (is, was) = (allocated(copy), allocated(&disk.path));
        assert!(is <= was + (1 << 20), "{}: {is} bytes allocated, not {was}", volume.name);
    }
    let after = [0, 1].map(|i| fs::read(&setup.disks.0[i].path).expect("reads"));
    assert!(sums == after, "the images were changed");
    let names: Vec<_> = fs::read_dir(setup.pool_dir()).expect("reads").collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[tokio::test]
async fn a_remote_daemon_is_sent_its_volumes() {
    // libvirt treats the host as remote; this "ssh" runs the command locally.
    let dir = tempfile::tempdir().expect("a folder");
    let ssh = dir.path().join("ssh");
    fs::write(&ssh, "#!/bin/sh\nfor last; do :; done\nexec sh -c \"$last\"\n").expect("written");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("set");
    let uri = format!("qemu+ssh://elsewhere/system?command={}", ssh.display());
    let Some(mut setup) = Setup::at(&uri, Transfer::Auto).await else { return };
    setup.add_disk(DiskFormat::Raw);
    // A local image at the path of the remote pool is not one of the pool's volumes.
    setup.make_pool().create(0).expect("started");
    let there = setup.pool_dir().join("image.qcow2");
    fs::copy(&setup.disks.0[0].path, &there).expect("copied");
    setup.disks.0[0].path = there;
    setup.target.preflight(&setup.request()).await.expect("nothing to refuse");
    let defined = setup.import().await.expect("imports");
    for (disk, volume) in setup.disks.0.iter().zip(&defined.volumes) {
        assert!(volume.created);
        assert_ne!(disk.path, Path::new(&volume.path));
        assert_same(&disk.path, Path::new(&volume.path), disk.format);
    }
}

#[tokio::test]
async fn progress_counts_the_bytes_of_each_disk() {
    let Some(setup) = Setup::new().await else { return };
    let (send, events) = std::sync::mpsc::channel();
    let progress = Progress::new(move |event| send.send(event).expect("the test listens"));
    let request = setup.request();
    setup
        .target
        .import(&request, &Journal::none(), &progress, &CancellationToken::new())
        .await
        .expect("imports");
    let mut total = None;
    let mut last = 0;
    for event in events.try_iter() {
        match event {
            Event::TaskStarted { task, total: length, .. } => {
                assert_eq!(task, "import disk-0");
                total = length;
            }
            Event::TaskAdvanced { position, .. } => {
                assert!(position >= last);
                last = position;
            }
            _ => {}
        }
    }
    assert!(last > 3 << 20 && Some(last) == total, "{last} of {total:?}");
}

#[tokio::test]
async fn an_image_inside_the_pool_is_used_where_it_lies_and_survives_a_failure() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.make_pool();
    let inside = setup.pool_dir().join("Web 01.qcow2");
    fs::rename(&setup.disks.0[0].path, &inside).expect("moved");
    setup.disks.0[0].path = inside.clone();

    let good = setup.host.clone();
    for platform in &mut setup.host.platforms {
        platform.machine = "pc-no-such-machine".to_owned();
    }
    setup.import().await.expect_err("no such machine");
    assert!(inside.exists(), "an image of the user's was deleted");
    let pool = libvirtd::connect().lookup_storage_pool_by_name(&setup.pool.name).expect("stays");
    assert!(!pool.is_active().expect("known"), "the pool was stopped before");

    setup.host = good;
    let defined = setup.import().await.expect("imports");
    assert_eq!(defined.volumes[0].path, inside.to_str().expect("UTF-8"));
    assert_eq!(
        (defined.volumes[0].created, defined.volumes[0].name.as_str()),
        (false, "Web 01.qcow2")
    );
    assert!(pool.is_active().expect("known"), "a stopped pool is started");
}

/// An import that fails after another program has put a file into the pool.
async fn fails_beside_others(setup: &mut Setup) -> (Error, Vec<Undo>) {
    for platform in &mut setup.host.platforms {
        platform.machine = "pc-no-such-machine".to_owned();
    }
    let steps = Arc::new(Mutex::new(Vec::new()));
    let (noted, theirs) = (Arc::clone(&steps), setup.pool_dir().join("theirs"));
    let journal = Journal::new(move |step| {
        if matches!(step, Undo::RemoveFile { .. }) {
            fs::write(&theirs, "theirs")?;
        }
        noted.lock().expect("whole").push(step.clone());
        Ok(())
    });
    let (progress, cancel) = (Progress::none(), CancellationToken::new());
    let end = setup.target.import(&setup.request(), &journal, &progress, &cancel).await;
    let steps = steps.lock().expect("whole").clone();
    (end.expect_err("no such machine"), steps)
}

#[tokio::test]
async fn a_pool_that_others_have_begun_to_use_outlives_a_failed_import() {
    let Some(mut setup) = Setup::new().await else { return };
    let (error, steps) = fails_beside_others(&mut setup).await;
    let said = chain(&error);
    assert!(matches!(error, Error::NotUndone { .. }), "{said}");
    assert!(said.contains("storage pool") && said.contains("it contains 1 volumes"), "{said}");
    let pool = libvirtd::connect().lookup_storage_pool_by_name(&setup.pool.name).expect("stays");
    assert!(pool.is_active().expect("known"), "it was stopped under others");
    // For a later undo that is no failure, and without the foreign file the pool is removed.
    let taken = setup.target.take_back(&steps).await.expect("looked");
    assert!(taken.is_complete() && !taken.left.is_empty(), "{taken:?}");
    fs::remove_file(setup.pool_dir().join("theirs")).expect("removed");
    let taken = setup.target.take_back(&steps).await.expect("looked");
    assert_eq!(taken.left, [""; 0]);
    setup.assert_nothing_left();
}

#[tokio::test]
async fn a_pool_that_was_started_is_not_stopped_under_others() {
    let Some(mut setup) = Setup::new().await else { return };
    let pool = setup.make_pool();
    // A file that existed before is not a new foreign volume.
    fs::write(setup.pool_dir().join("old"), "old").expect("written");
    let good = setup.host.clone();
    let (error, _) = fails_beside_others(&mut setup).await;
    assert!(chain(&error).contains("it contains 1 volumes"), "{}", chain(&error));
    assert!(pool.is_active().expect("known"), "it was stopped under others");
    pool.destroy().expect("stopped");
    setup.import().await.expect_err("no such machine");
    assert!(!pool.is_active().expect("known"), "it was stopped before");
    setup.host = good;
}

/// A failed run stops the pool that it has started, but not while another run is about to fill it.
#[tokio::test]
async fn a_pool_that_another_run_is_about_to_fill_is_not_stopped() {
    let (Some(mut first), Some(mut second)) = (Setup::new().await, Setup::new().await) else {
        return;
    };
    let pool = first.make_pool();
    second.pool = first.pool.clone();
    for platform in &mut first.host.platforms {
        platform.machine = "pc-no-such-machine".to_owned();
    }
    // Each run waits before creating its volume: the first for the second, and the second for the
    // first one's end.
    let (enter, entered) = tokio::sync::oneshot::channel::<()>();
    let (begin, begun) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel();
    let (enter, begun, ended) = (Mutex::new(Some(enter)), Mutex::new(begun), Mutex::new(ended));
    let wait = Duration::from_secs(60);
    let of_first = Journal::new(move |step| {
        if matches!(step, Undo::RemoveFile { .. })
            && let Some(enter) = enter.lock().expect("whole").take()
        {
            enter.send(()).expect("the second waits");
            begun.lock().expect("whole").recv_timeout(wait).expect("it has begun");
        }
        Ok(())
    });
    let once = Mutex::new(Some(begin));
    let of_second = Journal::new(move |step| {
        if matches!(step, Undo::RemoveFile { .. })
            && let Some(begin) = once.lock().expect("whole").take()
        {
            begin.send(()).expect("the first waits");
            ended.lock().expect("whole").recv_timeout(wait).expect("it has ended");
        }
        Ok(())
    });
    let (progress, cancel) = (Progress::none(), CancellationToken::new());
    let (fails, imports) = (first.request(), second.request());
    let failing = async {
        let error = first.target.import(&fails, &of_first, &progress, &cancel).await;
        end.send(()).expect("the second waits");
        error.expect_err("no such machine")
    };
    let importing = async {
        entered.await.expect("it comes");
        second.target.import(&imports, &of_second, &progress, &cancel).await
    };
    let (error, imported) = tokio::join!(failing, importing);
    let said = chain(&error);
    let imported = imported.unwrap_or_else(|error| panic!("{}; {said}", chain(&error)));
    assert!(said.contains("another run uses it"), "{said}");
    assert!(pool.is_active().expect("known"), "it was stopped under another run");
    let taken = second.target.take_back(&imported.undo).await.expect("can be taken back");
    assert_eq!(taken.left, [""; 0]);
}

#[tokio::test]
async fn a_pool_made_over_a_folder_with_files_is_taken_back_without_them() {
    let Some(mut setup) = Setup::new().await else { return };
    let old = setup.pool_dir().join("old");
    fs::create_dir_all(setup.pool_dir()).expect("made");
    fs::write(&old, "old").expect("written");
    for platform in &mut setup.host.platforms {
        platform.machine = "pc-no-such-machine".to_owned();
    }
    let error = setup.import().await.expect_err("no such machine");
    assert!(!matches!(error, Error::NotUndone { .. }), "{}", chain(&error));
    assert_eq!(setup.names.pools(), [""; 0]);
    assert!(old.exists());
}

#[tokio::test]
async fn a_stopped_pool_without_its_folder_is_refused_or_gets_it() {
    let Some(mut setup) = Setup::new().await else { return };
    let pool = setup.make_pool();
    fs::remove_dir(setup.pool_dir()).expect("removed");
    let named = setup.pool.clone();
    setup.pool.path = None;
    let error = setup.target.preflight(&setup.request()).await.expect_err("no folder");
    assert!(matches!(error, Error::PoolFolder { .. }), "{}", chain(&error));
    let hint = error.hint().expect("a hint");
    assert!(hint.contains("virsh pool-build") && hint.contains("virsh pool-start"), "{hint}");
    assert!(!setup.pool_dir().exists() && !pool.is_active().expect("known"));

    // With a path the pool may be built; a failed run removes it.
    setup.pool = named;
    let preview = setup.target.preview(&setup.request()).await.expect("previewed");
    assert!(preview.pool.built && preview.pool.stopped, "{preview:?}");
    setup.target.preflight(&setup.request()).await.expect("it is made");
    setup.target.test_define(&setup.request()).await.expect("it is made");
    let good = setup.host.clone();
    for platform in &mut setup.host.platforms {
        platform.machine = "pc-no-such-machine".to_owned();
    }
    setup.import().await.expect_err("no such machine");
    assert!(!setup.pool_dir().exists() && !pool.is_active().expect("known"));
    setup.host = good;
    let defined = setup.import().await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert!(pool.is_active().expect("known"));
    let taken = setup.target.take_back(&defined.undo).await.expect("can be taken back");
    assert_eq!(taken.left, [""; 0]);
    assert!(pool.is_active().expect("known"), "others may use it by now");
}

#[tokio::test]
async fn a_pool_that_cannot_be_started_is_refused_before_anything_is_exported() {
    let Some(mut setup) = Setup::new().await else { return };
    fs::create_dir_all(setup.pool_dir()).expect("made");
    let xml = format!(
        "<pool type='fs'><name>{}</name><source><device path='/dev/hxt-no-such'/>\
         <format type='ext4'/></source><target><path>{}</path></target></pool>",
        setup.pool.name,
        setup.pool_dir().display()
    );
    let connect = libvirtd::connect();
    let broken = connect.define_storage_pool_xml(&xml, 0).expect("a pool");
    setup.pool.path = None;
    let error = setup.target.test_define(&setup.request()).await.expect_err("no device");
    assert!(matches!(error, Error::PoolNotStarted { .. }), "{}", chain(&error));
    assert!(error.hint().expect("a hint").contains("virsh pool-start"), "{}", chain(&error));
    broken.undefine().expect("undefined");

    let sound = setup.make_pool();
    setup.target.test_define(&setup.request()).await.expect("nothing against it");
    assert!(!sound.is_active().expect("known"), "it was stopped before");
}

#[tokio::test]
async fn a_stopped_pool_is_looked_into_before_anything_is_exported() {
    let Some(mut setup) = Setup::new().await else { return };
    let pool = setup.make_pool();
    let taken =
        setup.pool_dir().join(format!("{}.qcow2", setup.options.name.as_ref().expect("named")));
    fs::write(&taken, "somebody's").expect("written");
    setup.target.preflight(&setup.request()).await.expect("it is stopped: nobody sees the volume");
    let error = setup.target.test_define(&setup.request()).await.expect_err("it is there");
    assert!(matches!(error, Error::VolumeExists { .. }), "{}", chain(&error));
    assert!(!pool.is_active().expect("known"), "it was stopped before");
    fs::remove_file(taken).expect("removed");
    setup.pool.path = None;
    setup.target.test_define(&setup.request()).await.expect("nothing to refuse");

    // Autostart of the pool matters only for pools that are no folder.
    setup.autostart = true;
    let warnings = setup.target.preflight(&setup.request()).await.expect("nothing to refuse");
    assert!(warnings.iter().all(|warning| warning.code != "pool-not-autostarted"), "{warnings:?}");
}

#[tokio::test]
async fn a_volume_that_goes_is_in_nobody_s_way() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.add_disk(DiskFormat::Raw);
    setup.make_pool().create(0).expect("started");
    let name = setup.options.name.clone().expect("given");
    let paths = [format!("{name}.qcow2"), format!("{name}-disk-1.raw")]
        .map(|name| setup.pool_dir().join(name));
    paths.iter().for_each(|path| fs::write(path, "old").expect("written"));
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let all = paths.each_ref().map(|path| text(path));
    for (going, refused) in [(&all[..1], true), (&all[..], false)] {
        let request = ImportRequest { going, ..setup.request() };
        let asked = setup.target.preflight(&request).await;
        let second =
            matches!(&asked, Err(Error::VolumeExists { name, .. }) if all[1].ends_with(name));
        assert_eq!((asked.is_err(), second), (refused, refused), "{asked:?}");
    }
}

#[tokio::test]
async fn a_missing_pool_is_refused_with_both_ways_out() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.make_pool();
    setup.pool = PoolChoice { name: setup.names.name("other"), path: None };
    let error = setup.target.preflight(&setup.request()).await.expect_err("missing");
    assert!(matches!(error, Error::NoPool { .. }), "{}", chain(&error));
    let hint = error.hint().expect("a hint");
    for part in ["--libvirt-pool-path DIR", "--libvirt-pool:", &setup.names.name("pool")] {
        assert!(hint.contains(part), "no {part} in {hint}");
    }
    assert_eq!(setup.names.pools(), [setup.names.name("pool")]);
}

#[tokio::test]
async fn a_path_that_contradicts_the_pools_is_refused() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.make_pool();
    setup.pool.path = Some(setup.dir.path().join("elsewhere"));
    let error = setup.target.preflight(&setup.request()).await.expect_err("elsewhere");
    assert!(matches!(error, Error::PoolElsewhere { .. }), "{}", chain(&error));

    setup.pool = PoolChoice { name: setup.names.name("other"), path: Some(setup.pool_dir()) };
    let error = setup.target.preflight(&setup.request()).await.expect_err("another pool's");
    assert!(matches!(error, Error::PathTaken { .. }), "{}", chain(&error));
    assert_eq!(error.hint(), Some(format!("use --libvirt-pool {}", setup.names.name("pool"))));
}

#[tokio::test]
async fn a_volume_that_exists_is_refused_and_untouched() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.add_disk(DiskFormat::Raw);
    setup.make_pool().create(0).expect("started");
    let name = setup.options.name.clone().expect("given");
    let theirs = setup.pool_dir().join(format!("{name}-disk-1.raw"));
    fs::write(&theirs, "mine").expect("written");
    let error = setup.target.preflight(&setup.request()).await.expect_err("taken");
    assert!(matches!(error, Error::VolumeExists { .. }), "{}", chain(&error));
    let hint = error.hint().expect("a hint");
    assert!(hint.contains("virsh vol-delete"), "{hint}");
    // A volume that a domain needs must not be removed.
    let other = setup.names.name("other");
    let xml = format!(
        "<domain type='qemu'><name>{other}</name><memory unit='MiB'>64</memory>\
         <os><type arch='x86_64'>hvm</type></os><devices><disk type='file'>\
         <source file='{}'/><target dev='vda'/></disk></devices></domain>",
        theirs.display()
    );
    let domain = libvirtd::connect().define_domain_xml(&xml).expect("defined");
    let error = setup.target.preflight(&setup.request()).await.expect_err("taken");
    let hint = error.hint().expect("a hint");
    assert!(hint.contains(&format!("domain '{other}' uses it")), "{hint}");
    assert!(!hint.contains("vol-delete"), "{hint}");
    domain.undefine().expect("undefined");
    let error = setup.import().await.expect_err("taken");
    assert!(matches!(error, Error::VolumeExists { .. }), "{}", chain(&error));
    assert_eq!(fs::read_to_string(&theirs).expect("reads"), "mine");
    assert_eq!(fs::read_dir(setup.pool_dir()).expect("reads").count(), 1);
    assert!(setup.names.domains().is_empty());
}

#[tokio::test]
async fn an_image_that_is_not_what_it_is_said_to_be_is_refused() {
    let Some(mut setup) = Setup::new().await else { return };
    // A raw disk whose first bytes look like a qcow2 header would let a guest access files of the
    // host.
    setup.disks.0[0].format = DiskFormat::Raw;
    let error = setup.import().await.expect_err("it is qcow2");
    assert!(chain(&error).contains("it is qcow2, not raw"), "{}", chain(&error));
    setup.assert_nothing_left();

    setup.disks.0[0].format = DiskFormat::Qcow2;
    setup.disks.0[0].capacity = ByteSize(1 << 30);
    let error = setup.import().await.expect_err("it is smaller");
    assert!(chain(&error).contains("67108864 bytes, not 1073741824"), "{}", chain(&error));
    setup.assert_nothing_left();
}

/// A small file system, unmounted on drop.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(dir: &'a Path) -> Option<Self> {
        fs::create_dir_all(dir).expect("made");
        let options = Some("size=8m,mode=755");
        match mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), options) {
            Ok(()) => Some(Self(dir)),
            Err(error) => {
                libvirtd::skip(&format!("a small file system cannot be mounted: {error}"));
                None
            }
        }
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        umount2(self.0, MntFlags::MNT_DETACH).expect("unmounts");
    }
}

#[tokio::test]
async fn a_full_pool_is_refused_before_a_byte_moves() {
    let Some(setup) = Setup::new().await else { return };
    let dir = setup.pool_dir();
    let Some(_small) = Small::mount(&dir) else { return };
    let pool = setup.make_pool();
    for started in [false, true] {
        if started {
            pool.create(0).expect("started");
        }
        let error = setup.target.preflight(&setup.request()).await.expect_err("full");
        assert!(matches!(error, Error::NoSpace { .. }), "{}", chain(&error));
        assert!(error.hint().expect("a hint").contains("--libvirt-pool"));
    }
    pool.destroy().expect("stopped");
}

#[tokio::test]
async fn volumes_belong_to_whom_the_pool_belongs() {
    for transfer in [Transfer::Auto, Transfer::Stream] {
        let Some(setup) = Setup::with(transfer).await else { return };
        let pool = setup.make_pool();
        let dir = setup.pool_dir();
        std::os::unix::fs::chown(&dir, Some(1234), Some(4321)).expect("the tests run as root");
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o775)).expect("set");
        pool.create(0).expect("started");
        let defined = setup.import().await.unwrap_or_else(|error| panic!("{}", chain(&error)));
        let found = std::fs::metadata(&defined.volumes[0].path).expect("there");
        let whose = (found.uid(), found.gid(), found.mode() & 0o7777);
        assert_eq!(whose, (1234, 4321, 0o660), "{transfer:?}");
    }
}

#[tokio::test]
async fn a_pool_over_a_file_system_is_mounted_by_libvirt_and_filled() {
    for transfer in [Transfer::Auto, Transfer::Stream] {
        let Some(mut setup) = Setup::with(transfer).await else { return };
        let Some(device) = Loop::with_ext4(setup.dir.path()) else { return };
        fs::create_dir_all(setup.pool_dir()).expect("made");
        let xml = format!(
            "<pool type='fs'><name>{}</name><source><device path='{}'/><format type='ext4'/>\
             </source><target><path>{}</path></target></pool>",
            setup.pool.name,
            device.0,
            setup.pool_dir().display()
        );
        let pool = libvirtd::connect().define_storage_pool_xml(&xml, 0).expect("a pool");
        // The pool is inactive: the import starts it, and leaves it active.
        setup.pool.path = None;
        let defined = setup.import().await.unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert!(pool.is_active().expect("known"));
        let volume = Path::new(&defined.volumes[0].path);
        assert_same(&setup.disks.0[0].path, volume, DiskFormat::Qcow2);
        let taken = setup.target.take_back(&defined.undo).await.expect("can be taken back");
        assert_eq!(taken.left, [""; 0]);
        pool.destroy().expect("unmounted");
    }
}

/// A loop device, detached on drop.
struct Loop(String);

impl Loop {
    fn with_ext4(dir: &Path) -> Option<Self> {
        let file = dir.join("device.ext4");
        fs::File::create(&file).and_then(|file| file.set_len(128 << 20)).expect("made");
        let file = file.to_str().expect("UTF-8");
        run("mkfs.ext4", &["-q", file]);
        let made = std::process::Command::new("losetup").args(["--find", "--show", file]).output();
        let made = made.expect("losetup runs");
        if !made.status.success() {
            libvirtd::skip("no loop devices");
            return None;
        }
        Some(Self(String::from_utf8(made.stdout).expect("UTF-8").trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        run("losetup", &["-d", &self.0]);
    }
}
