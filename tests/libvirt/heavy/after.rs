//! Steps after a definition, with real guests: snapshot, boot proof, start; and their undoing.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crate::support::import::{Setup, assert_same, chain, run};
use crate::support::{guest, libvirtd};
use hyperexport::libvirt::{
    AfterDefine, DefinedDomain, Error, Evidence, FileId, Journal, Sign, SnapshotKind, Undo, Wait,
};
use hyperexport::model::{ByteSize, CpuTopology, DiskFormat, Firmware, Hint};
use hyperexport::progress::Progress;
use tokio_util::sync::CancellationToken;

/// Timeout for a guest that boots by emulation on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// A setup whose disk is a Debian with a login prompt, in that format.
async fn debian(format: DiskFormat) -> Option<Setup> {
    let disk = guest::guest("bios")?;
    let mut setup = Setup::new().await?;
    let image = setup.dir.path().join(format!("debian.{format}"));
    let (from, to) = (disk.raw.to_str().expect("UTF-8"), image.to_str().expect("UTF-8"));
    run("qemu-img", &["convert", "-f", "raw", "-O", format.as_str(), from, to]);
    let disk = &mut setup.disks.0[0];
    disk.capacity = ByteSize(Path::new(from).metadata().expect("there").len());
    disk.format = format;
    disk.path = image;
    // The guest boots unmodified, on the kind of hardware of its source.
    disk.fixed = false;
    setup.vm.cpu = CpuTopology::new(1, 1);
    setup.vm.memory_mib = 768;
    Some(setup)
}

fn is_active(defined: &DefinedDomain) -> bool {
    let domain = libvirtd::connect().lookup_domain_by_uuid_string(&defined.uuid);
    domain.expect("it is there").is_active().expect("known")
}

async fn take_back(setup: &Setup, steps: &[Undo]) {
    let taken = setup.target.take_back(steps).await.expect("can be taken back");
    assert_eq!(taken.left, [""; 0]);
    setup.assert_nothing_left();
}

#[tokio::test]
async fn a_guest_proves_itself_and_is_as_it_was_planned_afterwards() {
    let Some(mut setup) = debian(DiskFormat::Qcow2).await else { return };
    setup.after = AfterDefine {
        snapshot: Some("before".to_owned()),
        boot_test: Some(PATIENCE),
        boot_proof: Some(PATIENCE),
    };
    let defined = setup.import().await.expect("the guest boots");
    let proof = defined.boot_proof.as_ref().expect("it was asked for");
    let sign = proof.sign.as_str();
    assert!(sign == "agent" || sign.contains("login:"), "{proof:?}");
    assert!(!is_active(&defined), "it was stopped again");
    let test = defined.boot_test.as_ref().expect("it was asked for");
    assert!(test.sign == "agent" || test.sign.contains("login:"), "{test:?}");
    libvirtd::validate(&defined.xml);
    let domain = libvirtd::connect().lookup_domain_by_uuid_string(&defined.uuid).expect("there");
    let now = domain.xml_desc(virt::sys::VIR_DOMAIN_XML_INACTIVE).expect("described");
    assert_eq!(now, defined.xml, "the proof has changed the definition");
    // Of its two links one was down at the source.
    assert_eq!(now.matches("<link state='down'/>").count(), 1, "{now}");
    let snapshot = defined.snapshot.as_ref().expect("it was asked for");
    assert_eq!((snapshot.name.as_str(), snapshot.kind), ("before", SnapshotKind::Internal));
    let taken = domain.list_all_snapshots(0).expect("listed");
    assert_eq!(taken[0].name().expect("named"), "before");
    take_back(&setup, &defined.undo).await;
}

/// One boot of an unfixed guest whose original controller is unknown.
#[tokio::test]
async fn a_start_waits_for_the_login_prompt_or_the_agent_and_leaves_the_guest_running() {
    let Some(mut setup) = debian(DiskFormat::Raw).await else { return };
    setup.vm.disks.clear();
    let defined = setup.import().await.expect("imports");
    assert!(defined.xml.contains("bus='ide'"), "{}", defined.xml);
    let cancel = CancellationToken::new();
    let prompt = Sign::parse("console:\\blogin: *$").expect("a pattern");
    let wait = |sign| Wait { sign, timeout: PATIENCE };
    let seen = setup.target.start(&defined, &wait(prompt), &cancel).await;
    let error = setup.target.take_back(&defined.undo).await.expect_err("it runs");
    // The agent is also awaited in a running guest.
    let answered = setup.target.start(&defined, &wait(Sign::Agent), &cancel).await;
    // An agent that answers also executes commands.
    let asked = std::process::Command::new("virsh")
        .args(["-q", "qemu-agent-command", &defined.uuid, r#"{"execute":"guest-ping"}"#])
        .output()
        .expect("virsh runs");
    let domain = libvirtd::connect().lookup_domain_by_uuid_string(&defined.uuid).expect("there");
    domain.destroy().expect("it ran on");
    let seen = seen.expect("it boots");
    assert!(seen.sign.ends_with("login:") && seen.seconds > 1.0, "{seen:?}");
    assert!(matches!(error, Error::Running { .. }), "{}", chain(&error));
    let answered = answered.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(answered.sign, "agent");
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    take_back(&setup, &defined.undo).await;
}

#[tokio::test]
async fn a_disk_that_does_not_boot_proves_nothing_and_leaves_nothing() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.vm.memory_mib = 256;
    setup.after.boot_proof = Some(Duration::from_secs(5));
    let error = setup.import().await.expect_err("there is no system on it");
    let said = chain(&error);
    assert!(said.contains("answers by its agent or asks for a login"), "{said}");
    assert!(said.contains("within 5s"), "{said}");
    assert!(error.hint().expect("a hint").contains("virsh console"));
    setup.assert_nothing_left();
}

#[tokio::test]
async fn images_that_hold_no_snapshot_get_one_in_files_of_its_own() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.add_disk(DiskFormat::Raw);
    setup.after.snapshot = Some("as it/came".to_owned());
    let error = setup.import().await.expect_err("libvirt takes no slash");
    assert!(chain(&error).contains("snapshot"), "{}", chain(&error));
    setup.assert_nothing_left();

    setup.after.snapshot = Some("came".to_owned());
    let defined = setup.import().await.expect("imports");
    assert_eq!(defined.snapshot.as_ref().expect("taken").kind, SnapshotKind::External);
    let name = setup.options.name.as_deref().expect("given");
    for overlay in [format!("{name}.came"), format!("{name}-disk-1.came")] {
        let path = setup.pool_dir().join(overlay);
        assert!(defined.xml.contains(&format!("<source file='{}'", path.display())));
        assert!(path.exists());
    }
    for (disk, volume) in setup.disks.0.iter().zip(&defined.volumes) {
        assert_same(&disk.path, Path::new(&volume.path), disk.format);
    }
    take_back(&setup, &defined.undo).await;
}

#[tokio::test]
async fn a_snapshot_of_an_efi_guest_is_possible() {
    let Some(mut setup) = Setup::new().await else { return };
    if !setup.host.platforms.iter().any(|platform| platform.efi) {
        return libvirtd::skip("no EFI firmware (package ovmf or edk2-ovmf)");
    }
    setup.vm.firmware = Firmware::Efi;
    setup.after.snapshot = Some("came".to_owned());
    let defined = setup.import().await.expect("imports");
    assert_eq!(defined.snapshot.as_ref().expect("taken").kind, SnapshotKind::External);
    take_back(&setup, &defined.undo).await;
}

/// Every step of an import fails in turn, before it is executed; each time nothing is left.
#[tokio::test]
async fn whichever_step_fails_nothing_is_left() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.add_disk(DiskFormat::Raw);
    setup.vm.memory_mib = 256;
    setup.autostart = true;
    setup.after.snapshot = Some("came".to_owned());
    setup.after.boot_proof = Some(Duration::from_secs(600));
    let mut failed_at = Vec::new();
    for fail_at in 0.. {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (noted, cancel) = (Arc::clone(&seen), CancellationToken::new());
        let stop = cancel.clone();
        let journal = Journal::new(move |step| {
            let mut noted = noted.lock().expect("whole");
            noted.push(step.to_string());
            if noted.len() > fail_at {
                return Err(io::ErrorKind::StorageFull.into());
            }
            if matches!(step, Undo::Stop { .. }) {
                // The very last step: the guest runs, but will never show a login prompt.
                stop.cancel();
            }
            Ok(())
        });
        let progress = Progress::none();
        let import = setup.target.import(&setup.request(), &journal, &progress, &cancel).await;
        let error = import.expect_err("a step failed, or it was cancelled");
        setup.assert_nothing_left();
        if matches!(error, Error::Cancelled) {
            break;
        }
        assert!(matches!(error, Error::Journal(_)), "{}", chain(&error));
        failed_at.extend(seen.lock().expect("whole").last().cloned());
    }
    // Pool, two copies with a step before and after their final names, the domain before and at its
    // definition. Then the files of the snapshot, the snapshot, and the boot proof.
    assert_eq!(failed_at.len(), 11, "{failed_at:?}");
    for (disk, what) in setup.disks.0.iter().zip(["qcow2", "raw"]) {
        assert!(disk.path.exists(), "the {what} image is gone");
    }
}

/// The record of a killed run suffices to undo its changes, at whatever step it was killed.
#[tokio::test]
async fn the_steps_of_a_dead_run_take_back_what_it_made() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.add_disk(DiskFormat::Raw);
    setup.after.snapshot = Some("came".to_owned());
    let steps = killed(&setup).await;
    let taken = setup.target.take_back(&steps).await.expect("can be taken back");
    assert_eq!(taken.left, [""; 0]);
    assert!(taken.done.iter().any(|what| what.starts_with("domain '")), "{taken:?}");
    setup.assert_nothing_left();
    let again = setup.target.take_back(&steps).await.expect("nothing to do");
    assert_eq!((again.done.len(), again.left.len()), (0, 0), "{again:?}");
}

/// An import whose run is killed at its end, and the recorded steps.
async fn killed(setup: &Setup) -> Vec<Undo> {
    let noted = Arc::new(Mutex::new(Vec::new()));
    let steps = Arc::clone(&noted);
    let journal = Journal::new(move |step: &Undo| {
        steps.lock().expect("whole").push(step.clone());
        Ok(())
    });
    let (progress, cancel) = (Progress::none(), CancellationToken::new());
    setup.target.import(&setup.request(), &journal, &progress, &cancel).await.expect("imports");
    noted.lock().expect("whole").clone()
}

#[tokio::test]
async fn a_domain_of_a_killed_run_stays_if_anything_shows_that_it_is_used() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.vm.memory_mib = 256;
    setup.after.snapshot = Some("came".to_owned());
    let steps = killed(&setup).await;
    let alive = SystemTime::now();
    let connect = libvirtd::connect();
    let name = setup.options.name.clone().expect("given");
    let domain = connect.lookup_domain_by_name(&name).expect("there");
    let volume = setup.pool_dir().join(format!("{name}.qcow2"));
    let uuid = domain.uuid_string().expect("known");
    let stop = Undo::Stop { name: name.clone(), uuid };
    let proved = [&steps[..], &[stop]].concat();
    let why = async |steps: &[Undo], alive| {
        let found = setup.target.would_recover(steps, alive).await;
        let found = found.unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(found.kept.is_none(), !found.taken.would_go.is_empty(), "{found:?}");
        found.kept.map(|kept| kept.why).unwrap_or_default()
    };
    assert_eq!(why(&steps, alive).await, "");
    assert_eq!(why(&proved, alive).await, "");

    // Written by the run itself, for its snapshot or its boot proof, or by others later.
    let written = std::fs::File::options().append(true).open(&volume).expect("there");
    let minutes = |number: u64| Duration::from_secs(number * 60);
    written.set_modified(alive + minutes(2)).expect("set");
    assert_eq!(why(&proved, alive + minutes(3)).await, "");
    let said = format!("{} was written to since", volume.display());
    assert_eq!(why(&proved, alive).await, said);
    let plain: Vec<_> =
        steps.iter().filter(|step| !matches!(step, Undo::DropSnapshot { .. })).cloned().collect();
    assert_eq!(why(&plain, alive).await, "it has the snapshot 'came'");
    written.set_modified(alive).expect("set");
    assert_eq!(why(&proved, alive).await, "");

    let overlay = setup.pool_dir().join("theirs.qcow2");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let over = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"];
    run("qemu-img", &[&over[..], &[&text(&volume), &text(&overlay)]].concat());
    let said = format!("{} is an overlay of {}", overlay.display(), volume.display());
    assert_eq!(why(&steps, alive).await, said);
    std::fs::remove_file(&overlay).expect("removed");

    domain.create().expect("started");
    let running = why(&steps, alive).await;
    domain.destroy().expect("stopped");
    assert_eq!(running, "it runs");
    assert_eq!(why(&steps, alive).await, "it was started since");
    // The run itself had started the domain: then only the modification time is evidence.
    assert_eq!(why(&proved, alive + minutes(3)).await, "");

    let recovered = setup.target.recover(&steps, alive).await.expect("looked");
    assert!(recovered.taken.done.is_empty(), "{recovered:?}");
    let kept = recovered.kept.expect("it stays").domain;
    assert_eq!((kept.name.as_str(), kept.pool.as_str()), (&*name, &*setup.pool.name));
    assert_eq!(kept.volumes[0].path, text(&volume));
    assert!(kept.volumes[0].created && volume.exists());
    take_back(&setup, &kept.undo).await;
}

/// A record that anybody may have written: foreign objects are never touched, and messages contain
/// libvirt's own names.
#[tokio::test]
async fn without_a_seal_only_what_carries_our_mark_is_undone() {
    let Some(setup) = Setup::new().await else { return };
    let (victim, pool_name) = (setup.names.name("victim"), setup.pool.name.clone());
    let pool = setup.make_pool();
    pool.create(0).expect("started");
    let (disk, spare) = (setup.pool_dir().join("victim.raw"), setup.pool_dir().join("spare.raw"));
    std::fs::write(&disk, "theirs").expect("written");
    std::fs::write(&spare, "").expect("written");
    let outside = setup.dir.path().join("outside");
    std::fs::write(&outside, "theirs").expect("written");
    let xml = format!(
        "<domain type='qemu'><name>{victim}</name><memory unit='MiB'>64</memory>\
         <os><type arch='x86_64'>hvm</type></os><devices><disk type='file'>\
         <source file='{}'/><target dev='vda'/></disk></devices></domain>",
        disk.display()
    );
    let domain = libvirtd::connect().define_domain_xml(&xml).expect("defined");
    let uuid = domain.uuid_string().expect("known");
    let volume = |name: &str| Undo::DeleteVolume {
        name: name.to_owned(),
        pool: pool_name.clone(),
        image: Some(spare.clone()),
        begins: None,
    };
    let file = |path: &Path| Undo::RemoveFile {
        path: path.to_owned(),
        pool: pool_name.clone(),
        id: FileId::from(&path.metadata().expect("there")),
    };
    for mark in [None, Some(String::new()), Some("domain".to_owned())] {
        let name = "innocent".to_owned();
        let aside = format!("{victim}-replaced");
        let steps = [
            Undo::RemovePool {
                name: pool_name.clone(),
                uuid: pool.uuid_string().expect("known"),
                folder: true,
                held: Vec::new(),
            },
            volume("victim.raw"),
            volume("spare.raw"),
            file(&disk),
            file(&outside),
            Undo::BringBack { name: aside.clone(), aside, uuid: uuid.clone(), autostart: true },
            Undo::DropSnapshot { name: "s".to_owned(), uuid: uuid.clone(), external: false },
            Undo::Undefine { name, uuid: uuid.clone(), mark },
        ];
        let would = setup.target.would_take_back_by(&steps, Evidence::Marks).await.expect("looked");
        assert!(would.would_go.is_empty() && would.would_rename.is_empty(), "{would:?}");
        let taken = setup.target.take_back_by(&steps, Evidence::Marks).await.expect("looked");
        assert!(taken.done.is_empty() && taken.renamed.is_empty(), "{taken:?}");
        for told in [&would.left, &taken.left] {
            let told = told.join("\n");
            assert!(told.contains(&format!("domain '{victim}', which the record")), "{told}");
        }
        assert!(disk.exists() && spare.exists() && outside.exists(), "{taken:?}");
        assert_eq!(domain.name().expect("it stays"), victim);
        assert!(!domain.autostart().expect("known"), "it starts with its host now");
    }
    domain.undefine().expect("undefined");
    for path in [&disk, &spare, &outside] {
        std::fs::remove_file(path).expect("removed");
    }
    // A domain with the mark of its record is ours, and so are its disks.
    let defined = setup.import().await.expect("imports");
    assert!(defined.xml.contains("definition="), "{}", defined.xml);
    let taken = setup.target.take_back_by(&defined.undo, Evidence::Marks).await.expect("looked");
    let gone = libvirtd::connect().lookup_domain_by_uuid_string(&defined.uuid).is_err();
    assert!(gone && !Path::new(&defined.volumes[0].path).exists(), "{taken:?}");
}

#[tokio::test]
async fn what_changed_hands_is_left_and_named() {
    let Some(setup) = Setup::new().await else { return };
    let defined = setup.import().await.expect("imports");
    let volume = &defined.volumes[0];
    // A foreign domain uses the disk by now.
    let other = setup.names.name("other");
    let xml = format!(
        "<domain type='qemu'><name>{other}</name><memory unit='MiB'>64</memory>\
         <os><type arch='x86_64'>hvm</type></os><devices><disk type='file'>\
         <source file='{}'/><target dev='vda'/></disk></devices></domain>",
        volume.path
    );
    let domain = libvirtd::connect().define_domain_xml(&xml).expect("defined");
    let taken = setup.target.take_back(&defined.undo).await.expect("looked");
    assert!(taken.left[0].contains("another domain uses it"), "{taken:?}");
    assert!(taken.left[1].contains("it contains 1 volumes"), "the pool stays too: {taken:?}");
    assert!(Path::new(&volume.path).exists());
    domain.undefine().expect("undefined");
    // The file was replaced by another one of the same name.
    std::fs::remove_file(&volume.path).expect("removed");
    std::fs::write(&volume.path, "mine").expect("written");
    let taken = setup.target.take_back(&defined.undo).await.expect("looked");
    assert!(taken.left[0].contains("another file by now"), "{taken:?}");
    assert_eq!(std::fs::read_to_string(&volume.path).expect("there"), "mine");
}

/// A volume whose upload was killed: empty, partial, or foreign by now.
#[tokio::test]
async fn a_volume_that_was_being_sent_is_known_by_its_beginning() {
    let Some(setup) = Setup::new().await else { return };
    let pool = setup.make_pool();
    pool.create(0).expect("started");
    let image = setup.disks.0[0].path.clone();
    let bytes = std::fs::read(&image).expect("read");
    let step = |name: &str| Undo::DeleteVolume {
        name: name.to_owned(),
        pool: setup.pool.name.clone(),
        image: Some(image.clone()),
        begins: None,
    };
    for (name, content, stays) in
        [("empty", &b""[..], false), ("begun", &bytes[..100_000], false), ("other", b"mine", true)]
    {
        let path = setup.pool_dir().join(name);
        std::fs::write(&path, content).expect("written");
        let taken = setup.target.take_back(&[step(name)]).await.expect("looked");
        assert_eq!((path.exists(), taken.left.len()), (stays, usize::from(stays)), "{taken:?}");
    }
    assert!(image.exists(), "the image itself stays");
}

#[tokio::test]
async fn a_domain_of_ours_makes_way_and_comes_back() {
    let Some(mut setup) = Setup::new().await else { return };
    if !setup.host.platforms.iter().any(|platform| platform.efi) {
        return libvirtd::skip("no EFI firmware (package ovmf or edk2-ovmf)");
    }
    setup.vm.firmware = Firmware::Efi;
    setup.vm.memory_mib = 256;
    setup.autostart = true;
    let name = setup.options.name.clone().expect("given");
    let old = setup.import().await.expect("imports");
    // Starting the domain makes its firmware write its variables.
    let running = Wait { sign: Sign::Running, timeout: PATIENCE };
    setup.target.start(&old, &running, &CancellationToken::new()).await.expect("starts");
    let connect = libvirtd::connect();
    let domain = connect.lookup_domain_by_uuid_string(&old.uuid).expect("there");
    setup.replace = Some(name.clone());
    let error = setup.target.preflight(&setup.request()).await.expect_err("it runs");
    assert!(chain(&error).ends_with(": it runs"), "{}", chain(&error));
    domain.destroy().expect("stopped");
    let vars = nvram(&old.uuid);
    let content = std::fs::read(&vars).expect("written");

    // The name of another domain is not accepted.
    setup.replace = Some("other".to_owned());
    let error = setup.target.preflight(&setup.request()).await.expect_err("it is taken");
    assert!(matches!(error, Error::DomainExists { .. }), "{}", chain(&error));
    assert!(error.hint().expect("a hint").contains(&format!("--replace '{name}'")));
    let error = setup.target.check_replace(&setup.request()).await.expect_err("another name");
    assert!(matches!(error, Error::ReplacesOther { .. }), "{}", chain(&error));
    assert!(chain(&error).starts_with("--replace other"), "{}", chain(&error));

    setup.replace = Some(name.clone());
    // If the successor fails, the old domain is unchanged.
    setup.after.boot_proof = Some(Duration::from_secs(3));
    setup.import().await.expect_err("there is no system on it");
    assert_eq!(setup.names.domains(), std::slice::from_ref(&name));
    let domain = connect.lookup_domain_by_uuid_string(&old.uuid).expect("there");
    assert!(domain.autostart().expect("known"), "it starts with its host again");
    assert_eq!(std::fs::read(&vars).expect("kept"), content);

    setup.after.boot_proof = None;
    let new = setup.import().await.expect("imports");
    let aside = format!("{name}-replaced");
    let mut domains = setup.names.domains();
    domains.sort();
    assert_eq!(domains, [name.clone(), aside.clone()]);
    let domain = connect.lookup_domain_by_name(&aside).expect("there");
    assert_eq!(domain.uuid_string().expect("known"), old.uuid);
    assert!(!domain.autostart().expect("known"), "both would start with their host");
    assert_ne!(nvram(&new.uuid), vars);
    libvirtd::validate(&new.xml);
    for (disk, volume) in setup.disks.0.iter().zip(&old.volumes) {
        assert_same(&disk.path, Path::new(&volume.path), disk.format);
    }
    assert_ne!(old.volumes[0].path, new.volumes[0].path);
    setup.target.start(&new, &running, &CancellationToken::new()).await.expect("starts");
    connect.lookup_domain_by_uuid_string(&new.uuid).and_then(|d| d.destroy()).expect("stopped");
    assert_eq!(std::fs::read(&vars).expect("kept"), content);

    let taken = setup.target.take_back(&new.undo).await.expect("can be taken back");
    assert_eq!(taken.left, [""; 0]);
    assert_eq!(setup.names.domains(), std::slice::from_ref(&name));
    assert_eq!(std::fs::read(&vars).expect("kept"), content);
    take_back(&setup, &old.undo).await;
}

/// Path of the firmware variables of a domain.
fn nvram(uuid: &str) -> String {
    let domain = libvirtd::connect().lookup_domain_by_uuid_string(uuid).expect("there");
    let xml = domain.xml_desc(virt::sys::VIR_DOMAIN_XML_INACTIVE).expect("described");
    let begin = xml.find("<nvram").and_then(|at| xml[at..].find('>').map(|end| at + end + 1));
    let begin = begin.expect("it has variables");
    xml[begin..begin + xml[begin..].find('<').expect("an end")].to_owned()
}

#[tokio::test]
async fn a_domain_of_somebody_else_never_makes_way() {
    let Some(mut setup) = Setup::new().await else { return };
    let name = setup.options.name.clone().expect("given");
    let xml = format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory>\
         <os><type arch='x86_64'>hvm</type></os></domain>"
    );
    libvirtd::connect().define_domain_xml(&xml).expect("defined");
    setup.replace = Some(name.clone());
    let error = setup.target.preflight(&setup.request()).await.expect_err("not ours");
    assert!(chain(&error).contains("hyperexport has not made it"), "{}", chain(&error));
    assert_eq!(setup.names.domains(), [name]);
}

#[tokio::test]
async fn a_disk_that_fails_its_boot_test_is_never_defined() {
    let Some(mut setup) = Setup::new().await else { return };
    setup.after.boot_test = Some(Duration::from_secs(5));
    let error = setup.import().await.expect_err("nothing boots from zeros");
    assert!(matches!(error, Error::NotSeen { .. }), "{}", chain(&error));
    setup.assert_nothing_left();
    let domains = libvirtd::connect().list_all_domains(0).expect("listed");
    let names: Vec<_> = domains.iter().filter_map(|domain| domain.name().ok()).collect();
    assert!(!names.iter().any(|name| name.starts_with("hyperexport-boot-test-")), "{names:?}");
}
