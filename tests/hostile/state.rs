//! State of a run that others replace, before or while the program reads it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::planted::{CONVERT, PLANTS, bounded, export, exported, is_root};
use crate::support::files::Desk;
use crate::support::job::Ended;

/// Timeout for operations that take seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A desk with a converted disk in `out`, and the path of the disk.
fn converted() -> (Desk, PathBuf) {
    let desk = exported();
    let ended = export(&desk, &CONVERT);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let image = PathBuf::from(ended.json["converted"][0]["path"].as_str().expect("a path"));
    (desk, image)
}

/// Replaces a file by each kind of plant, and calls `judge` to check the consequences.
fn each_plant(path: &Path, judge: impl Fn(&str)) {
    let saved = fs::read(path).expect("there");
    for (what, plant) in PLANTS {
        fs::remove_file(path).expect("removed");
        plant(path);
        judge(what);
        assert!(path.symlink_metadata().is_ok(), "{what}: it is gone");
        fs::remove_file(path).expect("removed");
        fs::write(path, &saved).expect("written");
    }
}

#[test]
fn verify_reads_no_result_of_others() {
    if !is_root() {
        return;
    }
    let (desk, _) = converted();
    let path = desk.path("out/result.json");
    each_plant(&path, |what| {
        for named in ["out/result.json", "out"] {
            let ended = bounded(&desk, &["verify", "--result", named, "--json"]);
            assert_eq!(ended.code, Some(4), "{what}: {}", ended.stderr);
            assert!(ended.stderr.contains("result.json"), "{what}: {}", ended.stderr);
        }
    });
    // The same applies to a record in the folder.
    fs::create_dir(desk.path("out/runs")).expect("made");
    let record = desk.path("out/runs/20260101T000000Z.json");
    fs::copy(&path, &record).expect("copied");
    let args = ["verify", "--result", "out/runs/20260101T000000Z.json"];
    assert_eq!(bounded(&desk, &args).code, Some(0));
    each_plant(&record, |what| {
        let ended = bounded(&desk, &args);
        assert_eq!(ended.code, Some(4), "{what}: {}", ended.stderr);
        assert!(ended.stderr.contains("20260101T000000Z.json"), "{what}: {}", ended.stderr);
    });
}

#[test]
fn verify_reads_no_image_that_is_none() {
    let (desk, image) = converted();
    // As written by someone who has replaced the file.
    let path = desk.path("out/result.json");
    let mut told: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).expect("there")).expect("JSON");
    told["conversion"]["images"] = serde_json::json!([]);
    fs::write(&path, told.to_string()).expect("written");
    assert_eq!(bounded(&desk, &["verify", "--result", "out"]).code, Some(0));
    for (what, plant) in PLANTS.iter().filter(|(what, _)| is_root() || *what != "of another user") {
        fs::remove_file(&image).expect("there");
        plant(&image);
        let ended = bounded(&desk, &["verify", "--result", "out"]);
        assert!(matches!(ended.code, Some(1 | 4)), "{what}: {:?} {}", ended.code, ended.stderr);
        let name = image.file_name().and_then(|name| name.to_str()).expect("text");
        assert!(ended.stderr.contains(name), "{what}: {}", ended.stderr);
    }
}

/// A user who can rename the output directory during a run receives none of the run's state.
#[test]
fn an_output_directory_that_is_replaced_gets_no_state_of_the_run() {
    let desk = Desk::new();
    desk.raw("disk.raw", 8);
    let args = ["--source", "disk.raw", "--memory", "1G", "--output", "out", "--manifest"];
    let mut command = desk.command(&[&args[..], &["--bandwidth-limit", "2M"]].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = command.spawn().expect("it runs");
    let begun = Instant::now();
    while !desk.path("out/.hyperexport-run").exists() {
        assert!(begun.elapsed() < PATIENCE, "it does not begin");
        assert!(run.try_wait().expect("a child").is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::rename(desk.path("out"), desk.path("moved")).expect("renamed");
    fs::create_dir(desk.path("out")).expect("made");
    fs::write(desk.path("out/.hyperexport-run"), "theirs").expect("written");
    let ended = Ended::from(run.wait_with_output().expect("it ends"));
    let marker = fs::read_to_string(desk.path("out/.hyperexport-run"));
    assert_eq!(marker.expect("it is gone"), "theirs", "{}", ended.stderr);
    assert!(!desk.path("out/result.json").exists(), "{}", ended.stderr);
    assert!(!desk.path("moved/.hyperexport-run").exists(), "{:?}", desk.files("moved"));
    assert!(desk.path("moved/result.json").is_file(), "{}", ended.stderr);
}
