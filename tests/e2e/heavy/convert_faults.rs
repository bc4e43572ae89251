//! Conversions with a hyper2kvm that is missing, broken, hanging, unsafe or reports falsehoods, and
//! with invalid images and files. hyper2kvm is a script here, everything else is real.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::hyper2kvm::{
    disk, exported, fake, manifest, names, processes, qemu_img, qemu_img_alone, recorder, settings,
    without_fix,
};
use hyperexport::convert::{
    Conversion, Converter, Engine, Error, Needs, Settings, Stages, convert, preflight,
};
use hyperexport::image::Compression;
use hyperexport::manifest::Manifest;
use hyperexport::model::{Hint, OsFamily};
use hyperexport::progress::Progress;
use tokio_util::sync::CancellationToken;

/// An exported VM with one disk, and an output directory.
struct Case {
    dir: tempfile::TempDir,
    out: PathBuf,
    manifest: Manifest,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let manifest = exported(dir.path(), &[8]);
        Self { out: dir.path().join("out"), manifest, dir }
    }

    fn fake(&self, script: &str) -> Settings {
        settings(&fake(self.dir.path(), script))
    }

    /// As [`Self::fake`] without libguestfs, so that the guest is not inspected.
    fn fake_alone(&self, script: &str) -> Settings {
        let tools = qemu_img_alone(self.dir.path());
        Settings { path: tools.into(), ..self.fake(&with_path(script)) }
    }

    async fn run(&self, settings: &Settings) -> Result<Conversion, Error> {
        let (quiet, go_on) = (Progress::none(), CancellationToken::new());
        convert(&self.manifest, &self.out, settings, &quiet, &go_on).await
    }

    /// Error of a hyper2kvm that behaves like `script`; asserts that only the log is left.
    async fn failure(&self, script: &str) -> String {
        let error = self.run(&self.fake(script)).await.expect_err("refused");
        assert_eq!(names(&self.out), ["hyper2kvm.log"]);
        error.to_string()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.out.join("hyper2kvm.log")).expect("a log")
    }
}

const GOOD: &str = "fix; convert; report true";

/// A script that finds its programs with any `PATH`.
fn with_path(script: &str) -> String {
    format!("PATH={}; {script}", std::env::var("PATH").expect("a PATH"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_program_that_does_the_work_is_taken_with_a_warning() {
    let case = Case::new();
    let done = case.run(&case.fake(GOOD)).await.expect("converted");
    assert_eq!(names(&case.out), ["Data VM.qcow2", "convert.log", "hyper2kvm.log"]);
    let codes: Vec<_> = done.warnings.iter().map(|warning| warning.code.as_str()).collect();
    let expected = ["hyper2kvm-untried-version", "boot-disk-not-bootable", "fix-list-not-known"];
    assert_eq!(codes, expected);
    let proof = done.proof.expect("a proof");
    let changed: Vec<_> = proof.disks[0].changed.iter().map(|changed| changed.block).collect();
    assert_eq!((changed, proof.files), (vec![0], None));
    // hyper2kvm claims to have fixed a guest, but that disk contains none.
    assert!(!done.disks.expect("disks").0[0].fixed);
    let failure = done.fix_failure.expect("it is looked for").to_string();
    assert_eq!(failure, "no operating system found on the disks");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversion_that_changes_a_byte_is_refused() {
    let case = Case::new();
    let script = "convert; qemu-io -f qcow2 -c 'write -P 9 1M 512' $work/out/disk-0.qcow2 >/dev/null; \
                  report true";
    let settings = Settings { stages: without_fix(), ..case.fake(script) };
    let error = case.run(&settings).await.expect_err("refused").to_string();
    assert!(error.starts_with("converted disk-0 differs from the exported disk: "), "{error}");
    assert!(names(&case.out).iter().all(|name| name.ends_with(".log")), "{:?}", names(&case.out));
}

#[tokio::test(flavor = "multi_thread")]
async fn its_word_counts_with_a_warning_where_nobody_can_look() {
    let case = Case::new();
    let done = case.run(&case.fake_alone(GOOD)).await.expect("converted");
    let told = done.warnings.iter().find(|warning| warning.code == "guest-not-verified");
    let told = &told.expect("a warning").message;
    assert!(told.contains("guestfish"), "{told}");
    assert!(done.disks.expect("disks").0[0].fixed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fix_that_rebuilt_no_initramfs_is_warned_of() {
    let case = Case::new();
    let script =
        "qemu-io -f qcow2 -c 'write 0 64k' $work/images/disk-0.qcow2; convert; report true";
    let done = case.run(&case.fake(script)).await.expect("converted");
    assert!(done.warnings.iter().any(|w| w.code == "guest-initramfs-not-rebuilt"), "{done:?}");
    assert!(!done.disks.expect("disks").0[0].fixed, "nothing shows that it boots from virtio");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_surroundings_hold_no_disk_of_the_host_and_no_variable_of_the_user() {
    let case = Case::new();
    let script = "env | sort >&2; find /dev -type b >&2; echo mounts; grep -c . /proc/self/mounts
        echo x >/dev/null && head -c 1 /dev/urandom | wc -c; xfs_admin -U generate /dev/sda1
        echo pid $$ >&2; exit 3";
    case.failure(script).await;
    let log = case.log();
    assert!(log.contains("HYPER2KVM_GUESTFS_BACKEND=libguestfs\n"), "{log}");
    assert!(log.contains("LIBGUESTFS_BACKEND_SETTINGS=force_tcg\n"), "{log}");
    assert!(log.contains("/.hyperexport-work-"), "HOME and TMPDIR are private: {log}");
    assert!(!log.contains("CARGO"), "the test's own environment: {log}");
    assert!(log.contains("xfs_admin: not on the host"), "{log}");
    assert!(!log.contains("/dev/sd") && !log.contains("/dev/vd") && !log.contains("/dev/loop"));
    if nix::unistd::geteuid().is_root() {
        assert!(log.contains("\npid 1\n"), "a PID namespace of its own: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn success_is_not_believed() {
    let case = Case::new();
    let said = case.failure("true").await;
    assert_eq!(said, "hyper2kvm ended without error, but it wrote no report.json");
    let said = case.failure("report true").await;
    assert_eq!(said, "hyper2kvm ended without error, but its report names no image of disk-0");
    let said = case.failure("convert; report true").await;
    assert_eq!(said, "hyper2kvm ended without error, but fix changed nothing on the boot disk");
    let said = case
        .failure("fix; convert; qemu-img resize -q -f qcow2 $work/out/disk-0.qcow2 9M; report true")
        .await;
    assert!(said.ends_with("disk-0 is 9437184 bytes for the guest, it was 8388608"), "{said}");
    let said = case
        .failure("fix; convert; printf junk | dd of=$work/out/disk-0.qcow2 bs=1 seek=65536 conv=notrunc 2>&-; report true")
        .await;
    assert!(said.starts_with("checking "), "{said}");
    let said =
        case.failure("fix; convert; cp /etc/hostname $work/out/disk-0.qcow2; report true").await;
    assert!(said.starts_with("inspecting "), "{said}");
    let said = case.failure("fix; convert; report false 'no luck'; exit 0").await;
    assert_eq!(said, "hyper2kvm ended without error, but its report says that it failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_that_only_its_log_tells_are_found() {
    let case = Case::new();
    let prefix = "23:27:25 ✅ INFO     [proc=MainProcess]";
    let said = case
        .failure(&format!("echo '{prefix} Mounted root at / using /dev/sda1 [ro]' >&2; {GOOD}"))
        .await;
    assert!(
        said.starts_with(
            "hyper2kvm ended without error, but fix did not work, its log says: Mounted"
        ),
        "{said}"
    );
    let said = case
        .failure(&format!(
            "echo '{prefix} Running (guestfs): update-initramfs -u -k all' >&2
             echo 'libguestfs: trace: command = NULL (error)' >&2
             qemu-io -f qcow2 -c 'write 0 64k' $work/images/disk-0.qcow2; convert; report true"
        ))
        .await;
    assert!(said.contains("could not rebuild the guest's initramfs: update-initramfs"), "{said}");
    assert!(!case.log().contains("trace:"), "the trace is not kept: it quotes the guest's files");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_words_are_passed_on() {
    let case = Case::new();
    let said = case.failure("report false 'No valid partition devices found.'; exit 1").await;
    assert_eq!(said, "running hyper2kvm: fix: No valid partition devices found.");
    let said = case.failure("echo 'error: unrecognized arguments' >&2; exit 2").await;
    assert_eq!(said, "running hyper2kvm: error: unrecognized arguments");
    let said = case.failure("exit 5").await;
    assert_eq!(said, "running hyper2kvm: it ended with exit status: 5");
    let said = case.failure("sh -c 'kill -9 $$'; exit $?").await;
    assert_eq!(said, "running hyper2kvm: it was killed by signal 9");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_working_kvm_it_is_run_once_more_without() {
    let case = Case::new();
    let script = format!(
        "if [ -z \"$LIBGUESTFS_BACKEND_SETTINGS\" ]; then
           echo guestfs_launch failed. >&2; report false 'guestfs_launch failed.'; exit 1; fi; {GOOD}"
    );
    let mut settings = case.fake_alone(&script);
    settings.guestfs.backend_settings = None;
    let done = case.run(&settings).await.expect("the second run works");
    assert!(done.warnings.iter().any(|w| w.code == "libguestfs-without-kvm"), "{done:?}");

    let case = Case::new();
    let settings = case.fake("echo guestfs_launch failed. >&2; exit 1");
    let error = case.run(&settings).await.expect_err("the user said how: no second run");
    assert_eq!(case.log().matches("guestfs_launch").count(), 1);
    assert!(error.hint().is_some_and(|hint| hint.contains("libguestfs-test-tool")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_one_is_ended_with_all_its_children() {
    let case = Case::new();
    let marker = format!("98765.{}", std::process::id());
    let script = format!("trap '' TERM; setsid sleep {marker} & sleep {marker}; sleep {marker}");
    let settings = Settings { timeout: Duration::from_secs(3), ..case.fake(&script) };
    let error = case.run(&settings).await.expect_err("too slow");
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert_eq!(names(&case.out), ["hyper2kvm.log"]);
    if nix::unistd::geteuid().is_root() {
        assert_eq!(processes(&marker), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_leaves_nothing_and_a_rerun_works() {
    let case = Case::new();
    let marker = format!("98764.{}", std::process::id());
    let settings = case.fake(&format!("fix; convert; echo ready; sleep {marker}"));
    let cancel = CancellationToken::new();
    let on_ready = cancel.clone();
    let progress = Progress::new(move |event| {
        if matches!(&event, hyperexport::progress::Event::Output { line, .. } if line == "ready") {
            on_ready.cancel();
        }
    });
    let ended = convert(&case.manifest, &case.out, &settings, &progress, &cancel).await;
    let error = ended.expect_err("cancelled");
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert_eq!(processes(&marker), Vec::<String>::new());
    assert_eq!(names(&case.out), ["hyper2kvm.log"]);
    case.run(&case.fake_alone(GOOD)).await.expect("the rerun works");
    assert_eq!(case.log().matches("\n--- ").count(), 1, "the first run's log is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_result_is_refused_and_untouched() {
    let case = Case::new();
    fs::create_dir(&case.out).expect("made");
    let result = case.out.join("Data VM.qcow2");
    fs::write(&result, "the user's").expect("written");
    let error = case.run(&case.fake("touch /tmp/never; exit 1")).await.expect_err("refused");
    assert!(matches!(&error, Error::ResultExists { path } if path.ends_with("Data VM.qcow2")));
    assert!(error.hint().is_some());
    assert_eq!(fs::read_to_string(&result).expect("there"), "the user's");
    assert_eq!(names(&case.out), ["Data VM.qcow2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_one_comes_with_the_remedy() {
    let case = Case::new();
    let missing = settings(Path::new("/no/such/hyper2kvm"));
    let error = case.run(&missing).await.expect_err("missing");
    assert!(matches!(error, Error::NoSuchProgram { .. }), "{error}");
    let tools = qemu_img_alone(case.dir.path());
    let nowhere = Settings {
        converter: Converter::Hyper2kvm,
        hyper2kvm_path: None,
        path: tools.into(),
        ..missing
    };
    let needs = Needs::from(&case.manifest);
    let ended = preflight(&needs, &case.out, &nowhere, &CancellationToken::new()).await;
    let error = ended.expect_err("nowhere");
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let hint = error.hint().expect("a remedy");
    assert!(hint.contains("pip install hyper2kvm==0.2.1 rich==15.0.0 requests==2.34.2"), "{hint}");
    assert!(hint.contains("--hyper2kvm-path"), "{hint}");
    assert!(!case.out.exists(), "preflight writes nothing");
    let any = Settings { converter: Converter::Auto, ..nowhere };
    let ready = preflight(&needs, &case.out, &any, &CancellationToken::new()).await;
    assert_eq!(ready.expect("ourselves").engine, Engine::Native);
}

/// A folder for `PATH` with qemu-img and a hyper2kvm that behaves like `script`.
fn found(case: &Case, script: &str) -> Settings {
    let tools = qemu_img_alone(case.dir.path());
    fake(&tools, script);
    Settings { hyper2kvm_path: None, path: tools.into(), ..settings(Path::new("unused")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_converter_is_chosen_by_the_guest() {
    let case = Case::new();
    let settings = found(&case, GOOD);
    for (family, is_ours) in
        [(OsFamily::Linux, false), (OsFamily::Windows, true), (OsFamily::Unknown, true)]
    {
        let needs = Needs { family, ..Needs::from(&case.manifest) };
        let ready = preflight(&needs, &case.out, &settings, &CancellationToken::new()).await;
        let engine = ready.expect("usable").engine;
        assert_eq!(engine == Engine::Native, is_ours, "{family:?}: {engine:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hyper2kvm_that_fails_hands_over_where_nobody_asked_for_it() {
    let case = Case::new();
    let settings = found(&case, "report false 'no way'; exit 3");
    let done = case.run(&settings).await.expect("converted");
    assert!(done.converter.starts_with("native "), "{}", done.converter);
    let told = done.warnings.iter().find(|warning| warning.code == "converter-failed");
    assert!(told.expect("a warning").message.ends_with("converting natively instead"));
    let disk = &done.disks.expect("disks").0[0];
    let raw = case.dir.path().join("disk-0.raw");
    let (raw, made) = (raw.to_str().expect("UTF-8"), disk.path.to_str().expect("UTF-8"));
    assert_eq!(qemu_img(&["compare", "-f", "raw", "-F", "qcow2", raw, made]).0, 0);
    assert!(!disk.fixed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_qemu_img_comes_with_the_remedy() {
    let case = Case::new();
    let settings = Settings { path: case.dir.path().into(), ..case.fake(GOOD) };
    let error = case.run(&settings).await.expect_err("missing");
    assert!(error.hint().is_some_and(|hint| hint.contains("qemu-utils")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_others_can_write_is_not_run() {
    let case = Case::new();
    let unsafe_one = case.fake_alone("touch $0.was-run; exit 1");
    let program = unsafe_one.hyper2kvm_path.clone().expect("given");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o777)).expect("mode");
    let error = case.run(&unsafe_one).await.expect_err("unsafe");
    assert!(matches!(error, Error::Unsafe { .. }), "{error}");

    // In PATH it is skipped, and the next one is used.
    let safe = tempfile::tempdir().expect("a folder");
    fake(safe.path(), &with_path(GOOD));
    let mut path = case.dir.path().as_os_str().to_owned();
    path.push(":");
    path.push(safe.path());
    path.push(":");
    path.push(&unsafe_one.path);
    let searching = Settings { hyper2kvm_path: None, path, ..unsafe_one };
    let done = case.run(&searching).await.expect("the safe one");
    let warned = done.warnings.iter().find(|w| w.code == "hyper2kvm-unsafe-path");
    assert!(warned.is_some_and(|w| w.message.contains("can be written by everybody")));
    assert!(!case.dir.path().join("hyper2kvm.was-run").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_imported_comes_with_the_remedy() {
    let case = Case::new();
    let program = case.dir.path().join("hyper2kvm");
    // A Python without hyper2kvm.
    fs::write(&program, "#!/usr/bin/python3 -I\nimport hyper2kvm\n").expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("mode");
    let error = case.run(&settings(&program)).await.expect_err("not importable");
    let Error::NotImportable { what, .. } = &error else { panic!("{error}") };
    assert!(what.contains("hyper2kvm"), "{what}");
    assert!(error.hint().is_some_and(|hint| hint.contains("rich==15.0.0 requests==2.34.2")));
    assert!(!case.out.join("hyper2kvm.log").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_it_would_do_and_writes_nothing() {
    let case = Case::new();
    let settings = Settings {
        dry_run: true,
        compression: Some(Compression::ZLIB),
        ..case.fake("touch $0.was-run; exit 1")
    };
    let (progress, seen) = recorder();
    let cancel = CancellationToken::new();
    let done = convert(&case.manifest, &case.out, &settings, &progress, &cancel).await;
    let done = done.expect("planned");
    let plan = done.plan.expect("a plan");
    assert!(done.disks.is_none());
    assert_eq!(plan.results, [case.out.join("Data VM.qcow2")]);
    let text = plan.to_string();
    for expected in [
        "qemu-img convert -f vmdk -O qcow2 ",
        "hyper2kvm -v --manifest WORK/job.json (inspect, fix, convert, validate)",
        "compression_type=zlib",
    ] {
        assert!(text.contains(expected), "no '{expected}' in {text}");
    }
    assert!(seen.lock().expect("whole").iter().all(|line| line.starts_with("note would do: ")));
    assert!(!case.out.exists());
    assert!(!case.dir.path().join("hyper2kvm.was-run").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_name_other_files_are_refused() {
    let case = Case::new();
    let secret = case.dir.path().join("secret.raw");
    fs::write(&secret, vec![7; 1 << 20]).expect("written");
    let secret = secret.to_str().expect("UTF-8");
    let image = case.dir.path().join("evil.qcow2");
    let evil = image.to_str().expect("UTF-8");
    let made = qemu_img(&["create", "-f", "qcow2", "-b", secret, "-F", "raw", evil]);
    assert_eq!(made.0, 0, "{}", made.1);
    let vmdk = case.dir.path().join("evil.vmdk");
    fs::write(&vmdk, format!("# Disk DescriptorFile\nRW 2048 FLAT \"{secret}\" 0\n"))
        .expect("written");
    for (image, why) in [
        (evil, "disk-0 is not trusted: it names a backing file"),
        (vmdk.to_str().expect("UTF-8"), "which is no file beside it"),
    ] {
        let evil = Case { manifest: manifest(vec![disk(0, image, 0)]), ..Case::new() };
        let error = evil.run(&evil.fake(GOOD)).await.expect_err("refused").to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(names(&evil.out), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_image_and_a_changed_one_are_refused() {
    let case = Case::new();
    let path = &case.manifest.disks[0].local_path;
    let whole = fs::read(path).expect("there");
    fs::write(path, &whole[..whole.len() / 2]).expect("cut");
    let error = case.run(&case.fake(GOOD)).await.expect_err("cut short");
    assert!(matches!(error, Error::Image { .. }), "{error}");
    assert_eq!(names(&case.out), Vec::<String>::new());
    fs::remove_file(path).expect("removed");
    let error = case.run(&case.fake(GOOD)).await.expect_err("missing");
    assert!(matches!(error, Error::Manifest(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_job_leaves_out_is_warned_of() {
    let mut case = Case::new();
    let hook = serde_json::json!({"pre_fix": [{"type": "script", "path": "/bin/true"}]});
    case.manifest.extra.insert("hooks".to_owned(), hook);
    let settings = Settings {
        stages: Stages { validate: false, ..without_fix() },
        ..case.fake("cp $job $work/../job-seen.json; convert; report true")
    };
    let done = case.run(&settings).await.expect("converted");
    assert!(done.warnings.iter().any(|w| w.code == "manifest-extension-ignored"));
    let job = fs::read_to_string(case.out.join("job-seen.json")).expect("copied");
    let job: serde_json::Value = serde_json::from_str(&job).expect("JSON");
    assert!(job.get("hooks").is_none());
    assert!(!job.to_string().contains("null"), "{job}");
    assert_eq!(job["disks"][0]["source_format"], "qcow2");
    assert_eq!(job["disks"][0]["boot_order_hint"], 0);
    assert!(job["disks"][0].get("checksum").is_none());
    assert_eq!(job["pipeline"]["fix"]["remove_vmware_tools"], false);
    assert_eq!(job["pipeline"]["validate"]["enabled"], false);
    assert_eq!(job["pipeline"]["convert"], serde_json::json!({"enabled": true, "compress": false}));
}
