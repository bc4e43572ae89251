//! hyper2kvm's `report.json`, parsed without trusting its structure or its reported success.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::model::{ConvertedDisk, ConvertedDisks, DiskId};

/// Largest report read, in bytes.
const LARGEST: u64 = 16 << 20;

/// The content of `report.json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::convert) struct Hyper2kvmReport {
    pub(in crate::convert) pipeline: PipelineReport,
    pub(in crate::convert) artifacts: Vec<Artifact>,
    pub(in crate::convert) warnings: Vec<Remark>,
    pub(in crate::convert) errors: Vec<Remark>,
}

/// The results of the stages.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::convert) struct PipelineReport {
    pub(in crate::convert) success: bool,
    pub(in crate::convert) stages: HashMap<String, Hyper2kvmStage>,
}

/// The result of one stage.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::convert) struct Hyper2kvmStage {
    pub(in crate::convert) success: bool,
    pub(in crate::convert) duration: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::convert) struct Artifact {
    pub(in crate::convert) disk_id: String,
    pub(in crate::convert) path: PathBuf,
    pub(in crate::convert) format: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::convert) struct Remark {
    pub(in crate::convert) stage: Option<String>,
    pub(in crate::convert) message: String,
}

/// hyper2kvm's report with the paths of the results in place of the images in the removed work
/// folder.
pub(in crate::convert) fn told_of_results(
    mut report: Value,
    converter: &str,
    disks: Option<&ConvertedDisks>,
) -> Value {
    report["converter"] = Value::from(converter);
    let artifacts = report["artifacts"].as_array_mut().into_iter().flatten();
    for artifact in artifacts {
        let of = |disk: &&ConvertedDisk| artifact["disk_id"] == disk.id.as_str();
        if let Some(disk) = disks.and_then(|disks| disks.0.iter().find(of)) {
            artifact["path"] = Value::from(disk.path.to_string_lossy());
            artifact["size_bytes"] = Value::from(disk.allocated.0);
            artifact["fixed"] = Value::from(disk.fixed);
        }
    }
    report
}

impl Hyper2kvmReport {
    /// Reads the first report found in `places`, also as plain JSON. The error message explains why
    /// there is none.
    pub(in crate::convert) fn read(places: &[PathBuf]) -> Result<(Self, Value), String> {
        let there = places.iter().find(|place| place.exists());
        let path = there.ok_or("it wrote no report.json")?;
        let size = fs::metadata(path).map(|m| m.len()).unwrap_or(u64::MAX);
        if size > LARGEST {
            return Err("its report.json is too large".to_owned());
        }
        let text = fs::read(path).map_err(|error| format!("its report.json: {error}"))?;
        let value: Value = serde_json::from_slice(&text)
            .map_err(|error| format!("its report.json is not JSON: {error}"))?;
        let report = Self::deserialize(&value)
            .map_err(|error| format!("its report.json is not understood: {error}"))?;
        Ok((report, value))
    }

    /// The first error: its stage as `stage: ` or an empty string, and its message.
    pub(in crate::convert) fn first_error(&self) -> Option<(String, String)> {
        let error = self.errors.first()?;
        let stage = error.stage.as_ref().map(|stage| format!("{stage}: ")).unwrap_or_default();
        Some((stage, error.message.clone()))
    }

    /// The image made of a disk. The path must be inside `folder` once links are resolved.
    pub(in crate::convert) fn artifact(
        &self,
        disk: &DiskId,
        folder: &Path,
    ) -> Result<PathBuf, String> {
        let artifact = self.artifacts.iter().find(|a| a.disk_id == disk.as_str());
        let Some(artifact) = artifact else {
            return Err(format!("its report names no image of {disk}"));
        };
        if artifact.format != "qcow2" {
            return Err(format!("its image of {disk} is {}, not qcow2", artifact.format));
        }
        let path = fs::canonicalize(&artifact.path)
            .map_err(|_| format!("its image of {disk} is not there"))?;
        let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        if path.starts_with(&folder) && path.is_file() {
            Ok(path)
        } else {
            Err(format!("its image of {disk} is {}, outside its folder", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Hyper2kvmReport, String> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("report.json");
        fs::write(&path, text).expect("written");
        Hyper2kvmReport::read(&[dir.path().join("elsewhere.json"), path]).map(|(report, _)| report)
    }

    #[test]
    fn a_failure_is_read_with_its_stage() {
        let report = read(
            r#"{"version": "1.0", "pipeline": {"success": false, "stages":
                {"fix": {"success": false, "duration": 0.7, "error": "x"}}},
                "artifacts": [], "errors": [{"stage": "fix", "message": "guestfs_launch failed."}],
                "input_manifest": {"path": null}}"#,
        )
        .expect("a report");
        assert!(!report.pipeline.success && !report.pipeline.stages["fix"].success);
        assert_eq!(
            report.first_error(),
            Some(("fix: ".to_owned(), "guestfs_launch failed.".to_owned()))
        );
    }

    #[test]
    fn nonsense_is_no_success() {
        assert!(!read("{}").expect("a report").pipeline.success);
        assert!(read("[").expect_err("not JSON").contains("not JSON"));
        assert!(read(r#"{"artifacts": 7}"#).expect_err("odd").contains("not understood"));
        assert!(Hyper2kvmReport::read(&[]).expect_err("none").contains("no report.json"));
    }

    #[test]
    fn images_outside_the_folder_are_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let image = dir.path().join("disk-0.qcow2");
        fs::write(&image, "x").expect("written");
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("disk-1.qcow2")).expect("link");
        let artifact = |id: &str, format: &str| Artifact {
            disk_id: id.to_owned(),
            path: dir.path().join(format!("{id}.qcow2")),
            format: format.to_owned(),
        };
        let report = Hyper2kvmReport {
            artifacts: vec![
                artifact("disk-0", "qcow2"),
                artifact("disk-1", "qcow2"),
                artifact("disk-2", "raw"),
                artifact("disk-3", "qcow2"),
            ],
            ..Hyper2kvmReport::default()
        };
        let of = |i| report.artifact(&DiskId::from_index(i), dir.path());
        assert!(of(0).expect("there").ends_with("disk-0.qcow2"));
        assert!(of(1).expect_err("a link").contains("outside its folder"));
        assert!(of(2).expect_err("raw").contains("not qcow2"));
        assert!(of(3).expect_err("missing").contains("not there"));
        assert!(of(4).expect_err("unnamed").contains("names no image"));
    }
}
