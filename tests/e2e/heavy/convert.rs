//! Conversion by the real hyper2kvm: disks without an operating system, whose bytes must not
//! change, and failures. FIX of a real guest is tested end to end elsewhere.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::support::hyper2kvm::{
    exported, names, processes, qemu_img, real, recorder, settings, without_fix,
};
use hyperexport::convert::{Error, Needs, Settings, convert, preflight};
use hyperexport::image::Compression;
use hyperexport::manifest::Manifest;
use hyperexport::model::{ConvertedDisks, Hint};
use hyperexport::progress::Progress;
use tokio_util::sync::CancellationToken;

async fn run(
    manifest: &Manifest,
    dir: &Path,
    settings: &Settings,
) -> Result<hyperexport::convert::Conversion, Error> {
    convert(manifest, dir, settings, &Progress::none(), &CancellationToken::new()).await
}

/// Whether a result contains the bytes of the exported raw disk.
fn same_bytes(raw: &Path, result: &Path) -> bool {
    let (raw, result) = (raw.to_str().expect("UTF-8"), result.to_str().expect("UTF-8"));
    qemu_img(&["compare", "-f", "raw", "-F", "qcow2", raw, result]).0 == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn all_disks_are_converted_and_their_bytes_are_the_same() {
    let Some(program) = real() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("out dir");
    let manifest = exported(dir.path(), &[16, 24]);
    let exported_file = fs::read(dir.path().join("disk-0.vmdk")).expect("there");
    let settings = Settings { stages: without_fix(), ..settings(&program) };
    let (progress, seen) = recorder();
    let cancel = CancellationToken::new();
    let done = convert(&manifest, &out, &settings, &progress, &cancel).await.expect("converted");

    let out = out.canonicalize().expect("there");
    let ConvertedDisks(disks) = done.disks.expect("results");
    assert_eq!(names(&out), ["Data VM-disk-0.qcow2", "Data VM.qcow2", "hyper2kvm.log"]);
    assert_eq!(disks[0].path, out.join("Data VM.qcow2"));
    assert_eq!((disks[0].id.as_str(), disks[0].boot_order), ("disk-1", 0));
    assert_eq!((disks[1].id.as_str(), disks[1].boot_order), ("disk-0", 1));
    assert_eq!(disks[0].capacity.0, 24 << 20);
    let blocks = fs::metadata(&disks[0].path).expect("there").blocks();
    assert_eq!(disks[0].allocated.0, blocks * 512);
    assert!(same_bytes(&dir.path().join("disk-1.raw"), &disks[0].path));
    assert!(same_bytes(&dir.path().join("disk-0.raw"), &disks[1].path));
    assert_eq!(fs::read(dir.path().join("disk-0.vmdk")).expect("there"), exported_file);

    assert_eq!(done.converter, "hyper2kvm 0.2.1");
    // The disks contain patterns, but no boot loader.
    let codes: Vec<_> = done.warnings.iter().map(|warning| warning.code.as_str()).collect();
    assert_eq!(codes, ["boot-disk-not-bootable"], "a good run is silent but for that");
    assert_eq!(done.report["pipeline"]["success"], true);
    assert!(done.durations.iter().any(|(step, _)| step == "hyper2kvm convert"));
    let seen = seen.lock().expect("whole").join("\n");
    for expected in [
        "start prepare disk-0",
        "at prepare disk-0 16777216",
        "start hyper2kvm convert",
        "start convert disk-1",
        "end hyper2kvm validate",
    ] {
        assert!(seen.contains(expected), "no '{expected}' in:\n{seen}");
    }
    let log = fs::read_to_string(out.join("hyper2kvm.log")).expect("kept");
    assert!(log.contains("Pipeline completed successfully"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_results_hold_the_same_bytes() {
    let Some(program) = real() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let manifest = exported(dir.path(), &[16]);
    for (compression, kind, warned) in
        [(Compression::ZLIB, "zlib", false), (Compression::Zstd(1), "zstd", true)]
    {
        let out = dir.path().join(kind);
        let settings = Settings {
            stages: without_fix(),
            compression: Some(compression),
            ..settings(&program)
        };
        let done = run(&manifest, &out, &settings).await.expect("converted");
        let result = out.join("Data VM.qcow2");
        assert!(same_bytes(&dir.path().join("disk-0.raw"), &result));
        let info = qemu_img(&["info", "-f", "qcow2", result.to_str().expect("UTF-8")]).1;
        assert!(info.contains(&format!("compression type: {kind}")), "{info}");
        let codes: Vec<_> = done.warnings.iter().map(|w| w.code.as_str()).collect();
        assert_eq!(codes.contains(&"compress-level-approximated"), warned);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fix_of_a_disk_without_a_system_fails_clearly_and_a_rerun_works() {
    let Some(program) = real() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("out");
    let manifest = exported(dir.path(), &[16]);
    let error = run(&manifest, &out, &settings(&program)).await.expect_err("no system to fix");
    assert!(matches!(&error, Error::Hyper2kvm { stage, .. } if stage == "fix: "), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("hyper2kvm.log")));
    assert_eq!(names(&out), ["hyper2kvm.log"]);

    let settings = Settings { stages: without_fix(), ..settings(&program) };
    run(&manifest, &out, &settings).await.expect("the rerun works");
    assert_eq!(names(&out), ["Data VM.qcow2", "hyper2kvm.log"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_leaves_no_process_and_no_file() {
    let Some(program) = real() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("out");
    let manifest = exported(dir.path(), &[16]);
    let (progress, seen) = recorder();
    let cancel = CancellationToken::new();
    // FIX emulates a machine, which takes longer than this timeout.
    let settings = Settings { timeout: Duration::from_secs(6), ..settings(&program) };
    let ended = convert(&manifest, &out, &settings, &progress, &cancel).await;
    let error = ended.expect_err("too slow");
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert_eq!(error.to_string(), "conversion did not finish within 6s");
    assert!(seen.lock().expect("whole").iter().any(|line| line == "start hyper2kvm fix"));
    assert_eq!(names(&out), ["hyper2kvm.log"]);
    assert_eq!(processes(out.to_str().expect("UTF-8")), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_convert_there_are_no_results() {
    let Some(program) = real() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("out");
    let manifest = exported(dir.path(), &[16]);
    let stages = hyperexport::convert::Stages { convert: false, validate: false, ..without_fix() };
    let settings = Settings { stages, ..settings(&program) };
    let done = run(&manifest, &out, &settings).await.expect("inspected");
    assert!(done.disks.is_none());
    assert_eq!(done.report["pipeline"]["stages"]["inspect"]["success"], true);
    assert_eq!(names(&out), ["hyper2kvm.log"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_finds_it_ready() {
    let Some(program) = real() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let manifest = exported(dir.path(), &[16]);
    let cancel = CancellationToken::new();
    let needs = Needs::from(&manifest);
    let ready =
        preflight(&needs, dir.path(), &settings(&program), &cancel).await.expect("all there");
    assert_eq!(ready.converter, "hyper2kvm 0.2.1");
    assert_eq!(ready.results, [dir.path().join("Data VM.qcow2")]);
    assert_eq!(ready.warnings, []);
}
