//! A bug in the program: the run rolls back its changes and reports the bug.

use std::fs;

use crate::support::files::Desk;
use crate::support::job::Ended;

const CONVERT: [&str; 5] =
    ["--pipeline", "--converter", "native", "--pipeline-fix=false", "--pipeline-inspect=false"];

/// A run that panics in a stage; `None` in builds that cannot panic on request.
fn broken(desk: &Desk, stage: &str, args: &[&str]) -> Option<Ended> {
    let whole = ["--source", "disk.vmdk", "--output", "out", "--manifest", "--json"];
    let mut command = desk.command(&[&whole[..], &CONVERT, args].concat());
    command.env("HYPEREXPORT_PANIC_AT", stage);
    let ended = Ended::from(command.output().expect("hyperexport runs"));
    cfg!(debug_assertions).then_some(ended)
}

#[test]
fn a_run_that_breaks_in_any_stage_fails_and_leaves_nothing_half_done() {
    let desk = Desk::new();
    let raw = desk.raw("disk.raw", 4);
    // A disk of several files, so that the export writes a new file.
    desk.image(&raw, "disk.vmdk", "vmdk", &["subformat=twoGbMaxExtentSparse"]);
    for stage in ["preflight", "export", "pipeline"] {
        let Some(ended) = broken(&desk, stage, &[]) else { return };
        assert_eq!(ended.code, Some(1), "{stage}: {}", ended.stderr);
        assert_eq!(ended.json["errors"][0]["code"], "panicked", "{stage}: {}", ended.stdout);
        ended.said(&format!("a panic was wanted at {stage}"));
        let left = desk.files("out");
        let half = |name: &&String| name.starts_with('.') || name.ends_with(".part");
        assert_eq!(left.iter().find(half), None, "{stage}: {left:?}");
        let is_export = |name: &&String| name.ends_with(".qcow2") || *name == "manifest.json";
        // The export was complete before the conversion.
        let exports = if stage == "pipeline" { 2 } else { 0 };
        assert_eq!(left.iter().filter(is_export).count(), exports, "{stage}: {left:?}");
        assert!(!left.contains(&"disk.qcow2".to_owned()), "{stage}: {left:?}");
    }
    // The next run reuses the remaining files.
    let ended = desk.export("disk.vmdk", &CONVERT);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stage("export"), "kept");
    fs::remove_dir_all(desk.path("out")).expect("removed");
    let ended = broken(&desk, "no-such-stage", &[]).expect("a debug build");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
